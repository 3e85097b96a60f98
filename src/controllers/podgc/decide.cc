#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/strings.h"
#include "controllers/podgc/podgc.h"

namespace knarr::controllers {
namespace {

bool hasFinished(const corev1::Pod& pod) { return pod.status.phase == "Succeeded" || pod.status.phase == "Failed"; }

bool isOutOfService(const corev1::Node& node) {
  bool ready = false, tainted = false;
  for (const auto& condition : node.status.conditions) ready = ready || (condition.type == "Ready" && condition.status == "True");
  for (const auto& taint : node.spec.taints) tainted = tainted || taint.key == "node.kubernetes.io/out-of-service";
  return !ready && tainted;
}

}  // namespace

PodList terminatedBeyond(const PodList& pods, int most) {
  PodList out;
  if (most <= 0) return out;
  for (const auto& pod : pods) {
    schema::Str phase = pod->status.phase;
    if (phase != "Pending" && phase != "Running" && phase != "Unknown") out.push_back(pod);
  }
  size_t keep = static_cast<size_t>(most);
  if (out.size() <= keep) return {};
  std::sort(out.begin(), out.end(), [](const Ref<corev1::Pod>& a, const Ref<corev1::Pod>& b) {
    auto rank = [](const corev1::Pod& pod) {
      return std::tuple(pod.status.phase != "Failed" || pod.status.reason != "Evicted",
                        pod.metadata.creationTimestamp.unixSeconds(), pod.metadata.name);
    };
    return rank(*a) < rank(*b);
  });
  out.resize(out.size() - keep);
  return out;
}

PodList terminatingOutOfService(const PodList& pods, const std::vector<Ref<corev1::Node>>& nodes) {
  std::set<schema::Str> names;
  for (const auto& node : nodes)
    if (isOutOfService(*node)) names.insert(node->metadata.name);
  PodList out;
  for (const auto& pod : pods)
    if (pod->metadata.deletionTimestamp && names.contains(pod->spec.nodeName)) out.push_back(pod);
  return out;
}

PodList terminatingUnscheduled(const PodList& pods) {
  PodList out;
  for (const auto& pod : pods)
    if (pod->metadata.deletionTimestamp && pod->spec.nodeName.empty()) out.push_back(pod);
  return out;
}

std::set<std::string> missingNodes(const PodList& pods, const std::vector<Ref<corev1::Node>>& nodes) {
  std::set<schema::Str> there;
  for (const auto& node : nodes) there.insert(node->metadata.name);
  std::set<std::string> missing;
  for (const auto& pod : pods)
    if (!pod->spec.nodeName.empty() && !there.contains(pod->spec.nodeName)) missing.emplace(pod->spec.nodeName);
  return missing;
}

std::string failurePatch(const corev1::Pod& pod, bool orphaned, int64_t now) {
  if (hasFinished(pod)) return "";
  std::string condition;
  if (orphaned)
    condition = fmt::format(
        R"(,"conditions":[{{"type":"DisruptionTarget","status":"True","reason":"DeletionByPodGC","message":"PodGC: node no longer exists",)"
        R"("lastTransitionTime":"{}","observedGeneration":{}}}])",
        formatRfc3339(now), pod.metadata.generation);
  return fmt::format(R"({{"metadata":{{"uid":"{}"}},"status":{{"phase":"Failed"{}}}}})", pod.metadata.uid, condition);
}

}  // namespace knarr::controllers
