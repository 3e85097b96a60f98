// Text addresses of env.h to socket addresses and back.
#pragma once

#include <sys/socket.h>

#include "base/result.h"

namespace knarr::env::posix {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  int family() const { return storage.ss_family; }
  const sockaddr* pointer() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* pointer() { return reinterpret_cast<sockaddr*>(&storage); }
};

// "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80" or "unix:PATH" ("unix:@NAME" for an abstract
// socket).
Result<SocketAddress> parseSocketAddress(std::string_view text);
std::string formatSocketAddress(const SocketAddress& address);

}  // namespace knarr::env::posix
