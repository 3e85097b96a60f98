#include "dns/forwarder.h"

#include "async/scoped_timer.h"
#include "base/log.h"
#include "base/strings.h"
#include "dns/stream_io.h"

namespace knarr::dns {
namespace {

using async::StopToken;
using async::Task;

constexpr size_t kServersMax = 15;
// What fits through any path without fragments. Source: DNS flag day 2020.
constexpr uint16_t kUdpBytesMax = 1232;
// The file is looked at again after this; a machine may change networks.
constexpr env::Duration kServersAge = std::chrono::seconds(30);

bool sameQuestion(const Question& a, const Question& b) {
  return a.type == b.type && a.klass == b.klass && foldCase(a.name) == foldCase(b.name);
}

bool answers(const Message& answer, const Message& query) {
  return answer.response && answer.id == query.id && answer.questions.size() == 1 &&
         sameQuestion(answer.questions[0], query.questions[0]);
}

}  // namespace

std::vector<std::string> nameserversOf(std::string_view resolvConf) {
  std::vector<std::string> out;
  for (std::string_view line : split(resolvConf, '\n')) {
    std::string words(trim(line));
    for (char& c : words)
      if (c == '\t') c = ' ';
    if (!words.starts_with("nameserver ")) continue;
    std::string_view text = trim(std::string_view(words).substr(11));
    text = text.substr(0, text.find(' '));
    std::string_view zone;  // of a link-local address
    if (size_t percent = text.find('%'); percent != std::string_view::npos) zone = text.substr(percent);
    auto ip = IpAddress::parse(text.substr(0, text.size() - zone.size()));
    if (!ip || out.size() == kServersMax) continue;
    out.push_back(ip->v6 ? "[" + ip->text() + std::string(zone) + "]:53" : ip->text() + ":53");
  }
  return out;
}

// Stands in underWay_ for as long as it lives.
struct Forwarder::UnderWay {
  UnderWay(std::multimap<uint16_t, Question>& all, const Message& query)
      : all_(all), at_(all.emplace(query.id, query.questions[0])) {}
  UnderWay(const UnderWay&) = delete;
  ~UnderWay() { all_.erase(at_); }
  std::multimap<uint16_t, Question>& all_;
  std::multimap<uint16_t, Question>::iterator at_;
};

const std::vector<std::string>& Forwarder::servers() {
  env::Instant now = env_.clock.now();
  if (serversKnown_ && now - serversRead_ < kServersAge) return servers_;
  auto text = env_.files.readFile(config_.resolvConf, 1 << 16);
  serversRead_ = now;
  serversKnown_ = true;
  if (!text) {
    logWarning("dns", "no name servers to forward to: {}", text.error().describe());
    return servers_;
  }
  servers_ = nameserversOf(*text);
  std::erase_if(servers_, [this](const std::string& server) {
    return std::find(config_.ownAddresses.begin(), config_.ownAddresses.end(), server) != config_.ownAddresses.end();
  });
  return servers_;
}

bool Forwarder::isLoop(const Message& query) const {
  if (query.questions.size() != 1) return false;
  auto [first, last] = underWay_.equal_range(query.id);
  for (auto at = first; at != last; ++at)
    if (sameQuestion(at->second, query.questions[0])) return true;
  return false;
}

Task<Result<Message>> Forwarder::ask(Message query, bool overTcp, StopToken stop) {
  bool dnssecOk = query.edns && query.edns->dnssecOk;
  std::string key = AnswerCache::keyOf(query.questions[0], dnssecOk, query.checkingDisabled);
  if (auto cached = cache_.get(key, env_.clock.now())) co_return std::move(*cached);
  if (underWay_.size() >= config_.underWayMax)
    co_return fail(Reason::TooManyRequests, "too many questions are under way to other servers");
  Message asked;
  asked.id = static_cast<uint16_t>(env_.random.next());
  asked.recursionDesired = query.recursionDesired;
  asked.checkingDisabled = query.checkingDisabled;
  asked.questions = query.questions;
  asked.edns = Edns{kUdpBytesMax, 0, dnssecOk};
  UnderWay mark(underWay_, asked);
  std::vector<std::string> all = servers();
  if (all.empty()) co_return fail(Reason::NotFound, "no name server to forward to");
  env::Instant end = env_.clock.now() + config_.total;
  size_t first = env_.random.below(all.size());
  std::optional<Message> last;
  // Twice around, so that one lost datagram is no failure.
  for (size_t i = 0; i < 2 * all.size() && env_.clock.now() < end && !stop.stopRequested(); ++i) {
    env::Instant deadline = std::min(end, env_.clock.now() + config_.attempt);
    auto answer = co_await askOne(all[(first + i) % all.size()], asked, overTcp, deadline, stop);
    if (!answer) continue;
    last = std::move(answer);
    if (last->rcode != kServFail && last->rcode != kRefused) break;
    if (i + 1 >= all.size()) break;
  }
  if (!last) co_return fail(Reason::Timeout, "no name server answered");
  cache_.put(key, *last, env_.clock.now());
  co_return std::move(*last);
}

Task<std::optional<Message>> Forwarder::askOne(std::string server, Message query, bool overTcp, env::Instant deadline,
                                               StopToken stop) {
  if (!overTcp) {
    auto answer = co_await overUdp(server, query, deadline, stop);
    if (!answer || !answer->truncated) co_return answer;
  }
  co_return co_await overStream(server, query, deadline, stop);
}

// A socket of its own per question: the port is as hard to guess as the number.
Task<std::optional<Message>> Forwarder::overUdp(std::string server, Message query, env::Instant deadline, StopToken stop) {
  auto bound = env_.network.bindDatagram(server.starts_with('[') ? "[::]:0" : "0.0.0.0:0");
  if (!bound) co_return std::nullopt;
  std::unique_ptr<env::DatagramSocket> socket = std::move(*bound);
  std::string bytes = encodeMessage(query, kMessageBytesMax);
  if (socket->send(bytes, server).kind != env::IoStep::Done) co_return std::nullopt;
  std::string buffer(kMessageBytesMax, '\0');
  for (;;) {
    std::string from;
    env::IoStep step = socket->receive(buffer, from);
    if (step.kind == env::IoStep::Done) {
      // Anything else is somebody's guess.
      if (from != server) continue;
      auto answer = parseMessage(std::string_view(buffer).substr(0, step.bytes));
      if (answer && answers(*answer, query)) co_return std::move(*answer);
      continue;
    }
    if (step.kind != env::IoStep::WouldBlock) co_return std::nullopt;
    async::Promise<bool> ready(env_.executor);
    async::ScopedTimer timer(env_.executor, deadline, [ready] { ready.set(false); });
    auto registration = stop.onStop([ready] { ready.set(false); });
    socket->whenReadable([ready] { ready.set(true); });
    if (!co_await ready.get()) co_return std::nullopt;
  }
}

Task<std::optional<Message>> Forwarder::overStream(std::string server, Message query, env::Instant deadline, StopToken stop) {
  auto connected = co_await async::connect(env_, server, std::max(env::Duration(1), deadline - env_.clock.now()));
  if (!connected) co_return std::nullopt;
  std::shared_ptr<env::Stream> stream(std::move(*connected));
  if (!co_await writeMessage(env_, stream, encodeMessage(query, kMessageBytesMax), deadline)) co_return std::nullopt;
  auto bytes = co_await readMessage(env_, stream, deadline, stop);
  if (!bytes) co_return std::nullopt;
  auto answer = parseMessage(*bytes);
  if (!answer || !answers(*answer, query)) co_return std::nullopt;
  co_return std::move(*answer);
}

}  // namespace knarr::dns
