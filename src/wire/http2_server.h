// The server's side of one HTTP/2 connection. Private to this room.
#pragma once

#include "wire/http1_server.h"

namespace knarr::wire {

class Http2ServerConnection : public ServerConnection {
 public:
  // prefix: bytes that were read to tell the protocols apart. Handlers run in the core's gate.
  static std::shared_ptr<Http2ServerConnection> make(std::shared_ptr<ServerCore> core, std::unique_ptr<env::Stream> stream,
                                                     ConnectionFacts facts, std::string prefix);
  // Serves requests until the connection ends and its handlers have ended.
  virtual async::Task<void> run() = 0;
};

}  // namespace knarr::wire
