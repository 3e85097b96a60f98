#include <gtest/gtest.h>

#include "base/log.h"
#include "wire/http_test_server.h"
#include "wire/io.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;

class Http1ServerTest : public testing::TestWithParam<uint64_t> {
 protected:
  Http1ServerTest() {
    server = std::make_unique<HttpServer>(e, HttpServerOptions(), makeTestHandler(e, notes));
    address = *server->listen("127.0.0.1:0");
  }
  std::string talk(std::vector<std::string> pieces, env::Duration patience = 5s) {
    return talkRaw(world, address, pieces, patience);
  }
  env::SimEnv world{1};
  env::Env e = world.env();
  std::shared_ptr<ServerNotes> notes = std::make_shared<ServerNotes>();
  std::unique_ptr<HttpServer> server;
  std::string address;
};

std::string bodyOf(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }
bool startsWith(const std::string& text, std::string_view prefix) { return text.starts_with(prefix); }

TEST_F(Http1ServerTest, answersAndKeepsAlive) {
  std::string got =
      talk({"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"});
  EXPECT_TRUE(startsWith(got, "HTTP/1.1 200 OK\r\n")) << got;
  EXPECT_NE(got.find("Content-Length: 5\r\n"), std::string::npos);
  EXPECT_NE(got.find("Date: Thu, 01 Jan 2026 00:00:"), std::string::npos) << got;
  EXPECT_NE(got.find("hello", got.find("hello") + 1), std::string::npos) << got;
  EXPECT_NE(got.find("Connection: close"), std::string::npos);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(Http1ServerTest, pipelinedRequestsAreAnsweredInOrder) {
  std::string got =
      talk({"GET /stream?2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: "
            "3\r\n\r\nabcGET /absent HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"});
  size_t first = got.find("piece 0");
  size_t second = got.find("abc");
  size_t third = got.find("404");
  EXPECT_TRUE(first < second && second < third && third != std::string::npos) << got;
  EXPECT_NE(got.find("x-trailer: done"), std::string::npos);
}

TEST_F(Http1ServerTest, headHasNoBodyAndHttp10Closes) {
  std::string got = talk({"HEAD /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"});
  EXPECT_NE(got.find("Content-Length: 5"), std::string::npos);
  EXPECT_EQ(bodyOf(got), "");
  got = talk({"GET /stream?1 HTTP/1.0\r\n\r\n"});
  EXPECT_EQ(bodyOf(got), "piece 0\n");
  EXPECT_EQ(got.find("chunked"), std::string::npos);
}

TEST_F(Http1ServerTest, bodiesArriveHoweverTheyAreCut) {
  std::string chunked =
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: "
      "close\r\n\r\n4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\n\r\n";
  EXPECT_EQ(bodyOf(talk({chunked})), "Wikipedia");
  std::vector<std::string> single;
  for (char c : chunked) single.emplace_back(1, c);
  EXPECT_EQ(bodyOf(talk(single)), "Wikipedia");
  std::string big(2'000'000, 'z');
  std::string got = talk({"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n", big});
  EXPECT_TRUE(bodyOf(got) == big);
}

TEST_F(Http1ServerTest, expectContinue) {
  std::string head =
      "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: "
      "100-continue\r\nContent-Length: 3\r\n\r\n";
  std::string got = talk({head, "abc"});
  EXPECT_TRUE(startsWith(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")) << got;
  // Refused by its declared size: no invitation to send it.
  got =
      talk({"POST /small-body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
            "11\r\n\r\n"});
  EXPECT_TRUE(startsWith(got, "HTTP/1.1 413 ")) << got;
}

TEST_F(Http1ServerTest, bodyBoundsHoldWithAndWithoutLength) {
  EXPECT_EQ(bodyOf(talk({"POST /small-body HTTP/1.1\r\nHost: a\r\nConnection: "
                         "close\r\nContent-Length: 10\r\n\r\n0123456789"})),
            "200");
  EXPECT_EQ(bodyOf(talk({"POST /small-body HTTP/1.1\r\nHost: a\r\nConnection: "
                         "close\r\nContent-Length: 11\r\n\r\n01234567890"})),
            "413");
  EXPECT_EQ(bodyOf(talk({"POST /small-body HTTP/1.1\r\nHost: a\r\nConnection: "
                         "close\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"})),
            "413");
}

TEST_F(Http1ServerTest, handlersThatFailAreSeen) {
  setLogSink([](std::string_view) {});
  EXPECT_TRUE(startsWith(talk({"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}), "HTTP/1.1 500 "));
  setLogSink({});
  std::string got = talk({"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n"});
  EXPECT_NE(got.find("half"), std::string::npos);
  EXPECT_EQ(got.find("\r\n0\r\n"), std::string::npos);
}

TEST_F(Http1ServerTest, upgradeHandsOverTheConnection) {
  std::string got = talk({"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nearly", " late"});
  EXPECT_TRUE(startsWith(got, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")) << got;
  EXPECT_EQ(bodyOf(got), "early late");
  EXPECT_TRUE(startsWith(talk({"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}), "HTTP/1.1 400 "));
  // An upgrade that nobody takes is an ordinary request (h2c of curl).
  got =
      talk({"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "
            "h2c\r\nHTTP2-Settings: "
            "AAMAAABkAAQAAP__\r\n\r\n",
            "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"});
  EXPECT_NE(got.find("hello", got.find("hello") + 1), std::string::npos) << got;
}

TEST_F(Http1ServerTest, leavingClientsAreNoticed) {
  talk({"GET /watch HTTP/1.1\r\nHost: a\r\n\r\n"}, 1s);
  world.runFor(1s);
  EXPECT_EQ(notes->gone, 1);
  EXPECT_EQ(notes->running, 0);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(Http1ServerTest, absoluteTargetsAndPaths) {
  std::string got = talk({"GET http://api.example.com/hello?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"});
  EXPECT_EQ(bodyOf(got), "hello");
}

struct Malformed {
  const char* name;
  std::string bytes;
  std::string_view answer;
};

TEST_F(Http1ServerTest, malformedInputIsRefused) {
  std::string manyFields = "GET /hello HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 300; ++i) manyFields += "a" + std::to_string(i) + ": b\r\n";
  const Malformed kCases[] = {
      {"no http", "hello there\r\n\r\n", "HTTP/1.1 400 "},
      {"binary", std::string("\x16\x03\x01\x02\x00\x01\x00", 7), "HTTP/1.1 400 "},
      {"bad version", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", "HTTP/1.1 400 "},
      {"no host", "GET /hello HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
      {"two hosts", "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "},
      {"length and chunks",
       "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n",
       "HTTP/1.1 400 "},
      {"two lengths", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "HTTP/1.1 400 "},
      {"negative length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400 "},
      {"huge length", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", "HTTP/1.1 400 "},
      {"bad chunk size", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "HTTP/1.1 400 "},
      {"unknown encoding", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 400 "},
      {"control in value", "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\x01z\r\n\r\n", "HTTP/1.1 400 "},
      {"space in name", "GET /hello HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", "HTTP/1.1 400 "},
      {"long target", "GET /" + std::string(70'000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 431 "},
      {"long field", "GET /hello HTTP/1.1\r\nHost: a\r\nX: " + std::string(70'000, 'a') + "\r\n\r\n", "HTTP/1.1 431 "},
      {"endless name", "GET /hello HTTP/1.1\r\nHost: a\r\n" + std::string(70'000, 'a'), "HTTP/1.1 431 "},
      {"many fields", manyFields + "\r\n", "HTTP/1.1 431 "},
  };
  for (const Malformed& one : kCases) {
    std::string got = talk({one.bytes});
    EXPECT_TRUE(startsWith(got, one.answer)) << one.name << ": " << got.substr(0, 200);
    EXPECT_EQ(got.find("hello there"), std::string::npos);
    world.runFor(1s);
    EXPECT_EQ(server->connections(), 0U) << one.name;
  }
}

TEST_F(Http1ServerTest, truncatedBodiesFail) {
  for (std::string text : {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
                           "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    notes->failed.clear();
    talk({text}, 1s);
    world.runFor(1s);
    EXPECT_EQ(notes->failed, "the client closed the connection");
    EXPECT_EQ(notes->running, 0);
  }
}

TEST_F(Http1ServerTest, slowClientsAreBounded) {
  env::Instant start = e.clock.now();
  // A header that trickles.
  std::string got = talk({"GET /hello HTTP/1.1\r\nHo"}, 10min);
  EXPECT_TRUE(startsWith(got, "HTTP/1.1 408 ")) << got;
  EXPECT_LE(e.clock.now() - start, 40s);
  start = e.clock.now();
  // Nothing at all.
  EXPECT_EQ(talk({}, 10min), "");
  EXPECT_LE(e.clock.now() - start, 100s);
  start = e.clock.now();
  // A body that stops.
  talk({"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"}, 10min);
  EXPECT_EQ(notes->failed, "the client sent nothing in time");
  EXPECT_LE(e.clock.now() - start, 130s);
  world.runFor(1s);
  EXPECT_EQ(server->connections(), 0U);
}

async::Task<void> readNothing(env::Env e, std::string address, std::unique_ptr<env::Stream>* keep) {
  *keep = std::move(*co_await async::connect(e, address, 5s));
  std::string text = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
  (void)co_await writeAll(e, keep->get(), text, 1s);
}

TEST_F(Http1ServerTest, clientsThatDoNotReadAreCut) {
  std::unique_ptr<env::Stream> deaf;
  async::Gate gate(e.executor);
  gate.spawn(readNothing(e, address, &deaf));
  world.runFor(60s);
  EXPECT_EQ(notes->running, 1);
  world.runFor(120s);
  EXPECT_EQ(notes->running, 0);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(Http1ServerTest, connectionsAreBounded) {
  HttpServerOptions options;
  options.connectionsMax = 2;
  HttpServer small(e, options, makeTestHandler(e, notes));
  std::string smallAddress = *small.listen("127.0.0.1:0");
  std::vector<std::unique_ptr<env::Stream>> held;
  for (int i = 0; i < 3; ++i)
    e.network.connect(smallAddress, 1s, [&](Result<std::unique_ptr<env::Stream>> s) { held.push_back(std::move(*s)); });
  world.runFor(1s);
  EXPECT_EQ(held.size(), 3U);
  EXPECT_EQ(small.connections(), 2U);
}

async::Task<void> shutDown(HttpServer* server, env::Duration grace, bool* done) {
  co_await server->shutdown(grace);
  *done = true;
}

TEST_F(Http1ServerTest, shutdownDrainsThenCuts) {
  std::vector<std::string> results(2);
  std::vector<std::unique_ptr<env::Stream>> streams(3);
  for (auto& stream : streams)
    e.network.connect(address, 1s, [&stream](Result<std::unique_ptr<env::Stream>> s) { stream = std::move(*s); });
  world.runFor(1s);
  streams[0]->write(std::string("GET /stream?1000 HTTP/1.1\r\nHost: a\r\n\r\n"));
  streams[1]->write(std::string("GET /watch HTTP/1.1\r\nHost: a\r\n\r\n"));
  world.runFor(100ms);
  EXPECT_EQ(server->requestsInFlight(), 2U);
  bool done = false;
  async::Gate gate(e.executor);
  gate.spawn(shutDown(server.get(), 5s, &done));
  world.runFor(10ms);
  EXPECT_EQ(server->connections(), 2U);  // the idle one is gone
  EXPECT_TRUE(world.runUntil([&] { return done; }, 5500ms));
  EXPECT_EQ(notes->gone, 1);
  EXPECT_EQ(server->connections(), 0U);
  std::string all;
  char buffer[4096];
  while (true) {
    env::IoStep step = streams[0]->read(buffer);
    if (step.kind != env::IoStep::Done) break;
    all.append(buffer, step.bytes);
  }
  EXPECT_NE(all.find("piece 999"), std::string::npos);
  e.network.connect(address, 1s, [&](Result<std::unique_ptr<env::Stream>> s) { EXPECT_FALSE(s); });
  world.runFor(2s);
}

TEST_F(Http1ServerTest, destroyedServerDestroysItsHandlers) {
  std::unique_ptr<env::Stream> stream;
  e.network.connect(address, 1s, [&](Result<std::unique_ptr<env::Stream>> s) {
    stream = std::move(*s);
    stream->write(std::string("GET /watch HTTP/1.1\r\nHost: a\r\n\r\n"));
  });
  world.runFor(1s);
  EXPECT_EQ(notes->running, 1);
  server.reset();
  EXPECT_EQ(notes->running, 0);
  world.runFor(1s);
}

}  // namespace
}  // namespace knarr::wire
