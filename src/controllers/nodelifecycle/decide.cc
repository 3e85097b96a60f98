#include <algorithm>
#include <limits>

#include "controllers/nodelifecycle/nodelifecycle.h"

namespace knarr::controllers {
namespace {

struct ConditionTaint {
  std::string_view condition;
  std::string_view status;
  std::string_view key;
};
// Source: node_lifecycle_controller.go, nodeConditionToTaintKeyStatusMap.
constexpr ConditionTaint kConditionTaints[] = {{"Ready", "False", "node.kubernetes.io/not-ready"},
                                               {"Ready", "Unknown", "node.kubernetes.io/unreachable"},
                                               {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
                                               {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
                                               {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
                                               {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"}};
constexpr std::string_view kUnschedulableKey = "node.kubernetes.io/unschedulable";

const corev1::NodeCondition* conditionOf(const corev1::Node& node, std::string_view type) {
  for (const auto& condition : node.status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

bool isOwnTaint(const corev1::Taint& taint) {
  if (taint.effect == "NoSchedule" && taint.key == kUnschedulableKey) return true;
  if (taint.effect == "NoExecute")
    return taint.key == "node.kubernetes.io/not-ready" || taint.key == "node.kubernetes.io/unreachable";
  if (taint.effect != "NoSchedule") return false;
  for (const ConditionTaint& row : kConditionTaints)
    if (row.key == taint.key) return true;
  return false;
}

}  // namespace

std::vector<corev1::Taint> decideTaints(const corev1::Node& node, Eviction eviction) {
  std::vector<corev1::Taint> taints;
  auto carried = [&](std::string_view key, std::string_view effect) -> const corev1::Taint* {
    for (const corev1::Taint& taint : node.spec.taints)
      if (taint.key == key && taint.effect == effect) return &taint;
    return nullptr;
  };
  auto add = [&](std::string_view key, std::string_view effect) {
    corev1::Taint taint{};
    taint.key = key;
    taint.effect = effect;
    if (const corev1::Taint* have = carried(key, effect)) taint.timeAdded = have->timeAdded;
    taints.push_back(taint);
  };
  for (const corev1::Taint& taint : node.spec.taints)
    if (!isOwnTaint(taint)) taints.push_back(taint);
  for (const ConditionTaint& row : kConditionTaints) {
    const corev1::NodeCondition* condition = conditionOf(node, row.condition);
    if (condition && condition->status == row.status) add(row.key, "NoSchedule");
  }
  if (node.spec.unschedulable) add(kUnschedulableKey, "NoSchedule");
  const corev1::NodeCondition* ready = conditionOf(node, "Ready");
  if (ready && ready->status != "True") {
    std::string_view key = ready->status == "False" ? kConditionTaints[0].key : kConditionTaints[1].key;
    bool keeps = carried(key, "NoExecute") && eviction != Eviction::Take;
    if (eviction == Eviction::Give || keeps) add(key, "NoExecute");
  }
  return taints;
}

ZoneState decideZoneState(int readyNodes, int notReadyNodes) {
  // Source: --unhealthy-zone-threshold 0.55, and never for one or two nodes.
  constexpr double kUnhealthyShare = 0.55;
  constexpr int kUnhealthyLeast = 2;
  if (readyNodes == 0 && notReadyNodes > 0) return ZoneState::FullDisruption;
  bool partial = notReadyNodes > kUnhealthyLeast && notReadyNodes >= kUnhealthyShare * (notReadyNodes + readyNodes);
  return partial ? ZoneState::PartialDisruption : ZoneState::Normal;
}

std::optional<env::Duration> evictionInterval(ZoneState state, int zoneSize, const NodeLifecycleConfig& config) {
  constexpr int kLargeZone = 50;  // --large-cluster-size-threshold
  if (state != ZoneState::PartialDisruption) return config.evictionInterval;
  if (zoneSize > kLargeZone) return config.slowEvictionInterval;
  return std::nullopt;
}

std::string zoneOf(const corev1::Node& node) {
  auto label = [&](schema::Str stable, schema::Str beta) {
    schema::Str value = schema::valueOf(node.metadata.labels, stable);
    return std::string(value.empty() ? schema::valueOf(node.metadata.labels, beta) : value);
  };
  std::string region = label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region");
  std::string zone = label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
  return region.empty() && zone.empty() ? "" : region + "/" + zone;
}

Mut<corev1::Node> markUnknown(const Ref<corev1::Node>& node, int64_t now) {
  Mut<corev1::Node> next = schema::edit(node);
  for (std::string_view type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
    corev1::NodeCondition* condition = nullptr;
    for (auto& one : next->status.conditions)
      if (one.type == type) condition = &one;
    bool fresh = condition == nullptr;
    if (fresh) {
      condition = &next->status.conditions.append(next.arena());
      condition->type = type;
    } else if (condition->status == "Unknown") {
      continue;
    }
    condition->status = "Unknown";
    condition->reason = fresh ? "NodeStatusNeverUpdated" : "NodeStatusUnknown";
    condition->message = fresh ? "Kubelet never posted node status." : "Kubelet stopped posting node status.";
    condition->lastTransitionTime = schema::Time::fromUnix(now);
    if (fresh) condition->lastHeartbeatTime = next->metadata.creationTimestamp;
  }
  return next;
}

Mut<corev1::Pod> markDisrupted(const Ref<corev1::Pod>& pod, int64_t now) {
  Mut<corev1::Pod> next = schema::edit(pod);
  corev1::PodCondition* condition = nullptr;
  for (auto& one : next->status.conditions)
    if (one.type == "DisruptionTarget") condition = &one;
  if (!condition) condition = &next->status.conditions.append(next.arena());
  if (condition->status != "True") condition->lastTransitionTime = schema::Time::fromUnix(now);
  condition->type = "DisruptionTarget";
  condition->status = "True";
  condition->reason = "DeletionByTaintManager";
  condition->message = "Taint manager: deleting due to NoExecute taint";
  return next;
}

bool tolerates(const corev1::Toleration& toleration, const corev1::Taint& taint) {
  if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
  if (!toleration.key.empty() && toleration.key != taint.key) return false;
  if (toleration.operator_ == "Exists") return true;
  if (toleration.key.empty()) return false;
  return (toleration.operator_.empty() || toleration.operator_ == "Equal") && toleration.value == taint.value;
}

std::optional<int64_t> secondsUntilEviction(const corev1::Pod& pod, const std::vector<corev1::Taint>& noExecute) {
  std::optional<int64_t> least;
  for (const corev1::Taint& taint : noExecute) {
    const corev1::Toleration* by = nullptr;
    for (const auto& toleration : pod.spec.tolerations)
      if (!by && tolerates(toleration, taint)) by = &toleration;
    if (!by) return 0;
    if (by->tolerationSeconds)
      least = std::min(least.value_or(std::numeric_limits<int64_t>::max()), std::max<int64_t>(0, *by->tolerationSeconds));
  }
  return least;
}

}  // namespace knarr::controllers
