// Rules of Services against golden scripts, and the bookkeeping of changes. UPDATE_GOLDEN=1 writes testdata/ anew.
#include "kube_proxy/rule_set.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace knarr::kube_proxy {
namespace {

RuleConfig config() {
  RuleConfig out;
  out.podCidrs = {*IpPrefix::parse("10.244.0.0/16")};
  out.serviceCidrs = {*IpPrefix::parse("10.96.0.0/12")};
  out.nodePortAddresses = {*IpAddress::parse("10.0.0.1")};
  out.nodeName = "n1";
  return out;
}

ServicePort port(const std::string& service = "d/web", int number = 80) {
  ServicePort out;
  out.name = {service, "http", "tcp"};
  out.clusterIp = *IpAddress::parse("10.96.0.10");
  out.port = number;
  return out;
}

std::map<PortName, std::vector<Endpoint>> endpoints(const ServicePort& of, std::initializer_list<const char*> local,
                                                    std::initializer_list<const char*> remote) {
  std::map<PortName, std::vector<Endpoint>> out;
  for (bool isLocal : {true, false})
    for (const char* ip : isLocal ? local : remote) {
      Endpoint e;
      e.ip = *IpAddress::parse(ip);
      e.port = 8080;
      e.local = isLocal;
      out[of.name].push_back(e);
    }
  return out;
}

void expectGolden(const std::string& name, const std::string& got) {
  const char* source = std::getenv("KNARR_SOURCE_DIR");
  std::string path = std::string(source ? source : "../..") + "/src/kube_proxy/testdata/" + name;
  if (std::getenv("UPDATE_GOLDEN")) {
    std::ofstream(path) << got;
    return;
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path << " is missing";
  std::stringstream want;
  want << file.rdbuf();
  EXPECT_EQ(got, want.str()) << "differs from " << path;
}

// Everything a Service can have, in one table.
RuleState fullState() {
  RuleState state(config());
  ServicePort plain = port();
  state.put("d/web", fragmentOf({plain}, endpoints(plain, {"10.244.0.5"}, {"10.244.1.6"}), state.config(), ""));
  ServicePort outside = port("d/outside", 81);
  outside.nodePort = 30081;
  outside.externalIps = {*IpAddress::parse("192.0.2.1")};
  outside.loadBalancerIps = {*IpAddress::parse("192.0.2.2")};
  outside.sourceRanges = {*IpPrefix::parse("10.0.0.0/24")};
  state.put("d/outside", fragmentOf({outside}, endpoints(outside, {"10.244.0.7"}, {}), state.config(), ""));
  ServicePort local = port("d/local", 82);
  local.nodePort = 30082;
  local.externalLocal = true;
  state.put("d/local", fragmentOf({local}, endpoints(local, {"10.244.0.8"}, {"10.244.1.8", "10.244.1.9"}), state.config(), ""));
  ServicePort elsewhere = port("d/elsewhere", 83);
  elsewhere.nodePort = 30083;
  elsewhere.externalLocal = elsewhere.internalLocal = true;
  state.put("d/elsewhere", fragmentOf({elsewhere}, endpoints(elsewhere, {}, {"10.244.1.10"}), state.config(), ""));
  ServicePort none = port("d/none", 84);
  state.put("d/none", fragmentOf({none}, {}, state.config(), ""));
  ServicePort sticky = port("d/sticky", 85);
  sticky.affinitySeconds = 60;
  sticky.nodePort = 30085;
  state.put("d/sticky", fragmentOf({sticky}, endpoints(sticky, {"10.244.0.9"}, {"10.244.1.11"}), state.config(), ""));
  return state;
}

TEST(RuleSet, wholeTable) { expectGolden("whole.nft", scriptOf(fullState().whole(), config())); }

TEST(RuleSet, sixthFamily) {
  RuleConfig six = config();
  six.v6 = true;
  six.podCidrs = {*IpPrefix::parse("fd00:1::/56")};
  six.serviceCidrs = {*IpPrefix::parse("fd00:2::/108")};
  RuleState state(six);
  ServicePort one = port();
  one.clusterIp = *IpAddress::parse("fd00:2::5");
  one.affinitySeconds = 10;
  ServicePort two = one;
  two.affinitySeconds = 0;
  two.port = 81;
  two.name.port = "two";
  auto all = endpoints(one, {"fd00:1::5"}, {});
  all.merge(endpoints(two, {"fd00:1::5"}, {}));
  state.put("d/web", fragmentOf({one, two}, all, six, ""));
  expectGolden("whole6.nft", scriptOf(state.whole(), six));
}

TEST(RuleSet, aChangedEndpointIsOneElement) {
  RuleState state = fullState();
  state.commit(true);
  EXPECT_TRUE(state.changes().empty());
  ServicePort plain = port();
  state.put("d/web", fragmentOf({plain}, endpoints(plain, {"10.244.0.5"}, {"10.244.1.7"}), state.config(), ""));
  RuleTransaction change = state.changes();
  EXPECT_EQ(scriptOf(change, config()),
            "delete element ip knarr-proxy endpoints-tcp { 10.96.0.10 . 80 . 1 }\n"
            "add element ip knarr-proxy endpoints-tcp { 10.96.0.10 . 80 . 1 : 10.244.1.7 . 8080 }\n");
  state.commit(false);
  EXPECT_TRUE(state.changes().empty());
  // There and back between two transactions is no change.
  state.put("d/web", fragmentOf({plain}, endpoints(plain, {}, {}), state.config(), ""));
  state.put("d/web", fragmentOf({plain}, endpoints(plain, {"10.244.0.5"}, {"10.244.1.7"}), state.config(), ""));
  EXPECT_TRUE(state.changes().empty());
}

TEST(RuleSet, growingServiceTakesAnotherChain) {
  RuleState state(config());
  ServicePort plain = port();
  state.put("d/web", fragmentOf({plain}, endpoints(plain, {"10.244.0.5"}, {}), state.config(), ""));
  state.commit(true);
  state.put("d/web", fragmentOf({plain}, endpoints(plain, {"10.244.0.5", "10.244.0.6"}, {}), state.config(), ""));
  expectGolden("grow.nft", scriptOf(state.changes(), config()));
}

TEST(RuleSet, affinityChainsAreEmptiedThenRemoved) {
  RuleState state(config());
  ServicePort sticky = port();
  sticky.affinitySeconds = 60;
  state.put("d/web", fragmentOf({sticky}, endpoints(sticky, {"10.244.0.5", "10.244.0.6"}, {}), state.config(), ""));
  state.commit(true);
  state.put("d/web", fragmentOf({sticky}, endpoints(sticky, {"10.244.0.5"}, {}), state.config(), ""));
  RuleTransaction first = state.changes();
  EXPECT_EQ(first.emptyChains.size(), 1u);
  EXPECT_EQ(first.removeAffinitySets.size(), 1u);
  EXPECT_TRUE(first.removeChains.empty());
  state.commit(false);
  EXPECT_TRUE(state.hasStaleChains());
  RuleTransaction second = state.changes();
  EXPECT_EQ(second.removeChains, first.emptyChains);
  state.commit(false);
  EXPECT_FALSE(state.hasStaleChains());
  EXPECT_TRUE(state.changes().empty());
}

TEST(RuleSet, aChainThatComesBackIsNotRemoved) {
  RuleState state(config());
  ServicePort sticky = port();
  sticky.affinitySeconds = 60;
  auto two = endpoints(sticky, {"10.244.0.5", "10.244.0.6"}, {}), one = endpoints(sticky, {"10.244.0.5"}, {});
  state.put("d/web", fragmentOf({sticky}, two, state.config(), ""));
  state.commit(true);
  state.put("d/web", fragmentOf({sticky}, one, state.config(), ""));
  state.commit(false);
  state.put("d/web", fragmentOf({sticky}, two, state.config(), ""));
  RuleTransaction change = state.changes();
  EXPECT_TRUE(change.removeChains.empty());
  EXPECT_EQ(change.setChains.size(), 2u);
}

// Two Services claim one frontend: the first keeps it, the second gets it when the first goes.
TEST(RuleSet, contestedFrontend) {
  RuleState state(config());
  ServicePort a = port("d/a"), b = port("d/b");
  state.put("d/a", fragmentOf({a}, endpoints(a, {"10.244.0.1"}, {}), state.config(), ""));
  state.put("d/b", fragmentOf({b}, endpoints(b, {"10.244.0.2"}, {}), state.config(), ""));
  state.commit(true);
  ElementKey slot{"endpoints-tcp", "10.96.0.10 . 80 . 0"};
  EXPECT_EQ(state.whole().addElements.at(slot), "10.244.0.1 . 8080");
  state.put("d/b", fragmentOf({b}, endpoints(b, {"10.244.0.3"}, {}), state.config(), ""));
  EXPECT_FALSE(state.changes().addElements.contains(slot));
  EXPECT_EQ(state.whole().addElements.at(slot), "10.244.0.1 . 8080");
  state.put("d/a", {});
  EXPECT_EQ(state.changes().addElements.at(slot), "10.244.0.3 . 8080");
  state.put("d/b", {});
  EXPECT_TRUE(state.whole().addElements.empty());
}

// Random Services come, change and go; applying the changes gives what the whole table says.
TEST(RuleSet, changesAddUp) {
  RuleState state(config());
  std::map<ElementKey, std::string> kernel;
  uint32_t chance = 3;
  auto draw = [&](uint32_t bound) { return (chance = chance * 1664525 + 1013904223) / 65536 % bound; };
  for (int step = 0; step < 3000; ++step) {
    std::string name = fmt::format("d/s{}", draw(6));
    ServicePort one = port(name, static_cast<int>(80 + draw(3)));
    if (draw(3) == 0) one.nodePort = static_cast<int>(30000 + draw(2));
    if (draw(3) == 0) one.externalLocal = true;
    if (draw(4) == 0) one.affinitySeconds = 60;
    std::map<PortName, std::vector<Endpoint>> all;
    for (uint32_t i = draw(5); i > 0; --i) {
      Endpoint e;
      e.ip = *IpAddress::parse(fmt::format("10.244.0.{}", i));
      e.port = 8080;
      e.local = draw(2) == 0;
      all[one.name].push_back(e);
    }
    state.put(name, draw(4) == 0 ? Fragment() : fragmentOf({one}, all, state.config(), ""));
    if (draw(2) == 0) continue;
    RuleTransaction change = state.changes();
    for (const ElementKey& key : change.removeElements) ASSERT_EQ(kernel.erase(key), 1u);
    for (const auto& [key, value] : change.addElements)
      ASSERT_TRUE(kernel.emplace(key, value).second) << key.set << " " << key.key;
    state.commit(false);
    ASSERT_EQ(kernel, state.whole().addElements);
  }
}

}  // namespace
}  // namespace knarr::kube_proxy
