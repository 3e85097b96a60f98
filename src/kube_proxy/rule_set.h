// Services as nftables rules: what each Service contributes, and which change brings the kernel from one state to the next.
//
// One table of one family. The layout keeps look-ups flat: a frontend (address, protocol, port) is one element of the verdict map
// service-ips, whose verdict names a chain for its NUMBER of endpoints ("lb-tcp-3"), shared by all Services with as many; that
// chain draws a slot at random and finds the endpoint in the map endpoints-tcp under (frontend, slot). So the count of chains
// does not grow with the count of Services, every endpoint is equally likely, and a changed endpoint is one changed element. Only
// Services with session affinity have chains of their own. docs/decisions/0008-service-rules.md says why.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kube_proxy/service_ports.h"

namespace knarr::kube_proxy {

struct RuleConfig {
  std::string table = "knarr-proxy";
  bool v6 = false;
  std::vector<IpPrefix> podCidrs;  // sources inside are pods; empty: nobody is known to be one
  std::vector<IpAddress> nodePortAddresses;
  std::vector<IpPrefix> serviceCidrs;  // unknown addresses inside are dropped
  bool masqueradeAll = false;
  std::string nodeName;

  std::string family() const { return v6 ? "ip6" : "ip"; }
  std::string tableText() const { return family() + " " + table; }
};

struct ElementKey {
  std::string set;  // name of the set or map
  std::string key;  // "10.96.0.1 . tcp . 443"
  friend auto operator<=>(const ElementKey&, const ElementKey&) = default;
};

// The table as the kernel holds it: elements of the fixed sets and maps, names of all chains and of the sets of clients.
struct RuleListing {
  std::string layout;  // layoutOf() when the table was made; "" when it does not say
  std::map<ElementKey, std::string> elements;
  std::set<std::string> chains;
  std::set<std::string> affinitySets;
};

// What one Service contributes to the table.
struct Fragment {
  std::map<ElementKey, std::string> elements;              // to their value, "" in sets
  std::set<std::string> sharedChains;                      // "lb-tcp-3", "lbl-udp-2", "ext-tcp-3", "extl-tcp-3-2"
  std::map<std::string, std::vector<std::string>> chains;  // of this Service alone, to their rules
  std::map<std::string, int> affinitySets;                 // to their time-out in seconds
};

Fragment fragmentOf(const std::vector<ServicePort>& ports, const std::map<PortName, std::vector<Endpoint>>& endpoints,
                    const RuleConfig& config, std::string_view zone);
// The rules of a shared chain, a function of its name. Empty for a name that is none.
std::vector<std::string> sharedChainRules(const std::string& name, const RuleConfig& config);

// One atomic change of the table, in the order of its fields.
struct RuleTransaction {
  bool replace = false;  // the table is made anew, whatever was there
  std::string layout;    // then: layoutOf()
  std::map<std::string, int> addAffinitySets;
  std::map<std::string, std::vector<std::string>> setChains;  // made if absent, then filled with exactly these rules
  std::vector<ElementKey> removeElements;
  std::map<ElementKey, std::string> addElements;
  std::set<std::string> emptyChains;
  std::set<std::string> removeAffinitySets;
  std::set<std::string> removeChains;

  bool empty() const {
    return !replace && addAffinitySets.empty() && setChains.empty() && removeElements.empty() && addElements.empty() &&
           emptyChains.empty() && removeAffinitySets.empty() && removeChains.empty();
  }
};
// The transaction as a script for nft.
std::string scriptOf(const RuleTransaction& transaction, const RuleConfig& config);
// Names the declarations of a table's fixed sets, maps and hooks; tables of one layout differ in what a transaction can change.
std::string layoutOf(const RuleConfig& config);
// Names of the chains that every table has.
std::set<std::string> fixedChains();
// Names of the sets and maps that every table has.
std::set<std::string> fixedSets();

// Everything the table should hold, by Service, and what of it the kernel does not know yet.
class RuleState {
 public:
  explicit RuleState(RuleConfig config) : config_(std::move(config)) {}
  // What a Service contributes from now on; an empty fragment takes it away. Of two Services that claim one element the first one
  // keeps it until it gives it up.
  void put(const std::string& service, Fragment fragment);
  // The whole table.
  RuleTransaction whole() const;
  // What changed since the last commit.
  RuleTransaction changes() const;
  // What makes a table of this layout, as the kernel told it, hold what is wanted. All chains are written anew; the clients that
  // are remembered for session affinity stay.
  RuleTransaction repair(const RuleListing& kernel);
  // The kernel holds what changes() or repair() said, or whole() when `replaced`.
  void commit(bool replaced);
  // Chains that are empty in the kernel and can be removed once nothing is under way that refers to them.
  bool hasStaleChains() const { return !stale_.empty(); }
  const RuleConfig& config() const { return config_; }

 private:
  struct Owned {
    std::string service;
    std::string value;
  };
  void give(const ElementKey& key, const std::string& service, const std::string& value);
  void take(const ElementKey& key, const std::string& service);
  void remember(const ElementKey& key);

  RuleConfig config_;
  std::map<std::string, Fragment> fragments_;
  std::map<ElementKey, Owned> elements_;
  std::map<ElementKey, std::map<std::string, std::string>> contested_;  // claims that wait, by Service
  std::set<std::string> sharedChains_;
  std::map<std::string, std::vector<std::string>> chains_;
  std::map<std::string, int> affinitySets_;
  // What the kernel held at the last commit, of everything touched since.
  std::map<ElementKey, std::optional<std::string>> elementsBefore_;
  std::set<std::string> sharedChainsBefore_;
  std::map<std::string, std::optional<std::vector<std::string>>> chainsBefore_;
  std::map<std::string, std::optional<int>> affinityBefore_;
  std::set<std::string> stale_;
};

}  // namespace knarr::kube_proxy
