// RuntimePod: what the runtime holds of one pod, in the kubelet's words.
// Upstream counterpart: pkg/kubelet/container (PodStatus), pkg/kubelet/kuberuntime/labels.go.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "contracts/cri/cri.h"

namespace knarr::kubelet {

// Labels and annotations that tie the runtime's objects to pods; upstream's, so that either kubelet
// can take over. Source: pkg/kubelet/types/labels.go, pkg/kubelet/kuberuntime/labels.go.
namespace labels {
constexpr std::string_view kPodName = "io.kubernetes.pod.name";
constexpr std::string_view kPodNamespace = "io.kubernetes.pod.namespace";
constexpr std::string_view kPodUid = "io.kubernetes.pod.uid";
constexpr std::string_view kContainerName = "io.kubernetes.container.name";
constexpr std::string_view kHash = "io.kubernetes.container.hash";
constexpr std::string_view kRestartCount = "io.kubernetes.container.restartCount";
constexpr std::string_view kTerminationMessagePath = "io.kubernetes.container.terminationMessagePath";
constexpr std::string_view kTerminationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy";
constexpr std::string_view kPodDeletionGracePeriod = "io.kubernetes.pod.deletionGracePeriod";
constexpr std::string_view kPodTerminationGracePeriod = "io.kubernetes.pod.terminationGracePeriod";
constexpr std::string_view kPreStopHandler = "io.kubernetes.container.preStopHandler";
constexpr std::string_view kPorts = "io.kubernetes.container.ports";
}  // namespace labels

struct ContainerRecord {
  std::string id, name, sandboxId;
  int32_t state = cri::kContainerUnknown;
  int64_t createdAt = 0, startedAt = 0, finishedAt = 0;  // Unix nanoseconds, 0 = not yet
  int32_t exitCode = 0;
  std::string reason, message;
  std::string image, imageRef;
  std::string hash;
  int32_t restartCount = 0;
  std::string logPath;
  std::string terminationMessageHostPath;  // "": none
  std::string terminationMessagePolicy;
  bool running() const { return state == cri::kContainerRunning; }
  bool exited() const { return state == cri::kContainerExited; }
};

struct SandboxRecord {
  std::string id;
  int64_t attempt = 0;
  bool ready = false;
  int64_t createdAt = 0;
  std::vector<std::string> ips;
  bool hostNetwork = false;
};

struct RuntimePod {
  std::string uid, name, nameSpace;
  std::vector<SandboxRecord> sandboxes;     // newest first
  std::vector<ContainerRecord> containers;  // newest first

  // The newest container of that name; null when there is none.
  const ContainerRecord* newest(std::string_view containerName) const;
  bool anyRunning() const;
  const std::vector<std::string>& ips() const;  // of the newest sandbox
};

// Everything the runtime knows of the pod. A container that vanishes while it is read is left out.
async::Task<Result<RuntimePod>> readRuntimePod(cri::RuntimeClient& runtime, std::string podUid);

// State of all pods, cheap enough to be taken every second: lists only.
struct RuntimeSummary {
  struct Pod {
    std::string uid, name, nameSpace;
    std::map<std::string, int32_t> states;  // sandbox and container ids to their states
  };
  std::map<std::string, Pod> pods;             // by uid
  std::set<std::string, std::less<>> running;  // ids of containers that run and of sandboxes that are ready
};
async::Task<Result<RuntimeSummary>> summarizeRuntime(cri::RuntimeClient& runtime);

// Fills a record from the runtime's answer; pure.
ContainerRecord recordOf(const runtimev1::ContainerStatus& status);
SandboxRecord recordOf(const runtimev1::PodSandboxStatus& status);

}  // namespace knarr::kubelet
