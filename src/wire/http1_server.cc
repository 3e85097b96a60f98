// The server's side of one HTTP/1.1 connection: one request at a time. While a handler works and
// the request is read, the connection watches for the client's leaving and keeps what it pipelines.
#include "base/log.h"
#include "base/strings.h"
#include "wire/http1_connection.h"
#include "wire/io.h"

namespace knarr::wire {
namespace http1 {
namespace {

constexpr size_t kReadBytes = 16 << 10;
// Pipelined input kept while a handler works; then reading pauses.
constexpr size_t kReadAheadBytesMax = 64 << 10;
// What a handler left unread of a body is read and dropped up to this; beyond, the connection
// closes. Source: net/http maxPostHandlerReadBytes.
constexpr size_t kDrainBytesMax = 256 << 10;
// Source: net/http rstAvoidanceDelay.
constexpr env::Duration kLingerTime = std::chrono::milliseconds(500);

}  // namespace

// ---- output

void Connection::pump() {
  if (pumping_ || broken_ || !stream_) return;
  while (!output_.empty()) {
    env::IoStep step = stream_->write(output_);
    if (step.kind == env::IoStep::Done) {
      output_.erase(0, step.bytes);
    } else if (step.kind == env::IoStep::WouldBlock) {
      pumping_ = true;
      stream_->whenWritable([weak = weak_from_this()] {
        auto self = weak.lock();
        if (!self) return;
        self->pumping_ = false;
        self->pump();
      });
      return;
    } else {
      broken_ = true;
      output_.clear();
      stopRequests();
    }
  }
  output_ = {};  // an idle connection keeps no buffer
  drained_.notifyAll();
}

async::Task<Result<void>> Connection::flush(std::shared_ptr<Connection> self) {
  self->pump();
  while (!self->output_.empty() && !self->broken_) {
    size_t before = self->output_.size();
    // The stall clock begins anew whenever the client takes something.
    auto timer = std::make_shared<bool>(false);
    env::TimerId id = self->environment().executor.at(self->environment().clock.now() + self->options().writeStallTimeout,
                                                      [weak = std::weak_ptr(self), timer] {
                                                        *timer = true;
                                                        if (auto connection = weak.lock()) connection->drained_.notifyAll();
                                                      });
    co_await self->drained_.wait();
    self->environment().executor.cancelTimer(id);
    if (*timer && !self->output_.empty() && self->output_.size() >= before) {
      self->broken_ = true;
      self->stopRequests();
      co_return fail(Reason::Timeout, "write: the client took no byte in time");
    }
  }
  if (self->broken_) co_return fail(Reason::ServiceUnavailable, "write: the client closed the connection");
  co_return Result<void>();
}

async::Task<Result<void>> Connection::send(std::shared_ptr<Connection> self, Bytes bytes) {
  if (bytes->size() <= kJoinBytesMax) {
    self->enqueue(*bytes);
    co_return co_await flush(self);
  }
  CO_TRY(co_await flush(self));
  // Large bytes go out from where they are.
  auto written = co_await writeAll(self->environment(), self->stream_.get(), *bytes, self->options().writeStallTimeout);
  if (!written) {
    self->broken_ = true;
    self->stopRequests();
  }
  co_return written;
}

std::unique_ptr<env::Stream> Connection::release() {
  stream_->whenReadable(nullptr);
  return makePrefixedStream(environment(), std::exchange(input_, {}), std::move(stream_));
}

// ---- input

Result<void> Connection::feedInput() {
  size_t used = 0;
  while (used < input_.size() && !parser_.complete() && !parser_.hasBodyBytes()) {
    used += TRY(parser_.feed(std::string_view(input_).substr(used, kReadBytes)));
    if (parser_.headComplete() && !inBody_) break;  // the body waits for its handler
  }
  input_.erase(0, used);
  return {};
}

async::Task<Result<void>> Connection::readMore(std::shared_ptr<Connection> self, env::Duration timeout) {
  env::Instant deadline = self->environment().clock.now() + timeout;
  char buffer[kReadBytes];
  while (true) {
    if (!self->stream_ || self->broken_) co_return fail(Reason::ServiceUnavailable, "the client closed the connection");
    env::IoStep step = self->stream_->read(buffer);
    if (step.kind == env::IoStep::Done) {
      self->input_.append(buffer, step.bytes);
      co_return Result<void>();
    }
    if (step.kind != env::IoStep::WouldBlock) {
      self->broken_ = true;
      co_return fail(Reason::ServiceUnavailable, "the client closed the connection");
    }
    if (!co_await waitReady(self->environment(), self->stream_.get(), Direction::Read, deadline))
      co_return fail(Reason::Timeout, "the client sent nothing in time");
  }
}

void Connection::watchForLeaving() {
  if (!stream_ || broken_ || input_.size() >= kReadAheadBytesMax) return;
  stream_->whenReadable([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->onLeaveWatch();
  });
}

void Connection::onLeaveWatch() {
  if (current_.expired() || !stream_) return;
  char buffer[kReadBytes];
  env::IoStep step = stream_->read(buffer);
  if (step.kind == env::IoStep::Done) {
    input_.append(buffer, step.bytes);
  } else if (step.kind != env::IoStep::WouldBlock) {
    // Source: net/http backgroundRead: a client that ends its direction has left.
    closing_ = true;
    return stopRequests();
  }
  watchForLeaving();
}

// False: the connection ended between requests.
async::Task<Result<bool>> Connection::readHead(std::shared_ptr<Connection> self) {
  self->parser_.begin();
  env::Env e = self->environment();
  env::Instant idleDeadline = e.clock.now() + self->options().idleTimeout;
  env::Instant headDeadline{};
  char buffer[kReadBytes];
  while (true) {
    CO_TRY(self->feedInput());
    if (self->parser_.headComplete()) co_return true;
    bool begun = self->parser_.begun();
    if (!begun && self->closing_) co_return false;
    if (begun && headDeadline == env::Instant{}) headDeadline = e.clock.now() + self->options().headerTimeout;
    env::IoStep step = self->stream_->read(buffer);
    if (step.kind == env::IoStep::Done) {
      self->input_.append(buffer, step.bytes);
    } else if (step.kind != env::IoStep::WouldBlock) {
      self->broken_ = true;
      co_return false;
    } else {
      // A drain wakes the wait between requests; a request that has begun is read on.
      async::StopToken stop = begun ? async::StopToken() : self->drain_.token();
      bool ready = co_await waitReady(e, self->stream_.get(), Direction::Read, begun ? headDeadline : idleDeadline, stop);
      if (!ready && begun) co_return fail(Reason::Timeout, "the request header took too long");
      if (!ready) co_return false;
    }
  }
}

// ---- requests

// "http://host/path" of a request sent as to a proxy.
void takeAuthorityFromTarget(Request& request) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!request.target.starts_with(scheme)) continue;
    std::string rest = request.target.substr(scheme.size());
    size_t slash = rest.find_first_of("/?");
    request.authority = rest.substr(0, slash);
    request.target = slash == std::string::npos ? "/" : rest.substr(slash);
    if (request.target.starts_with('?')) request.target.insert(0, "/");
    return;
  }
}

Result<Request> Connection::makeRequest() {
  Http1Head& head = parser_.head();
  Request request;
  auto hosts = head.headers.all("Host");
  if (hosts.size() > 1 || (hosts.empty() && head.minorVersion >= 1))
    return fail(Reason::BadRequest, hosts.empty() ? "missing required Host header" : "too many Host headers");
  if (!hosts.empty()) request.authority = hosts.front();
  request.method = std::move(head.method);
  request.target = std::move(head.target);
  request.headers = std::move(head.headers);
  request.tls = facts_.tls;
  request.peerAddress = facts_.peerAddress;
  request.tlsPeer = facts_.tlsPeer;
  request.contentLength = head.contentLength;
  request.hasBody = head.chunked || head.contentLength.value_or(0) > 0;
  takeAuthorityFromTarget(request);
  return request;
}

async::Task<void> Connection::refuse(std::shared_ptr<Connection> self, Error error) {
  int status = error.reason() == Reason::Timeout ? 408 : error.code();
  std::string text = std::to_string(status) + " " + std::string(statusText(status)) + ": " + error.message();
  self->enqueue("HTTP/1.1 " + std::to_string(status) + " " + std::string(statusText(status)) +
                "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: " +
                std::to_string(text.size()) + "\r\n\r\n" + text);
  (void)co_await flush(self);  // a client that does not listen misses it
  if (!self->broken_) co_await linger(self->environment(), self->stream_.get(), kDrainBytesMax, kLingerTime);
}

async::Task<bool> Connection::dropRestOfBody(std::shared_ptr<Connection> self) {
  size_t dropped = 0;
  while (!self->parser_.complete()) {
    if (!self->feedInput()) co_return false;
    dropped += self->parser_.takeBody().size();
    if (dropped > kDrainBytesMax) co_return false;
    if (self->parser_.complete() || !self->input_.empty()) continue;
    if (!co_await readMore(self, self->options().bodyTimeout)) co_return false;
  }
  co_return true;
}

// True when the connection may serve another request.
async::Task<bool> Connection::serveOne(std::shared_ptr<Connection> self) {
  auto request = self->makeRequest();
  if (!request) {
    co_await refuse(self, request.error());
    co_return false;
  }
  bool expects = request->headers.containsToken("Expect", "100-continue");
  if (!self->parser_.head().keepAlive) self->closing_ = true;
  auto exchange = std::make_shared<Exchange>(self, std::move(*request));
  self->current_ = exchange;
  self->inBody_ = true;
  if (self->parser_.complete()) self->watchForLeaving();
  {
    InFlight counted(*self->core_);
    co_await self->core_->handler(exchange);
  }
  if (!self->stream_) {
    exchange->detach();
    co_return false;  // upgraded
  }
  self->stream_->whenReadable(nullptr);
  if (!exchange->responseStarted()) {
    logError("wire", "{} {}: the handler ended without a response", exchange->request().method, exchange->request().path());
    (void)co_await exchange->respond(500, {{"Content-Type", "text/plain; charset=utf-8"}}, makeBytes("Internal Server Error\n"));
  }
  bool finished = exchange->finished();
  self->current_.reset();
  exchange->detach();
  if (!finished || self->broken_) co_return false;
  if (self->parser_.complete() && self->closing_) co_return false;
  // A client that was never told to continue will not send its body.
  if (expects && !exchange->continueSent() && !self->parser_.complete()) co_return false;
  bool dropped = co_await dropRestOfBody(self);
  self->inBody_ = false;
  if (!dropped && !self->broken_) co_await linger(self->environment(), self->stream_.get(), kDrainBytesMax, kLingerTime);
  co_return dropped && !self->closing_;
}

async::Task<void> Connection::runOn(std::shared_ptr<Connection> self) {
  while (true) {
    auto head = co_await readHead(self);
    if (!head) {
      co_await refuse(self, head.error());
      break;
    }
    if (!*head || !co_await serveOne(self)) break;
  }
  if (self->stream_) self->stream_->shutdownWrite();
}

}  // namespace http1

std::shared_ptr<Http1ServerConnection> Http1ServerConnection::make(std::shared_ptr<ServerCore> core,
                                                                   std::unique_ptr<env::Stream> stream, ConnectionFacts facts) {
  return std::make_shared<http1::Connection>(std::move(core), std::move(stream), std::move(facts));
}

}  // namespace knarr::wire
