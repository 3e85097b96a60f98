// What a hostile or broken HTTP/2 client may send: raw frames against the server.
#include <gtest/gtest.h>

#include "wire/http_test_server.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;

const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string bytes;
  for (int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(payload.size() >> shift));
  bytes.push_back(static_cast<char>(type));
  bytes.push_back(static_cast<char>(flags));
  for (int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(stream >> shift));
  return bytes.append(payload);
}
std::string literal(std::string_view name, std::string_view value) {
  std::string bytes(1, '\0');
  auto text = [&](std::string_view t) {
    if (t.size() < 127) {
      bytes.push_back(static_cast<char>(t.size()));
    } else {
      bytes.push_back(127);
      size_t rest = t.size() - 127;
      for (; rest >= 128; rest /= 128) bytes.push_back(static_cast<char>(rest % 128 + 128));
      bytes.push_back(static_cast<char>(rest));
    }
    bytes += t;
  };
  text(name);
  text(value);
  return bytes;
}
std::string requestHead(std::string_view path, std::string extra = "") {
  return literal(":method", "GET") + literal(":scheme", "http") + literal(":authority", "a") + literal(":path", path) + extra;
}
constexpr uint8_t kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kPing = 6, kGoAway = 7, kWindow = 8, kContinuation = 9;
constexpr uint8_t kEndStream = 1, kEndHeaders = 4;
const std::string kSettingsFrame = frame(kSettings, 0, 0, "");
const std::string kStart = kPreface + kSettingsFrame;

struct Frame {
  uint8_t type;
  uint8_t flags;
  uint32_t stream;
  std::string payload;
};
std::vector<Frame> framesOf(std::string_view bytes) {
  std::vector<Frame> frames;
  while (bytes.size() >= 9) {
    auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
    size_t size = at(0) << 16 | at(1) << 8 | at(2);
    if (bytes.size() < 9 + size) break;
    frames.push_back({static_cast<uint8_t>(at(3)), static_cast<uint8_t>(at(4)), at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8),
                      std::string(bytes.substr(9, size))});
    bytes.remove_prefix(9 + size);
  }
  return frames;
}
size_t countOf(const std::vector<Frame>& frames, uint8_t type) {
  return static_cast<size_t>(std::ranges::count(frames, type, &Frame::type));
}

class Http2ServerTest : public testing::Test {
 protected:
  Http2ServerTest() {
    server = std::make_unique<HttpServer>(e, HttpServerOptions(), makeTestHandler(e, notes));
    address = *server->listen("127.0.0.1:0");
  }
  std::vector<Frame> talk(std::vector<std::string> pieces, env::Duration patience = 2s) {
    return framesOf(talkRaw(world, address, pieces, patience));
  }
  env::SimEnv world{1};
  env::Env e = world.env();
  std::shared_ptr<ServerNotes> notes = std::make_shared<ServerNotes>();
  std::unique_ptr<HttpServer> server;
  std::string address;
};

TEST_F(Http2ServerTest, answersRawFrames) {
  auto frames = talk({kStart + frame(kHeaders, kEndStream | kEndHeaders, 1, requestHead("/hello"))});
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames[0].type, kSettings);
  EXPECT_EQ(countOf(frames, kHeaders), 1U);
  auto data = std::ranges::find(frames, kData, &Frame::type);
  ASSERT_NE(data, frames.end());
  EXPECT_EQ(data->payload, "hello");
  EXPECT_TRUE(data->flags & kEndStream);
}

TEST_F(Http2ServerTest, violationsEndTheConnection) {
  const std::pair<const char*, std::string> kCases[] = {
      {"wrong preface", kPreface.substr(0, 20) + "XX\r\n"},
      {"no settings", kPreface + frame(kPing, 0, 0, "12345678")},
      {"even stream", kStart + frame(kHeaders, kEndStream | kEndHeaders, 2, requestHead("/hello"))},
      {"data on idle stream", kStart + frame(kData, 0, 1, "x")},
      {"oversized frame", kStart + frame(kData, 0, 1, std::string(20'000, 'x'))},
      {"short ping", kStart + frame(kPing, 0, 0, "123")},
      {"bad settings", kStart + frame(kSettings, 0, 0, "12345")},
      {"broken compression", kStart + frame(kHeaders, kEndStream | kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff\xff")},
      {"zero connection window", kStart + frame(kWindow, 0, 0, std::string(4, '\0'))},
      {"window overflow", kStart + frame(kWindow, 0, 0, "\x7f\xff\xff\xff")},
      {"continuation alone", kStart + frame(kContinuation, kEndHeaders, 1, "")},
  };
  for (const auto& [name, bytes] : kCases) {
    auto frames = talk({bytes});
    world.runFor(1s);
    EXPECT_EQ(server->connections(), 0U) << name;
    EXPECT_EQ(countOf(frames, kData), 0U) << name;
  }
}

TEST_F(Http2ServerTest, malformedRequestsAreResetAlone) {
  const std::pair<const char*, std::string> kCases[] = {
      {"no path", literal(":method", "GET") + literal(":scheme", "http")},
      {"upper case", requestHead("/hello", literal("X-Upper", "1"))},
      {"connection field", requestHead("/hello", literal("connection", "close"))},
      {"late pseudo field", requestHead("/hello", literal("x", "1") + literal(":path", "/again"))},
      {"line end in value", requestHead("/hello", literal("x", "a\r\nb"))},
  };
  for (const auto& [name, head] : kCases) {
    auto frames = talk({kStart + frame(kHeaders, kEndStream | kEndHeaders, 1, head),
                        frame(kHeaders, kEndStream | kEndHeaders, 3, requestHead("/hello"))});
    EXPECT_EQ(countOf(frames, kReset), 1U) << name;
    EXPECT_EQ(countOf(frames, kData), 1U) << name;
  }
}

TEST_F(Http2ServerTest, largeHeadersAreRefused) {
  // Five frames of 16,000 bytes: beyond the bound of 64 KiB.
  std::string block = requestHead("/hello");
  for (int i = 0; i < 5; ++i) block += literal("x" + std::to_string(i), std::string(15'000, 'v'));
  std::string bytes = kStart + frame(kHeaders, kEndStream, 1, block.substr(0, 16'000));
  for (size_t at = 16'000; at < block.size(); at += 16'000)
    bytes += frame(kContinuation, at + 16'000 >= block.size() ? kEndHeaders : 0, 1, block.substr(at, 16'000));
  auto frames = talk({bytes});
  world.runFor(1s);
  EXPECT_EQ(notes->running, 0);
  for (const Frame& one : frames) EXPECT_NE(one.payload, "hello");
  // Many small fields, which the compression table makes cheap to send.
  std::string many = requestHead("/hello") + std::string("\x40\x01x\x01y", 5) + std::string(2000, '\xbe');
  frames = talk({kStart + frame(kHeaders, kEndStream | kEndHeaders, 1, many)});
  for (const Frame& one : frames) EXPECT_NE(one.payload, "hello");
  EXPECT_GE(countOf(frames, kHeaders), 1U);
}

TEST_F(Http2ServerTest, endlessContinuationIsCut) {
  std::vector<std::string> pieces = {kStart + frame(kHeaders, kEndStream, 1, requestHead("/hello"))};
  for (int i = 0; i < 50; ++i) pieces.push_back(frame(kContinuation, 0, 1, literal("x", std::string(10'000, 'v'))));
  talk(pieces);
  world.runFor(1s);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(Http2ServerTest, rapidResetsAreCut) {
  // Streams opened and reset at once, against handlers that only end when told.
  std::string bytes = kStart;
  for (uint32_t i = 0; i < 5000; ++i) {
    bytes += frame(kHeaders, kEndStream | kEndHeaders, 1 + 2 * i, requestHead("/watch"));
    bytes += frame(kReset, 0, 1 + 2 * i, std::string("\0\0\0\x08", 4));
  }
  auto frames = talk({bytes});
  EXPECT_LE(notes->gone, 1000);
  world.runFor(2s);
  EXPECT_EQ(notes->running, 0);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(Http2ServerTest, pingAndSettingsFloodsAreCut) {
  std::string bytes = kStart;
  for (int i = 0; i < 20'000; ++i) bytes += frame(kPing, 0, 0, "12345678");
  auto answers = talk({bytes, bytes, bytes}, 100ms);
  EXPECT_LE(countOf(answers, kPing), 60'000U);
  world.runFor(2min);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(Http2ServerTest, streamsBeyondTheLimitAreRefused) {
  std::string bytes = kStart + frame(kSettings, 1, 0, "");
  for (uint32_t i = 0; i < 300; ++i) bytes += frame(kHeaders, kEndStream | kEndHeaders, 1 + 2 * i, requestHead("/watch"));
  talk({bytes}, 500ms);
  EXPECT_LE(notes->gone + notes->running, 250);
  world.runFor(2s);
  EXPECT_EQ(notes->running, 0);
  EXPECT_GE(notes->gone, 200);
}

TEST_F(Http2ServerTest, silentPeersArePingedAndCut) {
  env::Instant start = e.clock.now();
  // A stream is open, so idleness does not end the connection; the peer answers no ping.
  talk({kStart + frame(kHeaders, kEndStream | kEndHeaders, 1, requestHead("/watch"))}, 10min);
  EXPECT_LE(e.clock.now() - start, 60s);
  world.runFor(1s);
  EXPECT_EQ(notes->gone, 1);
  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(Http2ServerTest, uploadsBeyondTheWindowAreViolations) {
  std::string bytes = kStart + frame(kHeaders, kEndHeaders, 1,
                                     literal(":method", "POST") + literal(":scheme", "http") + literal(":authority", "a") +
                                         literal(":path", "/watch"));
  std::vector<std::string> pieces = {bytes};
  for (int i = 0; i < 40; ++i) pieces.push_back(frame(kData, 0, 1, std::string(16'000, 'd')));
  auto frames = talk(pieces);
  EXPECT_GE(countOf(frames, kReset) + countOf(frames, kGoAway), 1U);
}

}  // namespace
}  // namespace knarr::wire
