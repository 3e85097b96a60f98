#include "kube_proxy/conntrack.h"

#include <gtest/gtest.h>

namespace knarr::kube_proxy {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

TEST(UdpFrontends, tellsStaleFlows) {
  ServicePort port;
  port.name = {"d/dns", "dns", "udp"};
  port.clusterIp = ip("10.96.0.10");
  port.port = 53;
  port.nodePort = 30053;
  port.externalIps = {ip("192.0.2.1")};
  Endpoint alive{.ip = ip("10.244.0.5"), .port = 5353}, leaving{.ip = ip("10.244.0.6"), .port = 5353};
  leaving.ready = false;
  leaving.terminating = true;
  Endpoint broken{.ip = ip("10.244.0.7"), .port = 5353};
  broken.ready = broken.serving = false;
  UdpFrontends frontends;
  frontends.add(port, {alive, leaving, broken});
  struct Case {
    const char* to;
    int toPort;
    const char* from;
    int fromPort;
    bool stale;
  };
  for (const Case& c : std::initializer_list<Case>{{"10.96.0.10", 53, "10.244.0.5", 5353, false},
                                                   {"10.96.0.10", 53, "10.244.0.6", 5353, false},
                                                   {"10.96.0.10", 53, "10.244.0.7", 5353, true},
                                                   {"10.96.0.10", 53, "10.244.0.9", 5353, true},
                                                   {"10.96.0.10", 53, "10.96.0.10", 53, true},
                                                   {"10.96.0.10", 54, "10.96.0.10", 54, false},
                                                   {"192.0.2.1", 53, "10.244.0.9", 5353, true},
                                                   {"10.0.0.1", 30053, "10.244.0.9", 5353, true},
                                                   {"10.0.0.1", 30053, "10.244.0.5", 5353, false},
                                                   {"8.8.8.8", 53, "8.8.8.8", 53, false}})
    EXPECT_EQ(frontends.isStale({ip(c.to), c.toPort, ip(c.from), c.fromPort}), c.stale)
        << c.to << ":" << c.toPort << " " << c.from;
}

TEST(UdpFrontends, leavesPortsWithoutEndpointsAndTcpAlone) {
  ServicePort port;
  port.name = {"d/dns", "dns", "udp"};
  port.clusterIp = ip("10.96.0.10");
  port.port = 53;
  UdpFrontends frontends;
  frontends.add(port, {});
  port.name.protocol = "tcp";
  frontends.add(port, {Endpoint{.ip = ip("10.244.0.5"), .port = 1}});
  EXPECT_TRUE(frontends.empty());
  EXPECT_FALSE(frontends.isStale({ip("10.96.0.10"), 53, ip("10.244.0.9"), 1}));
}

}  // namespace
}  // namespace knarr::kube_proxy
