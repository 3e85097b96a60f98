#include "wire/spdy.h"

#include "wire/io.h"

namespace knarr::wire {
namespace {

constexpr size_t kReadBytes = 32 << 10;
// Longer messages go out as several DATA frames: the peer holds a whole frame before it passes it on.
constexpr size_t kDataBytesMax = 32 << 10;
// Answers to pings that wait for the connection. More are dropped: a peer that asks faster than it reads gets no answer.
constexpr size_t kPongBytesMax = 16 * 12;

}  // namespace

class SpdyConnection::Impl {
 public:
  Impl(env::Env environment, std::unique_ptr<env::Stream> stream, Role role)
      : environment_(environment),
        stream_(std::move(stream)),
        writable_(environment.executor),
        nextStream_(role == Role::Client ? 1 : 2),
        nextPing_(nextStream_) {}

  static async::Task<Result<void>> sendFrame(std::shared_ptr<Impl> self, SpdyFrame frame);
  static async::Task<Result<std::optional<SpdyFrame>>> receive(std::shared_ptr<Impl> self);
  uint32_t takeStream() { return std::exchange(nextStream_, nextStream_ + 2); }
  uint32_t takePing() { return std::exchange(nextPing_, nextPing_ + 2); }
  void close() {
    closed_.requestStop();
    stream_->shutdownWrite();
  }
  std::optional<env::Instant> lastPong() const { return lastPong_; }

 private:
  void takePong(uint32_t identifier);

  env::Env environment_;
  std::unique_ptr<env::Stream> stream_;
  SpdyEncoder encoder_;
  SpdyDecoder decoder_;
  async::StopSource closed_;
  bool sending_ = false;  // one frame at a time
  bool broken_ = false;   // a frame went out in part
  async::Event writable_;
  std::string pongs_;
  uint32_t nextStream_;
  uint32_t nextPing_;
  std::optional<env::Instant> lastPong_;
};

async::Task<Result<void>> SpdyConnection::Impl::sendFrame(std::shared_ptr<Impl> self, SpdyFrame frame) {
  while (self->sending_) co_await self->writable_.wait();
  if (self->broken_ || self->closed_.stopRequested()) co_return fail(Reason::ServiceUnavailable, "the SPDY connection is closed");
  struct Sending {
    Impl& impl;
    explicit Sending(Impl& i) : impl(i) { impl.sending_ = true; }
    ~Sending() {
      impl.sending_ = false;
      impl.writable_.notifyAll();
    }
  } sending(*self);
  // A task that is destroyed within its frame leaves a connection nobody can use.
  self->broken_ = true;
  std::string bytes = std::exchange(self->pongs_, {}) + self->encoder_.encode(frame);
  frame = {};
  CO_TRY(co_await writeAll(self->environment_, self->stream_.get(), bytes, env::Duration::max(), self->closed_.token()));
  while (!self->pongs_.empty()) {
    bytes = std::exchange(self->pongs_, {});
    CO_TRY(co_await writeAll(self->environment_, self->stream_.get(), bytes, env::Duration::max(), self->closed_.token()));
  }
  self->broken_ = false;
  co_return Result<void>();
}

// The reader must not wait for the writer: a peer that waits for us to read would never take the answer. What the kernel
// does not take now goes out with the next frame.
void SpdyConnection::Impl::takePong(uint32_t identifier) {
  if ((identifier & 1) == (nextPing_ & 1)) {
    lastPong_ = environment_.clock.now();
    return;
  }
  SpdyFrame frame;
  frame.type = SpdyFrameType::Ping;
  frame.value = identifier;
  if (pongs_.size() < kPongBytesMax) pongs_ += encoder_.encode(frame);
  if (sending_ || broken_ || closed_.stopRequested()) return;
  env::IoStep step = stream_->write(pongs_);
  if (step.kind == env::IoStep::Done) pongs_.erase(0, step.bytes);
}

async::Task<Result<std::optional<SpdyFrame>>> SpdyConnection::Impl::receive(std::shared_ptr<Impl> self) {
  async::StopToken closed = self->closed_.token();
  while (true) {
    if (closed.stopRequested()) co_return fail(Reason::ServiceUnavailable, "the SPDY connection is closed");
    auto frame = CO_TRY(self->decoder_.next());
    if (frame) {
      if (frame->type == SpdyFrameType::Ping) {
        self->takePong(frame->value);
        continue;
      }
      if (frame->type == SpdyFrameType::Settings || frame->type == SpdyFrameType::WindowUpdate) continue;
      co_return frame;
    }
    char buffer[kReadBytes];
    env::IoStep step = self->stream_->read(buffer);
    if (step.kind == env::IoStep::Done) {
      self->decoder_.feed(std::string_view(buffer, step.bytes));
    } else if (step.kind == env::IoStep::Eof) {
      co_return std::optional<SpdyFrame>();
    } else if (step.kind == env::IoStep::WouldBlock) {
      co_await waitReady(self->environment_, self->stream_.get(), Direction::Read, kNever, closed);
    } else {
      co_return failStream("SPDY", step);
    }
  }
}

SpdyConnection::SpdyConnection(env::Env environment, std::unique_ptr<env::Stream> stream, Role role)
    : impl_(std::make_shared<Impl>(environment, std::move(stream), role)) {}
SpdyConnection::~SpdyConnection() = default;

async::Task<Result<uint32_t>> SpdyConnection::openStream(Headers headers) {
  std::shared_ptr<Impl> impl = impl_;
  SpdyFrame frame;
  frame.type = SpdyFrameType::SynStream;
  frame.stream = impl->takeStream();
  frame.headers = std::move(headers);
  uint32_t stream = frame.stream;
  CO_TRY(co_await Impl::sendFrame(impl, std::move(frame)));
  co_return stream;
}

async::Task<Result<void>> SpdyConnection::reply(uint32_t stream, Headers headers) {
  SpdyFrame frame;
  frame.type = SpdyFrameType::SynReply;
  frame.stream = stream;
  frame.headers = std::move(headers);
  return Impl::sendFrame(impl_, std::move(frame));
}

async::Task<Result<void>> SpdyConnection::send(uint32_t stream, std::string bytes, bool fin) {
  std::shared_ptr<Impl> impl = impl_;
  size_t from = 0;
  do {
    SpdyFrame frame;
    frame.stream = stream;
    frame.data = bytes.substr(from, kDataBytesMax);
    from += frame.data.size();
    frame.fin = fin && from == bytes.size();
    CO_TRY(co_await Impl::sendFrame(impl, std::move(frame)));
  } while (from < bytes.size());
  co_return Result<void>();
}

async::Task<Result<void>> SpdyConnection::reset(uint32_t stream, uint32_t status) {
  SpdyFrame frame;
  frame.type = SpdyFrameType::RstStream;
  frame.stream = stream;
  frame.value = status;
  return Impl::sendFrame(impl_, std::move(frame));
}

async::Task<Result<void>> SpdyConnection::ping() {
  SpdyFrame frame;
  frame.type = SpdyFrameType::Ping;
  frame.value = impl_->takePing();
  return Impl::sendFrame(impl_, std::move(frame));
}

async::Task<Result<std::optional<SpdyFrame>>> SpdyConnection::receive() { return Impl::receive(impl_); }
void SpdyConnection::close() { impl_->close(); }
std::optional<env::Instant> SpdyConnection::lastPong() const { return impl_->lastPong(); }

}  // namespace knarr::wire
