#include "cluster/pod_removal.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>

#include "base/log.h"
#include "contracts/cri/cri.h"

namespace knarr::cluster {
namespace {

using async::Task;

constexpr int64_t kStopSeconds = 2;
// A stop is a signal and a wait; a removal runs the CNI plugins, which are processes.
constexpr size_t kStopsMax = 256, kRemovalsMax = 8;

using Ids = std::shared_ptr<std::deque<std::string>>;

Task<void> stopContainers(cri::RuntimeClient* runtime, Ids ids) {
  while (!ids->empty()) {
    std::string id = std::move(ids->front());
    ids->pop_front();
    auto stopped = co_await runtime->stopContainer(id, kStopSeconds);
    if (!stopped) logWarning("cluster", "stopping container {}: {}", id, stopped.error().describe());
  }
}

Task<void> removeSandboxesFrom(cri::RuntimeClient* runtime, Ids ids, std::shared_ptr<RemovedSandboxes> outcome) {
  while (!ids->empty()) {
    std::string id = std::move(ids->front());
    ids->pop_front();
    Result<void> done;
    if (auto stopped = co_await runtime->stopPodSandbox(id); !stopped) done = Unexpected(std::move(stopped).error());
    if (done) {
      if (auto removed = co_await runtime->removePodSandbox(id); !removed) done = Unexpected(std::move(removed).error());
    }
    if (done)
      ++outcome->count;
    else if (!outcome->error)
      outcome->error = done.error();
  }
}

}  // namespace

async::Task<Result<RemovedSandboxes>> removeSandboxes(env::Env environment, cri::RuntimeClient* runtime) {
  auto sandboxes = CO_TRY(co_await runtime->listPodSandbox(schema::newObject<runtimev1::ListPodSandboxRequest>()));
  auto containers = CO_TRY(co_await runtime->listContainers(schema::newObject<runtimev1::ListContainersRequest>()));
  auto ids = std::make_shared<std::deque<std::string>>();
  for (const auto& container : containers->containers)
    if (container.state == cri::kContainerRunning) ids->emplace_back(container.id);
  {
    // Stopping is waiting: all of them wait at once.
    async::Gate gate(environment.executor);
    for (size_t i = 0, n = std::min(ids->size(), kStopsMax); i < n; ++i) gate.spawn(stopContainers(runtime, ids));
    co_await gate.close();
  }
  for (const auto& sandbox : sandboxes->items) ids->emplace_back(sandbox.id);
  auto outcome = std::make_shared<RemovedSandboxes>();
  async::Gate gate(environment.executor);
  for (size_t i = 0, n = std::min(ids->size(), kRemovalsMax); i < n; ++i) gate.spawn(removeSandboxesFrom(runtime, ids, outcome));
  co_await gate.close();
  co_return *outcome;
}

}  // namespace knarr::cluster
