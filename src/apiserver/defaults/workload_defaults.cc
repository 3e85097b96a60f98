#include "api/apps_v1.h"
#include "api/discovery_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/defaulting.h"
#include "apiserver/defaults/defaults.h"

namespace knarr::apiserver {

using schema::IntOrString;
using schema::Mut;
using schema::Str;

namespace {

void deploymentDefaults(Mut<>& object) {
  auto& spec = static_cast<appsv1::Deployment*>(object.root())->spec;
  setIfAbsent(spec.replicas, int32_t{1});
  setIfEmpty(spec.strategy.type, "RollingUpdate");
  if (spec.strategy.type == "RollingUpdate") {
    if (!spec.strategy.rollingUpdate) spec.strategy.rollingUpdate = object.arena().make<appsv1::RollingUpdateDeployment>();
    setIfAbsent(spec.strategy.rollingUpdate->maxUnavailable, IntOrString{true, 0, "25%"});
    setIfAbsent(spec.strategy.rollingUpdate->maxSurge, IntOrString{true, 0, "25%"});
  }
  setIfAbsent(spec.revisionHistoryLimit, int32_t{10});
  setIfAbsent(spec.progressDeadlineSeconds, int32_t{600});
  setPodSpecDefaults(spec.template_.spec, object.arena());
}

void replicaSetDefaults(Mut<>& object) {
  auto& spec = static_cast<appsv1::ReplicaSet*>(object.root())->spec;
  setIfAbsent(spec.replicas, int32_t{1});
  setPodSpecDefaults(spec.template_.spec, object.arena());
}

void daemonSetDefaults(Mut<>& object) {
  auto& spec = static_cast<appsv1::DaemonSet*>(object.root())->spec;
  setIfEmpty(spec.updateStrategy.type, "RollingUpdate");
  if (spec.updateStrategy.type == "RollingUpdate") {
    if (!spec.updateStrategy.rollingUpdate)
      spec.updateStrategy.rollingUpdate = object.arena().make<appsv1::RollingUpdateDaemonSet>();
    setIfAbsent(spec.updateStrategy.rollingUpdate->maxUnavailable, IntOrString{false, 1, {}});
    setIfAbsent(spec.updateStrategy.rollingUpdate->maxSurge, IntOrString{false, 0, {}});
  }
  setIfAbsent(spec.revisionHistoryLimit, int32_t{10});
  setPodSpecDefaults(spec.template_.spec, object.arena());
  // In this version the generation of the template is an annotation, so it always stands there.
  auto& annotations = schema::metadataOf(object).annotations;
  constexpr std::string_view kTemplateGeneration = "deprecated.daemonset.template.generation";
  if (!annotations.find(kTemplateGeneration)) schema::set(annotations, object.arena(), kTemplateGeneration, "0");
}

void statefulSetDefaults(Mut<>& object) {
  auto& spec = static_cast<appsv1::StatefulSet*>(object.root())->spec;
  setIfEmpty(spec.podManagementPolicy, "OrderedReady");
  if (spec.updateStrategy.type.empty()) {
    spec.updateStrategy.type = "RollingUpdate";
    if (!spec.updateStrategy.rollingUpdate)
      spec.updateStrategy.rollingUpdate = object.arena().make<appsv1::RollingUpdateStatefulSetStrategy>();
  }
  if (spec.updateStrategy.type == "RollingUpdate" && spec.updateStrategy.rollingUpdate)
    setIfAbsent(spec.updateStrategy.rollingUpdate->partition, int32_t{0});
  if (!spec.persistentVolumeClaimRetentionPolicy)
    spec.persistentVolumeClaimRetentionPolicy = object.arena().make<appsv1::StatefulSetPersistentVolumeClaimRetentionPolicy>();
  setIfEmpty(spec.persistentVolumeClaimRetentionPolicy->whenDeleted, "Retain");
  setIfEmpty(spec.persistentVolumeClaimRetentionPolicy->whenScaled, "Retain");
  setIfAbsent(spec.replicas, int32_t{1});
  setIfAbsent(spec.revisionHistoryLimit, int32_t{10});
  setPodSpecDefaults(spec.template_.spec, object.arena());
}

template <class Binding>
void bindingDefaults(Mut<>& object) {
  auto& binding = *static_cast<Binding*>(object.root());
  for (auto& subject : binding.subjects)
    if (subject.kind == "User" || subject.kind == "Group") setIfEmpty(subject.apiGroup, "rbac.authorization.k8s.io");
  setIfEmpty(binding.roleRef.apiGroup, "rbac.authorization.k8s.io");
}

void endpointSliceDefaults(Mut<>& object) {
  for (auto& port : static_cast<discoveryv1::EndpointSlice*>(object.root())->ports) {
    setIfAbsent(port.name, Str(""));
    setIfAbsent(port.protocol, Str("TCP"));
  }
}

}  // namespace

DefaultsFunction workloadDefaultsOf(std::string_view group, std::string_view kind) {
  if (group == "apps") {
    if (kind == "Deployment") return deploymentDefaults;
    if (kind == "ReplicaSet") return replicaSetDefaults;
    if (kind == "DaemonSet") return daemonSetDefaults;
    if (kind == "StatefulSet") return statefulSetDefaults;
  }
  if (group == "rbac.authorization.k8s.io") {
    if (kind == "RoleBinding") return bindingDefaults<rbacv1::RoleBinding>;
    if (kind == "ClusterRoleBinding") return bindingDefaults<rbacv1::ClusterRoleBinding>;
  }
  if (group == "discovery.k8s.io" && kind == "EndpointSlice") return endpointSliceDefaults;
  return nullptr;
}

DefaultsFunction defaultsOf(const schema::TypeInfo& type) {
  if (type.kind.empty()) return nullptr;
  if (type.group.empty()) return coreDefaultsOf(type.kind);
  DefaultsFunction own = workloadDefaultsOf(type.group, type.kind);
  return own ? own : groupDefaultsOf(type);
}

void setDefaults(Mut<>& object) {
  schema::applyDeclaredDefaults(object.type(), object.root(), object.arena());
  if (DefaultsFunction own = defaultsOf(object.type())) own(object);
}

}  // namespace knarr::apiserver
