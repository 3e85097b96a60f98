// HTTP/1.1 and HTTP/2, server and client, over env::Stream, plain or in TLS.
//
// Everything belongs to the Env's loop. Bodies stream with back-pressure both ways; every size,
// count and wait has a bound. The server speaks both protocols on one port: TLS chooses through
// ALPN, plain connections by the HTTP/2 preface. Source: RFC 9110, 9112 (llhttp parses), 9113
// (nghttp2 frames); limits follow k8s.io/apiserver and Go's net/http.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/async.h"
#include "base/result.h"
#include "env/env.h"
#include "wire/headers.h"
#include "wire/tls.h"

namespace knarr::wire {

// Bytes shared by several writers without copies.
using Bytes = std::shared_ptr<const std::string>;
inline Bytes makeBytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

enum class HttpVersion : uint8_t { Http1, Http2 };
inline std::string_view httpVersionName(HttpVersion version) { return version == HttpVersion::Http2 ? "HTTP/2.0" : "HTTP/1.1"; }

// The reason phrase of a status code, "" when it has none registered.
std::string_view statusText(int status);

// ---- server

struct Request {
  std::string method;     // "GET"
  std::string target;     // path and query as sent: "/api/v1/pods?limit=1"
  std::string authority;  // Host or :authority, "" when absent
  Headers headers;
  HttpVersion version = HttpVersion::Http1;
  bool tls = false;
  std::string peerAddress;                 // "10.0.0.7:51234", "unix:..."
  std::shared_ptr<const TlsPeer> tlsPeer;  // null without a client certificate
  std::optional<uint64_t> contentLength;   // as declared
  bool hasBody = false;

  std::string_view path() const;   // target up to '?'
  std::string_view query() const;  // after '?', "" when absent
};

// One request and its response. The server and the handler share it; tasks it returned must end (or
// be destroyed) before the handler's last reference goes. Methods are for one handler at a time;
// reading and writing may overlap. After the client went away or the exchange was cancelled, reads
// and writes fail with Reason::ServiceUnavailable.
class ServerExchange {
 public:
  virtual ~ServerExchange() = default;
  virtual const Request& request() const = 0;

  // Fires when the client goes away (disconnect, RST_STREAM) or the server stops hard. Never after
  // a finished response.
  virtual async::StopToken clientGone() const = 0;

  // The next piece of the body, nothing at its end. BadRequest when the body is malformed, Timeout
  // when the client is too slow. A client that expects 100-continue gets it with the first read.
  virtual async::Task<Result<std::optional<std::string>>> readChunk() = 0;
  // The rest of the body. RequestEntityTooLarge when it exceeds bytesMax (decided from
  // Content-Length when declared).
  async::Task<Result<std::string>> readBody(size_t bytesMax);

  // A whole response. Content-Length and Date are added; Connection and Transfer-Encoding belong to
  // the server. HEAD, 204 and 304 send no body.
  virtual async::Task<Result<void>> respond(int status, Headers headers, Bytes body) = 0;
  async::Task<Result<void>> respond(int status, Headers headers, std::string body) {
    return respond(status, std::move(headers), makeBytes(std::move(body)));
  }

  // A streamed response: headers at once (flushed), then any number of writes, then finish. Each
  // write returns when its bytes are handed to the kernel or to the peer's flow-control window:
  // slow clients slow the writer. A response that is not finished when the handler ends is cut
  // (RST_STREAM, connection closed), so the client sees it as broken. Content-Length in `headers`
  // is kept; without it HTTP/1.1 uses chunks.
  virtual Result<void> startResponse(int status, Headers headers) = 0;
  virtual async::Task<Result<void>> write(Bytes bytes) = 0;
  async::Task<Result<void>> write(std::string bytes) { return write(makeBytes(std::move(bytes))); }
  virtual async::Task<Result<void>> finish(Headers trailers = {}) = 0;

  // Answers 101 with `headers` (Connection: Upgrade is added, Upgrade is the caller's) and hands
  // over the connection: decrypted bytes both ways, beginning after the request. HTTP/1.1 requests
  // with an Upgrade header only; BadRequest otherwise. The exchange is over afterwards.
  virtual async::Task<Result<std::unique_ptr<env::Stream>>> upgrade(Headers headers) = 0;

  // For audit and metrics.
  virtual bool responseStarted() const = 0;
  virtual int responseStatus() const = 0;  // 0 before the response started
  virtual uint64_t responseBytes() const = 0;
};

// Answers one request. A handler that ends without a response gives the client a 500.
using Handler = std::function<async::Task<void>(std::shared_ptr<ServerExchange>)>;

struct HttpServerOptions {
  std::shared_ptr<TlsServerContext> tls;  // null: plain
  bool http2 = true;
  // Beyond this many connections new ones are closed at once.
  size_t connectionsMax = 20'000;
  // Source: k8s.io/apiserver, --http2-max-streams-per-connection (250 by default for the API
  // server).
  uint32_t streamsPerConnectionMax = 250;
  // Names and values of one request's fields, and their number. 431 beyond. Source: Go's
  // http.DefaultMaxHeaderBytes is 1 MiB; 64 KiB holds any bearer token seen in practice.
  size_t headerBytesMax = 64 << 10;
  size_t headerFieldsMax = 256;
  // Source: k8s.io/apiserver secure_serving.go: ReadHeaderTimeout 32 s, IdleTimeout 90 s; handshake
  // 10 s.
  env::Duration handshakeTimeout = std::chrono::seconds(10);
  env::Duration headerTimeout = std::chrono::seconds(32);
  env::Duration idleTimeout = std::chrono::seconds(90);
  // Between two pieces of a request body, and for a peer that takes no byte of a response.
  env::Duration bodyTimeout = std::chrono::seconds(60);
  env::Duration writeStallTimeout = std::chrono::seconds(120);
  // An HTTP/2 connection without traffic is pinged after this long and closed when no answer comes
  // in pingTimeout. Source: golang.org/x/net/http2 ReadIdleTimeout/PingTimeout as k8s.io sets them
  // (30 s, 15 s).
  env::Duration pingInterval = std::chrono::seconds(30);
  env::Duration pingTimeout = std::chrono::seconds(15);
  std::string serverHeader;  // Server field, "" sends none
};

class HttpServer {
 public:
  HttpServer(env::Env environment, HttpServerOptions options, Handler handler);
  HttpServer(const HttpServer&) = delete;
  // Cuts every connection. The handlers' frames are destroyed, so no handler may run this.
  ~HttpServer();

  // Listens on "HOST:PORT" or "unix:PATH" too; may be called several times. Returns the bound
  // address.
  Result<std::string> listen(std::string_view address);
  // Serves one connection that was made elsewhere.
  void serve(std::unique_ptr<env::Stream> connection);
  size_t connections() const;
  // Requests in their handlers.
  size_t requestsInFlight() const;
  // Stops listening, tells clients to go elsewhere (GOAWAY, Connection: close), lets requests end
  // for `grace`, then fires clientGone of the remaining ones, waits up to 1 s for their handlers
  // and cuts.
  async::Task<void> shutdown(env::Duration grace);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// ---- client

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";
  Headers headers;  // Host/:authority comes from the options unless given here
  Bytes body;       // null: none
  // Instead of `body`: called for the next piece until it gives nothing. A failure cuts the
  // request.
  std::function<async::Task<Result<std::optional<std::string>>>()> bodyStream;
};

// A response whose body streams. Destroying it before its end cancels the request.
class ClientResponse {
 public:
  virtual ~ClientResponse() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  virtual HttpVersion version() const = 0;
  // The next piece of the body, nothing at its end. ServiceUnavailable when the connection broke,
  // Timeout on stop.
  virtual async::Task<Result<std::optional<std::string>>> readChunk() = 0;
  // Fields after the body; complete once readChunk gave nothing.
  virtual const Headers& trailers() const = 0;
  // The rest of the body; RequestEntityTooLarge beyond bytesMax.
  async::Task<Result<std::string>> readAll(size_t bytesMax);
};

// The answer to an upgrade request. `stream` is set when status is 101; otherwise `body` holds up
// to 64 KiB of the refusal.
struct UpgradeResponse {
  int status = 0;
  Headers headers;
  std::unique_ptr<env::Stream> stream;
  std::string body;
};

enum class ClientProtocol : uint8_t {
  Automatic,            // ALPN chooses; plain connections speak HTTP/1.1
  Http1,                // never HTTP/2
  Http2PriorKnowledge,  // HTTP/2 without asking, also without TLS
};

struct HttpClientOptions {
  // "HOST:PORT" (a name is resolved through env) or "unix:PATH".
  std::string address;
  std::string authority;                  // Host header; "" takes `address`, or "localhost" for a Unix socket
  std::shared_ptr<TlsClientContext> tls;  // null: plain
  std::string serverName;                 // what the certificate must name; "" takes the host of `address`
  ClientProtocol protocol = ClientProtocol::Automatic;
  // HTTP/1.1 connections at a time, upgraded ones not counted; requests beyond wait. HTTP/2 uses
  // one connection, and a further one when the peer's stream limit is reached.
  size_t connectionsMax = 64;
  env::Duration connectTimeout = std::chrono::seconds(10);  // with the TLS handshake
  env::Duration idleTimeout = std::chrono::seconds(90);
  env::Duration pingInterval = std::chrono::seconds(30);
  env::Duration pingTimeout = std::chrono::seconds(15);
  size_t headerBytesMax = 256 << 10;  // of a response
};

// A pool of connections to one server. A request that met a connection the server had already
// closed is sent again once on a new one when nothing of it can have been processed (refused
// stream, GOAWAY, idle connection gone before the first byte of the answer for GET, HEAD, PUT,
// DELETE, OPTIONS).
class HttpClient {
 public:
  HttpClient(env::Env environment, HttpClientOptions options);
  HttpClient(const HttpClient&) = delete;
  // Cancels what is in flight; responses that live on may fail.
  ~HttpClient();
  // Returns when the response's header is there. `stop` cancels at any time, also while the body is
  // read: Timeout.
  async::Task<Result<std::unique_ptr<ClientResponse>>> send(ClientRequest request, async::StopToken stop = {});
  // Asks for an upgrade on a fresh HTTP/1.1 connection. The caller sets Upgrade; Connection:
  // Upgrade is added.
  async::Task<Result<UpgradeResponse>> upgrade(ClientRequest request, async::StopToken stop = {});
  // Closes idle connections; later requests open new ones (used after certificates changed).
  void closeIdle();
  const HttpClientOptions& options() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace knarr::wire
