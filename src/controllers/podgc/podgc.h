// The pod garbage collector: deletes pods that nothing will ever finish.
//
// Upstream counterpart: pkg/controller/podgc/gc_controller.go.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

struct PodGcConfig {
  env::Duration period = std::chrono::seconds(20);      // Source: gc_controller.go, gcCheckPeriod
  env::Duration quarantine = std::chrono::seconds(40);  // how long a node must be missing; quarantineTime
  int terminatedMax = 12500;                            // --terminated-pod-gc-threshold; 0 keeps all
};

std::unique_ptr<Controller> makePodGcController(ControllerContext context, PodGcConfig config);

// ---- decisions

using PodList = std::vector<Ref<corev1::Pod>>;
// Finished pods beyond `most`: evicted ones first, then the oldest.
PodList terminatedBeyond(const PodList& pods, int most);
// Pods that are leaving nodes which are not ready and declared out of service.
PodList terminatingOutOfService(const PodList& pods, const std::vector<Ref<corev1::Node>>& nodes);
// Pods that are leaving and never had a node.
PodList terminatingUnscheduled(const PodList& pods);
// Names of nodes that pods are bound to and that do not exist.
std::set<std::string> missingNodes(const PodList& pods, const std::vector<Ref<corev1::Node>>& nodes);
// The status patch that precedes the deletion of a pod that has not finished: phase Failed, and for orphans the condition that
// says so. "" when the pod has finished.
std::string failurePatch(const corev1::Pod& pod, bool orphaned, int64_t nowUnixSeconds);

}  // namespace knarr::controllers
