// The simulated loop: ready callbacks in an order drawn from the seed, timers on the virtual clock,
// the trace.
#pragma once

#include <map>
#include <set>
#include <unordered_map>

#include "env/env.h"
#include "env/sim/sim.h"
#include "env/xoshiro.h"

namespace knarr::env::sim {

// Seeded through splitmix64.
class SimRandom final : public Random {
 public:
  explicit SimRandom(uint64_t seed);
  uint64_t next() override { return generator_.next(); }
  void fill(std::span<uint8_t> bytes) override;
  bool chance(double probability) { return probability > 0 && unit() < probability; }
  Duration between(Duration low, Duration high) {
    if (high <= low) return low;
    return low + Duration(static_cast<int64_t>(below(static_cast<uint64_t>((high - low).count()) + 1)));
  }

 private:
  Xoshiro256 generator_;
};

class Scheduler final : public Executor {
 public:
  explicit Scheduler(uint64_t seed);
  Scheduler(const Scheduler&) = delete;
  ~Scheduler() override { dropAll(); }

  void post(Callback callback) override;
  void postFromThread(Callback callback) override { post(std::move(callback)); }
  TimerId at(Instant when, Callback callback) override;
  void cancelTimer(TimerId timer) override;
  void block(Callback work, Callback done) override;

  Instant now() const { return now_; }
  // Runs one callback; the clock advances to the next timer when nothing is ready. False when there
  // is nothing to run at or before `limit`; the clock is at `limit` then unless nothing is left at
  // all.
  bool step(Instant limit);
  bool empty() const { return ready_.empty() && timers_.empty(); }
  void trace(std::string_view label);
  uint64_t traceHash() const { return hash_; }
  uint64_t steps() const { return steps_; }
  // Destroys all callbacks without running them.
  void dropAll();
  void advanceTo(Instant when) { now_ = std::max(now_, when); }

 private:
  struct Ready {
    Callback callback;
    TimerId timer = 0;
  };
  void mix(uint64_t value);
  void takeDueTimers();

  SimRandom order_;
  SimRandom delays_;
  Instant now_{};
  std::vector<Ready> ready_;
  std::map<std::pair<Instant, TimerId>, Callback> timers_;
  std::unordered_map<TimerId, Instant> timerInstants_;
  std::set<TimerId> readyTimers_;  // fired into ready_, not yet run or cancelled
  TimerId lastTimer_ = 0;
  uint64_t hash_ = 0xcbf29ce484222325;
  uint64_t steps_ = 0;
};

}  // namespace knarr::env::sim
