#include "cluster/host_facts.h"

#include <gtest/gtest.h>

#include "cluster/cluster.h"

namespace knarr::cluster {
namespace {

const char* const kTrie = R"(Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.99.0.0/16 2 0 2
        |-- 10.99.0.1
           /32 host LOCAL
        |-- 10.99.0.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.0.2.2
        /32 host LOCAL
)";
const char* const kHead = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

TEST(HostFacts, theAddressIsOnTheInterfaceOfTheDefaultRoute) {
  std::string routes = std::string(kHead) +
                       "br0\t0000630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
                       "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
                       "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
  EXPECT_EQ(chooseHostAddress(routes, kTrie, ""), "192.0.2.2");
}

TEST(HostFacts, withoutADefaultRouteTheFirstAddressThatIsNotThePods) {
  EXPECT_EQ(chooseHostAddress(kHead, kTrie, ""), "10.99.0.1");
  EXPECT_EQ(chooseHostAddress(kHead, kTrie, "10.99.0."), "192.0.2.2");
  EXPECT_EQ(chooseHostAddress("", "", ""), "127.0.0.1");
  EXPECT_EQ(chooseHostAddress("a\tb\n\t\t\t\t\t\t\t\t\n", "-- \n/32 host LOCAL\n", ""), "127.0.0.1");
}

TEST(Addresses, subnetsThatOverlapAreRefused) {
  struct Case {
    std::string pods, services, node, want;
  };
  for (const Case& c :
       {Case{"10.244.0.0/24", "10.96.0.0/12", "192.0.2.2", ""},
        Case{"10.99.8.0/24", "10.96.0.0/12", "192.0.2.2", "--pod-subnet 10.99.8.0/24 and --service-subnet 10.96.0.0/12 overlap"},
        Case{"10.244.0.0/24", "10.96.0.0/12", "10.99.77.1", "the node's address 10.99.77.1 lies in --service-subnet"},
        Case{"192.0.2.0/24", "10.96.0.0/12", "192.0.2.2", "lies in --pod-subnet"},
        Case{"10.244.0.0", "10.96.0.0/12", "192.0.2.2", "--pod-subnet \"10.244.0.0\" is no IPv4 subnet"},
        Case{"10.244.0.0/24", "fd00::/64", "192.0.2.2", "--service-subnet \"fd00::/64\" is no IPv4 subnet"}}) {
    ClusterConfig config;
    config.podSubnet = c.pods;
    config.serviceSubnet = c.services;
    config.nodeIp = c.node;
    auto checked = checkAddresses(config);
    EXPECT_EQ(checked.has_value(), c.want.empty());
    if (!checked) EXPECT_NE(checked.error().message().find(c.want), std::string::npos) << checked.error().message();
  }
}

}  // namespace
}  // namespace knarr::cluster
