#include "apiserver/web_socket_feed.h"

#include "async/scoped_timer.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

// For a client to answer our close.
constexpr env::Duration kFinishTimeout = std::chrono::seconds(10);
// Quiet watches are usual; a peer that is gone without a word shows by its silence.
constexpr env::Duration kPingInterval = std::chrono::seconds(30);
// Clients send nothing that matters.
constexpr size_t kMessageBytesMax = 64 << 10;
constexpr std::string_view kTokenPrefix = "base64url.bearer.authorization.k8s.io.";

}  // namespace

async::Task<Result<std::unique_ptr<WebSocketFeed>>> WebSocketFeed::accept(env::Env environment,
                                                                          std::shared_ptr<wire::ServerExchange> exchange,
                                                                          std::vector<std::string> subprotocols) {
  wire::WebSocketOptions options;
  options.messageBytesMax = kMessageBytesMax;
  options.pingInterval = kPingInterval;
  auto socket = CO_TRY(co_await wire::acceptWebSocket(environment, std::move(exchange), std::move(subprotocols), options));
  co_return std::unique_ptr<WebSocketFeed>(new WebSocketFeed(std::make_shared<Shared>(environment, std::move(socket))));
}

WebSocketFeed::WebSocketFeed(std::shared_ptr<Shared> shared) : shared_(std::move(shared)), gate_(shared_->env.executor) {
  gate_.spawn(readAway(shared_));
}
WebSocketFeed::~WebSocketFeed() = default;

async::Task<void> WebSocketFeed::readAway(std::shared_ptr<Shared> shared) {
  while (true) {
    auto message = co_await shared->socket->receive();
    if (!message || !*message) break;
  }
  shared->gone.requestStop();
  shared->ended.set();
}

async::Task<bool> WebSocketFeed::send(wire::WebSocketMessage::Opcode opcode, std::string bytes) {
  std::shared_ptr<Shared> shared = shared_;
  auto sent = co_await shared->socket->send(opcode, std::move(bytes));
  co_return sent.has_value();
}

async::Task<void> WebSocketFeed::finish() {
  std::shared_ptr<Shared> shared = shared_;
  async::ScopedTimer timer(shared->env.executor, shared->env.clock.now() + kFinishTimeout,
                           [raw = shared.get()] { raw->ended.set(); });
  if (co_await shared->socket->close(1000, "")) co_await shared->ended.wait();
}

std::vector<std::string> watchSubprotocols(const wire::Request& request) {
  std::vector<std::string> out;
  for (std::string_view value : request.headers.all("Sec-WebSocket-Protocol"))
    for (std::string_view token : split(value, ','))
      if (!trim(token).empty() && !trim(token).starts_with(kTokenPrefix)) out.emplace_back(trim(token));
  if (out.size() != 1) out.clear();
  return out;
}

}  // namespace knarr::apiserver
