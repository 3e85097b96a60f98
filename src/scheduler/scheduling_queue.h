// The scheduling queue: pods to try now, pods waiting out a back-off, pods no node fits.
//
// Higher priority first, then first come first served. A pod no node fits comes back when the cluster changes, or after
// five minutes. Upstream counterpart: pkg/scheduler/backend/queue/scheduling_queue.go.
#pragma once

#include <map>
#include <set>
#include <string>

#include "async/async.h"
#include "env/env.h"

namespace knarr::scheduler {

class SchedulingQueue {
 public:
  SchedulingQueue(env::Env environment, env::Duration backOffInitial, env::Duration backOffMax);
  ~SchedulingQueue();
  SchedulingQueue(const SchedulingQueue&) = delete;

  void add(const std::string& key, int32_t priority);
  // Leaves a pod where it is; one that is nowhere becomes active.
  void keep(const std::string& key, int32_t priority);
  // Tried again when its back-off is over.
  void addBackOff(const std::string& key, int32_t priority);
  // Tried again when something changed and its back-off is over.
  void addUnschedulable(const std::string& key, int32_t priority);
  void moveAllToActive();
  void remove(const std::string& key);
  // The next attempt of the pod starts without back-off.
  void forget(const std::string& key) { attempts_.erase(key); }
  // Nothing once closed.
  async::Task<std::optional<std::string>> pop();
  void close();

 private:
  struct Waiting {
    int32_t priority = 0;
    env::Instant due;
    bool unschedulable = false;
  };
  struct Active {
    int32_t priority;
    uint64_t sequence;
    std::string key;
    bool operator<(const Active& other) const {
      return priority != other.priority ? priority > other.priority : sequence < other.sequence;
    }
  };
  env::Duration backOff(const std::string& key);
  void armTimer();
  void activateDue();

  env::Env env_;
  env::Duration backOffInitial_, backOffMax_;
  std::set<Active> active_;
  std::map<std::string, Active> activeByKey_;
  std::map<std::string, Waiting> waiting_;
  std::map<std::string, int> attempts_;
  uint64_t sequence_ = 0;
  env::TimerId timer_ = 0;
  async::Event changed_;
  bool closed_ = false;
};

}  // namespace knarr::scheduler
