#include "kubelet/image_gc.h"

#include <gtest/gtest.h>

#include "cri/fake.h"
#include "env/sim/sim.h"
#include "kubelet/admission.h"
#include "kubelet/test_pod_for_test.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;
using async::Task;

TEST(ImageGc, bytesToFree) {
  auto size = [](uint64_t availablePercent) { return env::FileSystemSize{100'000, availablePercent * 1000, 0, 0}; };
  EXPECT_EQ(imageBytesToFree(size(50)), 0);
  EXPECT_EQ(imageBytesToFree(size(16)), 0);
  EXPECT_EQ(imageBytesToFree(size(15)), 5'000);  // up to 20 % available
  EXPECT_EQ(imageBytesToFree(size(0)), 20'000);
  EXPECT_EQ(imageBytesToFree({0, 0, 0, 0}), 0);
}

TEST(ImageGc, theLongestUnusedGoFirst) {
  constexpr int64_t kMinute = int64_t{60} * 1'000'000'000;
  std::vector<ImageUse> images = {
      {.id = "used", .firstDetectedNanos = 0, .lastUsedNanos = 1, .inUse = true},
      {.id = "pinned", .firstDetectedNanos = 0, .pinned = true},
      {.id = "young", .firstDetectedNanos = 9 * kMinute},
      {.id = "late", .firstDetectedNanos = 1, .lastUsedNanos = 7 * kMinute},
      {.id = "early", .firstDetectedNanos = 2, .lastUsedNanos = 5 * kMinute},
      {.id = "never", .firstDetectedNanos = 3},
  };
  std::string order;
  for (const ImageUse& image : imagesToRemove(images, 10 * kMinute)) order += image.id + " ";
  EXPECT_EQ(order, "never early late ");
}

Task<void> freeTwice(ImageCollector* collector, env::Env env, std::vector<int64_t>* freed) {
  freed->push_back((co_await collector->freeSpace(1)).value_or(-1));  // all are too young
  co_await async::sleepFor(env, 3min);
  freed->push_back((co_await collector->freeSpace(int64_t{1} << 40)).value_or(-1));
}

Task<void> listImages(cri::RuntimeClient* runtime, std::vector<std::string>* tags) {
  auto images = co_await runtime->listImages(schema::newObject<runtimev1::ListImagesRequest>());
  if (!images) co_return;
  for (const runtimev1::Image& image : (*images)->images)
    for (schema::Str tag : image.repoTags) tags->emplace_back(tag);
}

TEST(ImageGc, removesThroughTheRuntime) {
  env::SimEnv world(1);
  env::Env env = world.env();
  cri::FakeRuntime runtime(env);
  runtime.addImage("docker.io/library/old:1");
  runtime.addImage("registry.k8s.io/pause:3.10");
  runtime.addImage("docker.io/library/ours:1");
  ImageCollector collector(env, runtime, {"docker.io/library/ours:1"}, [](std::string, std::string) {});
  std::vector<int64_t> freed;
  async::Gate gate(env.executor);
  gate.spawn(freeTwice(&collector, env, &freed));
  ASSERT_TRUE(world.runUntil([&] { return freed.size() == 2; }, 10min));
  EXPECT_EQ(freed[0], 0);
  EXPECT_GT(freed[1], 0);
  freed.clear();
  world.runFor(1s);
  gate.spawn(freeTwice(&collector, env, &freed));
  ASSERT_TRUE(world.runUntil([&] { return freed.size() == 2; }, 10min));
  EXPECT_EQ(freed[1], 0) << "the sandbox image stays, and what is pinned by name";
  std::vector<std::string> left;
  gate.spawn(listImages(&runtime, &left));
  world.runFor(1s);
  EXPECT_EQ(left, (std::vector<std::string>{"docker.io/library/ours:1", "registry.k8s.io/pause:3.10"}));
}

TEST(Admission, underPressure) {
  auto bestEffort = podOf(R"("containers":[{"name":"a"}])");
  auto tolerant = podOf(
      R"("containers":[{"name":"a"}],"tolerations":[{"key":"node.kubernetes.io/memory-pressure","operator":"Exists","effect":"NoSchedule"}])");
  auto burstable = podOf(R"("containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}])");
  auto critical = podOf(R"("priority":2000001000,"containers":[{"name":"a"}])");
  Pressure memory{.memory = true}, disk{.disk = true}, both{.memory = true, .disk = true};
  EXPECT_FALSE(admitUnderPressure(*bestEffort, {}));
  auto rejected = admitUnderPressure(*bestEffort, memory);
  ASSERT_TRUE(rejected);
  EXPECT_EQ(rejected->reason, "Evicted");
  EXPECT_EQ(rejected->message, "The node had condition: [MemoryPressure]. ");
  EXPECT_FALSE(admitUnderPressure(*tolerant, memory));
  EXPECT_FALSE(admitUnderPressure(*burstable, memory));
  EXPECT_TRUE(admitUnderPressure(*burstable, disk));
  EXPECT_EQ(admitUnderPressure(*tolerant, both)->message, "The node had condition: [MemoryPressure DiskPressure]. ");
  EXPECT_FALSE(admitUnderPressure(*critical, both));
}

}  // namespace
}  // namespace knarr::kubelet
