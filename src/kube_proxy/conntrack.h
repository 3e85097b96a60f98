// Tracked UDP connections: which of them lead to endpoints that are gone, and how the kernel forgets them.
//
// A UDP client that keeps its source port stays bound to the endpoint of its first packet for as long as packets flow; without
// this it would talk to a dead pod for ever. Upstream counterpart: pkg/proxy/conntrack.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kube_proxy/rule_kernel.h"
#include "kube_proxy/service_ports.h"

namespace knarr::kube_proxy {

// Knows the UDP frontends and their serving endpoints. A copy can be asked on any thread.
class UdpFrontends {
 public:
  // A port without serving endpoints is left out: its connections are not touched.
  void add(const ServicePort& port, const std::vector<Endpoint>& endpoints);
  // Whether the flow went to a frontend and is answered by none of its endpoints.
  bool isStale(const UdpFlow& flow) const;
  bool empty() const { return byAddress_.empty() && byNodePort_.empty(); }

 private:
  using Answers = std::set<std::pair<IpAddress, int>>;
  std::map<std::pair<IpAddress, int>, Answers> byAddress_;
  std::map<int, Answers> byNodePort_;
};

// Blocking. Deletes the flows of one family that `isStale` names; tells how many. `networkNamespacePath` "" is our own.
Result<int> forgetUdpFlowsInKernel(bool v6, const std::string& networkNamespacePath,
                                   const std::function<bool(const UdpFlow&)>& isStale);

}  // namespace knarr::kube_proxy
