// The node lifecycle controller: notices nodes that fell silent, taints nodes by their conditions, and evicts pods that do
// not tolerate it.
//
// Upstream counterpart: pkg/controller/nodelifecycle, pkg/controller/tainteviction.
#pragma once

#include <memory>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

struct NodeLifecycleConfig {
  env::Duration monitorPeriod = std::chrono::seconds(5);        // --node-monitor-period
  env::Duration monitorGracePeriod = std::chrono::seconds(50);  // --node-monitor-grace-period
  env::Duration startupGracePeriod = std::chrono::seconds(60);  // --node-startup-grace-period
  env::Duration evictionInterval = std::chrono::seconds(10);    // between two nodes of a zone: --node-eviction-rate 0.1
  env::Duration slowEvictionInterval =
      std::chrono::seconds(100);  // the same of a disrupted large zone: --secondary-node-eviction-rate
};

std::unique_ptr<Controller> makeNodeLifecycleController(ControllerContext context, NodeLifecycleConfig config);

// ---- decisions

// What becomes of the NoExecute taint of a node that is not ready.
enum class Eviction : uint8_t {
  Keep,  // a node that has one keeps it, no node gets one
  Give,
  Take,  // no node has one: every node is lost, so it is we who are cut off
};
// The taints a node should carry for its conditions, of the keys that belong to this controller.
std::vector<corev1::Taint> decideTaints(const corev1::Node& node, Eviction eviction);

// Source: node_lifecycle_controller.go, ComputeZoneState.
enum class ZoneState : uint8_t { Normal, PartialDisruption, FullDisruption };
ZoneState decideZoneState(int readyNodes, int notReadyNodes);
// How long the next node of a zone waits for its NoExecute taint after the last one; nothing: it gets none.
std::optional<env::Duration> evictionInterval(ZoneState state, int zoneSize, const NodeLifecycleConfig& config);
// Region and zone of a node, "" for a node that is in none.
std::string zoneOf(const corev1::Node& node);
// The node with its conditions set to Unknown because nothing was heard of it.
Mut<corev1::Node> markUnknown(const Ref<corev1::Node>& node, int64_t nowUnixSeconds);
// Seconds until a pod must leave a node with these NoExecute taints; nothing when it may stay, 0 for now.
std::optional<int64_t> secondsUntilEviction(const corev1::Pod& pod, const std::vector<corev1::Taint>& noExecute);
// The pod with the condition that says why it is deleted.
Mut<corev1::Pod> markDisrupted(const Ref<corev1::Pod>& pod, int64_t nowUnixSeconds);
bool tolerates(const corev1::Toleration& toleration, const corev1::Taint& taint);

}  // namespace knarr::controllers
