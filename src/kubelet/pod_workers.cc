#include "kubelet/pod_workers.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "kubelet/admission.h"
#include "kubelet/cgroups.h"
#include "kubelet/resources.h"
#include "kubelet/termination_message.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Pod;
using schema::Ref;

namespace {

constexpr auto kBackOffPeriod = std::chrono::seconds(10);
// A failed start tells no event. Source: genericPlegRelistPeriod, after which upstream sees it.
constexpr env::Duration kEndSeenAfter = std::chrono::seconds(1);
constexpr std::string_view kNetworkNotReady = "network is not ready";

bool terminalPhase(schema::Str phase) { return phase == corev1::PodPhase::Failed || phase == corev1::PodPhase::Succeeded; }

std::string podText(const Pod& pod) { return fmt::format("{}/{}", pod.metadata.namespace_, pod.metadata.name); }

bool changedByOthers(const Pod& before, const Pod& after) {
  const metav1::ObjectMeta &a = before.metadata, &b = after.metadata;
  if (!schema::equal(before.spec, after.spec) || a.deletionTimestamp.present != b.deletionTimestamp.present ||
      a.deletionGracePeriodSeconds.valueOr(0) != b.deletionGracePeriodSeconds.valueOr(0)) {
    return true;
  }
  auto sameMap = [](const schema::StringMap& x, const schema::StringMap& y) {
    if (x.size() != y.size()) return false;
    for (const auto& entry : x) {
      const schema::Str* other = y.find(entry.key);
      if (other == nullptr || *other != entry.value) return false;
    }
    return true;
  };
  if (!sameMap(a.labels, b.labels) || !sameMap(a.annotations, b.annotations)) return true;
  // Others write the conditions that readiness gates wait for.
  return !after.spec.readinessGates.empty() && !schema::equal(before.status, after.status);
}

// A container that was not there before has ended.
bool endedSince(const RuntimePod& before, const RuntimePod& now) {
  return std::ranges::any_of(now.containers, [&](const ContainerRecord& record) {
    auto same = [&](const ContainerRecord& other) { return other.id == record.id; };
    return record.exited() && std::ranges::none_of(before.containers, same);
  });
}

// Some regular container was started in the sandbox that is up.
bool initializedInSandbox(const Pod& pod, const RuntimePod& runtime) {
  if (runtime.sandboxes.empty()) return false;
  for (const corev1::Container& container : pod.spec.containers) {
    const ContainerRecord* record = runtime.newest(container.name);
    if (record != nullptr && record->sandboxId == runtime.sandboxes.front().id && record->startedAt > 0) return true;
  }
  return false;
}

}  // namespace

int64_t effectiveGracePeriod(const Pod& pod, int64_t stored) {
  int64_t grace = stored;
  if (pod.metadata.deletionGracePeriodSeconds) {
    int64_t asked = *pod.metadata.deletionGracePeriodSeconds;
    if (grace == 0 || asked < grace) grace = asked;
  } else if (grace == 0) {
    grace = pod.spec.terminationGracePeriodSeconds.valueOr(30);
  }
  return std::max<int64_t>(grace, 1);
}

struct PodWorkers::Worker {
  explicit Worker(env::Executor& executor) : work(executor) {}
  std::string uid;
  Ref<Pod> pod;  // as the API has it; null for an orphan
  async::Event work;
  async::StopSource ending;  // of what a sync waits for
  bool admitted = false;
  bool rejected = false;     // its status says why, and there never was a container to tell of
  bool pending = true;       // something happened since the last look
  bool refresh = true;       // API objects are to be read anew with the next look
  bool terminating = false;  // termination was requested; never taken back
  bool killed = false;       // the terminating work is done
  bool removed = false;      // the API object is gone
  bool finished = false;     // all work is done but removal
  int64_t grace = 0;
  int64_t graceInUse = 0;  // of the kill in progress
};

PodWorkers::PodWorkers(PodWorkerContext context) : context_(std::move(context)), gate_(context_.env.executor) {}
PodWorkers::~PodWorkers() = default;

std::shared_ptr<PodWorkers::Worker> PodWorkers::spawn(const std::string& podUid) {
  auto worker = std::make_shared<Worker>(context_.env.executor);
  worker->uid = podUid;
  workers_[podUid] = worker;
  gate_.spawn(run(this, worker));
  return worker;
}

void PodWorkers::requestTermination(Worker& worker) {
  worker.terminating = true;
  if (worker.pod) worker.grace = effectiveGracePeriod(*worker.pod, worker.grace);
  worker.ending.requestStop();
}

void PodWorkers::update(const Ref<Pod>& pod) {
  std::string uid(pod->metadata.uid);
  auto found = workers_.find(uid);
  std::shared_ptr<Worker> worker = found != workers_.end() ? found->second : spawn(uid);
  // A write of the status alone, most often our own, is nothing to act on.
  bool changed = !worker->pod || changedByOthers(*worker->pod, *pod);
  worker->pod = pod;
  worker->refresh |= changed;
  context_.statuses.reconcile(pod);
  if (pod->metadata.deletionTimestamp || terminalPhase(pod->status.phase)) {
    changed |= !worker->terminating;
    requestTermination(*worker);
  }
  if (!changed) return;
  worker->pending = true;
  worker->work.notifyAll();
}

void PodWorkers::remove(const Ref<Pod>& pod) {
  auto found = workers_.find(std::string(pod->metadata.uid));
  if (found == workers_.end()) return;
  Worker& worker = *found->second;
  worker.removed = true;
  requestTermination(worker);
  worker.pending = true;
  worker.work.notifyAll();
}

void PodWorkers::wake(const std::string& podUid) {
  auto found = workers_.find(podUid);
  if (found == workers_.end()) return;
  found->second->pending = true;
  found->second->work.notifyAll();
}

void PodWorkers::killOrphan(const std::string& podUid) {
  if (knows(podUid) || closing_) return;
  logInfo("kubelet", "ending a pod that only the runtime knows uid={}", podUid);
  auto worker = spawn(podUid);
  worker->terminating = worker->removed = true;
  worker->grace = 1;
}

Task<void> PodWorkers::close() {
  closing_ = true;
  for (auto& [uid, worker] : workers_) {
    worker->ending.requestStop();
    worker->work.notifyAll();
  }
  co_await gate_.close();
}

Task<void> PodWorkers::waitForWork(std::shared_ptr<Worker> worker, std::optional<env::Duration> limit) {
  env::TimerId timer = 0;
  if (limit) {
    std::weak_ptr<Worker> weak = worker;
    timer = context_.env.executor.at(context_.env.clock.now() + *limit, [weak] {
      if (auto late = weak.lock()) {
        late->pending = true;
        late->work.notifyAll();
      }
    });
  }
  while (!worker->pending && !closing_) co_await worker->work.wait();
  if (limit) context_.env.executor.cancelTimer(timer);
  worker->pending = false;
}

env::Duration PodWorkers::delayAfter(const SyncResult& result) {
  env::Duration delay = context_.config.syncFrequency;
  if (result.error) {
    delay = result.error->message().find(kNetworkNotReady) != std::string::npos ? env::Duration(std::chrono::seconds(1))
                                                                                : env::Duration(kBackOffPeriod);
  }
  delay = env::Duration(static_cast<int64_t>(static_cast<double>(delay.count()) * (1 + context_.env.random.unit() / 2)));
  if (result.retryAfter) delay = std::min(delay, *result.retryAfter + std::chrono::milliseconds(1));
  return delay;
}

Task<void> PodWorkers::run(PodWorkers* self, std::shared_ptr<Worker> worker) {
  std::optional<env::Duration> delay = env::Duration{};
  while (!self->closing_) {
    co_await self->waitForWork(worker, delay);
    if (self->closing_) co_return;
    delay.reset();
    if (!worker->terminating) {
      SyncResult result = co_await self->syncPod(worker);
      if (result.error) {
        logWarning("kubelet", "error syncing pod pod={} error={}", podText(*worker->pod), result.error->describe());
      }
      if (result.terminal) {
        self->requestTermination(*worker);
        worker->pending = true;
      }
      delay = self->delayAfter(result);
      continue;
    }
    if (worker->finished) {
      if (!worker->removed) continue;  // a pod that ended stays until the API forgets it
      Result<RuntimePod> left = co_await self->look(worker->uid);
      Result<void> gone = left ? co_await self->context_.podRuntime.removePod(*left) : Unexpected(left.error());
      if (!gone) {
        logWarning("kubelet", "cannot remove what is left of a pod uid={} error={}", worker->uid, gone.error().describe());
        delay = kBackOffPeriod;
        continue;
      }
      self->context_.statuses.forget(worker->uid);
      self->context_.podRuntime.forgetPod(worker->uid);
      self->workers_.erase(worker->uid);
      co_return;
    }
    Result<void> done;
    if (!worker->pod) {
      done = co_await self->syncOrphan(worker);
    } else {
      if (!worker->killed) done = co_await self->syncTerminating(worker);
      if (done && worker->killed) done = co_await self->syncTerminated(worker);
    }
    if (!done) {
      logWarning("kubelet", "error ending pod uid={} error={}", worker->uid, done.error().describe());
      delay = kBackOffPeriod;
      continue;
    }
    worker->finished = true;
    worker->pending = true;
  }
}

Task<Result<RuntimePod>> PodWorkers::look(std::string podUid) {
  Result<RuntimePod> runtime = co_await readRuntimePod(context_.runtime, podUid);
  if (runtime) co_await addTerminationMessages(context_.env, &*runtime);
  co_return runtime;
}

EnvironmentInputs PodWorkers::environmentInputs(const Pod& pod, const RuntimePod& runtime) const {
  EnvironmentInputs inputs;
  inputs.nodeIps = context_.config.nodeIps;
  inputs.podIps = runtime.ips();
  inputs.nodeCpuMilli = context_.machine.cpuMilli;
  inputs.nodeMemoryBytes = context_.machine.memoryBytes;
  inputs.services = context_.serviceVariables(pod);
  return inputs;
}

Ref<Pod> PodWorkers::publishStatus(const Worker& worker, const RuntimePod& runtime, bool terminal) {
  Ref<Pod> pod = context_.statuses.withLatestStatus(worker.pod);
  if (worker.rejected) return pod;
  context_.prober.updatePod(worker.uid, runtime);
  StatusInputs inputs;
  inputs.nowUnixSeconds = context_.env.clock.unixSeconds();
  inputs.nodeIps = context_.config.nodeIps;
  inputs.runtimeName = context_.runtimeName();
  inputs.podIsTerminal = terminal;
  inputs.podInitialized = initializedInSandbox(*pod, runtime);
  inputs.needsSandbox = podSandboxChanged(*pod, runtime).create;
  if (!terminal) inputs.startFailures = context_.podRuntime.startFailures(worker.uid);
  inputs.ready = [&](std::string_view container) { return context_.prober.ready(pod, container); };
  inputs.started = [&](std::string_view container) { return context_.prober.started(pod, container); };
  schema::Mut<Pod> next = generateApiPodStatus(pod, runtime, inputs);
  if (pod->spec.activeDeadlineSeconds && next->status.startTime && !terminalPhase(next->status.phase)) {
    int64_t elapsed = inputs.nowUnixSeconds - next->status.startTime.value.unixSeconds();
    if (elapsed >= *pod->spec.activeDeadlineSeconds) {
      constexpr std::string_view kMessage = "Pod was active on the node longer than the specified deadline";
      next->status.phase = corev1::PodPhase::Failed;
      next->status.reason = "DeadlineExceeded";
      next->status.message = kMessage;
      context_.recorder.event(pod, "Normal", "DeadlineExceeded", std::string(kMessage));
    }
  }
  Ref<Pod> published = std::move(next).publish();
  context_.statuses.set(published);
  return published;
}

// The next look is due when the pod has been active for as long as it may.
std::optional<env::Duration> PodWorkers::untilDeadline(const Pod& pod) const {
  if (!pod.spec.activeDeadlineSeconds || !pod.status.startTime) return std::nullopt;
  int64_t deadline = pod.status.startTime.value.unixSeconds() + *pod.spec.activeDeadlineSeconds;
  return env::Duration(std::max<int64_t>(0, deadline * 1'000'000'000 - context_.env.clock.unixNanos()));
}

// A pod that already has containers was admitted before the kubelet started.
bool PodWorkers::admit(Worker& worker, const Ref<Pod>& pod, const RuntimePod& runtime) {
  if (worker.admitted || !runtime.containers.empty()) {
    worker.admitted = true;
    return true;
  }
  // A pod that the API has forgotten holds no place any more, as the scheduler sees it too, though its containers may still be
  // ending. Source: pkg/kubelet/kubelet_pods.go, GetActivePods, which asks the pod manager.
  std::vector<Ref<Pod>> others;
  for (const auto& [uid, other] : workers_) {
    bool active = other->pod && other->admitted && !other->killed && !other->removed;
    if (active && other.get() != &worker) others.push_back(other->pod);
  }
  std::optional<Rejection> rejection = admitUnderPressure(*pod, context_.pressure());
  if (!rejection) rejection = admitPod(*pod, others, context_.machine, context_.config.maxPods);
  if (!rejection) {
    worker.admitted = true;
    return true;
  }
  context_.recorder.event(pod, "Warning", rejection->reason, rejection->message);
  schema::Mut<Pod> rejected = schema::edit(pod);
  rejected->status = {};
  rejected->status.phase = corev1::PodPhase::Failed;
  rejected->status.reason = rejected.str(rejection->reason);
  rejected->status.message = rejected.str("Pod was rejected: " + rejection->message);
  rejected->status.qosClass = rejected.str(qosClassOf(*pod));
  rejected->status.startTime = schema::Time::fromUnix(context_.env.clock.unixSeconds());
  context_.statuses.set(std::move(rejected).publish());
  worker.rejected = true;
  return false;
}

// Limits of the pod as a whole, and the classes' shares, which every pod moves. What the kernel refuses is told and does
// not keep the pod from running: its containers have limits of their own.
Task<void> PodWorkers::applyCgroups(Ref<Pod> pod) {
  if (!context_.config.cgroupsPerQos) co_return;
  std::vector<Ref<Pod>> pods;
  for (const auto& [uid, other] : workers_)
    if (other->pod && other->admitted && !other->killed) pods.push_back(other->pod);
  std::vector<CgroupSetting> settings = qosCgroups(pods, context_.machine, context_.config.cgroupRoot);
  settings.push_back({podCgroup(*pod, context_.config.cgroupRoot), podCgroupLimits(*pod)});
  std::erase_if(settings, [&](const CgroupSetting& setting) {
    auto known = cgroups_.find(setting.path);
    return known != cgroups_.end() && known->second == setting.limits;
  });
  for (const CgroupSetting& setting : settings) {
    env::Files& files = context_.env.files;
    std::move_only_function<Result<void>()> work = [&files, setting] { return applyCgroup(files, setting); };
    cgroups_[setting.path] = setting.limits;
    Result<void> applied = co_await async::runBlocking<Result<void>>(context_.env.executor, std::move(work));
    if (applied) continue;
    logWarning("kubelet", "cannot limit a cgroup path={} error={}", setting.path, applied.error().describe());
    if (setting.path.find("/pod") != std::string::npos)
      context_.recorder.event(pod, "Warning", "FailedCreatePodContainer",
                              fmt::format("unable to ensure pod container exists: {}", applied.error().message()));
  }
}

Task<PodWorkers::SyncResult> PodWorkers::syncPod(std::shared_ptr<Worker> worker) {
  SyncResult result;
  Ref<Pod> apiPod = worker->pod;
  context_.prober.addPod(apiPod);
  Result<RuntimePod> runtime = co_await look(worker->uid);
  if (!runtime) {
    context_.recorder.event(apiPod, "Warning", "FailedSync",
                            fmt::format("error determining status: {}", runtime.error().message()));
    result.error = runtime.error();
    co_return result;
  }
  Ref<Pod> pod = publishStatus(*worker, *runtime, false);
  result.retryAfter = untilDeadline(*pod);
  if (runtime->containers.size() > pod->spec.containers.size() || runtime->sandboxes.size() > 1)
    co_await context_.podRuntime.trim(*runtime);
  if (terminalPhase(pod->status.phase) || !admit(*worker, pod, *runtime)) {
    result.terminal = true;
    co_return result;
  }
  std::string networkError = context_.networkError();
  if (!networkError.empty() && !pod->spec.hostNetwork) {
    std::string message = fmt::format("{}: {}", kNetworkNotReady, networkError);
    context_.recorder.event(pod, "Warning", "NetworkNotReady", message);
    result.error = Error(Reason::ServiceUnavailable, message);
    co_return result;
  }
  if (auto made = context_.env.files.makeDirectories(context_.volumes.podDirectory(worker->uid) + "/volumes", 0750); !made) {
    context_.recorder.event(pod, "Warning", "Failed",
                            fmt::format("error making pod data directories: {}", made.error().message()));
    result.error = made.error();
    co_return result;
  }
  co_await applyCgroups(pod);
  EnvironmentInputs inputs = environmentInputs(*pod, *runtime);
  bool refresh = std::exchange(worker->refresh, false);
  Result<MountedVolumes> volumes = co_await context_.volumes.mount(pod, inputs, refresh);
  if (!volumes) {
    worker->refresh = true;
    for (const Cause& cause : volumes.error().causes()) context_.recorder.event(pod, "Warning", "FailedMount", cause.message);
    result.error = volumes.error();
    co_return result;
  }
  if (worker->terminating) co_return result;  // came while volumes were made ready
  ProbeView probes;
  std::string uid = worker->uid;
  probes.livenessFailed = [&](std::string_view name) { return context_.prober.livenessFailed(uid, name); };
  probes.startupFailed = [&](std::string_view name) { return context_.prober.startupFailed(uid, name); };
  probes.started = [&](std::string_view name) { return context_.prober.started(pod, name); };
  PodSyncInputs sync{
      pod, *runtime, computePodActions(*pod, *runtime, probes), std::move(*volumes), inputs, refresh, worker->ending.token()};
  if (sync.actions.empty()) co_return result;
  PodSyncOutcome outcome = co_await context_.podRuntime.syncPod(std::move(sync));
  result.error = outcome.error;
  if (outcome.retryAfter) result.retryAfter = std::min(result.retryAfter.value_or(*outcome.retryAfter), *outcome.retryAfter);
  // What was just done shows at once, without waiting for the next relist.
  if (Result<RuntimePod> now = co_await look(worker->uid); now && !worker->terminating) {
    Ref<Pod> after = publishStatus(*worker, *now, false);
    // An init container may have ended already, and its successor waits.
    bool more = !computePodActions(*after, *now, probes).empty() && !outcome.error && !outcome.retryAfter;
    if (more || terminalPhase(after->status.phase)) worker->pending = true;
    // A container that could not be started has ended, and is started again at once, or waits for its back-off.
    if (outcome.error && endedSince(*runtime, *now))
      result.retryAfter = std::min(result.retryAfter.value_or(kEndSeenAfter), kEndSeenAfter);
  }
  co_return result;
}

Task<Result<void>> PodWorkers::syncTerminating(std::shared_ptr<Worker> worker) {
  RuntimePod runtime = CO_TRY(co_await look(worker->uid));
  publishStatus(*worker, runtime, false);
  context_.prober.stopLivenessAndStartup(worker->uid);
  Ref<Pod> pod = worker->pod;
  // A grace that becomes shorter while the kill runs (a forced deletion) starts another kill beside it. The pod has ended when
  // any of them got through; what the others still wait for, a hook of the longer grace, then ends with the gate.
  struct Ending {
    int started = 0;
    bool over = false;
    std::optional<Error> error;  // of the last one
  };
  struct Kill {
    static Task<void> run(PodWorkers* self, std::shared_ptr<Worker> w, Ref<Pod> p, RuntimePod r, int64_t grace,
                          std::shared_ptr<Ending> ending) {
      int turn = ++ending->started;
      Result<void> killed = co_await self->context_.podRuntime.killPod(p, std::move(r), grace);
      if (!killed && turn != ending->started) co_return;
      if (!killed) ending->error = killed.error();
      ending->over = true;
      w->pending = true;
      w->work.notifyAll();
    }
  };
  auto ending = std::make_shared<Ending>();
  async::Gate gate(context_.env.executor);
  worker->graceInUse = worker->grace;
  gate.spawn(Kill::run(this, worker, pod, runtime, worker->grace, ending));
  while (!ending->over && !closing_) {
    co_await waitForWork(worker, std::nullopt);
    if (ending->over || closing_) break;
    if (worker->grace < worker->graceInUse) {
      worker->graceInUse = worker->grace;
      gate.spawn(Kill::run(this, worker, pod, runtime, worker->grace, ending));
    }
    // Readiness goes on to the end.
    if (Result<RuntimePod> now = co_await look(worker->uid); now && now->anyRunning() && !ending->over)
      publishStatus(*worker, *now, false);
  }
  if (closing_) co_return fail(Reason::ServiceUnavailable, "the kubelet stops");
  if (ending->error) {
    context_.recorder.event(pod, "Warning", "FailedKillPod", fmt::format("error killing pod: {}", ending->error->message()));
    co_return Unexpected(*ending->error);
  }
  context_.prober.removePod(worker->uid);
  RuntimePod after = CO_TRY(co_await look(worker->uid));
  if (after.anyRunning()) {
    co_return fail(Reason::InternalError, "detected running containers after a successful KillPod, CRI violation");
  }
  publishStatus(*worker, after, true);
  worker->killed = true;
  co_return Result<void>();
}

Task<Result<void>> PodWorkers::syncTerminated(std::shared_ptr<Worker> worker) {
  RuntimePod runtime = CO_TRY(co_await look(worker->uid));
  Ref<Pod> pod = publishStatus(*worker, runtime, true);
  CO_TRY(co_await context_.volumes.removePod(worker->uid));
  if (context_.config.cgroupsPerQos) {
    env::Files& files = context_.env.files;
    std::string cgroup = podCgroup(*pod, context_.config.cgroupRoot);
    cgroups_.erase(cgroup);
    std::move_only_function<Result<void>()> work = [&files, cgroup] { return removeCgroup(files, cgroup); };
    Result<void> removed = co_await async::runBlocking<Result<void>>(context_.env.executor, std::move(work));
    if (!removed) logWarning("kubelet", "a pod's cgroup stays pod={} error={}", podText(*pod), removed.error().describe());
  }
  schema::Mut<Pod> last = schema::edit(pod);
  terminateStatus(last);
  context_.statuses.terminated(std::move(last).publish());
  co_return Result<void>();
}

Task<Result<void>> PodWorkers::syncOrphan(std::shared_ptr<Worker> worker) {
  RuntimePod runtime = CO_TRY(co_await look(worker->uid));
  CO_TRY(co_await context_.podRuntime.killPod(Ref<Pod>(), runtime, worker->grace));
  CO_TRY(co_await context_.volumes.removePod(worker->uid));
  co_return Result<void>();
}

}  // namespace knarr::kubelet
