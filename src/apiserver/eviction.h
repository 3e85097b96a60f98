// Evictions: deleting a pod, unless a disruption budget says no. The decisions, as plain functions.
//
// Source: pkg/registry/core/pod/storage/eviction.go.
#pragma once

#include <vector>

#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "base/result.h"
#include "schema/object.h"

namespace knarr::apiserver {

// Pods that are finished, not started or already going are nobody's disruption.
bool ignoresBudget(const corev1::Pod& pod);
// The budgets of the pod's namespace whose selector takes it.
std::vector<schema::Ref<policyv1::PodDisruptionBudget>> budgetsOf(
    const corev1::Pod& pod, const std::vector<schema::Ref<policyv1::PodDisruptionBudget>>& all);
// Whether a pod that is not ready may go without being counted.
bool mayGoUnready(const corev1::Pod& pod, const policyv1::PodDisruptionBudget& budget);
// The budget after one more disruption, or the refusal (429 with upstream's cause; 403 for a budget out of order).
Result<schema::Mut<policyv1::PodDisruptionBudget>> takeDisruption(const schema::Ref<policyv1::PodDisruptionBudget>& budget,
                                                                  schema::Str podName, int64_t nowUnixSeconds);
// The pod with the condition that says why it goes.
schema::Mut<corev1::Pod> withDisruptionTarget(const schema::Ref<corev1::Pod>& pod, int64_t nowUnixSeconds);

}  // namespace knarr::apiserver
