#include "kubelet/cgroups.h"

#include <gtest/gtest.h>

#include "env/sim/sim.h"
#include "kubelet/test_pod_for_test.h"

namespace knarr::kubelet {
namespace {

std::string textOf(const CgroupLimits& limits) {
  auto one = [](const std::optional<int64_t>& value) { return value ? std::to_string(*value) : std::string("-"); };
  return one(limits.cpuShares) + " " + one(limits.cpuQuotaMicros) + " " + one(limits.memoryBytes);
}

// Shares, quota and memory of a pod as upstream's ResourceConfigForPod gives them.
TEST(Cgroups, limitsOfAPod) {
  struct Case {
    const char* name;
    const char* spec;
    const char* want;
  };
  const Case kCases[] = {
      {"best effort", R"("containers":[{"name":"a"}])", "2 - -"},
      {"guaranteed",
       R"("containers":[{"name":"a","resources":{"limits":{"cpu":"500m","memory":"64Mi"}, "requests":{"cpu":"500m","memory":"64Mi"}}}])",
       "512 50000 67108864"},
      {"every container limited",
       R"("containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"100m"}}},
                        {"name":"b","resources":{"limits":{"cpu":"250m","memory":"1Gi"},"requests":{"cpu":"100m"}}}])",
       "204 125000 2147483648"},
      {"one without limits",
       R"("containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"100m"}}},{"name":"b"}])",
       "102 - -"},
      {"sidecars add, others do not",
       R"("initContainers":[{"name":"s","restartPolicy":"Always","resources":{"limits":{"cpu":"100m","memory":"1Mi"},"requests":{"cpu":"50m"}}},
                            {"name":"i","resources":{"limits":{"cpu":"100m","memory":"1Mi"},"requests":{"cpu":"50m"}}}],
          "containers":[{"name":"a","resources":{"limits":{"cpu":"200m","memory":"2Mi"},"requests":{"cpu":"100m"}}}])",
       "153 30000 3145728"},
      {"the pod's own",
       R"("resources":{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"1","memory":"1Gi"}},"containers":[{"name":"a"}])",
       "1024 200000 1073741824"},
      {"tiny quota", R"("containers":[{"name":"a","resources":{"limits":{"cpu":"1m"},"requests":{"cpu":"1m"}}}])", "2 1000 -"},
  };
  for (const Case& one : kCases) EXPECT_EQ(textOf(podCgroupLimits(*podOf(one.spec))), one.want) << one.name;
}

TEST(Cgroups, classesFollowTheirPods) {
  auto burstable = podOf(R"("containers":[{"name":"a","resources":{"requests":{"cpu":"1500m"}}}])");
  auto bestEffort = podOf(R"("containers":[{"name":"a"}])");
  MachineInfo machine;
  machine.cpuMilli = 4000;
  machine.memoryBytes = 1 << 30;
  std::vector<CgroupSetting> settings = qosCgroups({burstable, bestEffort}, machine, "/two");
  ASSERT_EQ(settings.size(), 3U);
  EXPECT_EQ(settings[0].path, "/two/kubepods");
  EXPECT_EQ(settings[1].path, "/two/kubepods/burstable");
  EXPECT_EQ(settings[2].path, "/two/kubepods/besteffort");
  EXPECT_EQ(textOf(settings[0].limits), "4096 - 1073741824");
  EXPECT_EQ(textOf(settings[1].limits), "1536 - -");
  EXPECT_EQ(textOf(settings[2].limits), "2 - -");
}

TEST(Cgroups, weightsOfShares) {
  EXPECT_EQ(cpuWeightOf(2), 1);
  EXPECT_EQ(cpuWeightOf(1024), 39);
  EXPECT_EQ(cpuWeightOf(262144), 10000);
  EXPECT_EQ(cpuWeightOf(0), 0);
}

class CgroupFilesTest : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& bytes) {
    ASSERT_TRUE(files.makeDirectories(path.substr(0, path.rfind('/'))));
    ASSERT_TRUE(files.appendFile(path, bytes));
  }
  std::string read(const std::string& path) { return files.readFile(path).value_or("absent"); }
  env::SimEnv world{1};
  env::Files& files = world.env().files;
  CgroupSetting setting{"/kubepods/podx", {512, 50000, 4096}};
};

TEST_F(CgroupFilesTest, version1AndTheHybrid) {
  for (const char* controller : {"cpu", "memory", "pids"}) put(std::string("/sys/fs/cgroup/") + controller + "/cgroup.procs", "");
  put("/sys/fs/cgroup/unified/cgroup.controllers", "");  // v2 without controllers beside it
  ASSERT_TRUE(applyCgroup(files, setting));
  EXPECT_EQ(read("/sys/fs/cgroup/cpu/kubepods/podx/cpu.shares"), "512");
  EXPECT_EQ(read("/sys/fs/cgroup/cpu/kubepods/podx/cpu.cfs_quota_us"), "50000");
  EXPECT_EQ(read("/sys/fs/cgroup/cpu/kubepods/podx/cpu.cfs_period_us"), "100000");
  EXPECT_EQ(read("/sys/fs/cgroup/memory/kubepods/podx/memory.limit_in_bytes"), "4096");
  EXPECT_FALSE(files.status("/sys/fs/cgroup/unified/kubepods"));
}

TEST_F(CgroupFilesTest, version2HandsControllersOn) {
  put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory\n");
  put("/sys/fs/cgroup/cgroup.subtree_control", "memory\n");
  // The kernel makes these with the directory.
  for (const char* directory : {"/kubepods", "/kubepods/podx"}) {
    put(std::string("/sys/fs/cgroup") + directory + "/cgroup.controllers", "cpu memory\n");
    put(std::string("/sys/fs/cgroup") + directory + "/cgroup.subtree_control", "");
  }
  ASSERT_TRUE(applyCgroup(files, setting));
  EXPECT_EQ(read("/sys/fs/cgroup/cgroup.subtree_control"), "memory\n+cpuset+cpu");
  EXPECT_EQ(read("/sys/fs/cgroup/kubepods/cgroup.subtree_control"), "+cpu+memory");
  EXPECT_EQ(read("/sys/fs/cgroup/kubepods/podx/cpu.weight"), std::to_string(cpuWeightOf(512)));
  EXPECT_EQ(read("/sys/fs/cgroup/kubepods/podx/cpu.max"), "50000 100000");
  EXPECT_EQ(read("/sys/fs/cgroup/kubepods/podx/memory.max"), "4096");
}

TEST_F(CgroupFilesTest, aClusterRemovesItsOwnRootOnly) {
  for (const char* cgroup : {"cpu/kubepods/podx", "cpu/two/kubepods/burstable/pody", "unified/two/kubepods"})
    ASSERT_TRUE(files.makeDirectories(std::string("/sys/fs/cgroup/") + cgroup));
  ASSERT_TRUE(removeCgroups(files, "/two"));
  EXPECT_FALSE(files.status("/sys/fs/cgroup/cpu/two"));
  EXPECT_FALSE(files.status("/sys/fs/cgroup/unified/two"));
  EXPECT_TRUE(files.status("/sys/fs/cgroup/cpu/kubepods/podx"));
  ASSERT_TRUE(removeCgroups(files, ""));
  EXPECT_FALSE(files.status("/sys/fs/cgroup/cpu/kubepods"));
  EXPECT_TRUE(removeCgroups(files, "")) << "absent is fine";
}

TEST_F(CgroupFilesTest, aHostWithoutCgroupsIsFine) {
  EXPECT_TRUE(applyCgroup(files, setting));
  EXPECT_FALSE(files.status("/sys/fs/cgroup"));
}

}  // namespace
}  // namespace knarr::kubelet
