// Requests over the pool: HTTP/2 streams and HTTP/1.1 exchanges behind one response, with retries
// where nothing can have been processed.
#include "base/strings.h"
#include "wire/client_pool.h"
#include "wire/io.h"

namespace knarr::wire {
namespace {

// A refusal of an upgrade is an error text.
constexpr size_t kRefusalBytesMax = 64 << 10;

Error stopped() { return Error(Reason::Timeout, "the request was stopped"); }

// Source: RFC 9110, 9.2.2: methods whose repetition does no harm.
bool isIdempotent(std::string_view method) {
  for (std::string_view one : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
    if (one == method) return true;
  return false;
}

// What became of one attempt.
struct Attempt {
  Result<std::unique_ptr<ClientResponse>> response;
  bool maySendAgain = false;
};

class Http1Response final : public ClientResponse {
 public:
  Http1Response(std::shared_ptr<ClientPool> pool, std::shared_ptr<Http1ClientConnection> connection, Http1Head head,
                async::StopToken stop)
      : pool_(std::move(pool)), connection_(std::move(connection)), head_(std::move(head)), stop_(std::move(stop)) {}
  int status() const override { return head_.status; }
  const Headers& headers() const override { return head_.headers; }
  HttpVersion version() const override { return HttpVersion::Http1; }
  const Headers& trailers() const override { return trailers_; }
  async::Task<Result<std::optional<std::string>>> readChunk() override {
    if (!connection_) {
      if (ended_) co_return std::optional<std::string>();
      co_return fail(Reason::ServiceUnavailable, "the response was cut");
    }
    auto chunk = co_await Http1ClientConnection::readChunk(connection_, stop_);
    if (chunk && *chunk) co_return chunk;
    if (chunk) {
      ended_ = true;
      trailers_ = connection_->trailers();
      pool_->giveBack(connection_);
    }
    connection_.reset();
    co_return chunk;
  }

 private:
  std::shared_ptr<ClientPool> pool_;
  std::shared_ptr<Http1ClientConnection> connection_;  // null once the body ended
  Http1Head head_;
  Headers trailers_;
  async::StopToken stop_;
  bool ended_ = false;
};

// Cancels the stream when the request's frame or its response goes before the stream has ended.
class StreamHold {
 public:
  StreamHold(std::shared_ptr<Http2Session> session, std::shared_ptr<Http2Stream> stream, async::StopToken stop)
      : session_(std::move(session)), stream_(std::move(stream)), stop_(stop) {
    registration_ = stop.onStop([session = session_, stream = stream_] {
      session->reset(*stream, NGHTTP2_CANCEL);
      stream->changed.notifyAll();
    });
  }
  StreamHold(StreamHold&&) = default;
  ~StreamHold() {
    if (!stream_) return;
    session_->dropInput(*stream_);
    if (!stream_->closed) session_->reset(*stream_, NGHTTP2_CANCEL);
  }
  Http2Session& session() { return *session_; }
  Http2Stream& stream() { return *stream_; }
  const Http2Stream& stream() const { return *stream_; }
  bool stopRequested() const { return stop_.stopRequested(); }
  Error failure() const {
    if (stopRequested()) return stopped();
    if (session_->ended()) return Error(Reason::ServiceUnavailable, "the HTTP/2 connection ended: " + session_->endReason());
    return Error(Reason::ServiceUnavailable,
                 std::string("the server reset the stream: ") + nghttp2_http2_strerror(stream_->closeCode));
  }

 private:
  std::shared_ptr<Http2Session> session_;
  std::shared_ptr<Http2Stream> stream_;
  async::StopToken stop_;
  async::StopToken::Registration registration_;
};

class Http2Response final : public ClientResponse {
 public:
  explicit Http2Response(StreamHold hold) : hold_(std::move(hold)) {}
  int status() const override { return hold_.stream().status; }
  const Headers& headers() const override { return hold_.stream().headers; }
  HttpVersion version() const override { return HttpVersion::Http2; }
  const Headers& trailers() const override { return hold_.stream().trailers; }
  async::Task<Result<std::optional<std::string>>> readChunk() override {
    while (true) {
      if (hold_.stopRequested()) co_return std::unexpected(stopped());
      if (auto piece = hold_.session().take(hold_.stream())) co_return std::move(*piece);
      if (hold_.stream().inEnded) co_return std::optional<std::string>();
      if (hold_.stream().closed) co_return std::unexpected(hold_.failure());
      co_await hold_.stream().changed.wait();
    }
  }

 private:
  StreamHold hold_;
};

async::Task<void> pumpBody(std::shared_ptr<Http2Session> session, std::shared_ptr<Http2Stream> stream,
                           decltype(ClientRequest::bodyStream) source) {
  constexpr size_t kQueuedBytesMax = 64 << 10;
  while (!stream->closed) {
    auto piece = co_await source();
    if (!piece) {
      session->reset(*stream, NGHTTP2_CANCEL);
      co_return;
    }
    if (!*piece) {
      session->endOutput(*stream, {});
      co_return;
    }
    session->push(*stream, makeBytes(std::move(**piece)));
    while (!stream->closed && stream->outBytes > kQueuedBytesMax) co_await stream->changed.wait();
  }
}

async::Task<Attempt> sendHttp2(std::shared_ptr<ClientPool> pool, std::shared_ptr<Http2Session> session,
                               std::shared_ptr<ClientRequest> request, async::StopToken stop) {
  Headers fields;
  auto host = request->headers.find("Host");
  fields.add(":method", request->method);
  fields.add(":scheme", pool->options().tls ? "https" : "http");
  fields.add(":authority", host ? std::string(*host) : pool->authority());
  fields.add(":path", request->target);
  for (const Headers::Field& field : request->headers.fields())
    if (!equalsIgnoreCase(field.name, "Host")) fields.add(field.name, field.value);
  bool hasBytes = request->body && !request->body->empty();
  if (request->body && !request->bodyStream && !request->headers.contains("Content-Length"))
    fields.add("content-length", std::to_string(request->body->size()));
  auto stream = session->request(fields, hasBytes || request->bodyStream);
  if (!stream) co_return Attempt{std::unexpected(stream.error()), true};
  StreamHold hold(session, *stream, stop);
  if (request->bodyStream) {
    if (pool->gate()) pool->gate()->spawn(pumpBody(session, *stream, request->bodyStream));
  } else if (hasBytes) {
    session->push(**stream, request->body);
    session->endOutput(**stream, {});
  }
  while (!(*stream)->headComplete && !(*stream)->closed && !stop.stopRequested()) co_await (*stream)->changed.wait();
  if (stop.stopRequested()) co_return Attempt{std::unexpected(stopped()), false};
  if ((*stream)->headTooLarge) co_return Attempt{fail(Reason::ServiceUnavailable, "the response header is too large"), false};
  if (!(*stream)->headComplete) {
    bool refused = (*stream)->closeCode == NGHTTP2_REFUSED_STREAM;
    bool again = refused || (session->ended() && isIdempotent(request->method));
    co_return Attempt{std::unexpected(hold.failure()), again && !request->bodyStream};
  }
  co_return Attempt{std::make_unique<Http2Response>(std::move(hold)), false};
}

std::string http1Head(const ClientPool& pool, const ClientRequest& request, bool upgrade) {
  std::string head = request.method + " " + request.target + " HTTP/1.1\r\n";
  if (!request.headers.contains("Host")) head += "Host: " + pool.authority() + "\r\n";
  for (const Headers::Field& field : request.headers.fields()) {
    bool ours = isConnectionField(field.name) && !(upgrade && equalsIgnoreCase(field.name, "Upgrade"));
    if (!ours) head += field.name + ": " + field.value + "\r\n";
  }
  if (upgrade) head += "Connection: Upgrade\r\n";
  if (request.bodyStream) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (request.body && !request.headers.contains("Content-Length")) {
    head += "Content-Length: " + std::to_string(request.body->size()) + "\r\n";
  } else if (!request.body && (request.method == "POST" || request.method == "PUT" || request.method == "PATCH")) {
    head += "Content-Length: 0\r\n";
  }
  return head + "\r\n";
}

async::Task<Attempt> sendHttp1(std::shared_ptr<ClientPool> pool, std::shared_ptr<Http1ClientConnection> connection,
                               std::shared_ptr<ClientRequest> request, async::StopToken stop) {
  auto sent = co_await Http1ClientConnection::sendRequest(connection, http1Head(*pool, *request, false), request->body,
                                                          request->bodyStream, stop);
  if (!sent && sent.error().reason() != Reason::ServiceUnavailable) co_return Attempt{std::unexpected(sent.error()), false};
  // A server may answer and close before it took the whole request: its answer counts.
  auto head = co_await Http1ClientConnection::readHead(connection, request->method == "HEAD", stop);
  if (!head) {
    bool stale = connection->reused && !connection->answered() && head.error().reason() != Reason::Timeout;
    bool again = stale && isIdempotent(request->method) && !request->bodyStream;
    co_return Attempt{std::unexpected(sent ? head.error() : sent.error()), again};
  }
  connection->requestCut = !sent;
  auto response = std::make_unique<Http1Response>(pool, connection, std::move(*head), stop);
  co_return Attempt{std::move(response), false};
}

Result<void> checkRequest(const ClientRequest& request) {
  bool targetFits = request.target.starts_with('/') || request.target == "*";
  if (!targetFits || request.target.find_first_of(std::string_view(" \r\n\0", 4)) != std::string::npos)
    return fail(Reason::BadRequest, "request target " + quote(request.target) + " is not a path");
  if (!isHeaderName(request.method)) return fail(Reason::BadRequest, "request method " + quote(request.method));
  return checkHeaders(request.headers);
}

}  // namespace

class HttpClient::Impl {
 public:
  static async::Task<Result<std::unique_ptr<ClientResponse>>> send(std::shared_ptr<ClientPool> pool,
                                                                   std::shared_ptr<ClientRequest> request,
                                                                   async::StopToken stop) {
    CO_TRY(checkRequest(*request));
    for (int attempt = 0;; ++attempt) {
      Lease lease = CO_TRY(co_await ClientPool::acquire(pool, attempt > 0, stop));
      Attempt result = lease.http2 ? co_await sendHttp2(pool, lease.http2, request, stop)
                                   : co_await sendHttp1(pool, lease.http1, request, stop);
      if (result.response || !result.maySendAgain || attempt > 0) {
        if (!result.response)
          result.response.error().withContext(request->method + " " + pool->options().address + request->target);
        co_return std::move(result.response);
      }
    }
  }

  static async::Task<Result<UpgradeResponse>> upgrade(std::shared_ptr<ClientPool> pool, std::shared_ptr<ClientRequest> request,
                                                      async::StopToken stop) {
    CO_TRY(checkRequest(*request));
    bool http2 = false;
    auto stream = CO_TRY(co_await ClientPool::dial(pool, true, &http2));
    auto connection =
        std::make_shared<Http1ClientConnection>(pool->environment(), std::move(stream), pool->options().headerBytesMax);
    CO_TRY(co_await Http1ClientConnection::sendRequest(connection, http1Head(*pool, *request, true), request->body, {}, stop));
    Http1Head head = CO_TRY(co_await Http1ClientConnection::readHead(connection, false, stop));
    UpgradeResponse response;
    response.status = head.status;
    response.headers = std::move(head.headers);
    if (head.status == 101) {
      response.stream = connection->release();
      co_return response;
    }
    while (response.body.size() < kRefusalBytesMax) {
      auto chunk = co_await Http1ClientConnection::readChunk(connection, stop);
      if (!chunk || !*chunk) break;  // what is there of the refusal is enough
      response.body += **chunk;
    }
    response.body.resize(std::min(response.body.size(), kRefusalBytesMax));
    co_return response;
  }

  std::shared_ptr<ClientPool> pool;
};

HttpClient::HttpClient(env::Env environment, HttpClientOptions options) : impl_(std::make_shared<Impl>()) {
  impl_->pool = std::make_shared<ClientPool>(environment, std::move(options));
}
HttpClient::~HttpClient() { impl_->pool->shutDown(); }

async::Task<Result<std::unique_ptr<ClientResponse>>> HttpClient::send(ClientRequest request, async::StopToken stop) {
  return Impl::send(impl_->pool, std::make_shared<ClientRequest>(std::move(request)), std::move(stop));
}
async::Task<Result<UpgradeResponse>> HttpClient::upgrade(ClientRequest request, async::StopToken stop) {
  return Impl::upgrade(impl_->pool, std::make_shared<ClientRequest>(std::move(request)), std::move(stop));
}
void HttpClient::closeIdle() { impl_->pool->closeIdle(); }
const HttpClientOptions& HttpClient::options() const { return impl_->pool->options(); }

}  // namespace knarr::wire
