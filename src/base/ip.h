// IP addresses and prefixes of both families, as numbers.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace knarr {

struct IpAddress {
  bool v6 = false;
  unsigned __int128 value = 0;  // host order; an IPv4 address fills the low 32 bits

  // Nothing when `text` is not exactly one address. IPv4 octets with leading zeros are refused.
  static std::optional<IpAddress> parse(std::string_view text);
  // The canonical text (RFC 5952 for IPv6).
  std::string text() const;
  int bits() const { return v6 ? 128 : 32; }
  friend bool operator==(const IpAddress&, const IpAddress&) = default;
  friend std::strong_ordering operator<=>(const IpAddress& a, const IpAddress& b) {
    if (a.v6 != b.v6) return a.v6 <=> b.v6;
    return a.value < b.value   ? std::strong_ordering::less
           : a.value > b.value ? std::strong_ordering::greater
                               : std::strong_ordering::equal;
  }
};

struct IpPrefix {
  IpAddress address;  // the first of the prefix; host bits are cleared
  int length = 0;

  // "10.0.0.0/8"; nothing when malformed. Host bits may be set in the text.
  static std::optional<IpPrefix> parse(std::string_view text);
  std::string text() const;
  bool contains(const IpAddress& other) const;
  bool contains(const IpPrefix& other) const { return other.length >= length && contains(other.address); }
  bool overlaps(const IpPrefix& other) const { return contains(other) || other.contains(*this); }
  friend bool operator==(const IpPrefix&, const IpPrefix&) = default;
};

}  // namespace knarr
