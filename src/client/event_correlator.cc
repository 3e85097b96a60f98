#include "client/event_correlator.h"

#include <algorithm>

namespace knarr::client {
namespace {

// Objects that are remembered at a time; beyond it all are forgotten, which at worst makes an event a new object.
constexpr size_t kRememberedMax = 4096;
// So many messages of one kind within the window, and they share an object.
constexpr size_t kSimilarMax = 10;
constexpr env::Duration kSimilarWindow = std::chrono::minutes(10);
// So many events about one object at once, and one more each five minutes.
constexpr double kBurst = 25;
constexpr double kTokensPerSecond = 1.0 / 300;

template <class Map>
auto& entryOf(Map& map, const std::string& key, const typename Map::mapped_type& fresh) {
  if (!map.contains(key) && map.size() >= kRememberedMax) map.clear();
  return map.try_emplace(key, fresh).first->second;
}

}  // namespace

bool EventCorrelator::spend(const std::string& about, env::Instant now) {
  Budget& budget = entryOf(budgets_, about, Budget{kBurst, now});
  double passed = std::chrono::duration<double>(now - budget.at).count();
  budget.tokens = std::min(kBurst, budget.tokens + passed * kTokensPerSecond);
  budget.at = now;
  if (budget.tokens < 1) return false;
  budget.tokens -= 1;
  return true;
}

EventCorrelator::Verdict EventCorrelator::judge(const EventIdentity& event, env::Instant now) {
  std::string kind = event.about + '/' + event.kind;
  Similar& similar = entryOf(similar_, kind, Similar{{}, now});
  if (now - similar.last > kSimilarWindow) similar.messages.clear();
  similar.last = now;
  similar.messages.insert(event.message);
  Verdict verdict;
  verdict.combined = similar.messages.size() >= kSimilarMax;
  if (verdict.combined && similar.messages.size() > kSimilarMax) similar.messages.erase(similar.messages.begin());
  verdict.key = verdict.combined ? kind : kind + '/' + event.part + '/' + event.message;
  verdict.drop = !spend(event.about, now);
  return verdict;
}

}  // namespace knarr::client
