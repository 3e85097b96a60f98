#include "wire/spdy.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/strings.h"
#include "env/sim/sim.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

std::string fromHex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out;
}

TEST(SpdyFrames, dictionaryIsTheOneOfTheSpecification) {
  const std::string& dictionary = spdyHeaderDictionary();
  EXPECT_EQ(dictionary.size(), 1423U);
  // The identifier that every zlib stream of SPDY/3 begins with.
  EXPECT_EQ(
      adler32(adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(dictionary.data()), static_cast<uInt>(dictionary.size())),
      0xe3c6a7c2U);
}

SpdyFrame frameOf(SpdyFrameType type, uint32_t stream, uint32_t value = 0) {
  SpdyFrame frame;
  frame.type = type;
  frame.stream = stream;
  frame.value = value;
  return frame;
}

TEST(SpdyFrames, knownBytes) {
  SpdyEncoder encoder;
  SpdyFrame data;
  data.stream = 5;
  data.data = "abc";
  data.fin = true;
  EXPECT_EQ(toHex(encoder.encode(data)), "0000000501000003616263");
  EXPECT_EQ(toHex(encoder.encode(frameOf(SpdyFrameType::RstStream, 3, kSpdyCancel))), "80030003000000080000000300000005");
  EXPECT_EQ(toHex(encoder.encode(frameOf(SpdyFrameType::Ping, 0, 7))), "800300060000000400000007");
  EXPECT_EQ(toHex(encoder.encode(frameOf(SpdyFrameType::GoAway, 9, 0))), "80030007000000080000000900000000");
}

std::vector<SpdyFrame> decodeInPieces(std::string_view bytes, size_t piece) {
  SpdyDecoder decoder;
  std::vector<SpdyFrame> frames;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    decoder.feed(bytes.substr(at, piece));
    while (true) {
      auto frame = decoder.next();
      EXPECT_TRUE(frame) << frame.error().message();
      if (!frame || !*frame) break;
      frames.push_back(std::move(**frame));
    }
  }
  return frames;
}

TEST(SpdyFrames, whatIsEncodedIsDecodedInAnyPieces) {
  SpdyEncoder encoder;
  SpdyFrame syn = frameOf(SpdyFrameType::SynStream, 1);
  syn.headers.add("streamType", "data");
  syn.headers.add("port", "8080");
  syn.headers.add("Port", "8081");
  SpdyFrame reply = frameOf(SpdyFrameType::SynReply, 1);
  SpdyFrame second = frameOf(SpdyFrameType::SynStream, 3);
  second.headers.add("streamtype", "error");
  SpdyFrame data;
  data.stream = 3;
  data.data = std::string(100'000, 'd');
  data.fin = true;
  std::string bytes = encoder.encode(syn) + encoder.encode(reply) + encoder.encode(frameOf(SpdyFrameType::Settings, 0)) +
                      encoder.encode(second) + encoder.encode(data) + encoder.encode(frameOf(SpdyFrameType::WindowUpdate, 3, 9));
  for (size_t piece : {size_t{1}, size_t{7}, size_t{4096}, bytes.size()}) {
    std::vector<SpdyFrame> frames = decodeInPieces(bytes, piece);
    ASSERT_GE(frames.size(), 6U);
    EXPECT_EQ(frames[0].headers.get("streamtype"), "data");
    EXPECT_EQ(frames[0].headers.all("port"), (std::vector<std::string_view>{"8080", "8081"}));
    EXPECT_EQ(frames[1].type, SpdyFrameType::SynReply);
    EXPECT_TRUE(frames[1].headers.empty());
    EXPECT_EQ(frames[2].type, SpdyFrameType::Settings);
    EXPECT_EQ(frames[3].headers.get("streamtype"), "error");
    std::string got;
    for (size_t i = 4; i + 1 < frames.size(); ++i) {
      EXPECT_LE(frames[i].data.size(), piece);
      EXPECT_EQ(frames[i].fin, i + 2 == frames.size()) << i;
      got += frames[i].data;
    }
    EXPECT_EQ(got, data.data);
    EXPECT_EQ(frames.back().type, SpdyFrameType::WindowUpdate);
    EXPECT_EQ(frames.back().value, 9U);
  }
}

// The first frame of kubectl v1.36.3 (exec by SPDY).
TEST(SpdyFrames, recordedFromKubectl) {
  std::vector<SpdyFrame> frames = decodeInPieces(
      fromHex("80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff"), 3);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].type, SpdyFrameType::SynStream);
  EXPECT_EQ(frames[0].stream, 1U);
  EXPECT_EQ(frames[0].headers.get("streamtype"), "error");
}

// All that containerd 1.6 sends for `echo hi`: replies, output and its end, the status, a reset of what is still open.
TEST(SpdyFrames, recordedFromContainerd) {
  std::vector<SpdyFrame> frames = decodeInPieces(
      fromHex(
          "80030002000000140000000378f9e3c6a7c26260606000000000ffff800300020000000c00000001026100000000ffff000000030000000368690a"
          "000000030100000000000001000000227b226d65746164617461223a7b7d2c22737461747573223a2253756363657373227d8003000300000008"
          "000000010000000580030007000000080000000300000000"),
      1000);
  ASSERT_EQ(frames.size(), 7U);
  EXPECT_EQ(frames[0].type, SpdyFrameType::SynReply);
  EXPECT_EQ(frames[0].stream, 3U);
  EXPECT_EQ(frames[1].type, SpdyFrameType::SynReply);
  EXPECT_EQ(frames[1].stream, 1U);
  EXPECT_TRUE(frames[1].headers.empty());
  EXPECT_EQ(frames[2].data, "hi\n");
  EXPECT_FALSE(frames[2].fin);
  EXPECT_TRUE(frames[3].fin && frames[3].stream == 3 && frames[3].data.empty());
  EXPECT_EQ(frames[4].data, R"({"metadata":{},"status":"Success"})");
  EXPECT_EQ(frames[5].type, SpdyFrameType::RstStream);
  EXPECT_EQ(frames[5].value, kSpdyCancel);
  EXPECT_EQ(frames[6].type, SpdyFrameType::GoAway);
}

TEST(SpdyFrames, violationsAreErrors) {
  SpdyEncoder encoder;
  SpdyFrame syn = frameOf(SpdyFrameType::SynStream, 1);
  syn.headers.add("a", std::string(300'000, 'x'));
  std::string bomb = encoder.encode(syn);
  SpdyEncoder fresh;
  syn.headers = {};
  std::string cut = fresh.encode(syn);
  struct Case {
    const char* name;
    std::string bytes;
    const char* message;
  };
  const Case kCases[] = {
      {"stream 0", fromHex("0000000000000000"), "stream 0"},
      {"version", fromHex("800200060000000400000007"), "another version"},
      {"long control frame", fromHex("8003000401010001"), "longer than 64 KiB"},
      {"short ping", fromHex("8003000600000000"), "another length"},
      {"reset of stream 0", fromHex("80030003000000080000000000000005"), "stream 0"},
      {"settings lie", fromHex("800300040000000400000001"), "SETTINGS"},
      {"not zlib", fromHex("800300020000000800000001ffffffff"), "zlib"},
      {"no header block", fromHex("800300020000000400000001"), "without a count"},
      {"inflates too far", bomb, "longer than 256 KiB"},
  };
  for (const Case& one : kCases) {
    SpdyDecoder decoder;
    decoder.feed(one.bytes);
    auto frame = decoder.next();
    ASSERT_FALSE(frame) << one.name;
    EXPECT_EQ(frame.error().reason(), Reason::BadRequest) << one.name;
    EXPECT_NE(frame.error().message().find(one.message), std::string::npos) << frame.error().message();
  }
  SpdyDecoder decoder;
  decoder.feed(fromHex("800300050000000400000007"));  // CREDENTIAL, which nobody sends
  decoder.feed(cut);
  auto frame = decoder.next();
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->type, SpdyFrameType::SynStream);
}

}  // namespace
}  // namespace knarr::wire
