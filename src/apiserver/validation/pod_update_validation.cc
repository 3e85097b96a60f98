// What may change in a pod, by which road. Source: pkg/apis/core/validation: ValidatePodUpdate, ValidatePodStatusUpdate,
// ValidatePodEphemeralContainersUpdate, ValidatePodResize.
#include <fmt/format.h>

#include <algorithm>

#include "apiserver/validation/pod_rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {
namespace {

constexpr int64_t kDeadlineMax = 2147483647;
constexpr std::string_view kOnlyResources = "only cpu and memory resources are mutable";
constexpr std::string_view kSpecFixed =
    "pod updates may not change fields other than "
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 "
    "if it was "
    "previously negative)";

Mut<corev1::Pod> copyOf(const Mut<>& object) {
  Mut<corev1::Pod> copy = schema::newObject<corev1::Pod>();
  schema::deepCopy(object.type(), copy.root(), object.root(), copy.arena());
  return copy;
}

// False when nothing more can be said of the deadline.
bool checkDeadline(FieldErrors& errors, const schema::Opt<int64_t>& now, const schema::Opt<int64_t>& old) {
  FieldPath path = FieldPath("spec").child("activeDeadlineSeconds");
  if (now) {
    if (*now < 0 || *now > kDeadlineMax) {
      errors.push_back(invalidError(path, *now, "must be between 0 and 2147483647, inclusive"));
      return false;
    }
    if (old && *old < *now) {
      errors.push_back(invalidError(path, *now, "must be less than or equal to previous value"));
      return false;
    }
  } else if (old) {
    errors.push_back(invalidValueError(path, "null", "must not update from a positive integer to nil value"));
  }
  return true;
}

void checkKeptTolerations(FieldErrors& errors, const corev1::PodSpec& now, const corev1::PodSpec& old) {
  for (const auto& before : old.tolerations) {
    bool kept = std::any_of(now.tolerations.begin(), now.tolerations.end(), [&](const corev1::Toleration& one) {
      return one.key == before.key && one.operator_ == before.operator_ && one.value == before.value &&
             one.effect == before.effect;
    });
    if (kept) continue;
    forbid(errors, FieldPath("spec").child("tolerations"),
           "existing toleration can not be modified except its tolerationSeconds");
    return;
  }
}

void checkKeptGates(FieldErrors& errors, const corev1::PodSpec& now, const corev1::PodSpec& old) {
  for (size_t i = 0; i < now.schedulingGates.size(); ++i) {
    Str name = now.schedulingGates[i].name;
    bool had =
        std::any_of(old.schedulingGates.begin(), old.schedulingGates.end(), [&](const auto& gate) { return gate.name == name; });
    if (!had)
      forbid(errors, FieldPath("spec").child("schedulingGates").index(i).child("name"),
             fmt::format("only deletion is allowed, but found new scheduling gate '{}'", name));
  }
}

// A pod that waits at a gate may be told more about where it may run, never less.
void checkGatedDirectives(FieldErrors& errors, corev1::Pod& now, const corev1::Pod& old) {
  if (old.spec.schedulingGates.empty()) return;
  FieldPath path("spec");
  for (const auto& [key, value] : old.spec.nodeSelector) {
    const Str* found = now.spec.nodeSelector.find(key);
    if (found && *found == value) continue;
    errors.push_back(invalidValueError(path.child("nodeSelector"), printMap(now.spec.nodeSelector),
                                       "only additions to spec.nodeSelector are allowed (no mutations or deletions)"));
    break;
  }
  const corev1::NodeSelector* before = old.spec.affinity && old.spec.affinity->nodeAffinity
                                           ? old.spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution
                                           : nullptr;
  const corev1::NodeSelector* after = now.spec.affinity && now.spec.affinity->nodeAffinity
                                          ? now.spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution
                                          : nullptr;
  FieldPath terms = path.child("affinity")
                        .child("nodeAffinity")
                        .child("requiredDuringSchedulingIgnoredDuringExecution")
                        .child("nodeSelectorTerms");
  if (before && !before->nodeSelectorTerms.empty()) {
    size_t count = after ? after->nodeSelectorTerms.size() : 0;
    if (count != before->nodeSelectorTerms.size())
      errors.push_back(invalidValueError(terms, "{}", "no additions/deletions to non-empty NodeSelectorTerms list are allowed"));
    for (size_t i = 0; i < count && count == before->nodeSelectorTerms.size(); ++i) {
      auto prefix = [](const auto& a, const auto& b) {
        if (a.size() > b.size()) return false;
        for (size_t k = 0; k < a.size(); ++k)
          if (!schema::equal(a[k], b[k])) return false;
        return true;
      };
      const auto &was = before->nodeSelectorTerms[i], &is = after->nodeSelectorTerms[i];
      bool empty = was.matchExpressions.empty() && was.matchFields.empty();
      bool grew = !is.matchExpressions.empty() || !is.matchFields.empty();
      if ((empty && grew) || !prefix(was.matchExpressions, is.matchExpressions) || !prefix(was.matchFields, is.matchFields))
        errors.push_back(invalidValueError(terms.index(i), "{}", "only additions are allowed (no mutations or deletions)"));
    }
  }
  // What was found good above is no difference below.
  now.spec.nodeSelector = old.spec.nodeSelector;
  if (!now.spec.affinity) return;
  corev1::NodeAffinity* node = old.spec.affinity ? old.spec.affinity->nodeAffinity : nullptr;
  now.spec.affinity->nodeAffinity = node;
  bool bare = !node && !now.spec.affinity->podAffinity && !now.spec.affinity->podAntiAffinity;
  if (bare && !old.spec.affinity) now.spec.affinity = nullptr;
}

template <class Resources>
bool onlyCpuAndMemoryDiffer(const Resources& a, const Resources& b) {
  auto same = [](const auto& x, const auto& y) {
    for (const auto& [name, quantity] : x) {
      if (name == "cpu" || name == "memory") continue;
      const schema::Quantity* other = y.find(name);
      if (!other || other->text != quantity.text) return false;
    }
    return true;
  };
  return same(a.limits, b.limits) && same(b.limits, a.limits) && same(a.requests, b.requests) && same(b.requests, a.requests);
}

template <class Resources>
void checkNoneRemoved(FieldErrors& errors, const FieldPath& path, const Resources& now, const Resources& old) {
  for (const auto& [name, quantity] : old.requests)
    if (!now.requests.contains(name)) forbid(errors, path.child("requests"), "resource requests cannot be removed");
  for (const auto& [name, quantity] : old.limits)
    if (!now.limits.contains(name)) forbid(errors, path.child("limits"), "resource limits cannot be removed");
}

// False when the lists cannot be compared one by one.
template <class Containers>
bool checkSameContainers(FieldErrors& errors, const FieldPath& path, std::string_view what, const Containers& now,
                         const Containers& old) {
  if (now.size() != old.size()) {
    forbid(errors, path, fmt::format("{} may not be added or removed on resize", what));
    return false;
  }
  for (size_t i = 0; i < now.size(); ++i)
    if (now[i].name != old[i].name) {
      forbid(errors, path.index(i).child("name"), fmt::format("{} may not be renamed or reordered on resize", what));
      return false;
    }
  return true;
}

}  // namespace

FieldErrors validatePodUpdate(const Mut<>& object, const Ref<>& oldObject) {
  Ref<corev1::Pod> old(oldObject);
  Mut<corev1::Pod> next = copyOf(object);
  FieldErrors errors;
  FieldPath path("spec");
  for (const char* key : {"kubernetes.io/config.mirror"}) {
    const Str *before = old->metadata.annotations.find(key), *after = next->metadata.annotations.find(key);
    FieldPath at = FieldPath("metadata").child("annotations").key(key);
    if (before && (!after || *after != *before)) forbid(errors, at, "may not remove or update mirror pod annotation");
    if (!before && after) forbid(errors, at, "may not add mirror pod annotation");
  }
  for (auto [name, same] : {std::pair{"containers", next->spec.containers.size() == old->spec.containers.size()},
                            std::pair{"initContainers", next->spec.initContainers.size() == old->spec.initContainers.size()}})
    if (!same) {
      forbid(errors, path.child(name), "pod updates may not add or remove containers");
      return errors;
    }
  if (!checkDeadline(errors, next->spec.activeDeadlineSeconds, old->spec.activeDeadlineSeconds)) return errors;
  checkKeptTolerations(errors, next->spec, old->spec);
  checkKeptGates(errors, next->spec, old->spec);
  checkGatedDirectives(errors, *next, *old);
  if (!errors.empty()) return errors;
  for (size_t i = 0; i < old->spec.containers.size(); ++i) next->spec.containers[i].image = old->spec.containers[i].image;
  for (size_t i = 0; i < old->spec.initContainers.size(); ++i)
    next->spec.initContainers[i].image = old->spec.initContainers[i].image;
  next->spec.activeDeadlineSeconds = old->spec.activeDeadlineSeconds;
  next->spec.tolerations = old->spec.tolerations;
  next->spec.schedulingGates = old->spec.schedulingGates;
  if (old->spec.terminationGracePeriodSeconds.valueOr(0) < 0 && next->spec.terminationGracePeriodSeconds.valueOr(0) == 1)
    next->spec.terminationGracePeriodSeconds = old->spec.terminationGracePeriodSeconds;
  if (!schema::equal(next->spec, old->spec)) forbid(errors, path, kSpecFixed);
  return errors;
}

FieldErrors validatePodStatusUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& pod = *static_cast<const corev1::Pod*>(object.root());
  Ref<corev1::Pod> old(oldObject);
  FieldErrors errors;
  FieldPath path("status");
  for (size_t i = 0; i < pod.status.conditions.size(); ++i) {
    const auto& condition = pod.status.conditions[i];
    FieldPath at = path.child("conditions").index(i);
    if (condition.observedGeneration < 0)
      errors.push_back(
          invalidError(at.child("observedGeneration"), condition.observedGeneration, "must be a non-negative integer"));
    for (const std::string& message : apimachinery::isQualifiedName(condition.type))
      errors.push_back(invalidError(at.child("Type"), condition.type, message));
  }
  Str nominated = pod.status.nominatedNodeName;
  if (nominated != old->status.nominatedNodeName && !nominated.empty()) {
    checkName(errors, path.child("nominatedNodeName"), nominated, apimachinery::isDns1123Subdomain);
    if (!old->spec.nodeName.empty())
      forbid(errors, path.child("nominatedNodeName"), "may not be set on pods that are already bound to a node");
  }
  if (pod.status.observedGeneration < 0)
    errors.push_back(
        invalidError(path.child("observedGeneration"), pod.status.observedGeneration, "must be a non-negative integer"));
  if (!old->status.qosClass.empty() && pod.status.qosClass != old->status.qosClass)
    errors.push_back(invalidError(path.child("qosClass"), pod.status.qosClass, kImmutable));
  for (size_t i = 0; i < pod.status.podIPs.size(); ++i) checkIp(errors, path.child("podIPs").index(i), pod.status.podIPs[i].ip);
  for (size_t i = 0; i < pod.status.hostIPs.size(); ++i)
    checkIp(errors, path.child("hostIPs").index(i), pod.status.hostIPs[i].ip);
  if (!pod.status.hostIPs.empty() && pod.status.hostIPs[0].ip != pod.status.hostIP)
    errors.push_back(
        invalidError(path.child("hostIPs").index(0).child("ip"), pod.status.hostIPs[0].ip, "must be equal to `hostIP`"));
  return errors;
}

FieldErrors validateEphemeralContainersUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& pod = *static_cast<const corev1::Pod*>(object.root());
  Ref<corev1::Pod> old(oldObject);
  FieldErrors errors;
  if (pod.metadata.annotations.contains("kubernetes.io/config.mirror")) {
    forbid(errors, FieldPath(), "static pods do not support ephemeral containers");
    return errors;
  }
  errors = validatePod(object);
  FieldPath path = FieldPath("spec").child("ephemeralContainers");
  for (const auto& before : old->spec.ephemeralContainers) {
    Str name = before.ephemeralContainerCommon.name;
    const corev1::EphemeralContainer* now = nullptr;
    for (const auto& one : pod.spec.ephemeralContainers)
      if (one.ephemeralContainerCommon.name == name) now = &one;
    if (!now)
      forbid(errors, path, fmt::format("existing ephemeral containers {} may not be removed\n", quote(name)));
    else if (!schema::equal(*now, before))
      forbid(errors, path, fmt::format("existing ephemeral containers {} may not be changed\n", quote(name)));
  }
  return errors;
}

FieldErrors validatePodResize(const Mut<>& object, const Ref<>& oldObject) {
  const auto& pod = *static_cast<const corev1::Pod*>(object.root());
  Ref<corev1::Pod> old(oldObject);
  FieldErrors errors;
  FieldPath path("spec");
  if (pod.metadata.annotations.contains("kubernetes.io/config.mirror")) {
    forbid(errors, FieldPath(), "static pods cannot be resized");
    return errors;
  }
  if (pod.spec.os && pod.spec.os->name == "windows") {
    forbid(errors, FieldPath(), "windows pods cannot be resized");
    return errors;
  }
  errors = validatePod(object);
  if (Str now = podQosClass(pod); !old->status.qosClass.empty() && now != old->status.qosClass)
    errors.push_back(invalidError(path, old->status.qosClass, "Pod QOS Class may not change as a result of resizing"));
  FieldPath containers = path.child("containers"), initContainers = path.child("initContainers");
  if (!checkSameContainers(errors, containers, "containers", pod.spec.containers, old->spec.containers) ||
      !checkSameContainers(errors, initContainers, "initContainers", pod.spec.initContainers, old->spec.initContainers))
    return errors;
  auto checkOne = [&](const FieldPath& at, const corev1::Container& now, const corev1::Container& before, bool init) {
    checkNoneRemoved(errors, at.child("resources"), now.resources, before.resources);
    if (onlyCpuAndMemoryDiffer(now.resources, before.resources) && now.resources.claims.size() == before.resources.claims.size())
      return;
    if (init)
      forbid(errors, at, "only cpu and memory resources for init or sidecar containers are mutable");
    else
      forbid(errors, path, kOnlyResources);
  };
  for (size_t i = 0; i < pod.spec.containers.size(); ++i)
    checkOne(containers.index(i), pod.spec.containers[i], old->spec.containers[i], false);
  for (size_t i = 0; i < pod.spec.initContainers.size(); ++i)
    checkOne(initContainers.index(i), pod.spec.initContainers[i], old->spec.initContainers[i], true);
  if (!errors.empty()) return errors;
  Mut<corev1::Pod> rest = copyOf(object);
  for (size_t i = 0; i < rest->spec.containers.size(); ++i)
    rest->spec.containers[i].resources = old->spec.containers[i].resources;
  for (size_t i = 0; i < rest->spec.initContainers.size(); ++i)
    rest->spec.initContainers[i].resources = old->spec.initContainers[i].resources;
  rest->spec.resources = old->spec.resources;
  if (!schema::equal(rest->spec, old->spec)) forbid(errors, path, kOnlyResources);
  return errors;
}

}  // namespace knarr::apiserver
