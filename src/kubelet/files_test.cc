// Logs, termination messages and the atomic writer.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "env/sim/sim.h"
#include "kubelet/log_rotation.h"
#include "kubelet/logs.h"
#include "kubelet/machine.h"
#include "kubelet/termination_message.h"
#include "kubelet/test_pod_for_test.h"
#include "kubelet/volumes/atomic_writer.h"
#include "kubelet/volumes/sub_path.h"
#include "kubelet/volumes/volume_manager.h"

namespace knarr::kubelet {
namespace {

constexpr const char* kLog =
    "2026-01-01T00:00:01.000000001Z stdout F one\n"
    "2026-01-01T00:00:02Z stderr P tw\n"
    "2026-01-01T00:00:02Z stderr F o\n"
    "garbage\n"
    "2026-01-01T00:00:03.5Z stdout F:tag three\n";

std::string read(const LogOptions& options) {
  LogFormatter formatter(options);
  std::string out;
  std::string_view rest = kLog;
  if (options.tailLines) rest = rest.substr(tailOffset(rest, *options.tailLines));
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    out += formatter.format(rest.substr(0, end));
    rest = rest.substr(end + 1);
  }
  return out;
}

TEST(Logs, options) {
  LogOptions options;
  EXPECT_EQ(read(options), "one\ntwo\nthree\n");
  options.timestamps = true;
  EXPECT_EQ(read(options),
            "2026-01-01T00:00:01.000000001Z one\n2026-01-01T00:00:02.000000000Z "
            "two\n2026-01-01T00:00:03.500000000Z three\n");
  options.timestamps = false;
  options.limitBytes = 6;
  EXPECT_EQ(read(options), "one\ntw");
  options.limitBytes.reset();
  options.tailLines = 1;
  EXPECT_EQ(read(options), "three\n");
  options.tailLines = 0;
  EXPECT_EQ(read(options), "");
  options.tailLines.reset();
  options.sinceUnixNanos = unixFromCivil({2026, 1, 1, 0, 0, 3}) * 1'000'000'000;
  EXPECT_EQ(read(options), "three\n");
}

TEST(Logs, tailCountsLines) {
  EXPECT_EQ(tailOffset("a\nb\nc\n", 2), 2u);
  EXPECT_EQ(tailOffset("a\nb\nc", 1), 4u);
  EXPECT_EQ(tailOffset("a\n", 5), 0u);
  EXPECT_EQ(tailOffset("", 5), 0u);
  EXPECT_EQ(lastLogText(kLog, 80, 5), "hree\n");
}

TEST(LogRotation, findsAndCounts) {
  env::SimEnv sim(1);
  env::Files& files = sim.env().files;
  ASSERT_TRUE(files.makeDirectories("/logs/shop_web_u1/main"));
  ASSERT_TRUE(files.appendFile("/logs/shop_web_u1/main/0.log", std::string(100, 'x')));
  ASSERT_TRUE(files.appendFile("/logs/shop_web_u1/main/1.log", std::string(99, 'x')));
  ASSERT_TRUE(files.appendFile("/logs/shop_web_u1/main/0.log.20260101-000000", std::string(500, 'x')));
  std::vector<LogPath> large = findLargeLogs(files, "/logs", 100);
  ASSERT_EQ(large.size(), 1u);
  EXPECT_EQ(large[0].path + " " + large[0].podUid + " " + large[0].container, "/logs/shop_web_u1/main/0.log u1 main");
  EXPECT_EQ(rotatedToRemove({"c", "a.gz", "b", "d"}, 5), (std::vector<std::string>{"a.gz"}));
  EXPECT_TRUE(rotatedToRemove({"a", "b", "c"}, 5).empty());
  EXPECT_EQ(rotatedToRemove({"a"}, 2), (std::vector<std::string>{"a"}));
}

TEST(AtomicWriter, swapsEverythingAtOnce) {
  env::SimEnv sim(1);
  env::Files& files = sim.env().files;
  ASSERT_TRUE(files.makeDirectories("/v"));
  ASSERT_TRUE(writePayload(files, "/v", {{"a", {"1", 0644}}, {"d/b", {"2", 0600}}}, 0, 1, -1));
  EXPECT_EQ(files.readFile("/v/a").value(), "1");
  EXPECT_EQ(files.readFile("/v/d/b").value(), "2");
  EXPECT_EQ(files.status("/v/d/b")->mode, 0600u);
  std::string first = files.readLink("/v/..data").value();
  ASSERT_TRUE(writePayload(files, "/v", {{"a", {"1", 0644}}, {"d/b", {"2", 0600}}}, 5, 2, -1));
  EXPECT_EQ(files.readLink("/v/..data").value(), first) << "nothing changed, nothing moves";
  ASSERT_TRUE(writePayload(files, "/v", {{"a", {"new", 0644}}}, 10, 3, -1));
  EXPECT_EQ(files.readFile("/v/a").value(), "new");
  EXPECT_FALSE(files.status("/v/d", false)) << "what is gone loses its link";
  EXPECT_FALSE(files.status("/v/" + first, false)) << "and its directory";
  for (const char* bad : {"/abs", "../up", "a/../b", "..data", "", "a//b"}) {
    EXPECT_FALSE(writePayload(files, "/v", {{bad, {"x", 0644}}}, 0, 1, -1)) << bad;
  }
}

TEST(ProjectKeys, listedOrAll) {
  std::map<std::string, std::string> values = {{"a", "1"}, {"b", "2"}};
  Payload all;
  ASSERT_TRUE(projectKeys(values, {}, 0444, false, "configmap", all));
  EXPECT_EQ(all.size(), 2u);
  EXPECT_EQ(all["a"].mode, 0444u);
  Arena arena;
  schema::List<corev1::KeyToPath> items{};
  auto& item = items.append(arena);
  item.key = "none";
  item.path = "p";
  Payload listed;
  EXPECT_FALSE(projectKeys(values, items, 0444, false, "configmap", listed));
  EXPECT_TRUE(projectKeys(values, items, 0444, true, "configmap", listed));
  EXPECT_TRUE(listed.empty());
}

TEST(Machine, isReadFromProc) {
  EXPECT_EQ(memoryFromMeminfo("MemTotal:       24689764 kB\nMemFree: 1 kB\n"), int64_t{24689764} * 1024);
  EXPECT_EQ(processorsFromCpuinfo("processor\t: 0\nmodel\nprocessor\t: 1\n"), 2);
  EXPECT_EQ(osImageFromRelease("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
}

TEST(ContainerToLog, chooses) {
  auto pod = schema::edit(podOf(R"("containers":[{"name":"a","image":"i"}])"));
  auto& status = pod->status.containerStatuses.append(pod.arena());
  status.name = "a";
  status.state.waiting = pod.arena().make<corev1::ContainerStateWaiting>();
  status.state.waiting->reason = "ContainerCreating";
  EXPECT_EQ(containerToLog(*pod, "a", false).error().message(),
            "container \"a\" in pod \"web\" is waiting to start: ContainerCreating");
  EXPECT_FALSE(containerToLog(*pod, "a", true));
  EXPECT_FALSE(containerToLog(*pod, "b", false));
  status.lastState.terminated = pod.arena().make<corev1::ContainerStateTerminated>();
  status.lastState.terminated->containerID = "containerd://old";
  EXPECT_EQ(containerToLog(*pod, "a", false).value(), "old");
  EXPECT_EQ(containerToLog(*pod, "a", true).value(), "old");
  status.state = {};
  status.state.running = pod.arena().make<corev1::ContainerStateRunning>();
  status.containerID = "containerd://new";
  EXPECT_EQ(containerToLog(*pod, "a", false).value(), "new");
}

TEST(SubPath, staysInsideTheVolume) {
  env::SimEnv world(1);
  env::Files& files = world.env().files;
  ASSERT_TRUE(files.makeDirectories("/vol/..data_1/deep"));
  ASSERT_TRUE(files.appendFile("/vol/..data_1/key", "v"));
  ASSERT_TRUE(files.symlink("..data_1", "/vol/..data"));  // as the atomic writer makes them
  ASSERT_TRUE(files.symlink("..data/key", "/vol/key"));
  ASSERT_TRUE(files.symlink("/etc", "/vol/evil"));
  ASSERT_TRUE(files.symlink("../..", "/vol/..data_1/up"));
  ASSERT_TRUE(files.symlink("/vol/..data_1", "/vol/absolute"));
  ASSERT_TRUE(files.symlink("loop", "/vol/loop"));
  struct Case {
    const char* subPath;
    const char* want;  // null: refused
  };
  const Case kCases[] = {
      {"key", "/vol/..data_1/key"},
      {"..data/deep", "/vol/..data_1/deep"},
      {"new/er", "/vol/new/er"},
      {"./a//b", "/vol/a/b"},
      {"absolute/key", "/vol/..data_1/key"},
      {"evil", nullptr},
      {"evil/passwd", nullptr},
      {"..data/up", nullptr},
      {"../etc", nullptr},
      {"key/below", nullptr},
      {"loop", nullptr},
  };
  for (const Case& one : kCases) {
    auto got = resolveSubPath(files, "/vol", one.subPath);
    EXPECT_EQ(got.has_value(), one.want != nullptr) << one.subPath;
    if (got && one.want != nullptr) EXPECT_EQ(*got, one.want);
  }
  EXPECT_EQ(files.status("/vol/new/er")->type, env::FileStatus::Directory);
}

}  // namespace
}  // namespace knarr::kubelet
