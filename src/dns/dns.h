// The cluster's name server: answers names of Services, endpoints and pods, and forwards the rest to the host's name servers.
//
// UDP and TCP on the same addresses. Upstream counterpart: CoreDNS with the stock configuration of clusters.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/async.h"
#include "client/client.h"
#include "dns/forwarder.h"

namespace knarr::dns {

struct DnsConfig {
  std::vector<std::string> listen;  // "10.0.0.1:10053", each for UDP and TCP
  std::string clusterDomain = "cluster.local";
  IpAddress serviceIp{};  // of the Service kube-system/kube-dns
  ForwarderConfig forward;
};

class DnsServer {
 public:
  // `client` outlives the server and may list and watch services, endpointslices and namespaces.
  DnsServer(env::Env environment, client::Client& client, DnsConfig config);
  ~DnsServer();
  // Binds; a port in use is AlreadyExists. Before run.
  Result<void> listen();
  // Answers until stop. Names of the cluster get SERVFAIL until all of them are known.
  async::Task<void> run(async::StopToken stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace knarr::dns
