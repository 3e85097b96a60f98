// What only the engine on disk does: survive.
#include <fmt/format.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "store/store_test_fixture.h"

namespace knarr::store {
namespace {

using async::Task;

std::unique_ptr<Store> mustOpen(env::Env env, const std::string& path, StoreOptions options = {}) {
  auto store = openSqliteStore(env, path, options);
  EXPECT_TRUE(store) << store.error().describe();
  return std::move(*store);
}

Task<void> writeSome(env::Env env, std::string path) {
  std::unique_ptr<Store> store = mustOpen(env, path);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(co_await store->commit({Txn::Put, "a", bytes(std::to_string(i)), std::nullopt, 0}));
  }
  EXPECT_TRUE(co_await store->commit(Txn::create("b", bytes(""))));   // 12
  EXPECT_TRUE(co_await store->commit(Txn::create("c", bytes("x"))));  // 13
  EXPECT_TRUE(co_await store->commit(Txn::remove("c", 13)));          // 14
  EXPECT_TRUE(co_await store->compact(8));
  co_await store->close();
}
Task<void> expectSome(env::Env env, std::string path) {
  std::unique_ptr<Store> store = mustOpen(env, path);
  EXPECT_EQ((co_await store->currentRevision()).value(), 14);
  EXPECT_EQ((co_await store->compactRevision()).value(), 8);
  GetResult a = (co_await store->get("a")).value();
  EXPECT_EQ(*a.kv->value, "9");
  EXPECT_EQ(a.kv->version, 10);
  EXPECT_EQ(a.kv->createRevision, 2);
  EXPECT_EQ(*(co_await store->get("b"))->kv->value, "");
  EXPECT_FALSE((co_await store->get("c"))->kv);
  EXPECT_EQ(*(co_await store->get("c", 13))->kv->value, "x");
  std::unique_ptr<Watch> watch = store->watch({prefixRange(""), 8});
  std::vector<Event> events = (co_await watch->next()).value();
  EXPECT_EQ(events.size(), 7u);
  EXPECT_EQ(*events[1].previous->value, "6");
  co_await store->close();
}
TEST(SqliteStore, reopensWithRevisionsHistoryAndCompaction) {
  TemporaryDirectory directory;
  Loop loop;
  loop.run(writeSome(loop.env(), directory.file()));
  loop.run(expectSome(loop.env(), directory.file()));
}

Task<void> expectRoom(env::Env env, std::string path, StoreOptions options, size_t blocks) {
  std::unique_ptr<Store> store = mustOpen(env, path, options);
  EXPECT_EQ(std::filesystem::file_size(path + "-wal"), blocks * 4096);
  co_await store->close();
  EXPECT_FALSE(std::filesystem::exists(path + "-wal"));
}
TEST(SqliteStore, theLogHasItsRoomFromTheStart) {
  TemporaryDirectory directory;
  Loop loop;
  StoreOptions options;
  loop.run(expectRoom(loop.env(), directory.file(), options, 1023));  // 4000 pages of 1048 bytes, in whole blocks
  options.sqliteLogPagesMax = 100;
  loop.run(expectRoom(loop.env(), directory.file(), options, 25));
}

Task<void> writeExpiring(env::Env env, std::string path) {
  std::unique_ptr<Store> store = mustOpen(env, path);
  EXPECT_TRUE(co_await store->commit(Txn::create("gone", bytes("1"), 3600)));
  EXPECT_TRUE(co_await store->commit(Txn::create("kept", bytes("1"), 3600)));
  EXPECT_TRUE(co_await store->commit(Txn::update("kept", bytes("2"), 3)));
  co_await store->close();
}
Task<void> expectExpiry(env::Env env, std::string path) {
  std::unique_ptr<Store> store = mustOpen(env, path);
  std::unique_ptr<Watch> watch = store->watch({prefixRange("")});
  std::vector<Event> events = (co_await watch->next()).value();
  EXPECT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kv.key, "gone");
  EXPECT_TRUE((co_await store->get("kept"))->kv);
  co_await store->close();
}
TEST(SqliteStore, keysExpireAfterReopening) {
  TemporaryDirectory directory;
  Loop loop;
  loop.run(writeExpiring(loop.env(), directory.file()));
  loop.run(expectExpiry(loop.env(), directory.file()));
}

Task<void> secondOpenIsRefused(env::Env env, std::string path) {
  std::unique_ptr<Store> store = mustOpen(env, path);
  auto second = openSqliteStore(env, path);
  EXPECT_FALSE(second);
  if (!second) {
    EXPECT_EQ(second.error().reason(), Reason::Conflict);
    EXPECT_NE(second.error().message().find("held by another process"), std::string::npos);
  }
  co_await store->close();
}
TEST(SqliteStore, aLockedFileIsRefused) {
  TemporaryDirectory directory;
  Loop loop;
  loop.run(secondOpenIsRefused(loop.env(), directory.file()));
}

TEST(SqliteStore, aFileThatIsNotADatabaseIsRefused) {
  TemporaryDirectory directory;
  std::ofstream(directory.file()) << std::string(8192, 'z');
  Loop loop;
  auto store = openSqliteStore(loop.env(), directory.file());
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().message().find("is damaged"), std::string::npos);
  EXPECT_NE(store.error().message().find("restore it from a backup"), std::string::npos);
}

TEST(SqliteStore, aDamagedPageIsFound) {
  TemporaryDirectory directory;
  Loop loop;
  loop.run(writeSome(loop.env(), directory.file()));
  {
    std::fstream file(directory.file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(0, std::ios::end);
    auto size = static_cast<long>(file.tellp());
    ASSERT_GE(size, 3 * 1024);
    file.seekp(1024);
    file << std::string(static_cast<size_t>(size) - 1024, '\x55');
  }
  auto store = openSqliteStore(loop.env(), directory.file());
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().message().find("damaged"), std::string::npos);
}

void executeSql(const std::string& path, const char* sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(database);
}
TEST(SqliteStore, aLostRowIsFound) {
  TemporaryDirectory directory;
  Loop loop;
  loop.run(writeSome(loop.env(), directory.file()));
  executeSql(directory.file(), "DELETE FROM revisions WHERE rev=12");
  auto store = openSqliteStore(loop.env(), directory.file());
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().message().find("records between are missing"), std::string::npos);
}
TEST(SqliteStore, anotherProgramsDatabaseIsRefused) {
  TemporaryDirectory directory;
  executeSql(directory.file(), "CREATE TABLE theirs(x)");
  Loop loop;
  auto store = openSqliteStore(loop.env(), directory.file());
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().message().find("another program"), std::string::npos);
}

// The child acknowledges each write through the pipe, after the store answered it.
Task<void> writeAndAcknowledge(Store* store, int pipe, int writer) {
  for (int i = 0; i < 1'000'000; ++i) {
    std::string key = fmt::format("{}/{}", writer, i);
    Result<TxnResult> done = co_await store->commit(Txn::create(key, bytes(std::string(500, 'v'))));
    if (!done || !done->succeeded) _exit(3);
    int64_t line[3] = {writer, i, done->revision};
    if (write(pipe, line, sizeof line) != sizeof line) _exit(4);
    if (writer == 0 && i % 64 == 63 && !co_await store->compact(done->revision - 20)) _exit(5);
  }
}
Task<void> writeForever(env::Env env, std::string path, int pipe) {
  std::unique_ptr<Store> store = mustOpen(env, path);
  async::Gate gate(env.executor);
  for (int i = 0; i < 4; ++i) gate.spawn(writeAndAcknowledge(store.get(), pipe, i));
  co_await gate.close();
}
Task<void> expectAcknowledged(env::Env env, std::string path, std::vector<std::array<int64_t, 3>> lines) {
  std::unique_ptr<Store> store = mustOpen(env, path);
  for (const auto& [writer, i, revision] : lines) {
    GetResult got = (co_await store->get(fmt::format("{}/{}", writer, i))).value();
    EXPECT_TRUE(got.kv) << writer << "/" << i;
    if (got.kv) EXPECT_EQ(got.kv->modRevision, revision);
  }
  EXPECT_TRUE(co_await store->commit(Txn::create("after", bytes("x"))));
  co_await store->close();
}
TEST(SqliteStore, noAcknowledgedWriteIsLostWhenTheProcessIsKilled) {
  TemporaryDirectory directory;
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(pipes[0]);
    RealLoop loop;
    loop.run(writeForever(loop.env(), directory.file(), pipes[1]));
    _exit(0);
  }
  close(pipes[1]);
  std::vector<std::array<int64_t, 3>> lines;
  std::array<int64_t, 3> line;
  while (read(pipes[0], line.data(), sizeof line) == sizeof line) {
    lines.push_back(line);
    if (lines.size() == 1000) kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  close(pipes[0]);
  ASSERT_TRUE(WIFSIGNALED(status)) << "exit code " << WEXITSTATUS(status);
  EXPECT_GE(lines.size(), 1000u);
  RealLoop loop;
  loop.run(expectAcknowledged(loop.env(), directory.file(), lines));
}

}  // namespace
}  // namespace knarr::store
