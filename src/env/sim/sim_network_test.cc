#include <gtest/gtest.h>

#include "env/sim/sim.h"

namespace knarr::env {
namespace {

using namespace std::chrono_literals;

struct Pair {
  explicit Pair(SimEnv& sim) : world(sim) {
    Env server = world.host("server").env();
    listener = std::move(*server.network.listen("0.0.0.0:80", [this](std::unique_ptr<Stream> s) { accepted = std::move(s); }));
    world.host("client").env().network.connect(world.host("server").address() + ":80", 1s,
                                               [this](Result<std::unique_ptr<Stream>> s) {
                                                 if (s) {
                                                   dialed = std::move(*s);
                                                 } else {
                                                   error = s.error().reason();
                                                 }
                                               });
  }
  bool connect() {
    return world.runUntil([this] { return accepted && dialed; }, 5s);
  }
  SimEnv& world;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> accepted;
  std::unique_ptr<Stream> dialed;
  Reason error = Reason::Unknown;
};

std::string readNow(Stream& stream, IoStep::Kind* end) {
  std::string got;
  char buffer[4096];
  while (true) {
    IoStep step = stream.read(buffer);
    if (step.kind != IoStep::Done) {
      *end = step.kind;
      return got;
    }
    got.append(buffer, step.bytes);
  }
}

TEST(SimNetwork, bytesArriveInOrderAndFlowIsBounded) {
  SimEnv world(1);
  Pair pair(world);
  ASSERT_TRUE(pair.connect());
  std::string text;
  for (int i = 0; i < 500'000; ++i) text.push_back(static_cast<char>(i * 3));
  std::string got;
  size_t sent = 0;
  bool blocked = false;
  while (got.size() < text.size()) {
    IoStep step = pair.dialed->write(std::span(text).subspan(sent));
    if (step.kind == IoStep::Done) sent += step.bytes;
    blocked = blocked || step.kind == IoStep::WouldBlock;
    bool ready = false;
    pair.accepted->whenReadable([&] { ready = true; });
    ASSERT_TRUE(world.runUntil([&] { return ready; }, 1s));
    IoStep::Kind end{};
    got += readNow(*pair.accepted, &end);
    EXPECT_EQ(end, IoStep::WouldBlock);
  }
  EXPECT_TRUE(got == text);
  pair.dialed.reset();
  world.runFor(1s);
  IoStep::Kind end{};
  EXPECT_EQ(readNow(*pair.accepted, &end), "");
  EXPECT_EQ(end, IoStep::Eof);
}

TEST(SimNetwork, writerWaitsForTheReader) {
  SimEnv world(1);
  Pair pair(world);
  ASSERT_TRUE(pair.connect());
  std::string text(1 << 20, 'x');
  size_t sent = pair.dialed->write(text).bytes;
  EXPECT_LT(sent, text.size());
  EXPECT_EQ(pair.dialed->write(text).kind, IoStep::WouldBlock);
  bool writable = false;
  pair.dialed->whenWritable([&] { writable = true; });
  world.runFor(1s);
  EXPECT_FALSE(writable);
  IoStep::Kind end{};
  readNow(*pair.accepted, &end);
  world.runFor(1s);
  EXPECT_TRUE(writable);
}

TEST(SimNetwork, crashResetsThePeer) {
  SimEnv world(1);
  Pair pair(world);
  ASSERT_TRUE(pair.connect());
  bool woken = false;
  pair.dialed->whenReadable([&] { woken = true; });
  world.host("server").crash();
  world.runFor(1s);
  EXPECT_TRUE(woken);
  IoStep::Kind end{};
  readNow(*pair.dialed, &end);
  EXPECT_EQ(end, IoStep::Failed);
  Pair refused(world);
  refused.listener.reset();
  world.runFor(2s);
  EXPECT_EQ(refused.error, Reason::ServiceUnavailable);
}

TEST(SimNetwork, partitionHoldsBytesAndConnects) {
  SimEnv world(1);
  Pair pair(world);
  ASSERT_TRUE(pair.connect());
  world.partition("server", "client", true);
  pair.dialed->write(std::string("late"));
  world.runFor(10s);
  IoStep::Kind end{};
  EXPECT_EQ(readNow(*pair.accepted, &end), "");
  bool timedOut = false;
  world.host("client").env().network.connect(world.host("server").address() + ":80", 1s, [&](Result<std::unique_ptr<Stream>> s) {
    timedOut = !s && s.error().reason() == Reason::Timeout;
  });
  world.runFor(2s);
  EXPECT_TRUE(timedOut);
  world.partition("server", "client", false);
  world.runFor(1s);
  EXPECT_EQ(readNow(*pair.accepted, &end), "late");
}

TEST(SimNetwork, loopbackBelongsToTheHost) {
  SimEnv world(1);
  int accepted = 0;
  auto listener = world.host("a").env().network.listen("127.0.0.1:80", [&](std::unique_ptr<Stream>) { ++accepted; });
  ASSERT_TRUE(listener);
  EXPECT_EQ(world.host("a").env().network.listen("127.0.0.1:80", {}).error().reason(), Reason::AlreadyExists);
  Reason reason = Reason::Unknown;
  auto note = [&](Result<std::unique_ptr<Stream>> s) { reason = s ? Reason::Unknown : s.error().reason(); };
  world.host("a").env().network.connect("127.0.0.1:80", 1s, note);
  world.runFor(2s);
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(reason, Reason::Unknown);
  world.host("b").env().network.connect("127.0.0.1:80", 1s, note);
  world.runFor(2s);
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(reason, Reason::ServiceUnavailable);
}

TEST(SimNetwork, datagramsAndNames) {
  SimEnv world(1);
  auto a = std::move(*world.host("a").env().network.bindDatagram("0.0.0.0:53"));
  auto b = std::move(*world.host("b").env().network.bindDatagram("0.0.0.0:0"));
  std::string question = "question";
  b->send(question, world.host("a").address() + ":53");
  world.runFor(1s);
  char buffer[100];
  std::string from;
  IoStep step = a->receive(buffer, from);
  ASSERT_EQ(step.kind, IoStep::Done);
  EXPECT_EQ(std::string(buffer, step.bytes), question);
  EXPECT_EQ(from.substr(0, from.find(':')), world.host("b").address());
  a->send(question, from);
  bool ready = false;
  b->whenReadable([&] { ready = true; });
  world.runFor(1s);
  EXPECT_TRUE(ready);
  world.setName("api.example.com", {"10.0.0.1"});
  std::string resolved;
  Reason absent = Reason::Unknown;
  world.env().network.resolve("api.example.com", [&](auto r) { resolved = r->front(); });
  world.env().network.resolve("absent.example.com", [&](auto r) { absent = r.error().reason(); });
  world.runFor(1s);
  EXPECT_EQ(resolved, "10.0.0.1");
  EXPECT_EQ(absent, Reason::NotFound);
}

}  // namespace
}  // namespace knarr::env
