// Waiting on env streams from tasks. Private to this room.
#pragma once

#include <span>
#include <string_view>

#include "async/async.h"
#include "env/env.h"

namespace knarr::wire {

// No deadline.
inline constexpr env::Instant kNever = env::Instant::max();

enum class Direction : uint8_t { Read, Write };
// Waits until the stream can be read (written) or `deadline`; false at the deadline and on stop.
// The stream may die meanwhile: then the wait lasts to the deadline.
async::Task<bool> waitReady(env::Env environment, env::Stream* stream, Direction direction, env::Instant deadline,
                            async::StopToken stop = {});

// The failure of a stream as an error: "what: reason".
Unexpected failStream(std::string_view what, const env::IoStep& step);

// Writes all of `bytes`, which the caller keeps alive. Timeout when the peer takes nothing for
// `stallTimeout` (Duration::max(): however long it takes) and on stop.
async::Task<Result<void>> writeAll(env::Env environment, env::Stream* stream, std::string_view bytes, env::Duration stallTimeout,
                                   async::StopToken stop = {});

// Ends our direction and reads on for a moment: closing with input unread would reset the
// connection and take our last words with it.
async::Task<void> linger(env::Env environment, env::Stream* stream, size_t bytesMax, env::Duration time);

// A stream that first gives bytes that were read ahead.
std::unique_ptr<env::Stream> makePrefixedStream(env::Env environment, std::string prefix, std::unique_ptr<env::Stream> stream);

}  // namespace knarr::wire
