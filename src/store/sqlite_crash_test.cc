// Crash points: a fixed workload is cut at every operation on its disk, by a kill and by a power loss in turn; whatever the
// next process finds, no acknowledged write is lost and no revision that anybody saw names something else.
#include <fmt/format.h>
#include <gtest/gtest-spi.h>

#include <cstdlib>
#include <map>

#include "base/log.h"
#include "base/strings.h"
#include "store/crash_disk_for_test.h"
#include "store/store_test_fixture.h"

namespace knarr::store {
namespace {

using async::Task;

constexpr int kWriters = 3;
constexpr int kWritesPerWriter = 40;
constexpr int kKeysPerWriter = 4;
const std::string kPath = "/state.db";

// What was written under a revision; no value: a deletion.
struct Seen {
  std::string key;
  std::optional<std::string> value;
  bool operator==(const Seen&) const = default;
};

// The model: what the store acknowledged, what it showed, and what each writer had asked for last.
struct Ledger {
  std::map<std::string, std::pair<int64_t, std::optional<std::string>>> acknowledged;  // key to revision and value
  std::map<int64_t, Seen> shown;                                                       // by revision
  std::map<std::string, std::optional<std::string>> asked;  // the one write per key whose answer is not here
  int64_t newest() const { return shown.empty() ? 0 : shown.rbegin()->first; }
};

// Sizes from a few bytes to several pages, so that the log fills, is checkpointed, and begins anew.
std::string valueOf(int writer, int i) {
  return fmt::format("{}/{}/", writer, i) + std::string(static_cast<size_t>((i * 7919) % 9'000), 'v');
}

void note(Ledger& ledger, int64_t revision, Seen seen) {
  auto [at, isNew] = ledger.shown.emplace(revision, seen);
  EXPECT_TRUE(isNew || at->second == seen) << "revision " << revision << " was shown as two things";
}

Task<void> writeSome(Store* store, Ledger* ledger, int writer) {
  for (int i = 0; i < kWritesPerWriter; ++i) {
    std::string key = fmt::format("w{}/{}", writer, i % kKeysPerWriter);
    std::optional<std::string> value;
    if (i % 9 != 8) value = valueOf(writer, i);
    ledger->asked[key] = value;
    Txn txn{value ? Txn::Put : Txn::Delete, key, value ? bytes(*value) : nullptr, std::nullopt, 0};
    Result<TxnResult> done = co_await store->commit(std::move(txn));
    if (!done) co_return;
    ledger->asked.erase(key);
    ledger->acknowledged[key] = {done->revision, value};
    if (writer == 0 && i % 10 == 9 && !co_await store->compact(done->revision - 5)) co_return;
  }
}

Task<void> watchAll(Store* store, Ledger* ledger) {
  std::unique_ptr<Watch> watch = store->watch({prefixRange(""), 2});
  while (true) {
    Result<std::vector<Event>> events = co_await watch->next();
    if (!events) co_return;
    for (const Event& event : *events)
      note(*ledger, event.revision(), {event.kv.key, event.type == Event::Put ? std::optional(*event.kv.value) : std::nullopt});
  }
}

Task<void> play(env::Env env, StoreOptions options, Ledger* ledger) {
  auto opened = openSqliteStore(env, kPath, options);
  if (!opened) co_return;
  {
    async::Gate watching(env.executor), writing(env.executor);
    watching.spawn(watchAll(opened->get(), ledger));
    for (int writer = 0; writer < kWriters; ++writer) writing.spawn(writeSome(opened->get(), ledger, writer));
    co_await writing.close();
    co_await (*opened)->close();
  }
}

Task<void> expectKeys(Store* store, const Ledger* ledger) {
  for (const auto& [key, acknowledged] : ledger->acknowledged) {
    GetResult got = (co_await store->get(key)).value();
    std::optional<std::string> value = got.kv ? std::optional(*got.kv->value) : std::nullopt;
    auto asked = ledger->asked.find(key);
    bool isAsked = asked != ledger->asked.end() && value == asked->second;
    EXPECT_TRUE(value == acknowledged.second || isAsked)
        << key << " lost its acknowledged write of revision " << acknowledged.first;
  }
  for (const auto& [key, asked] : ledger->asked) {
    if (ledger->acknowledged.contains(key)) continue;
    GetResult got = (co_await store->get(key)).value();
    EXPECT_TRUE(!got.kv || asked == *got.kv->value) << key << " holds what nobody wrote";
  }
}

Task<void> expectRevisions(Store* store, const Ledger* ledger) {
  int64_t newest = (co_await store->currentRevision()).value(), compacted = (co_await store->compactRevision()).value();
  EXPECT_GE(newest, ledger->newest()) << "a revision that was shown is gone";
  if (newest > std::max<int64_t>(compacted, 1)) {
    std::unique_ptr<Watch> watch = store->watch({prefixRange(""), std::max<int64_t>(compacted, 2)});
    while (watch->progressRevision() < newest) {
      auto events = co_await watch->next();
      EXPECT_TRUE(events);
      if (!events) co_return;
      for (const Event& event : *events) {
        auto shown = ledger->shown.find(event.revision());
        if (shown == ledger->shown.end()) continue;
        Seen now{event.kv.key, event.type == Event::Put ? std::optional(*event.kv.value) : std::nullopt};
        EXPECT_TRUE(now == shown->second) << "revision " << event.revision() << " names something else than before";
      }
    }
  }
  TxnResult next = (co_await store->commit(Txn::create("after", bytes("x")))).value();
  EXPECT_GT(next.revision, ledger->newest()) << "a revision is used again";
}

Task<void> expectKept(env::Env env, StoreOptions options, const Ledger* ledger) {
  auto store = openSqliteStore(env, kPath, options);
  EXPECT_TRUE(store) << store.error().describe();
  if (!store) co_return;
  co_await expectKeys(store->get(), ledger);
  co_await expectRevisions(store->get(), ledger);
  co_await (*store)->close();
}

Task<void> openOnly(env::Env env, StoreOptions options) {
  auto store = openSqliteStore(env, kPath, options);
  if (store) co_await (*store)->close();
}

uint64_t operationsOfThePlay() {
  CrashDisk disk(1);
  StoreOptions options;
  options.sqliteVfs = disk.vfsName();
  options.sqliteLogPagesMax = 300;  // so that the log is moved into the file several times
  Ledger ledger;
  Loop loop;
  loop.run(play(loop.env(), options, &ledger));
  EXPECT_EQ(ledger.asked.size(), 0u);
  EXPECT_EQ(ledger.shown.size(), ledger.newest() - 1);
  return disk.operations();
}

// One crash, and for every fifth point a second one while the first is recovered from.
void crashAt(uint64_t operation) {
  CrashDisk disk(operation + 1);
  StoreOptions options;
  options.sqliteVfs = disk.vfsName();
  options.sqliteLogPagesMax = 300;  // so that the log is moved into the file several times
  Ledger ledger;
  CrashDisk::Crash crash = operation % 2 == 0 ? CrashDisk::Kill : CrashDisk::PowerLoss;
  disk.dieAt(operation);
  {
    Loop loop;
    loop.run(play(loop.env(), options, &ledger));
  }
  EXPECT_TRUE(disk.dead());
  disk.restart(crash);
  if (operation % 5 == 0) {
    disk.dieAt(disk.operations() + operation % 11);
    Loop loop;
    loop.run(openOnly(loop.env(), options));
    disk.restart(CrashDisk::PowerLoss);
  }
  Loop loop;
  loop.run(expectKept(loop.env(), options, &ledger));
}

TEST(SqliteCrash, atEveryOperation) {
  setLogSink([](std::string_view) {});  // thousands of failures that are meant
  uint64_t operations = operationsOfThePlay();
  constexpr uint64_t kPointsWanted = 2000;
  EXPECT_GE(operations, kPointsWanted);
  // Sanitizers take fewer points: KNARR_CRASH_STEP=20 takes every twentieth.
  const char* text = std::getenv("KNARR_CRASH_STEP");
  uint64_t step = std::max<uint64_t>(text ? parseUint(text).value_or(1) : 1, 1);
  for (uint64_t operation = 0; operation < operations && !HasFailure(); operation += step) {
    SCOPED_TRACE(fmt::format("crash at operation {} of {}", operation, operations));
    crashAt(operation);
  }
  setLogSink({});
  RecordProperty("crash points", static_cast<int>(operations));
  fmt::print("{} crash points\n", (operations + step - 1) / step);
}

// The harness can fail: a store that answers before it syncs loses an acknowledged write to a power loss.
TEST(SqliteCrash, theHarnessFindsALoss) {
  CrashDisk disk(7);
  StoreOptions options;
  options.sqliteVfs = disk.vfsName();
  options.sqliteLogPagesMax = 300;  // so that the log is moved into the file several times
  Ledger ledger;
  {
    Loop loop;
    loop.run(play(loop.env(), options, &ledger));
  }
  disk.restart(CrashDisk::PowerLoss);
  ledger.acknowledged["w0/0"] = {ledger.newest() + 1, "never written"};
  Loop loop;
  testing::TestPartResultArray found;
  {
    testing::ScopedFakeTestPartResultReporter reporter(testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &found);
    loop.run(expectKept(loop.env(), options, &ledger));
  }
  EXPECT_EQ(found.size(), 1);
}

}  // namespace
}  // namespace knarr::store
