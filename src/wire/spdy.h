// One SPDY/3.1 connection, either side, over the raw stream of an HTTP/1.1 upgrade. Private to this room.
//
// One task reads: receive() gives what came, one frame or piece at a time, and nothing is read ahead of it. So a slow
// reader slows the peer through the transport; all streams of the connection wait together. There is no window:
// moby/spdystream, which speaks at the other end of every Kubernetes stream, sends no WINDOW_UPDATE and looks at none,
// and whoever waited for one would wait forever after 64 KiB.
#pragma once

#include <memory>

#include "wire/http.h"
#include "wire/spdy_frames.h"

namespace knarr::wire {

class SpdyConnection {
 public:
  enum class Role : uint8_t { Server, Client };
  // `stream` begins after the upgrade.
  SpdyConnection(env::Env environment, std::unique_ptr<env::Stream> stream, Role role);
  SpdyConnection(const SpdyConnection&) = delete;
  ~SpdyConnection();

  // Begins a stream and returns its identifier. spdystream drops DATA of a stream that it has not replied to, so the
  // caller waits for SYN_REPLY before it sends.
  async::Task<Result<uint32_t>> openStream(Headers headers);
  async::Task<Result<void>> reply(uint32_t stream, Headers headers = {});
  // Returns when the kernel has the bytes, however long the peer takes; with `fin` they are the last of the stream.
  async::Task<Result<void>> send(uint32_t stream, std::string bytes, bool fin = false);
  async::Task<Result<void>> reset(uint32_t stream, uint32_t status);
  async::Task<Result<void>> ping();

  // The next SYN_STREAM, SYN_REPLY, HEADERS, DATA, RST_STREAM or GOAWAY; pings are answered on the way. Nothing at the end
  // of the connection; BadRequest when the peer broke the protocol, ServiceUnavailable when the connection broke or
  // close() was called.
  async::Task<Result<std::optional<SpdyFrame>>> receive();
  // Ends our direction and every wait of the other calls.
  void close();
  // When the peer last answered a ping; nothing before.
  std::optional<env::Instant> lastPong() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace knarr::wire
