// Accepts connections, runs TLS handshakes, tells the protocols apart, and shuts down in order.
#include <map>

#include "base/log.h"
#include "wire/http1_server.h"
#include "wire/http2_server.h"
#include "wire/io.h"

namespace knarr::wire {
namespace {

// The client's connection preface (RFC 9113, 3.4).
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// After clientGone fired, handlers get this long before their frames are destroyed.
constexpr env::Duration kHardStopTime = std::chrono::seconds(1);

}  // namespace

class HttpServer::Impl {
 public:
  Impl(env::Env environment, HttpServerOptions options, Handler handler)
      : core(std::make_shared<ServerCore>(environment)), ended(environment.executor) {
    core->options = std::move(options);
    core->handler = std::move(handler);
    core->gate = std::make_unique<async::Gate>(environment.executor);
  }

  static async::Task<void> serveConnection(std::shared_ptr<Impl> self, std::unique_ptr<env::Stream> stream, uint64_t id);
  static async::Task<void> speak(std::shared_ptr<Impl> self, std::unique_ptr<env::Stream> stream, uint64_t id);
  static async::Task<void> shutdown(std::shared_ptr<Impl> self, env::Duration grace);
  static async::Task<bool> waitUntilEmpty(std::shared_ptr<Impl> self, env::Duration time);
  // Reads until the bytes are the HTTP/2 preface or cannot be. Nothing: the client left or was too
  // slow.
  static async::Task<std::optional<std::string>> readAhead(std::shared_ptr<Impl> self, env::Stream* stream);

  void cut() {
    std::unique_ptr<async::Gate> doomed = std::move(core->gate);
    doomed.reset();
    connections.clear();
  }

  std::shared_ptr<ServerCore> core;
  std::vector<std::unique_ptr<env::Listener>> listeners;
  std::map<uint64_t, std::weak_ptr<ServerConnection>> connections;  // an empty one is still in its handshake
  uint64_t lastConnection = 0;
  bool draining = false;
  async::StopSource drain;  // wakes connections that have not said a word yet
  async::Event ended;
};

namespace {

// Takes a connection off its server's list, also when its frame is destroyed.
struct Listed {
  std::map<uint64_t, std::weak_ptr<ServerConnection>>& connections;
  uint64_t id;
  async::Event& ended;
  ~Listed() {
    connections.erase(id);
    if (connections.empty()) ended.notifyAll();
  }
};

}  // namespace

async::Task<std::optional<std::string>> HttpServer::Impl::readAhead(std::shared_ptr<Impl> self, env::Stream* stream) {
  env::Instant deadline = self->core->environment.clock.now() + self->core->options.headerTimeout;
  std::string seen;
  char buffer[1024];
  while (seen.size() < kHttp2Preface.size() && kHttp2Preface.starts_with(seen)) {
    env::IoStep step = stream->read(buffer);
    if (step.kind == env::IoStep::Done) {
      seen.append(buffer, step.bytes);
    } else if (step.kind != env::IoStep::WouldBlock) {
      co_return std::nullopt;
    } else if (!co_await waitReady(self->core->environment, stream, Direction::Read, deadline, self->drain.token())) {
      co_return std::nullopt;
    }
  }
  co_return seen;
}

async::Task<void> HttpServer::Impl::speak(std::shared_ptr<Impl> self, std::unique_ptr<env::Stream> stream, uint64_t id) {
  const HttpServerOptions& options = self->core->options;
  ConnectionFacts facts;
  facts.peerAddress = stream->peerAddress();
  bool http2 = false;
  std::string prefix;
  if (options.tls) {
    auto secured = co_await acceptTls(self->core->environment, options.tls, std::move(stream), options.handshakeTimeout);
    if (!secured) {
      // Scanners and impatient clients are everyday life.
      logDebug("wire", "{}", secured.error().describe());
      co_return;
    }
    facts.tls = true;
    facts.tlsPeer = (*secured)->peer();
    http2 = options.http2 && (*secured)->alpn() == "h2";
    stream = std::move(*secured);
  } else if (options.http2) {
    auto seen = co_await readAhead(self, stream.get());
    if (!seen) co_return;
    http2 = seen->starts_with(kHttp2Preface);
    prefix = std::move(*seen);
  }
  if (http2) {
    auto connection = Http2ServerConnection::make(self->core, std::move(stream), std::move(facts), std::move(prefix));
    self->connections[id] = connection;
    if (self->draining) connection->drain();
    co_await connection->run();
    co_return;
  }
  stream = makePrefixedStream(self->core->environment, std::move(prefix), std::move(stream));
  auto connection = Http1ServerConnection::make(self->core, std::move(stream), std::move(facts));
  self->connections[id] = connection;
  if (self->draining) connection->drain();
  co_await connection->run();
}

async::Task<void> HttpServer::Impl::serveConnection(std::shared_ptr<Impl> self, std::unique_ptr<env::Stream> stream,
                                                    uint64_t id) {
  Listed listed{self->connections, id, self->ended};
  co_await speak(self, std::move(stream), id);
}

async::Task<bool> HttpServer::Impl::waitUntilEmpty(std::shared_ptr<Impl> self, env::Duration time) {
  env::Env e = self->core->environment;
  auto over = std::make_shared<bool>(false);
  env::TimerId timer = e.executor.at(e.clock.now() + time, [weak = std::weak_ptr(self), over] {
    *over = true;
    if (auto impl = weak.lock()) impl->ended.notifyAll();
  });
  while (!self->connections.empty() && !*over) co_await self->ended.wait();
  e.executor.cancelTimer(timer);
  co_return self->connections.empty();
}

async::Task<void> HttpServer::Impl::shutdown(std::shared_ptr<Impl> self, env::Duration grace) {
  self->listeners.clear();
  self->draining = true;
  self->drain.requestStop();
  auto each = [&](auto&& act) {
    for (auto& [id, weak] : std::map(self->connections))
      if (auto connection = weak.lock()) act(*connection);
  };
  each([](ServerConnection& connection) { connection.drain(); });
  if (co_await waitUntilEmpty(self, grace)) co_return;
  each([](ServerConnection& connection) { connection.stopRequests(); });
  (void)co_await waitUntilEmpty(self, kHardStopTime);  // what is left is cut
  self->cut();
}

HttpServer::HttpServer(env::Env environment, HttpServerOptions options, Handler handler)
    : impl_(std::make_shared<Impl>(environment, std::move(options), std::move(handler))) {}

HttpServer::~HttpServer() {
  impl_->listeners.clear();
  impl_->cut();
}

Result<std::string> HttpServer::listen(std::string_view address) {
  auto listener = TRY(
      impl_->core->environment.network.listen(address, [weak = std::weak_ptr(impl_), this](std::unique_ptr<env::Stream> stream) {
        if (weak.lock()) serve(std::move(stream));
      }));
  std::string bound = listener->address();
  impl_->listeners.push_back(std::move(listener));
  return bound;
}

void HttpServer::serve(std::unique_ptr<env::Stream> connection) {
  if (!impl_->core->gate || impl_->draining || impl_->connections.size() >= impl_->core->options.connectionsMax) return;
  uint64_t id = ++impl_->lastConnection;
  impl_->connections[id] = {};
  impl_->core->gate->spawn(Impl::serveConnection(impl_, std::move(connection), id));
}

size_t HttpServer::connections() const { return impl_->connections.size(); }
size_t HttpServer::requestsInFlight() const { return impl_->core->requestsInFlight; }
async::Task<void> HttpServer::shutdown(env::Duration grace) { return Impl::shutdown(impl_, grace); }

}  // namespace knarr::wire
