// The zone's answers, by table. Source of the vectors: schema 1.1.0 and CoreDNS's own examples.
#include "dns/cluster_zone.h"

#include "dns/zone_fixture.h"

namespace knarr::dns {
namespace {

constexpr const char* kHttp = R"({"name":"http","port":80,"protocol":"TCP"})";

ListedCluster cluster() {
  ListedCluster out;
  out.namespaces = {"testns", "empty", "kube-system"};
  out.addService("svc1",
                 R"("clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"],"ports":[{"name":"http","port":80,"protocol":"TCP"}])");
  out.addService("dual", R"("clusterIP":"10.0.0.3","clusterIPs":["10.0.0.3","fd00::3"],"ports":[{"name":"http","port":80}])");
  out.addService(
      "plain",
      R"("clusterIP":"10.0.0.4","clusterIPs":["10.0.0.4"],"ports":[{"port":8080},{"name":"dns","port":53,"protocol":"UDP"}])");
  out.addService("external", R"("type":"ExternalName","externalName":"ext.interwebs.test")");
  out.addService("literal", R"("type":"ExternalName","externalName":"10.9.8.7")");
  out.addService("hdls1", R"("clusterIP":"None","clusterIPs":["None"],"ports":[{"name":"http","port":80}])");
  out.addSlice("hdls1",
               R"({"addresses":["172.0.0.2"]},{"addresses":["172.0.0.3"]},{"addresses":["172.0.0.4"],"hostname":"dup-name"},
                  {"addresses":["172.0.0.5"],"hostname":"dup-name"},{"addresses":["172.0.0.9"],"conditions":{"ready":false}})",
               kHttp);
  out.addSlice("hdls1", R"({"addresses":["5678:abcd::1"]},{"addresses":["5678:abcd::"]})", kHttp, "IPv6");
  out.addService("idle", R"("clusterIP":"None","clusterIPs":["None"],"ports":[{"name":"http","port":80}])");
  out.addSlice("idle", R"({"addresses":["172.0.0.10"],"conditions":{"ready":false}})", kHttp);
  out.addService("portless", R"("clusterIP":"None","clusterIPs":["None"])");
  out.addSlice("portless", R"({"addresses":["172.0.0.20"],"hostname":"zero"})", "");
  out.addSlice("svc1", R"({"addresses":["172.0.0.30"],"hostname":"web-0"})", R"({"name":"http","port":8080,"protocol":"TCP"})");
  out.services.push_back(objectFrom<corev1::Service>(
      R"({"metadata":{"namespace":"kube-system","name":"kube-dns"},"spec":{"clusterIP":"10.0.0.10","clusterIPs":["10.0.0.10"],"ports":[{"port":53}]}})"));
  return out;
}

ZoneConfig config() {
  ZoneConfig out;
  out.zone = *nameFromText("cluster.local");
  out.ttl = 5;
  out.serviceIp = *IpAddress::parse("10.0.0.10");
  return out;
}

ZoneAnswer ask(const std::string& name, uint16_t type) {
  ListedCluster view = cluster();
  return answerFromCluster({*nameFromText(name), type, kClassIn}, config(), view);
}

using Texts = std::vector<std::string>;

TEST(ClusterZone, answers) {
  struct Case {
    const char* name;
    uint16_t type;
    Texts answers;
    Texts additional = {};
  };
  for (const Case& c : std::initializer_list<Case>{
           {"svc1.testns.svc.cluster.local", kA, {"svc1.testns.svc.cluster.local. 5 A 10.0.0.1"}},
           {"SVC1.TestNS.svc.cluster.local", kA, {"SVC1.TestNS.svc.cluster.local. 5 A 10.0.0.1"}},
           {"dual.testns.svc.cluster.local", kAAAA, {"dual.testns.svc.cluster.local. 5 AAAA fd00::3"}},
           {"svc1.testns.svc.cluster.local",
            kSRV,
            {"svc1.testns.svc.cluster.local. 5 SRV 0 100 80 svc1.testns.svc.cluster.local."},
            {"svc1.testns.svc.cluster.local. 5 A 10.0.0.1"}},
           {"_http._tcp.svc1.testns.svc.cluster.local",
            kSRV,
            {"_http._tcp.svc1.testns.svc.cluster.local. 5 SRV 0 100 80 svc1.testns.svc.cluster.local."},
            {"svc1.testns.svc.cluster.local. 5 A 10.0.0.1"}},
           {"http.TCP.svc1.testns.svc.cluster.local", kA, {"http.TCP.svc1.testns.svc.cluster.local. 5 A 10.0.0.1"}},
           {"dual.testns.svc.cluster.local",
            kSRV,
            {"dual.testns.svc.cluster.local. 5 SRV 0 50 80 dual.testns.svc.cluster.local."},
            {"dual.testns.svc.cluster.local. 5 A 10.0.0.3", "dual.testns.svc.cluster.local. 5 AAAA fd00::3"}},
           {"_dns._udp.plain.testns.svc.cluster.local",
            kSRV,
            {"_dns._udp.plain.testns.svc.cluster.local. 5 SRV 0 100 53 plain.testns.svc.cluster.local."},
            {"plain.testns.svc.cluster.local. 5 A 10.0.0.4"}},
           {"hdls1.testns.svc.cluster.local",
            kA,
            {"hdls1.testns.svc.cluster.local. 5 A 172.0.0.2", "hdls1.testns.svc.cluster.local. 5 A 172.0.0.3",
             "hdls1.testns.svc.cluster.local. 5 A 172.0.0.4", "hdls1.testns.svc.cluster.local. 5 A 172.0.0.5"}},
           {"dup-name.hdls1.testns.svc.cluster.local",
            kA,
            {"dup-name.hdls1.testns.svc.cluster.local. 5 A 172.0.0.4", "dup-name.hdls1.testns.svc.cluster.local. 5 A 172.0.0.5"}},
           {"172-0-0-3.hdls1.testns.svc.cluster.local", kA, {"172-0-0-3.hdls1.testns.svc.cluster.local. 5 A 172.0.0.3"}},
           {"5678-abcd--0.hdls1.testns.svc.cluster.local",
            kAAAA,
            {"5678-abcd--0.hdls1.testns.svc.cluster.local. 5 AAAA 5678:abcd::"}},
           {"_http._tcp.hdls1.testns.svc.cluster.local",
            kSRV,
            {"_http._tcp.hdls1.testns.svc.cluster.local. 5 SRV 0 16 80 172-0-0-2.hdls1.testns.svc.cluster.local.",
             "_http._tcp.hdls1.testns.svc.cluster.local. 5 SRV 0 16 80 172-0-0-3.hdls1.testns.svc.cluster.local.",
             "_http._tcp.hdls1.testns.svc.cluster.local. 5 SRV 0 16 80 5678-abcd--0.hdls1.testns.svc.cluster.local.",
             "_http._tcp.hdls1.testns.svc.cluster.local. 5 SRV 0 16 80 5678-abcd--1.hdls1.testns.svc.cluster.local.",
             "_http._tcp.hdls1.testns.svc.cluster.local. 5 SRV 0 16 80 dup-name.hdls1.testns.svc.cluster.local."},
            {"172-0-0-2.hdls1.testns.svc.cluster.local. 5 A 172.0.0.2", "172-0-0-3.hdls1.testns.svc.cluster.local. 5 A 172.0.0.3",
             "5678-abcd--0.hdls1.testns.svc.cluster.local. 5 AAAA 5678:abcd::",
             "5678-abcd--1.hdls1.testns.svc.cluster.local. 5 AAAA 5678:abcd::1",
             "dup-name.hdls1.testns.svc.cluster.local. 5 A 172.0.0.4", "dup-name.hdls1.testns.svc.cluster.local. 5 A 172.0.0.5"}},
           {"web-0.svc1.testns.svc.cluster.local", kA, {"web-0.svc1.testns.svc.cluster.local. 5 A 172.0.0.30"}},
           {"portless.testns.svc.cluster.local", kA, {"portless.testns.svc.cluster.local. 5 A 172.0.0.20"}},
           {"zero.portless.testns.svc.cluster.local", kA, {"zero.portless.testns.svc.cluster.local. 5 A 172.0.0.20"}},
           {"external.testns.svc.cluster.local", kCNAME, {"external.testns.svc.cluster.local. 5 CNAME ext.interwebs.test."}},
           {"10-240-0-1.testns.pod.cluster.local", kA, {"10-240-0-1.testns.pod.cluster.local. 5 A 10.240.0.1"}},
           {"x.10-240-0-1.testns.pod.cluster.local", kA, {"x.10-240-0-1.testns.pod.cluster.local. 5 A 10.240.0.1"}},
           {"fd00--1.testns.pod.cluster.local", kAAAA, {"fd00--1.testns.pod.cluster.local. 5 AAAA fd00::1"}},
           {"dns-version.cluster.local", kTXT, {"dns-version.cluster.local. 28800 TXT \"1.1.0\""}},
           {"1.0.0.10.in-addr.arpa", kPTR, {"1.0.0.10.in-addr.arpa. 5 PTR svc1.testns.svc.cluster.local."}},
           {"4.0.0.172.in-addr.arpa", kPTR, {"4.0.0.172.in-addr.arpa. 5 PTR dup-name.hdls1.testns.svc.cluster.local."}},
           {"30.0.0.172.in-addr.arpa", kPTR, {"30.0.0.172.in-addr.arpa. 5 PTR web-0.svc1.testns.svc.cluster.local."}},
           {"cluster.local",
            kNS,
            {"cluster.local. 5 NS kube-dns.kube-system.svc.cluster.local."},
            {"kube-dns.kube-system.svc.cluster.local. 5 A 10.0.0.10"}},
           {"ns.dns.cluster.local", kA, {"ns.dns.cluster.local. 5 A 10.0.0.10"}},
           {"cluster.local", kSOA, {"cluster.local. 5 SOA"}},
       }) {
    ZoneAnswer answer = ask(c.name, c.type);
    EXPECT_EQ(answer.kind, ZoneAnswer::Done) << c.name;
    EXPECT_EQ(answer.rcode, kNoError) << c.name;
    EXPECT_EQ(recordTexts(answer.answers), c.answers) << c.name;
    EXPECT_EQ(recordTexts(answer.additional), c.additional) << c.name;
    EXPECT_TRUE(answer.authority.empty()) << c.name;
  }
}

TEST(ClusterZone, negativeAnswers) {
  struct Case {
    const char* name;
    uint16_t type;
    uint16_t rcode;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"svc1.testns.svc.cluster.local", kAAAA, kNoError},
           {"svc1.testns.svc.cluster.local", kTXT, kNoError},
           {"svc1.testns.svc.cluster.local", kMX, kNoError},
           {"svc1.testns.svc.cluster.local", kANY, kNoError},
           {"svc1.testns.svc.cluster.local", kSOA, kNoError},
           {"svc.cluster.local", kA, kNoError},
           {"pod.cluster.local", kNS, kNoError},
           {"cluster.local", kA, kNoError},
           {"testns.svc.cluster.local", kA, kNoError},
           {"empty.pod.cluster.local", kA, kNoError},
           {"external.testns.svc.cluster.local", kSRV, kNoError},
           {"portless.testns.svc.cluster.local", kSRV, kNoError},
           {"idle.testns.svc.cluster.local", kA, kNxDomain},
           {"svc0.testns.svc.cluster.local", kA, kNxDomain},
           {"svc1.nons.svc.cluster.local", kA, kNxDomain},
           {"nons.svc.cluster.local", kA, kNxDomain},
           {"foo.cluster.local", kNS, kNxDomain},
           {"svc1.testns.other.cluster.local", kA, kNxDomain},
           {"bogus.hdls1.testns.svc.cluster.local", kA, kNxDomain},
           {"_nope._tcp.svc1.testns.svc.cluster.local", kSRV, kNxDomain},
           {"_http._udp.svc1.testns.svc.cluster.local", kSRV, kNxDomain},
           {"a._http._tcp.svc1.testns.svc.cluster.local", kSRV, kNxDomain},
           {"x.external.testns.svc.cluster.local", kCNAME, kNxDomain},
           {"literal.testns.svc.cluster.local", kCNAME, kNxDomain},
           {"10-240-0.testns.pod.cluster.local", kA, kNxDomain},
           {"10-240-0-1.nons.pod.cluster.local", kA, kNxDomain},
           {"a.b.c.10-240-0-1.testns.pod.cluster.local", kA, kNxDomain},
       }) {
    ZoneAnswer answer = ask(c.name, c.type);
    EXPECT_EQ(answer.kind, ZoneAnswer::Done) << c.name;
    EXPECT_EQ(answer.rcode, c.rcode) << c.name << " " << c.type;
    EXPECT_TRUE(answer.answers.empty()) << c.name;
    ASSERT_EQ(answer.authority.size(), 1u) << c.name;
    EXPECT_EQ(recordText(answer.authority[0]), "cluster.local. 5 SOA");
    EXPECT_EQ(soaMinimum(answer.authority[0].rdata), 5u);
  }
}

TEST(ClusterZone, leavesOthersToOthers) {
  for (const char* name : {"example.com", "local", "xcluster.local", "9.9.9.9.in-addr.arpa", "0.0.10.in-addr.arpa"})
    EXPECT_EQ(ask(name, kPTR).kind, ZoneAnswer::NotOurs) << name;
  ZoneAnswer chase = ask("external.testns.svc.cluster.local", kA);
  EXPECT_EQ(chase.kind, ZoneAnswer::Chase);
  EXPECT_EQ(textOf(chase.chaseTo), "ext.interwebs.test.");
}

}  // namespace
}  // namespace knarr::dns
