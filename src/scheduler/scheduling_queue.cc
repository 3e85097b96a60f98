#include "scheduler/scheduling_queue.h"

#include <algorithm>

namespace knarr::scheduler {
namespace {
// Source: scheduling_queue.go, DefaultPodMaxInUnschedulablePodsDuration.
constexpr env::Duration kPoolMax = std::chrono::minutes(5);
}  // namespace

SchedulingQueue::SchedulingQueue(env::Env environment, const QueueSortPlugin& sort, env::Duration backOffInitial,
                                 env::Duration backOffMax)
    : env_(environment),
      backOffInitial_(backOffInitial),
      backOffMax_(backOffMax),
      active_(ActiveOrder{&sort}),
      changed_(environment.executor) {}
SchedulingQueue::~SchedulingQueue() {
  if (timer_) env_.executor.cancelTimer(timer_);
}

bool SchedulingQueue::contains(const std::string& key) const {
  auto found = records_.find(key);
  return found != records_.end() && found->second.place != Place::kNowhere;
}

// Takes a pod out of where it is; its record stays.
SchedulingQueue::Record& SchedulingQueue::leave(const std::string& key) {
  Record& record = records_[key];
  if (record.place == Place::kActive) active_.erase({record.sortedBy, key});
  if (record.place == Place::kBackOff) backOff_.erase({record.due, key});
  if (record.place == Place::kErrorBackOff) errorBackOff_.erase({record.due, key});
  if (record.place == Place::kPool) pool_.erase({record.poolSince, key});
  record.place = Place::kNowhere;
  return record;
}

void SchedulingQueue::activate(const std::string& key) {
  Record& record = leave(key);
  record.place = Place::kActive;
  active_.emplace(record.sortedBy, key);
  changed_.notifyAll();
}

void SchedulingQueue::add(const std::string& key, int32_t priority) {
  if (closed_ || contains(key)) return;
  records_[key].sortedBy = {priority, ++order_};
  activate(key);
}

// Source: backoff_queue.go, calculateBackoffDuration.
env::Duration SchedulingQueue::backOff(const Record& record) const {
  int count = record.errors > 0 ? record.errors : record.unschedulable;
  if (count == 0) return env::Duration(0);
  env::Duration delay = backOffInitial_;
  for (int i = 1; i < count && delay < backOffMax_; ++i) delay *= 2;
  return std::min(delay, backOffMax_);
}

SchedulingQueue::Record& SchedulingQueue::comeBack(const std::string& key, int32_t priority) {
  Record& record = leave(key);
  record.sortedBy = {priority, ++order_};
  return record;
}

void SchedulingQueue::addBackOff(const std::string& key, int32_t priority) {
  if (closed_) return;
  Record& record = comeBack(key, priority);
  ++record.errors;
  record.rejectedBy = 0;
  record.due = env_.clock.now() + backOff(record);
  record.place = Place::kErrorBackOff;
  errorBackOff_.emplace(record.due, key);
  armTimer();
}

void SchedulingQueue::addUnschedulable(const std::string& key, int32_t priority, PluginSet rejectedBy) {
  if (closed_) return;
  if (rejectedBy == 0) return addBackOff(key, priority);
  Record& record = comeBack(key, priority);
  ++record.unschedulable;
  record.errors = 0;
  record.rejectedBy = rejectedBy;
  record.poolSince = env_.clock.now();
  record.due = record.poolSince + backOff(record);
  record.place = Place::kPool;
  pool_.emplace(record.poolSince, key);
  armTimer();
}

void SchedulingQueue::afterBackOff(const std::string& key) {
  if (records_[key].due <= env_.clock.now()) return activate(key);
  Record& record = leave(key);
  record.place = Place::kBackOff;
  backOff_.emplace(record.due, key);
  changed_.notifyAll();
}

void SchedulingQueue::moveIf(const Worth& worth) {
  std::vector<std::string> moved;
  for (const auto& [since, key] : pool_)
    if (worth(key, records_[key].rejectedBy)) moved.push_back(key);
  for (const std::string& key : moved) afterBackOff(key);
  if (!moved.empty()) armTimer();
}

void SchedulingQueue::moveIf(const std::string& key, const Worth& worth) {
  auto found = records_.find(key);
  if (found == records_.end() || found->second.place != Place::kPool || !worth(key, found->second.rejectedBy)) return;
  afterBackOff(key);
  armTimer();
}

void SchedulingQueue::activateDue() {
  env::Instant now = env_.clock.now();
  for (ByTime* waiting : {&backOff_, &errorBackOff_})
    while (!waiting->empty() && waiting->begin()->first <= now) activate(std::string(waiting->begin()->second));
  while (!pool_.empty() && pool_.begin()->first + kPoolMax <= now) afterBackOff(std::string(pool_.begin()->second));
  armTimer();
}

void SchedulingQueue::armTimer() {
  if (timer_) env_.executor.cancelTimer(timer_);
  timer_ = 0;
  if (closed_) return;
  env::Instant first = env::Instant::max();
  if (!backOff_.empty()) first = std::min(first, backOff_.begin()->first);
  if (!errorBackOff_.empty()) first = std::min(first, errorBackOff_.begin()->first);
  if (!pool_.empty()) first = std::min(first, pool_.begin()->first + kPoolMax);
  if (first == env::Instant::max()) return;
  timer_ = env_.executor.at(first, [this] {
    timer_ = 0;
    activateDue();
  });
}

void SchedulingQueue::remove(const std::string& key) {
  if (!records_.contains(key)) return;
  leave(key);
  records_.erase(key);
}

async::Task<std::optional<std::string>> SchedulingQueue::pop() {
  while (active_.empty() && backOff_.empty() && !closed_) co_await changed_.wait();
  if (closed_) co_return std::nullopt;
  // Nothing else to do: who waits out a back-off first goes first. Source: scheduling_queue.go, SchedulerPopFromBackoffQ.
  std::string key = active_.empty() ? backOff_.begin()->second : active_.begin()->second;
  leave(key);
  co_return key;
}

void SchedulingQueue::close() {
  closed_ = true;
  if (timer_) env_.executor.cancelTimer(timer_);
  timer_ = 0;
  records_.clear();
  active_.clear();
  for (ByTime* waiting : {&backOff_, &errorBackOff_, &pool_}) waiting->clear();
  changed_.notifyAll();
}

}  // namespace knarr::scheduler
