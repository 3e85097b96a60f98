#include "wire/websocket_frames.h"

#include "base/strings.h"
#include "wire/pki.h"

namespace knarr::wire {
namespace {

constexpr size_t kControlBytesMax = 125;

std::unexpected<WebSocketViolation> violation(uint16_t code, std::string message) {
  return std::unexpected(WebSocketViolation{code, std::move(message)});
}

void applyMask(std::string& bytes, size_t from, uint32_t key) {
  const unsigned char mask[4] = {static_cast<unsigned char>(key >> 24), static_cast<unsigned char>(key >> 16),
                                 static_cast<unsigned char>(key >> 8), static_cast<unsigned char>(key)};
  for (size_t i = from; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(static_cast<unsigned char>(bytes[i]) ^ mask[(i - from) % 4]);
}

bool isControl(WebSocketOpcode opcode) { return static_cast<uint8_t>(opcode) >= 8; }

uint64_t bigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

std::string encodeWebSocketFrame(WebSocketOpcode opcode, std::string_view payload, bool final, std::optional<uint32_t> maskKey) {
  std::string frame;
  frame.reserve(payload.size() + 14);
  frame.push_back(static_cast<char>((final ? 0x80 : 0) | static_cast<uint8_t>(opcode)));
  uint8_t masked = maskKey ? 0x80 : 0;
  size_t lengthBytes = payload.size() < 126 ? 0 : payload.size() <= 0xffff ? 2 : 8;
  uint8_t code = lengthBytes == 0 ? static_cast<uint8_t>(payload.size()) : lengthBytes == 2 ? 126 : 127;
  frame.push_back(static_cast<char>(masked | code));
  for (size_t i = lengthBytes; i > 0; --i)
    frame.push_back(static_cast<char>(static_cast<uint64_t>(payload.size()) >> (8 * (i - 1))));
  if (maskKey)
    for (int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(*maskKey >> shift));
  size_t begin = frame.size();
  frame += payload;
  if (maskKey) applyMask(frame, begin, *maskKey);
  return frame;
}

std::expected<std::optional<WebSocketFrame>, WebSocketViolation> WebSocketDecoder::nextFrame() {
  std::string_view rest = std::string_view(input_).substr(from_);
  if (rest.size() < 2) return std::nullopt;
  auto first = static_cast<uint8_t>(rest[0]);
  auto second = static_cast<uint8_t>(rest[1]);
  WebSocketFrame frame;
  frame.final = (first & 0x80) != 0;
  uint8_t opcode = first & 0x0f;
  if (first & 0x70) return violation(1002, "reserved bits are set");
  if (opcode > 10 || (opcode > 2 && opcode < 8)) return violation(1002, "unknown opcode");
  frame.opcode = static_cast<WebSocketOpcode>(opcode);
  bool masked = (second & 0x80) != 0;
  if (masked != expectMask_)
    return violation(1002, expectMask_ ? "a client's frame is not masked" : "a server's frame is masked");
  uint64_t length = second & 0x7f;
  size_t header = 2;
  if (isControl(frame.opcode) && (length > kControlBytesMax || !frame.final))
    return violation(1002, "a control frame is longer than 125 bytes or fragmented");
  if (length >= 126) {
    size_t bytes = length == 126 ? 2 : 8;
    if (rest.size() < header + bytes) return std::nullopt;
    length = bigEndian(rest.substr(header, bytes));
    header += bytes;
  }
  size_t have = partial_ ? partial_->payload.size() : 0;
  if (length > messageBytesMax_ || have + length > messageBytesMax_)
    return violation(1009, "a message is longer than " + std::to_string(messageBytesMax_) + " bytes");
  size_t keyBytes = masked ? 4 : 0;
  if (rest.size() < header + keyBytes + length) return std::nullopt;
  frame.payload = rest.substr(header + keyBytes, static_cast<size_t>(length));
  if (masked) applyMask(frame.payload, 0, static_cast<uint32_t>(bigEndian(rest.substr(header, 4))));
  from_ += header + keyBytes + static_cast<size_t>(length);
  // What was consumed is cut off when it is worth a move.
  if (from_ == input_.size() || from_ > (64 << 10)) {
    input_.erase(0, from_);
    from_ = 0;
  }
  return frame;
}

std::expected<std::optional<WebSocketFrame>, WebSocketViolation> WebSocketDecoder::next() {
  while (true) {
    auto frame = nextFrame();
    if (!frame) return frame;
    if (!*frame || isControl((*frame)->opcode)) return frame;
    bool continues = (*frame)->opcode == WebSocketOpcode::Continuation;
    if (continues != partial_.has_value())
      return violation(1002, continues ? "a continuation without a beginning" : "a message begins inside another");
    if (continues) {
      partial_->payload += (*frame)->payload;
      partial_->final = (*frame)->final;
    } else {
      partial_ = std::move(*frame);
    }
    if (!partial_->final) continue;
    WebSocketFrame whole = std::move(*partial_);
    partial_.reset();
    if (whole.opcode == WebSocketOpcode::Text && !isValidUtf8(whole.payload)) return violation(1007, "a text is not UTF-8");
    return whole;
  }
}

std::string webSocketAccept(std::string_view key) {
  return base64Encode(sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

}  // namespace knarr::wire
