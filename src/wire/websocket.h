// WebSocket (RFC 6455), both roles, over the raw stream of an HTTP/1.1 upgrade.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wire/http.h"

namespace knarr::wire {

struct WebSocketMessage {
  enum Opcode : uint8_t { Text = 1, Binary = 2 } opcode = Binary;
  std::string bytes;
};

struct WebSocketOptions {
  // A longer message ends the connection with close code 1009.
  size_t messageBytesMax = 32 << 20;
  // A ping goes out after this long without traffic from the peer; two unanswered end the
  // connection. 0: never.
  env::Duration pingInterval = env::Duration(0);
  // A peer that takes no byte for so long is given up. Duration::max(): never.
  env::Duration writeStallTimeout = std::chrono::seconds(120);
};

class WebSocket {
 public:
  enum class Role : uint8_t { Server, Client };
  // `stream` begins after the handshake.
  WebSocket(env::Env environment, std::unique_ptr<env::Stream> stream, Role role, std::string subprotocol,
            WebSocketOptions options = {});
  WebSocket(const WebSocket&) = delete;
  ~WebSocket();

  // The protocol both sides agreed on, "" for none.
  const std::string& subprotocol() const;
  // The next message, fragments joined; pings are answered on the way. Nothing after an orderly
  // close; BadRequest when the peer broke the protocol, ServiceUnavailable when the connection
  // broke.
  async::Task<Result<std::optional<WebSocketMessage>>> receive();
  // Sends one message in one frame; returns when the kernel has it. One send at a time queues
  // behind another.
  async::Task<Result<void>> send(WebSocketMessage::Opcode opcode, std::string bytes);
  async::Task<Result<void>> ping(std::string payload);
  // Sends a close frame and ends our direction. Codes: 1000 normal, 1001 going away, 1002 protocol,
  // 1009 too big, 1011 error.
  async::Task<Result<void>> close(uint16_t code, std::string reason);
  // The code of the peer's close frame, 0 before, 1005 when it carried none.
  uint16_t closeCode() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// True when the request asks for a WebSocket (GET, Upgrade: websocket).
bool isWebSocketRequest(const Request& request);
// Checks the handshake, picks the first of `subprotocols` (ours, in order of preference) that the
// client offers, and upgrades. A client that offers none gets none when `subprotocols` is empty or
// contains "". BadRequest otherwise; the caller then answers it.
async::Task<Result<std::unique_ptr<WebSocket>>> acceptWebSocket(env::Env environment, std::shared_ptr<ServerExchange> exchange,
                                                                std::vector<std::string> subprotocols,
                                                                WebSocketOptions options = {});
struct WebSocketDialed {
  std::unique_ptr<WebSocket> socket;  // null when the server refused
  UpgradeResponse refusal;            // then: its answer
};
// Opens a WebSocket. `request` gives target and headers (Authorization, ...); the handshake's
// fields are added.
async::Task<Result<WebSocketDialed>> dialWebSocket(env::Env environment, HttpClient* client, ClientRequest request,
                                                   std::vector<std::string> subprotocols, async::StopToken stop = {},
                                                   WebSocketOptions options = {});

}  // namespace knarr::wire
