// The proxy against an API server and a kernel in memory, in the simulated world.
#include "kube_proxy/kube_proxy.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "apiserver/apiserver.h"
#include "base/log.h"
#include "codec/codec.h"
#include "env/sim/sim.h"
#include "store/store.h"
#include "wire/pki.h"

namespace knarr::kube_proxy {
namespace {

using namespace std::chrono_literals;
using async::Task;

class KubeProxyTest : public ::testing::Test {
 protected:
  KubeProxyTest() : sim_(11), gate_(sim_.env().executor) {
    setLogLevel(LogLevel::Error);
    store_ = store::makeMemoryStore(sim_.env(), {}, 300us);
    apiserver::ApiServerConfig config;
    config.serviceAccountKeyPem = *wire::makeEcKey();
    config.servedGroupVersions = {"v1", "discovery.k8s.io/v1", "rbac.authorization.k8s.io/v1"};
    server_ = std::make_unique<apiserver::ApiServer>(sim_.env(), *store_, config);
    run(start(server_.get()));
    admin_ = server_->clientFor({"admin", "", {"system:masters"}, {}});
    client_ = server_->clientFor({"system:kube-proxy", "", {}, {}});
    begin();
  }
  ~KubeProxyTest() override {
    end();
    run(stop(server_.get()));
  }
  void begin() {
    KubeProxyConfig config;
    config.rules.nodeName = "n1";
    config.rules.nodePortAddresses = {*IpAddress::parse("10.0.0.1")};
    proxy_ = std::make_unique<KubeProxy>(sim_.env(), *client_, kernel_, config);
    gate_.spawn(proxy_->run(stop_->token()));
  }
  void end() {
    stop_->requestStop();
    EXPECT_TRUE(sim_.runUntil([&] { return gate_.running() == 0; }, 1min)) << "the proxy does not stop";
    proxy_.reset();
  }
  // The proxy ends, something happens, and it begins anew.
  void restart(const std::function<void()>& between) {
    end();
    between();
    stop_ = std::make_unique<async::StopSource>();
    begin();
  }
  static Task<void> start(apiserver::ApiServer* server) { EXPECT_TRUE(co_await server->start()); }
  static Task<void> stop(apiserver::ApiServer* server) { co_await server->stop(1s); }
  static Task<void> mark(Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  void run(Task<void> task) {
    async::Gate own(sim_.env().executor);
    bool done = false;
    own.spawn(mark(std::move(task), &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, 1min));
  }
  template <class T>
  static Task<void> write(client::Client* client, std::string json, bool update) {
    auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
    EXPECT_TRUE(decoded) << json;
    schema::Mut<T> object(std::move(decoded->object));
    std::string nameSpace(object->metadata.namespace_);
    auto done = update ? co_await client::update<T>(*client, std::move(object))
                       : co_await client::create<T>(*client, nameSpace, std::move(object));
    EXPECT_TRUE(done) << (done ? "" : done.error().describe());
  }
  template <class T>
  static Task<void> erase(client::Client* client, std::string name) {
    EXPECT_TRUE(co_await client::remove<T>(*client, "default", name));
  }
  void service(const std::string& name, const std::string& ip, const std::string& protocol = "TCP",
               const std::string& more = "") {
    run(write<corev1::Service>(
        admin_.get(),
        fmt::format(
            R"({{"metadata":{{"name":"{}","namespace":"default"}},"spec":{{"clusterIP":"{}","ports":[{{"port":80,"protocol":"{}"}}]{}}}}})",
            name, ip, protocol, more),
        false));
  }
  void slice(const std::string& service, const std::vector<std::string>& ips, bool update = false,
             const std::string& protocol = "TCP") {
    std::string endpoints;
    for (const std::string& ip : ips)
      endpoints += fmt::format(R"({}{{"addresses":["{}"],"nodeName":"n1"}})", endpoints.empty() ? "" : ",", ip);
    run(write<discoveryv1::EndpointSlice>(
        admin_.get(),
        fmt::format(
            R"({{"metadata":{{"name":"{0}-1","namespace":"default","labels":{{"kubernetes.io/service-name":"{0}"}}}},"addressType":"IPv4",
                        "endpoints":[{1}],"ports":[{{"name":"","port":8080,"protocol":"{2}"}}]}})",
            service, endpoints, protocol),
        update));
  }
  std::string element(const std::string& set, const std::string& key) {
    std::string out = "absent";
    run(look(&kernel_, ElementKey{set, key}, &out));
    return out;
  }
  static Task<void> look(MemoryRuleKernel* kernel, ElementKey key, std::string* out) {
    auto listed = co_await kernel->list();
    if (!listed) co_return;
    if (auto found = listed->elements.find(key); found != listed->elements.end()) *out = found->second;
  }

  env::SimEnv sim_;
  MemoryRuleKernel kernel_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<client::Client> admin_, client_;
  std::unique_ptr<KubeProxy> proxy_;
  std::unique_ptr<async::StopSource> stop_ = std::make_unique<async::StopSource>();
  async::Gate gate_;
};

TEST_F(KubeProxyTest, followsServicesAndEndpoints) {
  service("web", "10.96.0.20");
  sim_.runFor(3s);
  EXPECT_EQ(element("no-endpoint-services", "10.96.0.20 . tcp . 80"), "goto reject-chain");
  slice("web", {"10.244.0.1", "10.244.0.2"});
  sim_.runFor(3s);
  EXPECT_EQ(element("no-endpoint-services", "10.96.0.20 . tcp . 80"), "absent");
  EXPECT_EQ(element("service-ips", "10.96.0.20 . tcp . 80"), "goto lb-tcp-2");
  EXPECT_EQ(element("endpoints-tcp", "10.96.0.20 . 80 . 1"), "10.244.0.2 . 8080");
  size_t touched = kernel_.elementsTouched;
  slice("web", {"10.244.0.1", "10.244.0.3"}, true);
  sim_.runFor(3s);
  EXPECT_EQ(element("endpoints-tcp", "10.96.0.20 . 80 . 1"), "10.244.0.3 . 8080");
  EXPECT_EQ(kernel_.elementsTouched - touched, 4u) << "the slot and the hairpin, each removed and added";
  run(erase<corev1::Service>(admin_.get(), "web"));
  sim_.runFor(3s);
  EXPECT_EQ(element("service-ips", "10.96.0.20 . tcp . 80"), "absent");
}

TEST_F(KubeProxyTest, aRestartRepairsTheTable) {
  service("web", "10.96.0.20", "TCP", R"(,"sessionAffinity":"ClientIP")");
  service("old", "10.96.0.21");
  slice("web", {"10.244.0.1"});
  sim_.runFor(3s);
  restart([this] {
    run(erase<corev1::Service>(admin_.get(), "old"));
    slice("web", {"10.244.0.1", "10.244.0.2"}, true);
  });
  sim_.runFor(3s);
  EXPECT_EQ(kernel_.replaced, 1) << "only the first start made the table";
  EXPECT_EQ(element("cluster-ips", "10.96.0.21"), "absent");
  EXPECT_NE(element("service-ips", "10.96.0.20 . tcp . 80"), "absent");
  restart([this] { kernel_.failuresLeft = 1; });
  sim_.runFor(1min);
  EXPECT_EQ(kernel_.replaced, 2) << "a repair that fails";
}

TEST_F(KubeProxyTest, theApiServerItselfIsThere) {
  sim_.runFor(3s);
  EXPECT_EQ(element("service-ips", "10.96.0.1 . tcp . 443"), "goto lb-tcp-1");
}

TEST_F(KubeProxyTest, changesCloseTogetherAreFewTransactions) {
  sim_.runFor(5s);
  int before = kernel_.applied;
  service("a", "10.96.0.21");
  sim_.runFor(10ms);
  for (int i = 0; i < 5; ++i) service(fmt::format("b{}", i), fmt::format("10.96.0.{}", 30 + i));
  sim_.runFor(5s);
  EXPECT_LE(kernel_.applied - before, 3) << "the first at once, the others together a little later";
  int idle = kernel_.applied;
  sim_.runFor(10min);
  EXPECT_EQ(kernel_.applied, idle) << "an idle proxy does nothing";
  sim_.runFor(1h);
  EXPECT_EQ(kernel_.applied, idle + 1) << "the hourly whole table";
}

TEST_F(KubeProxyTest, aFailureIsRepairedByTheWholeTable) {
  service("web", "10.96.0.20");
  slice("web", {"10.244.0.1"});
  sim_.runFor(3s);
  kernel_.failuresLeft = 3;
  slice("web", {"10.244.0.2"}, true);
  sim_.runFor(1min);
  EXPECT_EQ(kernel_.failuresLeft, 0);
  EXPECT_EQ(element("endpoints-tcp", "10.96.0.20 . 80 . 0"), "10.244.0.2 . 8080");
}

TEST_F(KubeProxyTest, proxyNameLabelTakesAServiceAway) {
  service("web", "10.96.0.20");
  sim_.runFor(3s);
  run(write<corev1::Service>(
      admin_.get(),
      R"({"metadata":{"name":"web","namespace":"default","labels":{"service.kubernetes.io/service-proxy-name":"other"}},
                                 "spec":{"clusterIP":"10.96.0.20","ports":[{"port":80}]}})",
      true));
  sim_.runFor(3s);
  EXPECT_EQ(element("cluster-ips", "10.96.0.20"), "absent");
}

TEST_F(KubeProxyTest, udpFlowsToGoneEndpointsAreForgotten) {
  service("dns", "10.96.0.20", "UDP");
  slice("dns", {"10.244.0.1", "10.244.0.2"}, false, "UDP");
  sim_.runFor(3s);
  IpAddress frontend = *IpAddress::parse("10.96.0.20");
  kernel_.udpFlows = {{frontend, 80, *IpAddress::parse("10.244.0.1"), 8080},
                      {frontend, 80, *IpAddress::parse("10.244.0.2"), 8080}};
  slice("dns", {"10.244.0.2", "10.244.0.3"}, true, "UDP");
  sim_.runFor(3s);
  ASSERT_EQ(kernel_.udpFlows.size(), 1u);
  EXPECT_EQ(kernel_.udpFlows[0].replySource.text(), "10.244.0.2");
}

TEST(TableName, isOneForNft) {
  EXPECT_EQ(tableNameOf("knarr"), "knarr-proxy");
  EXPECT_EQ(tableNameOf("my cluster!"), "my_cluster_-proxy");
  EXPECT_EQ(tableNameOf("7"), "c7-proxy");
}

}  // namespace
}  // namespace knarr::kube_proxy
