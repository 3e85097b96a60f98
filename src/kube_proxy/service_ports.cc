#include "kube_proxy/service_ports.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"

namespace knarr::kube_proxy {
namespace {

constexpr int kAffinitySecondsDefault = 10800;

std::optional<IpAddress> addressOfFamily(std::string_view text, bool v6) {
  auto address = IpAddress::parse(trim(text));
  return address && address->v6 == v6 ? address : std::nullopt;
}

std::optional<IpAddress> clusterIpOf(const corev1::ServiceSpec& spec, bool v6) {
  for (size_t i = 0; i < spec.ipFamilies.size() && i < spec.clusterIPs.size(); ++i)
    if ((spec.ipFamilies[i] == "IPv6") == v6) return addressOfFamily(spec.clusterIPs[i], v6);
  if (!spec.ipFamilies.empty() && !spec.clusterIPs.empty()) return std::nullopt;
  return addressOfFamily(spec.clusterIP, v6);
}

// Ranges of the family, those that others contain left out; a range of all addresses makes the list as good as empty.
std::vector<IpPrefix> sourceRangesOf(const corev1::ServiceSpec& spec, bool v6) {
  std::vector<IpPrefix> out;
  for (schema::Str text : spec.loadBalancerSourceRanges) {
    auto range = IpPrefix::parse(trim(text));
    if (!range || range->address.v6 != v6) continue;
    if (range->length == 0) return {};
    if (std::any_of(out.begin(), out.end(), [&](const IpPrefix& have) { return have.contains(*range); })) continue;
    std::erase_if(out, [&](const IpPrefix& have) { return range->contains(have); });
    out.push_back(*range);
  }
  return out;
}

bool externalPolicyApplies(const corev1::ServiceSpec& spec) {
  return spec.type == "LoadBalancer" || spec.type == "NodePort" || !spec.externalIPs.empty();
}

void setConditions(Endpoint& to, const discoveryv1::EndpointConditions& from) {
  to.ready = from.ready.valueOr(true);
  to.serving = from.serving.valueOr(true);
  to.terminating = from.terminating.valueOr(false);
}

// Hints are honoured only when every ready endpoint has one and one of them names us.
bool allHinted(const std::vector<Endpoint>& endpoints, std::set<std::string> Endpoint::* hints, std::string_view self) {
  bool anyReady = false, ours = false;
  for (const Endpoint& endpoint : endpoints) {
    if (!endpoint.ready) continue;
    anyReady = true;
    if ((endpoint.*hints).empty()) return false;
    ours = ours || (endpoint.*hints).contains(std::string(self));
  }
  return anyReady && ours;
}

template <class Predicate>
std::vector<Endpoint> select(const std::vector<Endpoint>& endpoints, Predicate wanted) {
  std::vector<Endpoint> out;
  std::copy_if(endpoints.begin(), endpoints.end(), std::back_inserter(out), wanted);
  return out;
}

}  // namespace

std::string Endpoint::text() const {
  return ip.v6 ? fmt::format("[{}]:{}", ip.text(), port) : fmt::format("{}:{}", ip.text(), port);
}

std::vector<ServicePort> servicePortsOf(const corev1::Service& service, bool v6) {
  const corev1::ServiceSpec& spec = service.spec;
  if (spec.type == "ExternalName" || spec.clusterIP.empty() || spec.clusterIP == "None") return {};
  auto clusterIp = clusterIpOf(spec, v6);
  if (!clusterIp) return {};
  ServicePort base;
  base.clusterIp = *clusterIp;
  for (schema::Str text : spec.externalIPs)
    if (auto address = addressOfFamily(text, v6)) base.externalIps.push_back(*address);
  for (const auto& ingress : service.status.loadBalancer.ingress) {
    if (ingress.ipMode && *ingress.ipMode != "VIP") continue;
    if (auto address = addressOfFamily(ingress.ip, v6)) base.loadBalancerIps.push_back(*address);
  }
  base.sourceRanges = sourceRangesOf(spec, v6);
  base.internalLocal = spec.internalTrafficPolicy.valueOr("Cluster") == "Local";
  base.externalLocal = spec.externalTrafficPolicy == "Local" && externalPolicyApplies(spec);
  if (spec.sessionAffinity == "ClientIP") {
    base.affinitySeconds = kAffinitySecondsDefault;
    const auto* config = spec.sessionAffinityConfig;
    if (config && config->clientIP && config->clientIP->timeoutSeconds) base.affinitySeconds = *config->clientIP->timeoutSeconds;
  }
  std::vector<ServicePort> out;
  for (const auto& port : spec.ports) {
    ServicePort one = base;
    one.name = {fmt::format("{}/{}", service.metadata.namespace_, service.metadata.name), std::string(port.name),
                port.protocol.empty() ? "tcp" : toLower(port.protocol)};
    one.port = port.port;
    one.nodePort = port.nodePort;
    out.push_back(std::move(one));
  }
  return out;
}

std::map<PortName, std::vector<Endpoint>> endpointsOf(const std::string& service,
                                                      const std::vector<Ref<discoveryv1::EndpointSlice>>& slices, bool v6,
                                                      std::string_view nodeName) {
  std::map<PortName, std::map<std::string, Endpoint>> byText;
  for (const auto& slice : slices) {
    if (slice->addressType != (v6 ? "IPv6" : "IPv4")) continue;
    for (const auto& port : slice->ports) {
      if (!port.name || !port.port || *port.port == 0) continue;
      PortName name{service, std::string(*port.name), toLower(port.protocol.valueOr("TCP"))};
      for (const auto& from : slice->endpoints) {
        auto address = from.addresses.empty() ? std::nullopt : addressOfFamily(from.addresses[0], v6);
        if (!address) continue;
        Endpoint endpoint;
        endpoint.ip = *address;
        endpoint.port = *port.port;
        endpoint.local = from.nodeName && *from.nodeName == nodeName;
        setConditions(endpoint, from.conditions);
        if (from.hints) {
          for (const auto& zone : from.hints->forZones) endpoint.zones.emplace(zone.name);
          for (const auto& node : from.hints->forNodes) endpoint.nodes.emplace(node.name);
        }
        auto [at, fresh] = byText[name].try_emplace(endpoint.text(), endpoint);
        if (!fresh && !endpoint.terminating) at->second = endpoint;
      }
    }
  }
  std::map<PortName, std::vector<Endpoint>> out;
  for (auto& [name, endpoints] : byText)
    for (auto& [text, endpoint] : endpoints) out[name].push_back(std::move(endpoint));
  return out;
}

Chosen chooseEndpoints(const std::vector<Endpoint>& endpoints, const ServicePort& port, std::string_view nodeName,
                       std::string_view zone) {
  Chosen out;
  auto usable = [](const Endpoint& e) { return e.ready || (e.serving && e.terminating); };
  if (port.usesClusterEndpoints()) {
    bool sameNode = allHinted(endpoints, &Endpoint::nodes, nodeName);
    bool sameZone = !sameNode && !zone.empty() && allHinted(endpoints, &Endpoint::zones, zone);
    out.cluster = select(endpoints, [&](const Endpoint& e) {
      if (!e.ready) return false;
      if (sameNode) return e.nodes.contains(std::string(nodeName));
      return !sameZone || e.zones.contains(std::string(zone));
    });
    if (out.cluster.empty()) out.cluster = select(endpoints, [](const Endpoint& e) { return e.serving && e.terminating; });
    out.any = !out.cluster.empty();
  }
  if (port.usesLocalEndpoints()) {
    out.local = select(endpoints, [](const Endpoint& e) { return e.local && e.ready; });
    if (out.local.empty()) out.local = select(endpoints, [](const Endpoint& e) { return e.local && e.serving && e.terminating; });
    out.any = out.any || std::any_of(endpoints.begin(), endpoints.end(), usable);
  }
  std::map<std::string, Endpoint> reachable;
  for (const auto* list : {&out.cluster, &out.local})
    for (const Endpoint& endpoint : *list) reachable.try_emplace(endpoint.text(), endpoint);
  for (auto& [text, endpoint] : reachable) out.reachable.push_back(endpoint);
  return out;
}

}  // namespace knarr::kube_proxy
