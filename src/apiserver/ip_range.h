// A range of IPv4 addresses in CIDR form, and the allocation of service addresses from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knarr::apiserver {

class IpRange {
 public:
  // "10.96.0.0/12". Invalid when it is no IPv4 CIDR or has fewer than two addresses.
  static Result<IpRange> parse(std::string_view cidr);
  // The address `offset` places after the first. offset < size().
  std::string at(uint32_t offset) const;
  // Addresses in the range, network and broadcast address included.
  uint32_t size() const { return size_; }
  // The offset of an address, size() when it is outside.
  uint32_t offsetOf(std::string_view address) const;

 private:
  uint32_t first_ = 0;
  uint32_t size_ = 0;
};

// A dotted IPv4 address as a number; nothing when malformed.
Result<uint32_t> parseIpv4(std::string_view text);
std::string formatIpv4(uint32_t address);

}  // namespace knarr::apiserver
