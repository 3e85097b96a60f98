#include "wire/io.h"

#include <cstring>

namespace knarr::wire {
namespace {

struct Wait {
  explicit Wait(env::Executor& executor) : woken(executor) {}
  async::Event woken;
  bool ready = false;
};

struct TimerGuard {
  env::Executor& executor;
  env::TimerId timer;
  ~TimerGuard() { executor.cancelTimer(timer); }
};

class PrefixedStream final : public env::Stream {
 public:
  PrefixedStream(env::Env environment, std::string prefix, std::unique_ptr<env::Stream> stream)
      : environment_(environment), prefix_(std::move(prefix)), stream_(std::move(stream)) {}
  env::IoStep read(std::span<char> into) override {
    if (prefix_.empty()) return stream_->read(into);
    size_t count = prefix_.copy(into.data(), into.size());
    prefix_.erase(0, count);
    if (prefix_.empty()) prefix_.shrink_to_fit();
    return {env::IoStep::Done, count};
  }
  env::IoStep write(std::span<const char> from) override { return stream_->write(from); }
  void whenReadable(env::Callback ready) override {
    *waiting_ = nullptr;
    if (prefix_.empty() || !ready) return stream_->whenReadable(std::move(ready));
    *waiting_ = std::move(ready);
    environment_.executor.post([weak = std::weak_ptr(waiting_)] {
      auto waiting = weak.lock();
      if (!waiting) return;
      if (env::Callback run = std::exchange(*waiting, nullptr)) run();
    });
  }
  void whenWritable(env::Callback ready) override { stream_->whenWritable(std::move(ready)); }
  void shutdownWrite() override { stream_->shutdownWrite(); }
  std::string peerAddress() const override { return stream_->peerAddress(); }
  std::string localAddress() const override { return stream_->localAddress(); }

 private:
  env::Env environment_;
  std::string prefix_;
  std::unique_ptr<env::Stream> stream_;
  std::shared_ptr<env::Callback> waiting_ = std::make_shared<env::Callback>();
};

}  // namespace

async::Task<bool> waitReady(env::Env environment, env::Stream* stream, Direction direction, env::Instant deadline,
                            async::StopToken stop) {
  // Shared with the stream, which may call after this frame is gone.
  auto wait = std::make_shared<Wait>(environment.executor);
  env::Callback ready = [wait] {
    wait->ready = true;
    wait->woken.set();
  };
  if (direction == Direction::Read) {
    stream->whenReadable(std::move(ready));
  } else {
    stream->whenWritable(std::move(ready));
  }
  TimerGuard timer{environment.executor, 0};
  if (deadline != kNever) timer.timer = environment.executor.at(deadline, [wait] { wait->woken.set(); });
  async::StopToken::Registration registration = stop.onStop([wait] { wait->woken.set(); });
  co_await wait->woken.wait();
  co_return wait->ready;
}

Unexpected failStream(std::string_view what, const env::IoStep& step) {
  std::string why = step.kind == env::IoStep::Eof ? "the peer closed the connection" : std::strerror(step.errorNumber);
  return fail(Reason::ServiceUnavailable, std::string(what) + ": " + why);
}

async::Task<Result<void>> writeAll(env::Env environment, env::Stream* stream, std::string_view bytes, env::Duration stallTimeout,
                                   async::StopToken stop) {
  while (!bytes.empty()) {
    env::IoStep step = stream->write(std::span(bytes.data(), bytes.size()));
    if (step.kind == env::IoStep::Done) {
      bytes.remove_prefix(step.bytes);
    } else if (step.kind == env::IoStep::WouldBlock) {
      env::Instant deadline = stallTimeout == env::Duration::max() ? kNever : environment.clock.now() + stallTimeout;
      if (!co_await waitReady(environment, stream, Direction::Write, deadline, stop))
        co_return fail(Reason::Timeout, "write: the peer took no byte in time");
    } else {
      co_return failStream("write", step);
    }
  }
  co_return Result<void>();
}

async::Task<void> linger(env::Env environment, env::Stream* stream, size_t bytesMax, env::Duration time) {
  stream->shutdownWrite();
  env::Instant deadline = environment.clock.now() + time;
  char buffer[16 << 10];
  for (size_t dropped = 0; dropped < bytesMax;) {
    env::IoStep step = stream->read(buffer);
    if (step.kind == env::IoStep::Done) {
      dropped += step.bytes;
    } else if (step.kind != env::IoStep::WouldBlock || !co_await waitReady(environment, stream, Direction::Read, deadline)) {
      co_return;
    }
  }
}

std::unique_ptr<env::Stream> makePrefixedStream(env::Env environment, std::string prefix, std::unique_ptr<env::Stream> stream) {
  if (prefix.empty()) return stream;
  return std::make_unique<PrefixedStream>(environment, std::move(prefix), std::move(stream));
}

}  // namespace knarr::wire
