// Strategies of the groups with a name. Source: pkg/registry/<group>/<resource>/strategy.go.
#include <fmt/format.h>

#include <algorithm>

#include "api/apps_v1.h"
#include "api/certificates_v1.h"
#include "api/meta_v1.h"
#include "apiserver/strategies/strategies.h"
#include "apiserver/validation/validation.h"
#include "apiserver/warnings/warnings.h"
#include "base/strings.h"
#include "schema/layout.h"

namespace knarr::apiserver {
namespace {

using apimachinery::isDns1123Label;
using apimachinery::isPathSegmentName;
using certificatesv1::CertificateSigningRequest;

// Kinds with a generation that follows the spec, and a validation.
Strategy withSpec(Strategy::Validate validate = nullptr, Strategy::ValidateUpdate validateUpdate = nullptr) {
  Strategy strategy;
  strategy.generation = Generation::Spec;
  strategy.validate = validate;
  strategy.validateUpdate = validateUpdate;
  return strategy;
}

Strategy withoutGeneration(Strategy::Validate validate = nullptr, Strategy::ValidateUpdate validateUpdate = nullptr) {
  Strategy strategy;
  strategy.validate = validate;
  strategy.validateUpdate = validateUpdate;
  return strategy;
}

// A deployment's status never changes its labels.
void prepareDeploymentStatus(Mut<>& object, const Ref<>& old, const WriteContext&) {
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  schema::copyField(*findField(schema::typeInfoOf<metav1::ObjectMeta>(), "labels"), &metadata, &schema::metadataOf(old),
                    object.arena());
}

// The request says who asks; that is for the server to say.
void prepareSigningRequest(Mut<>& object, const WriteContext& context) {
  auto& request = *static_cast<CertificateSigningRequest*>(object.root());
  request.spec.username = object.str(context.user->name);
  request.spec.uid = object.str(context.user->uid);
  request.spec.groups = {};
  for (const std::string& group : context.user->groups) request.spec.groups.append(object.arena()) = object.str(group);
  request.spec.extra = {};
  for (const auto& [key, values] : context.user->extra) {
    auto& extra = request.spec.extra.at(object.arena(), key);
    for (const std::string& value : values) extra.items.append(object.arena()) = object.str(value);
  }
}

void prepareSigningRequestUpdate(Mut<>& object, const Ref<>& old, const WriteContext&) {
  auto& request = *static_cast<CertificateSigningRequest*>(object.root());
  request.spec = *schema::copyInto(object.arena(), Ref<CertificateSigningRequest>(old)->spec);
}

using Conditions = schema::List<certificatesv1::CertificateSigningRequestCondition>;

void fillConditionTimes(Conditions& conditions, const Conditions& before, int64_t now) {
  for (auto& condition : conditions) {
    if (condition.lastUpdateTime.isZero()) condition.lastUpdateTime = schema::Time::fromUnix(now);
    if (!condition.lastTransitionTime.isZero()) continue;
    condition.lastTransitionTime = schema::Time::fromUnix(now);
    for (const auto& old : before)
      if (old.type == condition.type && old.status == condition.status && !old.lastTransitionTime.isZero())
        condition.lastTransitionTime = old.lastTransitionTime;
  }
}

void prepareApproval(Mut<>& object, const Ref<>& oldObject, const WriteContext& context) {
  auto& request = *static_cast<CertificateSigningRequest*>(object.root());
  Ref<CertificateSigningRequest> old(oldObject);
  Conditions asked = request.status.conditions;
  request.spec = *schema::copyInto(object.arena(), old->spec);
  request.status = *schema::copyInto(object.arena(), old->status);
  request.status.conditions = asked;
  fillConditionTimes(request.status.conditions, old->status.conditions, context.nowUnixSeconds);
}

bool isDecision(const certificatesv1::CertificateSigningRequestCondition& condition) {
  return condition.type == "Approved" || condition.type == "Denied";
}

// A signer neither approves nor denies: decisions that are there are put back when their number is the same.
void prepareSigningRequestStatus(Mut<>& object, const Ref<>& oldObject, const WriteContext& context) {
  auto& request = *static_cast<CertificateSigningRequest*>(object.root());
  Ref<CertificateSigningRequest> old(oldObject);
  std::vector<const certificatesv1::CertificateSigningRequestCondition*> decided;
  for (const auto& condition : old->status.conditions)
    if (isDecision(condition)) decided.push_back(&condition);
  size_t count = 0;
  for (const auto& condition : request.status.conditions) count += isDecision(condition) ? 1 : 0;
  if (count == decided.size()) {
    size_t next = 0;
    for (auto& condition : request.status.conditions)
      if (isDecision(condition)) condition = *schema::copyInto(object.arena(), *decided[next++]);
  }
  fillConditionTimes(request.status.conditions, old->status.conditions, context.nowUnixSeconds);
}

std::vector<std::string> anyName(std::string_view) { return {}; }

Strategy signingRequestStrategy() {
  Strategy strategy = withoutGeneration(validateCertificateSigningRequest, validateCertificateSigningRequestUpdate);
  strategy.prepareForCreate = prepareSigningRequest;
  strategy.prepareForUpdate = prepareSigningRequestUpdate;
  strategy.prepareForStatusUpdate = prepareSigningRequestStatus;
  strategy.validateStatusUpdate = validateCertificateSigningRequestStatusUpdate;
  strategy.subresources = {{"approval", prepareApproval, validateCertificateSigningRequestApproval}};
  strategy.validateName = anyName;
  strategy.selectableFields = {{"spec.signerName", "spec.signerName"}};
  return strategy;
}

// How often the template of a daemon set changed, an annotation of v1. Clients do not write it.
// Source: pkg/registry/apps/daemonset/strategy.go; pkg/apis/apps/v1/conversion.go.
constexpr std::string_view kTemplateGeneration = "deprecated.daemonset.template.generation";

int64_t templateGenerationOf(const metav1::ObjectMeta& metadata) {
  const schema::Str* text = metadata.annotations.find(kTemplateGeneration);
  return std::max<int64_t>(1, text ? parseInt(*text).value_or(1) : 1);
}

void setTemplateGeneration(Mut<>& object, int64_t generation) {
  schema::set(schema::metadataOf(object).annotations, object.arena(), kTemplateGeneration, fmt::format("{}", generation));
}

void prepareDaemonSet(Mut<>& object, const WriteContext&) {
  setTemplateGeneration(object, templateGenerationOf(schema::metadataOf(object)));
}

void prepareDaemonSetUpdate(Mut<>& object, const Ref<>& oldObject, const WriteContext&) {
  Ref<appsv1::DaemonSet> old(oldObject);
  const auto& now = static_cast<const appsv1::DaemonSet*>(object.root())->spec.template_;
  bool same = schema::deepEqual(schema::typeInfoOf<corev1::PodTemplateSpec>(), &now, &old->spec.template_);
  setTemplateGeneration(object, templateGenerationOf(old->metadata) + (same ? 0 : 1));
}

void prepareDaemonSetStatus(Mut<>& object, const Ref<>& old, const WriteContext&) {
  setTemplateGeneration(object, templateGenerationOf(schema::metadataOf(old)));
}

// What a job's pods are told apart by. Source: pkg/registry/batch/job/strategy.go, generateSelector.
void prepareJob(Mut<>& object, const WriteContext&) { generateJobSelector(object); }

void addApps(StrategyTable& table) {
  table["apps/deployments"] = withSpec(validateDeployment, validateWorkloadUpdate);
  table["apps/deployments"].generation = Generation::SpecOrAnnotations;
  table["apps/deployments"].prepareForStatusUpdate = prepareDeploymentStatus;
  table["apps/deployments"].validateStatusUpdate = validateDeploymentStatusUpdate;
  table["apps/replicasets"] = withSpec(validateReplicaSet, validateWorkloadUpdate);
  table["apps/replicasets"].validateStatusUpdate = validateReplicaSetStatusUpdate;
  table["apps/replicasets"].selectableFields = {{"status.replicas", "status.replicas"}};
  table["apps/statefulsets"] = withSpec(validateStatefulSet, validateStatefulSetUpdate);
  table["apps/statefulsets"].validateName = isDns1123Label;
  table["apps/statefulsets"].validateCreate = validateNewStatefulSet;
  table["apps/daemonsets"] = withSpec(validateDaemonSet, validateWorkloadUpdate);
  table["apps/daemonsets"].prepareForCreate = prepareDaemonSet;
  table["apps/daemonsets"].prepareForUpdate = prepareDaemonSetUpdate;
  table["apps/daemonsets"].prepareForStatusUpdate = prepareDaemonSetStatus;
  table["apps/controllerrevisions"] = withoutGeneration(validateControllerRevision, validateControllerRevisionUpdate);
  table["batch/jobs"] = withSpec(validateJob, validateJobUpdate);
  table["batch/jobs"].prepareForCreate = prepareJob;
  table["batch/jobs"].garbageCollection = GarbageCollectionPolicy::OrphanDependents;
  table["batch/jobs"].selectableFields = {{"status.successful", "status.succeeded"}};
  table["batch/cronjobs"] = withSpec(validateCronJob);
  table["batch/cronjobs"].validateCreate = validateNewCronJob;
  for (const char* name :
       {"apps/deployments", "apps/replicasets", "apps/statefulsets", "apps/daemonsets", "batch/jobs", "batch/cronjobs"})
    table[name].warnings = workloadWarnings;
  table["autoscaling/horizontalpodautoscalers"] = withoutGeneration(validateHorizontalPodAutoscaler);
  table["policy/poddisruptionbudgets"] = withSpec(validatePodDisruptionBudget);
  table["policy/poddisruptionbudgets"].validateStatusUpdate = validatePodDisruptionBudgetStatusUpdate;
  table["policy/poddisruptionbudgets"].allowUnconditionalUpdate = false;
}

void addRbac(StrategyTable& table) {
  table["rbac.authorization.k8s.io/roles"] = withoutGeneration(validateRole);
  table["rbac.authorization.k8s.io/clusterroles"] = withoutGeneration(validateClusterRole);
  table["rbac.authorization.k8s.io/rolebindings"] = withoutGeneration(validateRoleBinding, validateRoleBindingUpdate);
  table["rbac.authorization.k8s.io/clusterrolebindings"] =
      withoutGeneration(validateClusterRoleBinding, validateClusterRoleBindingUpdate);
  for (const char* name : {"roles", "rolebindings", "clusterroles", "clusterrolebindings"}) {
    Strategy& strategy = table[fmt::format("rbac.authorization.k8s.io/{}", name)];
    strategy.validateName = isPathSegmentName;
    strategy.allowCreateOnUpdate = true;
  }
}

void addNetworking(StrategyTable& table) {
  table["networking.k8s.io/ingresses"] = withSpec(validateIngress);
  table["networking.k8s.io/ingresses"].storagePrefix = "ingress";
  table["networking.k8s.io/ingresses"].validateCreate = validateNewIngress;
  table["networking.k8s.io/ingresses"].warnings = ingressWarnings;
  table["networking.k8s.io/ingressclasses"] = withSpec(validateIngressClass, validateIngressClassUpdate);
  table["networking.k8s.io/networkpolicies"] = withSpec(validateNetworkPolicy);
  table["networking.k8s.io/ipaddresses"] = withoutGeneration(validateIpAddress, validateIpAddressUpdate);
  table["networking.k8s.io/ipaddresses"].validateName = ipAddressName;
  table["networking.k8s.io/servicecidrs"] = withoutGeneration(validateServiceCidr, validateServiceCidrUpdate);
  table["networking.k8s.io/servicecidrs"].statusKeepsMetadata = true;
  table["discovery.k8s.io/endpointslices"] = withSpec(validateEndpointSlice, validateEndpointSliceUpdate);
  table["discovery.k8s.io/endpointslices"].generation = Generation::OutsideMetadata;
  table["discovery.k8s.io/endpointslices"].warnings = endpointSliceWarnings;
}

void addStorage(StrategyTable& table) {
  table["storage.k8s.io/storageclasses"] = withoutGeneration(validateStorageClass, validateStorageClassUpdate);
  for (const char* name : {"csidrivers", "csinodes", "csistoragecapacities", "volumeattachments"})
    table[fmt::format("storage.k8s.io/{}", name)].allowUnconditionalUpdate = false;
  table["storage.k8s.io/volumeattachments"].statusKeepsMetadata = true;
  table["storagemigration.k8s.io/storageversionmigrations"].statusKeepsMetadata = true;
}

void addPolicies(StrategyTable& table) {
  for (const char* name : {"validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicies",
                           "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}) {
    Strategy& strategy = table[fmt::format("admissionregistration.k8s.io/{}", name)];
    strategy.generation = Generation::OutsideMetadata;
    strategy.allowUnconditionalUpdate = false;
    strategy.statusKeepsMetadata = true;
  }
  for (const char* name : {"flowschemas", "prioritylevelconfigurations"}) {
    Strategy& strategy = table[fmt::format("flowcontrol.apiserver.k8s.io/{}", name)];
    strategy.generation = Generation::Spec;
    strategy.statusKeepsMetadata = true;
  }
}

void addDevices(StrategyTable& table) {
  for (const char* name : {"deviceclasses", "resourceslices", "devicetaintrules"})
    table[fmt::format("resource.k8s.io/{}", name)].generation = Generation::Spec;
  table["resource.k8s.io/resourceclaims"].statusKeepsMetadata = true;
  table["resource.k8s.io/resourcepoolstatusrequests"].allowUnconditionalUpdate = false;
  table["resource.k8s.io/resourceslices"].selectableFields = {{"spec.nodeName", "spec.nodeName"}, {"spec.driver", "spec.driver"}};
}

}  // namespace

void addGroupStrategies(StrategyTable& table) {
  addApps(table);
  addRbac(table);
  addNetworking(table);
  addStorage(table);
  addPolicies(table);
  addDevices(table);
  table["coordination.k8s.io/leases"] = withoutGeneration(validateLease);
  table["coordination.k8s.io/leasecandidates"].selectableFields = {{"spec.leaseName", "spec.leaseName"}};
  for (const char* name : {"leases", "leasecandidates"}) {
    Strategy& strategy = table[fmt::format("coordination.k8s.io/{}", name)];
    strategy.allowCreateOnUpdate = true;
    strategy.allowUnconditionalUpdate = false;
  }
  table["scheduling.k8s.io/priorityclasses"] = withoutGeneration(validatePriorityClass, validatePriorityClassUpdate);
  table["scheduling.k8s.io/priorityclasses"].generation = Generation::OnCreate;
  table["node.k8s.io/runtimeclasses"] = withoutGeneration(validateRuntimeClass, validateRuntimeClassUpdate);
  table["node.k8s.io/runtimeclasses"].allowCreateOnUpdate = true;
  table["node.k8s.io/runtimeclasses"].allowUnconditionalUpdate = false;
  table["certificates.k8s.io/certificatesigningrequests"] = signingRequestStrategy();
  table["certificates.k8s.io/clustertrustbundles"].selectableFields = {{"spec.signerName", "spec.signerName"}};
  Strategy& podCertificates = table["certificates.k8s.io/podcertificaterequests"];
  podCertificates.allowUnconditionalUpdate = false;
  podCertificates.selectableFields = {
      {"spec.signerName", "spec.signerName"}, {"spec.podName", "spec.podName"}, {"spec.nodeName", "spec.nodeName"}};
  Strategy& definitions = table["apiextensions.k8s.io/customresourcedefinitions"];
  definitions.generation = Generation::Spec;
  definitions.allowUnconditionalUpdate = false;
  definitions.storagePrefix = "apiextensions.k8s.io/customresourcedefinitions";
  Strategy& services = table["apiregistration.k8s.io/apiservices"];
  services.allowUnconditionalUpdate = false;
  services.statusKeepsMetadata = true;
  services.storagePrefix = "apiregistration.k8s.io/apiservices";
}

}  // namespace knarr::apiserver
