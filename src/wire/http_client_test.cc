// Client and server together over the simulated network, in every protocol.
#include <gtest/gtest.h>

#include "base/log.h"
#include "wire/http_test_server.h"
#include "wire/pki.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

constexpr int64_t kSimStart = 1767225600;

struct Answer {
  bool done = false;
  int status = 0;
  std::string body;
  HttpVersion version = HttpVersion::Http1;
  Headers headers;
  Headers trailers;
  std::optional<Error> error;
};

Task<void> fetch(HttpClient* client, ClientRequest request, async::StopToken stop, std::shared_ptr<Answer> answer) {
  auto response = co_await client->send(std::move(request), stop);
  if (response) {
    answer->status = (*response)->status();
    answer->version = (*response)->version();
    answer->headers = (*response)->headers();
    auto body = co_await (*response)->readAll(64 << 20);
    if (body) {
      answer->body = std::move(*body);
      answer->trailers = (*response)->trailers();
    } else {
      answer->error = body.error();
    }
  } else {
    answer->error = response.error();
  }
  answer->done = true;
}

struct Way {
  const char* name;
  ClientProtocol protocol;
  bool tls;
};
void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

class HttpClientTest : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    HttpServerOptions options;
    HttpClientOptions clientOptions;
    if (GetParam().tls) {
      auto ca = *makeCertificateAuthority("ca", kSimStart - 10, kSimStart + 86400);
      CertificateSpec spec;
      spec.commonName = "server";
      spec.dnsNames = {"api.example.com"};
      spec.notBeforeUnixSeconds = kSimStart - 10;
      spec.notAfterUnixSeconds = kSimStart + 86400;
      spec.serverAuth = spec.clientAuth = true;
      auto certificate = *issueCertificate(ca, spec);
      TlsServerConfig config;
      config.certificatePem = certificate.certificatePem;
      config.privateKeyPem = certificate.privateKeyPem;
      config.clientCaPem = ca.certificatePem;
      options.tls = *TlsServerContext::make(e.clock, config);
      TlsClientConfig clientConfig;
      clientConfig.caPem = ca.certificatePem;
      clientConfig.certificatePem = certificate.certificatePem;
      clientConfig.privateKeyPem = certificate.privateKeyPem;
      clientOptions.tls = *TlsClientContext::make(e.clock, clientConfig);
    }
    server = std::make_unique<HttpServer>(e, options, makeTestHandler(e, notes));
    serverOptions = options;
    bound = *server->listen("127.0.0.1:6443");
    world.setName("api.example.com", {"127.0.0.1"});
    clientOptions.address = "api.example.com:6443";
    clientOptions.protocol = GetParam().protocol;
    clientOptions.connectionsMax = 4;
    client = std::make_unique<HttpClient>(e, clientOptions);
  }
  bool http2() const {
    return GetParam().protocol == ClientProtocol::Http2PriorKnowledge ||
           (GetParam().tls && GetParam().protocol == ClientProtocol::Automatic);
  }
  std::shared_ptr<Answer> start(ClientRequest request, async::StopToken stop = {}) {
    auto answer = std::make_shared<Answer>();
    gate.spawn(fetch(client.get(), std::move(request), stop, answer));
    return answer;
  }
  Answer get(std::string target, std::string method = "GET", Bytes body = nullptr) {
    ClientRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    auto answer = start(std::move(request));
    EXPECT_TRUE(world.runUntil([&] { return answer->done; }, 10min));
    return *answer;
  }
  env::SimEnv world{1};
  env::Env e = world.env();
  std::shared_ptr<ServerNotes> notes = std::make_shared<ServerNotes>();
  HttpServerOptions serverOptions;
  std::unique_ptr<HttpServer> server;
  std::string bound;
  std::unique_ptr<HttpClient> client;
  async::Gate gate{e.executor};
};

INSTANTIATE_TEST_SUITE_P(Ways, HttpClientTest,
                         testing::Values(Way{"http1", ClientProtocol::Http1, false},
                                         Way{"http2", ClientProtocol::Http2PriorKnowledge, false},
                                         Way{"http1tls", ClientProtocol::Http1, true},
                                         Way{"http2tls", ClientProtocol::Automatic, true}),
                         [](const auto& info) { return info.param.name; });

TEST_P(HttpClientTest, simpleRequests) {
  Answer answer = get("/hello?x=y");
  ASSERT_FALSE(answer.error) << answer.error->describe();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "hello");
  EXPECT_EQ(answer.version, http2() ? HttpVersion::Http2 : HttpVersion::Http1);
  EXPECT_EQ(answer.headers.get("content-TYPE"), "text/plain");
  EXPECT_EQ(get("/absent").status, 404);
  EXPECT_EQ(get("/whoami").body, (GetParam().tls ? "server " : "nobody ") + std::string(httpVersionName(answer.version)));
  answer = get("/hello", "HEAD");
  EXPECT_EQ(answer.body, "");
  EXPECT_EQ(answer.headers.get("Content-Length"), "5");
  EXPECT_EQ(server->connections(), 1U);
}

TEST_P(HttpClientTest, bodiesBothWays) {
  std::string big;
  for (int i = 0; i < 2'000'000; ++i) big.push_back(static_cast<char>(i * 13));
  Answer answer = get("/echo", "POST", makeBytes(big));
  ASSERT_FALSE(answer.error) << answer.error->describe();
  EXPECT_TRUE(answer.body == big);
  EXPECT_EQ(get("/echo", "POST", makeBytes("")).body, "");
  EXPECT_EQ(get("/echo", "POST").body, "");
  answer = get("/big");
  EXPECT_EQ(answer.body.size(), 3'000'000U);
  answer = get("/stream?20");
  EXPECT_TRUE(answer.body.ends_with("piece 19\n"));
  EXPECT_EQ(answer.trailers.get("X-Trailer"), "done");
  EXPECT_EQ(get("/small-body", "POST", makeBytes(std::string(1'000'000, 'x'))).status, 413);
  EXPECT_EQ(get("/hello").status, 200);
}

Task<Result<std::optional<std::string>>> nextPiece(env::Env e, std::shared_ptr<int> left) {
  co_await async::sleepFor(e, 1ms);
  if (*left == 0) co_return std::optional<std::string>();
  --*left;
  co_return std::string(10'000, 'p');
}

TEST_P(HttpClientTest, streamedRequestBodies) {
  ClientRequest request;
  request.method = "POST";
  request.target = "/echo";
  request.bodyStream = [this, left = std::make_shared<int>(50)] { return nextPiece(e, left); };
  auto answer = start(std::move(request));
  ASSERT_TRUE(world.runUntil([&] { return answer->done; }, 1min));
  ASSERT_FALSE(answer->error) << answer->error->describe();
  EXPECT_EQ(answer->body.size(), 500'000U);
}

TEST_P(HttpClientTest, manyAtOnce) {
  std::vector<std::shared_ptr<Answer>> answers;
  for (int i = 0; i < 200; ++i) {
    ClientRequest request;
    request.target = i % 3 == 0 ? "/stream?5" : "/hello";
    answers.push_back(start(std::move(request)));
  }
  ASSERT_TRUE(world.runUntil([&] { return std::ranges::all_of(answers, [](auto& a) { return a->done; }); }, 5min));
  for (auto& answer : answers) {
    EXPECT_FALSE(answer->error) << answer->error->describe();
    EXPECT_EQ(answer->status, 200);
  }
  EXPECT_LE(server->connections(), http2() ? 2U : 4U);
}

TEST_P(HttpClientTest, stopCancelsWhereverItIs) {
  for (env::Duration after : {0ns, env::Duration(100us), env::Duration(50ms)}) {
    async::StopSource stop;
    ClientRequest request;
    request.target = "/watch";
    auto answer = start(std::move(request), stop.token());
    world.runFor(after);
    stop.requestStop();
    ASSERT_TRUE(world.runUntil([&] { return answer->done; }, 1s)) << after.count();
    ASSERT_TRUE(answer->error);
    EXPECT_EQ(answer->error->reason(), Reason::Timeout);
    world.runFor(1s);
    EXPECT_EQ(notes->running, 0);
  }
  EXPECT_GE(notes->gone, 1);
  EXPECT_EQ(get("/hello").status, 200);
}

TEST_P(HttpClientTest, brokenResponsesAreErrors) {
  Answer answer = get("/cut");
  EXPECT_EQ(answer.status, 200);
  ASSERT_TRUE(answer.error);
  EXPECT_EQ(answer.error->reason(), Reason::ServiceUnavailable);
  setLogSink([](std::string_view) {});
  EXPECT_EQ(get("/nothing").status, 500);
  setLogSink({});
}

TEST_P(HttpClientTest, serverRestartsAreSurvived) {
  EXPECT_EQ(get("/hello").status, 200);
  server.reset();
  world.runFor(1s);
  Answer refused = get("/hello");
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->reason(), Reason::ServiceUnavailable);
  server = std::make_unique<HttpServer>(e, serverOptions, makeTestHandler(e, notes));
  bound = *server->listen("127.0.0.1:6443");
  EXPECT_EQ(get("/hello").status, 200);
}

Task<void> shutDown(HttpServer* server, bool* done) {
  co_await server->shutdown(10s);
  *done = true;
}

TEST_P(HttpClientTest, shutdownLetsStreamsEnd) {
  EXPECT_EQ(get("/hello").status, 200);
  ClientRequest request;
  request.target = "/stream?200";
  auto answer = start(std::move(request));
  world.runFor(20ms);
  bool done = false;
  gate.spawn(shutDown(server.get(), &done));
  ASSERT_TRUE(world.runUntil([&] { return answer->done && done; }, 5s));
  EXPECT_FALSE(answer->error) << answer->error->describe();
  EXPECT_TRUE(answer->body.ends_with("piece 199\n"));
}

TEST_P(HttpClientTest, idleConnectionsClose) {
  EXPECT_EQ(get("/hello").status, 200);
  EXPECT_EQ(server->connections(), 1U);
  world.runFor(3min);
  EXPECT_EQ(server->connections(), 0U);
  EXPECT_EQ(get("/hello").status, 200);
}

TEST_P(HttpClientTest, destroyedClientEndsItsRequests) {
  ClientRequest request;
  request.target = "/watch";
  auto answer = std::make_shared<Answer>();
  {
    async::Gate inner(e.executor);
    inner.spawn(fetch(client.get(), std::move(request), {}, answer));
    world.runFor(1s);
    EXPECT_EQ(notes->running, 1);
  }
  client.reset();
  world.runFor(1s);
  EXPECT_EQ(notes->running, 0);
  EXPECT_FALSE(answer->done);
}

Task<void> upgradeAndTalk(env::Env e, HttpClient* client, std::string target, std::shared_ptr<Answer> answer) {
  ClientRequest request;
  request.target = std::move(target);
  request.headers.add("Upgrade", "test");
  auto response = co_await client->upgrade(std::move(request));
  answer->done = true;
  if (!response) {
    answer->error = response.error();
    co_return;
  }
  answer->status = response->status;
  answer->body = response->body;
  if (!response->stream) co_return;
  answer->done = false;
  response->stream->write(std::string("ping"));
  response->stream->shutdownWrite();
  char buffer[100];
  while (true) {
    env::IoStep step = response->stream->read(buffer);
    if (step.kind == env::IoStep::Done) {
      answer->body.append(buffer, step.bytes);
    } else if (step.kind == env::IoStep::WouldBlock) {
      async::Promise<bool> ready(e.executor);
      response->stream->whenReadable([ready] { ready.set(true); });
      co_await ready.get();
    } else {
      break;
    }
  }
  answer->done = true;
}

TEST_P(HttpClientTest, upgrades) {
  auto answer = std::make_shared<Answer>();
  gate.spawn(upgradeAndTalk(e, client.get(), "/upgrade", answer));
  ASSERT_TRUE(world.runUntil([&] { return answer->done; }, 5s));
  ASSERT_FALSE(answer->error) << answer->error->describe();
  EXPECT_EQ(answer->status, 101);
  EXPECT_EQ(answer->body, "ping");
  answer = std::make_shared<Answer>();
  gate.spawn(upgradeAndTalk(e, client.get(), "/hello", answer));
  ASSERT_TRUE(world.runUntil([&] { return answer->done; }, 5s));
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "hello");
}

TEST_P(HttpClientTest, malformedRequestsAreRefusedHere) {
  ClientRequest request;
  request.target = "/a b";
  auto answer = start(request);
  request.target = "/ok";
  request.headers.add("X", "a\r\nY: z");
  auto second = start(request);
  world.runFor(1s);
  EXPECT_TRUE(answer->error);
  EXPECT_TRUE(second->error);
}

struct ReplayRun {
  uint64_t hash = 0;
  int failures = 0;
};

ReplayRun runReplay(uint64_t seed, ClientProtocol protocol) {
  env::SimEnv world(seed);
  world.faults().resetPerDelivery = seed % 2 == 0 ? 0.01 : 0;
  env::Env e = world.host("server").env();
  env::Env near = world.host("client").env();
  auto notes = std::make_shared<ServerNotes>();
  HttpServer server(e, {}, makeTestHandler(e, notes));
  EXPECT_TRUE(server.listen("0.0.0.0:80"));
  HttpClientOptions options;
  options.address = world.host("server").address() + ":80";
  options.protocol = protocol;
  HttpClient client(near, options);
  async::Gate gate(near.executor);
  std::vector<std::shared_ptr<Answer>> answers;
  for (int i = 0; i < 20; ++i) {
    answers.push_back(std::make_shared<Answer>());
    ClientRequest request;
    request.method = i % 2 == 0 ? "POST" : "GET";
    request.target = i % 2 == 0 ? "/echo" : "/stream?10";
    if (i % 2 == 0) request.body = makeBytes(std::string(30'000, 'x'));
    gate.spawn(fetch(&client, std::move(request), {}, answers.back()));
  }
  EXPECT_TRUE(world.runUntil([&] { return std::ranges::all_of(answers, [](auto& a) { return a->done; }); }, 10min));
  ReplayRun run;
  run.hash = world.traceHash();
  for (auto& answer : answers) run.failures += answer->error ? 1 : 0;
  if (seed % 2 == 1) EXPECT_EQ(run.failures, 0) << seed;
  return run;
}

TEST(HttpReplay, seedsReplayExactly) {
  for (ClientProtocol protocol : {ClientProtocol::Http1, ClientProtocol::Http2PriorKnowledge}) {
    int failures = 0;
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      ReplayRun first = runReplay(seed, protocol);
      ReplayRun second = runReplay(seed, protocol);
      EXPECT_EQ(first.hash, second.hash) << "seed " << seed;
      EXPECT_EQ(first.failures, second.failures);
      failures += first.failures;
    }
    EXPECT_GT(failures, 0);
  }
}

}  // namespace
}  // namespace knarr::wire
