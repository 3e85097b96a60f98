// Binding and eviction of pods. Source: pkg/registry/core/pod/storage/{storage.go,eviction.go}.
#include <fmt/format.h>

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/policy_v1.h"
#include "apiserver/api.h"
#include "apiserver/eviction.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

Unexpected bindingConflict(std::string_view name, std::string why) {
  return Unexpected(Error(Reason::Conflict, fmt::format("Operation cannot be fulfilled on pods/binding {}: {}", quote(name), why))
                        .withDetails({"", "pods/binding", std::string(name), "", 0}));
}

Result<void> checkBinding(const corev1::Binding& binding, std::string_view name) {
  if (binding.metadata.name != name && !binding.metadata.name.empty())
    return fail(Reason::BadRequest, "name in URL does not match name in Binding object");
  apimachinery::FieldErrors errors;
  apimachinery::FieldPath target("target");
  if (!binding.target.kind.empty() && binding.target.kind != "Node")
    errors.push_back(apimachinery::notSupportedError(target.child("kind"), binding.target.kind, {"Node", "<empty>"}));
  if (binding.target.name.empty()) errors.push_back(apimachinery::requiredError(target.child("name")));
  if (errors.empty()) return {};
  // Upstream hands the bare list on, which clients see as an internal error without a reason.
  std::vector<std::string> texts;
  for (const auto& error : errors) texts.push_back(fmt::format("{}: {}", error.field, error.message));
  return Unexpected(Error(Reason::Unknown, texts.size() == 1 ? texts[0] : "[" + join(texts, ", ") + "]"));
}

Result<Mut<>> bindPod(const Ref<>& old, const corev1::Binding& binding, int64_t now) {
  Ref<corev1::Pod> pod(old);
  schema::Str name = pod->metadata.name;
  if (pod->metadata.deletionTimestamp)
    return bindingConflict(name, fmt::format("pod {} is being deleted, cannot be assigned to a host", name));
  if (!pod->spec.nodeName.empty())
    return bindingConflict(name, fmt::format("pod {} is already assigned to node {}", name, quote(pod->spec.nodeName)));
  if (!pod->spec.schedulingGates.empty())
    return bindingConflict(name, fmt::format("pod {} has non-empty .spec.schedulingGates", name));
  Mut<corev1::Pod> next = schema::edit(pod);
  next->spec.nodeName = next.str(binding.target.name);
  next->status.nominatedNodeName = {};
  next->metadata.uid = next.str(binding.metadata.uid.empty() ? pod->metadata.uid : binding.metadata.uid);
  next->metadata.resourceVersion = next.str(binding.metadata.resourceVersion);
  for (const auto& [key, value] : binding.metadata.annotations) schema::set(next->metadata.annotations, next.arena(), key, value);
  for (const auto& [key, value] : binding.metadata.labels) schema::set(next->metadata.labels, next.arena(), key, value);
  corev1::PodCondition* scheduled = nullptr;
  for (auto& condition : next->status.conditions)
    if (condition.type == "PodScheduled") scheduled = &condition;
  if (!scheduled) {
    scheduled = &next->status.conditions.append(next.arena());
    scheduled->type = "PodScheduled";
  }
  if (scheduled->status != "True") scheduled->lastTransitionTime = schema::Time::fromUnix(now);
  scheduled->status = "True";
  scheduled->reason = {};
  scheduled->message = {};
  return Mut<>(std::move(next));
}

}  // namespace

Task<Result<Ref<>>> Api::createBinding(ContextPtr context, const ServedResource& pods, std::string nameSpace, std::string name,
                                       Mut<> object, client::WriteOptions options) {
  auto binding = std::make_shared<Mut<corev1::Binding>>(std::move(object));
  CO_TRY(checkBinding(**binding, name));
  int64_t now = registry_.env().clock.unixSeconds();
  Registry::Transform transform = [binding, now](const Ref<>& old) { return bindPod(old, **binding, now); };
  CO_TRY(co_await registry_.update(context, pods, "binding", std::move(nameSpace), std::move(name), transform, std::move(options),
                                   false, nullptr));
  co_return Ref<>();
}

Task<Result<Ref<>>> Api::createEviction(ContextPtr context, const ServedResource& pods, std::string nameSpace, std::string name,
                                        Mut<> object, client::WriteOptions options) {
  Mut<policyv1::Eviction> eviction(std::move(object));
  if (!eviction->metadata.name.empty() && eviction->metadata.name != name)
    co_return fail(Reason::BadRequest, "name in URL does not match name in Eviction object");
  client::DeleteOptions deletion;
  deletion.dryRun = options.dryRun;
  if (const metav1::DeleteOptions* asked = eviction->deleteOptions) {
    if (asked->gracePeriodSeconds) deletion.gracePeriodSeconds = *asked->gracePeriodSeconds;
    deletion.propagationPolicy = asked->propagationPolicy.valueOr("");
    deletion.dryRun = deletion.dryRun || !asked->dryRun.empty();
    if (asked->preconditions) {
      deletion.preconditionUid = asked->preconditions->uid.valueOr("");
      deletion.preconditionResourceVersion = asked->preconditions->resourceVersion.valueOr("");
    }
  }
  Ref<corev1::Pod> pod(CO_TRY(co_await registry_.get(pods, nameSpace, name, "")));
  if (!ignoresBudget(*pod)) CO_TRY(co_await askBudget(context, pod, deletion.dryRun));
  if (!deletion.dryRun) {
    int64_t now = registry_.env().clock.unixSeconds();
    Registry::Transform mark = [now](const Ref<>& old) -> Result<Mut<>> {
      return Mut<>(withDisruptionTarget(Ref<corev1::Pod>(old), now));
    };
    auto marked = co_await registry_.update(context, pods, "status", nameSpace, name, mark, {}, false, nullptr);
    if (!marked && !isNotFound(marked.error())) co_return Unexpected(std::move(marked).error());
  }
  CO_TRY(co_await registry_.remove(context, pods, std::move(nameSpace), std::move(name), std::move(deletion)));
  co_return Ref<>();
}

// Counts the disruption in the pod's budget; the budget's refusal is the error.
Task<Result<void>> Api::askBudget(ContextPtr context, Ref<> object, bool dryRun) {
  Ref<corev1::Pod> pod(std::move(object));
  const ServedResource* resource = registry_.find("policy", "v1", "poddisruptionbudgets");
  if (!resource) co_return Result<void>();
  std::vector<Ref<policyv1::PodDisruptionBudget>> all;
  std::string prefix = std::string(pod->metadata.namespace_) + "/";
  const auto& objects = resource->cache->objects();
  for (auto at = objects.lower_bound(prefix); at != objects.end() && at->first.starts_with(prefix); ++at)
    all.emplace_back(at->second);
  auto budgets = budgetsOf(*pod, all);
  if (budgets.empty()) co_return Result<void>();
  if (budgets.size() > 1)
    co_return Unexpected(Error(
        Reason::Unknown, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
  if (mayGoUnready(*pod, *budgets[0])) co_return Result<void>();
  std::string podName(pod->metadata.name);
  int64_t now = registry_.env().clock.unixSeconds();
  Registry::Transform take = [podName, now](const Ref<>& old) -> Result<Mut<>> {
    return Mut<>(TRY(takeDisruption(Ref<policyv1::PodDisruptionBudget>(old), podName, now)));
  };
  client::WriteOptions options;
  options.dryRun = dryRun;
  auto counted = co_await registry_.update(context, *resource, "status", std::string(budgets[0]->metadata.namespace_),
                                           std::string(budgets[0]->metadata.name), take, std::move(options), false, nullptr);
  // A budget that has just gone protects nothing.
  if (!counted && !isNotFound(counted.error())) co_return Unexpected(std::move(counted).error());
  co_return Result<void>();
}

}  // namespace knarr::apiserver
