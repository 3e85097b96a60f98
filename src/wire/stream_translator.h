// WebSocket streams of current clients, translated to the SPDY/3.1 that container runtimes speak.
//
//   v5.channel.k8s.io             exec and attach: a channel byte before each message; 255 and a channel: that one ends
//   SPDY/3.1+portforward.k8s.io   port-forward: the bytes of a SPDY connection inside binary messages
//
// Older WebSocket protocols and SPDY itself are what runtimes know; they are handed on (splice.h).
// Source: k8s.io/apiserver/pkg/util/proxy/streamtranslator.go, websocket.go, streamtunnel.go;
// k8s.io/client-go/tools/remotecommand/v4.go.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "wire/http.h"

namespace knarr::wire {

// True for a WebSocket that offers v5.channel.k8s.io.
bool wantsStreamTranslation(const Request& request);
// True for a WebSocket that offers SPDY/3.1+NAME.k8s.io.
bool wantsTunnel(const Request& request);

// The streams that a client asked for. A terminal has no standardError of its own.
struct TranslatedStreams {
  bool standardInput = false, standardOutput = false, standardError = false, tty = false;
};
// A metav1.Status of a failure as JSON.
using StatusWriter = std::function<std::string(const Error& error)>;

// Accepts the WebSocket, opens `target` at `server` by SPDY with v4.channel.k8s.io, and carries the channels over until
// the command has ended and the client has closed, or the client went away. What goes wrong after the WebSocket was
// accepted is told to the client on its error channel. Errors: the handshake is not one.
// `server` stays until the task has ended.
async::Task<Result<void>> translateStreams(env::Env environment, std::shared_ptr<ServerExchange> exchange, HttpClient* server,
                                           std::string target, TranslatedStreams streams, StatusWriter statusJson);

// Opens `target` at `server` by SPDY with the protocol that the tunnel is for, accepts the WebSocket and copies bytes both
// ways until either end closes. A refusal is answered to the client as it came.
async::Task<Result<void>> tunnelStreams(env::Env environment, std::shared_ptr<ServerExchange> exchange, HttpClient* server,
                                        std::string target);

}  // namespace knarr::wire
