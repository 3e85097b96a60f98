// What is special about pods. Source: pkg/registry/core/pod/strategy.go.
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/strategies/strategies.h"
#include "apiserver/validation/validation.h"
#include "apiserver/warnings/warnings.h"
#include "schema/layout.h"

namespace knarr::apiserver {
namespace {

using schema::Str;

// Source: CheckGracefulDelete.
int64_t podGracePeriod(const Ref<>& object, std::optional<int64_t> asked) {
  Ref<corev1::Pod> pod(object);
  int64_t grace = asked ? *asked : pod->spec.terminationGracePeriodSeconds.valueOr(0);
  if (grace < 0) grace = 1;
  bool finished = pod->status.phase == "Failed" || pod->status.phase == "Succeeded";
  return pod->spec.nodeName.empty() || finished ? 0 : grace;
}

// The pod's own values of some labels, as requirements of a selector that names only their keys. Keys that the pod lacks say
// nothing. Source: applyMatchLabelKeysAndMismatchLabelKeys.
void addOwnLabels(Mut<>& object, metav1::LabelSelector& selector, const schema::List<Str>& keys, std::string_view op) {
  for (Str key : keys) {
    const Str* value = schema::metadataOf(object).labels.find(key);
    if (!value) continue;
    auto& requirement = selector.matchExpressions.append(object.arena());
    requirement.key = key;
    requirement.operator_ = op;
    requirement.values.append(object.arena()) = *value;
  }
}

void addOwnLabels(Mut<>& object, corev1::PodAffinityTerm& term) {
  if (!term.labelSelector) return;
  addOwnLabels(object, *term.labelSelector, term.matchLabelKeys, "In");
  addOwnLabels(object, *term.labelSelector, term.mismatchLabelKeys, "NotIn");
}

template <class PodAffinity>
void addOwnLabels(Mut<>& object, PodAffinity* affinity) {
  if (!affinity) return;
  for (auto& term : affinity->requiredDuringSchedulingIgnoredDuringExecution) addOwnLabels(object, term);
  for (auto& term : affinity->preferredDuringSchedulingIgnoredDuringExecution) addOwnLabels(object, term.podAffinityTerm);
}

void preparePod(Mut<>& object, const WriteContext&) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  pod.status = {};
  pod.status.phase = "Pending";
  pod.status.qosClass = podQosClass(pod);
  if (!pod.spec.schedulingGates.empty()) {
    auto& condition = pod.status.conditions.append(object.arena());
    condition.type = "PodScheduled";
    condition.status = "False";
    condition.reason = "SchedulingGated";
    condition.message = "Scheduling is blocked due to non-empty scheduling gates";
  }
  if (pod.spec.affinity) {
    addOwnLabels(object, pod.spec.affinity->podAffinity);
    addOwnLabels(object, pod.spec.affinity->podAntiAffinity);
  }
  for (auto& constraint : pod.spec.topologySpreadConstraints)
    if (constraint.labelSelector) addOwnLabels(object, *constraint.labelSelector, constraint.matchLabelKeys, "In");
}

void preparePodUpdate(Mut<>& object, const Ref<>& old, const WriteContext&) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  if (pod.spec.nodeName.empty()) pod.spec.nodeName = object.str(Ref<corev1::Pod>(old)->spec.nodeName);
}

// A kubelet's status never takes back the owners or the QoS class.
void preparePodStatusUpdate(Mut<>& object, const Ref<>& oldObject, const WriteContext&) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  Ref<corev1::Pod> old(oldObject);
  pod.metadata.ownerReferences = {};
  for (const auto& owner : old->metadata.ownerReferences)
    pod.metadata.ownerReferences.append(object.arena(), *schema::copyInto(object.arena(), owner));
  if (pod.status.qosClass.empty()) pod.status.qosClass = object.str(old->status.qosClass);
}

template <class T>
void replaceWithCopy(Mut<>& object, T& to, const T& from) {
  to = *schema::copyInto(object.arena(), from);
}

void prepareEphemeralContainers(Mut<>& object, const Ref<>& oldObject, const WriteContext&) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  Ref<corev1::Pod> old(oldObject);
  auto asked = pod.spec.ephemeralContainers;
  Str revision = pod.metadata.resourceVersion;
  auto managed = pod.metadata.managedFields;
  replaceWithCopy(object, pod, *old);
  pod.spec.ephemeralContainers = asked;
  pod.metadata.resourceVersion = revision;
  pod.metadata.managedFields = managed;
}

template <class Containers>
void takeResources(Containers& to, const Containers& from) {
  for (size_t i = 0; i < to.size(); ++i) {
    to[i].resources = from[i].resources;
    to[i].resizePolicy = from[i].resizePolicy;
  }
}

template <class Containers>
bool sameNames(const Containers& a, const Containers& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i].name != b[i].name) return false;
  return true;
}

// Only resources are taken; other lists of containers are left as they came and fail validation.
void prepareResize(Mut<>& object, const Ref<>& oldObject, const WriteContext&) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  Ref<corev1::Pod> old(oldObject);
  if (!sameNames(pod.spec.containers, old->spec.containers) || !sameNames(pod.spec.initContainers, old->spec.initContainers))
    return;
  corev1::Pod asked = pod;
  replaceWithCopy(object, pod, *old);
  takeResources(pod.spec.containers, asked.spec.containers);
  takeResources(pod.spec.initContainers, asked.spec.initContainers);
  pod.spec.resources = asked.spec.resources;
  pod.metadata.resourceVersion = asked.metadata.resourceVersion;
  pod.metadata.managedFields = asked.metadata.managedFields;
}

}  // namespace

Strategy podStrategy() {
  Strategy strategy;
  strategy.generation = Generation::Spec;
  strategy.prepareForCreate = preparePod;
  strategy.prepareForUpdate = preparePodUpdate;
  strategy.prepareForStatusUpdate = preparePodStatusUpdate;
  strategy.validate = validatePod;
  strategy.validateCreate = validateNewPod;
  strategy.validateUpdate = validatePodUpdate;
  strategy.validateStatusUpdate = validatePodStatusUpdate;
  strategy.warnings = podWarnings;
  strategy.subresources = {{"ephemeralcontainers", prepareEphemeralContainers, validateEphemeralContainersUpdate},
                           {"resize", prepareResize, validatePodResize}};
  strategy.gracePeriodSeconds = podGracePeriod;
  strategy.returnDeletedObject = true;
  strategy.selectableFields = {{"spec.nodeName", "spec.nodeName"},
                               {"spec.host", "spec.nodeName"},
                               {"spec.restartPolicy", "spec.restartPolicy"},
                               {"spec.schedulerName", "spec.schedulerName"},
                               {"spec.serviceAccountName", "spec.serviceAccountName"},
                               {"spec.hostNetwork", "spec.hostNetwork"},
                               {"status.phase", "status.phase"},
                               {"status.podIP", "status.podIP"},
                               // May be named, but is no text: upstream finds no pod by it either.
                               {"status.podIPs", "status.podIPs"},
                               {"status.nominatedNodeName", "status.nominatedNodeName"}};
  return strategy;
}

}  // namespace knarr::apiserver
