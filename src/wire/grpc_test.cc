#include "wire/grpc.h"

#include <gtest/gtest.h>

#include "env/sim/sim.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

std::string framed(std::string_view message) {
  std::string bytes(1, '\0');
  for (int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(message.size() >> shift));
  return bytes.append(message);
}

// A small gRPC server on the HTTP server of this room.
Task<void> serveGrpc(env::Env e, std::shared_ptr<ServerExchange> exchange) {
  const Request& request = exchange->request();
  std::string path(request.path());
  auto body = co_await exchange->readBody(64 << 20);
  Headers head{{"content-type", "application/grpc"}};
  if (!body || request.headers.get("te") != "trailers") {
    (void)co_await exchange->respond(400, {}, std::string("no"));
    co_return;
  }
  if (path == "/s/Missing") {
    head.add("grpc-status", "5");
    head.add("grpc-message", "container %22a%22 not found");
    (void)co_await exchange->respond(200, head, Bytes());
  } else if (path == "/s/Http") {
    (void)co_await exchange->respond(503, {}, std::string("busy"));
  } else if (path == "/s/Slow") {
    (void)exchange->startResponse(200, head);
    co_await async::sleepFor(e, 1h, exchange->clientGone());
  } else if (path == "/s/Stream") {
    (void)exchange->startResponse(200, head);
    for (int i = 0; i < 5; ++i) {
      std::string message = framed("event " + std::to_string(i));
      // Cut in the middle of the prefix.
      (void)co_await exchange->write(message.substr(0, 3));
      co_await async::sleepFor(e, 10ms);
      (void)co_await exchange->write(message.substr(3));
    }
    (void)co_await exchange->finish({{"grpc-status", "0"}});
  } else if (path == "/s/Broken") {
    (void)exchange->startResponse(200, head);
    (void)co_await exchange->write(framed("one"));
    (void)co_await exchange->finish({{"grpc-status", "14"}, {"grpc-message", "gone"}});
  } else if (path == "/s/Big") {
    (void)exchange->startResponse(200, head);
    (void)co_await exchange->write(framed(std::string(17 << 20, 'b')));
    (void)co_await exchange->finish({{"grpc-status", "0"}});
  } else if (path == "/s/Timeout") {
    (void)exchange->startResponse(200, head);
    (void)co_await exchange->write(framed(request.headers.get("grpc-timeout")));
    (void)co_await exchange->finish({{"grpc-status", "0"}});
  } else {
    (void)exchange->startResponse(200, head);
    (void)co_await exchange->write(*body);
    (void)co_await exchange->finish({{"grpc-status", "0"}});
  }
}

struct Call {
  bool done = false;
  Result<std::string> result = fail(Reason::Unknown, "");
  std::vector<std::string> messages;
};

Task<void> callUnary(GrpcClient* client, std::string path, std::string request, env::Duration timeout, async::StopToken stop,
                     std::shared_ptr<Call> call) {
  call->result = co_await client->unary(path, request, timeout, stop);
  call->done = true;
}
Task<void> callStream(GrpcClient* client, std::string path, std::shared_ptr<Call> call) {
  auto stream = std::move(*co_await client->serverStream(path, ""));
  while (true) {
    auto message = co_await stream->receive();
    if (!message) call->result = std::unexpected(message.error());
    if (message && !*message) call->result = std::string("end");
    if (!message || !*message) break;
    call->messages.push_back(std::move(**message));
  }
  call->done = true;
}

class GrpcTest : public testing::Test {
 protected:
  GrpcTest() {
    EXPECT_TRUE(server.listen("unix:/run/containerd.sock"));
    GrpcClientOptions options;
    options.address = "unix:/run/containerd.sock";
    client = std::make_unique<GrpcClient>(e, options);
  }
  Call unary(std::string path, std::string request, env::Duration timeout = 10s) {
    auto call = std::make_shared<Call>();
    gate.spawn(callUnary(client.get(), "/s/" + path, std::move(request), timeout, {}, call));
    EXPECT_TRUE(world.runUntil([&] { return call->done; }, 1min));
    return *call;
  }
  Call stream(std::string path) {
    auto call = std::make_shared<Call>();
    gate.spawn(callStream(client.get(), "/s/" + path, call));
    EXPECT_TRUE(world.runUntil([&] { return call->done; }, 1min));
    return *call;
  }
  env::SimEnv world{5};
  env::Env e = world.env();
  HttpServer server{e, {}, [this](std::shared_ptr<ServerExchange> exchange) { return serveGrpc(e, std::move(exchange)); }};
  std::unique_ptr<GrpcClient> client;
  async::Gate gate{e.executor};
};

TEST_F(GrpcTest, unaryCalls) {
  EXPECT_EQ(*unary("Echo", "payload").result, "payload");
  EXPECT_EQ(*unary("Echo", "").result, "");
  std::string big(3'000'000, 'g');
  EXPECT_TRUE(*unary("Echo", big).result == big);
  EXPECT_EQ(*unary("Timeout", "", 10s).result, "10000000u");
  EXPECT_EQ(*unary("Timeout", "", 50ms).result, "50000000n");
}

TEST_F(GrpcTest, errorsCarryTheirMeaning) {
  Call missing = unary("Missing", "");
  ASSERT_FALSE(missing.result);
  EXPECT_EQ(missing.result.error().reason(), Reason::NotFound);
  EXPECT_EQ(missing.result.error().message(), "container \"a\" not found");
  EXPECT_EQ(unary("Http", "").result.error().reason(), Reason::ServiceUnavailable);
  EXPECT_EQ(unary("Big", "", 0s).result.error().reason(), Reason::TooManyRequests);
  EXPECT_EQ(unary("Broken", "").result.error().reason(), Reason::ServiceUnavailable);
}

TEST_F(GrpcTest, deadlinesAndStops) {
  env::Instant start = e.clock.now();
  Call slow = unary("Slow", "", 3s);
  ASSERT_FALSE(slow.result);
  EXPECT_EQ(slow.result.error().reason(), Reason::Timeout);
  EXPECT_LT(e.clock.now() - start, 4s);
  async::StopSource stop;
  auto call = std::make_shared<Call>();
  gate.spawn(callUnary(client.get(), "/s/Slow", "", 0s, stop.token(), call));
  world.runFor(1s);
  EXPECT_FALSE(call->done);
  stop.requestStop();
  ASSERT_TRUE(world.runUntil([&] { return call->done; }, 1s));
  EXPECT_EQ(call->result.error().reason(), Reason::Timeout);
  world.runFor(1s);
  EXPECT_EQ(server.requestsInFlight(), 0U);
}

TEST_F(GrpcTest, serverStreams) {
  Call call = stream("Stream");
  EXPECT_EQ(*call.result, "end");
  ASSERT_EQ(call.messages.size(), 5U);
  EXPECT_EQ(call.messages[4], "event 4");
  call = stream("Broken");
  EXPECT_EQ(call.messages.size(), 1U);
  ASSERT_FALSE(call.result);
  EXPECT_EQ(call.result.error().message(), "gone");
  call = stream("Missing");
  EXPECT_EQ(call.result.error().reason(), Reason::NotFound);
}

Task<void> openStream(GrpcClient* client, std::unique_ptr<GrpcStream>* into) {
  *into = std::move(*co_await client->serverStream("/s/Slow", ""));
}

TEST_F(GrpcTest, destroyedStreamsCancelTheirCalls) {
  std::unique_ptr<GrpcStream> stream;
  gate.spawn(openStream(client.get(), &stream));
  world.runFor(1s);
  EXPECT_EQ(server.requestsInFlight(), 1U);
  stream.reset();
  world.runFor(1s);
  EXPECT_EQ(server.requestsInFlight(), 0U);
  gate.spawn(openStream(client.get(), &stream));
  world.runFor(1s);
  EXPECT_EQ(server.requestsInFlight(), 1U);
  client.reset();
  world.runFor(1s);
  EXPECT_EQ(server.requestsInFlight(), 0U);
}

TEST(GrpcStatus, everyCodeHasAReason) {
  EXPECT_EQ(reasonFromGrpcStatus(3), Reason::Invalid);
  EXPECT_EQ(reasonFromGrpcStatus(6), Reason::AlreadyExists);
  EXPECT_EQ(reasonFromGrpcStatus(14), Reason::ServiceUnavailable);
  EXPECT_EQ(reasonFromGrpcStatus(16), Reason::Unauthorized);
  EXPECT_EQ(reasonFromGrpcStatus(99), Reason::InternalError);
}

}  // namespace
}  // namespace knarr::wire
