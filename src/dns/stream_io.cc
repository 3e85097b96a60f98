#include "dns/stream_io.h"

#include "async/scoped_timer.h"

namespace knarr::dns {
namespace {

using async::Promise;
using async::StopToken;
using async::Task;

// Waits until the stream is ready; false when the deadline or a stop comes first.
Task<bool> waitReady(env::Env environment, std::shared_ptr<env::Stream> stream, bool toRead, env::Instant deadline,
                     StopToken stop) {
  Promise<bool> ready(environment.executor);
  async::ScopedTimer timer(environment.executor, deadline, [ready] { ready.set(false); });
  auto registration = stop.onStop([ready] { ready.set(false); });
  if (toRead)
    stream->whenReadable([ready] { ready.set(true); });
  else
    stream->whenWritable([ready] { ready.set(true); });
  bool got = co_await ready.get();
  if (!got && toRead) stream->whenReadable({});
  if (!got && !toRead) stream->whenWritable({});
  co_return got;
}

Task<std::optional<std::string>> readBytes(env::Env environment, std::shared_ptr<env::Stream> stream, size_t count,
                                           env::Instant deadline, StopToken stop) {
  std::string out(count, '\0');
  size_t have = 0;
  while (have < count) {
    env::IoStep step = stream->read(std::span<char>(out.data() + have, count - have));
    if (step.kind == env::IoStep::Done) {
      have += step.bytes;
      continue;
    }
    if (step.kind != env::IoStep::WouldBlock || !co_await waitReady(environment, stream, true, deadline, stop))
      co_return std::nullopt;
  }
  co_return out;
}

}  // namespace

Task<std::optional<std::string>> readMessage(env::Env environment, std::shared_ptr<env::Stream> stream, env::Instant deadline,
                                             StopToken stop) {
  auto size = co_await readBytes(environment, stream, 2, deadline, stop);
  if (!size) co_return std::nullopt;
  size_t count = static_cast<size_t>(static_cast<uint8_t>((*size)[0])) << 8 | static_cast<uint8_t>((*size)[1]);
  co_return co_await readBytes(environment, stream, count, deadline, stop);
}

Task<bool> writeMessage(env::Env environment, std::shared_ptr<env::Stream> stream, std::string message, env::Instant deadline) {
  std::string framed;
  framed += static_cast<char>(message.size() >> 8 & 0xff);
  framed += static_cast<char>(message.size() & 0xff);
  framed += message;
  for (size_t sent = 0; sent < framed.size();) {
    env::IoStep step = stream->write(std::span<const char>(framed.data() + sent, framed.size() - sent));
    if (step.kind == env::IoStep::Done) {
      sent += step.bytes;
      continue;
    }
    if (step.kind != env::IoStep::WouldBlock || !co_await waitReady(environment, stream, false, deadline, {})) co_return false;
  }
  co_return true;
}

}  // namespace knarr::dns
