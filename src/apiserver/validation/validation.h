// Validation by kind, with upstream's field paths and messages.
//
// validateX holds on create and on update, validateNewX on create only, validateXUpdate compares with what is there. Each
// returns every error it finds, in the order of upstream's document. Source: pkg/apis/<group>/validation.
#pragma once

#include <string_view>

#include "api/core_v1.h"
#include "apimachinery/validation.h"
#include "schema/object.h"

namespace knarr::apiserver {

using apimachinery::FieldErrors;
using apimachinery::FieldPath;

// apps_validation.cc
FieldErrors validateDeployment(const schema::Mut<>& object);
FieldErrors validateDeploymentStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateReplicaSet(const schema::Mut<>& object);
FieldErrors validateReplicaSetStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateStatefulSet(const schema::Mut<>& object);
FieldErrors validateNewStatefulSet(const schema::Mut<>& object);
FieldErrors validateStatefulSetUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateDaemonSet(const schema::Mut<>& object);
FieldErrors validateWorkloadUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateControllerRevision(const schema::Mut<>& object);
FieldErrors validateControllerRevisionUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// batch_validation.cc
FieldErrors validateJob(const schema::Mut<>& object);
FieldErrors validateJobUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateCronJob(const schema::Mut<>& object);
FieldErrors validateNewCronJob(const schema::Mut<>& object);

// cluster_validation.cc
FieldErrors validateNamespace(const schema::Mut<>& object);
FieldErrors validateNamespaceFinalize(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateNamespaceStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateNode(const schema::Mut<>& object);
FieldErrors validateNodeUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateLimitRange(const schema::Mut<>& object);
FieldErrors validateResourceQuota(const schema::Mut<>& object);
FieldErrors validateResourceQuotaUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateResourceQuotaStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateEvent(const schema::Mut<>& object);
FieldErrors validateEventsGroupEvent(const schema::Mut<>& object);
FieldErrors validateNewEventsGroupEvent(const schema::Mut<>& object);
FieldErrors validateEventsGroupEventUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// config_validation.cc
FieldErrors validateConfigMap(const schema::Mut<>& object);
FieldErrors validateConfigMapUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateSecret(const schema::Mut<>& object);
FieldErrors validateSecretUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// networking_validation.cc
FieldErrors validateNetworkPolicy(const schema::Mut<>& object);
FieldErrors validateIngress(const schema::Mut<>& object);
FieldErrors validateNewIngress(const schema::Mut<>& object);
FieldErrors validateIngressClass(const schema::Mut<>& object);
FieldErrors validateIngressClassUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// service_range_validation.cc
FieldErrors validateIpAddress(const schema::Mut<>& object);
FieldErrors validateIpAddressUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateServiceCidr(const schema::Mut<>& object);
FieldErrors validateServiceCidrUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
// The rule for the name of an IPAddress: the canonical text of one.
std::vector<std::string> ipAddressName(std::string_view name);

// pod_update_validation.cc
FieldErrors validatePodUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validatePodStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateEphemeralContainersUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validatePodResize(const schema::Mut<>& object, const schema::Ref<>& old);

// pod_validation.cc
FieldErrors validatePod(const schema::Mut<>& object);
FieldErrors validateNewPod(const schema::Mut<>& object);
FieldErrors validatePodTemplateObject(const schema::Mut<>& object);
FieldErrors validateReplicationController(const schema::Mut<>& object);

// policy_validation.cc
FieldErrors validateHorizontalPodAutoscaler(const schema::Mut<>& object);
FieldErrors validatePodDisruptionBudget(const schema::Mut<>& object);
FieldErrors validatePodDisruptionBudgetStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validatePriorityClass(const schema::Mut<>& object);
FieldErrors validatePriorityClassUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateLease(const schema::Mut<>& object);
FieldErrors validateRuntimeClass(const schema::Mut<>& object);
FieldErrors validateRuntimeClassUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// rbac_validation.cc
FieldErrors validateRole(const schema::Mut<>& object);
FieldErrors validateClusterRole(const schema::Mut<>& object);
FieldErrors validateRoleBinding(const schema::Mut<>& object);
FieldErrors validateClusterRoleBinding(const schema::Mut<>& object);
FieldErrors validateRoleBindingUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateClusterRoleBindingUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateCertificateSigningRequest(const schema::Mut<>& object);
FieldErrors validateCertificateSigningRequestUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateCertificateSigningRequestApproval(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateCertificateSigningRequestStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// service_validation.cc
FieldErrors validateService(const schema::Mut<>& object);
FieldErrors validateServiceUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateServiceStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateEndpoints(const schema::Mut<>& object);
FieldErrors validateEndpointSlice(const schema::Mut<>& object);
FieldErrors validateEndpointSliceUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// storage_validation.cc
FieldErrors validatePersistentVolumeClaim(const schema::Mut<>& object);
FieldErrors validatePersistentVolumeClaimUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validatePersistentVolumeClaimStatusUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validatePersistentVolume(const schema::Mut<>& object);
FieldErrors validatePersistentVolumeUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateStorageClass(const schema::Mut<>& object);
FieldErrors validateStorageClassUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// A pod spec, and a pod template of any owner, at `path`.
FieldErrors validatePodSpec(const corev1::PodSpec& spec, const FieldPath& path);
FieldErrors validatePodTemplateSpec(const corev1::PodTemplateSpec& pod, const FieldPath& path);
// The template of a workload: its labels match the selector, its pods are restarted always and have no deadline.
FieldErrors validatePodTemplate(const corev1::PodTemplateSpec& pod, const metav1::LabelSelector* selector, const FieldPath& path,
                                std::string_view owner);
FieldErrors validateClaimSpec(const corev1::PersistentVolumeClaimSpec& spec, const FieldPath& path);
void checkCsiDriverName(FieldErrors& errors, const FieldPath& path, std::string_view name);

// Guaranteed, Burstable or BestEffort. Source: pkg/apis/core/v1/helper/qos.
schema::Str podQosClass(const corev1::Pod& pod);

// Gives a job that chooses no selector its own, and its pods the labels for it.
void generateJobSelector(schema::Mut<>& object);

// A balancer that only takes nodes with endpoints asks each node whether it has some.
bool needsHealthCheck(const corev1::ServiceSpec& spec);
// Addresses and ports that a Service has stay with it when an update leaves them out; runs before what is missing is allocated.
void keepServiceAllocations(schema::Mut<>& object, const schema::Ref<>& old);
// What the new type of a Service has no use for goes, unless the update set it.
void dropTypeDependentFields(schema::Mut<>& object, const schema::Ref<>& old);

}  // namespace knarr::apiserver
