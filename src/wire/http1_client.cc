#include "wire/http1_client.h"

#include "base/strings.h"
#include "wire/io.h"

namespace knarr::wire {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kHeaderFieldsMax = 1000;
constexpr size_t kJoinBytesMax = 16 << 10;
// A server that takes no byte of a request for so long is given up.
constexpr env::Duration kWriteStallTimeout = std::chrono::seconds(120);

}  // namespace

Http1ClientConnection::Http1ClientConnection(env::Env environment, std::unique_ptr<env::Stream> stream, size_t headerBytesMax)
    : environment_(environment),
      stream_(std::move(stream)),
      parser_(Http1Parser::Kind::Response, headerBytesMax, kHeaderFieldsMax) {}

async::Task<Result<void>> Http1ClientConnection::sendRequest(std::shared_ptr<Http1ClientConnection> self, std::string head,
                                                             Bytes body, decltype(ClientRequest::bodyStream) bodyStream,
                                                             async::StopToken stop) {
  self->answered_ = false;
  self->reusable_ = false;
  bool joined = body && body->size() <= kJoinBytesMax;
  if (joined) head += *body;
  CO_TRY(co_await writeAll(self->environment_, self->stream_.get(), head, kWriteStallTimeout, stop));
  if (body && !joined) co_return co_await writeAll(self->environment_, self->stream_.get(), *body, kWriteStallTimeout, stop);
  while (bodyStream) {
    auto piece = CO_TRY(co_await bodyStream());
    if (piece && piece->empty()) continue;
    std::string framed = "0\r\n\r\n";
    if (piece) {
      char size[24];
      int length = std::snprintf(size, sizeof size, "%zx\r\n", piece->size());
      framed = std::string(size, static_cast<size_t>(length)) + *piece + "\r\n";
    }
    CO_TRY(co_await writeAll(self->environment_, self->stream_.get(), framed, kWriteStallTimeout, stop));
    if (!piece) break;
  }
  co_return Result<void>();
}

// False at the end of the connection.
async::Task<Result<bool>> Http1ClientConnection::readMore(std::shared_ptr<Http1ClientConnection> self, async::StopToken stop) {
  char buffer[kReadBytes];
  while (true) {
    if (stop.stopRequested()) co_return fail(Reason::Timeout, "the request was stopped");
    env::IoStep step = self->stream_->read(buffer);
    if (step.kind == env::IoStep::Done) {
      self->input_.append(buffer, step.bytes);
      self->answered_ = true;
      co_return true;
    }
    if (step.kind == env::IoStep::Eof) co_return false;
    if (step.kind != env::IoStep::WouldBlock) co_return failStream("read the response", step);
    co_await waitReady(self->environment_, self->stream_.get(), Direction::Read, kNever, stop);
  }
}

async::Task<Result<Http1Head>> Http1ClientConnection::readHead(std::shared_ptr<Http1ClientConnection> self, bool skipBody,
                                                               async::StopToken stop) {
  self->parser_.begin(skipBody);
  while (true) {
    size_t used = CO_TRY(self->parser_.feed(std::string_view(self->input_).substr(0, kReadBytes)));
    self->input_.erase(0, used);
    if (self->parser_.headComplete()) {
      Http1Head& head = self->parser_.head();
      if (head.status / 100 == 1 && head.status != 101) {
        self->parser_.begin(skipBody);  // an interim response; the real one follows
        continue;
      }
      self->reusable_ = head.keepAlive && !self->parser_.bodyUntilEof() && head.status != 101;
      co_return std::move(head);
    }
    if (!self->input_.empty()) continue;
    if (!CO_TRY(co_await readMore(self, stop)))
      co_return fail(Reason::ServiceUnavailable, "the server closed the connection before it answered");
  }
}

async::Task<Result<std::optional<std::string>>> Http1ClientConnection::readChunk(std::shared_ptr<Http1ClientConnection> self,
                                                                                 async::StopToken stop) {
  while (true) {
    if (self->parser_.hasBodyBytes()) co_return self->parser_.takeBody();
    if (self->parser_.complete()) co_return std::optional<std::string>();
    if (!self->input_.empty()) {
      size_t used = CO_TRY(self->parser_.feed(std::string_view(self->input_).substr(0, kReadBytes)));
      self->input_.erase(0, used);
      continue;
    }
    if (!CO_TRY(co_await readMore(self, stop))) {
      if (!self->parser_.feedEof())
        co_return fail(Reason::ServiceUnavailable, "the server closed the connection in the middle of its answer");
    }
  }
}

std::unique_ptr<env::Stream> Http1ClientConnection::release() {
  return makePrefixedStream(environment_, std::exchange(input_, {}), std::move(stream_));
}

}  // namespace knarr::wire
