#include "env/sim/sim_network.h"

#include <cerrno>

#include "base/strings.h"

namespace knarr::env::sim {
namespace {

// Bytes in flight and unread in one direction before a writer must wait, as a socket buffer would
// hold.
constexpr size_t kWindowBytes = 128 << 10;
// A piece that meets a partition is tried again after this, as TCP retransmits.
constexpr Duration kRetransmit = std::chrono::milliseconds(200);

struct HostPort {
  std::string host;
  std::string port;
};
Result<HostPort> splitAddress(std::string_view address) {
  if (address.starts_with("unix:")) {
    std::string_view path = address.substr(5);
    if (path.starts_with("//")) path.remove_prefix(2);
    return HostPort{"unix", std::string(path)};
  }
  size_t colon = address.rfind(':');
  auto port = colon == std::string_view::npos ? std::nullopt : parseUint(address.substr(colon + 1));
  if (!port || *port > 65535 || colon == 0) {
    return fail(Reason::BadRequest, "network address " + quote(address) + ": write HOST:PORT with a numeric host, or unix:PATH");
  }
  std::string host(address.substr(0, colon));
  bool brackets = host.starts_with('[') && host.ends_with(']');
  if (!brackets && host.find_first_not_of("0123456789.") != std::string::npos)
    return fail(Reason::BadRequest, "network address " + quote(address) + ": the host is not an IP address");
  return HostPort{std::move(host), std::string(address.substr(colon + 1))};
}
std::string joinAddress(const HostPort& address) { return address.host + ":" + address.port; }
bool isWildcard(std::string_view host) { return host == "0.0.0.0" || host == "[::]"; }
bool isLocal(std::string_view host) { return host.starts_with("127.") || host == "[::1]" || host == "unix" || isWildcard(host); }

}  // namespace

// One end's view of what comes in and what it waits for.
struct End {
  std::string host;
  std::string address;
  std::string incoming;        // delivered, not yet read
  size_t inFlight = 0;         // written by the peer, not yet read by this end
  bool incomingEnded = false;  // the peer's Eof arrived
  bool writeShut = false;
  bool open = true;  // its stream lives
  Instant lastArrival{};
  std::deque<std::string> underWay;  // pieces on the wire towards this end, in order
  Callback readable;
  Callback writable;
};

// A connection lives as long as one of its streams or a delivery.
struct Connection {
  explicit Connection(Fabric& f) : fabric(f) {}
  ~Connection() { fabric.connections.erase(id); }
  Fabric& fabric;
  uint64_t id = 0;
  bool reset = false;
  End ends[2];
};

namespace {

void wake(const std::shared_ptr<Connection>& connection, int side, Callback End::* which) {
  if (!(connection->ends[side].*which)) return;
  connection->fabric.scheduler().post([connection, side, which] {
    Callback waiting = std::exchange(connection->ends[side].*which, nullptr);
    if (waiting && connection->ends[side].open) waiting();
  });
}

void breakConnection(const std::shared_ptr<Connection>& connection) {
  connection->reset = true;
  for (int side : {0, 1}) {
    wake(connection, side, &End::readable);
    wake(connection, side, &End::writable);
  }
}

// Brings the first piece under way to `side`; an empty piece is Eof.
void deliver(const std::shared_ptr<Connection>& connection, int side) {
  Fabric& fabric = connection->fabric;
  End& end = connection->ends[side];
  if (connection->reset || end.underWay.empty()) return;
  if (fabric.partitioned(connection->ends[0].host, connection->ends[1].host)) {
    fabric.scheduler().at(fabric.scheduler().now() + kRetransmit, [connection, side] { deliver(connection, side); });
    return;
  }
  if (fabric.random().chance(fabric.faults().resetPerDelivery)) return breakConnection(connection);
  std::string piece = std::move(end.underWay.front());
  end.underWay.pop_front();
  if (piece.empty()) {
    end.incomingEnded = true;
  } else if (!end.open) {
    return breakConnection(connection);  // bytes for a closed socket are answered with RST
  }
  end.incoming += piece;
  wake(connection, side, &End::readable);
}

void sendPiece(const std::shared_ptr<Connection>& connection, int toSide, std::string piece) {
  Fabric& fabric = connection->fabric;
  End& to = connection->ends[toSide];
  to.underWay.push_back(std::move(piece));
  // A stream keeps its order: no piece arrives before the one sent earlier.
  to.lastArrival = std::max(to.lastArrival, fabric.scheduler().now() + fabric.delay());
  fabric.scheduler().at(to.lastArrival, [connection, toSide] { deliver(connection, toSide); });
}

class SimStream final : public Stream {
 public:
  SimStream(std::shared_ptr<Connection> connection, int side) : connection_(std::move(connection)), side_(side) {}
  ~SimStream() override {
    shutdownWrite();
    End& end = mine();
    end.open = false;
    end.readable = nullptr;
    end.writable = nullptr;
    if (!end.incoming.empty() && !connection_->reset) breakConnection(connection_);
  }
  IoStep read(std::span<char> into) override {
    End& end = mine();
    if (end.incoming.empty() && connection_->reset) return {IoStep::Failed, 0, ECONNRESET};
    if (end.incoming.empty()) return {end.incomingEnded ? IoStep::Eof : IoStep::WouldBlock};
    if (into.empty()) return {IoStep::Done};
    Fabric& fabric = connection_->fabric;
    size_t count = std::min(into.size(), end.incoming.size());
    if (fabric.random().chance(fabric.faults().shortRead)) count = 1 + static_cast<size_t>(fabric.random().below(count));
    end.incoming.copy(into.data(), count);
    end.incoming.erase(0, count);
    end.inFlight -= count;
    wake(connection_, 1 - side_, &End::writable);
    return {IoStep::Done, count};
  }
  IoStep write(std::span<const char> from) override {
    if (connection_->reset || mine().writeShut) return {IoStep::Failed, 0, EPIPE};
    End& to = theirs();
    size_t count = std::min(from.size(), kWindowBytes - to.inFlight);
    if (from.empty()) return {IoStep::Done};
    if (count == 0) return {IoStep::WouldBlock};
    to.inFlight += count;
    sendPiece(connection_, 1 - side_, std::string(from.data(), count));
    return {IoStep::Done, count};
  }
  void whenReadable(Callback ready) override {
    End& end = mine();
    end.readable = std::move(ready);
    if (!end.incoming.empty() || end.incomingEnded || connection_->reset) wake(connection_, side_, &End::readable);
  }
  void whenWritable(Callback ready) override {
    End& end = mine();
    end.writable = std::move(ready);
    if (theirs().inFlight < kWindowBytes || connection_->reset) wake(connection_, side_, &End::writable);
  }
  void shutdownWrite() override {
    if (std::exchange(mine().writeShut, true) || connection_->reset) return;
    sendPiece(connection_, 1 - side_, "");
  }
  std::string peerAddress() const override { return connection_->ends[1 - side_].address; }
  std::string localAddress() const override { return connection_->ends[side_].address; }

 private:
  End& mine() { return connection_->ends[side_]; }
  End& theirs() { return connection_->ends[1 - side_]; }
  std::shared_ptr<Connection> connection_;
  int side_;
};

}  // namespace

class SimListener final : public Listener {
 public:
  SimListener(Fabric& fabric, std::string host, std::string address,
              std::move_only_function<void(std::unique_ptr<Stream>)> accept)
      : fabric_(fabric), key_(std::move(host), std::move(address)) {
    accept_ = std::make_shared<std::move_only_function<void(std::unique_ptr<Stream>)>>(std::move(accept));
    fabric_.listeners[key_] = this;
  }
  ~SimListener() override {
    auto found = fabric_.listeners.find(key_);
    if (found != fabric_.listeners.end() && found->second == this) fabric_.listeners.erase(found);
  }
  std::string address() const override { return key_.second; }
  void accept(std::unique_ptr<Stream> stream) {
    auto keep = accept_;  // the callback may destroy this listener
    (*keep)(std::move(stream));
  }

 private:
  Fabric& fabric_;
  std::pair<std::string, std::string> key_;
  std::shared_ptr<std::move_only_function<void(std::unique_ptr<Stream>)>> accept_;
};

class SimDatagramSocket final : public DatagramSocket {
 public:
  SimDatagramSocket(Fabric& fabric, std::string host, std::string ip, std::string address)
      : fabric_(fabric), ip_(std::move(ip)), key_(std::move(host), std::move(address)) {
    fabric_.datagramSockets[key_] = this;
  }
  ~SimDatagramSocket() override {
    auto found = fabric_.datagramSockets.find(key_);
    if (found != fabric_.datagramSockets.end() && found->second == this) fabric_.datagramSockets.erase(found);
  }
  IoStep receive(std::span<char> into, std::string& from) override {
    if (state_->queue.empty()) return {IoStep::WouldBlock};
    auto [sender, bytes] = std::move(state_->queue.front());
    state_->queue.pop_front();
    from = std::move(sender);
    size_t count = bytes.copy(into.data(), into.size());
    return {IoStep::Done, count};
  }
  IoStep send(std::span<const char> bytes, std::string_view to) override {
    auto target = splitAddress(to);
    if (!target) return {IoStep::Failed, 0, EINVAL};
    std::string targetHost = fabric_.hostOf(target->host, key_.first);
    size_t size = bytes.size();
    if (targetHost.empty() || fabric_.random().chance(fabric_.faults().datagramLoss)) return {IoStep::Done, size};
    std::string from = key_.second;
    if (isWildcard(from.substr(0, from.rfind(':')))) {
      from = (isLocal(target->host) ? std::string("127.0.0.1") : ip_) + from.substr(from.rfind(':'));
    }
    fabric_.scheduler().at(fabric_.scheduler().now() + fabric_.delay(),
                           [&fabric = fabric_, fromHost = key_.first, targetHost, to = joinAddress(*target), port = target->port,
                            from, text = std::string(bytes.data(), bytes.size())] {
                             if (fabric.partitioned(fromHost, targetHost)) return;
                             for (const std::string& address : {to, "0.0.0.0:" + port, "[::]:" + port}) {
                               auto found = fabric.datagramSockets.find({targetHost, address});
                               if (found != fabric.datagramSockets.end()) return found->second->take(from, text);
                             }
                           });
    return {IoStep::Done, size};
  }
  void whenReadable(Callback ready) override {
    state_->readable = std::move(ready);
    if (!state_->queue.empty()) wakeReader();
  }
  std::string localAddress() const override { return key_.second; }

 private:
  struct State {
    std::deque<std::pair<std::string, std::string>> queue;
    Callback readable;
  };
  // As a socket buffer, the queue is short; what does not fit is lost.
  static constexpr size_t kQueuedMax = 256;
  void take(std::string from, std::string bytes) {
    if (state_->queue.size() >= kQueuedMax) return;
    state_->queue.emplace_back(std::move(from), std::move(bytes));
    if (state_->readable) wakeReader();
  }
  void wakeReader() {
    fabric_.scheduler().post([weak = std::weak_ptr(state_)] {
      auto state = weak.lock();
      if (!state) return;
      if (Callback waiting = std::exchange(state->readable, nullptr)) waiting();
    });
  }
  Fabric& fabric_;
  std::string ip_;
  std::pair<std::string, std::string> key_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

void Fabric::setPartition(std::string a, std::string b, bool on) {
  for (const auto& key : {std::pair(a, b), std::pair(b, a)}) {
    if (on) {
      partitions_.insert(key);
    } else {
      partitions_.erase(key);
    }
  }
}
bool Fabric::partitioned(const std::string& a, const std::string& b) const { return partitions_.contains({a, b}); }

std::string Fabric::hostOf(std::string_view ip, const std::string& from) const {
  if (isLocal(ip)) return from;
  auto found = hostByIp.find(ip);
  return found == hostByIp.end() ? std::string() : found->second;
}

SimListener* Fabric::findListener(const std::string& host, const std::string& address) const {
  std::string port = address.substr(address.rfind(':'));
  for (const std::string& candidate : {address, "0.0.0.0" + port, "[::]" + port}) {
    auto found = listeners.find({host, candidate});
    if (found != listeners.end()) return found->second;
  }
  return nullptr;
}

Result<std::string> SimNetwork::bindAddress(std::string_view address, bool datagram) {
  HostPort parsed = TRY(splitAddress(address));
  auto taken = [&](const std::string& text) {
    return datagram ? fabric_.datagramSockets.contains({host_, text}) : fabric_.listeners.contains({host_, text});
  };
  if (!isLocal(parsed.host)) {
    auto owner = fabric_.hostByIp.find(parsed.host);
    if (owner == fabric_.hostByIp.end() || owner->second != host_)
      return failErrno("listen on " + std::string(address), EADDRNOTAVAIL);
  }
  if (parsed.host != "unix" && parsed.port == "0") {
    do {
      lastPort_ = lastPort_ >= 60999 ? uint16_t{32768} : static_cast<uint16_t>(lastPort_ + 1);
      parsed.port = std::to_string(lastPort_);
    } while (taken(joinAddress(parsed)));
  }
  std::string text = joinAddress(parsed);
  if (taken(text)) {
    return fail(Reason::AlreadyExists, "listen on " + text + ": Address already in use; another program uses it: stop " +
                                           "that program or choose another port");
  }
  return text;
}

Result<std::unique_ptr<Listener>> SimNetwork::listen(std::string_view address,
                                                     std::move_only_function<void(std::unique_ptr<Stream>)> accept) {
  std::string bound = TRY(bindAddress(address, false));
  return std::make_unique<SimListener>(fabric_, host_, std::move(bound), std::move(accept));
}

Result<std::unique_ptr<DatagramSocket>> SimNetwork::bindDatagram(std::string_view address) {
  std::string bound = TRY(bindAddress(address, true));
  return std::make_unique<SimDatagramSocket>(fabric_, host_, ip_, std::move(bound));
}

void SimNetwork::connect(std::string_view address, Duration timeout,
                         std::move_only_function<void(Result<std::unique_ptr<Stream>>)> connected) {
  auto shared = std::make_shared<std::move_only_function<void(Result<std::unique_ptr<Stream>>)>>(std::move(connected));
  auto parsed = splitAddress(address);
  if (!parsed) {
    fabric_.scheduler().post([shared, error = parsed.error()]() mutable { (*shared)(std::unexpected(std::move(error))); });
    return;
  }
  attempt(joinAddress(*parsed), fabric_.scheduler().now() + timeout, std::move(shared));
}

void SimNetwork::attempt(std::string address, Instant deadline,
                         std::shared_ptr<std::move_only_function<void(Result<std::unique_ptr<Stream>>)>> connected) {
  Scheduler& scheduler = fabric_.scheduler();
  // There and back again.
  Instant arrival = scheduler.now() + fabric_.delay() + fabric_.delay();
  scheduler.at(std::min(arrival, deadline), [this, address, arrival, deadline, connected] {
    Scheduler& loop = fabric_.scheduler();
    std::string ip = address.substr(0, address.rfind(':'));
    if (address.starts_with("unix:")) ip = "unix";
    std::string peer = fabric_.hostOf(ip, host_);
    if (arrival > deadline || loop.now() >= deadline)
      return (*connected)(fail(Reason::Timeout, "connect to " + address + ": timed out"));
    // An address that nobody has answers nothing, a partition neither: the packet is sent again
    // until the deadline.
    if (peer.empty() || fabric_.partitioned(host_, peer)) {
      loop.at(std::min(deadline, loop.now() + kRetransmit),
              [this, address, deadline, connected] { attempt(address, deadline, connected); });
      return;
    }
    SimListener* listener = fabric_.findListener(peer, address);
    if (!listener || fabric_.random().chance(fabric_.faults().refusePerConnect))
      return (*connected)(fail(Reason::ServiceUnavailable, "connect to " + address + ": Connection refused"));
    auto connection = std::make_shared<Connection>(fabric_);
    connection->id = ++fabric_.lastConnection;
    fabric_.connections[connection->id] = connection;
    connection->ends[0].host = host_;
    lastPort_ = lastPort_ >= 60999 ? uint16_t{32768} : static_cast<uint16_t>(lastPort_ + 1);
    connection->ends[0].address =
        ip == "unix" ? "unix:" : (isLocal(ip) ? std::string("127.0.0.1") : ip_) + ":" + std::to_string(lastPort_);
    connection->ends[1].host = peer;
    connection->ends[1].address = address;
    listener->accept(std::make_unique<SimStream>(connection, 1));
    (*connected)(std::make_unique<SimStream>(connection, 0));
  });
}

void SimNetwork::resolve(std::string_view host, std::move_only_function<void(Result<std::vector<std::string>>)> resolved) {
  Result<std::vector<std::string>> answer;
  if (auto found = fabric_.names.find(host); found != fabric_.names.end()) {
    answer = found->second;
  } else if (host == "localhost") {
    answer = std::vector<std::string>{"127.0.0.1"};
  } else if (host.find(':') != std::string_view::npos || host.find_first_not_of("0123456789.") == std::string_view::npos) {
    answer = std::vector<std::string>{std::string(host)};
  } else {
    answer = fail(Reason::NotFound, "resolve host name " + std::string(host) + ": Name or service not known");
  }
  fabric_.scheduler().at(fabric_.scheduler().now() + fabric_.delay(),
                         [resolved = std::move(resolved), answer = std::move(answer)]() mutable { resolved(std::move(answer)); });
}

void SimNetwork::crash() {
  std::erase_if(fabric_.listeners, [&](const auto& entry) { return entry.first.first == host_; });
  std::erase_if(fabric_.datagramSockets, [&](const auto& entry) { return entry.first.first == host_; });
  std::vector<std::shared_ptr<Connection>> doomed;
  for (auto& [id, weak] : fabric_.connections)
    if (auto connection = weak.lock(); connection && (connection->ends[0].host == host_ || connection->ends[1].host == host_))
      doomed.push_back(connection);
  for (auto& connection : doomed) breakConnection(connection);
}

}  // namespace knarr::env::sim
