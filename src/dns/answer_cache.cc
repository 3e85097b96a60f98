#include "dns/answer_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace knarr::dns {
namespace {

constexpr uint32_t kSecondsLeast = 5;
constexpr uint32_t kSecondsMost = 30;

// How long an answer holds by its own words; nothing when it says nothing.
std::optional<uint32_t> secondsOf(const Message& answer) {
  if (answer.rcode == kServFail) return kSecondsLeast;
  if (answer.rcode != kNoError && answer.rcode != kNxDomain) return std::nullopt;
  std::optional<uint32_t> least;
  auto consider = [&least](uint32_t seconds) { least = std::min(least.value_or(seconds), seconds); };
  for (const Record& record : answer.answers) consider(record.ttl);
  bool negative = answer.answers.empty() || answer.rcode == kNxDomain;
  if (negative)
    for (const Record& record : answer.authority)
      if (record.type == kSOA) consider(std::min(record.ttl, soaMinimum(record.rdata)));
  return least;
}

size_t bytesOf(const Message& answer) {
  size_t out = 500;  // the entry itself
  for (const auto* list : {&answer.answers, &answer.authority, &answer.additional})
    for (const Record& record : *list) out += 100 + record.name.size() + record.rdata.size();
  return out;
}

}  // namespace

std::string AnswerCache::keyOf(const Question& question, bool dnssecOk, bool checkingDisabled) {
  return fmt::format("{}{}.{}.{}{}", foldCase(question.name), question.type, question.klass, dnssecOk ? "d" : "",
                     checkingDisabled ? "c" : "");
}

void AnswerCache::erase(std::list<Entry>::iterator entry) {
  bytes_ -= entry->bytes;
  byKey_.erase(entry->key);
  byUse_.erase(entry);
}

std::optional<Message> AnswerCache::get(const std::string& key, env::Instant now) {
  auto found = byKey_.find(key);
  if (found == byKey_.end()) return std::nullopt;
  auto entry = found->second;
  if (entry->until <= now) {
    erase(entry);
    return std::nullopt;
  }
  byUse_.splice(byUse_.begin(), byUse_, entry);
  Message answer = entry->answer;
  auto age = static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(now - entry->stored).count());
  for (auto* list : {&answer.answers, &answer.authority, &answer.additional})
    for (Record& record : *list) record.ttl = record.ttl > age ? record.ttl - age : 0;
  return answer;
}

void AnswerCache::put(const std::string& key, const Message& answer, env::Instant now) {
  auto seconds = secondsOf(answer);
  if (!seconds || answer.truncated) return;
  if (auto known = byKey_.find(key); known != byKey_.end()) erase(known->second);
  uint32_t kept = std::clamp(*seconds, kSecondsLeast, kSecondsMost);
  byUse_.push_front({key, answer, now, now + std::chrono::seconds(kept), bytesOf(answer)});
  // What is handed out never promises more than is kept here.
  for (auto* list : {&byUse_.front().answer.answers, &byUse_.front().answer.authority, &byUse_.front().answer.additional})
    for (Record& record : *list) record.ttl = std::min(std::max(record.ttl, kept), kSecondsMost);
  byKey_[key] = byUse_.begin();
  bytes_ += byUse_.front().bytes;
  while (byUse_.size() > kEntriesMax || bytes_ > kBytesMax) erase(std::prev(byUse_.end()));
}

}  // namespace knarr::dns
