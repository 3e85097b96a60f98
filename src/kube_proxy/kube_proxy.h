// The service proxy: Services and EndpointSlices become packet rules of this node.
//
// Watches Services, EndpointSlices and its own Node; holds one nftables table per family (rule_set.h). Changes within a second
// are one transaction, and a transaction carries only what changed. The rules stay when the proxy stops: pods and connections go
// on, and the next start repairs the table in one step; who is remembered for session affinity stays so. Upstream counterpart:
// cmd/kube-proxy, pkg/proxy/nftables.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/async.h"
#include "client/client.h"
#include "kube_proxy/rule_kernel.h"
#include "kube_proxy/rule_set.h"

namespace knarr::kube_proxy {

struct KubeProxyConfig {
  RuleConfig rules;
  // Between the end of one transaction and the start of the next. Upstream waits a second, because it pays for its whole table;
  // ours writes what changed, so a pod that became ready is reached, and one that goes is left, twenty times sooner.
  env::Duration minSyncPeriod = std::chrono::milliseconds(50);
  env::Duration syncPeriod = std::chrono::seconds(30);   // a failed one is tried again by then
  env::Duration fullSyncPeriod = std::chrono::hours(1);  // the whole table is looked at this often
};

class KubeProxy {
 public:
  // `client` and `kernel` outlive the proxy.
  KubeProxy(env::Env environment, client::Client& client, RuleKernel& kernel, KubeProxyConfig config);
  ~KubeProxy();
  async::Task<void> run(async::StopToken stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A table name out of a cluster's name, so that clusters on one machine have tables of their own.
std::string tableNameOf(std::string_view clusterName);

}  // namespace knarr::kube_proxy
