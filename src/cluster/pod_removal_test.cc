#include "cluster/pod_removal.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cri/fake.h"
#include "env/sim/sim.h"

namespace knarr::cluster {
namespace {

using namespace std::chrono_literals;
using async::Task;
namespace v1 = runtimev1;

Task<void> makePods(cri::RuntimeClient* runtime, int count, bool* done) {
  for (int i = 0; i < count; ++i) {
    auto sandbox = schema::newObject<v1::RunPodSandboxRequest>();
    sandbox->config = sandbox.arena().make<v1::PodSandboxConfig>();
    sandbox->config->metadata = sandbox.arena().make<v1::PodSandboxMetadata>();
    sandbox->config->metadata->name = sandbox.str(fmt::format("pod{}", i));
    auto made = co_await runtime->runPodSandbox(std::move(sandbox));
    EXPECT_TRUE(made);
    if (!made) co_return;
    auto container = schema::newObject<v1::CreateContainerRequest>();
    container->podSandboxId = container.str(std::string((*made)->podSandboxId));
    container->config = container.arena().make<v1::ContainerConfig>();
    container->config->metadata = container.arena().make<v1::ContainerMetadata>();
    container->config->metadata->name = "main";
    container->config->image = container.arena().make<v1::ImageSpec>();
    container->config->image->image = "stubborn:1";
    auto created = co_await runtime->createContainer(std::move(container));
    EXPECT_TRUE(created);
    if (created) EXPECT_TRUE(co_await runtime->startContainer(std::string((*created)->containerId)));
  }
  *done = true;
}

Task<void> removeAll(env::Env env, cri::RuntimeClient* runtime, std::optional<Result<RemovedSandboxes>>* outcome) {
  *outcome = co_await removeSandboxes(env, runtime);
}

class PodRemoval : public testing::Test {
 protected:
  PodRemoval() {
    cri::FakeRuntime::Behavior ignoresSigterm;
    ignoresSigterm.stopTakes = 1h;
    runtime.addImage("stubborn:1", ignoresSigterm);
    bool done = false;
    gate.spawn(makePods(&runtime, 30, &done));
    EXPECT_TRUE(world.runUntil([&] { return done; }, 1min));
  }
  Result<RemovedSandboxes> remove() {
    std::optional<Result<RemovedSandboxes>> outcome;
    gate.spawn(removeAll(world.env(), &runtime, &outcome));
    EXPECT_TRUE(world.runUntil([&] { return outcome.has_value(); }, 10min));
    return *outcome;
  }
  env::SimEnv world{1};
  cri::FakeRuntime runtime{world.env()};
  async::Gate gate{world.env().executor};
};

TEST_F(PodRemoval, thirtyPodsThatIgnoreSigtermEndTogether) {
  env::Instant begin = world.env().clock.now();
  Result<RemovedSandboxes> removed = remove();
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->count, 30);
  EXPECT_FALSE(removed->error);
  EXPECT_LT(world.env().clock.now() - begin, 3s);
  EXPECT_TRUE(runtime.sandboxes().empty());
}

TEST_F(PodRemoval, oneThatStaysDoesNotKeepTheOthers) {
  runtime.failNext("StopPodSandbox", Error(Reason::InternalError, "the network is stuck"));
  Result<RemovedSandboxes> removed = remove();
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->count, 29);
  ASSERT_TRUE(removed->error);
  EXPECT_EQ(removed->error->message(), "the network is stuck");
  EXPECT_EQ(remove()->count, 1);
}

TEST_F(PodRemoval, aRuntimeThatDoesNotAnswerIsAnError) {
  runtime.failNext("ListPodSandbox", Error(Reason::ServiceUnavailable, "connection refused"));
  EXPECT_FALSE(remove());
}

}  // namespace
}  // namespace knarr::cluster
