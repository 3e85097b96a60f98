// What managed fields cost: the comparison and the bookkeeping of one write, from the structs (as every write does it) and from
// JSON trees (as server-side apply does it), and whole creates through the pipeline of a near client over the memory store.
//   tracking_bench; KNARR_SOURCE_DIR names the source tree.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "api/core_v1.h"
#include "apimachinery/patch/managed_fields.h"
#include "apimachinery/patch/struct_compare.h"
#include "apiserver/apiserver.h"
#include "codec/codec.h"
#include "env/sim/sim.h"
#include "wire/pki.h"

namespace knarr {
namespace {

using apimachinery::Manager;
using apimachinery::Managers;
using codec::Value;

schema::Mut<> podFromFile() {
  const char* dir = std::getenv("KNARR_SOURCE_DIR");
  std::ifstream file(std::string(dir ? dir : ".") + "/tests/golden/core.v1.Pod.json");
  std::ostringstream text;
  text << file.rdbuf();
  auto pod = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), text.str());
  if (!pod || text.str().empty()) {
    std::fprintf(stderr, "tracking_bench: set KNARR_SOURCE_DIR to the source tree\n");
    std::exit(1);
  }
  return std::move(pod->object);
}

struct Pair {
  schema::Mut<> before = podFromFile(), after = podFromFile();
  Pair() {
    static_cast<corev1::Pod*>(after.root())->status.podIP = "10.0.0.9";
    static_cast<corev1::Pod*>(after.root())->status.phase = "Failed";
  }
  static Manager writer() { return {"bench", false, "v1", "status", 1, {}, {}}; }
};

Value treeOf(const schema::Mut<>& object, Arena& arena) {
  return *codec::parseJsonValue(codec::encodeJson(object.object()), arena);
}

void createFromStructs(benchmark::State& state) {
  Pair pair;
  for (auto _ : state) {
    auto changes = apimachinery::compareStructs(pair.after.type(), nullptr, pair.after.root());
    benchmark::DoNotOptimize(apimachinery::trackChanges({}, std::move(*changes), Pair::writer()).front().fields.toJson());
  }
}
BENCHMARK(createFromStructs);

void createFromTrees(benchmark::State& state) {
  Pair pair;
  for (auto _ : state) {
    Arena arena;
    Value next = treeOf(pair.after, arena);
    next.erase("apiVersion");
    next.erase("kind");
    auto managers = apimachinery::trackUpdateFields(pair.after.type(), {}, Value::emptyObject(), next, Pair::writer());
    benchmark::DoNotOptimize(managers->front().fields.toJson());
  }
}
BENCHMARK(createFromTrees);

void statusFromStructs(benchmark::State& state) {
  Pair pair;
  for (auto _ : state) {
    auto changes = apimachinery::compareStructs(pair.after.type(), pair.before.root(), pair.after.root());
    benchmark::DoNotOptimize(apimachinery::trackChanges({}, std::move(*changes), Pair::writer()).front().fields.toJson());
  }
}
BENCHMARK(statusFromStructs);

void statusFromTrees(benchmark::State& state) {
  Pair pair;
  for (auto _ : state) {
    Arena arena;
    Value live = treeOf(pair.before, arena), next = treeOf(pair.after, arena);
    auto managers = apimachinery::trackUpdateFields(pair.after.type(), {}, live, next, Pair::writer());
    benchmark::DoNotOptimize(managers->front().fields.toJson());
  }
}
BENCHMARK(statusFromTrees);

async::Task<void> start(apiserver::ApiServer* server, bool* done) { *done = (co_await server->start()).has_value(); }
async::Task<void> createMaps(client::Client* client, const schema::ResourceInfo* maps, int64_t* next, int count, bool* done) {
  for (int i = 0; i < count; ++i) {
    auto map = codec::decodeJson(
        *maps->type, fmt::format(R"({{"metadata":{{"name":"m-{}"}},"data":{{"text":"{}"}}}})", (*next)++, std::string(900, 'x')));
    auto made = co_await client->create(*maps, "default", "", std::move(map->object));
    if (!made) std::fprintf(stderr, "%s\n", made.error().describe().c_str());
  }
  *done = true;
}

void nearCreate(benchmark::State& state) {
  env::SimEnv sim(1);
  auto store = store::makeMemoryStore(sim.env());
  apiserver::ApiServerConfig config;
  config.serviceAccountKeyPem = *wire::makeEcKey();
  apiserver::ApiServer server(sim.env(), *store, config);
  async::Gate gate(sim.env().executor);
  bool done = false;
  gate.spawn(start(&server, &done));
  sim.runUntil([&] { return done; }, std::chrono::minutes(1));
  auto client = server.clientFor(apiserver::UserInfo{"admin", "", {"system:masters"}, {}});
  int64_t next = 0;
  constexpr int kBatch = 100;
  for (auto _ : state) {
    done = false;
    gate.spawn(createMaps(client.get(), schema::findResource("", "v1", "configmaps"), &next, kBatch, &done));
    sim.runUntil([&] { return done; }, std::chrono::minutes(1));
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(nearCreate)->MinTime(1);

}  // namespace
}  // namespace knarr

BENCHMARK_MAIN();
