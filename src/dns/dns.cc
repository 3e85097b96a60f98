#include "dns/dns.h"

#include <algorithm>

#include "base/log.h"
#include "client/informer.h"
#include "dns/informer_view.h"
#include "dns/resolver.h"
#include "dns/stream_io.h"

namespace knarr::dns {
namespace {

using async::StopToken;
using async::Task;

// Datagrams taken at once before others get their turn.
constexpr int kDatagramsPerTurn = 64;
// Queries over UDP that wait for other servers; more are not answered, and the client asks again.
constexpr size_t kWaitingMax = 2000;
constexpr size_t kStreamsMax = 256;
// A client that says nothing for so long is let go. Source: RFC 7766 section 6.2.3 asks for seconds.
constexpr env::Duration kStreamIdle = std::chrono::seconds(10);
// Replies above this would be fragmented; clients ask again over TCP.
constexpr size_t kUdpReplyBytesMax = 1232;
constexpr size_t kUdpReplyBytesPlain = 512;
constexpr size_t kHeaderBytes = 12;

size_t udpLimit(const Message& query) {
  if (!query.edns) return kUdpReplyBytesPlain;
  return std::clamp<size_t>(query.edns->udpBytesMax, kUdpReplyBytesPlain, kUdpReplyBytesMax);
}

// Only the number of a message that cannot be read is repeated; what is no query gets no answer, or two servers could talk for
// ever.
std::optional<Message> answerMalformed(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || (static_cast<uint8_t>(bytes[2]) & 0x80) != 0) return std::nullopt;
  Message query;
  query.id = static_cast<uint16_t>(static_cast<uint8_t>(bytes[0]) << 8 | static_cast<uint8_t>(bytes[1]));
  return answerWith(query, kFormErr);
}

ZoneConfig zoneConfig(const DnsConfig& config) {
  ZoneConfig out;
  out.zone = foldCase(nameFromText(config.clusterDomain).value_or(Name(1, '\0')));
  out.serviceIp = config.serviceIp;
  return out;
}

ForwarderConfig forwarderConfig(const DnsConfig& config) {
  ForwarderConfig out = config.forward;
  out.ownAddresses.insert(out.ownAddresses.end(), config.listen.begin(), config.listen.end());
  out.ownAddresses.push_back((config.serviceIp.v6 ? "[" + config.serviceIp.text() + "]" : config.serviceIp.text()) + ":53");
  return out;
}

}  // namespace

class DnsServer::Impl {
 public:
  Impl(env::Env environment, client::Client& client, DnsConfig config)
      : env_(environment),
        config_(std::move(config)),
        informers_(environment, client),
        view_(environment, informers_),
        resolver_(environment, zoneConfig(config_), view_, forwarderConfig(config_)),
        gate_(environment.executor) {}

  ~Impl() {
    // A callback holds its socket: without this neither would go.
    for (const auto& socket : sockets_) socket->whenReadable({});
  }

  Result<void> listen() {
    for (const std::string& address : config_.listen) {
      sockets_.push_back(std::shared_ptr<env::DatagramSocket>(TRY(env_.network.bindDatagram(address))));
      listeners_.push_back(
          TRY(env_.network.listen(address, [this](std::unique_ptr<env::Stream> stream) { accepted(std::move(stream)); })));
    }
    for (const auto& socket : sockets_) arm(socket);
    return {};
  }

  Task<void> run(StopToken stop) {
    stop_ = stop;
    async::Gate informing(env_.executor);
    informers_.start(informing, stop);
    async::Event stopping(env_.executor);
    auto registration = stop.onStop([&stopping] { stopping.set(); });
    co_await stopping.wait();
    listeners_.clear();
    for (const auto& socket : sockets_) socket->whenReadable({});
    co_await gate_.close();
    sockets_.clear();
    co_await informing.close();
  }

 private:
  void arm(std::shared_ptr<env::DatagramSocket> socket) {
    env::DatagramSocket* raw = socket.get();
    raw->whenReadable([this, socket = std::move(socket)] { receive(socket); });
  }

  void receive(const std::shared_ptr<env::DatagramSocket>& socket) {
    if (stop_.stopRequested()) return;
    for (int i = 0; i < kDatagramsPerTurn; ++i) {
      std::string from;
      env::IoStep step = socket->receive(buffer_, from);
      if (step.kind == env::IoStep::WouldBlock) break;
      // An earlier reply that did not arrive is told here; it concerns nobody.
      if (step.kind == env::IoStep::Done) datagram(socket, std::string_view(buffer_).substr(0, step.bytes), std::move(from));
    }
    arm(socket);
  }

  void datagram(const std::shared_ptr<env::DatagramSocket>& socket, std::string_view bytes, std::string from) {
    auto query = parseMessage(bytes);
    if (!query) {
      if (auto answer = answerMalformed(bytes)) socket->send(encodeMessage(*answer, kUdpReplyBytesPlain), from);
      return;
    }
    if (query->response) return;
    if (auto answer = resolver_.answerNow(*query, view_.synced())) {
      socket->send(encodeMessage(*answer, udpLimit(*query)), from);
      return;
    }
    if (waiting_ >= kWaitingMax) return;
    gate_.spawn(answerDatagram(this, socket, std::move(*query), std::move(from)));
  }

  static Task<void> answerDatagram(Impl* self, std::shared_ptr<env::DatagramSocket> socket, Message query, std::string from) {
    ++self->waiting_;
    size_t limit = udpLimit(query);
    Message answer = co_await self->resolver_.answerLater(std::move(query), false, self->stop_);
    --self->waiting_;
    // A full send buffer loses the answer, as any hop may; the client asks again.
    socket->send(encodeMessage(answer, limit), from);
  }

  void accepted(std::unique_ptr<env::Stream> stream) {
    if (streams_ >= kStreamsMax || stop_.stopRequested()) return;
    gate_.spawn(serveStream(this, std::shared_ptr<env::Stream>(std::move(stream))));
  }

  // One query after the other, in order.
  static Task<void> serveStream(Impl* self, std::shared_ptr<env::Stream> stream) {
    ++self->streams_;
    while (!self->stop_.stopRequested()) {
      auto bytes = co_await readMessage(self->env_, stream, self->env_.clock.now() + kStreamIdle, self->stop_);
      if (!bytes) break;
      auto query = parseMessage(*bytes);
      std::optional<Message> answer;
      if (!query)
        answer = answerMalformed(*bytes);
      else if (!query->response)
        answer = self->resolver_.answerNow(*query, self->view_.synced());
      if (!answer && (!query || query->response)) break;
      if (!answer) answer = co_await self->resolver_.answerLater(std::move(*query), true, self->stop_);
      if (!co_await writeMessage(self->env_, stream, encodeMessage(*answer, kMessageBytesMax),
                                 self->env_.clock.now() + kStreamIdle))
        break;
    }
    --self->streams_;
  }

  env::Env env_;
  DnsConfig config_;
  client::InformerFactory informers_;
  InformerView view_;
  Resolver resolver_;
  StopToken stop_;
  std::string buffer_ = std::string(kMessageBytesMax, '\0');
  std::vector<std::shared_ptr<env::DatagramSocket>> sockets_;
  std::vector<std::unique_ptr<env::Listener>> listeners_;
  size_t waiting_ = 0;
  size_t streams_ = 0;
  async::Gate gate_;
};

DnsServer::DnsServer(env::Env environment, client::Client& client, DnsConfig config)
    : impl_(std::make_unique<Impl>(environment, client, std::move(config))) {}
DnsServer::~DnsServer() = default;
Result<void> DnsServer::listen() { return impl_->listen(); }
async::Task<void> DnsServer::run(StopToken stop) { return impl_->run(std::move(stop)); }

}  // namespace knarr::dns
