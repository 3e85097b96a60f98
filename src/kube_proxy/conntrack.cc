#include "kube_proxy/conntrack.h"

namespace knarr::kube_proxy {

void UdpFrontends::add(const ServicePort& port, const std::vector<Endpoint>& endpoints) {
  if (port.name.protocol != "udp") return;
  Answers answers;
  for (const Endpoint& endpoint : endpoints)
    if (endpoint.serving) answers.emplace(endpoint.ip, endpoint.port);
  if (answers.empty()) return;
  auto at = [&](const IpAddress& ip) { byAddress_[{ip, port.port}].insert(answers.begin(), answers.end()); };
  at(port.clusterIp);
  for (const auto* list : {&port.externalIps, &port.loadBalancerIps})
    for (const IpAddress& ip : *list) at(ip);
  if (port.nodePort != 0) byNodePort_[port.nodePort].insert(answers.begin(), answers.end());
}

bool UdpFrontends::isStale(const UdpFlow& flow) const {
  const Answers* answers = nullptr;
  if (auto found = byAddress_.find({flow.originalDestination, flow.originalPort}); found != byAddress_.end())
    answers = &found->second;
  else if (auto byPort = byNodePort_.find(flow.originalPort); byPort != byNodePort_.end())
    answers = &byPort->second;
  return answers && !answers->contains({flow.replySource, flow.replyPort});
}

}  // namespace knarr::kube_proxy
