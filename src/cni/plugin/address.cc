#include "cni/plugin/address.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>

namespace knarr::cni {

std::string Ip::bytes() const {
  std::string out;
  for (int shift = bits() - 8; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
  return out;
}

std::string Ip::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes().data(), buffer.data(), buffer.size());
  return buffer.data();
}

std::optional<Ip> parseIp(std::string_view text) {
  std::array<unsigned char, 16> bytes{};
  std::string terminated(text);
  Ip ip;
  ip.v6 = text.find(':') != std::string_view::npos;
  if (inet_pton(ip.v6 ? AF_INET6 : AF_INET, terminated.c_str(), bytes.data()) != 1) return std::nullopt;
  for (int i = 0; i < ip.bits() / 8; ++i) ip.value = ip.value << 8 | bytes[static_cast<size_t>(i)];
  return ip;
}

unsigned __int128 Subnet::mask() const {
  if (prefix == 0) return 0;
  unsigned __int128 all = ~static_cast<unsigned __int128>(0);
  if (!ip.v6) all >>= 96;
  int host = ip.bits() - prefix;
  return all >> host << host;
}

Ip Subnet::last() const {
  unsigned __int128 all = ~static_cast<unsigned __int128>(0);
  if (!ip.v6) all >>= 96;
  return {ip.v6, (ip.value & mask()) | (all & ~mask())};
}

bool Subnet::contains(const Ip& other) const { return other.v6 == ip.v6 && (other.value & mask()) == (ip.value & mask()); }

std::optional<Subnet> parseSubnet(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto ip = parseIp(text.substr(0, slash));
  std::string_view length = text.substr(slash + 1);
  int prefix = -1;
  auto [end, failed] = std::from_chars(length.data(), length.data() + length.size(), prefix);
  if (!ip || failed != std::errc() || end != length.data() + length.size()) return std::nullopt;
  if (prefix < 0 || prefix > ip->bits()) return std::nullopt;
  return Subnet{*ip, prefix};
}

}  // namespace knarr::cni
