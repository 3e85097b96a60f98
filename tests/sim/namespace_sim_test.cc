// A namespace ends empty: whatever was on its way into it while it was deleted is refused, or removed with it.
//
// A store that takes its time to commit, the API server, the namespace controller, and writers around the moment of the deletion;
// each seed is another order of events.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "client/informer.h"
#include "controllers/namespace/namespace.h"
#include "env/sim/sim.h"
#include "store/store.h"

namespace knarr::sim {
namespace {

using async::Task;
using client::Client;
using schema::Mut;

constexpr int kSeeds = 100;
constexpr int kWriters = 9;
// Writers begin within this time, the deletion in the middle of it: a few commits of the store.
constexpr int64_t kSpreadMicros = 12'000;
const char* const kDoomed = "doomed";

class World {
 public:
  explicit World(uint64_t seed)
      : sim_(seed),
        store_(store::makeMemoryStore(sim_.env(), {}, std::chrono::milliseconds(2))),
        server_(sim_.env(), *store_, {}),
        gate_(sim_.env().executor) {
    run(start(this));
    client_ = server_.clientFor({"admin", "", {"system:masters"}, {}});
    informers_ = std::make_unique<client::InformerFactory>(sim_.env(), *client_);
    controller_ = controllers::makeNamespaceController({sim_.env(), *client_, *informers_}, resources());
    informers_->start(gate_, stop_.token());
    gate_.spawn(controller_->run(stop_.token()));
    run(makeNamespace(client_.get()));
  }
  ~World() {
    stop_.requestStop();
    run(server_.stop(std::chrono::seconds(0)));
    bool closed = false;
    async::Gate closing(sim_.env().executor);
    closing.spawn(close(&gate_, &closed));
    sim_.runUntil([&] { return closed; }, std::chrono::minutes(1));
  }

  // Names of what is left in the namespace some time after it went.
  std::string remains() {
    for (int writer = 0; writer < kWriters; ++writer) gate_.spawn(write(this, writer));
    gate_.spawn(deleteNamespace(this));
    EXPECT_TRUE(sim_.runUntil([this] { return made_ + refused_ == kWriters; }, std::chrono::minutes(5)));
    sim_.runFor(std::chrono::minutes(2));
    std::string out;
    run(listAll(client_.get(), &out));
    return out;
  }

 private:
  static std::vector<const client::ResourceInfo*> resources() {
    return {&client::resourceOf<coordinationv1::Lease>(), &client::resourceOf<corev1::ConfigMap>(),
            &client::resourceOf<corev1::Pod>(), &client::resourceOf<corev1::ServiceAccount>()};
  }
  static Task<void> start(World* world) { EXPECT_TRUE(co_await world->server_.start()); }
  static Task<void> close(async::Gate* gate, bool* closed) {
    co_await gate->close();
    *closed = true;
  }
  static Task<void> makeNamespace(Client* client) {
    auto ns = schema::newObject<corev1::Namespace>();
    ns->metadata.name = kDoomed;
    EXPECT_TRUE(co_await client::create<corev1::Namespace>(*client, "", std::move(ns)));
    auto account = schema::newObject<corev1::ServiceAccount>();
    account->metadata.name = "default";
    EXPECT_TRUE(co_await client::create<corev1::ServiceAccount>(*client, kDoomed, std::move(account)));
  }
  static Task<void> deleteNamespace(World* world) {
    co_await async::sleepFor(world->sim_.env(), std::chrono::microseconds(kSpreadMicros / 2));
    EXPECT_TRUE(co_await world->client_->remove(client::resourceOf<corev1::Namespace>(), "", kDoomed, {}));
  }
  // One object at some moment around the deletion: a pod, a lease by an update of what is not there, or a ConfigMap.
  static Task<void> write(World* world, int writer) {
    Client* client = world->client_.get();
    env::Env env = world->sim_.env();
    co_await async::sleepFor(env, std::chrono::microseconds(env.random.next() % kSpreadMicros));
    std::string name = fmt::format("w{}", writer);
    Result<schema::Ref<>> made = fail(Reason::Unknown, "");
    if (writer % 3 == 0) {
      auto pod = schema::newObject<corev1::Pod>();
      pod->metadata.name = pod.str(name);
      auto& container = pod->spec.containers.append(pod.arena());
      container.name = "c";
      container.image = "i";
      made = co_await client->create(client::resourceOf<corev1::Pod>(), kDoomed, "", std::move(pod), {});
    } else if (writer % 3 == 1) {
      auto lease = schema::newObject<coordinationv1::Lease>();
      lease->metadata.name = lease.str(name);
      lease->metadata.namespace_ = kDoomed;
      made = co_await client->update(client::resourceOf<coordinationv1::Lease>(), kDoomed, name, std::move(lease), {});
    } else {
      auto map = schema::newObject<corev1::ConfigMap>();
      map->metadata.name = map.str(name);
      made = co_await client->create(client::resourceOf<corev1::ConfigMap>(), kDoomed, "", std::move(map), {});
    }
    ++(made ? world->made_ : world->refused_);
    EXPECT_TRUE(made || made.error().reason() == Reason::Forbidden || made.error().reason() == Reason::NotFound)
        << made.error().describe();
  }
  static Task<void> listAll(Client* client, std::string* out) {
    auto ns = co_await client->get(client::resourceOf<corev1::Namespace>(), "", kDoomed, {});
    EXPECT_FALSE(ns) << "the namespace is still there";
    for (const auto* resource : resources()) {
      auto listed = co_await client->list(*resource, kDoomed);
      EXPECT_TRUE(listed);
      if (!listed) co_return;
      for (const auto& object : listed->items) *out += fmt::format("{} ", schema::metadataOf(object).name);
    }
  }
  static Task<void> finish(Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  void run(Task<void> task) {
    bool done = false;
    gate_.spawn(finish(std::move(task), &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, std::chrono::minutes(5)));
  }

  env::SimEnv sim_;
  std::unique_ptr<store::Store> store_;
  apiserver::ApiServer server_;
  async::Gate gate_;
  async::StopSource stop_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<client::InformerFactory> informers_;
  std::unique_ptr<controllers::Controller> controller_;
  int made_ = 0, refused_ = 0;
};

TEST(NamespaceSim, nothingIsLeftInANamespaceThatIsGone) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    World world(seed);
    EXPECT_EQ(world.remains(), "") << "seed " << seed;
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace knarr::sim
