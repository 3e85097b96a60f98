#include "apiserver/ip_range.h"

#include <fmt/format.h>

#include "base/strings.h"

namespace knarr::apiserver {

Result<uint32_t> parseIpv4(std::string_view text) {
  auto parts = split(text, '.');
  uint32_t address = 0;
  bool good = parts.size() == 4;
  for (size_t i = 0; good && i < 4; ++i) {
    auto octet = parseUint(parts[i]);
    good = octet && *octet <= 255 && parts[i].size() <= 3 && (parts[i].size() == 1 || parts[i][0] != '0');
    if (good) address = address << 8 | static_cast<uint32_t>(*octet);
  }
  if (!good) return fail(Reason::Invalid, fmt::format("{} is not an IPv4 address", quote(text)));
  return address;
}

std::string formatIpv4(uint32_t a) { return fmt::format("{}.{}.{}.{}", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255); }

Result<IpRange> IpRange::parse(std::string_view cidr) {
  size_t slash = cidr.find('/');
  if (slash == std::string_view::npos)
    return fail(Reason::Invalid, fmt::format("{} is not an IPv4 range such as 10.96.0.0/12", quote(cidr)));
  uint32_t address = TRY(parseIpv4(cidr.substr(0, slash)));
  auto bits = parseUint(cidr.substr(slash + 1));
  if (!bits || *bits < 1 || *bits > 31)
    return fail(Reason::Invalid, fmt::format("{}: the prefix length must be from 1 to 31", quote(cidr)));
  IpRange range;
  range.size_ = uint32_t{1} << (32 - *bits);
  range.first_ = address & ~(range.size_ - 1);
  return range;
}

std::string IpRange::at(uint32_t offset) const { return formatIpv4(first_ + offset); }

uint32_t IpRange::offsetOf(std::string_view address) const {
  auto parsed = parseIpv4(address);
  if (!parsed || *parsed < first_ || *parsed - first_ >= size_) return size_;
  return *parsed - first_;
}

}  // namespace knarr::apiserver
