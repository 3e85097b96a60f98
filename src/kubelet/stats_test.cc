#include "kubelet/stats.h"

#include <gtest/gtest.h>

#include "kubelet/test_pod_for_test.h"

namespace knarr::kubelet {
namespace {

constexpr const char* kStat = "cpu  100 20 30 4000 50 6 7 8 90 10\ncpu0 1 2 3 4\nbtime 1700000000\n";

TEST(Stats, procStat) {
  EXPECT_EQ(cpuNanosFromStat(kStat), (100 + 20 + 30 + 6 + 7 + 8) * 10'000'000LL);
  EXPECT_EQ(bootTimeFromStat(kStat), 1'700'000'000);
  EXPECT_EQ(cpuNanosFromStat(""), std::nullopt);
  EXPECT_EQ(cpuNanosFromStat("cpu x"), std::nullopt);
}

schema::Ref<corev1::Pod> runningPod() {
  auto decoded = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), R"({"metadata":{"name":"web","namespace":"shop","uid":"u1"},
    "spec":{"containers":[{"name":"a"}]},"status":{"startTime":"2026-01-01T00:00:00Z","containerStatuses":[
      {"name":"a","containerID":"containerd://c2","ready":true,"restartCount":1,"image":"","imageID":"",
       "state":{"running":{"startedAt":"2026-01-01T00:00:05Z"}}}]}})");
  EXPECT_TRUE(decoded);
  return schema::Ref<corev1::Pod>(std::move(decoded->object).publish());
}

schema::Ref<runtimev1::ListContainerStatsResponse> statsOf() {
  auto stats = schema::newObject<runtimev1::ListContainerStatsResponse>();
  Arena& arena = stats.arena();
  auto value = [&](uint64_t number) {
    auto* out = arena.make<runtimev1::UInt64Value>();
    out->value = number;
    return out;
  };
  for (auto [id, uid] : {std::pair("c1", "u1"), std::pair("c2", "u1"), std::pair("c3", "other")}) {
    runtimev1::ContainerStats& one = stats->stats.append(arena);
    one.attributes = arena.make<runtimev1::ContainerAttributes>();
    one.attributes->id = id;
    schema::set(one.attributes->labels, arena, "io.kubernetes.pod.uid", uid);
    schema::set(one.attributes->labels, arena, "io.kubernetes.container.name", "a");
    one.cpu = arena.make<runtimev1::CpuUsage>();
    one.cpu->timestamp = 1'767'225'610'000'000'000;
    one.cpu->usageCoreNanoSeconds = value(1'500'000'000);
    one.memory = arena.make<runtimev1::MemoryUsage>();
    one.memory->timestamp = one.cpu->timestamp;
    one.memory->workingSetBytes = value(4096);
  }
  return std::move(stats).publish();
}

NodeUsage nodeOf() {
  NodeUsage node;
  node.name = "n1";
  node.bootUnixSeconds = 1'700'000'000;
  node.usage = {1'767'225'610'000'000'000, 10'000'000'000, 1 << 20, 1 << 20, std::nullopt, 3 << 20};
  node.nodeFs = env::FileSystemSize{100, 40, 10, 9};
  node.pods = podUsages({runningPod()}, *statsOf());
  return node;
}

TEST(Stats, onlyWhatRunsIsCounted) {
  NodeUsage node = nodeOf();
  ASSERT_EQ(node.pods.size(), 1U);
  ASSERT_EQ(node.pods[0].containers.size(), 1U) << "c1 is dead, c3 is nobody's";
  EXPECT_EQ(node.pods[0].sum().workingSetBytes, 4096);
}

TEST(Stats, summary) {
  EXPECT_EQ(
      summaryJson(nodeOf(), true),
      R"({"node":{"nodeName":"n1","startTime":"2023-11-14T22:13:20Z","cpu":{"time":"2026-01-01T00:00:10Z","usageCoreNanoSeconds":10000000000},)"
      R"("memory":{"time":"2026-01-01T00:00:10Z","availableBytes":3145728,"usageBytes":1048576,"workingSetBytes":1048576}},)"
      R"("pods":[{"podRef":{"name":"web","namespace":"shop","uid":"u1"},"startTime":"2026-01-01T00:00:00Z",)"
      R"("containers":[{"name":"a","startTime":"2026-01-01T00:00:05Z","cpu":{"time":"2026-01-01T00:00:10Z","usageCoreNanoSeconds":1500000000},)"
      R"("memory":{"time":"2026-01-01T00:00:10Z","workingSetBytes":4096}}],)"
      R"("cpu":{"time":"2026-01-01T00:00:10Z","usageCoreNanoSeconds":1500000000},"memory":{"time":"2026-01-01T00:00:10Z","workingSetBytes":4096}}]})");
  EXPECT_NE(
      summaryJson(nodeOf(), false)
          .find(
              R"("fs":{"time":"2026-01-01T00:00:10Z","availableBytes":40,"capacityBytes":100,"usedBytes":60,"inodesFree":9,"inodes":10,"inodesUsed":1})"),
      std::string::npos);
}

TEST(Stats, resourceMetrics) {
  EXPECT_EQ(resourceMetrics(nodeOf()),
            R"(# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="a",namespace="shop",pod="web"} 1.5 1767225610000
# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="a",namespace="shop",pod="web"} 4096 1767225610000
# HELP container_start_time_seconds [STABLE] Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="a",namespace="shop",pod="web"} 1767225605
# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 10 1767225610000
# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 1048576 1767225610000
# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web"} 1.5 1767225610000
# HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web"} 4096 1767225610000
# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
)");
}

}  // namespace
}  // namespace knarr::kubelet
