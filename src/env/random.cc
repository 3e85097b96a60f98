#include "base/strings.h"
#include "env/env.h"

namespace knarr::env {

std::string randomNameSuffix(Random& random, size_t n) {
  // Source: k8s.io/apimachinery/pkg/util/rand/rand.go, alphanums.
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string suffix(n, ' ');
  for (char& c : suffix) c = kAlphabet[random.below(kAlphabet.size())];
  return suffix;
}

std::string randomUuid(Random& random) {
  uint8_t bytes[16];
  random.fill(bytes);
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);  // RFC 4122 variant
  std::string hex = toHex(std::string_view(reinterpret_cast<const char*>(bytes), sizeof bytes));
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" + hex.substr(20);
}

}  // namespace knarr::env
