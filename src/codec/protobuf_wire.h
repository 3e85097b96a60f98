// The protobuf wire format: a bounded reader, and names of its parts.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace knarr::codec {

enum class Wire : uint8_t { Varint = 0, Fixed64 = 1, LengthDelimited = 2, StartGroup = 3, EndGroup = 4, Fixed32 = 5 };

// Starts every enveloped object. Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf.
constexpr std::string_view kEnvelopeMagic("k8s\0", 4);

// Reads fields one after the other. Every function returns false at malformed input and then stays
// there.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool atEnd() const { return at_ == end_; }
  bool key(uint32_t& tag, Wire& wire) {
    uint64_t value = 0;
    if (!varint(value) || (value >> 3) == 0 || (value >> 3) > UINT32_MAX || (value & 7) > 5) return false;
    tag = static_cast<uint32_t>(value >> 3);
    wire = static_cast<Wire>(value & 7);
    return true;
  }
  bool varint(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) return false;
      auto byte = static_cast<unsigned char>(*at_++);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool bytes(std::string_view& out) {
    uint64_t length = 0;
    if (!varint(length) || length > static_cast<uint64_t>(end_ - at_)) return false;
    out = {at_, static_cast<size_t>(length)};
    at_ += length;
    return true;
  }
  bool fixed64(uint64_t& value) {
    if (end_ - at_ < 8) return false;
    std::memcpy(&value, at_, 8);
    at_ += 8;
    return true;
  }
  // Passes over the value of an unknown field; groups as deep as `depth`.
  bool skip(Wire wire, int depth) {
    uint64_t number = 0;
    std::string_view ignored;
    switch (wire) {
      case Wire::Varint:
        return varint(number);
      case Wire::Fixed64:
        return fixed64(number);
      case Wire::LengthDelimited:
        return bytes(ignored);
      case Wire::Fixed32:
        if (end_ - at_ < 4) return false;
        at_ += 4;
        return true;
      case Wire::StartGroup:
        return skipGroup(depth);
      case Wire::EndGroup:
        return false;
    }
    return false;
  }

 private:
  bool skipGroup(int depth) {
    for (int open = 1; open > 0;) {
      uint32_t tag = 0;
      Wire wire = Wire::Varint;
      if (open > depth || !key(tag, wire)) return false;
      if (wire == Wire::StartGroup)
        ++open;
      else if (wire == Wire::EndGroup)
        --open;
      else if (!skip(wire, 0))
        return false;
    }
    return true;
  }
  const char* at_;
  const char* end_;
};

}  // namespace knarr::codec
