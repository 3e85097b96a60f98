#include "cluster/containerd.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cri/fake.h"
#include "env/sim/sim.h"

namespace knarr::cluster {
namespace {

using namespace std::chrono_literals;
using async::Task;

TEST(ImportedImageNames, areInWhatCtrPrints) {
  struct Case {
    const char *name, *output;
    std::vector<std::string> want;
  };
  const Case kCases[] = {
      {"one", "unpacking registry.k8s.io/pause:3.10 (sha256:0a)...done\n", {"registry.k8s.io/pause:3.10"}},
      {"two", "unpacking a/b:1 (sha256:0a)...done\nunpacking a/b:2 (sha256:0a)...done\n", {"a/b:1", "a/b:2"}},
      {"other lines", "ctr: a warning\nunpacking a/b:1 (sha256:0a)...done", {"a/b:1"}},
      {"no digest", "unpacking a/b:1", {}},
      {"no name", "unpacking  (sha256:0a)", {}},
      {"nothing", "", {}},
  };
  for (const Case& one : kCases) EXPECT_EQ(importedImageNames(one.output), one.want) << one.name;
}

std::string statOf(const char* state, int flags, int threads) {
  return fmt::format("42 (kna) rr) {} 1 42 42 0 -1 {} 9 0 0 0 1 2 0 0 20 0 {} 0 77 0 0", state, flags, threads);
}

TEST(ProcessLife, ofStatAndStatus) {
  struct Case {
    const char* name;
    std::string stat, status;
    ProcessLife want;
  };
  const std::string kQuiet = "Name:\tknarr\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n";
  const Case kCases[] = {
      {"sleeps", statOf("S", 0x400040, 5), kQuiet, ProcessLife::Living},
      {"SIGTERM waits", statOf("S", 0x400040, 5), "SigPnd:\t0000000000004000\n", ProcessLife::Living},
      {"SIGKILL waits", statOf("S", 0x400040, 5), "SigPnd:\t0000000000000100\n", ProcessLife::Ending},
      {"SIGKILL waits for any thread", statOf("D", 0x400040, 5), "ShdPnd:\t0000000000000100\n", ProcessLife::Ending},
      {"exits", statOf("R", 0x400044, 5), kQuiet, ProcessLife::Ending},
      {"a zombie with threads", statOf("Z", 0x40000c, 3), kQuiet, ProcessLife::Ending},
      {"a zombie", statOf("Z", 0x40000c, 1), kQuiet, ProcessLife::Gone},
      {"absent", "", "", ProcessLife::Gone},
      {"cut short", "42 (knarr) S 1", kQuiet, ProcessLife::Gone},
  };
  for (const Case& one : kCases) EXPECT_EQ(processLife(one.stat, one.status), one.want) << one.name;
}

class ProcessFiles : public testing::Test {
 protected:
  void put(const std::string& path, const std::string& bytes) {
    ASSERT_TRUE(environment.files.makeDirectories(path.substr(0, path.rfind('/'))));
    ASSERT_TRUE(environment.files.writeFileAtomically(path, bytes));
  }
  static Task<void> awaitInto(env::Env e, bool* done) {
    co_await awaitEnding(e, "/run/pid");
    *done = true;
  }
  env::SimEnv world{1};
  env::Env environment = world.env();
  async::Gate gate{environment.executor};
};

TEST_F(ProcessFiles, oneThatEndsIsAwaited) {
  put("/run/pid", "42\n");
  put("/proc/42/cmdline", "knarr server");
  put("/proc/42/stat", statOf("S", 0, 3));
  EXPECT_EQ(livingProcess(environment, "/run/pid", "server"), 42);
  EXPECT_EQ(livingProcess(environment, "/run/pid", "containerd"), 0) << "another program has the number now";
  put("/proc/42/stat", statOf("R", 4, 3));
  EXPECT_EQ(livingProcess(environment, "/run/pid", "server"), 0);
  bool done = false;
  gate.spawn(awaitInto(environment, &done));
  world.runFor(1s);
  EXPECT_FALSE(done);
  ASSERT_TRUE(environment.files.removeTree("/proc/42"));
  EXPECT_TRUE(world.runUntil([&] { return done; }, 100ms));
}

TEST_F(ProcessFiles, waitingIsBounded) {
  put("/run/pid", "42\n");
  put("/proc/42/stat", statOf("R", 4, 3));
  bool done = false;
  gate.spawn(awaitInto(environment, &done));
  EXPECT_TRUE(world.runUntil([&] { return done; }, 11s));
}

// A runtime in memory, and a `ctr` that loads one image into it.
class ImportImages : public testing::Test {
 protected:
  ImportImages() {
    config.assetsDirectory = "/assets";
    put("/assets/images/busybox.tar", "archive");
    put("/assets/images/README", "text");
    world.host("main").setProcessHandler([this](std::shared_ptr<env::SimProcess> process) -> Result<void> {
      imports.push_back(process->spec().argv.back());
      runtime.addImage("busybox:1.36");
      process->exit({.exitCode = exitCode, .standardOutput = output, .standardError = "ctr: broken"});
      return {};
    });
  }
  void put(const std::string& path, const std::string& bytes) {
    ASSERT_TRUE(environment.files.makeDirectories(path.substr(0, path.rfind('/'))));
    ASSERT_TRUE(environment.files.writeFileAtomically(path, bytes));
  }
  static Task<void> removeImage(cri::RuntimeClient* runtime, std::string name) {
    auto request = schema::newObject<runtimev1::RemoveImageRequest>();
    request->image = request.arena().make<runtimev1::ImageSpec>();
    request->image->image = request.str(name);
    EXPECT_TRUE(co_await runtime->removeImage(std::move(request)));
  }
  Result<void> import() {
    Result<void> outcome;
    bool done = false;
    gate.spawn(keep(environment, config, &runtime, &outcome, &done));
    EXPECT_TRUE(world.runUntil([&] { return done; }, 5min));
    return outcome;
  }
  static Task<void> keep(env::Env e, ClusterConfig c, cri::RuntimeClient* r, Result<void>* outcome, bool* done) {
    *outcome = co_await importImages(e, c, r);
    *done = true;
  }

  env::SimEnv world{1};
  env::Env environment = world.env();
  cri::FakeRuntime runtime{environment};
  async::Gate gate{environment.executor};
  ClusterConfig config;
  std::vector<std::string> imports;
  std::string output = "unpacking docker.io/library/busybox:1.36 (sha256:0a)...done\n";
  int exitCode = 0;
};

TEST_F(ImportImages, loadsOnceAndTellsTheNames) {
  EXPECT_TRUE(loadedImages(environment, config).empty());
  ASSERT_TRUE(import());
  EXPECT_EQ(imports, std::vector<std::string>{"/assets/images/busybox.tar"});
  EXPECT_EQ(loadedImages(environment, config), (std::set<std::string, std::less<>>{"docker.io/library/busybox:1.36"}));
  ASSERT_TRUE(import());
  EXPECT_EQ(imports.size(), 1U);
}

TEST_F(ImportImages, loadsAgainWhatTheRuntimeLost) {
  ASSERT_TRUE(import());
  gate.spawn(removeImage(&runtime, "docker.io/library/busybox:1.36"));
  world.runFor(1s);
  ASSERT_TRUE(import());
  EXPECT_EQ(imports.size(), 2U);
}

TEST_F(ImportImages, loadsAgainWhatChanged) {
  ASSERT_TRUE(import());
  put("/assets/images/busybox.tar", "another archive");
  ASSERT_TRUE(import());
  EXPECT_EQ(imports.size(), 2U);
}

TEST_F(ImportImages, waitsForARuntimeThatJustBegan) {
  runtime.failNext("ListImages", Error(Reason::InternalError, "server is not initialized yet"), 3);
  ASSERT_TRUE(import());
  EXPECT_EQ(imports.size(), 1U);
}

TEST_F(ImportImages, failuresLeaveNoMark) {
  exitCode = 1;
  EXPECT_EQ(import().error().message(), "loading image /assets/images/busybox.tar failed: ctr: broken");
  exitCode = 0;
  output = "";
  EXPECT_EQ(import().error().message(), "loading image /assets/images/busybox.tar: the archive names no image");
  EXPECT_TRUE(loadedImages(environment, config).empty());
}

}  // namespace
}  // namespace knarr::cluster
