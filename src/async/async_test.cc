#include "async/async.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "env/posix/posix.h"

namespace knarr::async {
namespace {

using namespace std::chrono_literals;

class AsyncTest : public testing::Test {
 protected:
  // Runs the loop until the task has ended.
  void run(Task<void> task) {
    gate.spawn(runAndStop(std::move(task), real.get()));
    real->run();
  }
  static Task<void> runAndStop(Task<void> task, env::PosixEnv* real) {
    co_await task;
    real->stop();
  }
  std::unique_ptr<env::PosixEnv> real = env::makePosixEnv();
  env::Env e = real->env();
  Gate gate{e.executor};
};

Task<int> addLater(env::Env e, int a, int b) {
  co_await sleepFor(e, 1ms);
  co_return a + b;
}
Task<void> checkSum(env::Env e, int* sum) { *sum = co_await addLater(e, 1, 2); }

TEST_F(AsyncTest, awaitsValues) {
  int sum = 0;
  run(checkSum(e, &sum));
  EXPECT_EQ(sum, 3);
}

Task<int> instant(int i) { co_return i; }
Task<void> manyInstantAwaits(int64_t* total) {
  for (int i = 0; i < 200'000; ++i) *total += co_await instant(i);
}
TEST_F(AsyncTest, instantAwaitsDoNotGrowTheStack) {
  int64_t total = 0;
  run(manyInstantAwaits(&total));
  EXPECT_EQ(total, int64_t{199'999} * 100'000);
}

Task<void> waitAndNote(Event* event, std::string* notes, std::string note) {
  co_await event->wait();
  *notes += note;
}
Task<void> notifyTwice(env::Env e, Event* event, std::string* notes) {
  co_await sleepFor(e, 0ms);
  event->notifyAll();
  *notes += "notified ";
  co_await sleepFor(e, 1ms);
  event->set();
}
TEST_F(AsyncTest, eventWakesFromTheLoopInOrder) {
  Event event(e.executor);
  std::string notes;
  gate.spawn(waitAndNote(&event, &notes, "a"));
  gate.spawn(waitAndNote(&event, &notes, "b"));
  run(notifyTwice(e, &event, &notes));
  EXPECT_EQ(notes, "notified ab");
  run(waitAndNote(&event, &notes, "c"));
  EXPECT_EQ(notes, "notified abc");
}

TEST_F(AsyncTest, destroyedGateDestroysWaitingFrames) {
  Event event(e.executor);
  std::string notes;
  {
    Gate inner(e.executor);
    inner.spawn(waitAndNote(&event, &notes, "never"));
    int sum = 0;
    run(checkSum(e, &sum));
    EXPECT_EQ(inner.running(), 1U);
  }
  event.notifyAll();
  int sum = 0;
  run(checkSum(e, &sum));
  EXPECT_EQ(notes, "");
}

struct Owner {
  explicit Owner(env::Executor& executor) : gate(executor) {}
  Gate gate;
  std::shared_ptr<int> watched = std::make_shared<int>();
};
Task<void> keepOwner(std::shared_ptr<Owner> owner, env::Env e) {
  co_await sleepFor(e, 1ms);
  (void)owner;
}
TEST_F(AsyncTest, aTaskMayHoldTheLastReferenceToItsGatesOwner) {
  auto owner = std::make_shared<Owner>(e.executor);
  std::weak_ptr<int> watched = owner->watched;
  owner->gate.spawn(keepOwner(owner, e));
  owner.reset();
  int sum = 0;
  run(checkSum(e, &sum));
  EXPECT_TRUE(watched.expired());
}

Task<void> closeGate(Gate* gate, StopSource* stop) {
  stop->requestStop();
  co_await gate->close();
}
Task<void> sleepLong(env::Env e, StopToken stop, bool* elapsed) { *elapsed = co_await sleepFor(e, 1h, stop); }
TEST_F(AsyncTest, closeWaitsForStoppedTasks) {
  Gate inner(e.executor);
  StopSource stop;
  bool elapsed = true;
  inner.spawn(sleepLong(e, stop.token(), &elapsed));
  EXPECT_EQ(inner.running(), 1U);
  run(closeGate(&inner, &stop));
  EXPECT_FALSE(elapsed);
  EXPECT_EQ(inner.running(), 0U);
  bool never = true;
  inner.spawn(sleepLong(e, {}, &never));
  EXPECT_EQ(inner.running(), 0U);
}

TEST(Stop, callbacksRunOnceUnlessTakenBack) {
  StopSource source;
  StopToken token = source.token();
  int calls = 0;
  auto kept = token.onStop([&] { ++calls; });
  {
    auto dropped = token.onStop([&] { calls += 100; });
  }
  auto moved = std::move(kept);
  EXPECT_FALSE(token.stopRequested());
  source.requestStop();
  source.requestStop();
  EXPECT_EQ(calls, 1);
  auto late = token.onStop([&] { ++calls; });
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(token.stopRequested());
  EXPECT_FALSE(StopToken().stopRequested());
}

Task<void> produce(Queue<int>* queue, int count) {
  for (int i = 0; i < count; ++i)
    if (!co_await queue->push(i)) co_return;
  queue->close();
}
Task<void> consume(Queue<int>* queue, int64_t* total) {
  while (auto item = co_await queue->pop()) *total += *item;
}
TEST_F(AsyncTest, queueCarriesEverythingThroughABound) {
  Queue<int> queue(e.executor, 3);
  int64_t total = 0;
  gate.spawn(produce(&queue, 1000));
  run(consume(&queue, &total));
  EXPECT_EQ(total, 499'500);
  EXPECT_FALSE(queue.tryPush(1));
}

Task<void> runShell(env::Env e, std::string script, StopToken stop, Result<env::ProcessExit>* into) {
  env::ProcessSpec spec;
  spec.argv = {"/bin/sh", "-c", script};
  *into = co_await runProcess(e, std::move(spec), stop);
}
Task<void> stopSoon(env::Env e, StopSource* stop) {
  co_await sleepFor(e, 1ms);
  stop->requestStop();
}
TEST_F(AsyncTest, runsProcessesAndKillsThemOnStop) {
  Result<env::ProcessExit> exit;
  run(runShell(e, "echo hi", {}, &exit));
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->standardOutput, "hi\n");
  StopSource stop;
  gate.spawn(stopSoon(e, &stop));
  run(runShell(e, "sleep 1000", stop.token(), &exit));
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().reason(), Reason::Timeout);
}

Task<int> addAndNote(env::Env e, env::Duration after, std::string* notes) {
  co_await sleepFor(e, after);
  *notes += "done";
  co_return 3;
}
Task<void> untilStop(env::Env e, env::Duration work, StopToken stop, std::string* notes) {
  auto got = co_await untilStopped(e.executor, addAndNote(e, work, notes), stop);
  *notes += got ? fmt::format(" {}", *got) : "stopped";
}
TEST_F(AsyncTest, untilStoppedGivesTheValueOrNothing) {
  std::string notes;
  StopSource stop;
  run(untilStop(e, 1ms, stop.token(), &notes));
  EXPECT_EQ(notes, "done 3");
  notes.clear();
  gate.spawn(stopSoon(e, &stop));
  run(untilStop(e, 1h, stop.token(), &notes));
  EXPECT_EQ(notes, "stopped");
  run(untilStop(e, 0ms, stop.token(), &notes));
  EXPECT_EQ(notes, "stoppedstopped") << "asked for before it began";
}

Task<void> blockFor(env::Env e, std::string* got) {
  *got = co_await runBlocking<std::string>(e.executor, [] { return std::string("from a thread"); });
}
TEST_F(AsyncTest, runBlockingReturnsTheValue) {
  std::string got;
  run(blockFor(e, &got));
  EXPECT_EQ(got, "from a thread");
}

Task<void> connectTo(env::Env e, std::string address, Result<std::unique_ptr<env::Stream>>* into) {
  *into = co_await connect(e, address, 5s);
}
TEST_F(AsyncTest, connects) {
  auto listener = e.network.listen("127.0.0.1:0", [](std::unique_ptr<env::Stream>) {});
  ASSERT_TRUE(listener);
  Result<std::unique_ptr<env::Stream>> stream;
  run(connectTo(e, (*listener)->address(), &stream));
  ASSERT_TRUE(stream);
  EXPECT_EQ((*stream)->peerAddress(), (*listener)->address());
  run(connectTo(e, "nonsense", &stream));
  EXPECT_FALSE(stream);
}

}  // namespace
}  // namespace knarr::async
