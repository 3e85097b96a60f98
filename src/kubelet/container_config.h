// What the kubelet asks the runtime for: sandbox and container configurations of a pod. Pure.
// Upstream counterpart: pkg/kubelet/kuberuntime/kuberuntime_{sandbox,container}*.go,
// security_context.go, helpers.go.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "contracts/cri/cri.h"
#include "kubelet/environment.h"
#include "kubelet/kubelet.h"

namespace knarr::kubelet {

struct DnsSettings {
  std::vector<std::string> servers, searches, options;
};
// The pod's resolv.conf. `hostFile` is the text of the node's.
DnsSettings podDns(const corev1::Pod& pod, const KubeletConfig& config, std::string_view hostFile);

struct HostName {
  std::string name, domain;
};
// Errors: setHostnameAsFQDN gives more than 64 characters.
Result<HostName> podHostName(const corev1::Pod& pod, const std::string& clusterDomain);

// /etc/hosts of the pod. `hostFile` is the node's own, used with hostNetwork.
std::string hostsFile(const corev1::Pod& pod, const HostName& hostName, const std::vector<std::string>& podIps,
                      std::string_view hostFile);

// "<podLogsDirectory>/<namespace>_<name>_<uid>"
std::string podLogDirectory(const KubeletConfig& config, const corev1::Pod& pod);

struct SandboxInputs {
  int64_t attempt = 0;
  HostName hostName;
  DnsSettings dns;
};
cri::Mut<runtimev1::RunPodSandboxRequest> sandboxRequest(const corev1::Pod& pod, const KubeletConfig& config,
                                                         const SandboxInputs& inputs);

struct MountInput {
  std::string hostPath, containerPath;
  bool readOnly = false;
  int32_t propagation = cri::kPropagationPrivate;
};
struct ContainerInputs {
  std::string sandboxId;
  int32_t restartCount = 0;
  std::string imageRef;             // resolved
  std::optional<int64_t> imageUid;  // the image's numeric user
  std::string imageUsername;        // or its name
  std::string targetContainerId;    // of an ephemeral container with a target
  Variables environment;
  std::vector<MountInput> mounts;  // termination message and hosts file included
  int64_t nodeMemoryBytes = 0;
};
// Errors become CreateContainerConfigError: runAsNonRoot is broken.
Result<cri::Mut<runtimev1::CreateContainerRequest>> containerRequest(const corev1::Pod& pod, const corev1::Container& container,
                                                                     const KubeletConfig& config, const SandboxInputs& sandbox,
                                                                     const ContainerInputs& inputs);

// The fields that an ephemeral container shares with the others.
corev1::Container asContainer(const corev1::EphemeralContainerCommon& common);

}  // namespace knarr::kubelet
