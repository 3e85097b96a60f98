#include "kube_proxy/health_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"
#include "env/sim/sim.h"

namespace knarr::kube_proxy {
namespace {

using namespace std::chrono_literals;

TEST(HealthCheckOf, countsReadyAddressesOfThisNode) {
  auto endpoint = [](const char* ip, int port, bool local, bool ready) {
    Endpoint out;
    out.ip = *IpAddress::parse(ip);
    out.port = port;
    out.local = local;
    out.ready = ready;
    return out;
  };
  std::map<PortName, std::vector<Endpoint>> endpoints;
  endpoints[{"d/web", "a", "tcp"}] = {endpoint("10.0.0.1", 80, true, true), endpoint("10.0.0.2", 80, true, true),
                                      endpoint("10.0.0.3", 80, true, false), endpoint("10.0.0.4", 80, false, true)};
  endpoints[{"d/web", "b", "tcp"}] = {endpoint("10.0.0.1", 81, true, true)};
  struct Row {
    const char *type, *policy;
    int port, wantPort, wantEndpoints;
  };
  for (Row row : std::initializer_list<Row>{{"LoadBalancer", "Local", 30100, 30100, 2},
                                            {"LoadBalancer", "Cluster", 30100, 0, 0},
                                            {"NodePort", "Local", 30100, 0, 0},
                                            {"LoadBalancer", "Local", 0, 0, 0}}) {
    auto service = schema::newObject<corev1::Service>();
    service->spec.type = row.type;
    service->spec.externalTrafficPolicy = row.policy;
    service->spec.healthCheckNodePort = row.port;
    HealthCheck check = healthCheckOf(*service, endpoints);
    EXPECT_EQ(check.port, row.wantPort) << row.type << row.policy;
    EXPECT_EQ(check.endpoints, row.wantEndpoints) << row.type << row.policy;
  }
}

TEST(HealthAnswer, isUpstreams) {
  HealthAnswer good = healthAnswer("d/web", 2, true);
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.body,
            "{\n\t\"service\": {\n\t\t\"namespace\": \"d\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n"
            "\t\"serviceProxyHealthy\": true\n}");
  EXPECT_EQ(healthAnswer("d/web", 0, true).status, 503);
  EXPECT_EQ(healthAnswer("d/web", 2, false).status, 503);
}

class HealthChecksTest : public ::testing::Test {
 protected:
  HealthChecksTest() : sim_(5), gate_(sim_.env().executor), checks_(sim_.env(), {*IpAddress::parse("127.0.0.1")}, false) {}
  // The answer on a port: its status and weight, or "refused".
  std::string ask(int port) {
    std::string out;
    gate_.spawn(fetch(sim_.env(), port, &out));
    EXPECT_TRUE(sim_.runUntil([&] { return !out.empty(); }, 1min));
    return out;
  }
  static async::Task<void> fetch(env::Env environment, int port, std::string* out) {
    wire::HttpClientOptions options;
    options.address = fmt::format("127.0.0.1:{}", port);
    wire::HttpClient client(environment, options);
    auto response = co_await client.send({});
    *out = response ? fmt::format("{} {}", (*response)->status(), (*response)->headers().get("X-Load-Balancing-Endpoint-Weight"))
                    : "refused";
  }
  env::SimEnv sim_;
  async::Gate gate_;
  HealthChecks checks_;
};

TEST_F(HealthChecksTest, followWhatIsWanted) {
  EXPECT_TRUE(checks_.follow({{"d/a", {30100, 2}}, {"d/b", {30101, 0}}}).empty());
  EXPECT_EQ(ask(30100), "200 2");
  EXPECT_EQ(ask(30101), "503 0");
  EXPECT_TRUE(checks_.follow({{"d/a", {30100, 0}}, {"d/b", {30102, 1}}}).empty());
  EXPECT_EQ(ask(30100), "503 0");
  EXPECT_EQ(ask(30101), "refused");
  EXPECT_EQ(ask(30102), "200 1");
  checks_.setHealthy(false);
  EXPECT_EQ(ask(30102), "503 1");
  checks_.setHealthy(true);
  auto failures = checks_.follow({{"d/b", {30102, 1}}, {"d/c", {30102, 1}}});
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].service, "d/c");
  EXPECT_EQ(failures[0].port, 30102);
  EXPECT_TRUE(checks_.follow({{"d/c", {30102, 5}}}).empty()) << "the port passes on";
  EXPECT_EQ(ask(30102), "200 5");
}

}  // namespace
}  // namespace knarr::kube_proxy
