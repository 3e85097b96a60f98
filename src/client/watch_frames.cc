#include "client/watch_frames.h"

#include <fmt/format.h>

namespace knarr::client {
namespace {

Unexpected malformed() { return fail(Reason::BadRequest, "a frame of the watch is malformed"); }

Result<uint64_t> readVarint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) return malformed();
    uint8_t byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return malformed();
}

// The bytes of field `number`; all fields of the messages here are length-delimited, others are refused.
Result<std::string_view> fieldOf(std::string_view message, uint64_t number) {
  std::string_view found;
  while (!message.empty()) {
    uint64_t key = TRY(readVarint(message));
    if ((key & 7) != 2) return malformed();
    uint64_t length = TRY(readVarint(message));
    if (length > message.size()) return malformed();
    if (key >> 3 == number) found = message.substr(0, length);
    message.remove_prefix(length);
  }
  return found;
}

}  // namespace

Result<std::optional<WatchFrame>> WatchFrames::next() {
  if (pending_.size() < 4) return std::optional<WatchFrame>();
  size_t length = 0;
  for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(pending_[i]);
  if (length > kFrameBytesMax)
    return fail(Reason::BadRequest, fmt::format("a frame of the watch has {} bytes, more than {}", length, kFrameBytesMax));
  if (pending_.size() < 4 + length) return std::optional<WatchFrame>();
  std::string_view message = std::string_view(pending_).substr(4, length);
  WatchFrame frame;
  frame.type = TRY(fieldOf(message, 1));
  frame.object = TRY(fieldOf(TRY(fieldOf(message, 2)), 1));
  pending_.erase(0, 4 + length);
  return std::optional<WatchFrame>(std::move(frame));
}

}  // namespace knarr::client
