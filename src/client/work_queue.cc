#include "client/work_queue.h"

#include <algorithm>

#include "base/log.h"

namespace knarr::client {
namespace {

// Source: client-go DefaultTypedControllerRateLimiter.
constexpr env::Duration kBackOffBase = std::chrono::milliseconds(5);
constexpr env::Duration kBackOffMax = std::chrono::seconds(1000);
constexpr env::Duration kBucketStep = std::chrono::milliseconds(100);  // ten a second
constexpr int kBucketBurst = 100;

}  // namespace

WorkQueue::WorkQueue(env::Env environment, std::string name)
    : env_(environment), name_(std::move(name)), changed_(environment.executor) {}

WorkQueue::~WorkQueue() {
  if (timer_) env_.executor.cancelTimer(timer_);
}

void WorkQueue::add(std::string key) {
  if (shuttingDown_ || !dirty_.insert(key).second) return;
  if (processing_.contains(key)) return;
  queue_.push_back(std::move(key));
  changed_.notifyAll();
}

void WorkQueue::addAfter(std::string key, env::Duration delay) {
  if (shuttingDown_) return;
  if (delay <= env::Duration::zero()) {
    add(std::move(key));
    return;
  }
  env::Instant due = env_.clock.now() + delay;
  auto [at, fresh] = waiting_.emplace(std::move(key), due);
  if (!fresh && at->second <= due) return;
  at->second = due;
  armTimer();
}

void WorkQueue::armTimer() {
  if (timer_) env_.executor.cancelTimer(timer_);
  timer_ = 0;
  if (waiting_.empty() || shuttingDown_) return;
  env::Instant first = std::min_element(waiting_.begin(), waiting_.end(), [](const auto& a, const auto& b) {
                         return a.second < b.second;
                       })->second;
  timer_ = env_.executor.at(first, [this] {
    timer_ = 0;
    env::Instant now = env_.clock.now();
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      if (at->second > now) {
        ++at;
        continue;
      }
      std::string key = at->first;
      at = waiting_.erase(at);
      add(std::move(key));
    }
    armTimer();
  });
}

env::Duration WorkQueue::backOff(const std::string& key) {
  int failures = failures_[key]++;
  env::Duration delay = kBackOffBase;
  for (int i = 0; i < failures && delay < kBackOffMax; ++i) delay *= 2;
  delay = std::min(delay, kBackOffMax);
  // The bucket shared by all keys: a burst passes, then ten a second.
  env::Instant now = env_.clock.now();
  env::Instant floor = now - kBucketStep * kBucketBurst;
  bucketEmptyUntil_ = std::max(bucketEmptyUntil_, floor) + kBucketStep;
  return std::max(delay, bucketEmptyUntil_ - now);
}

void WorkQueue::addRateLimited(std::string key) {
  env::Duration delay = backOff(key);
  addAfter(std::move(key), delay);
}

void WorkQueue::forget(const std::string& key) { failures_.erase(key); }

int WorkQueue::retries(const std::string& key) const {
  auto found = failures_.find(key);
  return found == failures_.end() ? 0 : found->second;
}

async::Task<std::optional<std::string>> WorkQueue::get() {
  while (queue_.empty() && !shuttingDown_) co_await changed_.wait();
  if (queue_.empty()) co_return std::nullopt;
  std::string key = std::move(queue_.front());
  queue_.pop_front();
  processing_.insert(key);
  dirty_.erase(key);
  co_return key;
}

void WorkQueue::done(const std::string& key) {
  processing_.erase(key);
  if (!dirty_.contains(key)) return;
  queue_.push_back(key);
  changed_.notifyAll();
}

void WorkQueue::shutDown() {
  shuttingDown_ = true;
  if (timer_) env_.executor.cancelTimer(timer_);
  timer_ = 0;
  changed_.notifyAll();
}

namespace {

async::Task<void> runWorker(std::shared_ptr<WorkQueue> queue,
                            std::shared_ptr<std::function<async::Task<Result<void>>(std::string key)>> sync) {
  for (;;) {
    auto key = co_await queue->get();
    if (!key) co_return;
    Result<void> synced = co_await (*sync)(*key);
    if (synced) {
      queue->forget(*key);
    } else {
      // A key is never dropped, as some of upstream's controllers do after fifteen failures: a server that was away for long
      // would leave its object as it is until something else changes it.
      // A conflict is the ordinary race with another writer; the retry sees the newer object.
      if (!isConflict(synced.error()))
        logWarning("client", "sync of {} failed, will be tried again: {}", *key, synced.error().describe());
      queue->addRateLimited(*key);
    }
    queue->done(*key);
  }
}

}  // namespace

async::Task<void> runWorkers(env::Env environment, std::shared_ptr<WorkQueue> queue, int workers,
                             std::function<async::Task<Result<void>>(std::string key)> sync) {
  auto shared = std::make_shared<std::function<async::Task<Result<void>>(std::string key)>>(std::move(sync));
  async::Gate gate(environment.executor);
  for (int i = 0; i < workers; ++i) gate.spawn(runWorker(queue, shared));
  co_await gate.close();
}

}  // namespace knarr::client
