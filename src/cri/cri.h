// The Container Runtime Interface over a runtime's socket.
#pragma once

#include <memory>
#include <string>

#include "contracts/cri/cri.h"

namespace knarr::cri {

struct RuntimeClientOptions {
  // "unix:/run/containerd/containerd.sock"; "unix:///run/..." is taken too.
  std::string endpoint;
  // The kubelet's runtimeRequestTimeout. RunPodSandbox has twice as long, StopContainer and
  // ExecSync add their own limit, PullImage has none. Source: k8s.io/cri-client
  // pkg/remote_runtime.go.
  env::Duration requestTimeout = std::chrono::minutes(2);
};

// Connects at the first call, and again after the connection was lost.
std::unique_ptr<RuntimeClient> makeRuntimeClient(env::Env environment, RuntimeClientOptions options);

}  // namespace knarr::cri
