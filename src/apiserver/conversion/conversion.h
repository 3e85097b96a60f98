// Conversion: one stored object seen through every served version.
//
// A resource is stored in one version (its storage version) and served in all. Versions of a group mostly differ in name
// only; where a field moved, a function on the JSON tree moves it. Nothing a client wrote is lost on the way there and back.
// Upstream counterpart: pkg/apis/<group>/<version>/conversion.go.
#pragma once

#include "base/result.h"
#include "schema/object.h"

namespace knarr::apiserver {

// `object` as `type`, which is the same kind in another version (or of a group that shares its storage); the object itself
// when it already is of that type. InternalError when the two cannot be converted.
Result<schema::Mut<>> convertTo(const schema::TypeInfo& type, schema::Mut<> object);
Result<schema::Ref<>> convertTo(const schema::TypeInfo& type, schema::Ref<> object);

}  // namespace knarr::apiserver
