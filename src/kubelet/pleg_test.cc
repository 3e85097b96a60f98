#include "kubelet/pleg.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cri/fake.h"
#include "env/sim/sim.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;
using async::Task;
using cri::RuntimeEvent;

RuntimeSummary summaryOf(std::map<std::string, std::map<std::string, int32_t>> pods) {
  RuntimeSummary summary;
  for (auto& [uid, states] : pods) {
    for (auto& [id, state] : states)
      if (state == cri::kContainerRunning) summary.running.insert(id);
    summary.pods[uid] = {uid, "", "", states};
  }
  return summary;
}

TEST(ChangedPods, newEndedAndGone) {
  RuntimeSummary before = summaryOf({{"same", {{"a", 1}}}, {"ends", {{"b", 1}}}, {"goes", {{"c", 2}}}});
  RuntimeSummary after = summaryOf({{"same", {{"a", 1}}}, {"ends", {{"b", 2}}}, {"comes", {{"d", 1}}}});
  EXPECT_EQ(changedPods(before, after), (std::vector<std::string>{"comes", "ends", "goes"}));
  EXPECT_TRUE(changedPods(after, after).empty());
}

TEST(AwaitedEvents, looksAgainUntilTheListsShowIt) {
  env::Instant begin{};
  AwaitedEvents awaited;
  EXPECT_FALSE(awaited.due());
  awaited.add({RuntimeEvent::Exited, "a", ""}, begin);
  EXPECT_EQ(awaited.due(), begin);
  EXPECT_TRUE(awaited.settle(summaryOf({{"u", {{"a", 1}}}}), begin).empty());
  EXPECT_EQ(awaited.due(), begin + 5ms);
  EXPECT_TRUE(awaited.settle(summaryOf({{"u", {{"a", 1}}}}), begin + 5ms).empty());
  EXPECT_EQ(awaited.due(), begin + 15ms);
  EXPECT_TRUE(awaited.settle(summaryOf({{"u", {{"a", 2}}}}), begin + 15ms).empty());
  EXPECT_FALSE(awaited.due()) << "it is in the lists";
}

TEST(AwaitedEvents, givesUp) {
  env::Instant begin{};
  AwaitedEvents awaited;
  awaited.add({RuntimeEvent::Exited, "a", ""}, begin);
  int looks = 0;
  while (awaited.due() && looks < 100) {
    (void)awaited.settle(summaryOf({{"u", {{"a", 1}}}}), *awaited.due());
    ++looks;
  }
  EXPECT_EQ(looks, 10);  // at 0, 5, 15, ... 1275, 2555 ms
}

TEST(AwaitedEvents, outOfMemoryWakesLater) {
  env::Instant begin{};
  AwaitedEvents awaited;
  awaited.add({RuntimeEvent::OutOfMemory, "a", ""}, begin);
  RuntimeSummary summary = summaryOf({{"u", {{"a", 2}}}, {"v", {{"b", 1}}}});
  EXPECT_TRUE(awaited.settle(summary, begin).empty());
  ASSERT_EQ(awaited.due(), begin + 300ms);
  EXPECT_EQ(awaited.settle(summary, begin + 300ms), std::vector<std::string>{"u"});
  EXPECT_FALSE(awaited.due());
}

TEST(AwaitedEvents, areBounded) {
  AwaitedEvents awaited;
  for (int i = 0; i < 5000; ++i) awaited.add({RuntimeEvent::Exited, std::to_string(i), ""}, env::Instant{});
  RuntimeSummary all;
  for (int i = 0; i < 5000; ++i) all.running.insert(std::to_string(i));
  (void)awaited.settle(all, env::Instant{});
  awaited.add({RuntimeEvent::Exited, "one more", ""}, env::Instant{});
  EXPECT_EQ(awaited.due(), env::Instant{} + 5ms);
}

namespace v1 = runtimev1;

Task<void> makeContainer(cri::RuntimeClient* runtime, std::string* id) {
  auto sandbox = schema::newObject<v1::RunPodSandboxRequest>();
  sandbox->config = sandbox.arena().make<v1::PodSandboxConfig>();
  sandbox->config->metadata = sandbox.arena().make<v1::PodSandboxMetadata>();
  sandbox->config->metadata->name = "web";
  sandbox->config->metadata->uid = "u1";
  schema::set(sandbox->config->labels, sandbox.arena(), labels::kPodUid, "u1");
  auto made = co_await runtime->runPodSandbox(std::move(sandbox));
  EXPECT_TRUE(made);
  if (!made) co_return;
  auto container = schema::newObject<v1::CreateContainerRequest>();
  container->podSandboxId = container.str(std::string((*made)->podSandboxId));
  container->config = container.arena().make<v1::ContainerConfig>();
  container->config->metadata = container.arena().make<v1::ContainerMetadata>();
  container->config->metadata->name = "main";
  container->config->image = container.arena().make<v1::ImageSpec>();
  container->config->image->image = "busybox:1.36";
  schema::set(container->config->labels, container.arena(), labels::kPodUid, "u1");
  auto created = co_await runtime->createContainer(std::move(container));
  EXPECT_TRUE(created);
  if (!created) co_return;
  EXPECT_TRUE(co_await runtime->startContainer(std::string((*created)->containerId)));
  *id = (*created)->containerId;
}

class PlegTest : public testing::Test {
 protected:
  PlegTest() {
    runtime.addImage("busybox:1.36");
    gate.spawn(makeContainer(&runtime, &container));
    EXPECT_TRUE(world.runUntil([&] { return !container.empty(); }, 10s));
  }
  ~PlegTest() override {
    stop.requestStop();
    world.runFor(1s);
    EXPECT_EQ(gate.running(), 0U) << "both tasks end when asked";
  }
  void start() {
    gate.spawn(pleg.relist(stop.token()));
    gate.spawn(pleg.followEvents(stop.token()));
    world.runFor(3500ms);
    woken.clear();
  }
  // How often the runtime is listed in the time.
  int64_t listsIn(env::Duration duration) {
    auto count = [&] { return std::ranges::count(runtime.calls(), "ListPodSandbox"); };
    auto before = count();
    world.runFor(duration);
    return count() - before;
  }
  bool wokenWithin(env::Duration limit) {
    return world.runUntil([&] { return !woken.empty(); }, limit);
  }

  env::SimEnv world{1};
  cri::FakeRuntime runtime{world.env()};
  std::vector<std::string> woken;
  bool healthy = false;
  Pleg pleg{world.env(), runtime, 1s, [this](const std::string& uid) { woken.push_back(uid); },
            [this](bool is) { healthy = is; }};
  async::StopSource stop;
  std::string container;
  async::Gate gate{world.env().executor};
};

TEST_F(PlegTest, withoutEventsTheListsAreReadEverySecond) {
  start();
  EXPECT_TRUE(healthy);
  EXPECT_NEAR(static_cast<double>(listsIn(60s)), 60, 1);
  runtime.exitContainer(container, 1);
  EXPECT_TRUE(wokenWithin(1100ms));
  EXPECT_EQ(woken, std::vector<std::string>{"u1"});
}

TEST_F(PlegTest, withEventsAnExitIsSeenAtOnce) {
  runtime.offersEvents = true;
  start();
  EXPECT_NEAR(static_cast<double>(listsIn(60s)), 6, 1);
  EXPECT_TRUE(woken.empty());
  runtime.exitContainer(container, 1);
  EXPECT_TRUE(wokenWithin(10ms));
  EXPECT_EQ(woken, std::vector<std::string>{"u1"});
  EXPECT_NEAR(static_cast<double>(listsIn(20s)), 2, 1) << "and not again and again";
}

TEST_F(PlegTest, eventsThatNamePodsNeedNoList) {
  runtime.offersEvents = runtime.eventsNamePods = true;
  start();
  runtime.exitContainer(container, 1);
  EXPECT_EQ(listsIn(5ms), 0);
  EXPECT_EQ(woken, std::vector<std::string>{"u1"});
}

TEST_F(PlegTest, outOfMemoryIsLookedAtAgain) {
  runtime.offersEvents = true;
  start();
  runtime.tellOutOfMemory(container);
  EXPECT_FALSE(wokenWithin(290ms));
  EXPECT_TRUE(wokenWithin(20ms));
  EXPECT_EQ(woken, std::vector<std::string>{"u1"});
}

TEST_F(PlegTest, aBrokenStreamFallsBackUntilItIsOpenAgain) {
  runtime.offersEvents = true;
  start();
  runtime.failNext("GetContainerEvents", Error(Reason::ServiceUnavailable, "connection refused"), 20);
  runtime.breakEventStreams();
  EXPECT_NEAR(static_cast<double>(listsIn(10s)), 11, 1);
  world.runFor(15s);
  EXPECT_LE(listsIn(60s), 7) << "events work again";
  runtime.exitContainer(container, 1);
  EXPECT_TRUE(wokenWithin(10ms));
}

TEST_F(PlegTest, aRuntimeThatDoesNotAnswerIsUnhealthyInTime) {
  runtime.offersEvents = true;
  start();
  runtime.failNext("ListPodSandbox", Error(Reason::ServiceUnavailable, "connection refused"), 1000);
  runtime.exitContainer(container, 1);
  EXPECT_LE(listsIn(60s), 8) << "events do not make a runtime busier that does not answer";
  EXPECT_TRUE(healthy);
  world.runFor(3min);
  EXPECT_FALSE(healthy);
}

}  // namespace
}  // namespace knarr::kubelet
