// Addresses and ports of Services, through writes and types.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/core_v1.h"
#include "apiserver/http_fixture.h"
#include "apiserver/user.h"
#include "store/store.h"

namespace knarr::apiserver {
namespace {

const std::string kServices = "/api/v1/namespaces/default/services";

class ServiceAllocatorTest : public HttpFixture {
 protected:
  HttpAnswer make(const std::string& name, const std::string& spec) {
    return post(kServices, fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{{}}}}})", name, spec));
  }
  HttpAnswer replace(const std::string& name, const std::string& spec) {
    return ask("admin", "PUT", kServices + "/" + name, fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{{}}}}})", name, spec),
               {{"Content-Type", "application/json"}});
  }
  HttpAnswer change(const std::string& name, const std::string& spec) {
    return patch(kServices + "/" + name, "merge-patch+json", fmt::format(R"({{"spec":{{{}}}}})", spec));
  }
};

TEST_F(ServiceAllocatorTest, anUpdateThatLeavesThemOutKeepsThem) {
  const std::string ports = R"("ports":[{"name":"a","port":80},{"name":"b","port":81}])";
  auto made = make("s", R"("type":"NodePort",)" + ports);
  ASSERT_EQ(made.status, 201) << made.body;
  auto same = replace("s", R"("type":"NodePort",)" + ports);
  ASSERT_EQ(same.status, 200) << same.body;
  for (const char* path :
       {"spec.clusterIP", "spec.clusterIPs", "spec.ports.0.nodePort", "spec.ports.1.nodePort", "spec.ipFamilies"})
    EXPECT_EQ(field(same, path), field(made, path)) << path;
  auto swapped =
      replace("s", fmt::format(R"("type":"NodePort","ports":[{{"name":"a","port":80,"nodePort":{}}},{{"name":"b","port":81}}])",
                               field(made, "spec.ports.1.nodePort")));
  ASSERT_EQ(swapped.status, 200) << swapped.body;
  EXPECT_EQ(field(swapped, "spec.ports.0.nodePort"), field(made, "spec.ports.1.nodePort"));
  EXPECT_NE(field(swapped, "spec.ports.1.nodePort"), field(made, "spec.ports.1.nodePort"))
      << "it was asked for by the other port";
  auto plain = replace("s", ports);
  ASSERT_EQ(plain.status, 200) << plain.body;
  EXPECT_EQ(field(plain, "spec.clusterIP"), field(made, "spec.clusterIP"));
  EXPECT_EQ(field(plain, "spec.ports.0.nodePort"), "");
}

TEST_F(ServiceAllocatorTest, portsOfOneNumberShareANodePort) {
  const std::string both = R"("type":"NodePort","ports":[{"name":"u","port":53,"protocol":"UDP"},{"name":"t","port":53)";
  auto dynamic = make("d", both + "}]");
  ASSERT_EQ(dynamic.status, 201) << dynamic.body;
  EXPECT_EQ(field(dynamic, "spec.ports.0.nodePort"), field(dynamic, "spec.ports.1.nodePort"));
  auto chosen = make("c", both + R"(,"nodePort":30444}])");
  ASSERT_EQ(chosen.status, 201) << chosen.body;
  EXPECT_EQ(field(chosen, "spec.ports.0.nodePort"), "30444");
  auto taken = make("x", R"("type":"NodePort","ports":[{"port":80,"nodePort":30444}])");
  EXPECT_EQ(field(taken, "message"),
            "Service \"x\" is invalid: spec.ports[0].nodePort: Invalid value: 30444: provided port is already allocated");
  auto outside = make("x", R"("type":"NodePort","ports":[{"port":80,"nodePort":80}])");
  EXPECT_NE(field(outside, "message").find("The range of valid ports is 30000-32767"), std::string::npos) << outside.body;
}

TEST_F(ServiceAllocatorTest, localBalancersHaveAHealthCheckPort) {
  auto made = make("b", R"("type":"LoadBalancer","externalTrafficPolicy":"Local","ports":[{"port":80}])");
  ASSERT_EQ(made.status, 201) << made.body;
  std::string port = field(made, "spec.healthCheckNodePort");
  EXPECT_NE(port, "");
  EXPECT_NE(port, field(made, "spec.ports.0.nodePort"));
  EXPECT_EQ(field(replace("b", R"("type":"LoadBalancer","externalTrafficPolicy":"Local","ports":[{"port":80}])"),
                  "spec.healthCheckNodePort"),
            port);
  auto taken = make("x", fmt::format(R"("type":"NodePort","ports":[{{"port":80,"nodePort":{}}}])", port));
  EXPECT_EQ(taken.status, 422) << taken.body;
  auto spread = change("b", R"("externalTrafficPolicy":"Cluster")");
  EXPECT_EQ(spread.status, 200) << spread.body;
  EXPECT_EQ(field(spread, "spec.healthCheckNodePort"), "");
  EXPECT_NE(field(change("b", R"("externalTrafficPolicy":"Local")"), "spec.healthCheckNodePort"), "");
  auto given =
      patch(kServices + "/b/status", "merge-patch+json", R"({"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}})");
  EXPECT_EQ(given.status, 200) << given.body;
  auto plain = change("b", R"("type":"ClusterIP")");
  EXPECT_EQ(plain.status, 200) << plain.body;
  EXPECT_EQ(field(plain, "spec.healthCheckNodePort"), "");
  EXPECT_EQ(field(plain, "status.loadBalancer"), "{}");
}

TEST_F(ServiceAllocatorTest, addressesThatAreAskedFor) {
  ASSERT_EQ(make("a", R"("clusterIP":"10.96.0.77","ports":[{"port":80}])").status, 201);
  struct Row {
    const char *address, *why;
  };
  for (const Row& row :
       {Row{"10.96.0.77", "provided IP is already allocated"},
        Row{"192.0.2.1", "the provided network does not match the current range"},
        Row{"10.96.0.0", "the provided IP (10.96.0.0) is not in the valid range. The range of valid IPs is 10.96.0.0/12"},
        Row{"10.111.255.255",
            "the provided IP (10.111.255.255) is not in the valid range. The range of valid IPs is 10.96.0.0/12"}})
    EXPECT_EQ(field(make("b", fmt::format(R"("clusterIP":"{}","ports":[{{"port":80}}])", row.address)), "message"),
              fmt::format("Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"{0}\"]: failed to allocate IP {0}: {1}",
                          row.address, row.why));
}

async::Task<void> makeService(client::Client* client, std::string name, std::string address, int32_t nodePort,
                              std::vector<std::string>* answers) {
  auto service = schema::newObject<corev1::Service>();
  service->metadata.name = service.str(name);
  service->spec.type = "NodePort";
  service->spec.clusterIP = service.str(address);
  auto& port = service->spec.ports.append(service.arena());
  port.port = 80;
  port.nodePort = nodePort;
  auto made = co_await client->create(client::resourceOf<corev1::Service>(), "default", "", std::move(service), {});
  answers->push_back(made ? std::string(schema::Ref<corev1::Service>(*made)->spec.clusterIP) : made.error().message());
}

// Writes that are under way together are in no cache yet.
TEST_F(ServiceAllocatorTest, oneOfManyAtOnceGetsIt) {
  store_ = store::makeMemoryStore(env_, {}, std::chrono::milliseconds(2));
  config_.serviceClusterIpRange = "10.97.0.0/27";
  restart();
  auto client = server_->clientFor(UserInfo{"admin", "", {"system:masters"}, {}});
  std::vector<std::string> answers;
  for (int i = 0; i < 5; ++i) gate_.spawn(makeService(client.get(), fmt::format("a{}", i), "10.97.0.9", 0, &answers));
  for (int i = 0; i < 5; ++i) gate_.spawn(makeService(client.get(), fmt::format("p{}", i), "", 30555, &answers));
  for (int i = 0; i < 20; ++i) gate_.spawn(makeService(client.get(), fmt::format("d{}", i), "", 0, &answers));
  ASSERT_TRUE(sim_.runUntil([&] { return answers.size() == 30; }, std::chrono::minutes(1)));
  std::multiset<std::string> given(answers.begin(), answers.end());
  int services = 0;
  for (const std::string& answer : given) {
    if (!answer.starts_with("10.")) continue;
    ++services;
    EXPECT_EQ(given.count(answer), 1u) << answer;
  }
  EXPECT_EQ(services, 22) << "one of each five, and those who leave it to the server";
  EXPECT_EQ(std::ranges::count_if(answers, [](auto& a) { return a.ends_with("provided IP is already allocated"); }), 4);
  EXPECT_EQ(std::ranges::count_if(answers, [](auto& a) { return a.ends_with("provided port is already allocated"); }), 4);
}

// A small range may be used up, and used again.
TEST_F(ServiceAllocatorTest, addressesComeBack) {
  config_.serviceClusterIpRange = "10.97.0.0/28";
  restart();
  for (int round = 0; round < 3; ++round) {
    std::set<std::string> given;
    for (int i = 0; i < 14; ++i) {
      auto made = make(fmt::format("s{}", i), R"("ports":[{"port":80}])");
      ASSERT_EQ(made.status, 201) << round << " " << i << made.body;
      EXPECT_TRUE(given.insert(field(made, "spec.clusterIP")).second) << "no address twice";
    }
    auto full = make("full", R"("ports":[{"port":80}])");
    expectStatus(full, 500, "InternalError",
                 "Internal error occurred: failed to allocate a serviceIP for Service \"full\": range is full");
    for (int i = 0; i < 14; ++i) EXPECT_EQ(ask("admin", "DELETE", fmt::format("{}/s{}", kServices, i)).status, 200);
  }
}

}  // namespace
}  // namespace knarr::apiserver
