// How fast and how small objects are: JSON and protobuf of a Pod as a busy cluster holds it
// (tests/golden), with the allocations each operation makes. Run: codec_bench
// [--benchmark_filter=...]; KNARR_SOURCE_DIR names the source tree.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <new>
#include <sstream>

#include "api/core_v1.h"
#include "codec/codec.h"
#include "codec/value.h"

namespace {
std::atomic<size_t> allocations{0};
}

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace knarr {
namespace {

// Compact JSON of about 5 KB.
const std::string& podJson() {
  static const std::string json = [] {
    const char* dir = std::getenv("KNARR_SOURCE_DIR");
    std::ifstream file(std::string(dir ? dir : ".") + "/tests/golden/core.v1.Pod.json");
    std::ostringstream text;
    text << file.rdbuf();
    auto pod = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), text.str());
    if (!pod || text.str().empty()) {
      std::fprintf(stderr, "codec_bench: set KNARR_SOURCE_DIR to the source tree\n");
      std::exit(1);
    }
    return codec::encodeJson(pod->object.object());
  }();
  return json;
}
schema::Ref<void> pod() { return std::move(codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), podJson())->object).publish(); }

// Runs `operation` and reports bytes per second of `bytes` and allocations per run.
template <class Operation>
void measure(benchmark::State& state, size_t bytes, Operation operation) {
  size_t before = allocations.load();
  for (auto _ : state) operation();
  auto runs = static_cast<double>(state.iterations());
  state.counters["allocs"] = static_cast<double>(allocations.load() - before) / runs;
  state.counters["size"] = static_cast<double>(bytes);
  state.SetBytesProcessed(static_cast<int64_t>(bytes) * static_cast<int64_t>(state.iterations()));
}

void decodeJsonPod(benchmark::State& state) {
  measure(state, podJson().size(), [] {
    auto decoded = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), podJson());
    benchmark::DoNotOptimize(decoded);
  });
  state.counters["resident"] = static_cast<double>(pod().object().bytesResident());
}
BENCHMARK(decodeJsonPod);

void decodeJsonPodStrict(benchmark::State& state) {
  measure(state, podJson().size(), [] {
    auto decoded = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), podJson(), {.strict = true});
    benchmark::DoNotOptimize(decoded);
  });
}
BENCHMARK(decodeJsonPodStrict);

void encodeJsonPod(benchmark::State& state) {
  auto object = pod();
  measure(state, podJson().size(), [&] { benchmark::DoNotOptimize(codec::encodeJson(object.object())); });
}
BENCHMARK(encodeJsonPod);

void decodeProtobufPod(benchmark::State& state) {
  std::string bytes = codec::encodeProtobuf(pod().object());
  measure(state, bytes.size(), [&] {
    auto decoded = codec::decodeProtobuf(schema::typeInfoOf<corev1::Pod>(), bytes);
    benchmark::DoNotOptimize(decoded);
  });
  state.counters["resident"] =
      static_cast<double>(codec::decodeProtobuf(schema::typeInfoOf<corev1::Pod>(), bytes)->object().bytesResident());
}
BENCHMARK(decodeProtobufPod);

void encodeProtobufPod(benchmark::State& state) {
  auto object = pod();
  size_t bytes = codec::encodeProtobuf(object.object()).size();
  measure(state, bytes, [&] { benchmark::DoNotOptimize(codec::encodeProtobuf(object.object())); });
}
BENCHMARK(encodeProtobufPod);

void editPod(benchmark::State& state) {
  auto object = pod();
  measure(state, podJson().size(), [&] { benchmark::DoNotOptimize(schema::edit(object)); });
  state.counters["resident"] = static_cast<double>(schema::edit(object).object().bytesResident());
}
BENCHMARK(editPod);

void equalPods(benchmark::State& state) {
  auto a = pod(), b = pod();
  measure(state, podJson().size(), [&] { benchmark::DoNotOptimize(schema::deepEqual(a.type(), a.root(), b.root())); });
}
BENCHMARK(equalPods);

void parseValuePod(benchmark::State& state) {
  measure(state, podJson().size(), [] {
    Arena arena(podJson().size() * 2);
    auto value = codec::parseJsonValue(podJson(), arena);
    benchmark::DoNotOptimize(value);
  });
}
BENCHMARK(parseValuePod);

void listOf500Pods(benchmark::State& state) {
  std::vector<schema::Ref<void>> items(500);
  for (auto& item : items) item = pod();
  size_t bytes = 0;
  measure(state, podJson().size() * items.size(), [&] {
    bytes = 0;
    codec::writeJsonList({.apiVersion = "v1", .kind = "PodList"}, items, [&](std::string_view piece) { bytes += piece.size(); });
  });
  benchmark::DoNotOptimize(bytes);
}
BENCHMARK(listOf500Pods);

}  // namespace
}  // namespace knarr

BENCHMARK_MAIN();
