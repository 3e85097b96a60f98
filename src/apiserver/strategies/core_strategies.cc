// Strategies of the core group. Source: pkg/registry/core/<resource>/strategy.go.
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/strategies/strategies.h"
#include "apiserver/validation/validation.h"
#include "apiserver/warnings/warnings.h"
#include "schema/layout.h"

namespace knarr::apiserver {
namespace {

using apimachinery::isDns1123Label;
using apimachinery::isPathSegmentName;

void prepareNamespace(Mut<>& object, const WriteContext&) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  ns.status = {};
  ns.status.phase = "Active";
  for (schema::Str finalizer : ns.spec.finalizers)
    if (finalizer == "kubernetes") return;
  ns.spec.finalizers.append(object.arena()) = "kubernetes";
}
void prepareNamespaceUpdate(Mut<>& object, const Ref<>& old, const WriteContext&) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  ns.spec = *schema::copyInto(object.arena(), Ref<corev1::Namespace>(old)->spec);
}
// Marking a namespace for deletion makes it terminating.
void prepareNamespaceStatus(Mut<>& object, const Ref<>&, const WriteContext&) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  if (ns.metadata.deletionTimestamp) ns.status.phase = "Terminating";
}
void prepareNamespaceFinalize(Mut<>& object, const Ref<>& old, const WriteContext&) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  ns.status = *schema::copyInto(object.arena(), Ref<corev1::Namespace>(old)->status);
}
bool namespaceMayGo(const schema::Object& object) {
  return static_cast<const corev1::Namespace*>(object.root())->spec.finalizers.empty();
}

void prepareServiceUpdate(Mut<>& object, const Ref<>& old, const WriteContext&) { dropTypeDependentFields(object, old); }

void preparePersistentVolume(Mut<>& object, const WriteContext& context) {
  auto& volume = *static_cast<corev1::PersistentVolume*>(object.root());
  volume.status.phase = "Pending";
  volume.status.lastPhaseTransitionTime.value = schema::Time::fromUnix(context.nowUnixSeconds);
  volume.status.lastPhaseTransitionTime.present = true;
}
// The moment of a phase's change is noted unless the writer notes one.
void preparePersistentVolumeStatus(Mut<>& object, const Ref<>& oldObject, const WriteContext& context) {
  auto& status = static_cast<corev1::PersistentVolume*>(object.root())->status;
  const auto& old = Ref<corev1::PersistentVolume>(oldObject)->status;
  if (status.phase == old.phase) {
    if (!status.lastPhaseTransitionTime) status.lastPhaseTransitionTime = old.lastPhaseTransitionTime;
    return;
  }
  bool noted = status.lastPhaseTransitionTime &&
               !(old.lastPhaseTransitionTime && status.lastPhaseTransitionTime.value == old.lastPhaseTransitionTime.value);
  if (noted) return;
  status.lastPhaseTransitionTime.value = schema::Time::fromUnix(context.nowUnixSeconds);
  status.lastPhaseTransitionTime.present = true;
}

void prepareNode(Mut<>& object, const WriteContext&) {
  auto& node = *static_cast<corev1::Node*>(object.root());
  node.spec.configSource = nullptr;
  node.status.config = nullptr;
}
void prepareNodeUpdate(Mut<>& object, const Ref<>& old, const WriteContext&) {
  if (!Ref<corev1::Node>(old)->spec.configSource) static_cast<corev1::Node*>(object.root())->spec.configSource = nullptr;
}

void prepareSecretUpdate(Mut<>& object, const Ref<>& old, const WriteContext&) {
  auto& secret = *static_cast<corev1::Secret*>(object.root());
  if (secret.type.empty()) secret.type = object.str(Ref<corev1::Secret>(old)->type);
}

// Of the secrets an account names, only their names are kept.
void cleanSecretReferences(Mut<>& object) {
  for (auto& secret : static_cast<corev1::ServiceAccount*>(object.root())->secrets) {
    schema::Str name = secret.name;
    secret = {};
    secret.name = name;
  }
}
void prepareServiceAccount(Mut<>& object, const WriteContext&) { cleanSecretReferences(object); }
void prepareServiceAccountUpdate(Mut<>& object, const Ref<>&, const WriteContext&) { cleanSecretReferences(object); }

Strategy namespaceStrategy() {
  Strategy strategy;
  strategy.prepareForCreate = prepareNamespace;
  strategy.prepareForUpdate = prepareNamespaceUpdate;
  strategy.prepareForStatusUpdate = prepareNamespaceStatus;
  strategy.subresources = {{"finalize", prepareNamespaceFinalize, validateNamespaceFinalize}};
  strategy.validate = validateNamespace;
  strategy.validateStatusUpdate = validateNamespaceStatusUpdate;
  strategy.validateName = isDns1123Label;
  strategy.mayBeRemoved = namespaceMayGo;
  strategy.returnDeletedObject = true;
  strategy.selectableFields = {{"status.phase", "status.phase"}, {"name", "metadata.name"}};
  return strategy;
}

Strategy serviceStrategy() {
  Strategy strategy;
  strategy.storagePrefix = "services/specs";
  strategy.prepareForUpdate = prepareServiceUpdate;
  strategy.validate = validateService;
  strategy.validateUpdate = validateServiceUpdate;
  strategy.validateStatusUpdate = validateServiceStatusUpdate;
  strategy.validateName = isDns1123Label;
  strategy.allowCreateOnUpdate = true;
  strategy.returnDeletedObject = true;
  strategy.selectableFields = {{"spec.clusterIP", "spec.clusterIP"}, {"spec.type", "spec.type"}};
  return strategy;
}

Strategy nodeStrategy() {
  Strategy strategy;
  strategy.storagePrefix = "minions";
  strategy.keepsStatusOnCreate = true;
  strategy.prepareForCreate = prepareNode;
  strategy.prepareForUpdate = prepareNodeUpdate;
  strategy.validate = validateNode;
  strategy.validateUpdate = validateNodeUpdate;
  strategy.selectableFields = {{"spec.unschedulable", "spec.unschedulable"}};
  return strategy;
}

Strategy eventStrategy() {
  Strategy strategy;
  strategy.storagePrefix = "events";
  strategy.ttlSeconds = 3600;  // --event-ttl
  strategy.validate = validateEvent;
  strategy.validateName = isPathSegmentName;
  strategy.allowCreateOnUpdate = true;
  strategy.garbageCollection = GarbageCollectionPolicy::Unsupported;
  strategy.selectableFields = {{"involvedObject.kind", "involvedObject.kind"},
                               {"involvedObject.namespace", "involvedObject.namespace"},
                               {"involvedObject.name", "involvedObject.name"},
                               {"involvedObject.uid", "involvedObject.uid"},
                               {"involvedObject.apiVersion", "involvedObject.apiVersion"},
                               {"involvedObject.resourceVersion", "involvedObject.resourceVersion"},
                               {"involvedObject.fieldPath", "involvedObject.fieldPath"},
                               {"reason", "reason"},
                               {"reportingComponent", "reportingComponent"},
                               {"source", "source.component", "reportingComponent"},
                               {"type", "type"}};
  return strategy;
}

// The same events under their other names. Source: pkg/apis/events/v1/conversion.go, AddFieldLabelConversionsForEvent.
Strategy eventsGroupStrategy() {
  Strategy strategy = eventStrategy();
  strategy.validate = validateEventsGroupEvent;
  strategy.validateCreate = validateNewEventsGroupEvent;
  strategy.validateUpdate = validateEventsGroupEventUpdate;
  strategy.validateName = nullptr;
  strategy.selectableFields = {{"regarding.kind", "involvedObject.kind"},
                               {"regarding.namespace", "involvedObject.namespace"},
                               {"regarding.name", "involvedObject.name"},
                               {"regarding.uid", "involvedObject.uid"},
                               {"regarding.apiVersion", "involvedObject.apiVersion"},
                               {"regarding.resourceVersion", "involvedObject.resourceVersion"},
                               {"regarding.fieldPath", "involvedObject.fieldPath"},
                               {"reason", "reason"},
                               {"reportingController", "reportingComponent"},
                               {"type", "type"}};
  return strategy;
}

void addVolumeStrategies(StrategyTable& table) {
  Strategy& volume = table["persistentvolumes"];
  volume.prepareForCreate = preparePersistentVolume;
  volume.prepareForStatusUpdate = preparePersistentVolumeStatus;
  volume.validate = validatePersistentVolume;
  volume.validateUpdate = validatePersistentVolumeUpdate;
  volume.returnDeletedObject = true;
  Strategy& claim = table["persistentvolumeclaims"];
  claim.validate = validatePersistentVolumeClaim;
  claim.validateUpdate = validatePersistentVolumeClaimUpdate;
  claim.validateStatusUpdate = validatePersistentVolumeClaimStatusUpdate;
  claim.returnDeletedObject = true;
}

void addQuotaStrategies(StrategyTable& table) {
  Strategy& limits = table["limitranges"];
  limits.validate = validateLimitRange;
  limits.allowCreateOnUpdate = true;
  Strategy& quota = table["resourcequotas"];
  quota.validate = validateResourceQuota;
  quota.validateUpdate = validateResourceQuotaUpdate;
  quota.validateStatusUpdate = validateResourceQuotaStatusUpdate;
  quota.returnDeletedObject = true;
}

}  // namespace

void addCoreStrategies(StrategyTable& table) {
  table["pods"] = podStrategy();
  table["events"] = eventStrategy();
  table["events.k8s.io/events"] = eventsGroupStrategy();
  table["namespaces"] = namespaceStrategy();
  table["services"] = serviceStrategy();
  table["services"].warnings = serviceWarnings;
  table["nodes"] = nodeStrategy();
  Strategy& endpoints = table["endpoints"];
  endpoints.storagePrefix = "services/endpoints";
  endpoints.validate = validateEndpoints;
  endpoints.allowCreateOnUpdate = true;
  Strategy& controllers = table["replicationcontrollers"];
  controllers.generation = Generation::Spec;
  controllers.storagePrefix = "controllers";
  controllers.garbageCollection = GarbageCollectionPolicy::OrphanDependents;
  controllers.validate = validateReplicationController;
  controllers.warnings = workloadWarnings;
  controllers.selectableFields = {{"status.replicas", "status.replicas"}};
  Strategy& accounts = table["serviceaccounts"];
  accounts.prepareForCreate = prepareServiceAccount;
  accounts.prepareForUpdate = prepareServiceAccountUpdate;
  accounts.returnDeletedObject = true;
  Strategy& maps = table["configmaps"];
  maps.validate = validateConfigMap;
  maps.validateUpdate = validateConfigMapUpdate;
  Strategy& secrets = table["secrets"];
  secrets.prepareForUpdate = prepareSecretUpdate;
  secrets.validate = validateSecret;
  secrets.validateUpdate = validateSecretUpdate;
  secrets.selectableFields = {{"type", "type"}};
  Strategy& templates = table["podtemplates"];
  templates.generation = Generation::OutsideMetadata;
  templates.validate = validatePodTemplateObject;
  templates.warnings = workloadWarnings;
  templates.returnDeletedObject = true;
  addVolumeStrategies(table);
  addQuotaStrategies(table);
}

}  // namespace knarr::apiserver
