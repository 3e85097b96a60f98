// One suite for every engine: what the API server relies on.
#include <fmt/format.h>

#include "store/store_test_fixture.h"

namespace knarr::store {
namespace {

using async::Task;

class StoreContract : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Store> open(StoreOptions options = {}) {
    if (GetParam() == std::string("memory")) return makeMemoryStore(loop_.env(), options);
    auto store = openSqliteStore(loop_.env(), directory_.file(), options);
    EXPECT_TRUE(store) << store.error().describe();
    return std::move(*store);
  }
  // Opens a store, runs the body, closes.
  void with(Task<void> (*body)(env::Env, Store*), StoreOptions options = {}) { loop_.run(openRunClose(this, options, body)); }
  static Task<void> openRunClose(StoreContract* self, StoreOptions options, Task<void> (*body)(env::Env, Store*)) {
    std::unique_ptr<Store> store = self->open(options);
    co_await body(self->loop_.env(), store.get());
    co_await store->close();
  }

  TemporaryDirectory directory_;
  Loop loop_;
};

Task<TxnResult> must(Task<Result<TxnResult>> commit) {
  Result<TxnResult> result = co_await std::move(commit);
  EXPECT_TRUE(result) << result.error().describe();
  co_return *result;
}

std::string describe(const Event& event) {
  return fmt::format("{}{}{}={}@{}", event.type == Event::Put ? "put " : "delete ", event.kv.key,
                     event.previous ? "<" + *event.previous->value : "", event.kv.value ? *event.kv.value : "", event.revision());
}
std::vector<std::string> describe(const std::vector<Event>& events) {
  std::vector<std::string> out;
  for (const Event& event : events) out.push_back(describe(event));
  return out;
}
using Strings = std::vector<std::string>;

Task<void> createsUpdatesAndDeletes(env::Env, Store* store) {
  EXPECT_EQ((co_await store->currentRevision()).value(), 1);
  TxnResult created = co_await must(store->commit(Txn::create("a", bytes("1"))));
  EXPECT_TRUE(created.succeeded);
  EXPECT_EQ(created.revision, 2);
  TxnResult again = co_await must(store->commit(Txn::create("a", bytes("x"))));
  EXPECT_FALSE(again.succeeded);
  EXPECT_EQ(*again.kv->value, "1");
  EXPECT_EQ(again.revision, 2);
  TxnResult updated = co_await must(store->commit(Txn::update("a", bytes("2"), 2)));
  EXPECT_TRUE(updated.succeeded);
  EXPECT_EQ(updated.kv->version, 2);
  EXPECT_EQ(updated.kv->createRevision, 2);
  EXPECT_EQ(updated.kv->modRevision, 3);
  TxnResult stale = co_await must(store->commit(Txn::remove("a", 2)));
  EXPECT_FALSE(stale.succeeded);
  EXPECT_EQ(stale.kv->modRevision, 3);
  TxnResult removed = co_await must(store->commit(Txn::remove("a", 3)));
  EXPECT_TRUE(removed.succeeded);
  EXPECT_EQ(*removed.kv->value, "2");
  EXPECT_EQ(removed.revision, 4);
  TxnResult absent = co_await must(store->commit(Txn::remove("a", std::nullopt)));
  EXPECT_TRUE(absent.succeeded);
  EXPECT_FALSE(absent.kv);
  EXPECT_EQ(absent.revision, 4);
  TxnResult missing = co_await must(store->commit(Txn::update("a", bytes("3"), 3)));
  EXPECT_FALSE(missing.succeeded);
  EXPECT_FALSE(missing.kv);
  TxnResult reborn = co_await must(store->commit(Txn::create("a", bytes("4"))));
  EXPECT_EQ(reborn.kv->version, 1);
  EXPECT_EQ(reborn.kv->createRevision, 5);
}
TEST_P(StoreContract, createsUpdatesAndDeletes) { with(createsUpdatesAndDeletes); }

Task<void> readsOldRevisions(env::Env, Store* store) {
  co_await must(store->commit(Txn::create("a", bytes("1"))));
  co_await must(store->commit(Txn::update("a", bytes("2"), 2)));
  co_await must(store->commit(Txn::remove("a", 3)));
  EXPECT_EQ(*(co_await store->get("a", 2))->kv->value, "1");
  EXPECT_EQ(*(co_await store->get("a", 3))->kv->value, "2");
  EXPECT_FALSE((co_await store->get("a", 4))->kv);
  EXPECT_FALSE((co_await store->get("a"))->kv);
  EXPECT_EQ((co_await store->get("a", 2))->revision, 4);
  Result<GetResult> future = co_await store->get("a", 5);
  EXPECT_EQ(future.error().reason(), Reason::Invalid);
  EXPECT_FALSE((co_await store->get("never"))->kv);
}
TEST_P(StoreContract, readsOldRevisions) { with(readsOldRevisions); }

Task<void> rangesWithLimitAndCount(env::Env, Store* store) {
  for (std::string key : {"/p/a", "/p/b", "/p/c", "/q/a", "/p"}) {
    co_await must(store->commit(Txn::create(key, bytes("v" + key))));
  }
  RangeResult all = (co_await store->range({prefixRange("/p/")})).value();
  EXPECT_EQ(all.count, 3);
  EXPECT_FALSE(all.more);
  EXPECT_EQ(all.kvs[2].key, "/p/c");
  RangeResult page = (co_await store->range({prefixRange("/p/"), 0, 2})).value();
  EXPECT_EQ(page.kvs.size(), 2u);
  EXPECT_TRUE(page.more);
  EXPECT_EQ(page.count, 3);
  RangeResult rest = (co_await store->range({{page.kvs.back().key + '\0', prefixRange("/p/").end}, page.revision})).value();
  EXPECT_EQ(rest.kvs.size(), 1u);
  EXPECT_EQ(rest.kvs[0].key, "/p/c");
  RangeQuery keys{prefixRange("/")};
  keys.keysOnly = true;
  EXPECT_EQ((co_await store->range(keys))->kvs.size(), 5u);
  EXPECT_EQ((co_await store->range(keys))->kvs[0].value, nullptr);
  keys.countOnly = true;
  EXPECT_EQ((co_await store->range(keys))->count, 5);
  EXPECT_TRUE((co_await store->range(keys))->kvs.empty());
  EXPECT_EQ((co_await store->range({{"/p", ""}}))->count, 1);
  EXPECT_EQ((co_await store->range({prefixRange("")}))->count, 5);
}
TEST_P(StoreContract, rangesWithLimitAndCount) { with(rangesWithLimitAndCount); }

Task<void> watchesFromTheFutureAndThePast(env::Env, Store* store) {
  std::unique_ptr<Watch> live = store->watch({prefixRange("/p/")});
  co_await must(store->commit(Txn::create("/p/a", bytes("1"))));
  co_await must(store->commit(Txn::create("/q/a", bytes("1"))));
  co_await must(store->commit(Txn::update("/p/a", bytes("2"), 2)));
  EXPECT_EQ(describe((co_await live->next()).value()), (Strings{"put /p/a=1@2", "put /p/a<1=2@4"}));
  EXPECT_EQ(live->progressRevision(), 4);
  co_await must(store->commit(Txn::create("/q/b", bytes("1"))));
  EXPECT_EQ(live->progressRevision(), 5) << "what does not match counts as seen";
  co_await must(store->commit(Txn::remove("/p/a", 4)));
  EXPECT_EQ(live->progressRevision(), 5);
  EXPECT_EQ(describe((co_await live->next()).value()), (Strings{"delete /p/a<2=@6"}));
  std::unique_ptr<Watch> past = store->watch({prefixRange("/p/"), 3});
  EXPECT_EQ(describe((co_await past->next()).value()), (Strings{"put /p/a<1=2@4", "delete /p/a<2=@6"}));
  std::unique_ptr<Watch> future = store->watch({prefixRange("/p/"), 8});
  co_await must(store->commit(Txn::create("/p/b", bytes("7"))));
  co_await must(store->commit(Txn::create("/p/c", bytes("8"))));
  EXPECT_EQ(describe((co_await future->next()).value()), (Strings{"put /p/c=8@8"}));
  std::unique_ptr<Watch> one = store->watch({{"/p/c", ""}, 1});
  EXPECT_EQ(describe((co_await one->next()).value()), (Strings{"put /p/c=8@8"}));
}
TEST_P(StoreContract, watchesFromTheFutureAndThePast) { with(watchesFromTheFutureAndThePast); }

Task<void> writer(Store* store, std::string name, int writes, std::vector<int64_t>* revisions) {
  for (int i = 0; i < writes; ++i) {
    TxnResult result = co_await must(store->commit(Txn::create(fmt::format("/w/{}/{}", name, i), bytes(std::to_string(i)))));
    EXPECT_TRUE(result.succeeded);
    revisions->push_back(result.revision);
  }
}
Task<void> watchIsGapFreeUnderManyWriters(env::Env env, Store* store) {
  std::unique_ptr<Watch> watch = store->watch({prefixRange("/w/"), 1});
  async::Gate gate(env.executor);
  std::vector<int64_t> revisions;
  for (int i = 0; i < 8; ++i) gate.spawn(writer(store, std::to_string(i), 200, &revisions));
  int64_t seen = 1;
  while (seen < 1601) {
    std::vector<Event> events = (co_await watch->next()).value();
    for (const Event& event : events) {
      EXPECT_EQ(event.revision(), seen + 1);
      seen = event.revision();
      // An event is seen only when a reader sees it too.
      EXPECT_TRUE((co_await store->get(event.kv.key))->kv);
    }
  }
  co_await gate.close();
  std::sort(revisions.begin(), revisions.end());
  EXPECT_EQ(revisions.size(), 1600u);
  EXPECT_EQ(std::unique(revisions.begin(), revisions.end()), revisions.end());
}
TEST_P(StoreContract, watchIsGapFreeUnderManyWriters) { with(watchIsGapFreeUnderManyWriters); }

Task<void> contender(Store* store, int wins, int* lost) {
  while (wins > 0) {
    GetResult now = (co_await store->get("counter")).value();
    int64_t value = now.kv ? std::stoll(*now.kv->value) : 0;
    TxnResult result =
        co_await must(store->commit(Txn::update("counter", bytes(std::to_string(value + 1)), now.kv ? now.kv->modRevision : 0)));
    if (result.succeeded) {
      --wins;
    } else {
      ++*lost;
      EXPECT_GT(result.kv->modRevision, now.kv ? now.kv->modRevision : 0);
    }
  }
}
Task<void> guardsDecideRaces(env::Env env, Store* store) {
  async::Gate gate(env.executor);
  int lost = 0;
  for (int i = 0; i < 8; ++i) gate.spawn(contender(store, 20, &lost));
  co_await gate.close();
  EXPECT_EQ(*(co_await store->get("counter"))->kv->value, "160");
  EXPECT_GT(lost, 0);
}
TEST_P(StoreContract, guardsDecideRaces) { with(guardsDecideRaces); }

Task<void> compacts(env::Env, Store* store) {
  std::unique_ptr<Watch> slow = store->watch({prefixRange(""), 2});
  co_await must(store->commit(Txn::create("a", bytes("1"))));     // 2
  co_await must(store->commit(Txn::update("a", bytes("2"), 2)));  // 3
  co_await must(store->commit(Txn::create("b", bytes("1"))));     // 4
  co_await must(store->commit(Txn::remove("b", 4)));              // 5
  co_await must(store->commit(Txn::update("a", bytes("3"), 3)));  // 6
  std::unique_ptr<Watch> fast = store->watch({prefixRange("")});
  EXPECT_FALSE(co_await store->compact(7));
  EXPECT_TRUE(co_await store->compact(5));
  Result<void> twice = co_await store->compact(5);
  EXPECT_TRUE(!twice && isCompacted(twice.error()));
  EXPECT_EQ((co_await store->compactRevision()).value(), 5);
  Result<GetResult> old = co_await store->get("a", 4);
  EXPECT_EQ(compactRevisionOf(old.error()), 5);
  EXPECT_EQ(old.error().code(), 410);
  EXPECT_EQ(*(co_await store->get("a", 5))->kv->value, "2");
  EXPECT_EQ((co_await store->range({prefixRange(""), 5}))->count, 1);
  Result<std::vector<Event>> late = co_await slow->next();
  EXPECT_EQ(compactRevisionOf(late.error()), 5);
  std::unique_ptr<Watch> from = store->watch({prefixRange(""), 5});
  Strings events = describe((co_await from->next()).value());
  EXPECT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1], "put a<2=3@6");
  EXPECT_TRUE(co_await store->compact(6));
  co_await must(store->commit(Txn::create("c", bytes("1"))));
  EXPECT_EQ(describe((co_await fast->next()).value()), (Strings{"put c=1@7"}));
  EXPECT_TRUE(co_await store->compact(7));
  EXPECT_EQ(store->usage().keys, 2);
  EXPECT_EQ(store->usage().liveBytes, 2);
}
TEST_P(StoreContract, compacts) { with(compacts); }

Task<void> historyIsBounded(env::Env, Store* store) {
  std::unique_ptr<Watch> slow = store->watch({prefixRange("")});
  int64_t revision = 0;
  for (int i = 0; i < 400; ++i) {
    TxnResult put = co_await must(store->commit({Txn::Put, "a", bytes(std::string(1000, 'x')), std::nullopt, 0}));
    revision = put.revision;
  }
  EXPECT_LE(store->usage().historyBytes, 110'000);
  Result<std::vector<Event>> late = co_await slow->next();
  EXPECT_TRUE(!late && isCompacted(late.error()));
  EXPECT_EQ((co_await store->get("a"))->kv->modRevision, revision);
}
TEST_P(StoreContract, historyIsBounded) {
  StoreOptions options;
  options.historyBytesMax = 100'000;
  with(historyIsBounded, options);
}

Task<void> boundsAreRefused(env::Env, Store* store) {
  auto big = co_await store->commit(Txn::create("a", bytes(std::string(101, 'x'))));
  EXPECT_EQ(big.error().reason(), Reason::RequestEntityTooLarge);
  auto longKey = co_await store->commit(Txn::create(std::string(51, 'k'), bytes("")));
  EXPECT_EQ(longKey.error().reason(), Reason::RequestEntityTooLarge);
  auto empty = co_await store->commit(Txn::create("", bytes("")));
  EXPECT_EQ(empty.error().reason(), Reason::Invalid);
  TxnResult nothing = co_await must(store->commit(Txn::create("empty", bytes(""))));
  EXPECT_TRUE(nothing.succeeded);
  EXPECT_EQ(*(co_await store->get("empty"))->kv->value, "");
}
TEST_P(StoreContract, boundsAreRefused) {
  StoreOptions options;
  options.valueBytesMax = 100;
  options.keyBytesMax = 50;
  with(boundsAreRefused, options);
}

Task<void> aFullQueueMakesWritersWait(env::Env env, Store* store) {
  async::Gate gate(env.executor);
  std::vector<int64_t> revisions;
  for (int i = 0; i < 32; ++i) gate.spawn(writer(store, std::to_string(i), 10, &revisions));
  co_await gate.close();
  EXPECT_EQ(revisions.size(), 320u);
}
TEST_P(StoreContract, aFullQueueMakesWritersWait) {
  StoreOptions options;
  options.queuedWritesMax = 2;
  options.batchWritesMax = 3;
  with(aFullQueueMakesWritersWait, options);
}

Task<void> timeToLive(env::Env, Store* store) {
  co_await must(store->commit(Txn::create("/e/kept", bytes("1"), 3600)));
  co_await must(store->commit(Txn::create("/e/gone", bytes("1"), 3600)));
  co_await must(store->commit(Txn::update("/e/kept", bytes("2"), 2)));
  std::unique_ptr<Watch> watch = store->watch({prefixRange("/e/")});
  EXPECT_EQ(describe((co_await watch->next()).value()), (Strings{"delete /e/gone<1=@5"}));
  EXPECT_TRUE((co_await store->get("/e/kept"))->kv);
}
TEST_P(StoreContract, timeToLive) { with(timeToLive); }

Task<void> expectClosed(std::unique_ptr<Watch> watch, int* closed) {
  Result<std::vector<Event>> end = co_await watch->next();
  EXPECT_EQ(end.error().reason(), Reason::ServiceUnavailable);
  ++*closed;
}
Task<void> closeEndsEverything(env::Env env, Store* store) {
  async::Gate gate(env.executor);
  int closed = 0;
  std::vector<int64_t> revisions;
  gate.spawn(expectClosed(store->watch({prefixRange("")}), &closed));
  co_await must(store->commit(Txn::remove("none", std::nullopt)));
  co_await store->close();
  co_await gate.close();
  EXPECT_EQ(closed, 1);
  auto late = co_await store->commit(Txn::create("a", bytes("1")));
  EXPECT_EQ(late.error().reason(), Reason::ServiceUnavailable);
}
TEST_P(StoreContract, closeEndsEverything) { with(closeEndsEverything); }

INSTANTIATE_TEST_SUITE_P(Engines, StoreContract, testing::Values("memory", "sqlite"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace knarr::store
