#include "kubelet/container_config.h"

#include "kubelet/admission.h"
#include "kubelet/container_back_off.h"
#include "kubelet/image_manager.h"
#include "kubelet/resources.h"
#include "kubelet/test_pod_for_test.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;

constexpr const char* kOne = R"("containers":[{"name":"a","image":"i"}])";

TEST(Expand, replacesWhatItKnows) {
  Variables own = {{"A", "1"}}, services = {{"A", "9"}, {"S", "2"}};
  for (auto [text, expected] :
       {std::pair("$(A)-$(C)-$$(A)", "1-$(C)-$(A)"), std::pair("$(S)", "2"), std::pair("$(A", "$(A"), std::pair("$A", "$A"),
        std::pair("$", "$"), std::pair("$$", "$"), std::pair("", ""), std::pair("$(A)$(A)", "11"), std::pair("$()", "$()")}) {
    EXPECT_EQ(expand(text, {&own, &services}), expected) << text;
  }
}

TEST(PodField, names) {
  auto pod = podOf(kOne, R"(,"labels":{"app":"x","b":"y"},"annotations":{"k":"v"})");
  EnvironmentInputs inputs;
  inputs.nodeIps = {"192.168.0.1"};
  inputs.podIps = {"10.0.0.1", "fd00::1"};
  for (auto [path, expected] :
       {std::pair("metadata.name", "web"), std::pair("metadata.namespace", "shop"), std::pair("metadata.uid", "u1"),
        std::pair("metadata.labels['app']", "x"), std::pair("metadata.annotations['k']", "v"),
        std::pair("metadata.annotations['none']", ""), std::pair("status.podIP", "10.0.0.1"),
        std::pair("status.podIPs", "10.0.0.1,fd00::1"), std::pair("status.hostIP", "192.168.0.1"),
        std::pair("spec.nodeName", "n1"), std::pair("metadata.labels", "app=\"x\"\nb=\"y\"")}) {
    EXPECT_EQ(podField(*pod, path, inputs).value_or("?"), expected) << path;
  }
  EXPECT_FALSE(podField(*pod, "spec.replicas", inputs));
}

TEST(ContainerResource, isDividedAndRoundedUp) {
  auto pod = podOf(R"("containers":[{"name":"a","image":"i","resources":{"limits":{"cpu":"1500m","memory":"64Mi"}}}])");
  EnvironmentInputs inputs;
  inputs.nodeMemoryBytes = 1 << 30;
  auto value = [&](const char* resource, const char* divisor) {
    corev1::ResourceFieldSelector selector{};
    selector.resource = resource;
    selector.divisor.text = divisor;
    return containerResource(pod->spec.containers[0], selector, inputs).value_or("error");
  };
  EXPECT_EQ(value("limits.cpu", ""), "2");
  EXPECT_EQ(value("limits.cpu", "1m"), "1500");
  EXPECT_EQ(value("limits.memory", "1Mi"), "64");
  EXPECT_EQ(value("requests.memory", ""), "0");
  EXPECT_EQ(value("limits.bananas", ""), "error");
}

TEST(ServiceVariables, announceServices) {
  auto decoded = codec::decodeJson(
      schema::typeInfoOf<corev1::Service>(),
      R"({"metadata":{"name":"my-db"},"spec":{"clusterIP":"10.96.0.7","ports":[{"name":"sql","port":5432,"protocol":"TCP"}]}})");
  ASSERT_TRUE(decoded);
  Variables out = serviceVariables({schema::Ref<corev1::Service>(std::move(decoded->object).publish())});
  EXPECT_EQ(out, (Variables{{"MY_DB_SERVICE_HOST", "10.96.0.7"},
                            {"MY_DB_SERVICE_PORT", "5432"},
                            {"MY_DB_SERVICE_PORT_SQL", "5432"},
                            {"MY_DB_PORT", "tcp://10.96.0.7:5432"},
                            {"MY_DB_PORT_5432_TCP", "tcp://10.96.0.7:5432"},
                            {"MY_DB_PORT_5432_TCP_PROTO", "tcp"},
                            {"MY_DB_PORT_5432_TCP_PORT", "5432"},
                            {"MY_DB_PORT_5432_TCP_ADDR", "10.96.0.7"}}));
}

TEST(PodDns, followsThePolicy) {
  KubeletConfig config;
  config.clusterDns = {"10.96.0.10"};
  constexpr const char* kHost =
      "nameserver 1.1.1.1\nsearch old.example\nsearch example.com.\noptions timeout:2\n# "
      "nameserver 9.9.9.9\n";
  auto dns = [&](const std::string& more) { return podDns(*podOf(more + kOne), config, kHost); };
  DnsSettings cluster = dns(R"("dnsPolicy":"ClusterFirst",)");
  EXPECT_EQ(cluster.servers, (std::vector<std::string>{"10.96.0.10"}));
  EXPECT_EQ(cluster.searches,
            (std::vector<std::string>{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"}));
  EXPECT_EQ(cluster.options, (std::vector<std::string>{"ndots:5"}));
  EXPECT_EQ(dns(R"("dnsPolicy":"ClusterFirst","hostNetwork":true,)").servers, (std::vector<std::string>{"1.1.1.1"}));
  EXPECT_EQ(dns(R"("dnsPolicy":"Default",)").options, (std::vector<std::string>{"timeout:2"}));
  DnsSettings none = dns(
      R"("dnsPolicy":"None","dnsConfig":{"nameservers":["8.8.8.8","8.8.4.4","1.2.3.4","5.6.7.8"],"options":[{"name":"ndots","value":"2"},{"name":"edns0"}]},)");
  EXPECT_EQ(none.servers.size(), 3u);
  EXPECT_EQ(none.options, (std::vector<std::string>{"ndots:2", "edns0"}));
}

TEST(HostName, isCutAndQualified) {
  auto named = podOf(R"("hostname":"h","subdomain":"sub","setHostnameAsFQDN":true,"containers":[{"name":"a","image":"i"}])");
  HostName host = podHostName(*named, "cluster.local").value();
  EXPECT_EQ(host.name + "|" + host.domain, "h|sub.shop.svc.cluster.local");
  auto hosts =
      hostsFile(*podOf(R"("hostAliases":[{"ip":"1.2.3.4","hostnames":["x","y"]}],"containers":[{"name":"a","image":"i"}])"),
                {"web", ""}, {"10.0.0.1"}, "");
  EXPECT_TRUE(hosts.ends_with("fe00::2\tip6-allrouters\n10.0.0.1\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\tx\ty\n"))
      << hosts;
}

TEST(Credentials, theClosestKeyWins) {
  constexpr const char* kConfig = R"({"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3"},
      "*.example.com":{"username":"wild","password":"p"},"r.example.com/team":{"username":"team","password":"p"}}})";
  auto user = [&](const char* image) { return credentialsFor(kConfig, image).value_or(RegistryCredentials{}).username; };
  EXPECT_EQ(user("busybox"), "hub");
  EXPECT_EQ(user("docker.io/library/busybox:1"), "hub");
  EXPECT_EQ(user("r.example.com/other/x:1"), "wild");
  EXPECT_EQ(user("r.example.com/team/x"), "team");
  EXPECT_EQ(user("a.b.example.com/x"), "");
  EXPECT_FALSE(credentialsFor("not json", "busybox"));
}

TEST(Resources, cgroupFigures) {
  for (auto [milli, shares, quota] : {std::tuple(0, 2, 0), std::tuple(5, 5, 1000), std::tuple(100, 102, 10000),
                                      std::tuple(500, 512, 50000), std::tuple(64000, 65536, 6400000)}) {
    EXPECT_EQ(cpuSharesOf(milli), shares) << milli;
    EXPECT_EQ(cpuQuotaOf(milli, kCpuPeriodMicros), quota) << milli;
  }
  auto burstable = podOf(R"("containers":[{"name":"a","image":"i","resources":{"requests":{"memory":"4000000000"}}}])");
  EXPECT_EQ(qosClassOf(*burstable), "Burstable");
  EXPECT_EQ(oomScoreAdjust(*burstable, burstable->spec.containers[0], 8'000'000'000), 500);
  EXPECT_EQ(podCgroup(*burstable, ""), "/kubepods/burstable/podu1");
  EXPECT_EQ(podCgroup(*burstable, "/knarr-two"), "/knarr-two/kubepods/burstable/podu1");
  auto guaranteed = podOf(
      R"("containers":[{"name":"a","image":"i","resources":{"limits":{"memory":"1Gi","cpu":"1"},"requests":{"cpu":"1000m"}}}])");
  EXPECT_EQ(qosClassOf(*guaranteed), "Guaranteed");
  EXPECT_EQ(oomScoreAdjust(*guaranteed, guaranteed->spec.containers[0], 1), -997);
  auto plain = podOf(kOne);
  EXPECT_EQ(qosClassOf(*plain), "BestEffort");
  EXPECT_EQ(oomScoreAdjust(*plain, plain->spec.containers[0], 8'000'000'000), 1000);
}

TEST(PodRequest, addsSidecarsToBoth) {
  auto pod = podOf(R"("overhead":{"cpu":"10m"},
    "initContainers":[{"name":"s","image":"i","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},
                      {"name":"init","image":"i","resources":{"requests":{"cpu":"2","memory":"1Mi"}}}],
    "containers":[{"name":"a","image":"i","resources":{"requests":{"cpu":"1","memory":"2Mi"}}}])");
  PodRequest request = podRequest(*pod);
  EXPECT_EQ(request.cpuMilli, 2110);
  EXPECT_EQ(request.memoryBytes, 2 << 20);
}

TEST(BackOff, doublesAndForgets) {
  BackOff backOff(10s, 300s);
  constexpr int64_t kSecond = 1'000'000'000;
  int64_t now = 1000 * kSecond;
  std::vector<std::string> delays;
  EXPECT_EQ(backOff.remaining("k", now, now), 0) << "the first restart is immediate";
  for (int i = 0; i < 8; ++i) {
    backOff.advance("k", now, now);
    delays.push_back(durationText(backOff.delayOf("k")));
    EXPECT_EQ(backOff.remaining("k", now, now + kSecond), (backOff.delayOf("k") - 1s).count());
    now += backOff.delayOf("k").count();
    EXPECT_EQ(backOff.remaining("k", now - backOff.delayOf("k").count(), now), 0);
  }
  EXPECT_EQ(delays, (std::vector<std::string>{"10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s", "5m0s"}));
  now += 601 * kSecond;
  EXPECT_EQ(backOff.remaining("k", now, now), 0) << "it ran long: the history is dropped";
  backOff.advance("k", now, now);
  EXPECT_EQ(backOff.delayOf("k"), 10s);
}

TEST(ContainerRequest, securityAndUsers) {
  KubeletConfig config;
  auto request = [&](const std::string& spec, ContainerInputs inputs) {
    auto pod = podOf(spec);
    return containerRequest(*pod, pod->spec.containers[0], config, {}, inputs);
  };
  ContainerInputs inputs;
  inputs.imageUsername = "app";
  ContainerInputs withVariable = inputs;
  withVariable.environment = {{"X", "1"}};
  auto made = request(R"json("containers":[{"name":"a","image":"i","args":["$(X)"],
      "securityContext":{"capabilities":{"drop":["ALL"]},"allowPrivilegeEscalation":false}}])json",
                      withVariable);
  ASSERT_TRUE(made);
  const auto& security = *(*made)->config->linux_->securityContext;
  EXPECT_EQ(security.runAsUsername, "app");
  EXPECT_TRUE(security.noNewPrivs);
  EXPECT_EQ(security.capabilities->dropCapabilities[0], "ALL");
  EXPECT_FALSE(security.maskedPaths.empty());
  EXPECT_EQ((*made)->config->args[0], "1");
  EXPECT_EQ((*made)->config->logPath, "a/0.log");
  auto refused = request(R"("securityContext":{"runAsNonRoot":true},"containers":[{"name":"a","image":"i"}])", inputs);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("non-numeric user (app)"), std::string::npos);
  auto numeric =
      request(R"("securityContext":{"runAsNonRoot":true,"runAsUser":7},"containers":[{"name":"a","image":"i"}])", inputs);
  ASSERT_TRUE(numeric);
  EXPECT_EQ((*numeric)->config->linux_->securityContext->runAsUser->value, 7);
}

}  // namespace
}  // namespace knarr::kubelet
