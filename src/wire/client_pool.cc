#include "wire/client_pool.h"

#include "base/strings.h"

namespace knarr::wire {
namespace {

bool isNumericHost(std::string_view host) {
  return host.starts_with('[') || host.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

// Counts up for as long as it lives, whatever becomes of the frame.
struct ClientPool::Counted {
  explicit Counted(size_t& c) : count(c) { ++count; }
  Counted(const Counted&) = delete;
  ~Counted() { --count; }
  size_t& count;
};

ClientPool::ClientPool(env::Env environment, HttpClientOptions options)
    : environment_(environment),
      options_(std::move(options)),
      changed_(environment.executor),
      gate_(std::make_unique<async::Gate>(environment.executor)) {
  if (!options_.address.starts_with("unix:")) {
    size_t colon = options_.address.rfind(':');
    host_ = options_.address.substr(0, colon);
    if (colon != std::string::npos) port_ = options_.address.substr(colon + 1);
  }
  if (options_.authority.empty()) options_.authority = host_.empty() ? "localhost" : options_.address;
  if (options_.serverName.empty()) {
    options_.serverName = host_;
    if (host_.starts_with('[')) options_.serverName = host_.substr(1, host_.size() - 2);
  }
}

async::Task<Result<std::unique_ptr<env::Stream>>> ClientPool::dial(std::shared_ptr<ClientPool> self, bool http1Only,
                                                                   bool* http2) {
  env::Env e = self->environment_;
  const HttpClientOptions& options = self->options_;
  std::vector<std::string> addresses = {options.address};
  if (!self->host_.empty() && !isNumericHost(self->host_)) {
    async::Promise<Result<std::vector<std::string>>> resolved(e.executor);
    e.network.resolve(self->host_, [resolved](Result<std::vector<std::string>> answer) { resolved.set(std::move(answer)); });
    addresses = CO_TRY(co_await resolved.get());
    for (std::string& address : addresses)
      address = (address.find(':') != std::string::npos ? "[" + address + "]:" : address + ":") + self->port_;
  }
  Result<std::unique_ptr<env::Stream>> stream = fail(Reason::ServiceUnavailable, self->host_ + ": the name has no address");
  for (size_t i = 0; i < addresses.size() && !stream; ++i)
    stream = co_await async::connect(e, addresses[i], options.connectTimeout);
  *http2 = options.protocol == ClientProtocol::Http2PriorKnowledge && !http1Only;
  if (!stream || !options.tls) co_return stream;
  std::vector<std::string> alpn;
  if (http1Only || options.protocol == ClientProtocol::Http1) alpn = {"http/1.1"};
  auto secured =
      CO_TRY(co_await connectTls(e, options.tls, std::move(*stream), options.serverName, options.connectTimeout, alpn));
  *http2 = *http2 || secured->alpn() == "h2";
  co_return std::move(secured);
}

async::Task<void> ClientPool::dialIntoPool(std::shared_ptr<ClientPool> self, std::unique_ptr<Counted> dialing) {
  bool http2 = false;
  auto stream = co_await dial(self, false, &http2);
  dialing.reset();
  if (!stream) {
    ++self->failures_;
    self->lastFailure_ = stream.error();
  } else if (http2) {
    self->speaksHttp1_ = false;
    self->addSession(std::move(*stream));
  } else {
    self->speaksHttp1_ = true;
    auto connection =
        std::make_shared<Http1ClientConnection>(self->environment_, std::move(*stream), self->options_.headerBytesMax);
    ++self->http1Open_;
    connection->slot = std::shared_ptr<void>(nullptr, [weak = std::weak_ptr(self)](void*) {
      auto pool = weak.lock();
      if (!pool) return;
      --pool->http1Open_;
      pool->changed_.notifyAll();
    });
    self->fresh_.push_back(std::move(connection));
  }
  self->changed_.notifyAll();
}

void ClientPool::addSession(std::unique_ptr<env::Stream> stream) {
  Http2SessionOptions o;
  o.server = false;
  o.headerBytesMax = options_.headerBytesMax;
  o.headerFieldsMax = 1000;
  o.idleTimeout = options_.idleTimeout;
  o.pingInterval = options_.pingInterval;
  o.pingTimeout = options_.pingTimeout;
  o.writeStallTimeout = std::chrono::seconds(120);
  auto session = std::make_shared<Http2Session>(environment_, std::move(stream), o);
  session->onRoom = [weak = weak_from_this()] {
    if (auto pool = weak.lock()) pool->changed_.notifyAll();
  };
  session->start("");
  sessions_.push_back(std::move(session));
}

bool ClientPool::mayDial() const {
  bool onlyHttp1 = speaksHttp1_ || options_.protocol == ClientProtocol::Http1 ||
                   (options_.protocol == ClientProtocol::Automatic && !options_.tls);
  if (onlyHttp1) return dialing_ < waiting_ && http1Open_ + dialing_ < options_.connectionsMax;
  return dialing_ == 0 && sessions_.size() < options_.connectionsMax;
}

std::optional<Lease> ClientPool::takeReady(bool fresh) {
  std::erase_if(sessions_, [](const auto& session) { return session->ended(); });
  for (const auto& session : sessions_)
    if (session->accepts()) return Lease{session, nullptr};
  if (!fresh && !idle_.empty()) {
    Lease lease{nullptr, std::move(idle_.back())};
    idle_.pop_back();
    environment_.executor.cancelTimer(lease.http1->idleTimer);
    lease.http1->whenBroken(nullptr);
    return lease;
  }
  if (fresh_.empty()) return std::nullopt;
  Lease lease{nullptr, std::move(fresh_.back())};
  fresh_.pop_back();
  return lease;
}

async::Task<Result<Lease>> ClientPool::acquire(std::shared_ptr<ClientPool> self, bool fresh, async::StopToken stop) {
  Counted waiting(self->waiting_);
  uint64_t failuresBefore = self->failures_;
  async::StopToken::Registration registration = stop.onStop([weak = std::weak_ptr(self)] {
    if (auto pool = weak.lock()) pool->changed_.notifyAll();
  });
  while (true) {
    if (stop.stopRequested()) co_return fail(Reason::Timeout, "the request was stopped");
    if (!self->gate_) co_return fail(Reason::ServiceUnavailable, "the HTTP client is closed");
    if (auto lease = self->takeReady(fresh)) co_return std::move(*lease);
    if (self->failures_ != failuresBefore) co_return std::unexpected(*self->lastFailure_);
    if (self->mayDial()) {
      self->gate_->spawn(dialIntoPool(self, std::make_unique<Counted>(self->dialing_)));
    } else if (fresh && !self->idle_.empty()) {
      self->closeIdle();  // idle connections hold the places that a fresh one needs
    } else {
      co_await self->changed_.wait();
    }
  }
}

void ClientPool::giveBack(std::shared_ptr<Http1ClientConnection> connection) {
  if (!gate_ || !connection->reusable()) return;
  connection->reused = true;
  const Http1ClientConnection* raw = connection.get();
  connection->whenBroken([weak = weak_from_this(), raw] {
    if (auto pool = weak.lock()) pool->dropIdle(raw);
  });
  connection->idleTimer =
      environment_.executor.at(environment_.clock.now() + options_.idleTimeout, [weak = weak_from_this(), raw] {
        if (auto pool = weak.lock()) pool->dropIdle(raw);
      });
  idle_.push_back(std::move(connection));
  changed_.notifyAll();
}

void ClientPool::dropIdle(const Http1ClientConnection* connection) {
  auto found = std::ranges::find(idle_, connection, [](const auto& one) { return one.get(); });
  if (found == idle_.end()) return;
  auto doomed = std::move(*found);
  idle_.erase(found);
  environment_.executor.cancelTimer(doomed->idleTimer);
}

void ClientPool::closeIdle() {
  while (!idle_.empty()) dropIdle(idle_.back().get());
  fresh_.clear();
  for (const auto& session : std::vector(sessions_)) session->drain();
}

void ClientPool::shutDown() {
  auto doomed = std::move(gate_);
  doomed.reset();
  closeIdle();
  for (const auto& session : std::vector(sessions_)) session->close("the HTTP client is closed");
  sessions_.clear();
  changed_.notifyAll();
}

}  // namespace knarr::wire
