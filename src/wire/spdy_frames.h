// SPDY/3.1 framing as an encoder and a decoder of bytes. Private to this room.
//
//   control  |1| version 3 (15) | type (16) | flags (8) | length (24) | ...
//   data     |0| stream (31)               | flags (8) | length (24) | ...
//
// The header blocks of one direction share one zlib stream that begins with the dictionary of the specification, so
// frames are encoded in the order in which they are sent, and decoded in the order in which they came.
// Source: "SPDY Protocol - Draft 3.1" (chromium.org), sections 2.2 and 2.6; github.com/moby/spdystream/spdy for what
// the other side of Kubernetes' streams makes of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/headers.h"

namespace knarr::wire {

enum class SpdyFrameType : uint16_t {
  Data = 0,  // no type on the wire: frames without the control bit
  SynStream = 1,
  SynReply = 2,
  RstStream = 3,
  Settings = 4,
  Ping = 6,
  GoAway = 7,
  Headers = 8,
  WindowUpdate = 9,
};

// Source: the same, 2.6.3.
inline constexpr uint32_t kSpdyProtocolError = 1;
inline constexpr uint32_t kSpdyRefusedStream = 3;
inline constexpr uint32_t kSpdyCancel = 5;

struct SpdyFrame {
  SpdyFrameType type = SpdyFrameType::Data;
  uint32_t stream = 0;  // of GOAWAY: the last one that its sender accepted
  bool fin = false;     // the sender sends no more on this stream
  // Status of RST_STREAM and GOAWAY, identifier of PING, growth of WINDOW_UPDATE.
  uint32_t value = 0;
  Headers headers;   // SYN_STREAM, SYN_REPLY, HEADERS; names in lower case
  std::string data;  // of DATA
};

// The dictionary of header blocks, 1423 bytes. Source: the same, 2.6.10.1.
const std::string& spdyHeaderDictionary();

// One direction's frames to bytes. Only as many as are sent, in that order.
class SpdyEncoder {
 public:
  SpdyEncoder();
  ~SpdyEncoder();
  SpdyEncoder(const SpdyEncoder&) = delete;
  // DATA of at most 2^24 - 1 bytes.
  std::string encode(const SpdyFrame& frame);

 private:
  std::string headerBlock(const Headers& headers);
  struct Deflate;
  std::unique_ptr<Deflate> deflate_;
};

// One direction's bytes to frames. DATA comes in pieces as it arrives, `fin` with the last one, so no more is held than
// was fed; control frames are bounded. SETTINGS and WINDOW_UPDATE come through, frames of unknown type do not.
class SpdyDecoder {
 public:
  SpdyDecoder();
  ~SpdyDecoder();
  SpdyDecoder(const SpdyDecoder&) = delete;
  void feed(std::string_view bytes) { input_ += bytes; }
  // The next frame or piece, nothing when more bytes are needed. BadRequest when the peer broke the protocol; the
  // connection is of no use afterwards.
  Result<std::optional<SpdyFrame>> next();

 private:
  Result<SpdyFrame> parseControl(uint16_t type, uint8_t flags, std::string_view payload);
  Result<Headers> parseHeaderBlock(std::string_view compressed);
  std::optional<SpdyFrame> takeData();

  std::string input_;
  size_t from_ = 0;
  // Of the DATA frame that is being read.
  bool inData_ = false;
  uint32_t dataStream_ = 0;
  size_t dataLeft_ = 0;
  bool dataFin_ = false;
  struct Inflate;
  std::unique_ptr<Inflate> inflate_;
};

}  // namespace knarr::wire
