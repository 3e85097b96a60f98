#include "dns/resolver.h"

#include <algorithm>

#include "base/log.h"

namespace knarr::dns {
namespace {

// How many names an ExternalName may lead through. Source: coredns plugin/backend_lookup.go.
constexpr int kChaseMax = 10;
constexpr uint16_t kClassAny = 255;
constexpr uint16_t kUdpBytesOffered = 1232;

}  // namespace

Message answerWith(const Message& query, uint16_t rcode) {
  Message out;
  out.id = query.id;
  out.response = true;
  out.opcode = query.opcode;
  out.recursionDesired = query.recursionDesired;
  out.checkingDisabled = query.checkingDisabled;
  out.rcode = rcode;
  out.questions = query.questions;
  if (query.edns) out.edns = Edns{kUdpBytesOffered, 0, query.edns->dnssecOk};
  return out;
}

std::optional<Message> refuseByForm(const Message& query) {
  if (query.opcode != 0) return answerWith(query, kNotImp);
  if (query.questions.size() != 1) return answerWith(query, kFormErr);
  if (query.edns && query.edns->version != 0) return answerWith(query, kBadVers);
  const Question& question = query.questions[0];
  if (question.klass != kClassIn && question.klass != kClassAny) return answerWith(query, kRefused);
  if (question.type == kAXFR || question.type == kIXFR) return answerWith(query, kRefused);
  return std::nullopt;
}

// Clients take the first address; each gets another one. CNAMEs stay before what they lead to.
void Resolver::shuffle(std::vector<Record>& records) {
  auto first = std::find_if(records.begin(), records.end(),
                            [](const Record& record) { return record.type == kA || record.type == kAAAA; });
  for (auto left = records.end() - first; left > 1; --left)
    std::iter_swap(first + (left - 1), first + static_cast<std::ptrdiff_t>(env_.random.below(static_cast<uint64_t>(left))));
}

Message Resolver::fromZone(const Message& query, ZoneAnswer answer) {
  Message out = answerWith(query, answer.rcode);
  out.authoritative = true;
  out.answers = std::move(answer.answers);
  out.authority = std::move(answer.authority);
  out.additional = std::move(answer.additional);
  shuffle(out.answers);
  return out;
}

std::optional<Message> Resolver::answerNow(const Message& query, bool synced) {
  if (auto refused = refuseByForm(query)) return refused;
  if (forwarder_.isLoop(query)) {
    logWarning("dns", "a question about {} came back: a name server of this machine forwards to the cluster's",
               textOf(query.questions[0].name));
    return answerWith(query, kServFail);
  }
  if (!synced && isBelow(query.questions[0].name, zone_.zone)) return answerWith(query, kServFail);
  ZoneAnswer answer = answerFromCluster(query.questions[0], zone_, view_);
  if (answer.kind != ZoneAnswer::Done) return std::nullopt;
  return fromZone(query, std::move(answer));
}

async::Task<Message> Resolver::answerLater(Message query, bool overTcp, async::StopToken stop) {
  ZoneAnswer answer = answerFromCluster(query.questions[0], zone_, view_);
  if (answer.kind == ZoneAnswer::Done) co_return fromZone(query, std::move(answer));
  bool chasing = answer.kind == ZoneAnswer::Chase;
  for (int steps = 0; answer.kind == ZoneAnswer::Chase; ++steps) {
    Question next{answer.chaseTo, query.questions[0].type, kClassIn};
    ZoneAnswer more = steps < kChaseMax ? answerFromCluster(next, zone_, view_) : ZoneAnswer{};
    answer.kind = more.kind;
    answer.chaseTo = more.chaseTo;
    // A way that ends nowhere gives no data.
    if (more.kind == ZoneAnswer::Done && more.answers.empty()) answer.answers.clear();
    for (Record& record : more.answers) answer.answers.push_back(std::move(record));
    if (more.kind == ZoneAnswer::NotOurs) answer.chaseTo = next.name;
  }
  Message asked = query;
  if (chasing && answer.kind == ZoneAnswer::NotOurs) asked.questions[0].name = answer.chaseTo;
  if (answer.kind == ZoneAnswer::NotOurs) {
    Result<Message> got = co_await forwarder_.ask(asked, overTcp, stop);
    if (!chasing) {
      if (!got) co_return answerWith(query, got.error().reason() == Reason::TooManyRequests ? kRefused : kServFail);
      Message out = answerWith(query, got->rcode);
      out.recursionAvailable = got->recursionAvailable;
      out.authenticData = got->authenticData;
      out.answers = std::move(got->answers);
      out.authority = std::move(got->authority);
      out.additional = std::move(got->additional);
      co_return out;
    }
    if (!got || got->answers.empty())
      answer.answers.clear();
    else
      for (Record& record : got->answers) answer.answers.push_back(std::move(record));
  }
  if (answer.answers.empty()) answer.authority = {zoneSoa(zone_, view_.serial())};
  co_return fromZone(query, std::move(answer));
}

}  // namespace knarr::dns
