#include "kubelet/node_pressure.h"

#include <gtest/gtest.h>

#include "env/sim/sim.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;

TEST(NodePressure, memoryOfMeminfo) {
  EXPECT_EQ(
      memoryAvailableFromMeminfo("MemTotal:       4096 kB\nMemFree:        1024 kB\nInactive:  9 kB\nInactive(file):   512 kB\n"),
      (1024 + 512) * 1024);
  EXPECT_EQ(memoryAvailableFromMeminfo("MemFree: 7 kB"), 7 * 1024);
  EXPECT_EQ(memoryAvailableFromMeminfo(""), std::nullopt);
}

TEST(NodePressure, thresholds) {
  constexpr uint64_t kGi = uint64_t{1} << 30;
  auto fs = [](uint64_t percent, uint64_t inodesPercent = 50) {
    return env::FileSystemSize{100 * kGi, percent * kGi, 1000, inodesPercent * 10};
  };
  struct Case {
    const char* name;
    NodeObservation seen;
    Pressure want;
  };
  const Case kCases[] = {
      {"nothing known", {}, {}},
      {"plenty", {int64_t{1} << 30, fs(50), fs(50)}, {}},
      {"memory", {(int64_t{100} << 20) - 1, fs(50), fs(50)}, {.memory = true}},
      {"memory at the threshold", {int64_t{100} << 20, fs(50), fs(50)}, {}},
      {"node disk", {std::nullopt, fs(9), fs(50)}, {.disk = true}},
      {"node disk at the threshold", {std::nullopt, fs(10), fs(50)}, {}},
      {"image disk", {std::nullopt, fs(12), fs(12)}, {.disk = true}},
      {"inodes", {std::nullopt, fs(50, 4), std::nullopt}, {.disk = true}},
      {"no inodes counted", {std::nullopt, env::FileSystemSize{100, 50, 0, 0}, std::nullopt}, {}},
  };
  for (const Case& one : kCases) EXPECT_EQ(pressureOf(one.seen), one.want) << one.name;
}

TEST(NodePressure, aConditionStaysForFiveMinutes) {
  PressureHold hold;
  env::Instant start(1h);
  EXPECT_FALSE(hold.update({}, start).any());
  EXPECT_TRUE(hold.update({.memory = true}, start + 1s).memory);
  EXPECT_TRUE(hold.update({}, start + 4min).memory);
  EXPECT_TRUE(hold.update({.memory = true}, start + 5min).memory);
  EXPECT_TRUE(hold.update({}, start + 9min).memory);
  EXPECT_EQ(hold.update({}, start + 10min), Pressure());
}

}  // namespace
}  // namespace knarr::kubelet
