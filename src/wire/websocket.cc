#include "wire/websocket.h"

#include "base/strings.h"
#include "wire/io.h"
#include "wire/websocket_frames.h"

namespace knarr::wire {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr int kPingsMissedMax = 2;
// What a peer that broke the protocol may still send while it learns of it.
constexpr size_t kLingerBytesMax = 4 << 20;
constexpr env::Duration kLingerTime = std::chrono::milliseconds(500);

}  // namespace

class WebSocket::Impl {
 public:
  Impl(env::Env environment, std::unique_ptr<env::Stream> stream, Role role, std::string subprotocol, WebSocketOptions options)
      : environment_(environment),
        stream_(std::move(stream)),
        role_(role),
        subprotocol_(std::move(subprotocol)),
        options_(options),
        decoder_(role == Role::Server, options.messageBytesMax),
        writable_(environment.executor),
        lastHeard_(environment.clock.now()) {}

  static async::Task<Result<std::optional<WebSocketMessage>>> receive(std::shared_ptr<Impl> self);
  static async::Task<Result<void>> sendFrame(std::shared_ptr<Impl> self, WebSocketOpcode opcode, std::string payload);
  static async::Task<Result<void>> close(std::shared_ptr<Impl> self, uint16_t code, std::string reason);
  const std::string& subprotocol() const { return subprotocol_; }
  uint16_t closeCode() const { return closeCode_; }

 private:
  static async::Task<Result<bool>> readMore(std::shared_ptr<Impl> self);
  static async::Task<Result<void>> answerClose(std::shared_ptr<Impl> self, std::string payload);

  env::Env environment_;
  std::unique_ptr<env::Stream> stream_;
  const Role role_;
  const std::string subprotocol_;
  const WebSocketOptions options_;
  WebSocketDecoder decoder_;
  bool sending_ = false;  // one frame at a time
  bool closeSent_ = false;
  bool peerClosed_ = false;
  uint16_t closeCode_ = 0;
  async::Event writable_;
  env::Instant lastHeard_;
  int pingsMissed_ = 0;
};

async::Task<Result<void>> WebSocket::Impl::sendFrame(std::shared_ptr<Impl> self, WebSocketOpcode opcode, std::string payload) {
  while (self->sending_) co_await self->writable_.wait();
  if (self->closeSent_) co_return fail(Reason::ServiceUnavailable, "the WebSocket is closed");
  if (opcode == WebSocketOpcode::Close) self->closeSent_ = true;
  std::optional<uint32_t> mask;
  if (self->role_ == Role::Client) {
    uint8_t bytes[4];
    self->environment_.random.fill(bytes);  // unpredictable to who chose the payload (RFC 6455, 10.3)
    mask = uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
  }
  std::string frame = encodeWebSocketFrame(opcode, payload, true, mask);
  payload = {};
  struct Sending {
    Impl& impl;
    explicit Sending(Impl& i) : impl(i) { impl.sending_ = true; }
    ~Sending() {
      impl.sending_ = false;
      impl.writable_.notifyAll();
    }
  } sending(*self);
  co_return co_await writeAll(self->environment_, self->stream_.get(), frame, self->options_.writeStallTimeout);
}

// False at the end of the stream.
async::Task<Result<bool>> WebSocket::Impl::readMore(std::shared_ptr<Impl> self) {
  char buffer[kReadBytes];
  while (true) {
    env::IoStep step = self->stream_->read(buffer);
    if (step.kind == env::IoStep::Done) {
      self->lastHeard_ = self->environment_.clock.now();
      self->pingsMissed_ = 0;
      self->decoder_.feed(std::string_view(buffer, step.bytes));
      co_return true;
    }
    if (step.kind == env::IoStep::Eof) co_return false;
    if (step.kind != env::IoStep::WouldBlock) co_return failStream("WebSocket", step);
    bool pings = self->options_.pingInterval > env::Duration(0);
    env::Instant deadline = pings ? self->environment_.clock.now() + self->options_.pingInterval : kNever;
    if (co_await waitReady(self->environment_, self->stream_.get(), Direction::Read, deadline)) continue;
    if (++self->pingsMissed_ > kPingsMissedMax) co_return fail(Reason::ServiceUnavailable, "WebSocket: the peer answers no ping");
    CO_TRY(co_await sendFrame(self, WebSocketOpcode::Ping, ""));
  }
}

async::Task<Result<void>> WebSocket::Impl::answerClose(std::shared_ptr<Impl> self, std::string payload) {
  self->peerClosed_ = true;
  self->closeCode_ = 1005;
  if (payload.size() >= 2)
    self->closeCode_ = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]));
  if (!self->closeSent_) (void)co_await sendFrame(self, WebSocketOpcode::Close, payload.substr(0, 2));
  self->stream_->shutdownWrite();
  co_return Result<void>();
}

async::Task<Result<std::optional<WebSocketMessage>>> WebSocket::Impl::receive(std::shared_ptr<Impl> self) {
  while (!self->peerClosed_) {
    auto frame = self->decoder_.next();
    if (!frame) {
      std::string message = frame.error().message;
      (void)co_await close(self, frame.error().closeCode, message);
      self->peerClosed_ = true;
      co_await linger(self->environment_, self->stream_.get(), kLingerBytesMax, kLingerTime);
      co_return fail(Reason::BadRequest, "WebSocket: " + message);
    }
    if (!*frame) {
      auto more = co_await readMore(self);
      if (!more) co_return std::unexpected(std::move(more).error());
      if (!*more) co_return fail(Reason::ServiceUnavailable, "WebSocket: the peer closed the connection without a close frame");
      continue;
    }
    switch ((*frame)->opcode) {
      case WebSocketOpcode::Ping:
        if (!self->closeSent_) CO_TRY(co_await sendFrame(self, WebSocketOpcode::Pong, std::move((*frame)->payload)));
        break;
      case WebSocketOpcode::Pong:
        break;
      case WebSocketOpcode::Close:
        CO_TRY(co_await answerClose(self, std::move((*frame)->payload)));
        break;
      default: {
        WebSocketMessage message;
        message.opcode = (*frame)->opcode == WebSocketOpcode::Text ? WebSocketMessage::Text : WebSocketMessage::Binary;
        message.bytes = std::move((*frame)->payload);
        co_return std::optional(std::move(message));
      }
    }
  }
  co_return std::optional<WebSocketMessage>();
}

async::Task<Result<void>> WebSocket::Impl::close(std::shared_ptr<Impl> self, uint16_t code, std::string reason) {
  if (self->closeSent_) co_return Result<void>();
  std::string payload;
  payload.push_back(static_cast<char>(code >> 8));
  payload.push_back(static_cast<char>(code));
  payload += reason.substr(0, 123);
  co_return co_await sendFrame(self, WebSocketOpcode::Close, std::move(payload));
}

WebSocket::WebSocket(env::Env environment, std::unique_ptr<env::Stream> stream, Role role, std::string subprotocol,
                     WebSocketOptions options)
    : impl_(std::make_shared<Impl>(environment, std::move(stream), role, std::move(subprotocol), options)) {}
WebSocket::~WebSocket() = default;

const std::string& WebSocket::subprotocol() const { return impl_->subprotocol(); }
uint16_t WebSocket::closeCode() const { return impl_->closeCode(); }
async::Task<Result<std::optional<WebSocketMessage>>> WebSocket::receive() { return Impl::receive(impl_); }
async::Task<Result<void>> WebSocket::send(WebSocketMessage::Opcode opcode, std::string bytes) {
  return Impl::sendFrame(impl_, static_cast<WebSocketOpcode>(opcode), std::move(bytes));
}
async::Task<Result<void>> WebSocket::ping(std::string payload) {
  return Impl::sendFrame(impl_, WebSocketOpcode::Ping, payload.substr(0, 125));
}
async::Task<Result<void>> WebSocket::close(uint16_t code, std::string reason) {
  return Impl::close(impl_, code, std::move(reason));
}

// ---- handshake

bool isWebSocketRequest(const Request& request) {
  return request.method == "GET" && request.headers.containsToken("Upgrade", "websocket") &&
         request.headers.containsToken("Connection", "upgrade");
}

namespace {

std::vector<std::string> tokensOf(const Headers& headers, std::string_view name) {
  std::vector<std::string> tokens;
  for (std::string_view value : headers.all(name))
    for (std::string_view token : split(value, ','))
      if (!trim(token).empty()) tokens.emplace_back(trim(token));
  return tokens;
}

Result<std::string> chooseSubprotocol(const Request& request, const std::vector<std::string>& ours) {
  std::vector<std::string> offered = tokensOf(request.headers, "Sec-WebSocket-Protocol");
  for (const std::string& one : ours)
    if (!one.empty() && std::ranges::find(offered, one) != offered.end()) return one;
  bool noneWillDo = ours.empty() || std::ranges::find(ours, "") != ours.end();
  if (noneWillDo && offered.empty()) return std::string();
  return fail(Reason::BadRequest, "unable to upgrade: the client offers the subprotocols [" + join(offered, " ") +
                                      "], the server speaks [" + join(ours, " ") + "]");
}

}  // namespace

async::Task<Result<std::unique_ptr<WebSocket>>> acceptWebSocket(env::Env environment, std::shared_ptr<ServerExchange> exchange,
                                                                std::vector<std::string> subprotocols, WebSocketOptions options) {
  const Request& request = exchange->request();
  if (!isWebSocketRequest(request)) co_return fail(Reason::BadRequest, "the request is not a WebSocket handshake");
  if (request.headers.get("Sec-WebSocket-Version") != "13")
    co_return fail(Reason::BadRequest, "unsupported WebSocket version; this server speaks version 13");
  auto key = base64Decode(request.headers.get("Sec-WebSocket-Key"));
  if (!key || key->size() != 16) co_return fail(Reason::BadRequest, "the field Sec-WebSocket-Key is missing or malformed");
  std::string subprotocol = CO_TRY(chooseSubprotocol(request, subprotocols));
  Headers headers;
  headers.add("Upgrade", "websocket");
  headers.add("Sec-WebSocket-Accept", webSocketAccept(request.headers.get("Sec-WebSocket-Key")));
  if (!subprotocol.empty()) headers.add("Sec-WebSocket-Protocol", subprotocol);
  auto stream = CO_TRY(co_await exchange->upgrade(std::move(headers)));
  co_return std::make_unique<WebSocket>(environment, std::move(stream), WebSocket::Role::Server, subprotocol, options);
}

async::Task<Result<WebSocketDialed>> dialWebSocket(env::Env environment, HttpClient* client, ClientRequest request,
                                                   std::vector<std::string> subprotocols, async::StopToken stop,
                                                   WebSocketOptions options) {
  uint8_t random[16];
  environment.random.fill(random);
  std::string key = base64Encode(std::string_view(reinterpret_cast<const char*>(random), sizeof random));
  request.method = "GET";
  request.headers.set("Upgrade", "websocket");
  request.headers.set("Sec-WebSocket-Version", "13");
  request.headers.set("Sec-WebSocket-Key", key);
  if (!subprotocols.empty()) request.headers.set("Sec-WebSocket-Protocol", join(subprotocols, ", "));
  WebSocketDialed dialed;
  dialed.refusal = CO_TRY(co_await client->upgrade(std::move(request), stop));
  if (!dialed.refusal.stream) co_return dialed;
  if (dialed.refusal.headers.get("Sec-WebSocket-Accept") != webSocketAccept(key))
    co_return fail(Reason::ServiceUnavailable, "WebSocket: the server's answer does not fit the handshake");
  std::string chosen(dialed.refusal.headers.get("Sec-WebSocket-Protocol"));
  if (!chosen.empty() && std::ranges::find(subprotocols, chosen) == subprotocols.end())
    co_return fail(Reason::ServiceUnavailable,
                   "WebSocket: the server chose the subprotocol " + quote(chosen) + ", which was not offered");
  dialed.socket = std::make_unique<WebSocket>(environment, std::move(dialed.refusal.stream), WebSocket::Role::Client,
                                              std::move(chosen), options);
  co_return dialed;
}

}  // namespace knarr::wire
