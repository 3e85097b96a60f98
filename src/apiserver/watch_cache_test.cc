// What the rings of the watch cache keep.
#include "apiserver/watch_cache.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "codec/codec.h"
#include "env/sim/sim.h"

namespace knarr::apiserver {
namespace {

class WatchCacheTest : public testing::Test {
 protected:
  WatchCacheTest() : store_(store::makeMemoryStore(sim_.env())), hub_(sim_.env(), *store_), gate_(sim_.env().executor) {
    maps_ = &hub_.add("/registry/configmaps/", schema::typeInfoOf<corev1::ConfigMap>());
    leases_ = &hub_.add("/registry/secrets/", schema::typeInfoOf<corev1::Secret>());
    run(start());
  }
  ~WatchCacheTest() override { stop_.requestStop(); }

  Task<void> start() {
    auto started = co_await hub_.start(gate_, stop_.token());
    EXPECT_TRUE(started);
  }
  Task<void> put(std::string key, const schema::TypeInfo& type, int count) {
    for (int i = 0; i < count; ++i) {
      Mut<> object(type);
      schema::metadataOf(object).name = object.str(fmt::format("o{}", i));
      auto bytes = std::make_shared<const std::string>(codec::encodeProtobuf(object.object()));
      store::Txn txn{store::Txn::Put, fmt::format("{}default/o{}", key, i), bytes, std::nullopt, 0};
      EXPECT_TRUE(co_await store_->commit(std::move(txn)));
    }
    EXPECT_TRUE(co_await hub_.waitFresh());
  }
  void run(Task<void> task) {
    bool done = false;
    gate_.spawn(finish(std::move(task), &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, std::chrono::minutes(10)));
  }
  static Task<void> finish(Task<void> task, bool* done) {
    co_await task;
    *done = true;
  }

  env::SimEnv sim_{1};
  std::unique_ptr<store::Store> store_;
  CacheHub hub_;
  async::Gate gate_;
  async::StopSource stop_;
  ResourceCache* maps_ = nullptr;
  ResourceCache* leases_ = nullptr;
};

TEST_F(WatchCacheTest, aBurstIsKeptWhileItIsFreshAndThenForgotten) {
  run(put("/registry/configmaps/", schema::typeInfoOf<corev1::ConfigMap>(), 1000));
  EXPECT_EQ(maps_->ringEvents(), 1000u);
  EXPECT_EQ(maps_->objects().size(), 1000u);
  int64_t oldest = maps_->oldestWatchable();
  sim_.runFor(ResourceCache::kEventFresh);
  // News of another resource is enough.
  run(put("/registry/secrets/", schema::typeInfoOf<corev1::Secret>(), 1));
  EXPECT_EQ(maps_->ringEvents(), ResourceCache::kRingEventsMin);
  EXPECT_GT(maps_->oldestWatchable(), oldest);
  CacheCursor late(*maps_, oldest);
  auto expired = late.take(1);
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().reason(), Reason::Expired);
  CacheCursor current(*maps_, maps_->oldestWatchable());
  auto events = current.take(1000);
  ASSERT_TRUE(events);
  EXPECT_EQ(events->size(), ResourceCache::kRingEventsMin);
}

}  // namespace
}  // namespace knarr::apiserver
