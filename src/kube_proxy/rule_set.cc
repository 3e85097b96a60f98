#include "kube_proxy/rule_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/strings.h"

namespace knarr::kube_proxy {
namespace {

// Elements per line of a script; nft reads lines of any length, this keeps them printable.
constexpr size_t kElementsPerLine = 200;

struct BaseChain {
  const char* name;
  const char* hook;
};
// Source of hooks and priorities: pkg/proxy/nftables/proxier.go, nftablesBaseChains.
constexpr BaseChain kBaseChains[] = {{"filter-prerouting-pre-dnat", "type filter hook prerouting priority -110 ;"},
                                     {"filter-output-pre-dnat", "type filter hook output priority -110 ;"},
                                     {"filter-input", "type filter hook input priority 0 ;"},
                                     {"filter-forward", "type filter hook forward priority 0 ;"},
                                     {"filter-output", "type filter hook output priority 0 ;"},
                                     {"nat-prerouting", "type nat hook prerouting priority -100 ;"},
                                     {"nat-output", "type nat hook output priority -100 ;"},
                                     {"nat-postrouting", "type nat hook postrouting priority 100 ;"}};
constexpr const char* kPlainChains[] = {
    "firewall-check", "service-endpoints-check", "cluster-ips-check", "reject-chain", "services",
    "masquerading",   "mark-for-masquerade"};

struct FixedSet {
  const char* name;
  const char* map;  // declared with `add map` and this value, or null
  const char* key;
  const char* flags;
};
// ADDR stands for the address type, DADDR for the field.
constexpr FixedSet kFixedSets[] = {
    {"cluster-ips", nullptr, "type ADDR ;", ""},
    {"service-ips", "verdict", "type ADDR . inet_proto . inet_service", ""},
    {"no-endpoint-services", "verdict", "type ADDR . inet_proto . inet_service", ""},
    // One map per protocol: a map that gives ports can be declared with a port of a known protocol only (nft 1.0.6 cannot read
    // back `th dport`), and the rules that use it then ask for that protocol.
    {"endpoints-tcp", "DADDR . tcp dport", "typeof DADDR . tcp dport . numgen random mod 16", ""},
    {"endpoints-udp", "DADDR . udp dport", "typeof DADDR . udp dport . numgen random mod 16", ""},
    {"endpoints-sctp", "DADDR . sctp dport", "typeof DADDR . sctp dport . numgen random mod 16", ""},
    {"firewall-ips", nullptr, "type ADDR . inet_proto . inet_service ;", ""},
    {"firewall-allow", nullptr, "type ADDR . inet_proto . inet_service . ADDR ;", "flags interval ;"},
    {"hairpin-connections", nullptr, "type ADDR . ADDR . inet_proto . inet_service ;", ""}};

std::string forFamily(std::string text, const RuleConfig& config) {
  auto replaceAll = [&text](std::string_view from, std::string_view to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  };
  replaceAll("DADDR", config.family() + " daddr");
  replaceAll("ADDR", config.v6 ? "ipv6_addr" : "ipv4_addr");
  return text;
}

std::string prefixList(const std::vector<IpPrefix>& prefixes) {
  std::string out;
  for (const IpPrefix& prefix : prefixes) out += (out.empty() ? "" : ", ") + prefix.text();
  return "{ " + out + " }";
}

// Bit 14 of the packet mark means "masquerade me". Source: pkg/proxy/apis/config, masqueradeBit.
std::map<std::string, std::vector<std::string>> fixedRules(const RuleConfig& config) {
  std::string f = config.family();
  std::string frontend = f + " daddr . meta l4proto . th dport";
  std::map<std::string, std::vector<std::string>> rules;
  for (const char* chain : {"filter-prerouting-pre-dnat", "filter-output-pre-dnat"})
    rules[chain] = {"ct state new jump firewall-check"};
  rules["filter-input"] = {"ct state new jump service-endpoints-check"};
  for (const char* chain : {"filter-forward", "filter-output"})
    rules[chain] = {"ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"};
  rules["nat-prerouting"] = rules["nat-output"] = {"jump services"};
  rules["nat-postrouting"] = {"jump masquerading"};
  rules["firewall-check"] = {fmt::format("{0} @firewall-ips {0} . {1} saddr != @firewall-allow drop", frontend, f)};
  rules["service-endpoints-check"] = {frontend + " vmap @no-endpoint-services"};
  rules["cluster-ips-check"] = {f + " daddr @cluster-ips reject"};
  if (!config.serviceCidrs.empty())
    rules["cluster-ips-check"].push_back(fmt::format("{} daddr {} drop", f, prefixList(config.serviceCidrs)));
  rules["reject-chain"] = {"reject"};
  if (config.masqueradeAll)
    rules["services"].push_back(f + " daddr @cluster-ips jump mark-for-masquerade");
  else if (!config.podCidrs.empty())
    rules["services"].push_back(
        fmt::format("{0} daddr @cluster-ips {0} saddr != {1} jump mark-for-masquerade", f, prefixList(config.podCidrs)));
  rules["services"].push_back(frontend + " vmap @service-ips");
  rules["mark-for-masquerade"] = {"meta mark set meta mark or 0x4000"};
  rules["masquerading"] = {
      fmt::format("{0} saddr . {0} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random", f),
      "meta mark and 0x4000 == 0 return", "meta mark set meta mark xor 0x4000", "masquerade fully-random"};
  return rules;
}

// Sets, maps and hooks; what a chain is made of comes later.
std::string declarations(const RuleConfig& config) {
  std::string table = config.tableText(), out;
  for (const FixedSet& set : kFixedSets)
    out += set.map ? fmt::format("add map {} {} {{ {} : {} ; }}\n", table, set.name, forFamily(set.key, config),
                                 forFamily(set.map, config))
                   : fmt::format("add set {} {} {{ {} {} }}\n", table, set.name, forFamily(set.key, config), set.flags);
  for (const BaseChain& chain : kBaseChains) out += fmt::format("add chain {} {} {{ {} }}\n", table, chain.name, chain.hook);
  for (const char* chain : kPlainChains) out += fmt::format("add chain {} {}\n", table, chain);
  return out;
}

std::string newTableText(const RuleConfig& config) {
  std::string table = config.tableText();
  std::string out =
      fmt::format("add table {0}\ndelete table {0}\nadd table {0} {{ comment \"{1}\" ; }}\n", table, layoutOf(config));
  out += declarations(config);
  for (const auto& [chain, rules] : fixedRules(config))
    for (const std::string& rule : rules) out += fmt::format("add rule {} {} {}\n", table, chain, rule);
  return out;
}

// One command per set and kElementsPerLine elements. The elements are ordered by set.
template <class Elements, class TextOf>
void addElementLines(std::string& out, std::string_view verb, const std::string& table, const Elements& elements, TextOf textOf) {
  std::string_view set;
  size_t inLine = 0;
  for (const auto& element : elements) {
    const auto& [key, text] = textOf(element);
    if (inLine > 0 && (key.set != set || inLine == kElementsPerLine)) {
      out += " }\n";
      inLine = 0;
    }
    out += inLine == 0 ? fmt::format("{} element {} {} {{ {}", verb, table, key.set, text) : ", " + text;
    set = key.set;
    ++inLine;
  }
  if (inLine > 0) out += " }\n";
}

template <class K, class V>
void rememberIn(std::map<K, std::optional<V>>& before, const std::map<K, V>& now, const K& key) {
  if (before.contains(key)) return;
  auto have = now.find(key);
  before.emplace(key, have == now.end() ? std::nullopt : std::optional<V>(have->second));
}

}  // namespace

std::string layoutOf(const RuleConfig& config) { return fmt::format("knarr-{:016x}", fnv64a(declarations(config))); }

std::set<std::string> fixedChains() {
  std::set<std::string> out(std::begin(kPlainChains), std::end(kPlainChains));
  for (const BaseChain& chain : kBaseChains) out.insert(chain.name);
  return out;
}

std::set<std::string> fixedSets() {
  std::set<std::string> out;
  for (const FixedSet& set : kFixedSets) out.insert(set.name);
  return out;
}

std::string scriptOf(const RuleTransaction& transaction, const RuleConfig& config) {
  std::string table = config.tableText();
  std::string out;
  if (transaction.replace) out += newTableText(config);
  for (const auto& [set, seconds] : transaction.addAffinitySets)
    out += fmt::format("add set {} {} {{ type {} ; flags dynamic,timeout ; timeout {}s ; }}\n", table, set,
                       config.v6 ? "ipv6_addr" : "ipv4_addr", seconds);
  for (const auto& [chain, rules] : transaction.setChains)
    out += fmt::format("add chain {0} {1}\nflush chain {0} {1}\n", table, chain);
  for (const auto& [chain, rules] : transaction.setChains)
    for (const std::string& rule : rules) out += fmt::format("add rule {} {} {}\n", table, chain, rule);
  addElementLines(out, "delete", table, transaction.removeElements,
                  [](const ElementKey& key) { return std::pair<const ElementKey&, std::string>(key, key.key); });
  addElementLines(out, "add", table, transaction.addElements, [](const auto& entry) {
    return std::pair<const ElementKey&, std::string>(
        entry.first, entry.second.empty() ? entry.first.key : entry.first.key + " : " + entry.second);
  });
  for (const std::string& chain : transaction.emptyChains) out += fmt::format("flush chain {} {}\n", table, chain);
  for (const std::string& set : transaction.removeAffinitySets) out += fmt::format("delete set {} {}\n", table, set);
  for (const std::string& chain : transaction.removeChains) out += fmt::format("delete chain {} {}\n", table, chain);
  return out;
}

void RuleState::remember(const ElementKey& key) {
  if (elementsBefore_.contains(key)) return;
  auto have = elements_.find(key);
  elementsBefore_.emplace(key, have == elements_.end() ? std::nullopt : std::optional(have->second.value));
}

void RuleState::give(const ElementKey& key, const std::string& service, const std::string& value) {
  auto have = elements_.find(key);
  if (have != elements_.end() && have->second.service != service) {
    contested_[key][service] = value;
    return;
  }
  remember(key);
  elements_[key] = {service, value};
}

void RuleState::take(const ElementKey& key, const std::string& service) {
  auto waiting = contested_.find(key);
  auto have = elements_.find(key);
  ASSERT(have != elements_.end());
  if (have->second.service != service) {
    ASSERT(waiting != contested_.end());
    waiting->second.erase(service);
    if (waiting->second.empty()) contested_.erase(waiting);
    return;
  }
  remember(key);
  if (waiting == contested_.end()) {
    elements_.erase(have);
    return;
  }
  auto heir = waiting->second.begin();
  have->second = {heir->first, heir->second};
  waiting->second.erase(heir);
  if (waiting->second.empty()) contested_.erase(waiting);
}

void RuleState::put(const std::string& service, Fragment next) {
  Fragment& now = fragments_[service];
  for (const auto& [key, value] : now.elements)
    if (!next.elements.contains(key)) take(key, service);
  for (const auto& [key, value] : next.elements) {
    auto have = now.elements.find(key);
    if (have == now.elements.end() || have->second != value) give(key, service, value);
  }
  for (const auto& [chain, rules] : now.chains)
    if (!next.chains.contains(chain)) {
      rememberIn(chainsBefore_, chains_, chain);
      chains_.erase(chain);
    }
  for (const auto& [chain, rules] : next.chains) {
    rememberIn(chainsBefore_, chains_, chain);
    chains_[chain] = rules;
  }
  for (const auto& [set, seconds] : now.affinitySets)
    if (!next.affinitySets.contains(set)) {
      rememberIn(affinityBefore_, affinitySets_, set);
      affinitySets_.erase(set);
    }
  for (const auto& [set, seconds] : next.affinitySets) {
    rememberIn(affinityBefore_, affinitySets_, set);
    affinitySets_[set] = seconds;
  }
  // Shared chains stay: there are as many as there are different counts of endpoints.
  sharedChains_.insert(next.sharedChains.begin(), next.sharedChains.end());
  bool empty = next.elements.empty() && next.chains.empty();
  if (empty)
    fragments_.erase(service);
  else
    now = std::move(next);
}

RuleTransaction RuleState::whole() const {
  RuleTransaction out;
  out.replace = true;
  out.layout = layoutOf(config_);
  out.addAffinitySets = affinitySets_;
  out.setChains = chains_;
  for (const std::string& chain : sharedChains_) out.setChains.emplace(chain, sharedChainRules(chain, config_));
  for (const auto& [key, owned] : elements_) out.addElements.emplace(key, owned.value);
  return out;
}

RuleTransaction RuleState::changes() const {
  RuleTransaction out;
  for (const auto& [key, before] : elementsBefore_) {
    auto now = elements_.find(key);
    bool same = now == elements_.end() ? !before : before && *before == now->second.value;
    if (same) continue;
    if (before) out.removeElements.push_back(key);
    if (now != elements_.end()) out.addElements.emplace(key, now->second.value);
  }
  for (const std::string& chain : sharedChains_)
    if (!sharedChainsBefore_.contains(chain)) out.setChains.emplace(chain, sharedChainRules(chain, config_));
  for (const auto& [chain, before] : chainsBefore_) {
    auto now = chains_.find(chain);
    if (now == chains_.end()) {
      if (before) out.emptyChains.insert(chain);
    } else if (!before || *before != now->second) {
      out.setChains.emplace(chain, now->second);
    }
  }
  for (const auto& [set, before] : affinityBefore_) {
    auto now = affinitySets_.find(set);
    if (now == affinitySets_.end()) {
      if (before) out.removeAffinitySets.insert(set);
    } else if (!before) {
      out.addAffinitySets.emplace(set, now->second);
    }
  }
  for (const std::string& chain : stale_)
    if (!chains_.contains(chain)) out.removeChains.insert(chain);
  return out;
}

RuleTransaction RuleState::repair(const RuleListing& kernel) {
  elementsBefore_.clear();
  chainsBefore_.clear();
  affinityBefore_.clear();
  sharedChainsBefore_.clear();
  stale_.clear();
  for (const auto& [key, value] : kernel.elements) {
    auto wanted = elements_.find(key);
    if (wanted == elements_.end() || wanted->second.value != value) elementsBefore_.emplace(key, value);
  }
  for (const auto& [key, owned] : elements_)
    if (!kernel.elements.contains(key)) elementsBefore_.emplace(key, std::nullopt);
  for (const auto& [chain, rules] : chains_) chainsBefore_.emplace(chain, std::nullopt);
  std::set<std::string> fixed = fixedChains();
  for (const std::string& chain : kernel.chains) {
    if (fixed.contains(chain) || chains_.contains(chain)) continue;
    if (!sharedChainRules(chain, config_).empty())
      sharedChains_.insert(chain);
    else
      chainsBefore_.emplace(chain, std::vector<std::string>());
  }
  for (const auto& [set, seconds] : affinitySets_)
    if (!kernel.affinitySets.contains(set)) affinityBefore_.emplace(set, std::nullopt);
  for (const std::string& set : kernel.affinitySets)
    if (!affinitySets_.contains(set)) affinityBefore_.emplace(set, 0);
  RuleTransaction out = changes();
  out.setChains.merge(fixedRules(config_));
  return out;
}

void RuleState::commit(bool replaced) {
  stale_ = replaced ? std::set<std::string>() : changes().emptyChains;
  sharedChainsBefore_ = sharedChains_;
  elementsBefore_.clear();
  chainsBefore_.clear();
  affinityBefore_.clear();
}

}  // namespace knarr::kube_proxy
