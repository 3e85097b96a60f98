// DNS messages over a stream: two bytes of length, then the message. Source: RFC 1035 section 4.2.2, RFC 7766.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "async/async.h"
#include "env/env.h"

namespace knarr::dns {

// One message; nothing when the stream ends, fails, or `deadline` or `stop` comes first.
async::Task<std::optional<std::string>> readMessage(env::Env environment, std::shared_ptr<env::Stream> stream,
                                                    env::Instant deadline, async::StopToken stop);
// False when it could not be written whole before `deadline`.
async::Task<bool> writeMessage(env::Env environment, std::shared_ptr<env::Stream> stream, std::string message,
                               env::Instant deadline);

}  // namespace knarr::dns
