// LimitRanger: the limits of a namespace, as plain functions. Source: plugin/pkg/admission/limitranger.
#pragma once

#include <string>
#include <vector>

#include "api/core_v1.h"

namespace knarr::apiserver {

// Gives containers the requests and limits that `range` has defaults for and that they lack, and notes it in an annotation.
void applyLimitDefaults(const corev1::LimitRange& range, corev1::Pod& pod, Arena& arena);
// What breaks the limits, in upstream's words; empty when nothing does.
std::vector<std::string> limitViolations(const corev1::LimitRange& range, const corev1::Pod& pod);
std::vector<std::string> limitViolations(const corev1::LimitRange& range, const corev1::PersistentVolumeClaim& claim);

}  // namespace knarr::apiserver
