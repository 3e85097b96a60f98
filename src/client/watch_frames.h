// Frames of a protobuf watch: four bytes of length, then WatchEvent{1 type, 2 object{1 raw}}.
//
// Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf (LengthDelimitedFramer), meta/v1 WatchEvent.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knarr::client {

struct WatchFrame {
  std::string type;    // "ADDED"
  std::string object;  // with the "k8s\0" envelope
};

class WatchFrames {
 public:
  void append(std::string_view bytes) { pending_ += bytes; }
  // The next whole frame, nothing while more bytes are needed. BadRequest on a malformed or oversized one.
  Result<std::optional<WatchFrame>> next();
  // A frame may be this long: an object of 3 MiB and its surroundings.
  static constexpr size_t kFrameBytesMax = size_t{16} << 20;

 private:
  std::string pending_;
};

}  // namespace knarr::client
