// Whether tolerations cover a taint. Source: component-helpers/scheduling/corev1/helpers.go, api/core/v1/toleration.go.
#pragma once

#include <algorithm>

#include "api/core_v1.h"

namespace knarr::scheduler {

inline bool tolerates(const corev1::Toleration& toleration, const corev1::Taint& taint) {
  if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
  if (!toleration.key.empty() && toleration.key != taint.key) return false;
  if (toleration.operator_ == "Exists") return true;
  if (toleration.key.empty()) return false;
  return (toleration.operator_.empty() || toleration.operator_ == "Equal") && toleration.value == taint.value;
}

inline bool toleratesTaint(const corev1::Pod& pod, const corev1::Taint& taint) {
  return std::any_of(pod.spec.tolerations.begin(), pod.spec.tolerations.end(),
                     [&](const auto& t) { return tolerates(t, taint); });
}

}  // namespace knarr::scheduler
