// SyncPod: sandboxes and the order of starts. Starting one container is container_start.cc, ending
// is pod_kill.cc.
#include "kubelet/pod_runtime.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/strings.h"
#include "kubelet/resources.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Container;
using corev1::Pod;
namespace v1 = runtimev1;

namespace {

void addError(PodSyncOutcome& outcome, const Error& error) {
  if (!outcome.error) {
    outcome.error = error;
  } else {
    outcome.error = Error(outcome.error->reason(), outcome.error->message() + "; " + error.message());
  }
}

}  // namespace

PodRuntime::PodRuntime(env::Env environment, const KubeletConfig& config, const MachineInfo& machine, cri::RuntimeClient& runtime,
                       ImageManager& images, ObjectReader& objects, VolumeManager& volumes, client::EventRecorder& recorder)
    : env_(environment),
      config_(config),
      machine_(machine),
      runtime_(runtime),
      images_(images),
      objects_(objects),
      volumes_(volumes),
      recorder_(recorder),
      crashBackOff_(std::min<env::Duration>(std::chrono::seconds(10), config.maxContainerRestartPeriod),
                    config.maxContainerRestartPeriod) {}

const std::map<std::string, StartFailure, std::less<>>& PodRuntime::startFailures(std::string_view podUid) const {
  static const std::map<std::string, StartFailure, std::less<>> kNone;
  auto found = failures_.find(podUid);
  return found == failures_.end() ? kNone : found->second;
}

void PodRuntime::forgetPod(std::string_view podUid) {
  if (auto found = failures_.find(podUid); found != failures_.end()) failures_.erase(found);
}

SandboxInputs PodRuntime::sandboxInputs(const Pod& pod, int64_t attempt, Error* failure, bool* failed) {
  SandboxInputs inputs;
  inputs.attempt = attempt;
  Result<HostName> host = podHostName(pod, config_.clusterDomain);
  if (!host) {
    *failure = host.error();
    *failed = true;
    return inputs;
  }
  inputs.hostName = *host;
  auto hostFile = env_.files.readFile(config_.resolverConfig);
  inputs.dns = podDns(pod, config_, hostFile.value_or(""));
  return inputs;
}

Task<Result<std::string>> PodRuntime::createSandbox(schema::Ref<Pod> pod, int64_t attempt, std::vector<std::string>* ips) {
  Error failure(Reason::Unknown, "");
  bool failed = false;
  SandboxInputs inputs = sandboxInputs(*pod, attempt, &failure, &failed);
  Result<std::string> id = std::string();
  if (failed) id = Unexpected(failure);
  if (id) {
    if (auto made = env_.files.makeDirectories(podLogDirectory(config_, *pod), 0755); !made) {
      id = Unexpected(made.error());
    }
  }
  std::string handler;
  if (id && pod->spec.runtimeClassName.present) {
    auto found = co_await objects_.runtimeHandler(std::string(pod->spec.runtimeClassName.value));
    if (found) {
      handler = *found;
    } else {
      id = Unexpected(found.error());
    }
  }
  if (id) {
    auto request = sandboxRequest(*pod, config_, inputs);
    request->runtimeHandler = request.str(handler);
    auto answer = co_await runtime_.runPodSandbox(std::move(request));
    if (answer) {
      id = std::string((*answer)->podSandboxId);
    } else {
      id = Unexpected(answer.error());
    }
  }
  if (!id) {
    recorder_.event(pod, "Warning", "FailedCreatePodSandBox",
                    fmt::format("Failed to create pod sandbox: {}", id.error().message()));
    co_return Unexpected(std::move(id).error());
  }
  auto status = co_await runtime_.podSandboxStatus(*id, false);
  if (!status || (*status)->status == nullptr) {
    recorder_.event(
        pod, "Warning", "FailedPodSandBoxStatus",
        fmt::format("Unable to get pod sandbox status: {}", status ? "pod sandbox status is nil" : status.error().message()));
    co_return fail(Reason::InternalError, "unable to get pod sandbox status");
  }
  *ips = recordOf(*(*status)->status).ips;
  co_return *id;
}

// The pod, or the containers of it, that are not as they should be.
Task<Result<void>> PodRuntime::killStale(const PodSyncInputs* inputs) {
  const PodActions& actions = inputs->actions;
  const schema::Ref<Pod>& pod = inputs->pod;
  int64_t grace = pod->spec.terminationGracePeriodSeconds.valueOr(30);
  if (actions.killPod) {
    if (actions.createSandbox && !inputs->runtime.sandboxes.empty())
      recorder_.event(pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
    co_return co_await killPod(pod, inputs->runtime, grace);
  }
  auto errors = std::make_shared<std::string>();
  async::Gate gate(env_.executor);
  std::string ip = inputs->runtime.ips().empty() ? "" : inputs->runtime.ips()[0];
  for (const ContainerToKill& kill : actions.containersToKill)
    for (const ContainerRecord& record : inputs->runtime.containers)
      if (record.id == kill.id)
        gate.spawn(killContainer(pod, record, ip, kill.message, kill.graceSeconds.value_or(grace), errors));
  co_await gate.close();
  if (!errors->empty()) co_return fail(Reason::InternalError, *errors);
  co_return Result<void>();
}

Task<PodSyncOutcome> PodRuntime::syncPod(PodSyncInputs inputs) {
  PodSyncOutcome outcome;
  const PodActions& actions = inputs.actions;
  schema::Ref<Pod> pod = inputs.pod;
  std::string sandboxId = actions.sandboxId;
  outcome.changed = !actions.empty();
  std::optional<Result<void>> killed = co_await async::untilStopped(env_.executor, killStale(&inputs), inputs.ending);
  if (!killed) co_return outcome;
  if (!*killed) {
    addError(outcome, killed->error());
    co_return outcome;
  }
  if (actions.createSandbox) {
    std::vector<std::string> ips;
    Result<std::string> id = co_await createSandbox(pod, actions.attempt, &ips);
    if (!id) {
      addError(outcome, id.error());
      co_return outcome;
    }
    sandboxId = *id;
    inputs.environment.podIps = ips;
  }
  bool failed = false;
  for (size_t index : actions.ephemeralContainersToStart) {
    if (inputs.ending.stopRequested()) break;
    const corev1::EphemeralContainer& ephemeral = pod->spec.ephemeralContainers[index];
    std::string target;
    if (!ephemeral.targetContainerName.empty()) {
      if (const ContainerRecord* record = inputs.runtime.newest(ephemeral.targetContainerName)) target = record->id;
    }
    Container container = asContainer(ephemeral.ephemeralContainerCommon);
    std::string path = fmt::format("spec.ephemeralContainers{{{}}}", container.name);
    co_await startOne(&inputs, container, path, sandboxId, target, &outcome, &failed);
  }
  for (size_t index : actions.initContainersToStart) {
    if (inputs.ending.stopRequested()) break;
    const Container& container = pod->spec.initContainers[index];
    failed = false;
    co_await startOne(&inputs, container, fmt::format("spec.initContainers{{{}}}", container.name), sandboxId, "", &outcome,
                      &failed);
    if (failed && !isSidecar(container)) co_return outcome;
  }
  for (size_t index : actions.containersToStart) {
    if (inputs.ending.stopRequested()) break;
    const Container& container = pod->spec.containers[index];
    co_await startOne(&inputs, container, fmt::format("spec.containers{{{}}}", container.name), sandboxId, "", &outcome, &failed);
  }
  co_return outcome;
}

std::optional<StartFailure> PodRuntime::backOffOf(PodSyncInputs& inputs, const Container& container, const std::string& fieldPath,
                                                  PodSyncOutcome& outcome) {
  const ContainerRecord* record = inputs.runtime.newest(container.name);
  if (record == nullptr || !record->exited()) return std::nullopt;
  const Pod& pod = *inputs.pod;
  std::string key = fmt::format("{}/{}/{}", pod.metadata.uid, container.name, containerHash(container));
  int64_t now = env_.clock.unixNanos();
  int64_t remaining = crashBackOff_.remaining(key, record->finishedAt, now);
  if (remaining <= 0) {
    crashBackOff_.collect(now);
    crashBackOff_.advance(key, record->finishedAt, now);
    return std::nullopt;
  }
  std::string podText = fmt::format("{}_{}({})", pod.metadata.name, pod.metadata.namespace_, pod.metadata.uid);
  recorder_.eventAbout(inputs.pod, fieldPath, "Warning", "BackOff",
                       fmt::format("Back-off restarting failed container {} in pod {}", container.name, podText));
  env::Duration wait(remaining);
  if (!outcome.retryAfter || wait < *outcome.retryAfter) outcome.retryAfter = wait;
  return StartFailure{"CrashLoopBackOff", fmt::format("back-off {} restarting failed container={} pod={}",
                                                      durationText(crashBackOff_.delayOf(key)), container.name, podText)};
}

Task<void> PodRuntime::startOne(PodSyncInputs* inputs, Container container, std::string fieldPath, std::string sandboxId,
                                std::string targetContainerId, PodSyncOutcome* outcome, bool* failed) {
  std::string uid(inputs->pod->metadata.uid);
  std::string name(container.name);
  std::optional<StartFailure> failure = backOffOf(*inputs, container, fieldPath, *outcome);
  if (!failure) {
    StartOutcome started = co_await startContainer(inputs, container, fieldPath, sandboxId, targetContainerId);
    if (started) {
      failures_[uid].erase(name);
      co_return;
    }
    *failed = true;
    if (started.error().reason.empty()) co_return;
    failure = started.error();
    addError(*outcome, Error(Reason::InternalError, fmt::format("failed to \"StartContainer\" for \"{}\" with {}: \"{}\"", name,
                                                                failure->reason, failure->message)));
  }
  failures_[uid][name] = *failure;
  *failed = true;
}

std::string durationText(env::Duration duration) {
  int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(duration).count();
  std::string out;
  if (seconds >= 3600) out += fmt::format("{}h", seconds / 3600);
  if (seconds >= 60) out += fmt::format("{}m", seconds / 60 % 60);
  return out + fmt::format("{}s", seconds % 60);
}

}  // namespace knarr::kubelet
