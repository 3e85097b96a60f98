#include <gtest/gtest.h>
#include <unistd.h>

#include "env/posix/posix.h"
#include "env/posix/socket_address.h"

namespace knarr::env {
namespace {

using namespace std::chrono_literals;

// Reads until Eof and reports the bytes.
void drain(std::shared_ptr<Stream> stream, std::string got, std::function<void(std::string)> done) {
  char buffer[1000];
  while (true) {
    IoStep step = stream->read(buffer);
    if (step.kind == IoStep::WouldBlock) {
      Stream* raw = stream.get();
      raw->whenReadable([stream, got = std::move(got), done = std::move(done)]() mutable {
        drain(std::move(stream), std::move(got), std::move(done));
      });
      return;
    }
    if (step.kind != IoStep::Done) return done(std::move(got));
    got.append(buffer, step.bytes);
  }
}
void pump(std::shared_ptr<Stream> stream, std::shared_ptr<std::string> bytes, size_t from) {
  while (from < bytes->size()) {
    IoStep step = stream->write(std::span(bytes->data() + from, bytes->size() - from));
    if (step.kind == IoStep::WouldBlock) {
      Stream* raw = stream.get();
      raw->whenWritable([stream = std::move(stream), bytes, from]() mutable { pump(std::move(stream), bytes, from); });
      return;
    }
    if (step.kind != IoStep::Done) return;
    from += step.bytes;
  }
  stream->shutdownWrite();
}

class Addresses : public testing::TestWithParam<std::string> {};

TEST_P(Addresses, megabytesArriveWhole) {
  auto real = makePosixEnv();
  Env e = real->env();
  std::string address = GetParam();
  if (address == "unix") address = "unix:" + testing::TempDir() + "knarr-net-" + std::to_string(::getpid());
  auto bytes = std::make_shared<std::string>();
  for (int i = 0; i < 3'000'000; ++i) bytes->push_back(static_cast<char>(i * 7));
  std::string got;
  auto listener = e.network.listen(address, [&](std::unique_ptr<Stream> stream) {
    drain(std::move(stream), "", [&](std::string all) {
      got = std::move(all);
      real->stop();
    });
  });
  if (!listener && address.starts_with("[")) GTEST_SKIP() << "no IPv6 here";
  ASSERT_TRUE(listener) << listener.error().message();
  e.network.connect((*listener)->address(), 5s, [&](Result<std::unique_ptr<Stream>> stream) {
    ASSERT_TRUE(stream) << stream.error().message();
    pump(std::move(*stream), bytes, 0);
  });
  real->run();
  EXPECT_EQ(got.size(), bytes->size());
  EXPECT_TRUE(got == *bytes);
}
INSTANTIATE_TEST_SUITE_P(Network, Addresses, testing::Values("127.0.0.1:0", "[::1]:0", "unix", "unix:@knarr-abstract-test"));

TEST(PosixNetwork, portInUseNamesThePort) {
  auto real = makePosixEnv();
  Env e = real->env();
  auto first = e.network.listen("127.0.0.1:0", [](std::unique_ptr<Stream>) {});
  ASSERT_TRUE(first);
  auto second = e.network.listen((*first)->address(), [](std::unique_ptr<Stream>) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason(), Reason::AlreadyExists);
  EXPECT_NE(second.error().message().find((*first)->address()), std::string::npos);
}

TEST(PosixNetwork, refusedConnectFails) {
  auto real = makePosixEnv();
  Env e = real->env();
  std::string address;
  {
    auto listener = e.network.listen("127.0.0.1:0", [](std::unique_ptr<Stream>) {});
    address = (*listener)->address();
  }
  Reason reason = Reason::Unknown;
  e.network.connect(address, 5s, [&](Result<std::unique_ptr<Stream>> stream) {
    if (!stream) reason = stream.error().reason();
    real->stop();
  });
  real->run();
  EXPECT_EQ(reason, Reason::ServiceUnavailable);
}

TEST(PosixNetwork, malformedAddresses) {
  for (const char* bad : {"", "localhost:80", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x", "[::1:80", "unix:"}) {
    auto parsed = posix::parseSocketAddress(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().reason(), Reason::BadRequest) << bad;
  }
  for (const char* good : {"127.0.0.1:80", "[::1]:443", "unix:/run/x.sock", "unix:@name"})
    EXPECT_EQ(posix::formatSocketAddress(*posix::parseSocketAddress(good)), good);
  EXPECT_EQ(posix::formatSocketAddress(*posix::parseSocketAddress("unix:///run/x.sock")), "unix:/run/x.sock");
}

TEST(PosixNetwork, datagramsCarryTheirSender) {
  auto real = makePosixEnv();
  Env e = real->env();
  auto a = std::move(*e.network.bindDatagram("127.0.0.1:0"));
  auto b = std::move(*e.network.bindDatagram("127.0.0.1:0"));
  std::string text = "ping";
  std::string from;
  std::string got;
  b->whenReadable([&] {
    char buffer[100];
    IoStep step = b->receive(buffer, from);
    ASSERT_EQ(step.kind, IoStep::Done);
    got.assign(buffer, step.bytes);
    real->stop();
  });
  ASSERT_EQ(a->send(text, b->localAddress()).kind, IoStep::Done);
  real->run();
  EXPECT_EQ(got, "ping");
  EXPECT_EQ(from, a->localAddress());
}

TEST(PosixNetwork, resolvesLocalhostAndNumbers) {
  auto real = makePosixEnv();
  for (const char* host : {"localhost", "127.0.0.1"}) {
    real->env().network.resolve(host, [&](Result<std::vector<std::string>> addresses) {
      ASSERT_TRUE(addresses) << addresses.error().message();
      EXPECT_TRUE(std::ranges::find(*addresses, "127.0.0.1") != addresses->end() ||
                  std::ranges::find(*addresses, "::1") != addresses->end());
      real->stop();
    });
    real->run();
  }
}

}  // namespace
}  // namespace knarr::env
