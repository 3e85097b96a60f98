#include <fmt/format.h>

#include <array>
#include <memory>

#include "base/log.h"
#include "base/strings.h"
#include "roles.h"

namespace knarr::testserver {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

// One TCP connection; lives in the callbacks it waits for.
struct Echo : std::enable_shared_from_this<Echo> {
  explicit Echo(std::unique_ptr<env::Stream> s) : stream(std::move(s)) {}
  std::unique_ptr<env::Stream> stream;
  std::array<char, kBufferBytes> buffer;
  size_t begin = 0, end = 0;

  void step() {
    while (true) {
      if (begin == end) {
        env::IoStep got = stream->read(buffer);
        if (got.kind == env::IoStep::WouldBlock) return stream->whenReadable([self = shared_from_this()] { self->step(); });
        if (got.kind != env::IoStep::Done) return stream->shutdownWrite();
        begin = 0;
        end = got.bytes;
      }
      env::IoStep sent = stream->write({buffer.data() + begin, end - begin});
      if (sent.kind == env::IoStep::WouldBlock) return stream->whenWritable([self = shared_from_this()] { self->step(); });
      if (sent.kind != env::IoStep::Done) return;
      begin += sent.bytes;
    }
  }
};

struct Datagrams : std::enable_shared_from_this<Datagrams> {
  using Answer = std::move_only_function<std::string(std::string_view)>;
  Datagrams(std::unique_ptr<env::DatagramSocket> s, Answer a) : socket(std::move(s)), answer(std::move(a)) {}
  std::unique_ptr<env::DatagramSocket> socket;
  Answer answer;
  std::array<char, kBufferBytes> buffer;

  void step() {
    std::string from;
    while (true) {
      env::IoStep got = socket->receive(buffer, from);
      if (got.kind != env::IoStep::Done) break;
      std::string reply = answer({buffer.data(), got.bytes});
      if (!reply.empty()) socket->send(reply, from);  // a full socket buffer loses the answer, as UDP may
    }
    socket->whenReadable([self = shared_from_this()] { self->step(); });
  }
};

Result<void> serveDatagrams(env::Env environment, int port, Datagrams::Answer answer) {
  auto socket = TRY(environment.network.bindDatagram(fmt::format("0.0.0.0:{}", port)));
  std::make_shared<Datagrams>(std::move(socket), std::move(answer))->step();
  return {};
}

// The name of the only question of a DNS message, lower case with dots, and where the question ends; nothing when the
// message is not such a query. Source: RFC 1035, 4.1.
struct Question {
  std::string name;
  size_t end = 0;
  int type = 0;
};
std::optional<Question> questionOf(std::string_view message) {
  auto byte = [&](size_t at) { return static_cast<uint8_t>(message[at]); };
  if (message.size() < 17 || (byte(2) & 0xf8) != 0 || byte(4) != 0 || byte(5) != 1) return std::nullopt;
  Question question;
  size_t at = 12;
  while (at < message.size() && byte(at) != 0) {
    size_t length = byte(at);
    if (length > 63 || at + 1 + length >= message.size()) return std::nullopt;
    if (!question.name.empty()) question.name += '.';
    question.name += toLower(message.substr(at + 1, length));
    at += 1 + length;
  }
  if (at + 5 > message.size()) return std::nullopt;
  question.type = byte(at + 1) << 8 | byte(at + 2);
  question.end = at + 5;
  return question;
}

// One answer with a time to live of 5 s, or NXDOMAIN.
std::string dnsAnswer(const std::map<std::string, std::string>& records, std::string_view message) {
  std::optional<Question> question = questionOf(message);
  if (!question) return "";
  auto found = records.find(question->name);
  bool known = found != records.end(), hasAddress = known && question->type == 1;
  std::string out(message.substr(0, question->end));
  out[2] = static_cast<char>(0x84 | (out[2] & 1));
  out[3] = known ? 0 : 3;
  out[7] = hasAddress ? 1 : 0;
  for (size_t at : {6u, 8u, 9u, 10u, 11u}) out[at] = 0;
  if (hasAddress) {
    out.append("\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04", 12);
    for (std::string_view part : split(found->second, '.')) out += static_cast<char>(parseInt(part).value_or(0));
  }
  return out;
}

}  // namespace

Result<void> serveTcpEcho(env::Env environment, async::Gate&, int port) {
  auto listener = TRY(environment.network.listen(fmt::format("0.0.0.0:{}", port), [](std::unique_ptr<env::Stream> stream) {
    std::make_shared<Echo>(std::move(stream))->step();
  }));
  static std::vector<std::unique_ptr<env::Listener>> listeners;  // for the life of the process
  listeners.push_back(std::move(listener));
  return {};
}

Result<void> serveUdpEcho(env::Env environment, async::Gate&, int port) {
  return serveDatagrams(environment, port, [](std::string_view message) { return std::string(message); });
}

Result<void> serveDns(env::Env environment, async::Gate&, const Options& options, int port) {
  std::map<std::string, std::string> records;
  if (options.has("record")) {
    for (const std::string& record : options.named.at("record")) {
      size_t equals = record.find('=');
      if (equals == std::string::npos || split(record.substr(equals + 1), '.').size() != 4)
        return fail(Reason::Invalid, fmt::format("--record wants NAME=IPV4, not {}", quote(record)));
      records[toLower(record.substr(0, equals))] = record.substr(equals + 1);
    }
  }
  return serveDatagrams(environment, port,
                        [records = std::move(records)](std::string_view message) { return dnsAnswer(records, message); });
}

}  // namespace knarr::testserver
