// The table of strategies: what is special about each resource, in one place.
//
// Source: pkg/registry/<group>/<resource>/strategy.go of every resource named.
#include <map>

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/defaulting.h"
#include "apiserver/strategy.h"
#include "apiserver/validation/validation.h"

namespace knarr::apiserver {
namespace {

using apimachinery::isDns1035Label;
using apimachinery::isDns1123Label;
using apimachinery::isPathSegmentName;

// Source: pkg/registry/core/pod/strategy.go, CheckGracefulDelete.
int64_t podGracePeriod(const Ref<>& object, std::optional<int64_t> asked) {
  Ref<corev1::Pod> pod(object);
  int64_t grace = asked ? *asked : pod->spec.terminationGracePeriodSeconds.valueOr(0);
  if (grace < 0) grace = 1;
  bool finished = pod->status.phase == "Failed" || pod->status.phase == "Succeeded";
  return pod->spec.nodeName.empty() || finished ? 0 : grace;
}

void preparePod(Mut<>& object) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  pod.status = {};
  pod.status.phase = "Pending";
  pod.status.qosClass = podQosClass(pod);
}

void preparePodUpdate(Mut<>& object, const Ref<>& old) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  if (pod.spec.nodeName.empty()) pod.spec.nodeName = object.str(Ref<corev1::Pod>(old)->spec.nodeName);
}

// A kubelet's status never takes back the node or the QoS class.
void preparePodStatusUpdate(Mut<>& object, const Ref<>& old) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  if (pod.status.qosClass.empty()) pod.status.qosClass = object.str(Ref<corev1::Pod>(old)->status.qosClass);
}

void prepareNamespace(Mut<>& object) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  ns.status = {};
  ns.status.phase = "Active";
  for (schema::Str finalizer : ns.spec.finalizers)
    if (finalizer == "kubernetes") return;
  ns.spec.finalizers.append(object.arena()) = "kubernetes";
}
void prepareNamespaceUpdate(Mut<>& object, const Ref<>& old) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  Ref<corev1::Namespace> before(old);
  ns.spec.finalizers = {};
  for (schema::Str finalizer : before->spec.finalizers) ns.spec.finalizers.append(object.arena()) = object.str(finalizer);
}
// Marking a namespace for deletion makes it terminating.
void prepareNamespaceStatus(Mut<>& object, const Ref<>&) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  if (ns.metadata.deletionTimestamp) ns.status.phase = "Terminating";
}
bool namespaceMayGo(const schema::Object& object) { return static_cast<const corev1::Namespace*>(object.root())->spec.finalizers.empty(); }

void prepareServiceUpdate(Mut<>& object, const Ref<>& old) { keepServiceAllocations(object, old); }

Strategy plain(bool hasGeneration = false) {
  Strategy strategy;
  strategy.hasGeneration = hasGeneration;
  return strategy;
}

Strategy podStrategy() {
  Strategy strategy = plain(true);
  strategy.prepareForCreate = preparePod;
  strategy.prepareForUpdate = preparePodUpdate;
  strategy.prepareForStatusUpdate = preparePodStatusUpdate;
  strategy.validate = validatePod;
  strategy.validateUpdate = validatePodUpdate;
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
                               {"status.nominatedNodeName", "status.nominatedNodeName"}};
  return strategy;
}

Strategy eventStrategy() {
  Strategy strategy = plain();
  strategy.storagePrefix = "events";
  strategy.ttlSeconds = 3600;  // --event-ttl
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
                               {"source", "source.component"},
                               {"type", "type"}};
  return strategy;
}

Strategy namespaceStrategy() {
  Strategy strategy = plain();
  strategy.prepareForCreate = prepareNamespace;
  strategy.prepareForUpdate = prepareNamespaceUpdate;
  strategy.prepareForStatusUpdate = prepareNamespaceStatus;
  strategy.validateName = isDns1123Label;
  strategy.mayBeRemoved = namespaceMayGo;
  strategy.returnDeletedObject = true;
  strategy.selectableFields = {{"status.phase", "status.phase"}, {"name", "metadata.name"}};
  return strategy;
}

Strategy serviceStrategy() {
  Strategy strategy = plain();
  strategy.storagePrefix = "services/specs";
  strategy.prepareForUpdate = prepareServiceUpdate;
  strategy.validate = validateService;
  strategy.validateName = isDns1035Label;
  strategy.allowCreateOnUpdate = true;
  strategy.returnDeletedObject = true;
  strategy.selectableFields = {{"spec.clusterIP", "spec.clusterIP"}, {"spec.type", "spec.type"}};
  return strategy;
}

Strategy nodeStrategy() {
  Strategy strategy = plain();
  strategy.storagePrefix = "minions";
  strategy.selectableFields = {{"spec.unschedulable", "spec.unschedulable"}};
  return strategy;
}

Strategy workload(apimachinery::FieldErrors (*validate)(const Mut<>&),
                  apimachinery::FieldErrors (*validateUpdate)(const Mut<>&, const Ref<>&)) {
  Strategy strategy = plain(true);
  strategy.validate = validate;
  strategy.validateUpdate = validateUpdate;
  return strategy;
}

using Table = std::map<std::string, Strategy, std::less<>>;

Table makeTable() {
  Table table;
  table["pods"] = podStrategy();
  table["events"] = eventStrategy();
  table["namespaces"] = namespaceStrategy();
  table["services"] = serviceStrategy();
  table["nodes"] = nodeStrategy();
  table["endpoints"] = plain();
  table["endpoints"].storagePrefix = "services/endpoints";
  table["endpoints"].allowCreateOnUpdate = true;
  table["replicationcontrollers"] = plain(true);
  table["replicationcontrollers"].storagePrefix = "controllers";
  table["replicationcontrollers"].garbageCollection = GarbageCollectionPolicy::OrphanDependents;
  table["replicationcontrollers"].selectableFields = {{"status.replicas", "status.replicas"}};
  table["serviceaccounts"] = plain();
  table["serviceaccounts"].returnDeletedObject = true;
  table["configmaps"] = plain();
  table["configmaps"].validate = validateConfigMap;
  table["configmaps"].validateUpdate = validateConfigMapUpdate;
  table["secrets"] = plain();
  table["secrets"].validate = validateSecret;
  table["secrets"].validateUpdate = validateSecretUpdate;
  table["secrets"].selectableFields = {{"type", "type"}};
  table["limitranges"] = plain();
  table["limitranges"].allowCreateOnUpdate = true;
  for (const char* name : {"persistentvolumes", "persistentvolumeclaims", "podtemplates", "resourcequotas"}) {
    table[name] = plain();
    table[name].returnDeletedObject = true;
  }
  table["podtemplates"].hasGeneration = true;
  table["apps/deployments"] = workload(validateDeployment, validateWorkloadUpdate);
  table["apps/replicasets"] = workload(validateReplicaSet, validateWorkloadUpdate);
  table["apps/statefulsets"] = workload(validateStatefulSet, validateWorkloadUpdate);
  table["apps/daemonsets"] = workload(validateDaemonSet, validateWorkloadUpdate);
  table["coordination.k8s.io/leases"] = plain();
  table["coordination.k8s.io/leases"].allowCreateOnUpdate = true;
  table["coordination.k8s.io/leases"].allowUnconditionalUpdate = false;
  for (const char* name : {"roles", "rolebindings", "clusterroles", "clusterrolebindings"}) {
    std::string key = std::string("rbac.authorization.k8s.io/") + name;
    table[key] = plain();
    table[key].validateName = isPathSegmentName;
    table[key].allowCreateOnUpdate = true;
  }
  table["discovery.k8s.io/endpointslices"] = plain(true);
  table["policy/poddisruptionbudgets"] = plain(true);
  table["policy/poddisruptionbudgets"].allowUnconditionalUpdate = false;
  table["batch/jobs"] = plain(true);
  table["batch/jobs"].garbageCollection = GarbageCollectionPolicy::OrphanDependents;
  for (const char* key : {"batch/cronjobs", "networking.k8s.io/ingresses", "networking.k8s.io/networkpolicies"}) table[key] = plain(true);
  table["networking.k8s.io/ingresses"].storagePrefix = "ingress";
  return table;
}

}  // namespace

const Strategy& strategyOf(const schema::ResourceInfo& resource) {
  static const Table kTable = makeTable();
  static const Strategy kPlain;
  std::string key = resource.group.empty() ? std::string(resource.resource) : std::string(resource.group) + "/" + std::string(resource.resource);
  auto found = kTable.find(key);
  return found == kTable.end() ? kPlain : found->second;
}

}  // namespace knarr::apiserver
