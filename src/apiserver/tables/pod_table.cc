// The Pod row: the status column is where upstream's users look first, so it follows printPod step by step.
#include <fmt/format.h>

#include <optional>

#include "apiserver/tables/cells.h"

namespace knarr::apiserver {
namespace {

using corev1::ContainerStatus;
using corev1::Pod;

bool isRestartableInit(const Pod& pod, schema::Str name) {
  for (const auto& container : pod.spec.initContainers)
    if (container.name == name) return container.restartPolicy && *container.restartPolicy == "Always";
  return false;
}

bool conditionIs(const Pod& pod, std::string_view type, std::string_view status) {
  for (const auto& condition : pod.status.conditions)
    if (condition.type == type) return condition.status == status;
  return false;
}

std::string terminatedReason(const corev1::ContainerStateTerminated& terminated, std::string_view prefix) {
  if (!terminated.reason.empty()) return fmt::format("{}{}", prefix, terminated.reason);
  if (terminated.signal != 0) return fmt::format("{}Signal:{}", prefix, terminated.signal);
  return fmt::format("{}ExitCode:{}", prefix, terminated.exitCode);
}

struct PodRow {
  std::string status;
  int64_t restarts = 0;
  int ready = 0;
  int total = 0;
  std::optional<int64_t> lastRestart;  // unix seconds
};

void noteTermination(const ContainerStatus& status, PodRow& row) {
  const auto* terminated = status.lastState.terminated;
  if (!terminated || terminated->finishedAt.isZero()) return;
  int64_t at = terminated->finishedAt.unixSeconds();
  if (!row.lastRestart || at > *row.lastRestart) row.lastRestart = at;
}

// True when an init container decides the status.
bool rowOfInitContainers(const Pod& pod, PodRow& row, PodRow& sidecars) {
  for (size_t i = 0; i < pod.status.initContainerStatuses.size(); ++i) {
    const ContainerStatus& status = pod.status.initContainerStatuses[i];
    row.restarts += status.restartCount;
    noteTermination(status, row);
    bool restartable = isRestartableInit(pod, status.name);
    if (restartable) {
      sidecars.restarts += status.restartCount;
      noteTermination(status, sidecars);
    }
    if (status.state.terminated && status.state.terminated->exitCode == 0) continue;
    if (restartable && status.started && *status.started) {
      if (status.ready) ++row.ready;
      continue;
    }
    if (status.state.terminated)
      row.status = terminatedReason(*status.state.terminated, "Init:");
    else if (status.state.waiting && !status.state.waiting->reason.empty() && status.state.waiting->reason != "PodInitializing")
      row.status = fmt::format("Init:{}", status.state.waiting->reason);
    else
      row.status = fmt::format("Init:{}/{}", i, pod.spec.initContainers.size());
    return true;
  }
  return false;
}

void rowOfContainers(const Pod& pod, PodRow& row) {
  bool running = false;
  std::string failure;
  const auto& statuses = pod.status.containerStatuses;
  for (size_t i = statuses.size(); i-- > 0;) {
    const ContainerStatus& status = statuses[i];
    row.restarts += status.restartCount;
    noteTermination(status, row);
    if (status.state.waiting && !status.state.waiting->reason.empty()) {
      row.status = status.state.waiting->reason;
    } else if (status.state.terminated) {
      row.status = terminatedReason(*status.state.terminated, "");
      if (status.state.terminated->exitCode != 0) failure = row.status;
    } else if (status.ready && status.state.running) {
      running = true;
      ++row.ready;
    }
  }
  if (row.status != "Completed") return;
  if (running && conditionIs(pod, "Ready", "True"))
    row.status = "Running";
  else if (!failure.empty())
    row.status = failure;
  else if (running)
    row.status = "NotReady";
}

PodRow rowOf(const Pod& pod) {
  PodRow row, sidecars;
  row.status = pod.status.reason.empty() ? pod.status.phase : pod.status.reason;
  row.total = static_cast<int>(pod.spec.containers.size());
  for (const auto& container : pod.spec.initContainers)
    if (container.restartPolicy && *container.restartPolicy == "Always") ++row.total;
  for (const auto& condition : pod.status.conditions)
    if (condition.type == "PodScheduled" && condition.reason == "SchedulingGated") row.status = "SchedulingGated";
  bool initializing = rowOfInitContainers(pod, row, sidecars);
  if (!initializing || conditionIs(pod, "Initialized", "True")) {
    row.restarts = sidecars.restarts;
    row.lastRestart = sidecars.lastRestart;
    rowOfContainers(pod, row);
  }
  if (pod.metadata.deletionTimestamp) {
    if (pod.status.reason == "NodeLost")
      row.status = "Unknown";
    else if (pod.status.phase != "Succeeded" && pod.status.phase != "Failed")
      row.status = "Terminating";
  }
  return row;
}

std::string readinessGates(const Pod& pod) {
  if (pod.spec.readinessGates.empty()) return "<none>";
  int ready = 0;
  for (const auto& gate : pod.spec.readinessGates)
    if (conditionIs(pod, gate.conditionType, "True")) ++ready;
  return fmt::format("{}/{}", ready, pod.spec.readinessGates.size());
}

TableCells podCells(const schema::Ref<>& object, int64_t now) {
  schema::Ref<Pod> pod(object);
  PodRow row = rowOf(*pod);
  std::string restarts = fmt::format("{}", row.restarts);
  if (row.restarts > 0 && row.lastRestart) restarts += fmt::format(" ({} ago)", humanDuration(now - *row.lastRestart));
  std::string_view ip = pod->status.podIPs.empty() ? std::string_view(pod->status.podIP) : pod->status.podIPs[0].ip;
  return {textCell(pod->metadata.name),
          textCell(fmt::format("{}/{}", row.ready, row.total)),
          textCell(row.status),
          textCell(restarts),
          ageCell(pod->metadata.creationTimestamp, now),
          orNone(ip),
          orNone(pod->spec.nodeName),
          orNone(pod->status.nominatedNodeName),
          textCell(readinessGates(*pod))};
}

std::string podConditions(const schema::Ref<>& object) {
  schema::Ref<Pod> pod(object);
  if (pod->status.phase != "Succeeded" && pod->status.phase != "Failed") return "";
  return fmt::format("[{{\"type\":\"Completed\",\"status\":\"True\",\"reason\":{},\"message\":{}}}]", textCell(pod->status.phase),
                     textCell(pod->status.phase == "Succeeded" ? "The pod has completed successfully." : "The pod failed."));
}

}  // namespace

const TablePrinter& podTablePrinter() {
  static const TablePrinter kPrinter{{{"Name", "string", "name"},
                                      {"Ready"},
                                      {"Status"},
                                      {"Restarts"},
                                      {"Age"},
                                      {"IP", "string", "", 1},
                                      {"Node", "string", "", 1},
                                      {"Nominated Node", "string", "", 1},
                                      {"Readiness Gates", "string", "", 1}},
                                     podCells,
                                     podConditions};
  return kPrinter;
}

}  // namespace knarr::apiserver
