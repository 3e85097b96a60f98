#include "kubelet/status_manager.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/scoped_timer.h"
#include "base/log.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Pod;
using corev1::PodCondition;
using schema::Mut;
using schema::Ref;

namespace {

constexpr auto kSyncPeriod = std::chrono::seconds(10);
constexpr int kConflictRetries = 5;

bool terminalPhase(schema::Str phase) { return phase == corev1::PodPhase::Failed || phase == corev1::PodPhase::Succeeded; }

bool anyRunning(const corev1::PodStatus& status) {
  for (const auto& container : status.containerStatuses) {
    if (container.state.running != nullptr) return true;
  }
  for (const auto& container : status.initContainerStatuses) {
    if (container.state.running != nullptr) return true;
  }
  return false;
}

void copyCondition(Mut<Pod>& pod, const PodCondition& from) {
  schema::deepCopy(schema::typeInfoOf<PodCondition>(), &pod->status.conditions.append(pod.arena()), &from, pod.arena());
}

// Others' conditions of the API's object, then the kubelet's own.
void mergeConditions(Mut<Pod>& merged, const corev1::PodStatus& api, const corev1::PodStatus& own) {
  merged->status.conditions = {};
  for (const PodCondition& condition : own.conditions) {
    if (isKubeletCondition(condition.type)) copyCondition(merged, condition);
  }
  for (const PodCondition& condition : api.conditions) {
    if (!isKubeletCondition(condition.type)) copyCondition(merged, condition);
  }
}

void keepPhase(Mut<Pod>& pod, const corev1::PodStatus& from) {
  pod->status.phase = pod.str(from.phase);
  pod->status.reason = pod.str(from.reason);
  pod->status.message = pod.str(from.message);
}

}  // namespace

bool isKubeletCondition(std::string_view type) {
  for (std::string_view own : {"PodScheduled", "Ready", "Initialized", "ContainersReady", "PodReadyToStartContainers",
                               "PodResizePending", "PodResizeInProgress", "AllContainersRestarting"}) {
    if (type == own) return true;
  }
  return false;
}

Mut<Pod> mergePodStatus(const Ref<Pod>& apiPod, const corev1::PodStatus& status, bool couldHaveRunningContainers) {
  Mut<Pod> merged = schema::edit(apiPod);
  const corev1::PodStatus& api = apiPod->status;
  schema::deepCopy(schema::typeInfoOf<corev1::PodStatus>(), &merged->status, &status, merged.arena());
  corev1::PodStatus& out = merged->status;
  mergeConditions(merged, api, status);
  // Written by others.
  out.nominatedNodeName = merged.str(api.nominatedNodeName);
  out.resize = merged.str(api.resize);
  out.resourceClaimStatuses = {};
  for (const auto& claim : api.resourceClaimStatuses) {
    schema::deepCopy(schema::typeInfoOf<corev1::PodResourceClaimStatus>(), &out.resourceClaimStatuses.append(merged.arena()),
                     &claim, merged.arena());
  }
  if (api.startTime) out.startTime = api.startTime;
  bool early = terminalPhase(out.phase) && !terminalPhase(api.phase) && couldHaveRunningContainers;
  if (early || (terminalPhase(api.phase) && out.phase != api.phase)) keepPhase(merged, api);
  if (terminalPhase(out.phase)) {
    schema::Str reason = out.phase == corev1::PodPhase::Succeeded ? schema::Str("PodCompleted") : schema::Str("PodFailed");
    for (PodCondition& condition : out.conditions) {
      if ((condition.type != "Ready" && condition.type != "ContainersReady") || condition.status != "True") continue;
      condition.status = "False";
      condition.reason = reason;
      condition.message = {};
    }
  }
  if (schema::equal(out, api)) return {};
  return merged;
}

Mut<Pod> withOwnStatus(const Ref<Pod>& apiPod, const corev1::PodStatus& own) {
  Mut<Pod> pod = schema::edit(apiPod);
  schema::deepCopy(schema::typeInfoOf<corev1::PodStatus>(), &pod->status, &own, pod.arena());
  mergeConditions(pod, apiPod->status, own);
  if (terminalPhase(apiPod->status.phase)) keepPhase(pod, apiPod->status);
  return pod;
}

StatusManager::StatusManager(env::Env environment, client::Client& client)
    : env_(environment), client_(client), changed_(environment.executor) {}
StatusManager::~StatusManager() = default;

void StatusManager::set(Ref<Pod> pod) {
  Entry& entry = entries_[std::string(pod->metadata.uid)];
  if (entry.finished) return;
  if (entry.pod && schema::equal(entry.pod->status, pod->status)) {
    entry.pod = std::move(pod);
    return;
  }
  entry.pod = std::move(pod);
  entry.dirty = true;
  entry.failed = false;
  changed_.notifyAll();
}

Ref<Pod> StatusManager::withLatestStatus(const Ref<Pod>& apiPod) const {
  auto found = entries_.find(std::string(apiPod->metadata.uid));
  if (found == entries_.end() || !found->second.pod) return apiPod;
  return withOwnStatus(apiPod, found->second.pod->status).publish();
}

void StatusManager::terminated(Ref<Pod> pod) {
  Entry& entry = entries_[std::string(pod->metadata.uid)];
  entry.pod = std::move(pod);
  entry.finished = entry.dirty = true;
  entry.failed = false;
  changed_.notifyAll();
}

bool StatusManager::isTerminated(const std::string& podUid) const {
  auto found = entries_.find(podUid);
  return found != entries_.end() && found->second.finished;
}

void StatusManager::reconcile(const Ref<Pod>& apiPod) {
  auto found = entries_.find(std::string(apiPod->metadata.uid));
  if (found == entries_.end() || !found->second.pod || found->second.dirty) return;
  Entry& entry = found->second;
  bool toDelete = entry.finished && apiPod->metadata.deletionTimestamp.present;
  if (toDelete || mergePodStatus(apiPod, entry.pod->status, false)) {
    entry.dirty = true;
    changed_.notifyAll();
  }
}

void StatusManager::forget(const std::string& podUid) { entries_.erase(podUid); }

// True: nothing is left to do for the pod.
Task<Result<bool>> StatusManager::write(Ref<Pod> pod, bool finished) {
  std::string nameSpace(pod->metadata.namespace_), name(pod->metadata.name);
  Result<Ref<Pod>> current = co_await client::get<Pod>(client_, nameSpace, name);
  if (!current && isNotFound(current.error())) co_return true;
  if (!current) co_return Unexpected(std::move(current).error());
  Ref<Pod> api = std::move(*current);
  if (api->metadata.uid != pod->metadata.uid) co_return true;  // another pod of the same name
  for (int attempt = 0;; ++attempt) {
    Mut<Pod> merged = mergePodStatus(api, pod->status, !finished && anyRunning(pod->status));
    if (!merged) break;
    Result<Ref<Pod>> written = co_await client::updateStatus(client_, std::move(merged));
    if (written) {
      api = std::move(*written);
      break;
    }
    if (isNotFound(written.error())) co_return true;
    if (!isConflict(written.error()) || attempt >= kConflictRetries) co_return Unexpected(std::move(written).error());
    Result<Ref<Pod>> again = co_await client::get<Pod>(client_, nameSpace, name);
    if (!again && isNotFound(again.error())) co_return true;
    if (!again) co_return Unexpected(std::move(again).error());
    if ((*again)->metadata.uid != pod->metadata.uid) co_return true;
    api = std::move(*again);
  }
  if (finished && api->metadata.deletionTimestamp && terminalPhase(api->status.phase)) {
    client::DeleteOptions options;
    options.gracePeriodSeconds = 0;
    options.preconditionUid = pod->metadata.uid;
    auto removed = co_await client_.remove(client::resourceOf<Pod>(), nameSpace, name, options);
    if (!removed && !isNotFound(removed.error())) co_return Unexpected(std::move(removed).error());
  }
  co_return true;
}

Task<void> StatusManager::sync(std::string podUid) {
  auto found = entries_.find(podUid);
  if (found == entries_.end() || !found->second.dirty) co_return;
  found->second.dirty = false;
  Ref<Pod> pod = found->second.pod;
  bool finished = found->second.finished;
  Result<bool> done = co_await write(pod, finished);
  if (done) co_return;
  logWarning("kubelet", "cannot write the status of a pod pod={}/{} error={}", pod->metadata.namespace_, pod->metadata.name,
             done.error().describe());
  found = entries_.find(podUid);
  if (found == entries_.end() || found->second.dirty) co_return;
  found->second.dirty = found->second.failed = true;
}

Task<void> StatusManager::run(async::StopToken stop) {
  auto registration = stop.onStop([this] { changed_.notifyAll(); });
  env::Instant nextPass = env_.clock.now() + kSyncPeriod;
  while (!stop.stopRequested()) {
    bool pass = env_.clock.now() >= nextPass;
    if (pass) nextPass = env_.clock.now() + kSyncPeriod;
    std::vector<std::string> dirty;
    bool waiting = false;
    for (const auto& [uid, entry] : entries_) {
      if (entry.dirty && (pass || !entry.failed)) dirty.push_back(uid);
      waiting |= entry.dirty && entry.failed;
    }
    for (const std::string& uid : dirty) co_await sync(uid);
    if (!dirty.empty()) continue;  // more may have come while these were sent
    async::ScopedTimer timer;
    if (waiting) timer = async::ScopedTimer(env_.executor, nextPass, [this] { changed_.notifyAll(); });
    co_await changed_.wait();
  }
}

}  // namespace knarr::kubelet
