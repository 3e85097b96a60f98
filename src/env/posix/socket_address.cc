#include "env/posix/socket_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "base/strings.h"

namespace knarr::env::posix {
namespace {

Unexpected malformed(std::string_view text, std::string_view why) {
  return fail(Reason::BadRequest,
              "network address " + quote(text) + ": " + std::string(why) + "; write HOST:PORT with a numeric host, or unix:PATH");
}

Result<SocketAddress> parseUnix(std::string_view text, std::string_view path) {
  SocketAddress address;
  auto& un = reinterpret_cast<sockaddr_un&>(address.storage);
  if (path.empty()) return malformed(text, "the path is empty");
  if (path.size() >= sizeof un.sun_path) return malformed(text, "the path is longer than 107 bytes");
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), path.size());
  if (path.front() == '@') {
    un.sun_path[0] = '\0';
    address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  } else {
    address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  }
  return address;
}

}  // namespace

Result<SocketAddress> parseSocketAddress(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    std::string_view path = text.substr(kUnix.size());
    // unix:///run/x.sock, the URL form kubelet flags use.
    if (path.starts_with("//")) path.remove_prefix(2);
    return parseUnix(text, path);
  }
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return malformed(text, "the port is missing");
  auto port = parseUint(text.substr(colon + 1));
  if (!port || *port > 65535) return malformed(text, "the port is not a number from 0 to 65535");
  std::string_view host = text.substr(0, colon);
  SocketAddress address;
  if (host.starts_with('[') && host.ends_with(']')) {
    std::string_view inner = host.substr(1, host.size() - 2);
    std::string zone;
    if (size_t percent = inner.find('%'); percent != std::string_view::npos) {
      zone = inner.substr(percent + 1);
      inner = inner.substr(0, percent);
    }
    auto& in6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(static_cast<uint16_t>(*port));
    if (!zone.empty()) in6.sin6_scope_id = if_nametoindex(zone.c_str());
    if (inet_pton(AF_INET6, std::string(inner).c_str(), &in6.sin6_addr) != 1)
      return malformed(text, "the host is not an IPv6 address");
    address.length = sizeof in6;
    return address;
  }
  auto& in4 = reinterpret_cast<sockaddr_in&>(address.storage);
  in4.sin_family = AF_INET;
  in4.sin_port = htons(static_cast<uint16_t>(*port));
  if (inet_pton(AF_INET, std::string(host).c_str(), &in4.sin_addr) != 1) return malformed(text, "the host is not an IP address");
  address.length = sizeof in4;
  return address;
}

std::string formatSocketAddress(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.family() == AF_INET) {
    auto& in4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    inet_ntop(AF_INET, &in4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(in4.sin_port));
  }
  if (address.family() == AF_INET6) {
    auto& in6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
    inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(in6.sin6_port));
  }
  auto& un = reinterpret_cast<const sockaddr_un&>(address.storage);
  size_t pathOffset = offsetof(sockaddr_un, sun_path);
  if (address.length <= pathOffset) return "unix:";
  if (un.sun_path[0] == '\0') return "unix:@" + std::string(un.sun_path + 1, address.length - pathOffset - 1);
  return "unix:" + std::string(un.sun_path, strnlen(un.sun_path, address.length - pathOffset));
}

}  // namespace knarr::env::posix
