// generateApiPodStatus: the status that the API shows for a pod, from what the runtime holds. Pure.
// Upstream counterpart: pkg/kubelet/kubelet_pods.go (generateAPIPodStatus, getPhase,
// convertToAPIContainerStatuses), pkg/kubelet/status/generate.go.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "kubelet/runtime_pod.h"
#include "schema/object.h"

namespace knarr::kubelet {

// Why the last start of a container failed, until a start succeeds.
struct StartFailure {
  std::string reason, message;
};

struct StatusInputs {
  int64_t nowUnixSeconds = 0;
  std::vector<std::string> nodeIps;
  std::string runtimeName;  // "containerd", the scheme of container ids
  // The pod was killed: what has stopped is not started again.
  bool podIsTerminal = false;
  // Some regular container was started in the present sandbox.
  bool podInitialized = false;
  bool needsSandbox = true;
  std::map<std::string, StartFailure, std::less<>> startFailures;  // by container name
  // Of a running container: its readiness probe passed, or it has none; its startup probe passed,
  // or it has none.
  std::function<bool(std::string_view container)> ready;
  std::function<bool(std::string_view container)> started;
};

// The pod with its status replaced. `pod` carries the status published before, from which times and
// history are kept.
schema::Mut<corev1::Pod> generateApiPodStatus(const schema::Ref<corev1::Pod>& pod, const RuntimePod& runtime,
                                              const StatusInputs& inputs);

// The phase of a pod with these container statuses.
std::string podPhase(const corev1::PodSpec& spec, const corev1::PodStatus& status, bool podIsTerminal, bool podInitialized);

// Sets a condition; the transition time changes only with the status.
void setPodCondition(schema::Mut<corev1::Pod>& pod, schema::Str type, bool value, std::string_view reason,
                     std::string_view message, int64_t nowUnixSeconds);

// Marks everything as ended, for a pod whose worker is finished: containers that are not terminated
// become ContainerStatusUnknown with code 137, and an open phase becomes Failed.
void terminateStatus(schema::Mut<corev1::Pod>& pod);

}  // namespace knarr::kubelet
