#include "apiserver/registry_write.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/meta_v1.h"
#include "apiserver/defaulting.h"
#include "base/strings.h"
#include "schema/layout.h"

namespace knarr::apiserver {

using apimachinery::FieldErrors;
using apimachinery::FieldPath;
using schema::FieldInfo;
using schema::TypeInfo;

namespace {

constexpr size_t kGeneratedNamePrefixMax = 58;
constexpr size_t kAnnotationsBytesMax = 262144;
constexpr std::string_view kFinalizerOrphan = "orphan";
constexpr std::string_view kFinalizerForeground = "foregroundDeletion";

// Whether the change from `b` to `a` is one that raises the generation.
bool raisesGeneration(Generation rule, const TypeInfo& type, const void* a, const void* b) {
  auto differs = [&](const FieldInfo& field) { return !schema::equalField(field, a, b); };
  const FieldInfo* spec = findField(type, "spec");
  switch (rule) {
    case Generation::Never:
    case Generation::OnCreate:
      return false;
    case Generation::Spec:
      return spec != nullptr && differs(*spec);
    case Generation::SpecOrAnnotations: {
      const FieldInfo* annotations = findField(schema::typeInfoOf<metav1::ObjectMeta>(), "annotations");
      auto metadata = [&](const void* root) { return static_cast<const char*>(root) + type.metadataOffset; };
      return (spec != nullptr && differs(*spec)) || !schema::equalField(*annotations, metadata(a), metadata(b));
    }
    case Generation::OutsideMetadata:
      for (const FieldInfo& field : type.fields)
        if (field.json != "metadata" && field.json != "status" && differs(field)) return true;
      return false;
  }
  return false;
}

// Labels, annotations, finalizers and owners of the object that is there.
// Source: k8s.io/apimachinery/pkg/apis/meta/v1, ResetObjectMetaForStatus.
void keepMetadata(Mut<>& object, const metav1::ObjectMeta& before) {
  for (std::string_view name : {"labels", "annotations", "finalizers", "ownerReferences"})
    schema::copyField(*findField(schema::typeInfoOf<metav1::ObjectMeta>(), name), &schema::metadataOf(object), &before,
                      object.arena());
}

void add(FieldErrors& errors, FieldErrors more) {
  for (apimachinery::FieldError& error : more) errors.push_back(std::move(error));
}

void clearField(Mut<>& object, const FieldInfo& field) {
  std::memset(schema::at(object.root(), field), 0, schema::memberSize(field));
}

}  // namespace

bool hasStatus(const ServedResource& resource) {
  return schema::findResource(resource.info->group, resource.info->version, resource.info->resource, "status") != nullptr;
}

const FieldInfo* findField(const TypeInfo& type, std::string_view json) {
  for (const FieldInfo& field : type.fields)
    if (field.json == json) return &field;
  return nullptr;
}

Result<void> checkNameAndNamespace(const ServedResource& resource, std::string_view nameSpace, std::string_view name,
                                   Mut<>& object) {
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  if (resource.info->namespaced) {
    if (metadata.namespace_.empty())
      metadata.namespace_ = object.str(nameSpace);
    else if (metadata.namespace_ != nameSpace)
      return fail(Reason::BadRequest,
                  name.empty()
                      ? std::string("the namespace of the provided object does not match the namespace sent on the request")
                      : fmt::format("the namespace of the object ({}) does not match the namespace on the request ({})",
                                    metadata.namespace_, nameSpace));
  }
  if (name.empty()) return {};
  if (metadata.name.empty())
    return fail(Reason::BadRequest,
                fmt::format("the name of the object ({} based on URL) was undeterminable: name must be provided", name));
  if (metadata.name != name)
    return fail(Reason::BadRequest,
                fmt::format("the name of the object ({}) does not match the name on the URL ({})", metadata.name, name));
  return {};
}

Result<void> fillSystemFields(const ServedResource& resource, std::string_view nameSpace, Mut<>& object,
                              const WriteMoment& moment) {
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  if (!metadata.resourceVersion.empty())
    return Unexpected(Error(Reason::Unknown, "resourceVersion should not be set on objects to be created"));
  TRY(checkNameAndNamespace(resource, nameSpace, "", object));
  metadata.creationTimestamp = schema::Time::fromUnix(moment.unixSeconds);
  metadata.uid = object.str(moment.uid);
  metadata.deletionTimestamp.clear();
  metadata.deletionGracePeriodSeconds.clear();
  metadata.selfLink = {};
  if (metadata.name.empty() && !metadata.generateName.empty())
    metadata.name = object.str(fmt::format("{}{}", metadata.generateName.substr(0, kGeneratedNamePrefixMax), moment.nameSuffix));
  return {};
}

Result<void> beforeCreate(const ServedResource& resource, std::string_view, Mut<>& object, const WriteContext& context) {
  const Strategy& strategy = *resource.strategy;
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  metadata.generation = strategy.generation == Generation::Never ? 0 : 1;
  if (const FieldInfo* status = findField(object.type(), "status");
      status && hasStatus(resource) && !strategy.keepsStatusOnCreate)
    clearField(object, *status);
  if (strategy.prepareForCreate) strategy.prepareForCreate(object, context);
  // Defaults that fill a cleared status (a claim is Pending), or that need the name, run again.
  setDefaults(object);
  FieldErrors errors = validateObjectMeta(resource, object);
  if (strategy.validate) add(errors, strategy.validate(object));
  if (strategy.validateCreate) add(errors, strategy.validateCreate(object));
  if (errors.empty()) return {};
  return Unexpected(apimachinery::invalidStatus(resource.info->group, resource.info->kind, metadata.name, errors));
}

namespace {

// Restores what this write may not change. True when it may raise the generation.
bool keepUntouchable(const ServedResource& resource, std::string_view subresource, Mut<>& object, const Ref<>& old,
                     const WriteContext& context) {
  const Strategy& strategy = *resource.strategy;
  const FieldInfo* spec = findField(object.type(), "spec");
  const FieldInfo* status = findField(object.type(), "status");
  auto keep = [&](const FieldInfo* field) {
    if (field) schema::copyField(*field, object.root(), old.root(), object.arena());
  };
  if (subresource == "status") {
    keep(spec);
    if (strategy.statusKeepsMetadata) keepMetadata(object, schema::metadataOf(old));
    if (strategy.prepareForStatusUpdate) strategy.prepareForStatusUpdate(object, old, context);
    return false;
  }
  for (const Strategy::Subresource& own : strategy.subresources)
    if (own.name == subresource) {
      own.prepare(object, old, context);
      return true;
    }
  // What the server itself writes (a binding, a condition) comes as it is to be.
  if (!subresource.empty() && subresource != "scale") return false;
  if (hasStatus(resource)) keep(status);
  if (strategy.prepareForUpdate) strategy.prepareForUpdate(object, old, context);
  return true;
}

FieldErrors validateChange(const Strategy& strategy, std::string_view subresource, const Mut<>& object, const Ref<>& old) {
  if (subresource == "status") return strategy.validateStatusUpdate ? strategy.validateStatusUpdate(object, old) : FieldErrors();
  for (const Strategy::Subresource& own : strategy.subresources)
    if (own.name == subresource) return own.validate ? own.validate(object, old) : FieldErrors();
  if (!subresource.empty() && subresource != "scale") return {};
  FieldErrors errors;
  if (strategy.validate) add(errors, strategy.validate(object));
  if (strategy.validateUpdate) add(errors, strategy.validateUpdate(object, old));
  return errors;
}

}  // namespace

Result<void> beforeUpdate(const ServedResource& resource, std::string_view subresource, Mut<>& object, const Ref<>& old,
                          const WriteContext& context) {
  const Strategy& strategy = *resource.strategy;
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  const metav1::ObjectMeta& before = schema::metadataOf(old);
  metadata.generation = before.generation;
  metadata.creationTimestamp = before.creationTimestamp;
  metadata.selfLink = {};
  if (metadata.uid.empty()) metadata.uid = object.str(before.uid);
  metadata.deletionTimestamp = before.deletionTimestamp;
  if (!metadata.deletionGracePeriodSeconds) metadata.deletionGracePeriodSeconds = before.deletionGracePeriodSeconds;
  bool counts = keepUntouchable(resource, subresource, object, old, context);
  if (counts && raisesGeneration(strategy.generation, object.type(), object.root(), old.root()))
    metadata.generation = before.generation + 1;
  FieldErrors errors = validateObjectMeta(resource, object);
  add(errors, validateObjectMetaUpdate(metadata, before));
  add(errors, validateChange(strategy, subresource, object, old));
  if (errors.empty()) return {};
  return Unexpected(apimachinery::invalidStatus(resource.info->group, resource.info->kind, metadata.name, errors));
}

std::vector<std::string> dedupOwnerReferences(metav1::ObjectMeta& metadata) {
  auto& references = metadata.ownerReferences;
  auto flag = [](const schema::Opt<bool>& value) { return value ? (*value ? "true" : "false") : ""; };
  std::vector<std::string> gone;
  std::set<std::string> seen;
  size_t kept = 0;
  for (size_t i = 0; i < references.size(); ++i) {
    const metav1::OwnerReference& owner = references[i];
    std::string all = fmt::format("{} {} {} {} {} {}", quote(owner.apiVersion), quote(owner.kind), quote(owner.name),
                                  quote(owner.uid), flag(owner.controller), flag(owner.blockOwnerDeletion));
    if (!seen.insert(std::move(all)).second) {
      gone.emplace_back(owner.uid);
      continue;
    }
    if (kept != i) references[kept] = references[i];
    ++kept;
  }
  while (references.size() > kept) references.eraseAt(references.size() - 1);
  return gone;
}

// Source: k8s.io/apimachinery/pkg/api/validation/objectmeta.go.
FieldErrors validateObjectMeta(const ServedResource& resource, const Mut<>& object) {
  using namespace apimachinery;
  const metav1::ObjectMeta& metadata = *schema::metadataOf(object.object());
  FieldErrors errors;
  FieldPath path("metadata");
  if (metadata.name.empty()) {
    errors.push_back(requiredError(path.child("name"), "name or generateName is required"));
  } else {
    auto rule = resource.strategy->validateName ? resource.strategy->validateName : isDns1123Subdomain;
    for (const std::string& message : rule(metadata.name))
      errors.push_back(invalidError(path.child("name"), metadata.name, message));
  }
  if (resource.info->namespaced) {
    if (metadata.namespace_.empty())
      errors.push_back(requiredError(path.child("namespace")));
    else
      for (const std::string& message : isDns1123Label(metadata.namespace_))
        errors.push_back(invalidError(path.child("namespace"), metadata.namespace_, message));
  } else if (!metadata.namespace_.empty()) {
    errors.push_back(forbiddenError(path.child("namespace"), "not allowed on this type"));
  }
  for (const auto& [key, value] : metadata.labels) {
    for (const std::string& message : isQualifiedName(key)) errors.push_back(invalidError(path.child("labels"), key, message));
    for (const std::string& message : isValidLabelValue(value))
      errors.push_back(invalidError(path.child("labels"), value, message));
  }
  size_t annotationBytes = 0;
  for (const auto& [key, value] : metadata.annotations) {
    for (const std::string& message : isQualifiedName(toLower(key)))
      errors.push_back(invalidError(path.child("annotations"), key, message));
    annotationBytes += key.size() + value.size();
  }
  if (annotationBytes > kAnnotationsBytesMax)
    errors.push_back(tooLongError(path.child("annotations"), static_cast<int64_t>(kAnnotationsBytesMax)));
  size_t controllers = 0;
  for (size_t i = 0; i < metadata.ownerReferences.size(); ++i) {
    const metav1::OwnerReference& owner = metadata.ownerReferences[i];
    FieldPath at = path.child("ownerReferences").index(i);
    if (owner.apiVersion.empty())
      errors.push_back(invalidError(at.child("apiVersion"), owner.apiVersion, "version must not be empty"));
    if (owner.kind.empty()) errors.push_back(invalidError(at.child("kind"), owner.kind, "must not be empty"));
    if (owner.name.empty()) errors.push_back(invalidError(at.child("name"), owner.name, "must not be empty"));
    if (owner.uid.empty()) errors.push_back(invalidError(at.child("uid"), owner.uid, "must not be empty"));
    if (owner.controller && *owner.controller) ++controllers;
  }
  if (controllers > 1)
    errors.push_back(invalidError(path.child("ownerReferences"), "", "Only one reference can have Controller set to true"));
  for (size_t i = 0; i < metadata.finalizers.size(); ++i)
    for (const std::string& message : isQualifiedName(metadata.finalizers[i]))
      errors.push_back(invalidError(path.child("finalizers").index(i), metadata.finalizers[i], message));
  return errors;
}

FieldErrors validateObjectMetaUpdate(const metav1::ObjectMeta& now, const metav1::ObjectMeta& old) {
  using namespace apimachinery;
  FieldErrors errors;
  FieldPath path("metadata");
  auto immutable = [&](std::string_view field, schema::Str a, schema::Str b) {
    if (a != b) errors.push_back(invalidError(path.child(field), a, "field is immutable"));
  };
  immutable("name", now.name, old.name);
  immutable("namespace", now.namespace_, old.namespace_);
  immutable("uid", now.uid, old.uid);
  if (!old.deletionTimestamp) return errors;
  std::vector<std::string> added;
  for (schema::Str finalizer : now.finalizers)
    if (std::find(old.finalizers.begin(), old.finalizers.end(), finalizer) == old.finalizers.end())
      added.push_back(quote(finalizer));
  if (!added.empty())
    errors.push_back(apimachinery::forbiddenError(
        path.child("finalizers"),
        fmt::format("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    join(added, ", "))));
  return errors;
}

namespace {

// The finalizers after the two of garbage collection were set or taken as the options ask.
std::vector<std::string> finalizersAfterDelete(const Strategy& strategy, const metav1::ObjectMeta& metadata,
                                               const client::DeleteOptions& options) {
  bool orphan = false, foreground = false, hasOrphan = false, hasForeground = false;
  std::vector<std::string> kept;
  for (schema::Str finalizer : metadata.finalizers) {
    if (finalizer == kFinalizerOrphan)
      hasOrphan = true;
    else if (finalizer == kFinalizerForeground)
      hasForeground = true;
    else
      kept.emplace_back(finalizer);
  }
  if (strategy.garbageCollection == GarbageCollectionPolicy::Unsupported) return kept;
  if (!options.propagationPolicy.empty()) {
    orphan = options.propagationPolicy == "Orphan";
    foreground = options.propagationPolicy == "Foreground";
  } else if (hasOrphan || hasForeground) {
    orphan = hasOrphan;
    foreground = hasForeground;
  } else {
    orphan = strategy.garbageCollection == GarbageCollectionPolicy::OrphanDependents;
  }
  if (orphan) kept.emplace_back(kFinalizerOrphan);
  if (foreground) kept.emplace_back(kFinalizerForeground);
  return kept;
}

bool sameFinalizers(const schema::List<schema::Str>& a, const std::vector<std::string>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](schema::Str x, const std::string& y) { return x == y; });
}

}  // namespace

bool readyForRemoval(const ServedResource& resource, const metav1::ObjectMeta& metadata) {
  (void)resource;
  return metadata.deletionTimestamp && metadata.deletionGracePeriodSeconds.valueOr(0) == 0 && metadata.finalizers.empty();
}

DeletePlan decideDelete(const ServedResource& resource, const Ref<>& object, const client::DeleteOptions& options, int64_t now) {
  const Strategy& strategy = *resource.strategy;
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  DeletePlan plan;
  plan.finalizers = finalizersAfterDelete(strategy, metadata, options);
  plan.finalizersChanged = !sameFinalizers(metadata.finalizers, plan.finalizers);
  bool held = !plan.finalizers.empty() || (strategy.mayBeRemoved && !strategy.mayBeRemoved(object.object()));

  if (!strategy.gracePeriodSeconds) {
    if (!held) return plan;
    plan.kind = !metadata.deletionTimestamp || plan.finalizersChanged ? DeletePlan::Mark : DeletePlan::Nothing;
    if (!metadata.deletionTimestamp) {
      plan.setTimestamp = true;
      plan.deletionUnixSeconds = now;
      plan.graceSeconds = 0;
    }
    return plan;
  }

  int64_t grace = strategy.gracePeriodSeconds(object, options.gracePeriodSeconds);
  if (!metadata.deletionTimestamp) {
    if (grace == 0 && !held) return plan;
    plan.kind = DeletePlan::Mark;
    plan.setTimestamp = true;
    plan.deletionUnixSeconds = now + grace;
    plan.graceSeconds = grace;
    return plan;
  }
  int64_t running = metadata.deletionGracePeriodSeconds.valueOr(0);
  bool shortened = options.gracePeriodSeconds && grace < running;
  if (running > 0 && !shortened) {
    plan.kind = plan.finalizersChanged ? DeletePlan::Mark : DeletePlan::Nothing;
    return plan;
  }
  if (grace == 0 || running == 0) {
    if (!held) return plan;
    plan.kind = plan.finalizersChanged || running != 0 ? DeletePlan::Mark : DeletePlan::Nothing;
    if (running != 0) {
      plan.setTimestamp = true;
      plan.deletionUnixSeconds = std::min(now, metadata.deletionTimestamp.value.unixSeconds());
      plan.graceSeconds = 0;
    }
    return plan;
  }
  // A shorter grace: counted from when the first delete came, but never in the past.
  int64_t started = metadata.deletionTimestamp.value.unixSeconds() - running;
  plan.kind = DeletePlan::Mark;
  plan.setTimestamp = true;
  plan.deletionUnixSeconds = std::max(started + grace, now);
  plan.graceSeconds = started + grace < now ? 1 : grace;
  return plan;
}

}  // namespace knarr::apiserver
