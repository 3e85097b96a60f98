#include "controllers/frame/frame.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/codec.h"

namespace knarr::controllers {

namespace {
// Source: controller_utils.go, ExpectationsTimeout.
constexpr env::Duration kExpectationsTimeout = std::chrono::minutes(5);
}  // namespace

Task<void> runController(const ControllerContext* context, std::shared_ptr<client::WorkQueue> queue, int workers,
                         std::function<Task<Result<void>>(std::string key)> sync, client::EventRecorder* recorder,
                         StopToken stop) {
  auto registration = stop.onStop([queue] { queue->shutDown(); });
  async::Gate gate(context->env.executor);
  if (recorder) gate.spawn(recorder->run(stop));
  co_await client::runWorkers(context->env, queue, workers, std::move(sync));
  co_await gate.close();
}

const metav1::OwnerReference* controllerOf(const metav1::ObjectMeta& metadata) {
  for (const metav1::OwnerReference& owner : metadata.ownerReferences)
    if (owner.controller && *owner.controller) return &owner;
  return nullptr;
}

void setControllerReference(metav1::ObjectMeta& metadata, Arena& arena, const Ref<>& owner) {
  const metav1::ObjectMeta& from = schema::metadataOf(owner);
  metav1::OwnerReference& reference = metadata.ownerReferences.append(arena);
  reference.apiVersion = arena.copy(codec::apiVersionOf(owner.type()));
  reference.kind = owner.type().kind;
  reference.name = arena.copy(from.name);
  reference.uid = arena.copy(from.uid);
  reference.controller = true;
  reference.blockOwnerDeletion = true;
}

void addControllerUidIndex(client::Informer& informer) {
  informer.addIndex(kControllerUidIndex, [](const Ref<>& object) -> std::vector<std::string> {
    const metav1::OwnerReference* owner = controllerOf(schema::metadataOf(object));
    return {owner ? std::string(owner->uid) : std::string()};
  });
}

bool isPodActive(const corev1::Pod& pod) {
  return pod.status.phase != "Succeeded" && pod.status.phase != "Failed" && !pod.metadata.deletionTimestamp;
}
bool isPodTerminating(const corev1::Pod& pod) {
  return pod.metadata.deletionTimestamp && pod.status.phase != "Succeeded" && pod.status.phase != "Failed";
}
const corev1::PodCondition* podCondition(const corev1::Pod& pod, std::string_view type) {
  for (const corev1::PodCondition& condition : pod.status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}
bool isPodReady(const corev1::Pod& pod) {
  const corev1::PodCondition* ready = podCondition(pod, "Ready");
  return ready && ready->status == "True";
}
bool isPodAvailable(const corev1::Pod& pod, int32_t minReadySeconds, int64_t now) {
  const corev1::PodCondition* ready = podCondition(pod, "Ready");
  if (!ready || ready->status != "True") return false;
  if (minReadySeconds == 0) return true;
  return !ready->lastTransitionTime.isZero() && ready->lastTransitionTime.unixSeconds() + minReadySeconds <= now;
}

Mut<corev1::Pod> podFromTemplate(const corev1::PodTemplateSpec& podTemplate, const Ref<>& owner) {
  Mut<corev1::Pod> pod = schema::newObject<corev1::Pod>();
  Arena& arena = pod.arena();
  for (const auto& [key, value] : podTemplate.metadata.labels) schema::set(pod->metadata.labels, arena, key, value);
  for (const auto& [key, value] : podTemplate.metadata.annotations) schema::set(pod->metadata.annotations, arena, key, value);
  for (schema::Str finalizer : podTemplate.metadata.finalizers) pod->metadata.finalizers.append(arena) = pod.str(finalizer);
  const metav1::ObjectMeta& metadata = schema::metadataOf(owner);
  pod->metadata.generateName = pod.str(fmt::format("{}-", metadata.name));
  pod->metadata.namespace_ = pod.str(metadata.namespace_);
  setControllerReference(pod->metadata, arena, owner);
  schema::deepCopy(schema::typeInfoOf<corev1::PodSpec>(), &pod->spec, &podTemplate.spec, arena);
  return pod;
}

bool Expectations::satisfied(const std::string& owner) const {
  auto found = byOwner_.find(owner);
  if (found == byOwner_.end()) return true;
  const Entry& entry = found->second;
  if (entry.creations <= 0 && entry.deletions.empty()) return true;
  return clock_.now() - entry.since > kExpectationsTimeout;
}
void Expectations::expectCreations(const std::string& owner, int count) { byOwner_[owner] = Entry{count, {}, clock_.now()}; }
void Expectations::expectDeletions(const std::string& owner, std::vector<std::string> keys) {
  byOwner_[owner] = Entry{0, std::move(keys), clock_.now()};
}
void Expectations::creationObserved(const std::string& owner) {
  if (auto found = byOwner_.find(owner); found != byOwner_.end()) --found->second.creations;
}
void Expectations::deletionObserved(const std::string& owner, const std::string& key) {
  if (auto found = byOwner_.find(owner); found != byOwner_.end()) std::erase(found->second.deletions, key);
}

Claim decideClaim(const metav1::ObjectMeta& candidate, const metav1::ObjectMeta& owner,
                  const apimachinery::LabelSelector& selector) {
  const metav1::OwnerReference* controller = controllerOf(candidate);
  bool matches = selector.matches(candidate.labels);
  if (controller) {
    if (controller->uid != owner.uid) return Claim::Ignore;
    if (matches) return Claim::Keep;
    return owner.deletionTimestamp ? Claim::Ignore : Claim::Release;
  }
  if (owner.deletionTimestamp || !matches || candidate.deletionTimestamp) return Claim::Ignore;
  return candidate.namespace_ == owner.namespace_ ? Claim::Adopt : Claim::Ignore;
}

namespace {

std::string adoptionPatch(const metav1::ObjectMeta& candidate, const Ref<>& owner) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(owner);
  return fmt::format(
      "{{\"metadata\":{{\"uid\":\"{}\",\"ownerReferences\":[{{\"apiVersion\":\"{}\",\"kind\":\"{}\",\"name\":\"{}\",\"uid\":\"{}"
      "\","
      "\"controller\":true,\"blockOwnerDeletion\":true}}]}}}}",
      candidate.uid, codec::apiVersionOf(owner.type()), owner.type().kind, metadata.name, metadata.uid);
}

std::string releasePatch(const metav1::ObjectMeta& candidate, const metav1::ObjectMeta& owner) {
  return fmt::format("{{\"metadata\":{{\"uid\":\"{}\",\"ownerReferences\":[{{\"$patch\":\"delete\",\"uid\":\"{}\"}}]}}}}",
                     candidate.uid, owner.uid);
}

Task<Result<void>> checkOwnerAlive(Client* client, Ref<> owner) {
  const schema::TypeInfo& type = owner.type();
  const client::ResourceInfo* resource = schema::findResourceOfKind(type.group, type.version, type.kind);
  const metav1::ObjectMeta& known = schema::metadataOf(owner);
  Ref<> fresh = CO_TRY(co_await client->get(*resource, std::string(known.namespace_), std::string(known.name)));
  const metav1::ObjectMeta& live = schema::metadataOf(fresh);
  if (live.uid != known.uid || live.deletionTimestamp)
    co_return fail(Reason::Conflict,
                   fmt::format("can't adopt: {} {}/{} is gone or being deleted", type.kind, known.namespace_, known.name));
  co_return Result<void>();
}

}  // namespace

Task<Result<std::vector<Ref<>>>> claimObjects(Client* client, const client::ResourceInfo* resource, Ref<> owner,
                                              std::vector<Ref<>> candidates, apimachinery::LabelSelector selector) {
  std::vector<Ref<>> claimed;
  bool ownerChecked = false;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const metav1::ObjectMeta& candidate = schema::metadataOf(candidates[i]);
    std::string nameSpace(candidate.namespace_), name(candidate.name);
    switch (decideClaim(candidate, schema::metadataOf(owner), selector)) {
      case Claim::Ignore:
        break;
      case Claim::Keep:
        claimed.push_back(candidates[i]);
        break;
      case Claim::Release: {
        auto released = co_await client->patch(*resource, nameSpace, name, client::PatchType::StrategicMerge,
                                               releasePatch(candidate, schema::metadataOf(owner)));
        if (!released && !isNotFound(released.error()) && released.error().reason() != Reason::Invalid)
          co_return Unexpected(std::move(released).error());
        break;
      }
      case Claim::Adopt: {
        if (!ownerChecked) CO_TRY(co_await checkOwnerAlive(client, owner));
        ownerChecked = true;
        auto adopted = co_await client->patch(*resource, nameSpace, name, client::PatchType::StrategicMerge,
                                              adoptionPatch(candidate, owner));
        if (adopted)
          claimed.push_back(*adopted);
        else if (!isNotFound(adopted.error()))
          co_return Unexpected(std::move(adopted).error());
        break;
      }
    }
  }
  co_return claimed;
}

std::string safeEncode(uint32_t hash) {
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (char c : fmt::format("{}", hash)) out += kAlphabet[static_cast<size_t>(c) % kAlphabet.size()];
  return out;
}

bool isNamespaceTerminating(const Error& error) {
  for (const Cause& cause : error.causes())
    if (cause.reason == "NamespaceTerminating") return true;
  return false;
}

}  // namespace knarr::controllers
