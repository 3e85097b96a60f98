// The server's side of one HTTP/1.1 connection. Private to this room.
#pragma once

#include "wire/http_common.h"

namespace knarr::wire {

// What the connection's owner knows of it before the first byte.
struct ConnectionFacts {
  bool tls = false;
  std::string peerAddress;
  std::shared_ptr<const TlsPeer> tlsPeer;
};

class Http1ServerConnection : public ServerConnection {
 public:
  static std::shared_ptr<Http1ServerConnection> make(std::shared_ptr<ServerCore> core, std::unique_ptr<env::Stream> stream,
                                                     ConnectionFacts facts);
  // Serves requests until the connection ends.
  virtual async::Task<void> run() = 0;
};

}  // namespace knarr::wire
