// A timer that is taken back when its scope ends, also when the frame that waits is destroyed.
#pragma once

#include <utility>

#include "env/env.h"

namespace knarr::async {

class ScopedTimer {
 public:
  // No timer.
  ScopedTimer() = default;
  ScopedTimer(env::Executor& executor, env::Instant when, env::Callback callback)
      : executor_(&executor), id_(executor.at(when, std::move(callback))) {}
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(ScopedTimer&& other) noexcept {
    std::swap(executor_, other.executor_);
    std::swap(id_, other.id_);
    return *this;
  }
  ScopedTimer(ScopedTimer&& other) noexcept { *this = std::move(other); }
  ~ScopedTimer() {
    if (executor_) executor_->cancelTimer(id_);
  }

 private:
  env::Executor* executor_ = nullptr;
  env::TimerId id_ = 0;
};

}  // namespace knarr::async
