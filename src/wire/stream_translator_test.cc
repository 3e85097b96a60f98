#include "wire/stream_translator.h"

#include <gtest/gtest.h>

#include "env/sim/sim.h"
#include "wire/io.h"
#include "wire/spdy.h"
#include "wire/websocket.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

constexpr std::string_view kSuccess = R"({"metadata":{},"status":"Success"})";

// What a runtime is told to do, and what it saw.
struct Runtime {
  bool refuse = false;       // answers 403 to the upgrade
  bool silent = false;       // replies to no stream
  bool cutsEarly = false;    // closes without a status
  bool resetsAtEnd = false;  // RST_STREAM instead of fin, as containerd does after the status
  size_t outputBytes = 0;    // on stdout before it ends
  bool deaf = false;         // reads nothing once the streams stand
  bool echo = false;         // stdin comes back on stdout until stdin ends
  std::string status = std::string(kSuccess);
  std::string protocol;
  std::map<uint32_t, std::string> types;  // by stream
  std::string input, resize;
  bool inputEnded = false, closed = false;
  size_t written = 0;
};

uint32_t streamOf(const Runtime& runtime, std::string_view type) {
  for (const auto& [stream, name] : runtime.types)
    if (name == type) return stream;
  return 0;
}

Task<Result<void>> endCommand(std::shared_ptr<SpdyConnection> connection, std::shared_ptr<Runtime> runtime) {
  for (size_t left = runtime->outputBytes; left > 0;) {
    size_t piece = std::min<size_t>(left, 100'000);
    CO_TRY(co_await connection->send(streamOf(*runtime, "stdout"), std::string(piece, 'o')));
    runtime->written += piece;
    left -= piece;
  }
  if (runtime->cutsEarly) {
    connection->close();
    co_return Result<void>();
  }
  uint32_t error = streamOf(*runtime, "error");
  CO_TRY(co_await connection->send(error, runtime->status, !runtime->resetsAtEnd));
  for (std::string_view type : {"stdout", "stderr", "error"})
    if (uint32_t stream = streamOf(*runtime, type); stream != 0) {
      if (runtime->resetsAtEnd) {
        CO_TRY(co_await connection->reset(stream, kSpdyCancel));
      } else if (type != "error") {
        CO_TRY(co_await connection->send(stream, "", true));
      }
    }
  co_return Result<void>();
}

Task<void> serveRuntime(env::Env e, std::shared_ptr<Runtime> runtime, std::shared_ptr<ServerExchange> exchange) {
  if (runtime->refuse) {
    co_await exchange->respond(403, {}, std::string("no such token\n"));
    co_return;
  }
  runtime->protocol = exchange->request().headers.get("X-Stream-Protocol-Version");
  Headers headers;
  headers.add("Upgrade", "SPDY/3.1");
  headers.add("X-Stream-Protocol-Version", runtime->protocol);
  auto stream = co_await exchange->upgrade(std::move(headers));
  if (!stream) co_return;
  auto connection = std::make_shared<SpdyConnection>(e, std::move(*stream), SpdyConnection::Role::Server);
  size_t wanted = 3;
  while (true) {
    auto frame = co_await connection->receive();
    if (!frame || !*frame) break;
    const std::string type = runtime->types[(*frame)->stream];
    if ((*frame)->type == SpdyFrameType::SynStream) {
      runtime->types[(*frame)->stream] = (*frame)->headers.get("streamtype");
      if (runtime->silent) continue;
      (void)co_await connection->reply((*frame)->stream);
      if (runtime->types.size() == wanted && runtime->deaf) co_await async::sleepFor(e, 10h, exchange->clientGone());
      if (runtime->types.size() == wanted && !runtime->echo && !co_await endCommand(connection, runtime)) break;
    } else if (type == "stdin") {
      runtime->input += (*frame)->data;
      runtime->inputEnded |= (*frame)->fin;
      if (runtime->echo && !(*frame)->data.empty() && !co_await connection->send(streamOf(*runtime, "stdout"), (*frame)->data))
        break;
      if (runtime->echo && (*frame)->fin && !co_await endCommand(connection, runtime)) break;
    } else if (type == "resize") {
      runtime->resize += (*frame)->data;
    }
  }
  runtime->closed = true;
}

struct Client {
  std::vector<std::string> toSend;
  bool reads = true;
  bool leavesAfterSending = false;
  std::string output, error, raw;
  size_t messages = 0;
  uint16_t closeCode = 0;
  int refusedStatus = 0;
  bool done = false;
};

Task<void> sendAll(std::shared_ptr<WebSocket> socket, std::shared_ptr<Client> client) {
  for (const std::string& message : client->toSend)
    if (!co_await socket->send(WebSocketMessage::Binary, message)) break;
}

Task<void> runClient(env::Env e, HttpClient* http, std::string protocol, std::shared_ptr<Client> client) {
  ClientRequest request;
  request.target = "/exec";
  auto dialed = co_await dialWebSocket(e, http, std::move(request), {protocol});
  EXPECT_TRUE(dialed);
  if (!dialed || !dialed->socket) {
    client->refusedStatus = dialed ? dialed->refusal.status : 0;
    client->done = true;
    co_return;
  }
  std::shared_ptr<WebSocket> socket = std::move(dialed->socket);
  async::Gate gate(e.executor);
  if (client->leavesAfterSending) {
    co_await sendAll(socket, client);
    client->done = true;
    co_return;
  }
  gate.spawn(sendAll(socket, client));
  if (!client->reads) co_await async::sleepFor(e, 1h);
  while (true) {
    auto message = co_await socket->receive();
    if (!message || !*message) break;
    const std::string& bytes = (*message)->bytes;
    EXPECT_FALSE(bytes.empty());
    if (bytes.empty()) continue;
    ++client->messages;
    client->raw += bytes;
    if (bytes[0] == 1) client->output += bytes.substr(1);
    if (bytes[0] == 3) client->error += bytes.substr(1);
  }
  client->closeCode = socket->closeCode();
  client->done = true;
}

class StreamTranslatorTest : public testing::Test {
 protected:
  StreamTranslatorTest() {
    runtimeServer = std::make_unique<HttpServer>(e, HttpServerOptions(), [this](std::shared_ptr<ServerExchange> exchange) {
      return serveRuntime(e, runtime, std::move(exchange));
    });
    HttpClientOptions options;
    options.address = *runtimeServer->listen("127.0.0.1:0");
    toRuntime = std::make_unique<HttpClient>(e, options);
    server = std::make_unique<HttpServer>(
        e, HttpServerOptions(), [this](std::shared_ptr<ServerExchange> exchange) { return serve(this, std::move(exchange)); });
    options.address = *server->listen("127.0.0.1:0");
    toServer = std::make_unique<HttpClient>(e, options);
  }
  static Task<void> serve(StreamTranslatorTest* self, std::shared_ptr<ServerExchange> exchange) {
    EXPECT_EQ(wantsStreamTranslation(exchange->request()), !wantsTunnel(exchange->request()));
    Result<void> served;
    if (wantsTunnel(exchange->request())) {
      served = co_await tunnelStreams(self->e, exchange, self->toRuntime.get(), "/portforward/token");
    } else {
      served = co_await translateStreams(self->e, exchange, self->toRuntime.get(), "/exec/token", self->streams,
                                         [](const Error& error) { return "failure: " + error.message(); });
    }
    EXPECT_TRUE(served) << served.error().describe();
    ++self->served;
  }
  void run(std::string protocol = "v5.channel.k8s.io", env::Duration patience = 1min) {
    gate.spawn(runClient(e, toServer.get(), std::move(protocol), client));
    ASSERT_TRUE(world.runUntil([&] { return client->done && served == 1; }, patience));
    world.runFor(1s);
  }
  env::SimEnv world{5};
  env::Env e = world.env();
  std::shared_ptr<Runtime> runtime = std::make_shared<Runtime>();
  std::shared_ptr<Client> client = std::make_shared<Client>();
  TranslatedStreams streams{.standardInput = true, .standardOutput = true};
  int served = 0;
  std::unique_ptr<HttpServer> runtimeServer, server;
  std::unique_ptr<HttpClient> toRuntime, toServer;
  async::Gate gate{e.executor};
};

std::string onChannel(uint8_t channel, std::string bytes) { return static_cast<char>(channel) + bytes; }

TEST_F(StreamTranslatorTest, carriesInputItsEndAndOutput) {
  runtime->echo = true;
  std::string big(3'000'000, 'b');
  client->toSend = {onChannel(0, "one"),      onChannel(0, big),          "",
                    onChannel(7, "nobody's"), std::string("\xff\x00", 2), onChannel(0, "late")};
  run();
  EXPECT_EQ(runtime->protocol, "v4.channel.k8s.io");
  EXPECT_EQ(runtime->input, "one" + big);
  EXPECT_TRUE(runtime->inputEnded);
  EXPECT_EQ(client->output, "one" + big);
  EXPECT_EQ(client->error, kSuccess);
  EXPECT_EQ(client->closeCode, 1000);
  EXPECT_TRUE(runtime->closed);
  EXPECT_EQ(runtime->types[1], "error");
}

TEST_F(StreamTranslatorTest, terminalsResizeAndHaveNoStandardError) {
  streams.standardError = streams.tty = true;
  runtime->echo = true;
  client->toSend = {onChannel(4, R"({"Width":80,"Height":25})"), onChannel(0, "x"), std::string("\xff\x00", 2)};
  run();
  EXPECT_EQ(runtime->resize, R"({"Width":80,"Height":25})");
  EXPECT_EQ(streamOf(*runtime, "stderr"), 0U);
  EXPECT_EQ(runtime->types.size(), 4U);
  EXPECT_EQ(client->error, kSuccess);
}

TEST_F(StreamTranslatorTest, statusesAreTheRuntimes) {
  streams = {.standardOutput = true, .standardError = true};
  runtime->status =
      R"({"metadata":{},"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}})";
  runtime->outputBytes = 250'000;
  runtime->resetsAtEnd = true;
  run();
  EXPECT_EQ(client->error, runtime->status);
  EXPECT_EQ(client->output.size(), 250'000U);
  EXPECT_EQ(client->closeCode, 1000);
}

TEST_F(StreamTranslatorTest, failuresAreToldOnTheErrorChannel) {
  runtime->refuse = true;
  run();
  EXPECT_EQ(client->error, "failure: unable to upgrade connection: no such token");
  EXPECT_EQ(client->closeCode, 1000);
  EXPECT_EQ(client->messages, 2U);  // the first one says that the connection stands
}

TEST_F(StreamTranslatorTest, aRuntimeThatLeavesIsAFailure) {
  runtime->cutsEarly = true;
  streams = {.standardOutput = true, .standardError = true};
  run();
  EXPECT_EQ(client->error, "failure: error executing command: the runtime ended the connection");
}

TEST_F(StreamTranslatorTest, aRuntimeThatDoesNotReplyIsGivenUp) {
  runtime->silent = true;
  run();
  EXPECT_NE(client->error.find("timed out"), std::string::npos) << client->error;
}

TEST_F(StreamTranslatorTest, aClientThatLeavesEndsTheRuntimesConnection) {
  runtime->echo = true;
  client->toSend = {onChannel(0, "one")};
  client->leavesAfterSending = true;
  run();
  EXPECT_TRUE(runtime->closed);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(StreamTranslatorTest, aClientThatLeavesIsNoticedWhileNobodyReadsItsInput) {
  for (const char* protocol : {"v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"}) {
    streams = {.standardInput = true, .standardOutput = true};
    runtime->deaf = true;
    runtime->types.clear();
    served = 0;
    client->done = false;
    client->toSend.clear();
    if (protocol[0] == 'S') {
      SpdyEncoder encoder;
      for (uint32_t stream : {1U, 3U, 5U}) {
        SpdyFrame syn;
        syn.type = SpdyFrameType::SynStream;
        syn.stream = stream;
        client->toSend.push_back(encoder.encode(syn));
      }
    }
    for (int i = 0; i < 200; ++i) client->toSend.push_back(onChannel(0, std::string(1'000'000, 'i')));
    auto process = std::make_unique<async::Gate>(e.executor);
    process->spawn(runClient(e, toServer.get(), protocol, client));
    world.runFor(1min);
    EXPECT_FALSE(client->done) << "it waits for somebody to read";
    EXPECT_EQ(served, 0);
    process.reset();  // killed
    ASSERT_TRUE(world.runUntil([&] { return served == 1; }, 3min)) << protocol;
  }
}

TEST_F(StreamTranslatorTest, aBrokenCloseSignalEndsIt) {
  runtime->echo = true;
  client->toSend = {std::string("\xff\x09", 2)};
  run();
  EXPECT_TRUE(runtime->closed);
  EXPECT_TRUE(client->error.empty());
}

TEST_F(StreamTranslatorTest, aSlowClientSlowsTheCommand) {
  streams = {.standardOutput = true, .standardError = true};
  runtime->outputBytes = 100'000'000;
  client->reads = false;
  gate.spawn(runClient(e, toServer.get(), "v5.channel.k8s.io", client));
  world.runFor(30min);
  // What the sockets hold, and one piece at each hop.
  EXPECT_LT(runtime->written, 8'000'000U);
  ASSERT_TRUE(world.runUntil([&] { return client->done && served == 1; }, 2h));
  EXPECT_EQ(client->output.size(), 100'000'000U);
  EXPECT_EQ(client->error, kSuccess);
}

// ---- tunnel

TEST_F(StreamTranslatorTest, tunnelsCarryBytesUntilTheRuntimeEnds) {
  SpdyEncoder encoder;
  uint32_t stream = 1;
  for (const char* type : {"error", "data", "last"}) {
    SpdyFrame syn;
    syn.type = SpdyFrameType::SynStream;
    syn.stream = stream;
    stream += 2;
    syn.headers.add("streamtype", type);
    syn.headers.add("port", "8080");
    std::string bytes = encoder.encode(syn);
    client->toSend.push_back(bytes.substr(0, 9));
    client->toSend.push_back(bytes.substr(9));
  }
  runtime->cutsEarly = true;
  run("SPDY/3.1+portforward.k8s.io");
  EXPECT_EQ(runtime->protocol, "portforward.k8s.io");
  EXPECT_EQ(streamOf(*runtime, "data"), 3U);
  EXPECT_EQ(client->closeCode, 1000);
  SpdyDecoder decoder;
  decoder.feed(client->raw);
  for (uint32_t replied : {1U, 3U, 5U}) {
    auto frame = decoder.next();
    ASSERT_TRUE(frame && *frame);
    EXPECT_EQ((*frame)->type, SpdyFrameType::SynReply);
    EXPECT_EQ((*frame)->stream, replied);
  }
}

TEST_F(StreamTranslatorTest, aTunnelEndsWithItsClient) {
  client->leavesAfterSending = true;
  run("SPDY/3.1+portforward.k8s.io");
  EXPECT_TRUE(runtime->closed);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(StreamTranslatorTest, tunnelsThatTheRuntimeRefusesAreRefused) {
  runtime->refuse = true;
  run("SPDY/3.1+portforward.k8s.io");
  EXPECT_EQ(client->refusedStatus, 403);
}

}  // namespace
}  // namespace knarr::wire
