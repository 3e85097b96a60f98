// Warnings: what a valid object says that its writer should know of. They go with the answer and change nothing.
//
// Upstream counterpart: WarningsOnCreate and WarningsOnUpdate of the strategies; pkg/api/{pod,service,endpointslice}/warnings.go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apimachinery/validation.h"
#include "schema/object.h"

namespace knarr::apiserver {

using Warnings = std::vector<std::string>;

// `old` is null when the object is new.
Warnings podWarnings(const schema::Mut<>& object, const schema::Ref<>& old);
// Objects with a template of pods: all workloads, jobs and cron jobs, pod templates. An update that does not change the
// generation says nothing anew.
Warnings workloadWarnings(const schema::Mut<>& object, const schema::Ref<>& old);
Warnings serviceWarnings(const schema::Mut<>& object, const schema::Ref<>& old);
Warnings endpointSliceWarnings(const schema::Mut<>& object, const schema::Ref<>& old);
Warnings ingressWarnings(const schema::Mut<>& object, const schema::Ref<>& old);

// An address in a form that is taken, but is not the usual one; sloppier forms are refused before.
// Source: k8s.io/apimachinery/pkg/util/validation, GetWarningsForIP.
void warnOfIp(Warnings& out, const apimachinery::FieldPath& path, std::string_view text);

}  // namespace knarr::apiserver
