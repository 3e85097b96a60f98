// Schemas of types.
#include <fmt/format.h>

#include <algorithm>

#include "apimachinery/openapi/builder.h"
#include "base/strings.h"

namespace knarr::apimachinery::openapi {

using codec::Value;
using schema::FieldInfo;
using schema::Kind;
using schema::Shape;
using schema::TypeInfo;

namespace {

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
constexpr std::string_view kApiExtensions = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";

// The definition that stands for a kind with a JSON form of its own; "" for the others.
std::string definitionOf(const FieldInfo& field) {
  switch (field.kind) {
    case Kind::Time:
      return std::string(kMeta) + "Time";
    case Kind::MicroTime:
      return std::string(kMeta) + "MicroTime";
    case Kind::Duration:
      return std::string(kMeta) + "Duration";
    case Kind::FieldsV1:
      return std::string(kMeta) + "FieldsV1";
    case Kind::Quantity:
      return "io.k8s.apimachinery.pkg.api.resource.Quantity";
    case Kind::IntOrString:
      return "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
    case Kind::RawExtension:
      return "io.k8s.apimachinery.pkg.runtime.RawExtension";
    case Kind::Json:
      // Kind Json without a protobuf field number is Go's interface{}.
      return field.tag == 0 ? "" : std::string(kApiExtensions) + "JSON";
    default:
      return "";
  }
}

}  // namespace

Value Definitions::refTo(std::string_view name) {
  if (known_.emplace(name).second) {
    if (const TypeInfo* const* at = std::find_if(schema::allTypes().data(), schema::allTypes().data() + schema::allTypes().size(),
                                                 [&](const TypeInfo* type) { return type->openApiName == name; });
        at != schema::allTypes().data() + schema::allTypes().size()) {
      Value made = schemaOf(**at);
      definitions_.set(make_.arena(), name, made);
    } else {
      definitions_.set(make_.arena(), name, builtIn(name));
    }
  }
  std::string_view prefix = form_ == Form::V2 ? "#/definitions/" : "#/components/schemas/";
  return make_.object({{"$ref", make_.text(std::string(prefix).append(name))}});
}

Value Definitions::refTo(const TypeInfo& type) {
  if (known_.emplace(type.openApiName).second) {
    Value made = schemaOf(type);
    definitions_.set(make_.arena(), type.openApiName, made);
  }
  return refTo(type.openApiName);
}

void Definitions::add(std::span<const NamedSchema> schemas) {
  for (const NamedSchema& named : schemas)
    if (known_.emplace(named.name).second) definitions_.set(make_.arena(), named.name, named.schema);
}

// Types with a JSON form of their own, and Patch, which is no type at all.
Value Definitions::builtIn(std::string_view name) {
  Value string = make_.text("string");
  auto typeOnly = [&](std::string_view type) { return make_.object({{"type", make_.text(type)}}); };
  if (name.ends_with(".Time") || name.ends_with(".MicroTime"))
    return make_.object({{"type", string}, {"format", make_.text("date-time")}});
  if (name.ends_with(".Duration")) return typeOnly("string");
  if (name.ends_with(".Quantity")) {
    if (form_ == Form::V2) return typeOnly("string");
    return make_.object({{"oneOf", make_.list({typeOnly("string"), typeOnly("number")})}});
  }
  if (name.ends_with(".IntOrString")) {
    Value format = make_.text("int-or-string");
    if (form_ == Form::V2) return make_.object({{"type", string}, {"format", format}});
    return make_.object({{"format", format}, {"oneOf", make_.list({typeOnly("integer"), typeOnly("string")})}});
  }
  if (name.ends_with(".JSON")) return Value::emptyObject();
  return typeOnly("object");
}

Value Definitions::schemaOf(const TypeInfo& type) {
  if (type.name.starts_with("apiextensions/v1.JSONSchemaPropsOr")) return Value::emptyObject();
  Value out = make_.object({{"type", make_.text("object")}});
  if (std::string_view words = descriptions_.ofType(type.name); !words.empty())
    out.set(make_.arena(), "description", make_.text(words));
  Value properties = Value::emptyObject(), required = Value::emptyArray();
  if (type.hasTypeMeta)
    for (std::string_view name : {"apiVersion", "kind"}) {
      Value member =
          make_.object({{"type", make_.text("string")}, {"description", make_.text(descriptions_.ofField(type.name, name))}});
      properties.set(make_.arena(), name, member);
    }
  addProperties(type, properties, required);
  if (properties.size() != 0) out.set(make_.arena(), "properties", properties);
  if (required.size() != 0) out.set(make_.arena(), "required", required);
  if (type.atomic) out.set(make_.arena(), "x-kubernetes-map-type", make_.text("atomic"));
  if (!type.unions.empty()) {
    auto unions = codec::parseJsonValue(type.unions, make_.arena());
    ASSERT(unions.has_value());
    out.set(make_.arena(), "x-kubernetes-unions", *unions);
  }
  if (type.isRoot()) {
    Value gvk =
        make_.object({{"group", make_.text(type.group)}, {"version", make_.text(type.version)}, {"kind", make_.text(type.kind)}});
    out.set(make_.arena(), "x-kubernetes-group-version-kind", make_.list({gvk}));
  }
  return out;
}

void Definitions::addProperties(const TypeInfo& type, Value& properties, Value& required) {
  for (const FieldInfo& field : type.fields) {
    if (field.has(schema::kInline)) {
      addProperties(*field.message, properties, required);
      continue;
    }
    properties.set(make_.arena(), field.json, property(type, field));
    if (field.has(schema::kRequired)) required.append(make_.arena(), make_.text(field.json));
  }
}

// v3 allows nothing beside "$ref", so the reference moves into "allOf" when there is more to say.
Value Definitions::withAllOf(const Value& schema) {
  const Value* ref = schema.find("$ref");
  if (form_ == Form::V2 || !ref || schema.size() == 1) return schema;
  Value out = schema;
  Value inner = make_.object({{"$ref", *ref}});
  out.erase("$ref");
  out.set(make_.arena(), "allOf", make_.list({inner}));
  return out;
}

Value Definitions::property(const TypeInfo& type, const FieldInfo& field) {
  Value out;
  auto set = [&](std::string_view name, const Value& value) { out.set(make_.arena(), name, value); };
  if (field.shape == Shape::List) {
    out = make_.object({{"type", make_.text("array")}, {"items", withAllOf(valueSchema(field, true))}});
  } else if (field.shape == Shape::Map) {
    out = make_.object({{"type", make_.text("object")}, {"additionalProperties", withAllOf(valueSchema(field, true))}});
  } else {
    bool valueOmitted = field.has(schema::kOmitEmpty) && field.kind != Kind::Message;
    out = valueSchema(field, field.shape == Shape::Value && !valueOmitted);
    if (form_ == Form::V3 && !field.defaultJson.empty()) {
      auto declared = codec::parseJsonValue(field.defaultJson, make_.arena());
      ASSERT(declared.has_value());
      set("default", *declared);
    }
  }
  if (field.listType != schema::ListType::None) {
    static constexpr std::string_view kNames[] = {"", "atomic", "set", "map"};
    set("x-kubernetes-list-type", make_.text(kNames[static_cast<size_t>(field.listType)]));
  }
  if (!field.listKeys.empty()) set("x-kubernetes-list-map-keys", make_.texts(field.listKeys));
  if (field.atomicMap) set("x-kubernetes-map-type", make_.text("atomic"));
  if (field.granularMap) set("x-kubernetes-map-type", make_.text("granular"));
  if (!field.patchStrategy.empty()) set("x-kubernetes-patch-strategy", make_.text(field.patchStrategy));
  if (!field.patchMergeKey.empty()) set("x-kubernetes-patch-merge-key", make_.text(field.patchMergeKey));
  if (std::string_view words = descriptions_.ofField(type.name, field.json); !words.empty())
    set("description", make_.text(words));
  return withAllOf(out);
}

// One value of a field, without what belongs to the list or map around it.
Value Definitions::valueSchema(const FieldInfo& field, bool withDefault) {
  bool opaque = false;
  Value out = kindSchema(field, opaque);
  if (form_ == Form::V2) return out;
  if (!field.enumValues.empty()) {
    std::vector<std::string_view> values(field.enumValues.begin(), field.enumValues.end());
    std::sort(values.begin(), values.end());
    out.set(make_.arena(), "enum", make_.texts(values));
  }
  if (!withDefault || opaque) return out;
  // Go's zero value is what a missing member means.
  Value zero = Value::emptyObject();
  if (field.kind == Kind::String)
    zero = Value::ofString("");
  else if (field.kind == Kind::Bool)
    zero = Value::ofBool(false);
  else if (field.kind != Kind::Message)
    zero = Value::ofInt(0);
  out.set(make_.arena(), "default", zero);
  return out;
}

// opaque: a kind whose zero value is not published as a default.
Value Definitions::kindSchema(const FieldInfo& field, bool& opaque) {
  auto typed = [&](std::string_view type, std::string_view format = {}) {
    Value out = make_.object({{"type", make_.text(type)}});
    if (!field.format.empty()) format = field.format;
    if (!format.empty()) out.set(make_.arena(), "format", make_.text(format));
    return out;
  };
  switch (field.kind) {
    case Kind::String:
      return typed("string");
    case Kind::Bool:
      return typed("boolean");
    case Kind::Int32:
      return typed("integer", "int32");
    case Kind::Int64:
    case Kind::Uint64:
      return typed("integer", "int64");
    case Kind::Double:
      return typed("number", "double");
    case Kind::Bytes:
      opaque = true;
      return typed("string", "byte");
    case Kind::Message:
      if (!field.message->wrapped) return refTo(*field.message);
      opaque = true;
      return make_.object({{"type", make_.text("array")}, {"items", valueSchema(field.message->fields[0], true)}});
    default:
      break;
  }
  opaque = true;
  if (schema::TypeInfo const* message = field.message) return refTo(*message);
  std::string definition = definitionOf(field);
  return definition.empty() ? typed("object") : refTo(definition);
}

}  // namespace knarr::apimachinery::openapi
