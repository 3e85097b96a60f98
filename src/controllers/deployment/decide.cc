#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "codec/codec.h"
#include "controllers/deployment/deployment.h"

namespace knarr::controllers {

using appsv1::Deployment;
using appsv1::ReplicaSet;

namespace {

int specReplicas(const ReplicaSet& rs) { return rs.spec.replicas.valueOr(0); }
int wantedReplicas(const Deployment& d) { return d.spec.replicas.valueOr(0); }

int totalSpec(const ReplicaSets& all) {
  int total = 0;
  for (const auto& rs : all) total += specReplicas(*rs);
  return total;
}
// A status may still count pods that a ReplicaSet was told to give up; they are not there to be spent again.
int totalAvailable(const ReplicaSets& all) {
  int total = 0;
  for (const auto& rs : all) total += std::min(rs->status.availableReplicas, specReplicas(*rs));
  return total;
}

bool olderFirst(const Ref<ReplicaSet>& a, const Ref<ReplicaSet>& b) {
  if (a->metadata.creationTimestamp != b->metadata.creationTimestamp)
    return a->metadata.creationTimestamp < b->metadata.creationTimestamp;
  return a->metadata.name < b->metadata.name;
}

ReplicaSets oldReplicaSets(const ReplicaSets& all, const Ref<ReplicaSet>& newReplicaSet) {
  ReplicaSets old;
  for (const auto& rs : all)
    if (!newReplicaSet || rs->metadata.uid != newReplicaSet->metadata.uid) old.push_back(rs);
  std::sort(old.begin(), old.end(), olderFirst);
  return old;
}

int newReplicaSetSize(const Deployment& d, const ReplicaSets& all, const ReplicaSet& rs, int surge) {
  int wanted = wantedReplicas(d), size = specReplicas(rs);
  if (size >= wanted) return wanted;
  int room = wanted + surge - totalSpec(all);
  return room <= 0 ? size : size + std::min(room, wanted - size);
}

int annotationNumber(const ReplicaSet& rs, std::string_view key, int fallback) {
  auto value = parseInt(schema::valueOf(rs.metadata.annotations, key));
  return value ? static_cast<int>(*value) : fallback;
}

bool isSaturated(const Deployment& d, const ReplicaSet& rs) {
  int wanted = wantedReplicas(d);
  return specReplicas(rs) == wanted && annotationNumber(rs, kDesiredReplicasAnnotation, -1) == wanted &&
         rs.status.availableReplicas == wanted;
}

}  // namespace

int scaledValue(const schema::IntOrString& value, int total, bool roundUp) {
  if (!value.isString) return value.intValue;
  std::string_view text = value.stringValue;
  if (!text.ends_with('%')) return 0;
  auto percent = parseInt(text.substr(0, text.size() - 1));
  if (!percent) return 0;
  int64_t product = *percent * total;
  return static_cast<int>(roundUp ? (product + 99) / 100 : product / 100);
}

RollingBounds rollingBounds(const Deployment& d) {
  RollingBounds bounds;
  int wanted = wantedReplicas(d);
  if (d.spec.strategy.type != "RollingUpdate") return bounds;
  const auto* rolling = d.spec.strategy.rollingUpdate;
  if (rolling && rolling->maxSurge) bounds.surge = scaledValue(*rolling->maxSurge, wanted, true);
  if (rolling && rolling->maxUnavailable) bounds.unavailable = scaledValue(*rolling->maxUnavailable, wanted, false);
  // Percentages may both round to nothing; then a roll-out would stand still.
  if (bounds.surge == 0 && bounds.unavailable == 0) bounds.unavailable = 1;
  bounds.unavailable = std::min(bounds.unavailable, wanted);
  return bounds;
}

bool equalIgnoreHash(const corev1::PodTemplateSpec& a, const corev1::PodTemplateSpec& b) {
  Arena arena;
  auto strip = [&](const corev1::PodTemplateSpec& from) {
    auto* copy = schema::copyInto(arena, from);
    copy->metadata.labels.erase(kPodTemplateHashLabel);
    return copy;
  };
  return schema::equal(*strip(a), *strip(b));
}

Ref<ReplicaSet> findNewReplicaSet(const Deployment& d, const ReplicaSets& all) {
  ReplicaSets sorted = all;
  std::sort(sorted.begin(), sorted.end(), olderFirst);
  for (const auto& rs : sorted)
    if (equalIgnoreHash(rs->spec.template_, d.spec.template_)) return rs;
  return nullptr;
}

std::string podTemplateHash(const corev1::PodTemplateSpec& podTemplate, std::optional<int32_t> collisionCount) {
  std::string bytes = codec::encodeProtobufValue(schema::typeInfoOf<corev1::PodTemplateSpec>(), &podTemplate);
  if (collisionCount)
    for (int shift = 0; shift < 64; shift += 8)
      bytes += static_cast<char>(shift < 32 ? static_cast<uint32_t>(*collisionCount) >> shift & 0xff : 0);
  return safeEncode(fnv32a(bytes));
}

std::vector<ScaleStep> decideRollingStep(const Deployment& d, const ReplicaSets& all, const Ref<ReplicaSet>& newReplicaSet) {
  RollingBounds bounds = rollingBounds(d);
  if (newReplicaSet) {
    // How many may be added is counted without the rule that both bounds may not be zero.
    int surge = 0;
    if (const auto* rolling = d.spec.strategy.rollingUpdate; rolling && rolling->maxSurge)
      surge = scaledValue(*rolling->maxSurge, wantedReplicas(d), true);
    int size = newReplicaSetSize(d, all, *newReplicaSet, surge);
    if (size != specReplicas(*newReplicaSet)) return {{newReplicaSet, size}};
  }
  std::vector<ScaleStep> steps;
  ReplicaSets old = oldReplicaSets(all, newReplicaSet);
  if (totalSpec(old) == 0) return steps;
  int minAvailable = wantedReplicas(d) - bounds.unavailable;
  int newUnavailable = newReplicaSet ? specReplicas(*newReplicaSet) - newReplicaSet->status.availableReplicas : 0;
  int maxScaledDown = totalSpec(all) - minAvailable - newUnavailable;
  if (maxScaledDown <= 0) return steps;
  std::map<std::string, int> sizes;  // after the first pass, by uid
  int removed = 0;
  // Pods that do not work go first: losing them costs nothing.
  for (const auto& rs : old) {
    int size = specReplicas(*rs);
    if (size != 0 && size != rs->status.availableReplicas && removed < maxScaledDown) {
      int less = std::min(maxScaledDown - removed, size - rs->status.availableReplicas);
      if (less > 0) {
        size -= less;
        removed += less;
        steps.push_back({rs, size});
      }
    }
    sizes[std::string(rs->metadata.uid)] = size;
  }
  int spare = totalAvailable(all) - minAvailable;
  for (const auto& rs : old) {
    int& size = sizes[std::string(rs->metadata.uid)];
    if (spare <= 0) break;
    if (size == 0) continue;
    int less = std::min(size, spare);
    size -= less;
    spare -= less;
    std::erase_if(steps, [&](const ScaleStep& step) { return step.replicaSet == rs; });
    steps.push_back({rs, size});
  }
  return steps;
}

bool isScalingEvent(const Deployment& d, const ReplicaSets& all) {
  for (const auto& rs : all) {
    if (specReplicas(*rs) == 0) continue;
    auto desired = parseInt(schema::valueOf(rs->metadata.annotations, kDesiredReplicasAnnotation));
    if (desired && *desired != wantedReplicas(d)) return true;
  }
  return false;
}

std::vector<ScaleStep> decideProportionalScale(const Deployment& d, const ReplicaSets& all,
                                               const Ref<ReplicaSet>& newReplicaSet) {
  int wanted = wantedReplicas(d);
  ReplicaSets active;
  for (const auto& rs : all)
    if (specReplicas(*rs) > 0) active.push_back(rs);
  if (active.size() <= 1) {
    Ref<ReplicaSet> only = active.size() == 1 ? active[0] : newReplicaSet;
    if (!only && !all.empty()) only = *std::max_element(all.begin(), all.end(), olderFirst);
    if (!only || specReplicas(*only) == wanted) return {};
    return {{only, wanted}};
  }
  std::vector<ScaleStep> steps;
  if (newReplicaSet && isSaturated(d, *newReplicaSet)) {
    for (const auto& rs : active)
      if (rs != newReplicaSet) steps.push_back({rs, 0});
    return steps;
  }
  if (d.spec.strategy.type != "RollingUpdate") return steps;
  int surge = rollingBounds(d).surge;
  int allowed = wanted > 0 ? wanted + surge : 0;
  int toAdd = allowed - totalSpec(active);
  std::sort(active.begin(), active.end(), [&](const auto& a, const auto& b) {
    if (specReplicas(*a) != specReplicas(*b)) return specReplicas(*a) > specReplicas(*b);
    return toAdd > 0 ? olderFirst(b, a) : olderFirst(a, b);
  });
  int added = 0;
  for (const auto& rs : active) {
    int size = specReplicas(*rs), share = 0;
    if (toAdd != 0) {
      int maxBefore = annotationNumber(*rs, kMaxReplicasAnnotation, 0);
      if (maxBefore == 0) maxBefore = d.status.replicas;
      if (wanted == 0)
        share = -size;
      else if (maxBefore != 0)
        share = static_cast<int>(std::lround(static_cast<double>(size) * allowed / maxBefore)) - size;
      share = toAdd > 0 ? std::min(share, toAdd - added) : std::max(share, toAdd - added);
    }
    steps.push_back({rs, size + share});
    added += share;
  }
  if (toAdd != 0 && !steps.empty()) steps[0].replicas = std::max(0, steps[0].replicas + toAdd - added);
  return steps;
}

int64_t revisionOf(const metav1::ObjectMeta& metadata) {
  return parseInt(schema::valueOf(metadata.annotations, kRevisionAnnotation)).value_or(0);
}

ReplicaSets decideCleanup(const Deployment& d, const ReplicaSets& old) {
  ReplicaSets gone;
  if (!d.spec.revisionHistoryLimit || *d.spec.revisionHistoryLimit == std::numeric_limits<int32_t>::max()) return gone;
  ReplicaSets kept;
  for (const auto& rs : old)
    if (!rs->metadata.deletionTimestamp) kept.push_back(rs);
  int surplus = static_cast<int>(kept.size()) - *d.spec.revisionHistoryLimit;
  if (surplus <= 0) return gone;
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
    int64_t ra = revisionOf(a->metadata), rb = revisionOf(b->metadata);
    return ra != rb ? ra < rb : olderFirst(a, b);
  });
  for (int i = 0; i < surplus; ++i) {
    const ReplicaSet& rs = *kept[static_cast<size_t>(i)];
    if (rs.status.replicas == 0 && specReplicas(rs) == 0 && rs.metadata.generation <= rs.status.observedGeneration)
      gone.push_back(kept[static_cast<size_t>(i)]);
  }
  return gone;
}

}  // namespace knarr::controllers
