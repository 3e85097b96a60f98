// Addresses and networks in fields. Source: k8s.io/apimachinery/pkg/util/validation/ip.go.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <cstring>

#include "apiserver/validation/rules.h"
#include "base/ip.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

constexpr std::string_view kBadIp = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
constexpr std::string_view kBadCidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

std::optional<IpText> parseV4(std::string_view text) {
  std::vector<std::string_view> parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  IpText out;
  for (size_t i = 0; i < 4; ++i) {
    bool digits = !parts[i].empty() && parts[i].size() <= 4 && parts[i].find_first_not_of("0123456789") == std::string_view::npos;
    int64_t value = digits ? parseInt(parts[i]).value_or(256) : 256;
    if (value > 255) return std::nullopt;
    out.leadingZeros = out.leadingZeros || (parts[i].size() > 1 && parts[i][0] == '0');
    out.bytes[i] = static_cast<uint8_t>(value);
  }
  return out;
}

bool isZeroPrefix(const uint8_t* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (bytes[i] != 0) return false;
  return true;
}

}  // namespace

std::optional<IpText> parseIpText(std::string_view text) {
  if (text.find(':') == std::string_view::npos) return parseV4(text);
  IpText out;
  out.v6 = true;
  if (text.size() > 45 || inet_pton(AF_INET6, std::string(text).c_str(), out.bytes) != 1) return std::nullopt;
  out.mapped = isZeroPrefix(out.bytes, 10) && out.bytes[10] == 0xff && out.bytes[11] == 0xff;
  return out;
}

void checkIp(FieldErrors& errors, const FieldPath& path, std::string_view text) {
  std::optional<IpText> ip = parseIpText(text);
  if (!ip)
    errors.push_back(invalidError(path, text, kBadIp));
  else if (ip->leadingZeros)
    errors.push_back(invalidError(path, text, "must not have leading 0s"));
  else if (ip->mapped)
    errors.push_back(invalidError(path, text, "must not be an IPv4-mapped IPv6 address"));
}

void checkEndpointIp(FieldErrors& errors, const FieldPath& path, std::string_view text) {
  std::optional<IpText> ip = parseIpText(text);
  auto refuse = [&](std::string_view why) { errors.push_back(invalidError(path, text, why)); };
  if (!ip) return refuse("must be a valid IP address");
  const uint8_t* b = ip->bytes;
  if (isZeroPrefix(b, ip->v6 ? 16 : 4)) refuse(fmt::format("may not be unspecified ({})", text));
  bool loopback = ip->v6 ? isZeroPrefix(b, 15) && b[15] == 1 : b[0] == 127;
  bool linkLocal = ip->v6 ? b[0] == 0xfe && (b[1] & 0xc0) == 0x80 : b[0] == 169 && b[1] == 254;
  bool multicast = ip->v6 ? b[0] == 0xff && (b[1] & 0x0f) == 2 : b[0] == 224 && b[1] == 0 && b[2] == 0;
  if (loopback) refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (linkLocal) refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  if (multicast) refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

void checkCidr(FieldErrors& errors, const FieldPath& path, std::string_view text) {
  auto refuse = [&](std::string_view why) { errors.push_back(invalidError(path, text, why)); };
  size_t slash = text.find('/');
  std::optional<IpText> ip = slash == std::string_view::npos ? std::nullopt : parseIpText(text.substr(0, slash));
  std::string_view length = slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  bool digits = !length.empty() && length.size() <= 3 && length.find_first_not_of("0123456789") == std::string_view::npos;
  int64_t bits = digits ? parseInt(length).value_or(999) : 999;
  if (!ip || bits > (ip->v6 ? 128 : 32)) return refuse(kBadCidr);
  if (ip->leadingZeros || (length.size() > 1 && length[0] == '0'))
    return refuse("must not have leading 0s in IP or prefix length");
  if (ip->mapped) return refuse("must not have an IPv4-mapped IPv6 address");
  for (int64_t bit = bits; bit < (ip->v6 ? 128 : 32); ++bit)
    if (ip->bytes[bit / 8] & (0x80 >> (bit % 8))) return refuse("must not have bits set beyond the prefix length");
}

void checkCanonicalIp(FieldErrors& errors, const FieldPath& path, std::string_view text) {
  size_t before = errors.size();
  checkIp(errors, path, text);
  auto ip = errors.size() == before ? IpAddress::parse(text) : std::nullopt;
  if (ip && ip->text() != text)
    errors.push_back(invalidError(path, text, fmt::format("must be in canonical form ({})", quote(ip->text()))));
}

void checkCanonicalCidr(FieldErrors& errors, const FieldPath& path, std::string_view text) {
  size_t before = errors.size();
  checkCidr(errors, path, text);
  auto prefix = errors.size() == before ? IpPrefix::parse(text) : std::nullopt;
  if (prefix && prefix->text() != text)
    errors.push_back(invalidError(path, text, fmt::format("must be in canonical form ({})", quote(prefix->text()))));
}

}  // namespace knarr::apiserver
