// The kubelet's HTTPS server: logs, exec, attach and port-forward for the API server.
//
// Callers need a client certificate of the cluster's CA. Exec and its like go to the runtime's streaming server; what
// runtimes do not speak (WebSocket v5, port-forward tunnels) is translated to SPDY on the way.
// Upstream counterpart: pkg/kubelet/server/server.go.
#pragma once

#include <memory>
#include <string>

#include "env/env.h"
#include "kubelet/kubelet.h"
#include "wire/tls.h"

namespace knarr::kubelet {

struct KubeletServerConfig {
  std::string address;        // "0.0.0.0:10250"
  wire::TlsServerConfig tls;  // its clientCaPem is the CA of callers
};

class KubeletServer {
 public:
  KubeletServer(env::Env environment, Kubelet& kubelet, KubeletServerConfig config);
  ~KubeletServer();
  KubeletServer(const KubeletServer&) = delete;
  // AlreadyExists when the port is in use. Returns the bound address.
  Result<std::string> listen();
  async::Task<void> shutdown(env::Duration grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace knarr::kubelet
