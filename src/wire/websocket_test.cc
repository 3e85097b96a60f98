#include "wire/websocket.h"

#include <gtest/gtest.h>

#include "env/sim/sim.h"
#include "wire/io.h"
#include "wire/websocket_frames.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

TEST(WebSocketFrames, knownBytes) {
  // RFC 6455, 5.7 and 1.3.
  EXPECT_EQ(encodeWebSocketFrame(WebSocketOpcode::Text, "Hello", true, std::nullopt), "\x81\x05Hello");
  EXPECT_EQ(encodeWebSocketFrame(WebSocketOpcode::Text, "Hello", true, 0x37fa213d),
            std::string("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11));
  EXPECT_EQ(encodeWebSocketFrame(WebSocketOpcode::Binary, std::string(256, 'x'), true, std::nullopt).substr(0, 4),
            std::string("\x82\x7e\x01\x00", 4));
  EXPECT_EQ(encodeWebSocketFrame(WebSocketOpcode::Binary, std::string(65536, 'x'), true, std::nullopt).substr(0, 10),
            std::string("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10));
  EXPECT_EQ(webSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocketFrames, fragmentsJoinAroundControlFrames) {
  std::string bytes = encodeWebSocketFrame(WebSocketOpcode::Text, "Hel", false, 1) +
                      encodeWebSocketFrame(WebSocketOpcode::Ping, "p", true, 2) +
                      encodeWebSocketFrame(WebSocketOpcode::Continuation, "lo", true, 3) +
                      encodeWebSocketFrame(WebSocketOpcode::Binary, std::string(70'000, 'b'), true, 4);
  WebSocketDecoder decoder(true, 100'000);
  std::vector<WebSocketFrame> got;
  for (char c : bytes) {
    decoder.feed(std::string_view(&c, 1));
    while (true) {
      auto frame = decoder.next();
      ASSERT_TRUE(frame) << frame.error().message;
      if (!*frame) break;
      got.push_back(std::move(**frame));
    }
  }
  ASSERT_EQ(got.size(), 3U);
  EXPECT_EQ(got[0].opcode, WebSocketOpcode::Ping);
  EXPECT_EQ(got[1].payload, "Hello");
  EXPECT_EQ(got[1].opcode, WebSocketOpcode::Text);
  EXPECT_EQ(got[2].payload.size(), 70'000U);
}

TEST(WebSocketFrames, violationsHaveTheirCodes) {
  struct Case {
    const char* name;
    std::string bytes;
    uint16_t code;
  };
  auto frame = [](WebSocketOpcode opcode, std::string payload, bool final = true) {
    return encodeWebSocketFrame(opcode, payload, final, 7);
  };
  std::string reserved = frame(WebSocketOpcode::Text, "x");
  reserved[0] = static_cast<char>(0xc1);
  std::string unknown = frame(WebSocketOpcode::Text, "x");
  unknown[0] = static_cast<char>(0x83);
  const Case kCases[] = {
      {"unmasked", encodeWebSocketFrame(WebSocketOpcode::Text, "x", true, std::nullopt), 1002},
      {"reserved", reserved, 1002},
      {"unknown", unknown, 1002},
      {"long ping", frame(WebSocketOpcode::Ping, std::string(126, 'x')), 1002},
      {"cut ping", frame(WebSocketOpcode::Ping, "x", false), 1002},
      {"orphan", frame(WebSocketOpcode::Continuation, "x"), 1002},
      {"nested", frame(WebSocketOpcode::Text, "x", false) + frame(WebSocketOpcode::Text, "y"), 1002},
      {"not utf8", frame(WebSocketOpcode::Text, "\xff"), 1007},
      {"too big", frame(WebSocketOpcode::Binary, std::string(1001, 'x')).substr(0, 10), 1009},
      {"too big in sum",
       frame(WebSocketOpcode::Binary, std::string(600, 'x'), false) + frame(WebSocketOpcode::Continuation, std::string(600, 'x')),
       1009},
      {"huge", std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10), 1009},
  };
  for (const Case& one : kCases) {
    WebSocketDecoder decoder(true, 1000);
    decoder.feed(one.bytes);
    auto result = decoder.next();
    ASSERT_FALSE(result) << one.name;
    EXPECT_EQ(result.error().closeCode, one.code) << one.name;
  }
}

struct Talk {
  bool done = false;
  std::optional<Error> error;
  int refusedStatus = 0;
  std::string subprotocol;
  std::vector<std::string> got;
  uint16_t closeCode = 0;
  uint16_t serverCloseCode = 0;
};

Task<void> echoMessages(env::Env e, std::shared_ptr<Talk> talk, std::shared_ptr<ServerExchange> exchange) {
  WebSocketOptions options;
  options.messageBytesMax = 1 << 20;
  auto socket = co_await acceptWebSocket(e, exchange, {"v5.channel.k8s.io", "v4.channel.k8s.io"}, options);
  if (!socket) {
    (void)co_await exchange->respond(socket.error().code(), {}, socket.error().message());
    co_return;
  }
  while (true) {
    auto message = co_await (*socket)->receive();
    if (!message) break;
    if (!*message) break;
    if ((*message)->bytes == "bye") {
      (void)co_await (*socket)->close(1000, "as you wish");
      continue;
    }
    if (!co_await (*socket)->send((*message)->opcode, (*message)->bytes)) break;
  }
  talk->serverCloseCode = (*socket)->closeCode();
}

Task<void> runTalk(env::Env e, HttpClient* client, std::vector<std::string> subprotocols, std::vector<std::string> messages,
                   std::shared_ptr<Talk> talk) {
  ClientRequest request;
  request.target = "/exec?command=sh";
  auto dialed = co_await dialWebSocket(e, client, std::move(request), subprotocols);
  talk->done = true;
  if (!dialed) {
    talk->error = dialed.error();
    co_return;
  }
  if (!dialed->socket) {
    talk->refusedStatus = dialed->refusal.status;
    co_return;
  }
  talk->done = false;
  WebSocket& socket = *dialed->socket;
  talk->subprotocol = socket.subprotocol();
  (void)co_await socket.ping("are you there");
  for (const std::string& message : messages) {
    (void)co_await socket.send(WebSocketMessage::Binary, message);
    auto answer = co_await socket.receive();
    if (!answer) {
      talk->error = answer.error();
      break;
    }
    if (!*answer) break;
    talk->got.push_back((*answer)->bytes);
  }
  talk->closeCode = socket.closeCode();
  if (talk->closeCode == 0 && !talk->error) (void)co_await socket.close(1001, "done");
  talk->done = true;
}

class WebSocketTest : public testing::Test {
 protected:
  WebSocketTest() {
    server = std::make_unique<HttpServer>(e, HttpServerOptions(), [this](std::shared_ptr<ServerExchange> exchange) {
      return echoMessages(e, talk, std::move(exchange));
    });
    HttpClientOptions options;
    options.address = *server->listen("127.0.0.1:0");
    client = std::make_unique<HttpClient>(e, options);
  }
  void run(std::vector<std::string> subprotocols, std::vector<std::string> messages) {
    gate.spawn(runTalk(e, client.get(), std::move(subprotocols), std::move(messages), talk));
    ASSERT_TRUE(world.runUntil([&] { return talk->done; }, 1min));
    world.runFor(1s);
  }
  env::SimEnv world{3};
  env::Env e = world.env();
  std::shared_ptr<Talk> talk = std::make_shared<Talk>();
  std::unique_ptr<HttpServer> server;
  std::unique_ptr<HttpClient> client;
  async::Gate gate{e.executor};
};

TEST_F(WebSocketTest, messagesGoBothWays) {
  std::string big(700'000, 'm');
  run({"v4.channel.k8s.io", "v5.channel.k8s.io"}, {"one", "", big});
  EXPECT_FALSE(talk->error);
  EXPECT_EQ(talk->subprotocol, "v5.channel.k8s.io");
  EXPECT_EQ(talk->got, (std::vector<std::string>{"one", "", big}));
  EXPECT_EQ(talk->serverCloseCode, 1001);
}

TEST_F(WebSocketTest, serverCloses) {
  run({"v4.channel.k8s.io"}, {"one", "bye", "never"});
  EXPECT_EQ(talk->got, (std::vector<std::string>{"one"}));
  EXPECT_EQ(talk->closeCode, 1000);
}

TEST_F(WebSocketTest, tooLongMessagesEndIt) {
  run({"v4.channel.k8s.io"}, {std::string((1 << 20) + 1, 'x')});
  EXPECT_TRUE(talk->got.empty());
  EXPECT_EQ(talk->closeCode, 1009);
}

TEST_F(WebSocketTest, subprotocolsMustMeet) {
  run({"v1.something.else"}, {});
  EXPECT_EQ(talk->refusedStatus, 400);
  talk->done = false;
  run({}, {});
  EXPECT_EQ(talk->refusedStatus, 400);
}

}  // namespace
}  // namespace knarr::wire
