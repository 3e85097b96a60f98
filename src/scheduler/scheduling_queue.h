// The scheduling queue: pods to try now, pods waiting out a back-off, pods no node fits.
//
// The active pods are ordered by the profile's queue sort. A pod that plugins refused stays in the pool until an event that one
// of them hopes for, or five minutes; then it waits out its back-off, and is taken earlier when nothing else is to do. A pod
// whose attempt failed otherwise always waits out its back-off. A decision is made without a pause, so no event can pass a popped
// pod by. Upstream counterpart: pkg/scheduler/backend/queue/scheduling_queue.go.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "async/async.h"
#include "env/env.h"
#include "scheduler/framework.h"

namespace knarr::scheduler {

class SchedulingQueue {
 public:
  // `sort` outlives the queue. Without a longest back-off there is none.
  SchedulingQueue(env::Env environment, const QueueSortPlugin& sort, env::Duration backOffInitial, env::Duration backOffMax);
  ~SchedulingQueue();
  SchedulingQueue(const SchedulingQueue&) = delete;

  // Where a pod is in the queue: popped and unknown ones are nowhere.
  bool contains(const std::string& key) const;
  // A pod that is nowhere becomes active; others stay where they are.
  void add(const std::string& key, int32_t priority);
  // After an attempt that plugins refused: waits for an event. Without any plugin it is a failed attempt.
  void addUnschedulable(const std::string& key, int32_t priority, PluginSet rejectedBy);
  // After an attempt that failed: waits out its back-off.
  void addBackOff(const std::string& key, int32_t priority);
  // Of the pods in the pool those that `worth` names are tried again, after their back-off.
  using Worth = std::function<bool(const std::string& key, PluginSet rejectedBy)>;
  void moveIf(const Worth& worth);
  // The same for one pod.
  void moveIf(const std::string& key, const Worth& worth);
  void remove(const std::string& key);
  // Nothing once closed.
  async::Task<std::optional<std::string>> pop();
  void close();

 private:
  enum class Place : uint8_t { kNowhere, kActive, kBackOff, kErrorBackOff, kPool };
  struct Record {
    Place place = Place::kNowhere;
    QueuedPod sortedBy;
    env::Instant due;  // end of the back-off; in the pool of the one to come
    env::Instant poolSince;
    PluginSet rejectedBy = 0;
    int unschedulable = 0, errors = 0;  // attempts of either outcome
  };
  struct ActiveOrder {
    const QueueSortPlugin* sort;
    bool operator()(const std::pair<QueuedPod, std::string>& a, const std::pair<QueuedPod, std::string>& b) const {
      return sort->less(a.first, b.first);
    }
  };
  using ByTime = std::set<std::pair<env::Instant, std::string>>;

  Record& leave(const std::string& key);
  void activate(const std::string& key);
  void afterBackOff(const std::string& key);
  Record& comeBack(const std::string& key, int32_t priority);
  env::Duration backOff(const Record& record) const;
  void armTimer();
  void activateDue();

  env::Env env_;
  env::Duration backOffInitial_, backOffMax_;
  std::map<std::string, Record> records_;
  std::set<std::pair<QueuedPod, std::string>, ActiveOrder> active_;
  ByTime backOff_, errorBackOff_, pool_;  // the pool by the time of entry
  uint64_t order_ = 0;
  env::TimerId timer_ = 0;
  async::Event changed_;
  bool closed_ = false;
};

}  // namespace knarr::scheduler
