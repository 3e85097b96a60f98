// Handing an upgraded connection on: the same bytes both ways, whatever is spoken inside.
#pragma once

#include <memory>
#include <string>

#include "wire/http.h"

namespace knarr::wire {

// Asks `server` for the upgrade that the client of `exchange` asks for (WebSocket, SPDY/3.1; the fields of either are
// passed on), and copies bytes both ways until the server's end closes. A refusal is answered to the client as it came.
async::Task<Result<void>> forwardUpgrade(env::Env environment, std::shared_ptr<ServerExchange> exchange, HttpClient* server,
                                         std::string target);

}  // namespace knarr::wire
