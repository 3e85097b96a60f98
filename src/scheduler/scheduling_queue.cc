#include "scheduler/scheduling_queue.h"

#include <algorithm>

namespace knarr::scheduler {
namespace {
// Source: scheduling_queue.go, DefaultPodMaxInUnschedulablePodsDuration.
constexpr env::Duration kUnschedulableMax = std::chrono::minutes(5);
}  // namespace

SchedulingQueue::SchedulingQueue(env::Env environment, env::Duration backOffInitial, env::Duration backOffMax)
    : env_(environment), backOffInitial_(backOffInitial), backOffMax_(backOffMax), changed_(environment.executor) {}
SchedulingQueue::~SchedulingQueue() {
  if (timer_) env_.executor.cancelTimer(timer_);
}

void SchedulingQueue::add(const std::string& key, int32_t priority) {
  if (closed_) return;
  waiting_.erase(key);
  if (activeByKey_.contains(key)) return;
  Active entry{priority, ++sequence_, key};
  active_.insert(entry);
  activeByKey_.emplace(key, entry);
  changed_.notifyAll();
}

void SchedulingQueue::keep(const std::string& key, int32_t priority) {
  if (!activeByKey_.contains(key) && !waiting_.contains(key)) add(key, priority);
}

env::Duration SchedulingQueue::backOff(const std::string& key) {
  int attempt = attempts_[key]++;
  env::Duration delay = backOffInitial_;
  for (int i = 0; i < attempt && delay < backOffMax_; ++i) delay *= 2;
  return std::min(delay, backOffMax_);
}

void SchedulingQueue::addBackOff(const std::string& key, int32_t priority) {
  if (closed_) return;
  waiting_[key] = Waiting{priority, env_.clock.now() + backOff(key), false};
  armTimer();
}

void SchedulingQueue::addUnschedulable(const std::string& key, int32_t priority) {
  if (closed_) return;
  waiting_[key] = Waiting{priority, env_.clock.now() + backOff(key), true};
  armTimer();
}

// A change may make room: pods no node fitted wait out their back-off and are tried.
void SchedulingQueue::moveAllToActive() {
  for (auto& [key, waiting] : waiting_) waiting.unschedulable = false;
  activateDue();
}

void SchedulingQueue::activateDue() {
  env::Instant now = env_.clock.now();
  std::vector<std::pair<std::string, int32_t>> due;
  for (const auto& [key, waiting] : waiting_) {
    env::Instant when = waiting.unschedulable ? waiting.due + kUnschedulableMax : waiting.due;
    if (when <= now) due.emplace_back(key, waiting.priority);
  }
  for (const auto& [key, priority] : due) add(key, priority);
  armTimer();
}

void SchedulingQueue::armTimer() {
  if (timer_) env_.executor.cancelTimer(timer_);
  timer_ = 0;
  if (waiting_.empty() || closed_) return;
  env::Instant first = env::Instant::max();
  for (const auto& [key, waiting] : waiting_) first = std::min(first, waiting.unschedulable ? waiting.due + kUnschedulableMax : waiting.due);
  timer_ = env_.executor.at(first, [this] {
    timer_ = 0;
    activateDue();
  });
}

void SchedulingQueue::remove(const std::string& key) {
  waiting_.erase(key);
  attempts_.erase(key);
  auto found = activeByKey_.find(key);
  if (found == activeByKey_.end()) return;
  active_.erase(found->second);
  activeByKey_.erase(found);
}

async::Task<std::optional<std::string>> SchedulingQueue::pop() {
  while (active_.empty() && !closed_) co_await changed_.wait();
  if (active_.empty()) co_return std::nullopt;
  std::string key = active_.begin()->key;
  active_.erase(active_.begin());
  activeByKey_.erase(key);
  co_return key;
}

void SchedulingQueue::close() {
  closed_ = true;
  if (timer_) env_.executor.cancelTimer(timer_);
  timer_ = 0;
  active_.clear();
  activeByKey_.clear();
  changed_.notifyAll();
}

}  // namespace knarr::scheduler
