// The epoll loop: posted callbacks, timers, descriptors, wake-ups from other threads.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <unordered_map>

#include "env/env.h"
#include "env/posix/thread_pool.h"

namespace knarr::env::posix {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }
  int release() { return std::exchange(number_, -1); }
  void reset();

 private:
  int number_ = -1;
};

class SystemClock final : public Clock {
 public:
  Instant now() const override;
  int64_t unixNanos() const override;
};

class Loop final : public Executor {
 public:
  Loop();
  Loop(const Loop&) = delete;
  ~Loop() override;

  void post(Callback callback) override;
  void postFromThread(Callback callback) override;
  TimerId at(Instant when, Callback callback) override;
  void cancelTimer(TimerId timer) override;
  void block(Callback work, Callback done) override;

  void run();
  void stop();

  // Watches `fd` edge-triggered for reading, writing and hang-up. `onEvents` gets the epoll bits;
  // it may unwatch itself or others. The returned id ends the watch; the descriptor is closed after
  // unwatch.
  uint64_t watch(int fd, std::function<void(uint32_t events)> onEvents);
  void unwatch(int fd, uint64_t watchId);

 private:
  void runTimers();
  void runPosted();
  void takeFromThreads();
  void poll();
  void wake();

  SystemClock clock_;
  Fd epoll_;
  Fd wakeUp_;
  std::atomic<bool> stopRequested_{false};
  std::vector<Callback> posted_;
  std::map<std::pair<Instant, TimerId>, Callback> timers_;  // by time, then by order of setting
  std::unordered_map<TimerId, Instant> timerInstants_;
  TimerId lastTimer_ = 0;
  std::unordered_map<uint64_t, std::shared_ptr<std::function<void(uint32_t)>>> watches_;
  uint64_t lastWatch_ = 0;
  std::mutex fromThreadsMutex_;
  std::vector<Callback> fromThreads_;
  ThreadPool pool_;  // last: its threads end before what they post to
};

}  // namespace knarr::env::posix
