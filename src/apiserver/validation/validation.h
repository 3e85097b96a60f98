// Validation by kind, with upstream's field paths and messages.
//
// Source: pkg/apis/core/validation, pkg/apis/apps/validation. Each function returns every error it finds, in the order of
// upstream's document.
#pragma once

#include "api/core_v1.h"
#include "apimachinery/validation.h"
#include "schema/object.h"

namespace knarr::apiserver {

using apimachinery::FieldErrors;
using apimachinery::FieldPath;

FieldErrors validatePod(const schema::Mut<>& object);
FieldErrors validatePodUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateService(const schema::Mut<>& object);
FieldErrors validateConfigMap(const schema::Mut<>& object);
FieldErrors validateConfigMapUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateSecret(const schema::Mut<>& object);
FieldErrors validateSecretUpdate(const schema::Mut<>& object, const schema::Ref<>& old);
FieldErrors validateDeployment(const schema::Mut<>& object);
FieldErrors validateReplicaSet(const schema::Mut<>& object);
FieldErrors validateStatefulSet(const schema::Mut<>& object);
FieldErrors validateDaemonSet(const schema::Mut<>& object);
// spec.selector never changes.
FieldErrors validateWorkloadUpdate(const schema::Mut<>& object, const schema::Ref<>& old);

// A pod spec at `path`; templates of workloads demand restartPolicy Always besides.
FieldErrors validatePodSpec(const corev1::PodSpec& spec, const FieldPath& path);
FieldErrors validatePodTemplate(const corev1::PodTemplateSpec& pod, const metav1::LabelSelector* selector, const FieldPath& path);

// Guaranteed, Burstable or BestEffort. Source: pkg/apis/core/v1/helper/qos.
schema::Str podQosClass(const corev1::Pod& pod);

// Addresses and node ports that a Service has stay with it when an update leaves them out.
// Source: pkg/registry/core/service/storage, patchAllocatedValues.
void keepServiceAllocations(schema::Mut<>& object, const schema::Ref<>& old);

}  // namespace knarr::apiserver
