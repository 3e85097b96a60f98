// Patches on JSON trees: JSON Patch, JSON Merge Patch and the strategic merge patch.
//
// All work on codec::Value in one arena; the result shares parts of document and patch. Errors carry upstream's wording
// and reason: BadRequest for a malformed patch, Invalid for one that does not apply.
// Source: RFC 6902, RFC 7386, k8s.io/apimachinery/pkg/util/strategicpatch.
#pragma once

#include <string_view>

#include "base/arena.h"
#include "base/result.h"
#include "codec/value.h"
#include "schema/type_info.h"

namespace knarr::apimachinery {

// At most this many operations in one JSON Patch. Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go.
inline constexpr size_t kJsonPatchOperationsMax = 10000;

Result<codec::Value> applyJsonPatch(const codec::Value& document, const codec::Value& patch, Arena& arena);
Result<codec::Value> applyMergePatch(const codec::Value& document, const codec::Value& patch, Arena& arena);
// The type tables say which lists merge and by which key.
Result<codec::Value> applyStrategicMergePatch(const schema::TypeInfo& type, const codec::Value& document,
                                              const codec::Value& patch, Arena& arena);

// The field `json` of a type, looking into inlined structs; null when there is none.
const schema::FieldInfo* fieldNamed(const schema::TypeInfo& type, std::string_view json);

}  // namespace knarr::apimachinery
