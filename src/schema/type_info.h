// TypeInfo: what one generated struct looks like, as constant tables that the engine walks.
//
// The generator (schema/generator) writes one TypeInfo per type of api/*.api. Everything that treats all kinds alike
// (codecs, defaulting, deep copy, equality, patches, apply, OpenAPI) reads these tables; no kind has code of its own.
// Source of the attributes: the Kubernetes API conventions, and the +listType, +patchStrategy, +default markers.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace knarr::schema {

struct TypeInfo;

enum class Kind : uint8_t {
  String,
  Bool,
  Int32,
  Int64,
  Uint64,
  Double,
  Bytes,
  Time,
  MicroTime,
  Duration,
  Quantity,
  IntOrString,
  RawExtension,            // protobuf: message {bytes raw = 1}
  FieldsV1,                // protobuf: message {bytes Raw = 1}
  Json,                    // apiextensions/v1.JSON: protobuf message {bytes raw = 1}
  JsonSchemaPropsOrArray,  // JSON: a schema or an array of schemas
  JsonSchemaPropsOrBool,   // JSON: a schema or a boolean
  JsonSchemaPropsOrStringArray,
  Message,  // a nested struct with its own TypeInfo
};

// How a field holds its kind in memory.
enum class Shape : uint8_t {
  Value,    // T
  Pointer,  // T* for messages, RawJson for raw JSON kinds ("" is nil), Opt<T> for the other scalars
  List,     // List<T>
  Map,      // Map<T>
};

enum FieldFlag : uint16_t {
  kOmitEmpty = 1,      // zero values are left out of JSON
  kOmitZero = 2,       // zero structs are left out of JSON
  kInline = 4,         // JSON members stand in the parent
  kRequired = 8,       // required in OpenAPI
  kPointerItems = 16,  // a slice of pointers in Go; stored as values here
};

enum class ListType : uint8_t { None, Atomic, Set, Map };

struct FieldInfo {
  std::string_view json;       // JSON name; "" for an inlined message
  std::string_view protoName;  // for messages about protobuf; same as json when not special
  Kind kind;
  Shape shape;
  ListType listType;                           // of a List field, for server-side apply
  bool atomicMap;                              // map or struct replaced as a whole by server-side apply
  uint16_t flags;                              // FieldFlag
  uint16_t tag;                                // protobuf field number; 0 when the field is not on the wire
  uint32_t offset;                             // in the struct
  const TypeInfo* message;                     // of Kind::Message and of the JSONSchemaPropsOr kinds (their own), else null
  std::span<const std::string_view> listKeys;  // JSON names, with ListType::Map
  std::string_view patchStrategy;              // "", "merge", "replace", "retainKeys", "merge,retainKeys"
  std::string_view patchMergeKey;
  std::string_view defaultJson;                  // declared default as JSON text; "" when none
  std::span<const std::string_view> enumValues;  // of a closed enum; empty otherwise
  std::string_view format;                       // OpenAPI format when it is not the usual one
  std::string_view featureGate;  // the gate that must be on for the field to be kept ("A,B": one of); "" when none
  std::string_view enumName;     // the string type's name ("core/v1.PodPhase"); "" when it is a plain string
  bool granularMap;              // merged member by member by server-side apply even where its type is atomic
  std::span<const std::string_view> validation;  // declarative validation markers ("k8s:maxItems=8")

  bool has(FieldFlag flag) const { return (flags & flag) != 0; }
};

struct TypeInfo {
  std::string_view name;         // "core/v1.Pod"
  std::string_view openApiName;  // "io.k8s.api.core.v1.Pod"
  std::string_view group;        // of a root kind ("" is core)
  std::string_view version;
  std::string_view kind;  // "" when the type is no root kind
  uint32_t size;          // bytes of the struct
  uint32_t alignment;
  int32_t metadataOffset;                  // of its ObjectMeta; -1 when it has none
  int32_t listMetadataOffset;              // of its ListMeta (a list kind); -1 when it has none
  int32_t itemsField;                      // index of "items" in a list kind; -1 otherwise
  bool wrapped;                            // in JSON the bare list of its only field (metav1.Verbs)
  bool atomic;                             // struct replaced as a whole by server-side apply
  std::span<const FieldInfo> fields;       // in declaration order (JSON order)
  std::span<const uint16_t> fieldsByTag;   // indices of fields, ascending tag, tagged ones only
  std::span<const uint16_t> fieldsByJson;  // indices of fields, ascending JSON name, inlined ones left out
  bool hasTypeMeta;                        // its JSON carries kind and apiVersion (all root kinds but WatchEvent)
  std::string_view unions;                 // x-kubernetes-unions as JSON; "" when none

  bool isRoot() const { return !kind.empty(); }
};

// A resource of the API: what a path segment names. From `resource` lines of api/*.api.
struct ResourceInfo {
  std::string_view group;
  std::string_view version;
  std::string_view resource;     // "pods"
  std::string_view subresource;  // "" or "status", "scale", ...
  std::string_view kind;
  std::string_view singular;
  bool namespaced;
  std::span<const std::string_view> verbs;
  std::span<const std::string_view> shortNames;
  std::span<const std::string_view> categories;
  std::string_view kindGroup;  // group and version of the kind when they differ from the resource's
  std::string_view kindVersion;
  std::string_view storageVersionHash;
  const TypeInfo* type;      // null when the kind has no struct here
  const TypeInfo* listType;  // the list kind; null for subresources
  bool deleteReturnsObject;  // DELETE answers with the object; the others answer with a Status
};

// The TypeInfo of a generated struct. Specialised by the generator for every type.
template <class T>
const TypeInfo& typeInfoOf();

// All types and resources of the vocabulary, in a fixed order.
std::span<const TypeInfo* const> allTypes();
std::span<const ResourceInfo> allResources();
// Null when there is none.
const TypeInfo* findType(std::string_view group, std::string_view version, std::string_view kind);
const TypeInfo* findTypeByName(std::string_view name);
const ResourceInfo* findResource(std::string_view group, std::string_view version, std::string_view resource,
                                 std::string_view subresource = "");
// The resource that serves a kind ("Pod" to "pods"); null when there is none.
const ResourceInfo* findResourceOfKind(std::string_view group, std::string_view version, std::string_view kind);

}  // namespace knarr::schema
