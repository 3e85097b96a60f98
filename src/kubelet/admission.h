// Admission of pods to the node: what the scheduler cannot know, and what it did not see. Pure.
// Upstream counterpart: pkg/kubelet/lifecycle/predicate.go, pkg/kubelet/sysctl.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "kubelet/kubelet.h"
#include "kubelet/node_pressure.h"
#include "schema/object.h"

namespace knarr::kubelet {

struct Rejection {
  std::string reason, message;
};

// `others`: the pods that the node already holds and that have not ended.
std::optional<Rejection> admitPod(const corev1::Pod& pod, const std::vector<schema::Ref<corev1::Pod>>& others,
                                  const MachineInfo& machine, int64_t maxPods);

// A node that is short of something takes no more pods but critical ones; when it is memory alone, also those that asked
// for resources. Source: pkg/kubelet/eviction/eviction_manager.go, Admit.
std::optional<Rejection> admitUnderPressure(const corev1::Pod& pod, const Pressure& pressure);

// What the pod asks of the node: the larger of its init containers and the sum of the others,
// sidecars and overhead added.
struct PodRequest {
  int64_t cpuMilli = 0;
  int64_t memoryBytes = 0;
};
PodRequest podRequest(const corev1::Pod& pod);
// The same of requests or of limits. Source: k8s.io/component-helpers/resource, PodRequests, PodLimits.
PodRequest podSum(const corev1::Pod& pod, schema::Map<schema::Quantity> corev1::ResourceRequirements::* which);

}  // namespace knarr::kubelet
