// The handler that the tests of this room talk to, and a world to run it in.
#pragma once

#include <gtest/gtest.h>

#include "env/sim/sim.h"
#include "wire/http.h"

namespace knarr::wire {

struct ServerNotes {
  int gone = 0;        // clientGone fired
  int running = 0;     // handlers inside
  std::string failed;  // the last error a handler met
};

// GET /hello: "hello". POST /echo: the body. GET /stream?N: N pieces. GET /watch: until the client
// leaves. GET /big: 3 MB. /nothing: no response. /cut: begins and gives up. /small-body: reads at
// most 10 bytes. /upgrade: echoes bytes. /whoami: peer. /fields: the request's fields.
async::Task<void> handleForTest(env::Env e, std::shared_ptr<ServerNotes> notes, std::shared_ptr<ServerExchange> exchange);
Handler makeTestHandler(env::Env e, std::shared_ptr<ServerNotes> notes);

// Sends `pieces` one after the other and returns all that came back until the server closed or
// `patience` passed.
std::string talkRaw(env::SimEnv& world, const std::string& address, const std::vector<std::string>& pieces,
                    env::Duration patience = std::chrono::seconds(5));

}  // namespace knarr::wire
