// The network of this node as the cluster composes it: addresses out of the subnets, the objects of the cluster DNS, the service
// proxy and the name server.
#pragma once

#include <memory>
#include <string>

#include "base/ip.h"
#include "client/client.h"
#include "client/informer.h"
#include "cluster/cluster.h"
#include "dns/dns.h"
#include "kube_proxy/kube_proxy.h"

namespace knarr::cluster {

// The address `offset` places after the first one of the service subnet; Invalid when the subnet is malformed or too small. 1 is
// the API server's, 10 the DNS server's, as everywhere.
Result<IpAddress> serviceAddress(const ClusterConfig& config, unsigned offset);
inline constexpr unsigned kApiServiceOffset = 1;
inline constexpr unsigned kDnsServiceOffset = 10;

// kube-system/kube-dns with the EndpointSlice that points at this node's DNS port, and the role of whoever answers there. What is
// there and differs is mended.
async::Task<Result<void>> ensureDnsObjects(client::Client& client, ClusterConfig config);

// Makes sure that the kernel can filter frames of our bridge. A module that is loaded for it is told to leave other bridges
// alone.
async::Task<void> ensureBridgeNetfilter(env::Env environment);

// Writes the CNI network configuration for the pod range of this node, as soon as the node has one and whenever it changes.
void followPodRange(env::Env environment, const ClusterConfig& config, client::Informer& nodes);

// The proxy's rules, in the form that up and down agree on.
kube_proxy::RuleConfig proxyRules(const ClusterConfig& config);

class NodeNetwork {
 public:
  // The clients outlive it. Binds the DNS port.
  static Result<std::unique_ptr<NodeNetwork>> make(env::Env environment, const ClusterConfig& config,
                                                   std::unique_ptr<client::Client> proxyClient,
                                                   std::unique_ptr<client::Client> dnsClient);
  // Runs the proxy and the name server until stop. The rules stay.
  async::Task<void> run(async::StopToken stop);

 private:
  NodeNetwork(env::Env environment, std::unique_ptr<client::Client> proxyClient, std::unique_ptr<client::Client> dnsClient)
      : env_(environment), proxyClient_(std::move(proxyClient)), dnsClient_(std::move(dnsClient)) {}
  env::Env env_;
  std::unique_ptr<client::Client> proxyClient_, dnsClient_;
  std::unique_ptr<kube_proxy::RuleKernel> kernel_;
  std::unique_ptr<kube_proxy::KubeProxy> proxy_;
  std::unique_ptr<dns::DnsServer> dns_;
};

}  // namespace knarr::cluster
