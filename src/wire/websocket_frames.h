// WebSocket framing (RFC 6455, section 5) as pure functions and a decoder. Private to this room.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knarr::wire {

enum class WebSocketOpcode : uint8_t { Continuation = 0, Text = 1, Binary = 2, Close = 8, Ping = 9, Pong = 10 };

// One frame; with a mask key when the client sends it.
std::string encodeWebSocketFrame(WebSocketOpcode opcode, std::string_view payload, bool final, std::optional<uint32_t> maskKey);

struct WebSocketFrame {
  WebSocketOpcode opcode = WebSocketOpcode::Continuation;
  bool final = true;
  std::string payload;  // unmasked
};

// A violation carries the close code that answers it.
struct WebSocketViolation {
  uint16_t closeCode;  // 1002 protocol error, 1007 not UTF-8, 1009 too big
  std::string message;
};

// Joins frames to messages. Control frames come through as they are, between the fragments of a
// message too.
class WebSocketDecoder {
 public:
  // expectMask: the peer is a client and must mask; otherwise it must not.
  WebSocketDecoder(bool expectMask, size_t messageBytesMax) : expectMask_(expectMask), messageBytesMax_(messageBytesMax) {}
  void feed(std::string_view bytes) { input_ += bytes; }
  // The next whole message or control frame; nothing when more bytes are needed.
  std::expected<std::optional<WebSocketFrame>, WebSocketViolation> next();

 private:
  std::expected<std::optional<WebSocketFrame>, WebSocketViolation> nextFrame();
  bool expectMask_;
  size_t messageBytesMax_;
  std::string input_;
  size_t from_ = 0;
  std::optional<WebSocketFrame> partial_;
};

// The value of Sec-WebSocket-Accept for a key (RFC 6455, 4.2.2).
std::string webSocketAccept(std::string_view key);

}  // namespace knarr::wire
