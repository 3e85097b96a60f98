// Managed fields: who owns which field, kept up by every write, and server-side apply on top of it.
//
// Source: k8s.io/apimachinery/pkg/util/managedfields, sigs.k8s.io/structured-merge-diff/v6/merge/update.go; KEP-555.
#pragma once

#include <string>
#include <vector>

#include "apimachinery/patch/typed.h"

namespace knarr::metav1 {
struct ObjectMeta;
}

namespace knarr::apimachinery {

struct Manager {
  std::string name;
  bool apply = false;  // operation Apply, else Update
  std::string apiVersion;
  std::string subresource;
  int64_t unixSeconds = 0;
  FieldSet fields;
  std::string text = {};  // FieldsV1 of `fields` as it was read; "" once they changed

  bool sameIdentity(const Manager& other) const {
    return name == other.name && apply == other.apply && subresource == other.subresource &&
           (apply || apiVersion == other.apiVersion);
  }
};
using Managers = std::vector<Manager>;

// The entries of metadata.managedFields; BadRequest when one does not parse.
Result<Managers> decodeManagers(const metav1::ObjectMeta& metadata);
// Replaces metadata.managedFields, in upstream's order.
void encodeManagers(Managers managers, metav1::ObjectMeta& metadata, Arena& arena);

// What nobody owns: identity, system fields, managedFields themselves.
void stripMetadata(FieldSet& set);

// A write that is no apply: what it changed becomes its own.
Managers trackChanges(Managers managers, Comparison comparison, const Manager& writer);
// The same from the objects as JSON values.
Result<Managers> trackUpdateFields(const schema::TypeInfo& type, Managers managers, const codec::Value& live,
                                   const codec::Value& next, const Manager& writer);

struct ApplyResult {
  codec::Value object;
  Managers managers;
  bool changed = true;
};
// Server-side apply. Conflict (409 with a cause per field) when another manager owns what the config changes and `force`
// is off.
Result<ApplyResult> applyConfiguration(const schema::TypeInfo& type, Managers managers, const codec::Value& live,
                                       const codec::Value& config, const Manager& applier, bool force, Arena& arena);

}  // namespace knarr::apimachinery
