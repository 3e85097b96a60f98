// The node lifecycle controller: notices nodes that fell silent, taints nodes by their conditions, and evicts pods that do
// not tolerate it.
//
// Upstream counterpart: pkg/controller/nodelifecycle, pkg/controller/tainteviction.
#pragma once

#include <memory>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

struct NodeLifecycleConfig {
  env::Duration monitorPeriod = std::chrono::seconds(5);         // --node-monitor-period
  env::Duration monitorGracePeriod = std::chrono::seconds(50);   // --node-monitor-grace-period
  env::Duration startupGracePeriod = std::chrono::seconds(60);   // --node-startup-grace-period
};

std::unique_ptr<Controller> makeNodeLifecycleController(ControllerContext context, NodeLifecycleConfig config);

// ---- decisions

// The taints a node should carry for its conditions, of the keys that belong to this controller. `evict` says whether
// NoExecute taints are given now (not while every node is lost: then it is we who are cut off).
std::vector<corev1::Taint> decideTaints(const corev1::Node& node, bool evict);
// The node with its conditions set to Unknown because nothing was heard of it.
Mut<corev1::Node> markUnknown(const Ref<corev1::Node>& node, int64_t nowUnixSeconds);
// Seconds until a pod must leave a node with these NoExecute taints; nothing when it may stay, 0 for now.
std::optional<int64_t> secondsUntilEviction(const corev1::Pod& pod, const std::vector<corev1::Taint>& noExecute);
// The pod with the condition that says why it is deleted.
Mut<corev1::Pod> markDisrupted(const Ref<corev1::Pod>& pod, int64_t nowUnixSeconds);
bool tolerates(const corev1::Toleration& toleration, const corev1::Taint& taint);

}  // namespace knarr::controllers
