// Answers that go on, sent over a WebSocket: watches and logs. Browsers cannot read a plain answer while it grows.
// Source: k8s.io/apiserver/pkg/endpoints/handlers/watch.go (HandleWS), k8s.io/apiserver/pkg/util/wsstream/stream.go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "wire/websocket.h"

namespace knarr::apiserver {

class WebSocketFeed {
 public:
  // Takes the handshake over; `subprotocols` as in wire::acceptWebSocket. Errors: a handshake to refuse.
  static async::Task<Result<std::unique_ptr<WebSocketFeed>>> accept(env::Env environment,
                                                                    std::shared_ptr<wire::ServerExchange> exchange,
                                                                    std::vector<std::string> subprotocols);
  WebSocketFeed(const WebSocketFeed&) = delete;
  ~WebSocketFeed();

  const std::string& subprotocol() const { return shared_->socket->subprotocol(); }
  // Stops when the client closes or goes away. What it sends is read and dropped.
  async::StopToken gone() const { return shared_->gone.token(); }
  // False when the client has gone.
  async::Task<bool> send(wire::WebSocketMessage::Opcode opcode, std::string bytes);
  // Closes in order: waits, not for long, until the client has read to the end.
  async::Task<void> finish();

 private:
  struct Shared {
    Shared(env::Env environment, std::unique_ptr<wire::WebSocket> webSocket)
        : env(environment), socket(std::move(webSocket)), ended(environment.executor) {}
    env::Env env;
    std::unique_ptr<wire::WebSocket> socket;
    async::StopSource gone;
    async::Event ended;
  };
  explicit WebSocketFeed(std::shared_ptr<Shared> shared);
  static async::Task<void> readAway(std::shared_ptr<Shared> shared);

  std::shared_ptr<Shared> shared_;
  async::Gate gate_;
};

// The one subprotocol that the client of a watch offers beside its token, which is given back; none when it offers none.
std::vector<std::string> watchSubprotocols(const wire::Request& request);

}  // namespace knarr::apiserver
