// What one Service contributes to the table.
#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "kube_proxy/rule_set.h"

namespace knarr::kube_proxy {
namespace {

// Slots of local lists begin here, so that both lists of a frontend stand in one map.
constexpr size_t kLocalSlots = 65536;

std::string frontend(const IpAddress& ip, const std::string& protocol, int port) {
  return fmt::format("{} . {} . {}", ip.text(), protocol, port);
}

// A name that tells what it is about and is short enough for the kernel. Source: pkg/proxy/nftables, hashAndTruncate, in idea.
std::string chainName(std::string_view kind, const PortName& port, std::string_view endpoint = "") {
  std::string text = fmt::format("{}/{}/{}", port.service, port.protocol, port.port);
  if (!endpoint.empty()) text += fmt::format("__{}", endpoint);
  std::string hash = fmt::format("{:016x}", fnv64a(text));
  for (char& c : text)
    if (c == ':') c = '/';
  std::erase_if(text, [](char c) { return c == '[' || c == ']'; });
  return fmt::format("{}-{}-{}", kind, hash.substr(0, 12), text.substr(0, 150));
}

class PortFragment {
 public:
  PortFragment(const ServicePort& port, const Chosen& chosen, const RuleConfig& config, Fragment& into)
      : port_(port), chosen_(chosen), config_(config), into_(into) {}

  void add() {
    into_.elements.emplace(ElementKey{"cluster-ips", port_.clusterIp.text()}, "");
    if (port_.affinitySeconds > 0) addAffinityChains();
    addClusterIp();
    for (const IpAddress& ip : port_.externalIps) addExternal(ip, port_.port);
    for (const IpAddress& ip : port_.loadBalancerIps) {
      addExternal(ip, port_.port);
      guard(ip);
    }
    if (port_.nodePort != 0)
      for (const IpAddress& ip : config_.nodePortAddresses) addExternal(ip, port_.nodePort);
    for (const Endpoint& endpoint : chosen_.reachable) {
      if (!endpoint.local) continue;
      std::string ip = endpoint.ip.text();
      into_.elements.emplace(
          ElementKey{"hairpin-connections", fmt::format("{} . {} . {} . {}", ip, ip, port_.name.protocol, endpoint.port)}, "");
    }
  }

 private:
  void put(std::string set, std::string key, std::string value) {
    into_.elements.insert_or_assign(ElementKey{std::move(set), std::move(key)}, std::move(value));
  }

  // No list to send to: refused when no endpoint exists, dropped when only this node has none.
  void addUnreachable(const std::string& key) { put("no-endpoint-services", key, chosen_.any ? "drop" : "goto reject-chain"); }

  void addClusterIp() {
    std::string key = frontend(port_.clusterIp, port_.name.protocol, port_.port);
    const auto& list = port_.internalLocal ? chosen_.local : chosen_.cluster;
    if (list.empty()) {
      addUnreachable(key);
      return;
    }
    put("service-ips", key,
        "goto " + (port_.internalLocal ? localTarget(port_.clusterIp, port_.port) : clusterTarget(port_.clusterIp, port_.port)));
  }

  void addExternal(const IpAddress& ip, int number) {
    std::string key = frontend(ip, port_.name.protocol, number);
    if (!port_.externalLocal) {
      if (chosen_.cluster.empty()) {
        addUnreachable(key);
        return;
      }
      std::string target = clusterTarget(ip, number);
      if (port_.affinitySeconds > 0)
        target = chainName("external", port_.name);
      else
        into_.sharedChains.insert(target = "ext" + target.substr(2));
      put("service-ips", key, "goto " + target);
      return;
    }
    if (chosen_.local.empty()) addUnreachable(key);
    // Pods and this node reach every endpoint, as if they went out to the balancer and came back.
    if (chosen_.cluster.empty()) return;
    std::string cluster = clusterTarget(ip, number);
    std::string local = chosen_.local.empty() ? "" : localTarget(ip, number);
    if (port_.affinitySeconds > 0) {
      put("service-ips", key, "goto " + chainName("external", port_.name));
      return;
    }
    std::string target = fmt::format("extl-{}-{}-{}", port_.name.protocol, chosen_.cluster.size(), chosen_.local.size());
    into_.sharedChains.insert(target);
    put("service-ips", key, "goto " + target);
  }

  std::string clusterTarget(const IpAddress& ip, int number) {
    if (port_.affinitySeconds > 0) return chainName("service", port_.name);
    addSlots(ip, number, chosen_.cluster, 0);
    std::string chain = fmt::format("lb-{}-{}", port_.name.protocol, chosen_.cluster.size());
    into_.sharedChains.insert(chain);
    return chain;
  }

  std::string localTarget(const IpAddress& ip, int number) {
    if (port_.affinitySeconds > 0) return chainName("local", port_.name);
    addSlots(ip, number, chosen_.local, kLocalSlots);
    std::string chain = fmt::format("lbl-{}-{}", port_.name.protocol, chosen_.local.size());
    into_.sharedChains.insert(chain);
    return chain;
  }

  void addSlots(const IpAddress& ip, int number, const std::vector<Endpoint>& list, size_t first) {
    std::string set = "endpoints-" + port_.name.protocol;
    for (size_t i = 0; i < list.size(); ++i)
      put(set, fmt::format("{} . {} . {}", ip.text(), number, first + i),
          fmt::format("{} . {}", list[i].ip.text(), list[i].port));
  }

  // Source addresses that may use a balancer's address; the address itself too when this node is among them.
  void guard(const IpAddress& ip) {
    if (port_.sourceRanges.empty()) return;
    std::string key = frontend(ip, port_.name.protocol, port_.port);
    put("firewall-ips", key, "");
    bool self = false;
    for (const IpPrefix& range : port_.sourceRanges) {
      put("firewall-allow", fmt::format("{} . {}", key, range.text()), "");
      for (const IpAddress& node : config_.nodePortAddresses) self = self || range.contains(node);
    }
    IpPrefix own{ip, ip.bits()};
    bool covered = std::any_of(port_.sourceRanges.begin(), port_.sourceRanges.end(),
                               [&](const IpPrefix& range) { return range.contains(ip); });
    if (self && !covered) put("firewall-allow", fmt::format("{} . {}", key, own.text()), "");
  }

  // The time-out is part of the name: the kernel does not change that of a set.
  std::string affinitySet(const Endpoint& endpoint) const {
    return chainName(fmt::format("affinity{}", port_.affinitySeconds), port_.name, endpoint.text());
  }

  // Chains of this port: one per endpoint that remembers the client, and per list one that looks for it.
  void addAffinityChains() {
    for (const Endpoint& endpoint : chosen_.reachable) {
      std::string set = affinitySet(endpoint);
      into_.affinitySets[set] = port_.affinitySeconds;
      into_.chains[chainName("endpoint", port_.name, endpoint.text())] = {
          fmt::format("update @{} {{ {} saddr }}", set, config_.family()),
          fmt::format("meta l4proto {} dnat {} to {}", port_.name.protocol, config_.family(), endpoint.text())};
    }
    if (!chosen_.cluster.empty()) addListChain("service", chosen_.cluster);
    if (!chosen_.local.empty()) addListChain("local", chosen_.local);
    if (!port_.externallyAccessible() || chosen_.cluster.empty()) return;
    auto& rules = into_.chains[chainName("external", port_.name)];
    std::string service = chainName("service", port_.name);
    if (!port_.externalLocal) {
      rules = {"jump mark-for-masquerade", "goto " + service};
      return;
    }
    for (const IpPrefix& pods : config_.podCidrs)
      rules.push_back(fmt::format("{} saddr {} goto {}", config_.family(), pods.text(), service));
    rules.push_back("fib saddr type local jump mark-for-masquerade");
    rules.push_back("fib saddr type local goto " + service);
    if (!chosen_.local.empty()) rules.push_back("goto " + chainName("local", port_.name));
  }

  void addListChain(std::string_view kind, const std::vector<Endpoint>& list) {
    auto& rules = into_.chains[chainName(kind, port_.name)];
    std::string choices;
    for (size_t i = 0; i < list.size(); ++i) {
      std::string chain = chainName("endpoint", port_.name, list[i].text());
      rules.push_back(fmt::format("{} saddr @{} goto {}", config_.family(), affinitySet(list[i]), chain));
      choices += fmt::format("{}{} : goto {}", i == 0 ? "" : ", ", i, chain);
    }
    rules.push_back(fmt::format("numgen random mod {} vmap {{ {} }}", list.size(), choices));
  }

  const ServicePort& port_;
  const Chosen& chosen_;
  const RuleConfig& config_;
  Fragment& into_;
};

}  // namespace

Fragment fragmentOf(const std::vector<ServicePort>& ports, const std::map<PortName, std::vector<Endpoint>>& endpoints,
                    const RuleConfig& config, std::string_view zone) {
  Fragment out;
  static const std::vector<Endpoint> kNone;
  for (const ServicePort& port : ports) {
    auto found = endpoints.find(port.name);
    Chosen chosen = chooseEndpoints(found == endpoints.end() ? kNone : found->second, port, config.nodeName, zone);
    PortFragment(port, chosen, config, out).add();
  }
  return out;
}

std::vector<std::string> sharedChainRules(const std::string& name, const RuleConfig& config) {
  std::string f = config.family();
  auto pieces = split(name, '-');
  if (pieces.size() < 3) return {};
  std::string_view kind = pieces[0], protocol = pieces[1];
  uint64_t count = parseUint(pieces[2]).value_or(0), localCount = pieces.size() > 3 ? parseUint(pieces[3]).value_or(0) : 0;
  if (count == 0) return {};
  auto balance = [&](std::string_view offset) {
    return fmt::format("dnat {0} to {0} daddr . {1} dport . numgen random mod {2}{3} map @endpoints-{1}", f, protocol, count,
                       offset);
  };
  if (kind == "lb") return {balance("")};
  if (kind == "lbl") return {balance(fmt::format(" offset {}", kLocalSlots))};
  if (kind == "ext") return {"jump mark-for-masquerade", fmt::format("goto lb-{}-{}", protocol, count)};
  if (kind != "extl") return {};
  std::vector<std::string> rules;
  for (const IpPrefix& pods : config.podCidrs)
    rules.push_back(fmt::format("{} saddr {} goto lb-{}-{}", f, pods.text(), protocol, count));
  rules.push_back("fib saddr type local jump mark-for-masquerade");
  rules.push_back(fmt::format("fib saddr type local goto lb-{}-{}", protocol, count));
  if (localCount > 0) rules.push_back(fmt::format("goto lbl-{}-{}", protocol, localCount));
  return rules;
}

}  // namespace knarr::kube_proxy
