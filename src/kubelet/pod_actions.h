// computePodActions: what must happen in the runtime so that it holds what the pod asks for. Pure.
// Upstream counterpart: pkg/kubelet/kuberuntime/kuberuntime_manager.go (computePodActions), 1.36.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "kubelet/runtime_pod.h"

namespace knarr::kubelet {

// What the probes say of a running container; absent results count as fine.
struct ProbeView {
  std::function<bool(std::string_view containerName)> livenessFailed;
  std::function<bool(std::string_view containerName)> startupFailed;
  std::function<bool(std::string_view containerName)> started;  // startup probe passed, or none
};

struct ContainerToKill {
  std::string id, name, message, reason;
  // The failed probe's own; nothing: the pod's. Source: kuberuntime_container.go, setTerminationGracePeriod.
  std::optional<int64_t> graceSeconds = {};
};

struct PodActions {
  bool killPod = false;
  bool createSandbox = false;
  int64_t attempt = 0;
  std::string sandboxId;                           // kept
  std::vector<size_t> initContainersToStart;       // indices into spec.initContainers
  std::vector<size_t> containersToStart;           // indices into spec.containers
  std::vector<size_t> ephemeralContainersToStart;  // indices into spec.ephemeralContainers
  std::vector<ContainerToKill> containersToKill;
  bool empty() const {
    return !killPod && !createSandbox && initContainersToStart.empty() && containersToStart.empty() &&
           ephemeralContainersToStart.empty() && containersToKill.empty();
  }
};

PodActions computePodActions(const corev1::Pod& pod, const RuntimePod& runtime, const ProbeView& probes);

// Whether a container that is in this state is to be started. Null record: it never was.
bool shouldContainerBeRestarted(const corev1::Pod& pod, const corev1::Container& container, const ContainerRecord* record);
// Whether the pod needs a new sandbox, and its attempt.
struct SandboxNeed {
  bool create = false;
  int64_t attempt = 0;
  std::string sandboxId;  // the newest one, "" when there is none
};
SandboxNeed podSandboxChanged(const corev1::Pod& pod, const RuntimePod& runtime);

// FNV-1a 32 of {"image":..,"name":..}, lower-case hex. Source: pkg/kubelet/container/helpers.go
// HashContainer.
std::string containerHash(const corev1::Container& container);

}  // namespace knarr::kubelet
