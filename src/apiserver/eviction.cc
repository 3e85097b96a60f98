#include "apiserver/eviction.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "apimachinery/labels.h"
#include "apiserver/registry.h"
#include "base/strings.h"
#include "client/client.h"

namespace knarr::apiserver {

using policyv1::PodDisruptionBudget;
using schema::Mut;
using schema::Ref;

namespace {

// So many unconfirmed disruptions mean that the budget's controller is not there. Source: MaxDisruptedPodSize.
constexpr size_t kDisruptedPodsMax = 2000;
constexpr int kProcessingRetrySeconds = 10;
constexpr std::string_view kAllowed = "DisruptionAllowed";

metav1::Condition* conditionOf(schema::List<metav1::Condition>& conditions, std::string_view type) {
  for (auto& condition : conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

Unexpected tooMany(std::string cause, int retrySeconds) {
  Error error(Reason::TooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget.");
  error.withCause({"DisruptionBudget", std::move(cause), ""});
  ErrorDetails details;
  details.retryAfterSeconds = retrySeconds;
  error.withDetails(details);
  return Unexpected(std::move(error));
}

std::string whyNot(const PodDisruptionBudget& budget) {
  const metav1::Condition* allowed = nullptr;
  for (const auto& condition : budget.status.conditions)
    if (condition.type == kAllowed) allowed = &condition;
  std::string_view name = budget.metadata.name;
  bool denied = allowed && allowed->status == "False";
  if (denied && allowed->reason == "SyncFailed")
    return fmt::format("The disruption budget {} does not allow evicting pods currently because it failed sync: {}", name,
                       allowed->message);
  if (budget.status.currentHealthy <= budget.status.desiredHealthy)
    return fmt::format("The disruption budget {} needs {} healthy pods and has {} currently", name, budget.status.desiredHealthy,
                       budget.status.currentHealthy);
  if (denied && !allowed->reason.empty())
    return fmt::format("The disruption budget {} does not allow evicting pods currently ({}): {}", name, allowed->reason,
                       allowed->message);
  return fmt::format("The disruption budget {} does not allow evicting pods currently", name);
}

bool isReady(const corev1::Pod& pod) {
  for (const auto& condition : pod.status.conditions)
    if (condition.type == "Ready") return condition.status == "True";
  return false;
}

}  // namespace

bool ignoresBudget(const corev1::Pod& pod) {
  return pod.status.phase == "Succeeded" || pod.status.phase == "Failed" || pod.status.phase == "Pending" ||
         pod.metadata.deletionTimestamp;
}

std::vector<Ref<PodDisruptionBudget>> budgetsOf(const corev1::Pod& pod, const std::vector<Ref<PodDisruptionBudget>>& all) {
  std::vector<Ref<PodDisruptionBudget>> out;
  for (const Ref<PodDisruptionBudget>& budget : all) {
    if (budget->metadata.namespace_ != pod.metadata.namespace_ || !budget->spec.selector) continue;
    auto selector = apimachinery::LabelSelector::from(budget->spec.selector);
    // A selector that cannot be read takes no pod. Source: disruption's listers skip it.
    if (selector && selector->matches(pod.metadata.labels)) out.push_back(budget);
  }
  return out;
}

bool mayGoUnready(const corev1::Pod& pod, const PodDisruptionBudget& budget) {
  if (isReady(pod)) return false;
  if (budget.spec.unhealthyPodEvictionPolicy && *budget.spec.unhealthyPodEvictionPolicy == "AlwaysAllow") return true;
  return budget.status.currentHealthy >= budget.status.desiredHealthy && budget.status.desiredHealthy > 0;
}

Result<Mut<PodDisruptionBudget>> takeDisruption(const Ref<PodDisruptionBudget>& budget, schema::Str podName, int64_t now) {
  const schema::ResourceInfo& resource = client::resourceOf<PodDisruptionBudget>();
  const auto& status = budget->status;
  if (status.observedGeneration < budget->metadata.generation)
    return tooMany(fmt::format("The disruption budget {} is still being processed by the server.", budget->metadata.name),
                   kProcessingRetrySeconds);
  if (status.disruptionsAllowed < 0)
    return Unexpected(forbiddenError(resource, budget->metadata.name, "pdb disruptions allowed is negative"));
  if (status.disruptedPods.size() > kDisruptedPodsMax)
    return Unexpected(forbiddenError(resource, budget->metadata.name,
                                     "DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
  if (status.disruptionsAllowed == 0) return tooMany(whyNot(*budget), 0);
  Mut<PodDisruptionBudget> next = schema::edit(budget);
  --next->status.disruptionsAllowed;
  next->status.disruptedPods.at(next.arena(), podName) = schema::Time::fromUnix(now);
  if (next->status.disruptionsAllowed != 0) return next;
  metav1::Condition* allowed = conditionOf(next->status.conditions, kAllowed);
  if (!allowed) {
    allowed = &next->status.conditions.append(next.arena());
    allowed->type = kAllowed;
  }
  if (allowed->status != "False") allowed->lastTransitionTime = schema::Time::fromUnix(now);
  allowed->status = "False";
  allowed->reason = "InsufficientPods";
  allowed->message = {};
  allowed->observedGeneration = status.observedGeneration;
  return next;
}

Mut<corev1::Pod> withDisruptionTarget(const Ref<corev1::Pod>& pod, int64_t now) {
  Mut<corev1::Pod> next = schema::edit(pod);
  corev1::PodCondition* target = nullptr;
  for (auto& condition : next->status.conditions)
    if (condition.type == "DisruptionTarget") target = &condition;
  if (!target) {
    target = &next->status.conditions.append(next.arena());
    target->type = "DisruptionTarget";
  }
  if (target->status != "True") target->lastTransitionTime = schema::Time::fromUnix(now);
  target->status = "True";
  target->reason = "EvictionByEvictionAPI";
  target->message = "Eviction API: evicting";
  target->observedGeneration = next->metadata.generation;
  return next;
}

}  // namespace knarr::apiserver
