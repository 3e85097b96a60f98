#include "cluster/containerd.h"

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
