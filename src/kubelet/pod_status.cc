#include "kubelet/pod_status.h"

#include <fmt/format.h>

#include <algorithm>

#include "kubelet/pod_actions.h"
#include "kubelet/resources.h"

namespace knarr::kubelet {
namespace {

using corev1::Container;
using corev1::ContainerState;
using corev1::ContainerStatus;
using corev1::Pod;
using schema::Mut;
using schema::Str;
using schema::Time;

constexpr int64_t kNanos = 1'000'000'000;
constexpr std::string_view kUnknownReason = "ContainerStatusUnknown";
constexpr std::string_view kVanishedMessage =
    "The container could not be located when the pod was deleted.  The container used to be "
    "Running";
constexpr std::string_view kLostMessage = "The container could not be located when the pod was terminated";

// 0 is the epoch, not "no time": that is how upstream shows when a container began that could not be started.
Time timeOf(int64_t unixNanos) { return Time::fromUnix(unixNanos / kNanos); }

const ContainerStatus* findStatus(const schema::List<ContainerStatus>& list, Str name) {
  for (const ContainerStatus& status : list) {
    if (status.name == name) return &status;
  }
  return nullptr;
}

class StatusBuilder {
 public:
  StatusBuilder(Mut<Pod>& pod, const Pod& old, const RuntimePod& runtime, const StatusInputs& inputs)
      : pod_(pod), arena_(pod.arena()), old_(old), runtime_(runtime), inputs_(inputs) {}

  void containerStatuses() {
    bool hasInit = !old_.spec.initContainers.empty();
    corev1::PodStatus& status = pod_->status;
    status.initContainerStatuses = {};
    status.containerStatuses = {};
    status.ephemeralContainerStatuses = {};
    for (const Container& container : old_.spec.initContainers) {
      build(status.initContainerStatuses.append(arena_), container, old_.status.initContainerStatuses, true, hasInit);
    }
    for (const Container& container : old_.spec.containers) {
      build(status.containerStatuses.append(arena_), container, old_.status.containerStatuses, false, hasInit);
    }
    for (const corev1::EphemeralContainer& ephemeral : old_.spec.ephemeralContainers) {
      Container container{};
      container.name = ephemeral.ephemeralContainerCommon.name;
      container.image = ephemeral.ephemeralContainerCommon.image;
      build(status.ephemeralContainerStatuses.append(arena_), container, old_.status.ephemeralContainerStatuses, false, hasInit);
    }
    auto byName = [](const ContainerStatus& a, const ContainerStatus& b) { return a.name < b.name; };
    std::sort(status.containerStatuses.begin(), status.containerStatuses.end(), byName);
    std::sort(status.ephemeralContainerStatuses.begin(), status.ephemeralContainerStatuses.end(), byName);
  }

 private:
  Str str(std::string_view text) { return arena_.copy(text); }
  std::string containerId(const ContainerRecord& record) const { return fmt::format("{}://{}", inputs_.runtimeName, record.id); }
  void copyState(ContainerState& to, const ContainerState& from) {
    schema::deepCopy(schema::typeInfoOf<ContainerState>(), &to, &from, arena_);
  }
  corev1::ContainerStateTerminated* terminated(std::string_view reason, std::string_view message, int32_t code) {
    auto* state = arena_.make<corev1::ContainerStateTerminated>();
    state->reason = str(reason);
    state->message = str(message);
    state->exitCode = code;
    return state;
  }

  ContainerState stateOf(const ContainerRecord& record, const ContainerStatus* old, bool& lost) {
    ContainerState state{};
    if (record.running()) {
      state.running = arena_.make<corev1::ContainerStateRunning>();
      state.running->startedAt = timeOf(record.startedAt);
    } else if (record.exited()) {
      state.terminated = terminated(record.reason, record.message, record.exitCode);
      state.terminated->startedAt = timeOf(record.startedAt);
      state.terminated->finishedAt = timeOf(record.finishedAt);
      state.terminated->containerID = str(containerId(record));
    } else if (record.state == cri::kContainerUnknown && old != nullptr && old->state.running != nullptr) {
      state.terminated = terminated(kUnknownReason, kLostMessage, 137);
      lost = true;
    } else {
      state.waiting = arena_.make<corev1::ContainerStateWaiting>();
    }
    return state;
  }

  void build(ContainerStatus& status, const Container& container, const schema::List<ContainerStatus>& oldList, bool isInit,
             bool hasInit) {
    const ContainerStatus* old = findStatus(oldList, container.name);
    status.name = str(container.name);
    std::vector<const ContainerRecord*> records;
    for (const ContainerRecord& record : runtime_.containers) {
      if (record.name == container.name) records.push_back(&record);
    }
    if (records.empty()) {
      withoutRecord(status, container, old, isInit, hasInit);
    } else {
      withRecords(status, container, old, records);
      // What was granted is what was asked: nothing changes it while the pod runs. Source: kubelet_pods.go,
      // convertContainerStatusResources.
      status.resources = arena_.make<corev1::ResourceRequirements>();
      schema::deepCopy(schema::typeInfoOf<corev1::ResourceRequirements>(), status.resources, &container.resources, arena_);
      status.allocatedResources = status.resources->requests;
    }
    showStartFailure(status, container, records.empty() ? nullptr : records[0], isInit);
    readiness(status, container, isInit);
    mounts(status, container);
  }

  void withRecords(ContainerStatus& status, const Container& container, const ContainerStatus* old,
                   const std::vector<const ContainerRecord*>& records) {
    const ContainerRecord& newest = *records[0];
    bool lost = false;
    status.state = stateOf(newest, old, lost);
    status.restartCount = newest.restartCount + (lost ? 1 : 0);
    status.image = str(newest.image.empty() ? container.image : newest.image);
    status.imageID = str(newest.imageRef);
    status.containerID = str(containerId(newest));
    if (records.size() > 1) {
      bool ignored = false;
      ContainerState last = stateOf(*records[1], nullptr, ignored);
      if (last.terminated != nullptr) status.lastState = last;
    } else if (old != nullptr && old->containerID == status.containerID) {
      copyState(status.lastState, old->lastState);
    } else if (old != nullptr && old->state.terminated != nullptr && newest.restartCount > old->restartCount) {
      copyState(status.lastState, old->state);  // its record was collected
    } else if (old != nullptr) {
      copyState(status.lastState, old->lastState);
    }
  }

  void withoutRecord(ContainerStatus& status, const Container& container, const ContainerStatus* old, bool isInit, bool hasInit) {
    status.image = str(container.image);
    status.state.waiting = arena_.make<corev1::ContainerStateWaiting>();
    status.state.waiting->reason = hasInit ? Str("PodInitializing") : Str("ContainerCreating");
    if (old != nullptr) {
      status.restartCount = old->restartCount;
      if (old->state.terminated != nullptr) {
        schema::deepCopy(schema::typeInfoOf<ContainerStatus>(), &status, old, arena_);
        return;
      }
      copyState(status.lastState, old->lastState);
      if (old->state.running != nullptr) {
        status.lastState = {};
        status.lastState.terminated = terminated(kUnknownReason, kVanishedMessage, 137);
        if (!old_.metadata.deletionTimestamp) ++status.restartCount;
      }
    }
    if (isInit && !isSidecar(container) && regularContainerExists()) {
      status.state = {};
      status.state.terminated = terminated("Completed",
                                           "Unable to get init container status from container runtime and pod has been "
                                           "initialized, treat it as exited normally",
                                           0);
    }
  }

  bool regularContainerExists() const {
    for (const Container& container : old_.spec.containers) {
      if (runtime_.newest(container.name) != nullptr) return true;
    }
    return false;
  }

  // A container that is to be started again and whose last start failed waits with that reason.
  void showStartFailure(ContainerStatus& status, const Container& container, const ContainerRecord* record, bool isInit) {
    auto failure = inputs_.startFailures.find(container.name);
    if (failure == inputs_.startFailures.end() || inputs_.podIsTerminal) return;
    if (!shouldContainerBeRestarted(old_, container, record)) return;
    if (isInit && record != nullptr && record->exited() && record->exitCode == 0 && !isSidecar(container)) return;
    if (status.state.terminated != nullptr) {
      status.lastState = {};
      status.lastState.terminated = status.state.terminated;
    }
    status.state = {};
    status.state.waiting = arena_.make<corev1::ContainerStateWaiting>();
    status.state.waiting->reason = str(failure->second.reason);
    status.state.waiting->message = str(failure->second.message);
  }

  void readiness(ContainerStatus& status, const Container& container, bool isInit) {
    bool running = status.state.running != nullptr;
    bool started = running && inputs_.started(container.name);
    status.started = started;
    if (isInit && !isSidecar(container)) {
      status.ready = status.state.terminated != nullptr && status.state.terminated->exitCode == 0;
    } else {
      status.ready = started && inputs_.ready(container.name);
    }
  }

  void mounts(ContainerStatus& status, const Container& container) {
    status.volumeMounts = {};
    for (const corev1::VolumeMount& mount : container.volumeMounts) {
      corev1::VolumeMountStatus& item = status.volumeMounts.append(arena_);
      item.name = str(mount.name);
      item.mountPath = str(mount.mountPath);
      item.readOnly = mount.readOnly;
      if (mount.readOnly) item.recursiveReadOnly = Str("Disabled");
    }
  }

  Mut<Pod>& pod_;
  Arena& arena_;
  const Pod& old_;
  const RuntimePod& runtime_;
  const StatusInputs& inputs_;
};

// "containers with unknown status: [a b]"
std::string bracketed(std::string_view what, const std::vector<std::string>& names) {
  if (names.empty()) return "";
  return fmt::format("containers with {} status: [{}]", what, fmt::join(names, " "));
}
std::string both(const std::string& a, const std::string& b) { return a.empty() ? b : b.empty() ? a : a + ", " + b; }

struct ConditionValue {
  bool value = false;
  std::string reason, message;
};

ConditionValue containersReady(const Pod& pod) {
  const corev1::PodStatus& status = pod.status;
  if (status.containerStatuses.isNil()) return {false, "UnknownContainerStatuses", ""};
  std::vector<std::string> unknown, unready;
  auto look = [&](const Container& container, const schema::List<ContainerStatus>& list) {
    const ContainerStatus* found = findStatus(list, container.name);
    if (found == nullptr) {
      unknown.emplace_back(container.name);
    } else if (!found->ready) {
      unready.emplace_back(container.name);
    }
  };
  for (const Container& container : pod.spec.initContainers) {
    if (isSidecar(container)) look(container, status.initContainerStatuses);
  }
  for (const Container& container : pod.spec.containers) look(container, status.containerStatuses);
  if (status.phase == corev1::PodPhase::Succeeded && unknown.empty()) return {false, "PodCompleted", ""};
  if (status.phase == corev1::PodPhase::Failed) return {false, "PodFailed", ""};
  std::string message = both(bracketed("unknown", unknown), bracketed("unready", unready));
  if (message.empty()) return {true, "", ""};
  return {false, "ContainersNotReady", message};
}

ConditionValue podReady(const Pod& pod, const ConditionValue& containers) {
  if (!containers.value) return containers;
  std::string message;
  for (const corev1::PodReadinessGate& gate : pod.spec.readinessGates) {
    const corev1::PodCondition* found = nullptr;
    for (const corev1::PodCondition& condition : pod.status.conditions) {
      if (condition.type == gate.conditionType) found = &condition;
    }
    if (found == nullptr) {
      message =
          both(message, fmt::format("corresponding condition of pod readiness gate \"{}\" does not exist.", gate.conditionType));
    } else if (found->status != "True") {
      message = both(message, fmt::format("the status of pod readiness gate \"{}\" is not \"True\", but {}", gate.conditionType,
                                          found->status));
    }
  }
  if (message.empty()) return {true, "", ""};
  return {false, "ReadinessGatesNotReady", message};
}

ConditionValue podInitialized(const Pod& pod) {
  const corev1::PodStatus& status = pod.status;
  if (status.containerStatuses.isNil() && !pod.spec.initContainers.empty()) {
    return {false, "UnknownContainerStatuses", ""};
  }
  std::vector<std::string> unknown, incomplete;
  for (const Container& container : pod.spec.initContainers) {
    const ContainerStatus* found = findStatus(status.initContainerStatuses, container.name);
    if (found == nullptr) {
      unknown.emplace_back(container.name);
    } else if (isSidecar(container) ? !found->started.valueOr(false) : !found->ready) {
      incomplete.emplace_back(container.name);
    }
  }
  if (status.phase == corev1::PodPhase::Succeeded && unknown.empty()) return {true, "PodCompleted", ""};
  for (const ContainerStatus& container : status.containerStatuses) {
    if (container.state.running != nullptr || container.state.terminated != nullptr) return {true, "", ""};
  }
  std::string message = both(bracketed("incomplete", incomplete), bracketed("unknown", unknown));
  if (message.empty()) return {true, "", ""};
  return {false, "ContainersNotInitialized", message};
}

void setAddresses(Mut<Pod>& pod, const RuntimePod& runtime, const StatusInputs& inputs) {
  corev1::PodStatus& status = pod->status;
  Arena& arena = pod.arena();
  if (!inputs.nodeIps.empty()) {
    status.hostIP = pod.str(inputs.nodeIps[0]);
    status.hostIPs = {};
    for (const std::string& ip : inputs.nodeIps) status.hostIPs.append(arena).ip = pod.str(ip);
  }
  std::vector<std::string> ips = runtime.ips();
  if (pod->spec.hostNetwork) ips = inputs.nodeIps;
  if (ips.empty()) return;  // what a dead sandbox had stays
  // The first of each family, the family of the node's first address leading.
  auto isV6 = [](const std::string& ip) { return ip.find(':') != std::string::npos; };
  bool v6First = !inputs.nodeIps.empty() && isV6(inputs.nodeIps[0]);
  std::vector<std::string> chosen;
  for (bool v6 : {v6First, !v6First}) {
    auto found = std::find_if(ips.begin(), ips.end(), [&](const std::string& ip) { return isV6(ip) == v6; });
    if (found != ips.end()) chosen.push_back(*found);
  }
  status.podIP = pod.str(chosen[0]);
  status.podIPs = {};
  for (const std::string& ip : chosen) status.podIPs.append(arena).ip = pod.str(ip);
}

struct PhaseCounts {
  int pendingInit = 0, failedNotRestartable = 0, pendingSidecar = 0;
  int unknown = 0, running = 0, waiting = 0, stopped = 0, succeeded = 0, notRestartable = 0;
};

bool restartable(const corev1::PodSpec& spec, const Container& container, int32_t exitCode) {
  Pod pod{};
  pod.spec.restartPolicy = spec.restartPolicy;
  ContainerRecord record;
  record.state = cri::kContainerExited;
  record.exitCode = exitCode;
  return shouldContainerBeRestarted(pod, container, &record);
}

void countInit(const corev1::PodSpec& spec, const corev1::PodStatus& status, PhaseCounts& counts) {
  for (const Container& container : spec.initContainers) {
    const ContainerStatus* found = findStatus(status.initContainerStatuses, container.name);
    if (isSidecar(container)) {
      if (found == nullptr) {
        ++counts.unknown;
      } else if (found->state.running != nullptr) {
        ++counts.running;
        if (!found->started.valueOr(false)) ++counts.pendingSidecar;
      } else if (found->state.waiting != nullptr && found->lastState.terminated == nullptr) {
        ++counts.pendingSidecar;
        ++counts.waiting;
      }
      continue;
    }
    const corev1::ContainerStateTerminated* ended = nullptr;
    if (found != nullptr) {
      ended = found->state.terminated;
      if (ended == nullptr && found->state.waiting != nullptr) ended = found->lastState.terminated;
    }
    if (ended == nullptr) {
      ++counts.pendingInit;
    } else if (ended->exitCode != 0) {
      // Not done either way; restartable ones keep the pod pending.
      if (restartable(spec, container, ended->exitCode)) {
        ++counts.pendingInit;
      } else {
        ++counts.failedNotRestartable;
      }
    }
  }
}

void countRegular(const corev1::PodSpec& spec, const corev1::PodStatus& status, PhaseCounts& counts) {
  for (const Container& container : spec.containers) {
    const ContainerStatus* found = findStatus(status.containerStatuses, container.name);
    if (found == nullptr) {
      ++counts.unknown;
    } else if (found->state.running != nullptr) {
      ++counts.running;
    } else if (found->state.terminated != nullptr) {
      ++counts.stopped;
      if (found->state.terminated->exitCode == 0) ++counts.succeeded;
      if (!restartable(spec, container, found->state.terminated->exitCode)) ++counts.notRestartable;
    } else if (found->lastState.terminated != nullptr) {
      ++counts.stopped;
      if (!restartable(spec, container, found->lastState.terminated->exitCode)) ++counts.notRestartable;
    } else {
      ++counts.waiting;
    }
  }
}

}  // namespace

std::string podPhase(const corev1::PodSpec& spec, const corev1::PodStatus& status, bool podIsTerminal, bool podInitialized) {
  PhaseCounts counts;
  countInit(spec, status, counts);
  countRegular(spec, status, counts);
  if (counts.failedNotRestartable > 0) return "Failed";
  if (counts.pendingInit > 0 || (counts.pendingSidecar > 0 && !podInitialized)) return "Pending";
  if (counts.waiting > 0) return "Pending";
  if (counts.running > 0 && counts.unknown == 0) return "Running";
  if (counts.running == 0 && counts.stopped > 0 && counts.unknown == 0) {
    bool allSucceeded = counts.stopped == counts.succeeded;
    if (podIsTerminal) return allSucceeded ? "Succeeded" : "Failed";
    if (counts.notRestartable < counts.stopped) return "Running";
    return allSucceeded ? "Succeeded" : "Failed";
  }
  return "Pending";
}

void setPodCondition(Mut<Pod>& pod, Str type, bool value, std::string_view reason, std::string_view message,
                     int64_t nowUnixSeconds) {
  corev1::PodCondition* condition = nullptr;
  for (corev1::PodCondition& present : pod->status.conditions) {
    if (present.type == type) condition = &present;
  }
  Str wanted = value ? Str("True") : Str("False");
  if (condition == nullptr) {
    condition = &pod->status.conditions.append(pod.arena());
    condition->type = pod.str(type);
  }
  if (condition->status != wanted) condition->lastTransitionTime = Time::fromUnix(nowUnixSeconds);
  condition->status = wanted;
  condition->reason = pod.str(reason);
  condition->message = pod.str(message);
  condition->observedGeneration = pod->metadata.generation;
}

Mut<Pod> generateApiPodStatus(const schema::Ref<Pod>& pod, const RuntimePod& runtime, const StatusInputs& inputs) {
  Mut<Pod> next = schema::edit(pod);
  StatusBuilder(next, *pod, runtime, inputs).containerStatuses();
  corev1::PodStatus& status = next->status;
  std::string phase = podPhase(pod->spec, status, inputs.podIsTerminal, inputs.podInitialized);
  if (pod->status.phase == corev1::PodPhase::Failed || pod->status.phase == corev1::PodPhase::Succeeded) {
    phase = pod->status.phase;  // never left again
  }
  if (phase != pod->status.phase) status.reason = status.message = Str();
  status.phase = next.str(phase);
  status.qosClass = next.str(qosClassOf(*pod));
  status.observedGeneration = std::max(pod->metadata.generation, pod->status.observedGeneration);
  if (!status.startTime) status.startTime = Time::fromUnix(inputs.nowUnixSeconds);
  setAddresses(next, runtime, inputs);
  int64_t now = inputs.nowUnixSeconds;
  setPodCondition(next, "PodReadyToStartContainers", !inputs.needsSandbox, "", "", now);
  ConditionValue initialized = podInitialized(*next);
  setPodCondition(next, "Initialized", initialized.value, initialized.reason, initialized.message, now);
  ConditionValue containers = containersReady(*next);
  ConditionValue ready = podReady(*next, containers);
  setPodCondition(next, "Ready", ready.value, ready.reason, ready.message, now);
  setPodCondition(next, "ContainersReady", containers.value, containers.reason, containers.message, now);
  setPodCondition(next, "PodScheduled", true, "", "", now);
  return next;
}

void terminateStatus(Mut<Pod>& pod) {
  corev1::PodStatus& status = pod->status;
  auto end = [&](schema::List<ContainerStatus>& list) {
    for (ContainerStatus& container : list) {
      if (container.state.terminated != nullptr) continue;
      container.state = {};
      container.state.terminated = pod.arena().make<corev1::ContainerStateTerminated>();
      container.state.terminated->reason = kUnknownReason;
      container.state.terminated->message = kLostMessage;
      container.state.terminated->exitCode = 137;
      container.ready = false;
      container.started = false;
    }
  };
  end(status.containerStatuses);
  end(status.ephemeralContainerStatuses);
  // Init containers after the last one that was started never ran and stay as they are.
  schema::List<ContainerStatus> begun = status.initContainerStatuses;
  while (!begun.empty()) {
    const ContainerStatus& last = begun[begun.size() - 1];
    if (last.state.running != nullptr || last.state.terminated != nullptr || last.lastState.terminated != nullptr) break;
    --begun.size_;
  }
  end(begun);
  if (status.phase != corev1::PodPhase::Succeeded && status.phase != corev1::PodPhase::Failed) {
    status.phase = corev1::PodPhase::Failed;
  }
}

}  // namespace knarr::kubelet
