#include "base/ip.h"

#include <arpa/inet.h>

#include <cstdint>
#include <cstring>

#include "base/strings.h"

namespace knarr {
namespace {

// The bits of `length` leading ones in an address of `bits` bits.
unsigned __int128 maskOf(int length, int bits) {
  if (length == 0) return 0;
  unsigned __int128 all = bits == 128 ? ~static_cast<unsigned __int128>(0) : (static_cast<unsigned __int128>(1) << bits) - 1;
  return all & ~((static_cast<unsigned __int128>(1) << (bits - length)) - 1);
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.size() > 45) return std::nullopt;  // the longest text of an IPv6 address
  std::string copy(text);
  IpAddress out;
  out.v6 = copy.find(':') != std::string::npos;
  uint8_t bytes[16];
  if (inet_pton(out.v6 ? AF_INET6 : AF_INET, copy.c_str(), bytes) != 1) return std::nullopt;
  for (int i = 0; i < (out.v6 ? 16 : 4); ++i) out.value = out.value << 8 | bytes[i];
  return out;
}

std::string IpAddress::text() const {
  uint8_t bytes[16];
  int size = v6 ? 16 : 4;
  for (int i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * (size - 1 - i)) & 0xff);
  char buffer[INET6_ADDRSTRLEN];
  return inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, buffer, sizeof(buffer));
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto address = IpAddress::parse(text.substr(0, slash));
  auto length = parseUint(text.substr(slash + 1));
  if (!address || !length || *length > static_cast<uint64_t>(address->bits())) return std::nullopt;
  IpPrefix out{*address, static_cast<int>(*length)};
  out.address.value &= maskOf(out.length, address->bits());
  return out;
}

std::string IpPrefix::text() const { return address.text() + "/" + std::to_string(length); }

bool IpPrefix::contains(const IpAddress& other) const {
  return other.v6 == address.v6 && (other.value & maskOf(length, address.bits())) == address.value;
}

}  // namespace knarr
