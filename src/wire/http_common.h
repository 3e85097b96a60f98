// What both protocols and both sides share. Private to this room.
#pragma once

#include "wire/http.h"

namespace knarr::wire {

// "Thu, 01 Jan 1970 00:00:00 GMT" (RFC 9110, 5.6.7).
std::string httpDate(int64_t unixSeconds);
// InternalError for a name or value that would break the message.
Result<void> checkHeaders(const Headers& headers);
// Fields that belong to one HTTP/1.1 connection and never to a message of HTTP/2.
bool isConnectionField(std::string_view name);
bool statusHasBody(int status);

// What the connections of one server share.
struct ServerCore {
  explicit ServerCore(env::Env e) : environment(e) {}
  env::Env environment;
  HttpServerOptions options;
  Handler handler;
  size_t requestsInFlight = 0;
  // Holds the connections' and the handlers' frames; null once the server is cut.
  std::unique_ptr<async::Gate> gate;
};

struct InFlight {
  explicit InFlight(ServerCore& core) : core_(core) { ++core_.requestsInFlight; }
  InFlight(const InFlight&) = delete;
  ~InFlight() { --core_.requestsInFlight; }

 private:
  ServerCore& core_;
};

// One connection of a server, of either protocol.
class ServerConnection {
 public:
  virtual ~ServerConnection() = default;
  // Takes no new requests; ends once the present ones are answered.
  virtual void drain() = 0;
  // Fires clientGone of all requests.
  virtual void stopRequests() = 0;
};

}  // namespace knarr::wire
