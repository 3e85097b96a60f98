#include "env/sim/scheduler.h"

namespace knarr::env::sim {
namespace {

// A callback takes this much virtual time, so that work that keeps posting work cannot hold the
// clock still.
constexpr Duration kCallbackTime = std::chrono::nanoseconds(200);
// A pool thread's work ends within this.
constexpr Duration kBlockingDelayMax = std::chrono::microseconds(300);

}  // namespace

SimRandom::SimRandom(uint64_t seed) {
  // Source: S. Vigna, splitmix64, the recommended seeding of xoshiro.
  for (uint64_t& word : generator_.state) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

void SimRandom::fill(std::span<uint8_t> bytes) {
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(next() >> 56);
}

Scheduler::Scheduler(uint64_t seed) : order_(seed), delays_(seed ^ 0x5bf0'3635'dead'beef) {
  // Far from zero, so that "an hour ago" is an instant too.
  now_ = Instant(std::chrono::hours(1000));
}

void Scheduler::dropAll() {
  // Callbacks may own things whose destructors cancel timers or post; empty the tables while they
  // still answer.
  while (!ready_.empty() || !timers_.empty()) {
    auto ready = std::move(ready_);
    ready_.clear();
    auto timers = std::move(timers_);
    timers_.clear();
    timerInstants_.clear();
    readyTimers_.clear();
  }
}

void Scheduler::post(Callback callback) { ready_.push_back({std::move(callback), 0}); }

TimerId Scheduler::at(Instant when, Callback callback) {
  TimerId id = ++lastTimer_;
  timers_.emplace(std::pair(when, id), std::move(callback));
  timerInstants_.emplace(id, when);
  return id;
}

void Scheduler::cancelTimer(TimerId timer) {
  if (readyTimers_.erase(timer) > 0) {
    auto found = std::ranges::find(ready_, timer, &Ready::timer);
    Callback doomed = std::move(found->callback);
    ready_.erase(found);
    return;
  }
  auto found = timerInstants_.find(timer);
  if (found == timerInstants_.end()) return;
  auto node = timers_.extract(std::pair(found->second, timer));
  timerInstants_.erase(found);
}

void Scheduler::block(Callback work, Callback done) {
  Instant end = now_ + delays_.between(Duration(0), kBlockingDelayMax);
  at(end, [this, work = std::move(work), done = std::move(done)]() mutable {
    work();
    work = nullptr;
    post(std::move(done));
  });
}

void Scheduler::takeDueTimers() {
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    auto node = timers_.extract(timers_.begin());
    TimerId id = node.key().second;
    timerInstants_.erase(id);
    readyTimers_.insert(id);
    ready_.push_back({std::move(node.mapped()), id});
  }
}

bool Scheduler::step(Instant limit) {
  takeDueTimers();
  if (ready_.empty()) {
    if (timers_.empty()) return false;
    if (timers_.begin()->first.first > limit) {
      advanceTo(limit);
      return false;
    }
    advanceTo(timers_.begin()->first.first);
    takeDueTimers();
  }
  if (now_ > limit) return false;
  size_t chosen = static_cast<size_t>(order_.below(ready_.size()));
  mix(chosen);
  mix(ready_.size());
  mix(static_cast<uint64_t>(now_.time_since_epoch().count()));
  std::swap(ready_[chosen], ready_.back());
  Ready next = std::move(ready_.back());
  ready_.pop_back();
  if (next.timer != 0) readyTimers_.erase(next.timer);
  now_ += kCallbackTime;
  ++steps_;
  next.callback();
  return true;
}

void Scheduler::mix(uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    hash_ ^= (value >> (8 * i)) & 0xff;
    hash_ *= 0x100000001b3;
  }
}

void Scheduler::trace(std::string_view label) {
  for (char c : label) {
    hash_ ^= static_cast<uint8_t>(c);
    hash_ *= 0x100000001b3;
  }
  mix(label.size());
}

}  // namespace knarr::env::sim
