// The pool behind Executor::block: a few threads, started with the first work, and one queue in
// order.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "env/env.h"

namespace knarr::env::posix {

class ThreadPool {
 public:
  explicit ThreadPool(size_t threadsMax) : threadsMax_(threadsMax) {}
  ThreadPool(const ThreadPool&) = delete;
  ~ThreadPool() { end(); }
  // Waits for the work that runs; drops the work that has not started.
  void end();
  void submit(Callback work);

 private:
  void runWorker();
  const size_t threadsMax_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Callback> queue_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace knarr::env::posix
