#include <gtest/gtest.h>

#include <csignal>
#include <set>
#include <thread>

#include "env/posix/posix.h"

namespace knarr::env {
namespace {

using namespace std::chrono_literals;

TEST(PosixLoop, postKeepsOrderAndRunsAfterTheCurrentCallback) {
  auto real = makePosixEnv();
  Env e = real->env();
  std::string order;
  e.executor.post([&] {
    e.executor.post([&] {
      order += "c";
      real->stop();
    });
    order += "a";
  });
  e.executor.post([&] { order += "b"; });
  real->run();
  EXPECT_EQ(order, "abc");
}

TEST(PosixLoop, timersFireInOrderAndCanBeCancelled) {
  auto real = makePosixEnv();
  Env e = real->env();
  std::string order;
  Instant start = e.clock.now();
  TimerId cancelled = e.executor.at(start + 1ms, [&] { order += "x"; });
  e.executor.at(start + 4ms, [&] {
    order += "c";
    real->stop();
  });
  e.executor.at(start + 2ms, [&] { order += "a"; });
  e.executor.at(start + 2ms, [&] { order += "b"; });
  e.executor.cancelTimer(cancelled);
  e.executor.cancelTimer(4711);
  real->run();
  EXPECT_EQ(order, "abc");
  EXPECT_GE(e.clock.now() - start, 4ms);
}

TEST(PosixLoop, blockRunsWorkOnAThreadAndDoneOnTheLoop) {
  auto real = makePosixEnv();
  Env e = real->env();
  std::thread::id loopThread = std::this_thread::get_id();
  int left = 20;
  for (int i = 0; i < 20; ++i) {
    auto workThread = std::make_shared<std::thread::id>();
    e.executor.block([workThread] { *workThread = std::this_thread::get_id(); },
                     [&, workThread] {
                       EXPECT_NE(*workThread, loopThread);
                       EXPECT_EQ(std::this_thread::get_id(), loopThread);
                       if (--left == 0) real->stop();
                     });
  }
  real->run();
  EXPECT_EQ(left, 0);
}

TEST(PosixLoop, otherThreadsPostAndStop) {
  auto real = makePosixEnv();
  Env e = real->env();
  int got = 0;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) e.executor.postFromThread([&] { ++got; });
    e.executor.postFromThread([&] { real->stop(); });
  });
  real->run();
  other.join();
  EXPECT_EQ(got, 1000);
}

TEST(PosixLoop, stopBeforeRunReturnsAtOnce) {
  auto real = makePosixEnv();
  real->stop();
  real->run();
  SUCCEED();
}

TEST(PosixLoop, unrunWorkIsDestroyedWithTheLoop) {
  auto owned = std::make_shared<int>(1);
  {
    auto real = makePosixEnv();
    Env e = real->env();
    e.executor.post([owned] {});
    e.executor.at(e.clock.now() + 1h, [owned] {});
    e.executor.postFromThread([owned] {});
    EXPECT_EQ(owned.use_count(), 4);
  }
  EXPECT_EQ(owned.use_count(), 1);
}

TEST(PosixLoop, signalsArriveOnTheLoop) {
  auto real = makePosixEnv();
  Env e = real->env();
  int got = 0;
  real->onSignal(SIGUSR1, [&] {
    ++got;
    real->stop();
  });
  e.executor.post([] { ::raise(SIGUSR1); });
  real->run();
  EXPECT_EQ(got, 1);
}

TEST(PosixRandom, namesAndUuidsHaveTheirShape) {
  auto real = makePosixEnv();
  Random& random = real->env().random;
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    std::string name = randomNameSuffix(random, 5);
    EXPECT_EQ(name.size(), 5U);
    EXPECT_EQ(name.find_first_not_of("bcdfghjklmnpqrstvwxz2456789"), std::string::npos);
    std::string uuid = randomUuid(random);
    ASSERT_EQ(uuid.size(), 36U);
    EXPECT_EQ(uuid[14], '4');
    EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos);
    EXPECT_EQ(uuid[8], '-');
    seen.insert(uuid);
  }
  EXPECT_EQ(seen.size(), 100U);
}

}  // namespace
}  // namespace knarr::env
