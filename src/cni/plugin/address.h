// IP addresses and subnets as plugins count with them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace knarr::cni {

// An IPv4 address is its 32 bits; an IPv6 address all 128.
struct Ip {
  bool v6 = false;
  unsigned __int128 value = 0;

  int bits() const { return v6 ? 128 : 32; }
  std::string text() const;
  // Network byte order, 4 or 16 bytes.
  std::string bytes() const;
  bool operator==(const Ip&) const = default;
};
std::optional<Ip> parseIp(std::string_view text);

// "10.244.1.0/24", or an address with the length of its subnet.
struct Subnet {
  Ip ip;
  int prefix = 0;

  unsigned __int128 mask() const;
  Ip network() const { return {ip.v6, ip.value & mask()}; }
  // The last address: the broadcast address in IPv4.
  Ip last() const;
  bool contains(const Ip& other) const;
  std::string text() const { return ip.text() + "/" + std::to_string(prefix); }
};
std::optional<Subnet> parseSubnet(std::string_view text);

}  // namespace knarr::cni
