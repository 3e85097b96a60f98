// The API server from the inside, through the near client over SQLite: durable creates per second
// with 1 and 16 writers, watch events per second to 100 watchers, and what a Pod costs in memory
// while it stands in the watch cache.
//
//   cluster_bench [DIRECTORY for the store file, default /tmp]
//
// Two shared cores make wall time noisy: CPU time of the process stands beside it.
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "codec/codec.h"
#include "env/posix/posix.h"
#include "wire/pki.h"

namespace knarr::apiserver {
namespace {

using async::Task;
using client::Client;
using corev1::Pod;

// About what kubectl creates for a small Deployment's pod.
constexpr std::string_view kPod =
    R"({"metadata":{"generateName":"web-7d4b9c6f5d-","labels":{"app":"web","pod-template-hash":"7d4b9c6f5d"},
  "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d4b9c6f5d","uid":"b0a5b0a2-6a4e-4a57-9a43-1f2f6f2c1f10","controller":true,"blockOwnerDeletion":true}]},
  "spec":{"containers":[{"name":"main","image":"registry.example.com/shop/web:1.2.3","ports":[{"containerPort":8080}],
  "env":[{"name":"MODE","value":"production"}],"resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"256Mi"}},
  "readinessProbe":{"httpGet":{"path":"/healthz","port":8080}}}]}})";

void die(const std::string& what) {
  fmt::print(stderr, "cluster_bench: {}\n", what);
  _exit(1);
}

double cpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// From its construction on.
struct Meter {
  explicit Meter(env::Env environment) : env(environment), start(environment.clock.now()), cpu(cpuSeconds()) {}
  double wall() const { return std::chrono::duration<double>(env.clock.now() - start).count(); }
  double cpuUsed() const { return cpuSeconds() - cpu; }
  env::Env env;
  env::Instant start;
  double cpu;
};

Task<void> writer(Client* client, int writes) {
  for (int i = 0; i < writes; ++i) {
    auto decoded = codec::decodeJson(schema::typeInfoOf<Pod>(), kPod);
    if (!decoded) die(decoded.error().describe());
    auto made = co_await client::create<Pod>(*client, "default", schema::Mut<Pod>(std::move(decoded->object)));
    if (!made) die(made.error().describe());
  }
}

Task<void> watcher(std::unique_ptr<client::Watch> watch, int64_t events) {
  while (events > 0) {
    auto batch = co_await watch->next();
    if (!batch || batch->empty()) die("a watch ended before its events");
    events -= static_cast<int64_t>(batch->size());
  }
}

Task<void> measureCreates(env::Env environment, Client* client, int writers, int writes) {
  async::Gate gate(environment.executor);
  Meter meter(environment);
  for (int i = 0; i < writers; ++i) gate.spawn(writer(client, writes / writers));
  co_await gate.close();
  fmt::print("creates   writers={:<3} {:.0f}/s  cpu {:.0f} us each\n", writers, writes / meter.wall(),
             meter.cpuUsed() * 1e6 / writes);
}

Task<void> measureFanOut(env::Env environment, Client* client, int watchers, int writes) {
  constexpr int kWriters = 16;
  async::Gate gate(environment.executor);
  for (int i = 0; i < watchers; ++i) {
    client::ListOptions options;
    options.limit = 1;
    auto list = co_await client->list(client::resourceOf<Pod>(), "default", options);
    if (!list) die(list.error().describe());
    options = {};
    options.resourceVersion = list->resourceVersion;
    auto watch = co_await client->watch(client::resourceOf<Pod>(), "default", options);
    if (!watch) die(watch.error().describe());
    gate.spawn(watcher(std::move(*watch), writes));
  }
  Meter meter(environment);
  for (int i = 0; i < kWriters; ++i) gate.spawn(writer(client, writes / kWriters));
  co_await gate.close();
  double events = static_cast<double>(writes) * watchers;
  fmt::print("fan-out   watchers={:<3} {:.0f} events/s  cpu {:.2f} us per event, the creates included\n", watchers,
             events / meter.wall(), meter.cpuUsed() * 1e6 / events);
}

Task<void> measureMemory(env::Env environment, Client* client, int pods) {
  malloc_trim(0);
  size_t before = mallinfo2().uordblks;
  co_await measureCreates(environment, client, 16, pods);
  malloc_trim(0);
  size_t grown = mallinfo2().uordblks - before;
  auto list = co_await client->list(client::resourceOf<Pod>(), "default");
  if (!list) die(list.error().describe());
  size_t objects = 0;
  for (const auto& pod : list->items) objects += pod.object().bytesResident();
  fmt::print(
      "memory    {} bytes an object, {} bytes of heap for each further pod (store history "
      "included), {} bytes of JSON\n",
      objects / list->items.size(), grown / static_cast<size_t>(pods), codec::encodeJson(list->items.back().object()).size());
}

Task<void> measure(env::PosixEnv* posix, ApiServer* server, Client* client) {
  env::Env environment = posix->env();
  if (auto started = co_await server->start(); !started) die(started.error().describe());
  auto account = schema::newObject<corev1::ServiceAccount>();
  account->metadata.name = "default";
  if (auto made = co_await client::create<corev1::ServiceAccount>(*client, "default", std::move(account)); !made)
    die(made.error().describe());
  co_await measureMemory(environment, client, 4000);
  co_await measureCreates(environment, client, 1, 1000);
  co_await measureCreates(environment, client, 16, 8000);
  co_await measureFanOut(environment, client, 100, 3200);
  co_await server->stop(std::chrono::seconds(0));
  posix->stop();
}

void run(const std::string& path) {
  auto posix = env::makePosixEnv();
  auto store = store::openSqliteStore(posix->env(), path);
  if (!store) die(store.error().describe());
  ApiServerConfig config;
  auto key = wire::makeEcKey();
  if (!key) die(key.error().describe());
  config.serviceAccountKeyPem = *key;
  ApiServer server(posix->env(), **store, config);
  auto client = server.clientFor(UserInfo{"admin", "", {"system:masters"}, {}});
  async::Gate gate(posix->env().executor);
  gate.spawn(measure(posix.get(), &server, client.get()));
  posix->run();
}

}  // namespace
}  // namespace knarr::apiserver

int main(int argc, char** argv) {
  std::string path = fmt::format("{}/cluster_bench.{}.db", argc > 1 ? argv[1] : "/tmp", getpid());
  knarr::apiserver::run(path);
  for (const char* suffix : {"", "-wal", "-shm"}) unlink((path + suffix).c_str());
}
