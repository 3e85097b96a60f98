// What a server finds right, and puts right, at its start.
#include "apiserver/bootstrap.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "apiserver/apiserver.h"
#include "env/sim/sim.h"
#include "wire/pki.h"

namespace knarr::apiserver {
namespace {

using async::Task;
using client::Client;

class BootstrapTest : public ::testing::Test {
 protected:
  BootstrapTest() : sim_(1), gate_(sim_.env().executor), store_(store::makeMemoryStore(sim_.env())) {}

  // One life of a server that is reached at `address`.
  void serve(std::string address, int port, Task<void> (*during)(Client*)) {
    bool done = false;
    gate_.spawn(life(this, std::move(address), port, during, &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, std::chrono::minutes(10)));
  }
  static Task<void> life(BootstrapTest* test, std::string address, int port, Task<void> (*during)(Client*), bool* done) {
    ApiServerConfig config;
    config.serviceAccountKeyPem = *wire::makeEcKey();
    config.advertiseAddress = address;
    config.securePort = port;
    ApiServer server(test->sim_.env(), *test->store_, config);
    auto started = co_await server.start();
    EXPECT_TRUE(started) << (started ? "" : started.error().describe());
    auto client = server.clientFor(UserInfo{"admin", "", {"system:masters"}, {}});
    co_await during(client.get());
    client.reset();
    co_await server.stop(std::chrono::seconds(0));
    *done = true;
  }

  env::SimEnv sim_;
  async::Gate gate_;
  std::unique_ptr<store::Store> store_;
};

struct Seen {
  std::string service, endpoints, slices, version;
};
Seen seen;

Task<void> look(Client* client) {
  seen = {};
  auto service = co_await client::get<corev1::Service>(*client, "default", "kubernetes");
  seen.service = fmt::format("{} 443 to {}", (*service)->spec.clusterIP, (*service)->spec.ports[0].targetPort.intValue);
  auto endpoints = co_await client::get<corev1::Endpoints>(*client, "default", "kubernetes");
  for (const auto& subset : (*endpoints)->subsets)
    for (const auto& address : subset.addresses) seen.endpoints += fmt::format("{}:{} ", address.ip, subset.ports[0].port);
  seen.version = std::string((*endpoints)->metadata.resourceVersion);
  auto slices = co_await client->list(client::resourceOf<discoveryv1::EndpointSlice>(), "default");
  for (const auto& item : slices->items) {
    schema::Ref<discoveryv1::EndpointSlice> slice(item);
    for (const auto& endpoint : slice->endpoints)
      seen.slices +=
          fmt::format("{} {} {}:{} ", slice->metadata.name, slice->addressType, endpoint.addresses[0], *slice->ports[0].port);
  }
}

TEST_F(BootstrapTest, endpointsFollowTheServer) {
  serve("10.0.0.5", 6443, look);
  EXPECT_EQ(seen.service, "10.96.0.1 443 to 6443");
  EXPECT_EQ(seen.endpoints, "10.0.0.5:6443 ");
  EXPECT_EQ(seen.slices, "kubernetes IPv4 10.0.0.5:6443 ");
  std::string version = seen.version;
  serve("10.0.0.5", 6443, look);
  EXPECT_EQ(seen.version, version) << "what is right is not written";
  serve("192.168.7.9", 7443, look);
  EXPECT_EQ(seen.service, "10.96.0.1 443 to 7443");
  EXPECT_EQ(seen.endpoints, "192.168.7.9:7443 ");
  EXPECT_EQ(seen.slices, "kubernetes IPv4 192.168.7.9:7443 ");
  serve("fd00::9", 7443, look);
  EXPECT_EQ(seen.slices, "kubernetes IPv6 fd00::9:7443 ") << "a slice of the other family is replaced";
}

Task<void> spoil(Client* client) {
  auto endpoints = co_await client::get<corev1::Endpoints>(*client, "default", "kubernetes");
  auto next = schema::edit(*endpoints);
  next->subsets[0].addresses.append(next.arena()).ip = "10.0.0.66";
  schema::set(next->metadata.annotations, next.arena(), "note", "kept");
  EXPECT_TRUE(co_await client::update<corev1::Endpoints>(*client, std::move(next)));
  auto slice = co_await client::get<discoveryv1::EndpointSlice>(*client, "default", "kubernetes");
  auto stray = schema::edit(*slice);
  stray->metadata.name = "kubernetes-stray";
  stray->metadata.resourceVersion = stray->metadata.uid = schema::Str();
  auto made = co_await client::create<discoveryv1::EndpointSlice>(*client, "default", std::move(stray));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
}

TEST_F(BootstrapTest, othersAddressesAreTakenOut) {
  serve("10.0.0.5", 6443, spoil);
  serve("10.0.0.5", 6443, look);
  EXPECT_EQ(seen.endpoints, "10.0.0.5:6443 ");
  EXPECT_EQ(seen.slices, "kubernetes IPv4 10.0.0.5:6443 ");
}

std::string rangeSeen;

Task<void> lookAtRange(Client* client) {
  auto range = co_await client::get<networkingv1::ServiceCIDR>(*client, "", "kubernetes");
  rangeSeen.clear();
  for (const auto& cidr : (*range)->spec.cidrs) rangeSeen += fmt::format("{} ", cidr);
  for (const auto& condition : (*range)->status.conditions)
    rangeSeen += fmt::format("{}={}: {} ", condition.type, condition.status, condition.message);
  for (const auto& manager : (*range)->metadata.managedFields)
    if (manager.subresource == "status") rangeSeen += fmt::format("by {} ", manager.manager);
}

Task<void> sayNotReady(Client* client) {
  auto range = co_await client::get<networkingv1::ServiceCIDR>(*client, "", "kubernetes");
  auto next = schema::edit(*range);
  next->status.conditions[0].status = "False";
  EXPECT_TRUE(co_await client::updateStatus<networkingv1::ServiceCIDR>(*client, std::move(next)));
}

TEST_F(BootstrapTest, theRangeOfServicesIsAnObject) {
  serve("10.0.0.5", 6443, lookAtRange);
  EXPECT_EQ(rangeSeen,
            "10.96.0.0/12 Ready=True: Kubernetes default Service CIDR is ready by kubernetes-service-cidr-controller ");
  serve("10.0.0.5", 6443, sayNotReady);
  serve("10.0.0.5", 6443, lookAtRange);
  EXPECT_TRUE(rangeSeen.starts_with("10.96.0.0/12 Ready=False: ")) << rangeSeen;
}

}  // namespace
}  // namespace knarr::apiserver
