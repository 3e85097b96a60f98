// Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions. Source: pkg/apis/apps/validation.
#include <fmt/format.h>

#include "api/apps_v1.h"
#include "apimachinery/labels.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "codec/value.h"
#include "schema/layout.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;

namespace {

void checkSelector(FieldErrors& errors, const FieldPath& path, const metav1::LabelSelector* selector, std::string_view empty) {
  if (!selector) {
    errors.push_back(requiredError(path));
    return;
  }
  checkLabelSelector(errors, path, selector);
  if (selector->matchLabels.empty() && selector->matchExpressions.empty()) errors.push_back(invalidValueError(path, "{}", empty));
}

const char* kEmptyForDeployment = "empty selector is invalid for deployment";

template <class T>
const T& as(const Mut<>& object) {
  return *static_cast<const T*>(object.root());
}

void notMoreThan(FieldErrors& errors, const FieldPath& path, int32_t value, int32_t most, std::string_view why) {
  if (value > most) errors.push_back(invalidError(path, int64_t{value}, why));
}

void checkCollisions(FieldErrors& errors, const FieldPath& path, const schema::Opt<int32_t>& now,
                     const schema::Opt<int32_t>& old) {
  nonNegative(errors, path, now);
  if (old && now.valueOr(0) < *old) errors.push_back(invalidError(path, int64_t{now.valueOr(0)}, "cannot be decremented"));
}

void checkRollingUpdate(FieldErrors& errors, const FieldPath& path, const appsv1::DeploymentStrategy& strategy) {
  FieldPath at = path.child("rollingUpdate");
  if (strategy.type == "Recreate") {
    if (strategy.rollingUpdate) forbid(errors, at, "may not be specified when strategy `type` is 'Recreate'");
    return;
  }
  if (strategy.type != "RollingUpdate") {
    errors.push_back(notSupportedError(path, strategy.type, {"Recreate", "RollingUpdate"}));
    return;
  }
  if (!strategy.rollingUpdate) {
    errors.push_back(requiredError(at, "this should be defaulted and never be nil"));
    return;
  }
  checkIntOrPercent(errors, at.child("maxUnavailable"), strategy.rollingUpdate->maxUnavailable, true);
  checkIntOrPercent(errors, at.child("maxSurge"), strategy.rollingUpdate->maxSurge, false);
  if (isZeroAmount(strategy.rollingUpdate->maxUnavailable) && isZeroAmount(strategy.rollingUpdate->maxSurge)) {
    const auto& amount = strategy.rollingUpdate->maxUnavailable;
    std::string printed = amount && amount.value.isString ? fmt::format("\"{}\"", amount.value.stringValue) : "0";
    errors.push_back(invalidValueError(at.child("maxUnavailable"), printed, "may not be 0 when `maxSurge` is 0"));
  }
}

}  // namespace

FieldErrors validateDeployment(const Mut<>& object) {
  const auto& spec = as<appsv1::Deployment>(object).spec;
  FieldPath path("spec");
  FieldErrors errors;
  nonNegative(errors, path.child("replicas"), spec.replicas);
  checkSelector(errors, path.child("selector"), spec.selector, kEmptyForDeployment);
  addAll(errors, validatePodTemplate(spec.template_, spec.selector, path.child("template"), "ReplicaSet"));
  checkRollingUpdate(errors, path.child("strategy"), spec.strategy);
  nonNegative(errors, path.child("minReadySeconds"), int64_t{spec.minReadySeconds});
  nonNegative(errors, path.child("revisionHistoryLimit"), spec.revisionHistoryLimit);
  nonNegative(errors, path.child("progressDeadlineSeconds"), spec.progressDeadlineSeconds);
  if (spec.progressDeadlineSeconds && *spec.progressDeadlineSeconds <= spec.minReadySeconds)
    errors.push_back(invalidError(path.child("progressDeadlineSeconds"), int64_t{*spec.progressDeadlineSeconds},
                                  "must be greater than minReadySeconds"));
  return errors;
}

FieldErrors validateDeploymentStatusUpdate(const Mut<>& object, const Ref<>& old) {
  const auto& status = as<appsv1::Deployment>(object).status;
  FieldErrors errors;
  FieldPath path("status");
  nonNegative(errors, path.child("observedGeneration"), status.observedGeneration);
  for (auto [name, value] :
       {std::pair{"replicas", status.replicas}, std::pair{"updatedReplicas", status.updatedReplicas},
        std::pair{"readyReplicas", status.readyReplicas}, std::pair{"availableReplicas", status.availableReplicas},
        std::pair{"unavailableReplicas", status.unavailableReplicas}})
    nonNegative(errors, path.child(name), int64_t{value});
  checkCollisions(errors, path.child("collisionCount"), status.collisionCount,
                  Ref<appsv1::Deployment>(old)->status.collisionCount);
  constexpr std::string_view kMore = "cannot be greater than status.replicas";
  notMoreThan(errors, path.child("updatedReplicas"), status.updatedReplicas, status.replicas, kMore);
  notMoreThan(errors, path.child("readyReplicas"), status.readyReplicas, status.replicas, kMore);
  notMoreThan(errors, path.child("availableReplicas"), status.availableReplicas, status.replicas, kMore);
  notMoreThan(errors, path.child("availableReplicas"), status.availableReplicas, status.readyReplicas,
              "cannot be greater than readyReplicas");
  return errors;
}

FieldErrors validateReplicaSet(const Mut<>& object) {
  const auto& spec = as<appsv1::ReplicaSet>(object).spec;
  FieldErrors errors;
  FieldPath path("spec");
  nonNegative(errors, path.child("replicas"), spec.replicas);
  nonNegative(errors, path.child("minReadySeconds"), int64_t{spec.minReadySeconds});
  checkSelector(errors, path.child("selector"), spec.selector, kEmptyForDeployment);
  addAll(errors, validatePodTemplate(spec.template_, spec.selector, path.child("template"), "ReplicaSet"));
  return errors;
}

FieldErrors validateReplicaSetStatusUpdate(const Mut<>& object, const Ref<>&) {
  const auto& status = as<appsv1::ReplicaSet>(object).status;
  FieldErrors errors;
  FieldPath path("status");
  constexpr std::string_view kMore = "cannot be greater than status.replicas";
  nonNegative(errors, path.child("replicas"), int64_t{status.replicas});
  for (auto [name, value] :
       {std::pair{"fullyLabeledReplicas", status.fullyLabeledReplicas}, std::pair{"readyReplicas", status.readyReplicas},
        std::pair{"availableReplicas", status.availableReplicas}})
    nonNegative(errors, path.child(name), int64_t{value});
  nonNegative(errors, path.child("observedGeneration"), status.observedGeneration);
  notMoreThan(errors, path.child("fullyLabeledReplicas"), status.fullyLabeledReplicas, status.replicas, kMore);
  notMoreThan(errors, path.child("readyReplicas"), status.readyReplicas, status.replicas, kMore);
  notMoreThan(errors, path.child("availableReplicas"), status.availableReplicas, status.replicas, kMore);
  notMoreThan(errors, path.child("availableReplicas"), status.availableReplicas, status.readyReplicas,
              "cannot be greater than readyReplicas");
  return errors;
}

FieldErrors validateStatefulSet(const Mut<>& object) {
  const auto& spec = as<appsv1::StatefulSet>(object).spec;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.podManagementPolicy.empty())
    errors.push_back(requiredError(path.child("podManagementPolicy")));
  else if (spec.podManagementPolicy != "OrderedReady" && spec.podManagementPolicy != "Parallel")
    errors.push_back(
        invalidError(path.child("podManagementPolicy"), spec.podManagementPolicy, "must be 'OrderedReady' or 'Parallel'"));
  FieldPath strategy = path.child("updateStrategy"), rolling = strategy.child("rollingUpdate");
  const auto* update = spec.updateStrategy.rollingUpdate;
  if (spec.updateStrategy.type.empty()) {
    errors.push_back(requiredError(strategy));
  } else if (spec.updateStrategy.type == "OnDelete") {
    if (update) errors.push_back(invalidValueError(rolling, "{}", "only allowed for updateStrategy 'RollingUpdate'"));
  } else if (spec.updateStrategy.type == "RollingUpdate") {
    if (update) {
      nonNegative(errors, rolling.child("partition"), update->partition);
      checkIntOrPercent(errors, rolling.child("maxUnavailable"), update->maxUnavailable, true);
      if (update->maxUnavailable && isZeroAmount(update->maxUnavailable))
        errors.push_back(invalidValueError(rolling.child("maxUnavailable"), "0", "cannot be 0"));
    }
  } else {
    errors.push_back(invalidValueError(strategy,
                                       fmt::format("{{\"Type\":\"{}\",\"RollingUpdate\":null}}", spec.updateStrategy.type),
                                       "must be 'RollingUpdate' or 'OnDelete'"));
  }
  if (const auto* retention = spec.persistentVolumeClaimRetentionPolicy) {
    FieldPath at = path.child("persistentVolumeClaimRetentionPolicy");
    checkOneOf(errors, at.child("whenDeleted"), retention->whenDeleted, {"Retain", "Delete"});
    checkOneOf(errors, at.child("whenScaled"), retention->whenScaled, {"Retain", "Delete"});
  }
  nonNegative(errors, path.child("replicas"), spec.replicas);
  nonNegative(errors, path.child("minReadySeconds"), int64_t{spec.minReadySeconds});
  if (spec.ordinals) nonNegative(errors, path.child("ordinals.start"), int64_t{spec.ordinals->start});
  checkSelector(errors, path.child("selector"), spec.selector, "empty selector is invalid for statefulset");
  // A volume stands for each claim that the controller will make.
  Mut<appsv1::StatefulSet> copy = schema::newObject<appsv1::StatefulSet>();
  schema::deepCopy(object.type(), copy.root(), object.root(), copy.arena());
  corev1::PodTemplateSpec& pod = copy->spec.template_;
  pod.spec.subdomain = {};
  pod.spec.hostname = {};
  for (const auto& claim : spec.volumeClaimTemplates) {
    for (size_t i = pod.spec.volumes.size(); i-- > 0;)
      if (pod.spec.volumes[i].name == claim.metadata.name) pod.spec.volumes.eraseAt(i);
    auto& volume = pod.spec.volumes.append(copy.arena());
    volume.name = claim.metadata.name;
    volume.volumeSource.persistentVolumeClaim = copy.arena().make<corev1::PersistentVolumeClaimVolumeSource>();
    volume.volumeSource.persistentVolumeClaim->claimName = claim.metadata.name;
  }
  addAll(errors, validatePodTemplate(pod, spec.selector, path.child("template"), "StatefulSet"));
  return errors;
}

FieldErrors validateNewStatefulSet(const Mut<>& object) {
  const auto& spec = as<appsv1::StatefulSet>(object).spec;
  FieldErrors errors;
  FieldPath path("spec");
  for (size_t i = 0; i < spec.volumeClaimTemplates.size(); ++i)
    addAll(errors,
           validateClaimSpec(spec.volumeClaimTemplates[i].spec, path.child("volumeClaimTemplates").index(i).child("spec")));
  checkName(errors, path.child("serviceName"), spec.serviceName, isDns1123Label);
  return errors;
}

FieldErrors validateStatefulSetUpdate(const Mut<>& object, const Ref<>& oldObject) {
  Ref<appsv1::StatefulSet> old(oldObject);
  appsv1::StatefulSetSpec rest = as<appsv1::StatefulSet>(object).spec;
  rest.replicas = old->spec.replicas;
  rest.ordinals = old->spec.ordinals;
  rest.template_ = old->spec.template_;
  rest.updateStrategy = old->spec.updateStrategy;
  rest.revisionHistoryLimit = old->spec.revisionHistoryLimit;
  rest.persistentVolumeClaimRetentionPolicy = old->spec.persistentVolumeClaimRetentionPolicy;
  rest.minReadySeconds = old->spec.minReadySeconds;
  FieldErrors errors;
  if (!schema::equal(rest, old->spec))
    forbid(errors, FieldPath("spec"),
           "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
           "'revisionHistoryLimit', "
           "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
  return errors;
}

FieldErrors validateDaemonSet(const Mut<>& object) {
  const auto& spec = as<appsv1::DaemonSet>(object).spec;
  FieldErrors errors;
  FieldPath path("spec");
  checkSelector(errors, path.child("selector"), spec.selector, "empty selector is invalid for daemonset");
  addAll(errors, validatePodTemplate(spec.template_, spec.selector, path.child("template"), "DaemonSet"));
  nonNegative(errors, path.child("minReadySeconds"), int64_t{spec.minReadySeconds});
  nonNegative(errors, path.child("revisionHistoryLimit"), spec.revisionHistoryLimit);
  FieldPath strategy = path.child("updateStrategy"), rolling = strategy.child("rollingUpdate");
  const auto* update = spec.updateStrategy.rollingUpdate;
  if (spec.updateStrategy.type == "OnDelete") return errors;
  if (spec.updateStrategy.type != "RollingUpdate") {
    errors.push_back(notSupportedError(strategy, spec.updateStrategy.type, {"RollingUpdate", "OnDelete"}));
    return errors;
  }
  if (!update) {
    errors.push_back(requiredError(rolling));
    return errors;
  }
  checkIntOrPercent(errors, rolling.child("maxUnavailable"), update->maxUnavailable, true);
  checkIntOrPercent(errors, rolling.child("maxSurge"), update->maxSurge, true);
  bool noneUnavailable = isZeroAmount(update->maxUnavailable), noSurge = isZeroAmount(update->maxSurge);
  if (!noneUnavailable && !noSurge)
    errors.push_back(invalidValueError(rolling.child("maxSurge"), "{}", "may not be set when maxUnavailable is non-zero"));
  if (noneUnavailable && noSurge)
    errors.push_back(requiredError(rolling.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"));
  return errors;
}

FieldErrors validateWorkloadUpdate(const Mut<>& object, const Ref<>& old) {
  FieldErrors errors;
  for (const schema::FieldInfo& spec : object.type().fields) {
    if (spec.json != "spec") continue;
    for (const schema::FieldInfo& field : spec.message->fields)
      if (field.json == "selector" && !schema::equalField(field, schema::at(object.root(), spec), schema::at(old.root(), spec)))
        errors.push_back(invalidValueError(FieldPath("spec").child("selector"), "{}", kImmutable));
  }
  return errors;
}

FieldErrors validateControllerRevision(const Mut<>& object) {
  const auto& revision = as<appsv1::ControllerRevision>(object);
  FieldErrors errors;
  FieldPath data("data");
  nonNegative(errors, FieldPath("revision"), revision.revision);
  Arena arena;
  if (revision.data.text.empty() || revision.data.text == "null") {
    errors.push_back(requiredError(data, "data is mandatory"));
  } else if (auto parsed = codec::parseJsonValue(revision.data.text, arena); !parsed) {
    errors.push_back(invalidError(data, "<value omitted>", fmt::format("error parsing data: {}", parsed.error().message())));
  } else if (!parsed->isObject()) {
    errors.push_back(requiredError(data, "data must be a valid JSON object"));
  }
  return errors;
}

FieldErrors validateControllerRevisionUpdate(const Mut<>& object, const Ref<>& old) {
  const auto& revision = as<appsv1::ControllerRevision>(object);
  FieldErrors errors;
  if (revision.data.text != Ref<appsv1::ControllerRevision>(old)->data.text)
    errors.push_back(invalidValueError(FieldPath("data"), revision.data.text, kImmutable));
  return errors;
}

}  // namespace knarr::apiserver
