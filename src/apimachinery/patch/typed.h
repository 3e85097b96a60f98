// Typed values: JSON trees read with a schema, as server-side apply sees them.
//
// A node is a scalar, an atomic thing, a struct or map whose members stand alone, or a list whose items are found by keys
// or by value. Source: sigs.k8s.io/structured-merge-diff/v6/typed (tofieldset.go, merge.go, compare.go, remove.go).
#pragma once

#include <string_view>

#include "apimachinery/patch/field_set.h"
#include "base/arena.h"
#include "base/result.h"
#include "codec/value.h"
#include "schema/type_info.h"

namespace knarr::apimachinery {

// What a value means: the type of a whole object, a field, or one element of a list or map field.
struct SchemaRef {
  enum Relation : uint8_t { Scalar, Atomic, Struct, Map, ListMap, ListSet };
  Relation relation = Atomic;
  const schema::TypeInfo* type = nullptr;    // of a Struct, and of the elements of ListMap and Map
  const schema::FieldInfo* field = nullptr;  // the list or map field

  static SchemaRef ofType(const schema::TypeInfo& type);
  static SchemaRef ofField(const schema::FieldInfo& field);
  // Of a member of a Struct or Map; Atomic for a name the type does not have.
  SchemaRef member(std::string_view name) const;
  // Of an item of a ListMap or ListSet.
  SchemaRef item() const;
};

// The element that names a list item: "k:{...}" or "v:...". Nothing when the item lacks a key without default.
Result<std::string> itemElement(const SchemaRef& list, const codec::Value& item, Arena& arena);

// Every field that the value sets. Unknown fields and duplicate list items are errors.
Result<FieldSet> toFieldSet(const SchemaRef& schema, const codec::Value& value);

struct Comparison {
  FieldSet added, modified, removed;
  bool same() const { return added.empty() && modified.empty() && removed.empty(); }
};
Result<Comparison> compareTyped(const SchemaRef& schema, const codec::Value& before, const codec::Value& after);

// `config` put into `live`: scalars and atomic values are replaced, the others merged.
Result<codec::Value> mergeTyped(const SchemaRef& schema, const codec::Value& live, const codec::Value& config, Arena& arena);

// `value` without what `gone` owns, except where `kept` owns the node or something below it.
codec::Value removeTyped(const SchemaRef& schema, const codec::Value& value, const FieldSet& gone, const FieldSet& kept,
                         Arena& arena);

}  // namespace knarr::apimachinery
