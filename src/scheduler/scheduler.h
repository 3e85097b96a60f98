// The scheduler: gives every pod without a node a node that fits it.
//
// Queue, cache and framework are plain state on one loop; a pod is decided by filters and scores over the nodes of the
// cache, assumed there at once, and bound through the API.
// Upstream counterpart: pkg/scheduler.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "async/async.h"
#include "client/client.h"
#include "client/informer.h"
#include "env/env.h"

namespace knarr::scheduler {

struct SchedulerConfig {
  std::string schedulerName = "default-scheduler";
  // Source: component-config KubeSchedulerConfiguration: podInitialBackoffSeconds, podMaxBackoffSeconds.
  env::Duration backOffInitial = std::chrono::seconds(1);
  env::Duration backOffMax = std::chrono::seconds(10);
};

class Scheduler {
 public:
  Scheduler(env::Env environment, client::Client& client, client::InformerFactory& informers, SchedulerConfig config);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  // Runs until stop; the informers asked for in the constructor are started by the caller.
  async::Task<void> run(async::StopToken stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace knarr::scheduler
