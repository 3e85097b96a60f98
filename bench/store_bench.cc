// Durable creates of 1 KiB per second with 1, 16 and 32 writers, and watch events per second, on
// both engines.
//
//   store_bench [DIRECTORY for the store file, default /tmp]
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "async/async.h"
#include "env/posix/posix.h"
#include "store/store.h"

namespace knarr::store {
namespace {

using async::Task;

Task<void> writer(Store* store, int name, int writes) {
  Value value = std::make_shared<const std::string>(std::string(1024, 'v'));
  for (int i = 0; i < writes; ++i) {
    auto done = co_await store->commit(Txn::create(fmt::format("/registry/pods/default/bench-{}-{}", name, i), value));
    if (!done || !done->succeeded) {
      fmt::print(stderr, "a write failed: {}\n", done ? "exists" : done.error().describe());
      _exit(1);
    }
  }
}

Task<void> watcher(std::unique_ptr<Watch> watch, int64_t events) {
  while (events > 0) {
    auto batch = co_await watch->next();
    if (!batch) co_return;
    events -= static_cast<int64_t>(batch->size());
  }
}

Task<void> measure(env::PosixEnv* posix, Store* store, std::string name, int writers, int writes, int watchers) {
  env::Env env = posix->env();
  async::Gate gate(env.executor);
  int perWriter = writes / writers;
  env::Instant start = env.clock.now();
  for (int i = 0; i < watchers; ++i) {
    gate.spawn(watcher(store->watch({prefixRange("/registry/pods/")}), perWriter * writers));
  }
  for (int i = 0; i < writers; ++i) gate.spawn(writer(store, i, perWriter));
  co_await gate.close();
  double seconds = std::chrono::duration<double>(env.clock.now() - start).count();
  double rate = perWriter * writers / seconds;
  fmt::print("{:<8} writers={:<3} watchers={:<3} creates/s={:<8.0f} events/s={:.0f}\n", name, writers, watchers, rate,
             rate * watchers);
  co_await store->close();
  posix->stop();
}

void run(const std::string& engine, const std::string& path, int writers, int writes, int watchers) {
  auto posix = env::makePosixEnv();
  std::unique_ptr<Store> store;
  if (engine == "memory") {
    store = makeMemoryStore(posix->env());
  } else {
    auto opened = openSqliteStore(posix->env(), path);
    if (!opened) {
      fmt::print(stderr, "{}\n", opened.error().describe());
      _exit(1);
    }
    store = std::move(*opened);
  }
  async::Gate gate(posix->env().executor);
  gate.spawn(measure(posix.get(), store.get(), engine, writers, writes, watchers));
  posix->run();
  store.reset();
  unlink(path.c_str());
}

}  // namespace
}  // namespace knarr::store

int main(int argc, char** argv) {
  std::string path = fmt::format("{}/store_bench.{}.db", argc > 1 ? argv[1] : "/tmp", getpid());
  for (const char* engine : {"sqlite", "memory"}) {
    for (int writers : {1, 16, 32}) {
      knarr::store::run(engine, path, writers, writers == 1 ? 4000 : 32000, 0);
    }
    knarr::store::run(engine, path, 32, 32000, 10);
  }
}
