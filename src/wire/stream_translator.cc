#include "wire/stream_translator.h"

#include <set>

#include "async/scoped_timer.h"
#include "base/log.h"
#include "base/strings.h"
#include "wire/io.h"
#include "wire/spdy.h"
#include "wire/websocket.h"

namespace knarr::wire {
namespace {

using async::Task;

constexpr std::string_view kTranslated = "v5.channel.k8s.io";
constexpr std::string_view kRuntimeProtocol = "v4.channel.k8s.io";

// Channels of a WebSocket message. Source: k8s.io/apimachinery/pkg/util/remotecommand/constants.go.
enum Channel : uint8_t { kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4, kChannels = 5 };
constexpr uint8_t kCloseSignal = 255;
constexpr std::string_view kStreamTypes[kChannels] = {"stdin", "stdout", "stderr", "error", "resize"};

// Until the runtime has replied to every stream. Source: httpstream.go, streamCreationTimeout of the runtimes.
constexpr env::Duration kCreationTimeout = std::chrono::seconds(30);
// For a client that neither reads nor closes once the command has ended. Source: websocket.go, finishTimeout.
constexpr env::Duration kFinishTimeout = std::chrono::minutes(15);
// What may stall: a terminal that was stopped, a pager. Source: the same, defaultIdleConnectionTimeout.
constexpr env::Duration kStallTimeout = std::chrono::hours(4);
// A Status; the ones of runtimes have a few hundred bytes.
constexpr size_t kStatusBytesMax = 64 << 10;

// While the runtime takes nothing, what the client sends is not read, nor that it has gone. A ping finds out: the kernel of
// a client that ended refuses the second one. Calls `gone` then.
constexpr env::Duration kStallPingPeriod = std::chrono::seconds(30);
Task<void> watchStalledClient(env::Env environment, std::shared_ptr<WebSocket> client, std::shared_ptr<const bool> stalled,
                              std::function<void()> gone) {
  while (true) {
    co_await async::sleepFor(environment, kStallPingPeriod);
    if (!*stalled) continue;
    if (co_await client->ping("")) continue;
    gone();
    co_return;
  }
}

// One exec or attach. Two tasks share it: one reads the runtime and writes to the client, the other the reverse.
class Translation : public std::enable_shared_from_this<Translation> {
 public:
  Translation(env::Env environment, std::unique_ptr<WebSocket> client, TranslatedStreams streams, StatusWriter statusJson)
      : env_(environment),
        client_(std::move(client)),
        streams_(streams),
        statusJson_(std::move(statusJson)),
        opened_(environment.executor),
        clientEnded_(environment.executor) {}

  static Task<void> run(std::shared_ptr<Translation> self, HttpClient* server, std::string target);

 private:
  static Task<void> fromClient(std::shared_ptr<Translation> self);
  static Task<void> readClient(std::shared_ptr<Translation> self);
  static Task<bool> takeMessage(std::shared_ptr<Translation> self, std::string message);
  static Task<Result<std::string>> fromRuntime(std::shared_ptr<Translation> self);
  static Task<Result<void>> openStreams(std::shared_ptr<Translation> self);
  static Task<Result<void>> takeFrame(std::shared_ptr<Translation> self, SpdyFrame frame);
  static Task<Result<void>> toClient(std::shared_ptr<Translation> self, uint8_t channel, std::string bytes);
  static Task<void> finish(std::shared_ptr<Translation> self, std::string status);

  void endClient();
  bool wants(uint8_t channel) const;
  bool commandEnded() const { return !open_[kError] && !open_[kStdout] && !open_[kStderr]; }
  uint8_t channelOf(uint32_t stream) const { return static_cast<uint8_t>(std::ranges::find(ids_, stream) - std::begin(ids_)); }

  env::Env env_;
  std::unique_ptr<WebSocket> client_;
  std::unique_ptr<SpdyConnection> runtime_;
  const TranslatedStreams streams_;
  const StatusWriter statusJson_;
  uint32_t ids_[kChannels] = {};  // streams by channel, 0: none
  bool open_[kChannels] = {};     // its sender has more to say
  std::set<uint32_t> notReplied_;
  std::string status_;
  bool stalled_ = false;     // the runtime has not taken the client's last message yet
  bool finished_ = false;    // what the client sends no longer matters
  bool clientGone_ = false;  // what the runtime sends no longer matters
  async::Event opened_;      // the runtime listens on every stream
  async::Event clientEnded_;
};

bool Translation::wants(uint8_t channel) const {
  switch (channel) {
    case kStdin:
      return streams_.standardInput;
    case kStdout:
      return streams_.standardOutput;
    case kStderr:
      return streams_.standardError && !streams_.tty;
    case kResize:
      return streams_.tty;
    default:
      return true;
  }
}

Task<Result<void>> Translation::toClient(std::shared_ptr<Translation> self, uint8_t channel, std::string bytes) {
  bytes.insert(bytes.begin(), static_cast<char>(channel));
  co_return co_await self->client_->send(WebSocketMessage::Binary, std::move(bytes));
}

// In the order of client-go: the runtime waits for as many streams as the request promises.
Task<Result<void>> Translation::openStreams(std::shared_ptr<Translation> self) {
  for (uint8_t channel : {kError, kStdin, kStdout, kStderr, kResize}) {
    if (!self->wants(channel)) continue;
    Headers headers;
    headers.add("streamtype", std::string(kStreamTypes[channel]));
    self->ids_[channel] = CO_TRY(co_await self->runtime_->openStream(std::move(headers)));
    self->open_[channel] = true;
    self->notReplied_.insert(self->ids_[channel]);
  }
  co_return Result<void>();
}

// False when the client broke the protocol.
Task<bool> Translation::takeMessage(std::shared_ptr<Translation> self, std::string message) {
  if (message.empty() || self->finished_) co_return true;
  auto channel = static_cast<uint8_t>(message[0]);
  bool ends = channel == kCloseSignal;
  if (ends) {
    if (message.size() != 2 || static_cast<uint8_t>(message[1]) >= kChannels) co_return false;
    channel = static_cast<uint8_t>(message[1]);
  }
  // A channel that nobody asked for, or that the client has already ended, is read and dropped.
  if (channel != kStdin && channel != kResize) co_return true;
  if (!self->opened_.isSet()) co_await self->opened_.wait();
  if (self->finished_ || self->ids_[channel] == 0 || !self->open_[channel]) co_return true;
  message.erase(0, ends ? 2 : 1);
  if (message.empty() && !ends) co_return true;
  if (ends) self->open_[channel] = false;
  // A failure is the runtime's end; whoever reads from it tells the client.
  self->stalled_ = true;
  (void)co_await self->runtime_->send(self->ids_[channel], std::move(message), ends);
  self->stalled_ = false;
  co_return true;
}

Task<void> Translation::readClient(std::shared_ptr<Translation> self) {
  while (true) {
    auto message = co_await self->client_->receive();
    if (!message || !*message) co_return;
    std::string bytes = std::move((*message)->bytes);
    message = std::optional<WebSocketMessage>();
    if (!co_await takeMessage(self, std::move(bytes))) co_return;
  }
}

void Translation::endClient() {
  clientEnded_.set();
  if (finished_) return;
  clientGone_ = true;
  if (runtime_) runtime_->close();
}

Task<void> Translation::fromClient(std::shared_ptr<Translation> self) {
  co_await readClient(self);
  self->endClient();
}

Task<Result<void>> Translation::takeFrame(std::shared_ptr<Translation> self, SpdyFrame frame) {
  uint8_t channel = self->channelOf(frame.stream);
  switch (frame.type) {
    case SpdyFrameType::SynStream:
      co_return co_await self->runtime_->reset(frame.stream, kSpdyRefusedStream);
    case SpdyFrameType::SynReply:
      self->notReplied_.erase(frame.stream);
      if (self->notReplied_.empty()) self->opened_.set();
      break;
    case SpdyFrameType::RstStream:
      if (self->notReplied_.contains(frame.stream)) co_return fail(Reason::InternalError, "the runtime refused a stream");
      // Runtimes tear their streams down this way once everything was sent. Source: httpstream/spdy/connection.go, Close.
      if (channel < kChannels) self->open_[channel] = false;
      co_return Result<void>();
    case SpdyFrameType::Data:
      if (channel >= kChannels) co_return Result<void>();
      if (channel == kError) {
        if (self->status_.size() + frame.data.size() > kStatusBytesMax)
          co_return fail(Reason::InternalError, "the runtime's status is longer than 64 KiB");
        self->status_ += frame.data;
      } else if (!frame.data.empty()) {
        CO_TRY(co_await toClient(self, channel, std::move(frame.data)));
      }
      break;
    default:
      break;
  }
  // What the runtime ended it sends no more on; stdin and resize end by us.
  if (frame.fin && channel < kChannels && channel != kStdin && channel != kResize) self->open_[channel] = false;
  co_return Result<void>();
}

// Until the command has ended: its Status.
Task<Result<std::string>> Translation::fromRuntime(std::shared_ptr<Translation> self) {
  CO_TRY(co_await openStreams(self));
  async::ScopedTimer creation(self->env_.executor, self->env_.clock.now() + kCreationTimeout, [raw = self.get()] {
    if (!raw->notReplied_.empty()) raw->runtime_->close();
  });
  while (!self->commandEnded()) {
    auto frame = co_await self->runtime_->receive();
    if (!frame || !*frame) {
      if (!self->status_.empty()) break;
      if (!self->notReplied_.empty() && !self->clientGone_)
        co_return fail(Reason::InternalError, "error executing command: timed out waiting for the runtime's streams");
      co_return fail(Reason::InternalError, "error executing command: the runtime ended the connection" +
                                                (frame ? std::string() : ": " + frame.error().message()));
    }
    CO_TRY(co_await takeFrame(self, std::move(**frame)));
  }
  co_return std::move(self->status_);
}

// Tells the client how it ended and lets it read to the end: closing at once would take with it what the client has
// not read yet.
Task<void> Translation::finish(std::shared_ptr<Translation> self, std::string status) {
  self->finished_ = true;
  self->opened_.set();
  if (self->runtime_) self->runtime_->close();
  async::ScopedTimer timer(self->env_.executor, self->env_.clock.now() + kFinishTimeout,
                           [raw = self.get()] { raw->clientEnded_.set(); });
  if (!status.empty() && !co_await toClient(self, kError, std::move(status))) co_return;
  if (!co_await self->client_->close(1000, "")) co_return;
  co_await self->clientEnded_.wait();
}

Task<void> Translation::run(std::shared_ptr<Translation> self, HttpClient* server, std::string target) {
  // An empty message tells the client that it may begin. Source: websocket.go, createWebSocketStreams.
  uint8_t first = self->streams_.standardOutput ? kStdout : self->wants(kStderr) ? kStderr : kError;
  if (!co_await toClient(self, first, "")) co_return;
  ClientRequest request;
  request.method = "POST";
  request.target = std::move(target);
  request.headers.add("Upgrade", "SPDY/3.1");
  request.headers.add("X-Stream-Protocol-Version", std::string(kRuntimeProtocol));
  auto answer = co_await server->upgrade(std::move(request));
  Result<std::string> ended = std::string();
  async::Gate gate(self->env_.executor);
  if (!answer) {
    ended = Unexpected(answer.error());
  } else if (!answer->stream) {
    ended = fail(Reason::InternalError, "unable to upgrade connection: " + std::string(trim(answer->body)));
  } else if (answer->headers.get("X-Stream-Protocol-Version") != kRuntimeProtocol) {
    ended =
        fail(Reason::InternalError, "unable to upgrade connection: the runtime does not speak " + std::string(kRuntimeProtocol));
  } else {
    self->runtime_ = std::make_unique<SpdyConnection>(self->env_, std::move(answer->stream), SpdyConnection::Role::Client);
  }
  gate.spawn(fromClient(self));
  gate.spawn(watchStalledClient(self->env_, {self, self->client_.get()}, {self, &self->stalled_},
                                [raw = self.get()] { raw->endClient(); }));
  if (self->runtime_) ended = co_await fromRuntime(self);
  if (self->clientGone_) co_return;
  if (!ended) logDebug("wire", "a translated stream ended: {}", ended.error().describe());
  std::string status = ended ? std::move(*ended) : self->statusJson_(ended.error());
  co_await finish(self, std::move(status));
}

// ---- tunnel

constexpr std::string_view kTunnelPrefix = "SPDY/3.1+";
constexpr std::string_view kTunnelSuffix = ".k8s.io";
constexpr size_t kTunnelBytes = 32 << 10;
// For a client to answer our close.
constexpr env::Duration kTunnelCloseTimeout = std::chrono::seconds(10);

std::vector<std::string> offeredProtocols(const Request& request) {
  std::vector<std::string> out;
  for (std::string_view value : request.headers.all("Sec-WebSocket-Protocol"))
    for (std::string_view token : split(value, ','))
      if (!trim(token).empty()) out.emplace_back(trim(token));
  return out;
}
bool isTunnel(std::string_view protocol) { return protocol.starts_with(kTunnelPrefix) && protocol.ends_with(kTunnelSuffix); }

// Both ends of a tunnel, shared by its two tasks.
struct Tunnel {
  Tunnel(env::Env environment, std::unique_ptr<WebSocket> socket, std::unique_ptr<env::Stream> raw)
      : env(environment), client(std::move(socket)), stream(std::move(raw)), clientEnded(environment.executor) {}
  env::Env env;
  std::unique_ptr<WebSocket> client;
  std::unique_ptr<env::Stream> stream;
  async::StopSource over;
  bool stalled = false;  // the stream has not taken the client's last message yet
  async::Event clientEnded;
};

// Reads to the client's close, also when the other end has gone: closing with input unread would take our last words.
Task<void> tunnelFromClient(std::shared_ptr<Tunnel> tunnel) {
  async::StopToken over = tunnel->over.token();
  while (true) {
    auto message = co_await tunnel->client->receive();
    if (!message || !*message) break;
    std::string bytes = std::move((*message)->bytes);
    message = std::optional<WebSocketMessage>();
    if (over.stopRequested()) continue;
    tunnel->stalled = true;
    if (!co_await writeAll(tunnel->env, tunnel->stream.get(), bytes, env::Duration::max(), over)) tunnel->over.requestStop();
    tunnel->stalled = false;
  }
  tunnel->over.requestStop();
  tunnel->clientEnded.set();
}

Task<void> tunnelToClient(std::shared_ptr<Tunnel> tunnel) {
  async::StopToken over = tunnel->over.token();
  while (!over.stopRequested()) {
    std::string buffer(kTunnelBytes, '\0');
    env::IoStep step = tunnel->stream->read(buffer);
    if (step.kind == env::IoStep::WouldBlock) {
      buffer = {};
      co_await waitReady(tunnel->env, tunnel->stream.get(), Direction::Read, kNever, over);
      continue;
    }
    if (step.kind != env::IoStep::Done) break;
    buffer.resize(step.bytes);
    if (!co_await tunnel->client->send(WebSocketMessage::Binary, std::move(buffer))) break;
  }
}

}  // namespace

bool wantsStreamTranslation(const Request& request) {
  if (!isWebSocketRequest(request)) return false;
  return std::ranges::any_of(offeredProtocols(request), [](const std::string& one) { return one == kTranslated; });
}

bool wantsTunnel(const Request& request) {
  return isWebSocketRequest(request) && std::ranges::any_of(offeredProtocols(request), isTunnel);
}

Task<Result<void>> translateStreams(env::Env environment, std::shared_ptr<ServerExchange> exchange, HttpClient* server,
                                    std::string target, TranslatedStreams streams, StatusWriter statusJson) {
  WebSocketOptions options;
  options.writeStallTimeout = kStallTimeout;
  auto client = CO_TRY(co_await acceptWebSocket(environment, exchange, {std::string(kTranslated)}, options));
  auto translation = std::make_shared<Translation>(environment, std::move(client), streams, std::move(statusJson));
  co_await Translation::run(translation, server, std::move(target));
  co_return Result<void>();
}

Task<Result<void>> tunnelStreams(env::Env environment, std::shared_ptr<ServerExchange> exchange, HttpClient* server,
                                 std::string target) {
  ClientRequest request;
  request.method = "POST";
  request.target = std::move(target);
  request.headers.add("Upgrade", "SPDY/3.1");
  for (const std::string& protocol : offeredProtocols(exchange->request()))
    if (isTunnel(protocol)) request.headers.add("X-Stream-Protocol-Version", protocol.substr(kTunnelPrefix.size()));
  UpgradeResponse answer = CO_TRY(co_await server->upgrade(std::move(request), exchange->clientGone()));
  if (!answer.stream) {
    Headers headers;
    headers.add("Content-Type", "text/plain; charset=utf-8");
    co_return co_await exchange->respond(answer.status, std::move(headers), std::move(answer.body));
  }
  std::string chosen = std::string(kTunnelPrefix) + std::string(answer.headers.get("X-Stream-Protocol-Version"));
  WebSocketOptions options;
  options.writeStallTimeout = kStallTimeout;
  auto client = CO_TRY(co_await acceptWebSocket(environment, exchange, {chosen}, options));
  auto tunnel = std::make_shared<Tunnel>(environment, std::move(client), std::move(answer.stream));
  async::Gate gate(environment.executor);
  gate.spawn(tunnelFromClient(tunnel));
  gate.spawn(watchStalledClient(environment, {tunnel, tunnel->client.get()}, {tunnel, &tunnel->stalled}, [raw = tunnel.get()] {
    raw->over.requestStop();
    raw->clientEnded.set();
  }));
  co_await tunnelToClient(tunnel);
  // Whichever end went first: the other one is told.
  tunnel->over.requestStop();
  tunnel->stream->shutdownWrite();
  async::ScopedTimer timer(environment.executor, environment.clock.now() + kTunnelCloseTimeout,
                           [raw = tunnel.get()] { raw->clientEnded.set(); });
  if (co_await tunnel->client->close(1000, "")) co_await tunnel->clientEnded.wait();
  co_return Result<void>();
}

}  // namespace knarr::wire
