// WorkQueue: keys to reconcile, each held by one worker at a time.
//
// A key added while it waits is one entry; added while it is processed it runs again afterwards. Failed keys come back with
// exponential back-off per key (5 ms doubling to 1000 s) under an overall bucket of 10 a second with a burst of 100, as
// upstream's DefaultControllerRateLimiter. The queue holds at most one entry per key, so its bound is the number of
// objects. Source: k8s.io/client-go/util/workqueue (queue.go, default_rate_limiters.go, delaying_queue.go).
#pragma once

#include <map>
#include <set>
#include <string>

#include "async/async.h"
#include "env/env.h"

namespace knarr::client {

class WorkQueue {
 public:
  WorkQueue(env::Env environment, std::string name);
  WorkQueue(const WorkQueue&) = delete;
  ~WorkQueue();

  void add(std::string key);
  // Adds the key once `delay` passed; of several pending delays the earliest wins.
  void addAfter(std::string key, env::Duration delay);
  // Adds the key after its back-off.
  void addRateLimited(std::string key);
  // The key succeeded: its back-off starts anew.
  void forget(const std::string& key);
  int retries(const std::string& key) const;
  // The next key, which the caller must give back with done(); nothing once shut down and drained.
  async::Task<std::optional<std::string>> get();
  void done(const std::string& key);
  void shutDown();
  bool shuttingDown() const { return shuttingDown_; }
  size_t length() const { return queue_.size(); }

 private:
  void armTimer();
  env::Duration backOff(const std::string& key);

  env::Env env_;
  std::string name_;
  async::Event changed_;
  std::deque<std::string> queue_;
  std::set<std::string, std::less<>> dirty_;
  std::set<std::string, std::less<>> processing_;
  std::map<std::string, int, std::less<>> failures_;
  std::map<std::string, env::Instant, std::less<>> waiting_;
  env::Instant bucketEmptyUntil_{};
  env::TimerId timer_ = 0;
  bool shuttingDown_ = false;
};

// Runs `workers` loops that hand keys to `sync` until the queue shuts down. An error requeues the key with back-off and is
// logged; success forgets it. The returned task ends when all workers have.
async::Task<void> runWorkers(env::Env environment, std::shared_ptr<WorkQueue> queue, int workers,
                             std::function<async::Task<Result<void>>(std::string key)> sync);

}  // namespace knarr::client
