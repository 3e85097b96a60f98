// The API server without sockets: near clients over the memory store, in the simulated world.
#include "apiserver/apiserver.h"

#include <gtest/gtest.h>

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "client/event_recorder.h"
#include "client/informer.h"
#include "codec/codec.h"
#include "env/sim/sim.h"
#include "wire/pki.h"

namespace knarr::apiserver {
namespace {

using async::Task;
using client::Client;
using schema::Mut;
using schema::Ref;

class ApiServerTest : public ::testing::Test {
 protected:
  ApiServerTest() : sim_(1), gate_(sim_.env().executor) {
    store_ = store::makeMemoryStore(sim_.env());
    ApiServerConfig config;
    config.serviceAccountKeyPem = *wire::makeEcKey();
    server_ = std::make_unique<ApiServer>(sim_.env(), *store_, config);
    run(startServer(server_.get()));
    client_ = server_->clientFor(UserInfo{"admin", "", {"system:masters"}, {}});
    run(makeDefaultAccount(client_.get()));
  }
  ~ApiServerTest() override {
    run(stopServer(server_.get()));
    client_.reset();
    server_.reset();
  }

  static Task<void> startServer(ApiServer* server) {
    auto started = co_await server->start();
    EXPECT_TRUE(started) << (started ? "" : started.error().describe());
  }
  static Task<void> stopServer(ApiServer* server) { co_await server->stop(std::chrono::seconds(0)); }
  static Task<void> makeDefaultAccount(Client* client) {
    auto account = schema::newObject<corev1::ServiceAccount>();
    account->metadata.name = "default";
    EXPECT_TRUE(co_await client::create<corev1::ServiceAccount>(*client, "default", std::move(account)));
  }
  static Task<void> finish(Task<void> task, bool* done) {
    co_await task;
    *done = true;
  }
  void run(Task<void> task) {
    bool done = false;
    gate_.spawn(finish(std::move(task), &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, std::chrono::minutes(10)));
  }

  env::SimEnv sim_;
  async::Gate gate_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<Client> client_;
};

template <class T>
Mut<T> fromJson(std::string_view json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().describe());
  return Mut<T>(std::move(decoded->object));
}

constexpr std::string_view kPod = R"({"metadata":{"name":"web","labels":{"app":"web"}},
  "spec":{"containers":[{"name":"main","image":"busybox:1.36"}]}})";

Task<void> podLife(Client* client) {
  auto made = co_await client::create<corev1::Pod>(*client, "default", fromJson<corev1::Pod>(kPod));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
  if (!made) co_return;
  Ref<corev1::Pod> pod = *made;
  EXPECT_EQ(pod->status.phase, "Pending");
  EXPECT_EQ(pod->status.qosClass, "BestEffort");
  EXPECT_EQ(pod->spec.serviceAccountName, "default");
  EXPECT_EQ(pod->spec.volumes.size(), 1u);
  EXPECT_EQ(pod->spec.tolerations.size(), 2u);
  EXPECT_FALSE(pod->metadata.uid.empty());
  EXPECT_EQ(pod->metadata.generation, 1);
  EXPECT_EQ(pod->spec.containers[0].imagePullPolicy, "IfNotPresent");

  auto again = co_await client::create<corev1::Pod>(*client, "default", fromJson<corev1::Pod>(kPod));
  EXPECT_FALSE(again);
  EXPECT_EQ(again.error().message(), "pods \"web\" already exists");

  auto patched = co_await client::patch<corev1::Pod>(*client, "default", "web", client::PatchType::StrategicMerge,
                                                     R"({"metadata":{"labels":{"tier":"front"}}})");
  EXPECT_TRUE(patched) << (patched ? "" : patched.error().describe());
  EXPECT_EQ(schema::valueOf((*patched)->metadata.labels, "tier"), "front");
  EXPECT_EQ(schema::valueOf((*patched)->metadata.labels, "app"), "web");

  Mut<corev1::Pod> stale = schema::edit(pod);
  stale->metadata.labels.at(stale.arena(), "x") = "y";
  auto conflict = co_await client::update<corev1::Pod>(*client, std::move(stale));
  EXPECT_FALSE(conflict);
  EXPECT_EQ(conflict.error().code(), 409);

  EXPECT_TRUE(co_await client::remove<corev1::Pod>(*client, "default", "web"));
  auto gone = co_await client::get<corev1::Pod>(*client, "default", "web");
  EXPECT_FALSE(gone);
  EXPECT_EQ(gone.error().message(), "pods \"web\" not found");
}
TEST_F(ApiServerTest, podLife) { run(podLife(client_.get())); }

Task<void> invalidPod(Client* client) {
  auto made = co_await client::create<corev1::Pod>(
      *client, "default", fromJson<corev1::Pod>(R"({"metadata":{"name":"A"},"spec":{"containers":[]}})"));
  EXPECT_FALSE(made);
  EXPECT_EQ(made.error().code(), 422);
  EXPECT_TRUE(made.error().message().starts_with("Pod \"A\" is invalid: [metadata.name: Invalid value: \"A\""))
      << made.error().message();
  auto lost = co_await client::create<corev1::Pod>(*client, "nowhere", fromJson<corev1::Pod>(kPod));
  EXPECT_FALSE(lost);
  EXPECT_EQ(lost.error().message(), "namespaces \"nowhere\" not found");
}
TEST_F(ApiServerTest, invalidPod) { run(invalidPod(client_.get())); }

constexpr std::string_view kDeployment = R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},
  "spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
  "spec":{"containers":[{"name":"a","image":"busybox","ports":[{"containerPort":80}]}]}}}})";

client::WriteOptions as(std::string manager, bool force = false) {
  client::WriteOptions options;
  options.fieldManager = std::move(manager);
  options.force = force;
  return options;
}

Task<void> serverSideApply(Client* client) {
  using appsv1::Deployment;
  auto made = co_await client::patch<Deployment>(*client, "default", "web", client::PatchType::Apply, std::string(kDeployment),
                                                 as("one"));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
  if (!made) co_return;
  EXPECT_EQ((*made)->metadata.managedFields.size(), 1u);
  EXPECT_EQ((*made)->spec.revisionHistoryLimit.valueOr(0), 10);

  auto same = co_await client::patch<Deployment>(*client, "default", "web", client::PatchType::Apply, std::string(kDeployment),
                                                 as("one"));
  EXPECT_TRUE(same);
  EXPECT_EQ((*same)->metadata.resourceVersion, (*made)->metadata.resourceVersion);

  std::string three(kDeployment);
  three.replace(three.find("\"replicas\":2"), 12, "\"replicas\":3");
  auto conflict = co_await client::patch<Deployment>(*client, "default", "web", client::PatchType::Apply, three, as("two"));
  EXPECT_FALSE(conflict);
  EXPECT_EQ(conflict.error().message(), "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
  auto forced = co_await client::patch<Deployment>(*client, "default", "web", client::PatchType::Apply, three, as("two", true));
  EXPECT_TRUE(forced);
  EXPECT_EQ((*forced)->spec.replicas.valueOr(0), 3);
  EXPECT_EQ((*forced)->metadata.managedFields.size(), 2u);
  EXPECT_EQ((*forced)->metadata.generation, 2);

  // What the first manager no longer says goes, unless somebody else owns it.
  std::string noPorts(kDeployment);
  noPorts.replace(noPorts.find(R"(,"ports":[{"containerPort":80}])"), 31, "");
  auto fewer = co_await client::patch<Deployment>(*client, "default", "web", client::PatchType::Apply, noPorts, as("one", true));
  EXPECT_TRUE(fewer) << (fewer ? "" : fewer.error().describe());
  EXPECT_EQ((*fewer)->spec.template_.spec.containers[0].ports.size(), 1u);
}
TEST_F(ApiServerTest, serverSideApply) { run(serverSideApply(client_.get())); }

Task<void> watching(env::Env environment, Client* client, bool* sawDelete) {
  client::ListOptions options;
  options.labelSelector = "app=web";
  auto watch = co_await client->watch(client::resourceOf<corev1::Pod>(), "default", options);
  EXPECT_TRUE(watch);
  EXPECT_TRUE(co_await client::create<corev1::Pod>(*client, "default", fromJson<corev1::Pod>(kPod)));
  auto first = co_await (*watch)->next();
  EXPECT_EQ(first->size(), 1u);
  EXPECT_EQ((*first)[0].type, client::WatchEvent::Added);
  // Losing the label looks like a deletion to this watch.
  EXPECT_TRUE(co_await client::patch<corev1::Pod>(*client, "default", "web", client::PatchType::Merge,
                                                  R"({"metadata":{"labels":{"app":"other"}}})"));
  auto second = co_await (*watch)->next();
  EXPECT_EQ((*second)[0].type, client::WatchEvent::Deleted);
  *sawDelete = true;
  (void)environment;
}
TEST_F(ApiServerTest, watchFollowsSelectors) {
  bool sawDelete = false;
  run(watching(sim_.env(), client_.get(), &sawDelete));
  EXPECT_TRUE(sawDelete);
}

Task<void> forbidden(Client* stranger) {
  auto listed = co_await stranger->list(client::resourceOf<corev1::Secret>(), "default");
  EXPECT_FALSE(listed);
  EXPECT_EQ(listed.error().message(),
            "secrets is forbidden: User \"eve\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\"");
}
Task<void> record(client::EventRecorder* recorder, async::StopToken stop) { co_await recorder->run(std::move(stop)); }
Task<void> listEvents(Client* client, std::vector<Ref<corev1::Event>>* out) {
  auto listed = co_await client->list(*schema::findResourceOfKind("", "v1", "Event"), "default");
  EXPECT_TRUE(listed) << listed.error().describe();
  if (listed)
    for (Ref<>& item : listed->items) out->emplace_back(std::move(item));
}
// Who tells events may create and patch them, but not read them.
TEST_F(ApiServerTest, equalEventsAreCountedInOneObject) {
  auto node = server_->clientFor(UserInfo{"system:node:n1", "", {"system:nodes", "system:authenticated"}, {}}, "kubelet/v1.36");
  client::EventRecorder recorder(sim_.env(), *node, "kubelet", "n1");
  async::StopSource stop;
  gate_.spawn(record(&recorder, stop.token()));
  Ref<> about = fromJson<corev1::Pod>(R"({"metadata":{"name":"web","namespace":"default","uid":"1"}})").publish();
  for (int i = 0; i < 3; ++i) {
    recorder.eventAbout(about, "spec.containers{c}", "Warning", "BackOff", "again");
    sim_.runFor(std::chrono::seconds(2));
  }
  std::vector<Ref<corev1::Event>> events;
  run(listEvents(client_.get(), &events));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]->count, 3);
  ASSERT_EQ(events[0]->metadata.managedFields.size(), 1u);
  EXPECT_EQ(events[0]->metadata.managedFields[0].manager, "kubelet");
  EXPECT_EQ(events[0]->lastTimestamp.unixSeconds() - events[0]->firstTimestamp.unixSeconds(), 4);
  stop.requestStop();
  sim_.runFor(std::chrono::seconds(1));
}

TEST_F(ApiServerTest, rbacRefusesStrangers) {
  auto stranger = server_->clientFor(UserInfo{"eve", "", {}, {}});
  run(forbidden(stranger.get()));
}

Task<void> pages(Client* client) {
  for (int i = 0; i < 7; ++i) {
    auto map = schema::newObject<corev1::ConfigMap>();
    map->metadata.name = map.str("m" + std::to_string(i));
    EXPECT_TRUE(co_await client::create<corev1::ConfigMap>(*client, "default", std::move(map)));
  }
  client::ListOptions options;
  options.limit = 3;
  auto first = co_await client->list(client::resourceOf<corev1::ConfigMap>(), "default", options);
  EXPECT_EQ(first->items.size(), 3u);
  EXPECT_EQ(first->remainingItemCount.value_or(0), 4);
  // A later page shows the state of the first one.
  EXPECT_TRUE(co_await client::remove<corev1::ConfigMap>(*client, "default", "m5"));
  options.continueToken = first->continueToken;
  options.limit = 0;
  auto rest = co_await client->list(client::resourceOf<corev1::ConfigMap>(), "default", options);
  EXPECT_TRUE(rest) << (rest ? "" : rest.error().describe());
  EXPECT_EQ(rest->items.size(), 4u);
}
TEST_F(ApiServerTest, pagesAreOneSnapshot) { run(pages(client_.get())); }

Task<void> serviceAddresses(Client* client) {
  auto service = fromJson<corev1::Service>(R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
  auto made = co_await client::create<corev1::Service>(*client, "default", std::move(service));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
  EXPECT_TRUE((*made)->spec.clusterIP.starts_with("10."));
  EXPECT_GE((*made)->spec.ports[0].nodePort, 30000);
  auto kubernetes = co_await client::get<corev1::Service>(*client, "default", "kubernetes");
  EXPECT_EQ((*kubernetes)->spec.clusterIP, "10.96.0.1");
}
TEST_F(ApiServerTest, servicesGetAddresses) { run(serviceAddresses(client_.get())); }

}  // namespace
}  // namespace knarr::apiserver
