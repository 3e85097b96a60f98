#include "env/sim/sim.h"

#include <gtest/gtest.h>

#include "async/async.h"

namespace knarr::env {
namespace {

using namespace std::chrono_literals;
using async::Event;
using async::Gate;
using async::Queue;
using async::StopSource;
using async::StopToken;
using async::Task;

struct Outcome {
  uint64_t hash = 0;
  int64_t consumed = 0;
  std::string order;
  std::string echoed;
};

Task<void> produce(Env e, SimEnv* world, Queue<int>* queue, int from, int count) {
  for (int i = 0; i < count; ++i) {
    if (e.random.below(4) == 0) co_await async::sleepFor(e, Duration(static_cast<int64_t>(e.random.below(1'000'000))));
    if (!co_await queue->push(from + i)) co_return;
    world->trace("pushed");
  }
}
Task<void> consume(Queue<int>* queue, Outcome* outcome, char name) {
  while (auto item = co_await queue->pop()) {
    outcome->consumed += *item;
    outcome->order += name;
  }
}
Task<void> tick(Env e, StopToken stop, Outcome* outcome) {
  while (co_await async::sleepFor(e, 100us, stop)) outcome->order += 't';
}

// Waits until the stream can be read (written).
Task<void> readable(Env e, Stream* stream) {
  Event ready(e.executor);
  stream->whenReadable([&] { ready.set(); });
  co_await ready.wait();
}
Task<std::string> readToEnd(Env e, Stream* stream) {
  std::string got;
  char buffer[256];
  while (true) {
    IoStep step = stream->read(buffer);
    if (step.kind == IoStep::Done) {
      got.append(buffer, step.bytes);
    } else if (step.kind == IoStep::WouldBlock) {
      co_await readable(e, stream);
    } else {
      co_return got;
    }
  }
}
Task<void> echoOnce(Env e, std::shared_ptr<Stream> stream) {
  std::string text = co_await readToEnd(e, stream.get());
  stream->write(text);
}
Task<void> askEcho(Env e, std::string address, std::string text, Outcome* outcome) {
  auto stream = co_await async::connect(e, address, 1s);
  if (!stream) {
    outcome->echoed += "!";
    co_return;
  }
  (*stream)->write(text);
  (*stream)->shutdownWrite();
  outcome->echoed += co_await readToEnd(e, stream->get());
}
Task<void> closeAfter(Env e, Duration delay, Queue<int>* queue, StopSource* stop) {
  co_await async::sleepFor(e, delay);
  queue->close();
  stop->requestStop();
}

Outcome runCluster(uint64_t seed, double resets) {
  Outcome outcome;
  SimEnv world(seed);
  world.faults().resetPerDelivery = resets;
  Env server = world.host("server").env();
  Env client = world.host("client").env();
  Gate gate(server.executor);
  Queue<int> queue(server.executor, 4);
  StopSource stop;
  auto listener = server.network.listen("0.0.0.0:80",
                                        [&](std::unique_ptr<Stream> stream) { gate.spawn(echoOnce(server, std::move(stream))); });
  EXPECT_TRUE(listener);
  for (int i = 0; i < 3; ++i) gate.spawn(produce(server, &world, &queue, i * 1000, 40));
  gate.spawn(consume(&queue, &outcome, 'a'));
  gate.spawn(consume(&queue, &outcome, 'b'));
  gate.spawn(tick(client, stop.token(), &outcome));
  for (int i = 0; i < 5; ++i)
    gate.spawn(askEcho(client, world.host("server").address() + ":80", std::string(1, static_cast<char>('0' + i)), &outcome));
  gate.spawn(closeAfter(client, 200ms, &queue, &stop));
  EXPECT_TRUE(world.runUntil([&] { return gate.running() == 0; }, 1h));
  outcome.hash = world.traceHash();
  return outcome;
}

TEST(Sim, aSeedReplaysExactlyAndSeedsDiffer) {
  std::set<uint64_t> hashes;
  std::set<std::string> orders;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Outcome first = runCluster(seed, seed % 2 == 0 ? 0.1 : 0);
    Outcome second = runCluster(seed, seed % 2 == 0 ? 0.1 : 0);
    EXPECT_EQ(first.hash, second.hash) << "seed " << seed;
    EXPECT_EQ(first.order, second.order) << "seed " << seed;
    EXPECT_EQ(first.echoed, second.echoed) << "seed " << seed;
    EXPECT_EQ(first.consumed, 40 * (0 + 1000 + 2000) + 3 * 780);
    if (seed % 2 == 1) {
      std::ranges::sort(first.echoed);
      EXPECT_EQ(first.echoed, "01234") << "seed " << seed;
    }
    hashes.insert(first.hash);
    orders.insert(first.order);
  }
  EXPECT_EQ(hashes.size(), 50U);
  EXPECT_GT(orders.size(), 40U);
}

TEST(Sim, postOrderComesFromTheSeed) {
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SimEnv world(seed);
    std::string order;
    for (char c : {'a', 'b', 'c'}) world.env().executor.post([&order, c] { order += c; });
    Instant when = world.env().clock.now() + 1h;
    for (char c : {'x', 'y', 'z'}) world.env().executor.at(when, [&order, c] { order += c; });
    world.runFor(2h);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 36U);
}

TEST(Sim, timePassesOnlyWhenNothingIsReady) {
  SimEnv world(7);
  Env e = world.env();
  EXPECT_EQ(e.clock.unixSeconds(), 1767225600);
  bool fired = false;
  bool cancelledFired = false;
  e.executor.at(e.clock.now() + std::chrono::hours(24), [&] { fired = true; });
  TimerId cancelled = e.executor.at(e.clock.now() + 1s, [&] { cancelledFired = true; });
  TimerId other = 0;
  TimerId third = 0;
  // Two timers of one instant, each of which cancels the other: exactly one fires.
  int together = 0;
  Instant when = e.clock.now() + 2s;
  other = e.executor.at(when, [&] {
    ++together;
    e.executor.cancelTimer(third);
  });
  third = e.executor.at(when, [&] {
    ++together;
    e.executor.cancelTimer(other);
  });
  e.executor.cancelTimer(cancelled);
  EXPECT_FALSE(world.runUntil([&] { return fired; }, 1h));
  EXPECT_EQ(e.clock.unixSeconds(), 1767225600 + 3600);
  EXPECT_TRUE(world.runUntil([&] { return fired; }, 48h));
  EXPECT_EQ(e.clock.unixSeconds(), 1767225600 + 24 * 3600);
  EXPECT_FALSE(cancelledFired);
  EXPECT_EQ(together, 1);
  EXPECT_FALSE(world.runUntil([] { return false; }, 48h));
}

TEST(Sim, blockRunsWorkThenDone) {
  SimEnv world(3);
  std::string order;
  world.env().executor.block([&] { order += "w"; }, [&] { order += "d"; });
  EXPECT_EQ(order, "");
  world.runFor(1s);
  EXPECT_EQ(order, "wd");
}

TEST(Sim, clocksMaySkewPerHost) {
  SimEnv world(3);
  world.host("late").setClockSkew(-10s);
  EXPECT_EQ(world.env().clock.unixSeconds() - world.host("late").env().clock.unixSeconds(), 10);
  EXPECT_EQ(world.env().clock.now(), world.host("late").env().clock.now());
}

TEST(Sim, processesFollowTheirScript) {
  SimEnv world(3);
  SimHost& host = world.host("node");
  Env e = host.env();
  ProcessSpec spec;
  spec.argv = {"/bin/thing", "-x"};
  EXPECT_EQ(e.processes.spawn(spec, [](ProcessExit) {}).error().reason(), Reason::NotFound);
  std::vector<std::shared_ptr<SimProcess>> started;
  host.setProcessHandler([&](std::shared_ptr<SimProcess> process) -> Result<void> {
    if (process->spec().argv[0] != "/bin/thing") return fail(Reason::NotFound, "no such program");
    started.push_back(std::move(process));
    return {};
  });
  std::vector<int> codes;
  auto note = [&](ProcessExit exit) { codes.push_back(exit.exitCode); };
  int killed = *e.processes.spawn(spec, note);
  int ended = *e.processes.spawn(spec, note);
  int lost = *e.processes.spawn(spec, note);
  EXPECT_TRUE(e.processes.alive(killed));
  ASSERT_TRUE(e.processes.kill(killed, 9));
  started[1]->exit({.exitCode = 3, .standardOutput = "", .standardError = ""});
  started[1]->exit({.exitCode = 4, .standardOutput = "", .standardError = ""});
  EXPECT_TRUE(codes.empty());
  world.runFor(1s);
  std::ranges::sort(codes);
  EXPECT_EQ(codes, (std::vector<int>{3, 137}));
  EXPECT_FALSE(e.processes.alive(ended));
  host.crash();
  EXPECT_FALSE(e.processes.alive(lost));
  EXPECT_FALSE(started[2]->running());
  world.runFor(1s);
  EXPECT_EQ(codes.size(), 2U);
}

}  // namespace
}  // namespace knarr::env
