#include "kubelet/pod_actions.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "kubelet/resources.h"

namespace knarr::kubelet {
namespace {

using corev1::Container;
using corev1::Pod;

bool initContainerFailed(const ContainerRecord& record) {
  return record.state == cri::kContainerUnknown || (record.exited() && (record.exitCode != 0 || record.reason == "OOMKilled"));
}

bool anyRegularContainerCreated(const Pod& pod, const RuntimePod& runtime) {
  for (const Container& container : pod.spec.containers) {
    const ContainerRecord* record = runtime.newest(container.name);
    if (record != nullptr && (record->running() || record->state == cri::kContainerCreated)) return true;
  }
  return false;
}

ContainerToKill killOf(const ContainerRecord& record, std::string message, std::string reason) {
  return {record.id, record.name, std::move(message), std::move(reason)};
}

ContainerToKill killForProbe(const ContainerRecord& record, const corev1::Probe* probe, std::string message) {
  ContainerToKill kill = killOf(record, std::move(message), "Unhealthy");
  if (probe != nullptr && probe->terminationGracePeriodSeconds) kill.graceSeconds = *probe->terminationGracePeriodSeconds;
  return kill;
}

// Keeps sidecars alive and walks the other init containers; true when the regular containers may
// run.
bool computeInitActions(const Pod& pod, const RuntimePod& runtime, const ProbeView& probes, PodActions& actions) {
  const auto& init = pod.spec.initContainers;
  if (init.empty()) return true;
  bool podInitialized = anyRegularContainerCreated(pod, runtime);
  // From the last to the first: the latest init container with a status says how far the pod is.
  bool done = podInitialized;
  bool sidecarsOnly = podInitialized;
  for (size_t i = init.size(); i > 0; --i) {
    const Container& container = init[i - 1];
    const ContainerRecord* record = runtime.newest(container.name);
    bool sidecar = isSidecar(container);
    if (record == nullptr) {
      if (sidecar && podInitialized) actions.initContainersToStart.insert(actions.initContainersToStart.begin(), i - 1);
      continue;
    }
    if (sidecar) {
      if (record->running()) {
        bool bad = probes.startupFailed(container.name) || probes.livenessFailed(container.name);
        if (bad) {
          bool startup = probes.startupFailed(container.name);
          actions.containersToKill.push_back(
              killForProbe(*record, startup ? container.startupProbe : container.livenessProbe,
                           fmt::format("Init container {} failed {} probe", container.name, startup ? "startup" : "liveness")));
          actions.initContainersToStart.insert(actions.initContainersToStart.begin(), i - 1);
        } else if (!sidecarsOnly && probes.started(container.name)) {
          if (i == init.size()) {
            done = true;
          } else {
            actions.initContainersToStart.push_back(i);
          }
        }
      } else {
        actions.initContainersToStart.insert(actions.initContainersToStart.begin(), i - 1);
      }
      sidecarsOnly = true;
      continue;
    }
    if (sidecarsOnly) continue;
    if (initContainerFailed(*record)) {
      if (!shouldContainerBeRestarted(pod, container, record)) {
        actions.killPod = true;
        return false;
      }
      if (record->state == cri::kContainerUnknown) {
        actions.containersToKill.push_back(
            killOf(*record, "Init container is in \"unknown\" state, try killing it before restart", "Killing"));
      }
      actions.initContainersToStart.push_back(i - 1);
    } else if (record->exited()) {
      if (i == init.size()) {
        done = true;
      } else {
        actions.initContainersToStart.push_back(i);
      }
    } else if (record->state == cri::kContainerCreated) {
      actions.initContainersToStart.push_back(i - 1);
    }
    sidecarsOnly = true;
  }
  if (!sidecarsOnly) actions.initContainersToStart.push_back(0);  // none has a status
  return done;
}

void computeContainerActions(const Pod& pod, const RuntimePod& runtime, const ProbeView& probes, PodActions& actions) {
  size_t kept = 0;
  for (size_t i = 0; i < pod.spec.containers.size(); ++i) {
    const Container& container = pod.spec.containers[i];
    const ContainerRecord* record = runtime.newest(container.name);
    if (record == nullptr || !record->running()) {
      if (!shouldContainerBeRestarted(pod, container, record)) continue;
      actions.containersToStart.push_back(i);
      if (record != nullptr && record->state == cri::kContainerUnknown) {
        actions.containersToKill.push_back(
            killOf(*record, "Container is in \"unknown\" state, try killing it before restart", "Killing"));
      }
      continue;
    }
    std::string message;
    const corev1::Probe* failed = nullptr;
    bool restart = pod.spec.restartPolicy != "Never";
    if (!record->hash.empty() && record->hash != containerHash(container)) {
      message = fmt::format("Container {} definition changed", container.name);
      restart = true;
    } else if (probes.livenessFailed(container.name)) {
      failed = container.livenessProbe;
      message = fmt::format("Container {} failed liveness probe", container.name);
    } else if (probes.startupFailed(container.name)) {
      failed = container.startupProbe;
      message = fmt::format("Container {} failed startup probe", container.name);
    } else {
      ++kept;
      continue;
    }
    if (restart) {
      message += ", will be restarted";
      actions.containersToStart.push_back(i);
    }
    actions.containersToKill.push_back(killForProbe(*record, failed, std::move(message)));
  }
  if (kept == 0 && actions.containersToStart.empty()) {
    actions.killPod = true;
    actions.initContainersToStart.clear();  // sidecars end with the pod
  }
}

void startAll(const Pod& pod, PodActions& actions) {
  if (!pod.spec.initContainers.empty()) {
    actions.initContainersToStart.push_back(0);
    return;
  }
  for (size_t i = 0; i < pod.spec.containers.size(); ++i) actions.containersToStart.push_back(i);
}

// Without this a pod that is done would get a sandbox only to lose it again.
bool nothingLeftToStart(const Pod& pod, const RuntimePod& runtime) {
  if (pod.spec.restartPolicy == "Always") return false;
  for (const Container& container : pod.spec.containers) {
    const ContainerRecord* record = runtime.newest(container.name);
    if (record == nullptr || shouldContainerBeRestarted(pod, container, record)) return false;
  }
  return true;
}

}  // namespace

std::string containerHash(const Container& container) {
  auto json = [](std::string_view value) {
    std::string out = "\"";
    for (char c : value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + "\"";
  };
  // Only what can change in a running pod and needs a restart; keys in Go's map order.
  std::string text = fmt::format(R"({{"image":{},"name":{}}})", json(container.image), json(container.name));
  return fmt::format("{:x}", fnv32a(text));
}

bool shouldContainerBeRestarted(const Pod& pod, const Container& container, const ContainerRecord* record) {
  if (pod.metadata.deletionTimestamp) return false;
  if (record == nullptr) return true;
  if (record->running()) return false;
  if (record->state == cri::kContainerUnknown || record->state == cri::kContainerCreated) return true;
  if (container.restartPolicy.present) {
    for (const corev1::ContainerRestartRule& rule : container.restartPolicyRules) {
      if (rule.exitCodes == nullptr) continue;
      bool listed = false;
      for (int32_t code : rule.exitCodes->values) listed |= code == record->exitCode;
      if (listed == (rule.exitCodes->operator_ == "In")) return true;
    }
  }
  schema::Str policy = container.restartPolicy.present ? container.restartPolicy.value : pod.spec.restartPolicy;
  if (policy == "Never") return false;
  if (policy == "OnFailure") return record->exitCode != 0;
  return true;
}

SandboxNeed podSandboxChanged(const Pod& pod, const RuntimePod& runtime) {
  if (runtime.sandboxes.empty()) return {true, 0, ""};
  const SandboxRecord& newest = runtime.sandboxes.front();
  size_t ready = 0;
  for (const SandboxRecord& sandbox : runtime.sandboxes) ready += sandbox.ready ? 1 : 0;
  bool networkChanged = newest.hostNetwork != pod.spec.hostNetwork;
  bool addressMissing = !pod.spec.hostNetwork && newest.ips.empty();
  if (ready > 1 || !newest.ready || networkChanged || addressMissing) {
    return {true, newest.attempt + 1, newest.id};
  }
  return {false, newest.attempt, newest.id};
}

PodActions computePodActions(const Pod& pod, const RuntimePod& runtime, const ProbeView& probes) {
  PodActions actions;
  SandboxNeed need = podSandboxChanged(pod, runtime);
  actions.attempt = need.attempt;
  actions.sandboxId = need.sandboxId;
  if (need.create) {
    actions.killPod = true;
    if (pod.spec.restartPolicy == "Never" && need.attempt != 0 && !runtime.containers.empty()) return actions;
    if (nothingLeftToStart(pod, runtime)) return actions;
    actions.createSandbox = true;
    actions.sandboxId.clear();
    startAll(pod, actions);
    return actions;
  }
  for (size_t i = 0; i < pod.spec.ephemeralContainers.size(); ++i) {
    const auto& common = pod.spec.ephemeralContainers[i].ephemeralContainerCommon;
    if (runtime.newest(common.name) == nullptr) actions.ephemeralContainersToStart.push_back(i);
  }
  bool initialized = computeInitActions(pod, runtime, probes, actions);
  if (actions.killPod || !initialized) return actions;
  computeContainerActions(pod, runtime, probes, actions);
  return actions;
}

}  // namespace knarr::kubelet
