// The pieces of a document as JSON values. Private to the room.
//
// Everything is built in the form of v2 first (swagger 2.0); documents.cc turns operations into the
// form of v3.
#pragma once

#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "apimachinery/openapi/descriptions.h"
#include "apimachinery/openapi/openapi.h"
#include "base/arena.h"
#include "codec/value.h"

namespace knarr::apimachinery::openapi {

enum class Form { V2, V3 };

// Shorthand for values of one arena.
class ValueMaker {
 public:
  explicit ValueMaker(Arena& arena) : arena_(arena) {}
  Arena& arena() { return arena_; }
  codec::Value text(std::string_view text) { return codec::Value::ofString(arena_.copy(text)); }
  codec::Value flag(bool value) { return codec::Value::ofBool(value); }
  codec::Value object(std::initializer_list<std::pair<std::string_view, codec::Value>> members) {
    codec::Value out = codec::Value::emptyObject();
    for (const auto& [name, value] : members) out.set(arena_, name, value);
    return out;
  }
  codec::Value list(std::initializer_list<codec::Value> items) {
    codec::Value out = codec::Value::emptyArray();
    for (const codec::Value& item : items) out.append(arena_, item);
    return out;
  }
  template <class Texts>
  codec::Value texts(const Texts& values) {
    codec::Value out = codec::Value::emptyArray();
    for (const auto& value : values) out.append(arena_, text(value));
    return out;
  }

 private:
  Arena& arena_;
};

// Definition names of what TypeInfo does not hold.
constexpr std::string_view kPatchName = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

// Collects the definitions that are referred to, with all that they refer to themselves.
class Definitions {
 public:
  Definitions(Form form, ValueMaker& make) : form_(form), make_(make) {}

  // {"$ref": ...} to a definition, which becomes part of the document.
  codec::Value refTo(const schema::TypeInfo& type);
  codec::Value refTo(std::string_view name);
  // Schemas that replace the TypeInfo of the same name.
  void add(std::span<const NamedSchema> schemas);
  // All definitions by name.
  codec::Value take() { return definitions_; }

 private:
  codec::Value schemaOf(const schema::TypeInfo& type);
  void addProperties(const schema::TypeInfo& type, codec::Value& properties, codec::Value& required);
  codec::Value property(const schema::TypeInfo& type, const schema::FieldInfo& field);
  codec::Value valueSchema(const schema::FieldInfo& field, bool withDefault);
  codec::Value kindSchema(const schema::FieldInfo& field, bool& opaque);
  codec::Value builtIn(std::string_view name);
  codec::Value withAllOf(const codec::Value& schema);

  Descriptions descriptions_;
  Form form_;
  ValueMaker& make_;
  std::set<std::string, std::less<>> known_;
  codec::Value definitions_ = codec::Value::emptyObject();
};

// The path items of one group and version, in the form of v2.
codec::Value buildPaths(const GroupVersion& groupVersion, Definitions& definitions, ValueMaker& make);

// A whole document of v2 as the protobuf message openapi.v2.Document.
std::string gnosticDocument(const codec::Value& document);

}  // namespace knarr::apimachinery::openapi
