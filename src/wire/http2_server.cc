#include "wire/http2_server.h"

#include "base/log.h"
#include "base/strings.h"
#include "wire/http2_session.h"

namespace knarr::wire {
namespace {

// A writer waits while its stream holds more than this unsent.
constexpr size_t kStreamOutputBytesMax = 64 << 10;
// Handlers of one connection, those of streams that the client has reset included, per allowed
// stream. A client that resets and opens streams faster than their handlers end is sent away
// (CVE-2023-44487).
constexpr size_t kHandlersPerStreamMax = 2;
// How long the rest of a request is awaited that nobody reads.
constexpr env::Duration kLingerTime = std::chrono::milliseconds(500);

// The server's end of the wait for a stream: nothing when it may go on, the reason otherwise.
async::Task<Result<void>> waitForOutput(env::Env environment, std::shared_ptr<Http2Session> session,
                                        std::shared_ptr<Http2Stream> stream, size_t bytesMax, env::Duration stallTimeout) {
  while (!stream->closed && stream->outBytes > bytesMax) {
    uint64_t progress = stream->outProgress;
    auto late = std::make_shared<bool>(false);
    env::TimerId timer = environment.executor.at(environment.clock.now() + stallTimeout, [weak = std::weak_ptr(stream), late] {
      *late = true;
      if (auto alive = weak.lock()) alive->changed.notifyAll();
    });
    co_await stream->changed.wait();
    environment.executor.cancelTimer(timer);
    if (*late && stream->outProgress == progress && !stream->closed) {
      session->reset(*stream, NGHTTP2_CANCEL);
      co_return fail(Reason::Timeout, "write: the client took no byte in time");
    }
  }
  if (stream->closed && (stream->outBytes > 0 || stream->closeCode != NGHTTP2_NO_ERROR))
    co_return fail(Reason::ServiceUnavailable, "write: the client closed the stream");
  co_return Result<void>();
}

class Exchange final : public ServerExchange {
 public:
  Exchange(std::shared_ptr<ServerCore> core, std::shared_ptr<Http2Session> session, std::shared_ptr<Http2Stream> stream,
           Request request)
      : core_(std::move(core)), session_(std::move(session)), stream_(std::move(stream)), request_(std::move(request)) {}

  const Request& request() const override { return request_; }
  async::StopToken clientGone() const override { return gone_.token(); }
  bool responseStarted() const override { return status_ != 0; }
  int responseStatus() const override { return status_; }
  uint64_t responseBytes() const override { return responseBytes_; }
  bool finished() const { return finished_; }
  void clientLeft() {
    if (!finished_) gone_.requestStop();
  }

  async::Task<Result<std::optional<std::string>>> readChunk() override {
    if (!continueSent_ && status_ == 0 && request_.hasBody && request_.headers.containsToken("Expect", "100-continue")) {
      continueSent_ = true;
      session_->sendContinue(*stream_);
    }
    env::Env e = core_->environment;
    while (true) {
      if (auto piece = session_->take(*stream_)) co_return std::move(*piece);
      if (stream_->inEnded) co_return std::optional<std::string>();
      if (stream_->closed) co_return fail(Reason::ServiceUnavailable, "the client closed the stream");
      auto late = std::make_shared<bool>(false);
      env::TimerId timer = e.executor.at(e.clock.now() + core_->options.bodyTimeout, [weak = std::weak_ptr(stream_), late] {
        *late = true;
        if (auto alive = weak.lock()) alive->changed.notifyAll();
      });
      co_await stream_->changed.wait();
      e.executor.cancelTimer(timer);
      if (*late && stream_->in.empty() && !stream_->inEnded && !stream_->closed)
        co_return fail(Reason::Timeout, "the client sent nothing in time");
    }
  }

  async::Task<Result<void>> respond(int status, Headers headers, Bytes body) override {
    size_t size = body ? body->size() : 0;
    headers.remove("Content-Length");
    if (statusHasBody(status)) headers.add("content-length", std::to_string(size));
    bool hasBody = size > 0 && statusHasBody(status) && request_.method != "HEAD";
    CO_TRY(begin(status, std::move(headers), hasBody));
    finished_ = true;
    if (!hasBody) co_return Result<void>();
    responseBytes_ = size;
    session_->push(*stream_, std::move(body));
    session_->endOutput(*stream_, {});
    co_return co_await waitForOutput(core_->environment, session_, stream_, 0, core_->options.writeStallTimeout);
  }

  Result<void> startResponse(int status, Headers headers) override {
    bool hasBody = statusHasBody(status) && request_.method != "HEAD";
    TRY(begin(status, std::move(headers), hasBody));
    sendsBody_ = hasBody;
    return {};
  }

  async::Task<Result<void>> write(Bytes bytes) override {
    if (status_ == 0 || finished_) co_return fail(Reason::InternalError, "no HTTP response is open for writing");
    if (stream_->closed) co_return fail(Reason::ServiceUnavailable, "write: the client closed the stream");
    if (!bytes || bytes->empty() || !sendsBody_) co_return Result<void>();
    responseBytes_ += bytes->size();
    session_->push(*stream_, std::move(bytes));
    co_return co_await waitForOutput(core_->environment, session_, stream_, kStreamOutputBytesMax,
                                     core_->options.writeStallTimeout);
  }

  async::Task<Result<void>> finish(Headers trailers) override {
    if (status_ == 0 || finished_) co_return fail(Reason::InternalError, "no HTTP response is open for writing");
    CO_TRY(checkHeaders(trailers));
    finished_ = true;
    if (!sendsBody_) co_return Result<void>();
    session_->endOutput(*stream_, std::move(trailers));
    co_return co_await waitForOutput(core_->environment, session_, stream_, 0, core_->options.writeStallTimeout);
  }

  async::Task<Result<std::unique_ptr<env::Stream>>> upgrade(Headers) override {
    co_return fail(Reason::BadRequest, "a request over HTTP/2 cannot upgrade its connection");
  }

 private:
  Result<void> begin(int status, Headers headers, bool hasBody) {
    if (status_ != 0) return fail(Reason::InternalError, "the HTTP response has already begun");
    TRY(checkHeaders(headers));
    Headers fields;
    fields.add(":status", std::to_string(status));
    for (const Headers::Field& field : headers.fields()) fields.add(field.name, field.value);
    if (!headers.contains("Date")) fields.add("date", httpDate(core_->environment.clock.unixSeconds()));
    if (!core_->options.serverHeader.empty()) fields.add("server", core_->options.serverHeader);
    TRY(session_->respond(*stream_, fields, hasBody));
    status_ = status;
    return {};
  }

  std::shared_ptr<ServerCore> core_;
  std::shared_ptr<Http2Session> session_;
  std::shared_ptr<Http2Stream> stream_;
  Request request_;
  int status_ = 0;
  uint64_t responseBytes_ = 0;
  bool sendsBody_ = true;
  bool finished_ = false;
  bool continueSent_ = false;
  async::StopSource gone_;
};

class Connection final : public Http2ServerConnection, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerCore> core, std::unique_ptr<env::Stream> stream, ConnectionFacts facts, std::string prefix)
      : core_(std::move(core)),
        facts_(std::move(facts)),
        prefix_(std::move(prefix)),
        handlersEnded_(core_->environment.executor) {
    const HttpServerOptions& o = core_->options;
    Http2SessionOptions options;
    options.headerBytesMax = o.headerBytesMax;
    options.headerFieldsMax = o.headerFieldsMax;
    options.streamsMax = o.streamsPerConnectionMax;
    options.idleTimeout = o.idleTimeout;
    options.pingInterval = o.pingInterval;
    options.pingTimeout = o.pingTimeout;
    options.writeStallTimeout = o.writeStallTimeout;
    session_ = std::make_shared<Http2Session>(core_->environment, std::move(stream), options);
  }

  async::Task<void> run() override { return runOn(shared_from_this()); }
  void drain() override {
    if (started_) session_->drain();
    drainAtStart_ = true;
  }
  void stopRequests() override {
    for (auto& [id, weak] : std::map(exchanges_))
      if (auto exchange = weak.lock()) exchange->clientLeft();
  }

 private:
  static async::Task<void> runOn(std::shared_ptr<Connection> self) {
    self->session_->onRequest = [weak = std::weak_ptr(self)](std::shared_ptr<Http2Stream> stream) {
      if (auto connection = weak.lock()) connection->onRequest(std::move(stream));
    };
    self->started_ = true;
    self->session_->start(std::exchange(self->prefix_, {}));
    if (self->drainAtStart_) self->session_->drain();
    co_await self->session_->endedEvent().wait();
    logDebug("wire", "HTTP/2 connection of {} ended: {}", self->facts_.peerAddress, self->session_->endReason());
    while (!self->exchanges_.empty()) co_await self->handlersEnded_.wait();
  }

  Request makeRequest(Http2Stream& stream) const {
    Request request;
    request.method = std::move(stream.method);
    request.target = std::move(stream.target);
    request.headers = std::move(stream.headers);
    request.authority = stream.authority.empty() ? std::string(request.headers.get("Host")) : std::move(stream.authority);
    request.version = HttpVersion::Http2;
    request.tls = facts_.tls;
    request.peerAddress = facts_.peerAddress;
    request.tlsPeer = facts_.tlsPeer;
    request.contentLength = parseUint(request.headers.get("Content-Length"));
    request.hasBody = !stream.inEnded;
    return request;
  }

  void onRequest(std::shared_ptr<Http2Stream> stream) {
    if (!core_->gate) return;
    if (exchanges_.size() >= kHandlersPerStreamMax * core_->options.streamsPerConnectionMax)
      return session_->terminate(NGHTTP2_ENHANCE_YOUR_CALM);
    // Counted from now on: many requests may come before the first handler starts.
    exchanges_[stream->id] = {};
    core_->gate->spawn(serve(shared_from_this(), std::move(stream)));
  }

  // Takes an exchange off the list, also when its frame is destroyed.
  struct Listed {
    std::shared_ptr<Connection> connection;
    int32_t id;
    ~Listed() {
      connection->exchanges_.erase(id);
      if (connection->exchanges_.empty()) connection->handlersEnded_.notifyAll();
    }
  };

  static async::Task<void> serve(std::shared_ptr<Connection> self, std::shared_ptr<Http2Stream> stream) {
    auto exchange = std::make_shared<Exchange>(self->core_, self->session_, stream, self->makeRequest(*stream));
    self->exchanges_[stream->id] = exchange;
    Listed listed{self, stream->id};
    stream->onClosed = [weak = std::weak_ptr(exchange), raw = stream.get()] {
      auto alive = weak.lock();
      if (alive && raw->closeCode != NGHTTP2_NO_ERROR) alive->clientLeft();
    };
    if (stream->closed) exchange->clientLeft();
    if (stream->headTooLarge) {
      (void)co_await exchange->respond(431, {{"Content-Type", "text/plain; charset=utf-8"}},
                                       makeBytes("431 Request Header Fields Too Large\n"));
    } else {
      InFlight counted(*self->core_);
      co_await self->core_->handler(exchange);
    }
    if (!exchange->responseStarted() && !stream->closed) {
      logError("wire", "{} {}: the handler ended without a response", exchange->request().method, exchange->request().path());
      (void)co_await exchange->respond(500, {{"Content-Type", "text/plain; charset=utf-8"}},
                                       makeBytes("Internal Server Error\n"));
    }
    if (!exchange->finished()) {
      // What was written goes out first; only then the client learns that it is not all.
      if (exchange->responseStarted())
        (void)co_await waitForOutput(self->core_->environment, self->session_, stream, 0, self->core_->options.writeStallTimeout);
      self->session_->flushNow();
      self->session_->reset(*stream, NGHTTP2_INTERNAL_ERROR);
    }
    self->session_->dropInput(*stream);
    co_await linger(self, stream);
  }

  // The answer is complete without the rest of the request. Clients may stop sending then (RFC
  // 9113, 8.1), but several take a reset that comes with the answer for a failure: those who are
  // nearly done get the time to end.
  static async::Task<void> linger(std::shared_ptr<Connection> self, std::shared_ptr<Http2Stream> stream) {
    env::Env e = self->core_->environment;
    auto late = std::make_shared<bool>(false);
    env::TimerId timer = e.executor.at(e.clock.now() + kLingerTime, [weak = std::weak_ptr(stream), late] {
      *late = true;
      if (auto alive = weak.lock()) alive->changed.notifyAll();
    });
    while (!stream->inEnded && !stream->closed && !*late) co_await stream->changed.wait();
    e.executor.cancelTimer(timer);
    if (!stream->inEnded) self->session_->reset(*stream, NGHTTP2_NO_ERROR);
  }

  std::shared_ptr<ServerCore> core_;
  ConnectionFacts facts_;
  std::string prefix_;
  std::shared_ptr<Http2Session> session_;
  std::map<int32_t, std::weak_ptr<Exchange>> exchanges_;
  async::Event handlersEnded_;
  bool started_ = false;
  bool drainAtStart_ = false;
};

}  // namespace

std::shared_ptr<Http2ServerConnection> Http2ServerConnection::make(std::shared_ptr<ServerCore> core,
                                                                   std::unique_ptr<env::Stream> stream, ConnectionFacts facts,
                                                                   std::string prefix) {
  return std::make_shared<Connection>(std::move(core), std::move(stream), std::move(facts), std::move(prefix));
}

}  // namespace knarr::wire
