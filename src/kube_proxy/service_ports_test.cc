// What is read out of Services and slices, and which endpoints a port uses, by table.
#include "kube_proxy/service_ports.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"

namespace knarr::kube_proxy {
namespace {

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return schema::Mut<T>(std::move(decoded->object)).publish();
}

std::vector<ServicePort> ports(const std::string& spec, const std::string& status = "", bool v6 = false) {
  return servicePortsOf(*fromJson<corev1::Service>(fmt::format(
                            R"({{"metadata":{{"namespace":"d","name":"s"}},"spec":{{{}}},"status":{{{}}}}})", spec, status)),
                        v6);
}

TEST(ServicePorts, servicesWithoutAddressesAreSkipped) {
  for (const char* spec : {R"("clusterIP":"None","ports":[{"port":80}])", R"("ports":[{"port":80}])",
                           R"("type":"ExternalName","clusterIP":"10.0.0.1","ports":[{"port":80}])",
                           R"("clusterIP":"fd00::1","ports":[{"port":80}])", R"("clusterIP":"nonsense","ports":[{"port":80}])",
                           R"("clusterIPs":["fd00::1"],"clusterIP":"10.0.0.1","ipFamilies":["IPv6"],"ports":[{"port":80}])"})
    EXPECT_TRUE(ports(spec).empty()) << spec;
}

TEST(ServicePorts, readsEverything) {
  auto out = ports(
      R"("type":"LoadBalancer","clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"],"ipFamilies":["IPv4","IPv6"],
         "externalIPs":["192.0.2.1","fd01::1"," ","x"],"loadBalancerSourceRanges":[" 10.1.0.0/16 ","10.1.2.0/24","fd00::/8","x"],
         "sessionAffinity":"ClientIP","externalTrafficPolicy":"Local","internalTrafficPolicy":"Local",
         "ports":[{"name":"a","port":80,"nodePort":30080},{"name":"b","port":53,"protocol":"UDP"}])",
      R"("loadBalancer":{"ingress":[{"ip":"192.0.2.5"},{"ip":"192.0.2.6","ipMode":"Proxy"},{"hostname":"x.example"}]})");
  ASSERT_EQ(out.size(), 2u);
  const ServicePort& a = out[0];
  EXPECT_EQ(a.name.text(), "d/s:a");
  EXPECT_EQ(a.name.protocol, "tcp");
  EXPECT_EQ(out[1].name.protocol, "udp");
  EXPECT_EQ(a.nodePort, 30080);
  ASSERT_EQ(a.externalIps.size(), 1u);
  ASSERT_EQ(a.loadBalancerIps.size(), 1u);
  EXPECT_EQ(a.loadBalancerIps[0].text(), "192.0.2.5");
  ASSERT_EQ(a.sourceRanges.size(), 1u) << "a range inside another is left out";
  EXPECT_EQ(a.sourceRanges[0].text(), "10.1.0.0/16");
  EXPECT_EQ(a.affinitySeconds, 10800);
  EXPECT_TRUE(a.internalLocal && a.externalLocal);
}

TEST(ServicePorts, rangesOfAllMeanNone) {
  EXPECT_TRUE(ports(R"("clusterIP":"10.0.0.1","loadBalancerSourceRanges":["10.0.0.0/8","0.0.0.0/0"],"ports":[{"port":1}])")[0]
                  .sourceRanges.empty());
}

TEST(ServicePorts, externalPolicyNeedsAnOutside) {
  EXPECT_FALSE(ports(R"("clusterIP":"10.0.0.1","externalTrafficPolicy":"Local","ports":[{"port":1}])")[0].externalLocal);
  EXPECT_TRUE(
      ports(R"("clusterIP":"10.0.0.1","externalTrafficPolicy":"Local","externalIPs":["192.0.2.1"],"ports":[{"port":1}])")[0]
          .externalLocal);
}

Ref<discoveryv1::EndpointSlice> slice(const std::string& endpoints,
                                      const std::string& portsJson = R"({"name":"","port":8080,"protocol":"TCP"})",
                                      const char* type = "IPv4") {
  return fromJson<discoveryv1::EndpointSlice>(
      fmt::format(R"({{"addressType":"{}","endpoints":[{}],"ports":[{}]}})", type, endpoints, portsJson));
}

TEST(Endpoints, mergesSlices) {
  auto all = endpointsOf(
      "d/s",
      {slice(
           R"({"addresses":["10.0.0.2","10.0.0.9"],"nodeName":"n1"},{"addresses":[]},{"addresses":["10.0.0.1"],"conditions":{"ready":false}})"),
       slice(R"({"addresses":["10.0.0.1"],"nodeName":"n2"},{"addresses":["10.0.0.2"],"conditions":{"terminating":true}})"),
       slice(R"({"addresses":["fd00::1"]})", R"({"name":"","port":1})", "IPv6"),
       slice(R"({"addresses":["10.0.0.3"]})", R"({"name":"x"},{"port":5},{"name":"y","port":0})")},
      false, "n1");
  ASSERT_EQ(all.size(), 1u);
  const auto& list = all.begin()->second;
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].text(), "10.0.0.1:8080");
  EXPECT_TRUE(list[0].ready) << "the later one that is not leaving is kept";
  EXPECT_EQ(list[1].text(), "10.0.0.2:8080");
  EXPECT_TRUE(list[1].local);
  EXPECT_FALSE(list[1].terminating);
}

// r: ready, t: serving and terminating, n: not ready; an upper-case letter is local.
std::vector<Endpoint> endpoints(std::string_view shape) {
  std::vector<Endpoint> out;
  int last = 1;
  for (char c : shape) {
    Endpoint e;
    e.ip = *IpAddress::parse(fmt::format("10.0.0.{}", last++));
    e.port = 1;
    e.local = std::isupper(static_cast<unsigned char>(c)) != 0;
    char kind = static_cast<char>(std::tolower(c));
    e.ready = kind == 'r';
    e.serving = kind != 'n';
    e.terminating = kind == 't';
    out.push_back(e);
  }
  return out;
}
std::string shapeOf(const std::vector<Endpoint>& list) {
  std::string out;
  for (const Endpoint& e : list) {
    char kind = e.ready ? 'r' : e.terminating ? 't' : 'n';
    out += e.local ? static_cast<char>(std::toupper(kind)) : kind;
  }
  return out;
}

TEST(ChooseEndpoints, policiesAndTerminating) {
  struct Case {
    const char* shape;
    bool internalLocal, externalLocal;
    const char *cluster, *local;
    bool any;
  };
  for (const Case& c : std::initializer_list<Case>{{"Rrn", false, false, "Rr", "", true},
                                                   {"Rrt", true, true, "Rr", "R", true},
                                                   {"rT", false, true, "r", "T", true},
                                                   {"rt", false, true, "r", "", true},
                                                   {"Tt", false, true, "Tt", "T", true},
                                                   {"tn", false, true, "t", "", true},
                                                   {"nN", false, true, "", "", false},
                                                   {"", false, true, "", "", false},
                                                   {"r", true, false, "r", "", true}}) {
    ServicePort port;
    port.internalLocal = c.internalLocal;
    port.externalLocal = c.externalLocal;
    port.nodePort = 30000;
    Chosen chosen = chooseEndpoints(endpoints(c.shape), port, "n1", "");
    EXPECT_EQ(shapeOf(chosen.cluster), c.cluster) << c.shape;
    EXPECT_EQ(shapeOf(chosen.local), c.local) << c.shape;
    EXPECT_EQ(chosen.any, c.any) << c.shape;
  }
}

TEST(ChooseEndpoints, localOnlyKnowsOfOthers) {
  ServicePort port;
  port.internalLocal = true;
  Chosen chosen = chooseEndpoints(endpoints("r"), port, "n1", "");
  EXPECT_TRUE(chosen.cluster.empty() && chosen.local.empty());
  EXPECT_TRUE(chosen.any) << "dropped, not refused";
}

TEST(ChooseEndpoints, hints) {
  auto all = endpoints("rrn");
  all[0].zones = {"z1"};
  all[1].zones = {"z2"};
  ServicePort port;
  EXPECT_EQ(chooseEndpoints(all, port, "n1", "z1").cluster.size(), 1u);
  EXPECT_EQ(chooseEndpoints(all, port, "n1", "z3").cluster.size(), 2u) << "no hint names our zone";
  EXPECT_EQ(chooseEndpoints(all, port, "n1", "").cluster.size(), 2u);
  all[0].nodes = {"n1"};
  EXPECT_EQ(chooseEndpoints(all, port, "n1", "z2").cluster[0].zones, std::set<std::string>{"z2"}) << "not all have a node hint";
  all[1].nodes = {"n2"};
  EXPECT_EQ(chooseEndpoints(all, port, "n1", "z2").cluster[0].nodes, std::set<std::string>{"n1"});
  all[1].zones.clear();
  EXPECT_EQ(chooseEndpoints(all, port, "n9", "z1").cluster.size(), 2u) << "one ready endpoint without a hint";
}

}  // namespace
}  // namespace knarr::kube_proxy
