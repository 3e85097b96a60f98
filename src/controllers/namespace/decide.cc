#include "controllers/namespace/decide.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"

namespace knarr::controllers {
namespace {

using corev1::Namespace;

// How long something with a finalizer is given before the next look.
constexpr int64_t kFinalizerEstimateSeconds = 15;

std::string counted(const std::map<std::string, int>& counts, std::string_view what) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) parts.push_back(fmt::format("{} {} {} resource instances", name, what, count));
  return join(parts, ", ");
}

std::string sortedErrors(std::vector<std::string> errors) {
  std::sort(errors.begin(), errors.end());
  return join(errors, ", ");
}

// One of the two states of a condition.
struct State {
  std::string_view reason;
  std::string message;
};

void setCondition(Mut<Namespace>& ns, std::string_view type, bool on, const State& problem, const State& fine, int64_t now) {
  const State& state = on ? problem : fine;
  corev1::NamespaceCondition fresh{};
  fresh.type = ns.str(type);
  fresh.status = on ? "True" : "False";
  fresh.reason = ns.str(state.reason);
  fresh.message = ns.str(state.message);
  fresh.lastTransitionTime = schema::Time::fromUnix(now);
  for (auto& condition : ns->status.conditions)
    if (condition.type == type) {
      if (condition.status == fresh.status) fresh.lastTransitionTime = condition.lastTransitionTime;
      condition = fresh;
      return;
    }
  ns->status.conditions.append(ns.arena(), fresh);
}

}  // namespace

void Remaining::add(const client::ResourceInfo& resource, const std::string& nameSpace, const std::vector<Ref<>>& left,
                    int64_t estimate) {
  if (left.empty()) return;
  resources[fmt::format("{}.{}", resource.resource, resource.group)] = static_cast<int>(left.size());
  bool held = false;
  for (const Ref<>& item : left)
    for (schema::Str finalizer : schema::metadataOf(item).finalizers) {
      ++finalizers[std::string(finalizer)];
      held = true;
    }
  if (estimate == 0 && !held)
    errors.push_back(fmt::format("unexpected items still remain in namespace: {} for gvr: {}/{}, Resource={}", nameSpace,
                                 resource.group, resource.version, resource.resource));
  estimateSeconds = std::max(estimateSeconds, estimate > 0 ? estimate : held ? kFinalizerEstimateSeconds : 0);
}

int64_t estimateGracefulTermination(const std::vector<Ref<>>& pods, int64_t deletedAt, int64_t now) {
  int64_t longest = 0;
  for (const Ref<>& item : pods) {
    Ref<corev1::Pod> pod(item);
    if (pod->status.phase != "Succeeded" && pod->status.phase != "Failed")
      longest = std::max(longest, pod->spec.terminationGracePeriodSeconds.valueOr(0));
  }
  return now - deletedAt >= longest ? 0 : longest;
}

void setConditions(Mut<Namespace>& ns, const Remaining& remaining, int64_t now) {
  // The kinds that are served are known from the start: finding them cannot fail.
  setCondition(ns, "NamespaceDeletionDiscoveryFailure", false, {},
               {"ResourcesDiscovered", "All resources successfully discovered"}, now);
  setCondition(ns, "NamespaceDeletionGroupVersionParsingFailure", false, {},
               {"ParsedGroupVersions", "All legacy kube types successfully parsed"}, now);
  setCondition(ns, "NamespaceDeletionContentFailure", !remaining.errors.empty(),
               {"ContentDeletionFailed", fmt::format("Failed to delete all resource types, {} remaining: {}",
                                                     remaining.errors.size(), sortedErrors(remaining.errors))},
               {"ContentDeleted", "All content successfully deleted, may be waiting on finalization"}, now);
  setCondition(ns, "NamespaceContentRemaining", remaining.anything(),
               {"SomeResourcesRemain", "Some resources are remaining: " + counted(remaining.resources, "has")},
               {"ContentRemoved", "All content successfully removed"}, now);
  setCondition(
      ns, "NamespaceFinalizersRemaining", !remaining.finalizers.empty(),
      {"SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: " + counted(remaining.finalizers, "in")},
      {"ContentHasNoFinalizers", "All content-preserving finalizers finished"}, now);
}

}  // namespace knarr::controllers
