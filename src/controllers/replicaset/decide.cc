#include <algorithm>
#include <bit>

#include "base/strings.h"
#include "controllers/replicaset/replicaset.h"

namespace knarr::controllers {
namespace {

// Source: replica_set.go, BurstReplicas.
constexpr int kBurstReplicas = 500;

int phaseRank(const corev1::Pod& pod) { return pod.status.phase == "Pending" ? 0 : pod.status.phase == "Running" ? 2 : 1; }

int64_t deletionCost(const corev1::Pod& pod) {
  return parseInt(schema::valueOf(pod.metadata.annotations, "controller.kubernetes.io/pod-deletion-cost")).value_or(0);
}

int maxRestarts(const corev1::Pod& pod) {
  int most = 0;
  for (const auto& status : pod.status.containerStatuses) most = std::max(most, status.restartCount);
  return most;
}

int maxSidecarRestarts(const corev1::Pod& pod) {
  int most = 0;
  for (const auto& container : pod.spec.initContainers) {
    if (!container.restartPolicy || *container.restartPolicy != "Always") continue;
    for (const auto& status : pod.status.initContainerStatuses)
      if (status.name == container.name) most = std::max(most, status.restartCount);
  }
  return most;
}

// Ages compare by magnitude, so that a few seconds do not decide. Source: ActivePodsWithRanks, podReadyTime and log2.
int ageRank(int64_t since, int64_t now) {
  int64_t seconds = now - since;
  return seconds <= 0 ? -1 : static_cast<int>(std::bit_width(static_cast<uint64_t>(seconds) * 1'000'000'000));
}

int64_t readySince(const corev1::Pod& pod) {
  const corev1::PodCondition* ready = podCondition(pod, "Ready");
  return ready && ready->status == "True" ? ready->lastTransitionTime.unixSeconds() : 0;
}

// Whether `a` is deleted rather than `b`; the first rule that tells them apart decides.
bool deletedFirst(const corev1::Pod& a, const corev1::Pod& b, const std::map<std::string, int>& relatedPerNode, int64_t now) {
  bool assignedA = !a.spec.nodeName.empty(), assignedB = !b.spec.nodeName.empty();
  if (assignedA != assignedB) return !assignedA;
  if (phaseRank(a) != phaseRank(b)) return phaseRank(a) < phaseRank(b);
  bool readyA = isPodReady(a), readyB = isPodReady(b);
  if (readyA != readyB) return !readyA;
  if (deletionCost(a) != deletionCost(b)) return deletionCost(a) < deletionCost(b);
  auto related = [&](const corev1::Pod& pod) {
    auto found = relatedPerNode.find(std::string(pod.spec.nodeName));
    return found == relatedPerNode.end() ? 0 : found->second;
  };
  if (related(a) != related(b)) return related(a) > related(b);
  if (readyA && readyB && readySince(a) != readySince(b)) {
    int rankA = ageRank(readySince(a), now), rankB = ageRank(readySince(b), now);
    if (rankA != rankB) return rankA < rankB;
    return a.metadata.uid < b.metadata.uid;
  }
  if (maxRestarts(a) != maxRestarts(b)) return maxRestarts(a) > maxRestarts(b);
  if (maxSidecarRestarts(a) != maxSidecarRestarts(b)) return maxSidecarRestarts(a) > maxSidecarRestarts(b);
  if (a.metadata.creationTimestamp != b.metadata.creationTimestamp) {
    int rankA = ageRank(a.metadata.creationTimestamp.unixSeconds(), now),
        rankB = ageRank(b.metadata.creationTimestamp.unixSeconds(), now);
    if (rankA != rankB) return rankA < rankB;
  }
  return a.metadata.uid < b.metadata.uid;
}

bool carriesAllLabels(const schema::StringMap& labels, const schema::StringMap& wanted) {
  for (const auto& [key, value] : wanted)
    if (const schema::Str* have = labels.find(key); !have || *have != value) return false;
  return true;
}

void setFailureCondition(Mut<appsv1::ReplicaSet>& rs, const std::string& reason, const std::string& message, int64_t now) {
  auto& conditions = rs->status.conditions;
  for (size_t i = 0; i < conditions.size(); ++i) {
    if (conditions[i].type != "ReplicaFailure") continue;
    if (!message.empty()) return;
    conditions.eraseAt(i);
    return;
  }
  if (message.empty()) return;
  auto& condition = conditions.append(rs.arena());
  condition.type = "ReplicaFailure";
  condition.status = "True";
  condition.lastTransitionTime = schema::Time::fromUnix(now);
  condition.reason = rs.str(reason);
  condition.message = rs.str(message);
}

}  // namespace

ReplicaSetPlan decideReplicas(const appsv1::ReplicaSet& rs, const std::vector<Ref<corev1::Pod>>& active,
                              const std::map<std::string, int>& relatedPerNode, int64_t now) {
  ReplicaSetPlan plan;
  int difference = static_cast<int>(active.size()) - rs.spec.replicas.valueOr(1);
  if (difference < 0) plan.create = std::min(-difference, kBurstReplicas);
  if (difference <= 0) return plan;
  plan.remove = active;
  size_t count = static_cast<size_t>(std::min(difference, kBurstReplicas));
  // The rules are not transitive (equal ages go on to restarts, like ages end at the uid); a stable sort bears that.
  if (count < plan.remove.size())
    std::stable_sort(plan.remove.begin(), plan.remove.end(), [&](const Ref<corev1::Pod>& a, const Ref<corev1::Pod>& b) {
      return deletedFirst(*a, *b, relatedPerNode, now);
    });
  plan.remove.resize(count);
  return plan;
}

Mut<appsv1::ReplicaSet> calculateStatus(const Ref<appsv1::ReplicaSet>& rs, const std::vector<Ref<corev1::Pod>>& claimed,
                                        const std::string& failureReason, const std::string& failure, int64_t now) {
  Mut<appsv1::ReplicaSet> next = schema::edit(rs);
  int32_t replicas = 0, labeled = 0, ready = 0, available = 0, terminating = 0;
  for (const Ref<corev1::Pod>& pod : claimed) {
    if (isPodTerminating(*pod)) ++terminating;
    if (!isPodActive(*pod)) continue;
    ++replicas;
    if (carriesAllLabels(pod->metadata.labels, rs->spec.template_.metadata.labels)) ++labeled;
    if (isPodReady(*pod)) ++ready;
    if (isPodAvailable(*pod, rs->spec.minReadySeconds, now)) ++available;
  }
  next->status.replicas = replicas;
  next->status.fullyLabeledReplicas = labeled;
  next->status.readyReplicas = ready;
  next->status.availableReplicas = available;
  next->status.terminatingReplicas = terminating;
  next->status.observedGeneration = rs->metadata.generation;
  setFailureCondition(next, failureReason, failure, now);
  return next;
}

int64_t secondsUntilAvailable(const appsv1::ReplicaSet& rs, const std::vector<Ref<corev1::Pod>>& active, int64_t now) {
  int64_t soonest = rs.spec.minReadySeconds;
  for (const Ref<corev1::Pod>& pod : active) {
    if (!isPodReady(*pod) || isPodAvailable(*pod, rs.spec.minReadySeconds, now)) continue;
    soonest = std::min(soonest, readySince(*pod) + rs.spec.minReadySeconds - now);
  }
  return std::max<int64_t>(soonest, 1);
}

}  // namespace knarr::controllers
