#include "codec/json_names.h"

#include <fmt/format.h>

namespace knarr::codec {

using schema::FieldInfo;
using schema::Kind;
using schema::Shape;

std::string_view goShortName(std::string_view fullName) {
  size_t slash = fullName.find('/');
  return slash == std::string_view::npos ? fullName : fullName.substr(slash + 1);
}

std::string goElementType(const FieldInfo& field) {
  switch (field.kind) {
    case Kind::String:
      return field.enumName.empty() ? "string" : std::string(goShortName(field.enumName));
    case Kind::Bool:
      return "bool";
    case Kind::Int32:
      return "int32";
    case Kind::Int64:
      return "int64";
    case Kind::Uint64:
      return "uint64";
    case Kind::Double:
      return "float64";
    case Kind::Bytes:
      return "[]uint8";
    case Kind::Time:
      return "v1.Time";
    case Kind::MicroTime:
      return "v1.MicroTime";
    case Kind::Duration:
      return "v1.Duration";
    case Kind::Quantity:
      return "resource.Quantity";
    case Kind::IntOrString:
      return "intstr.IntOrString";
    case Kind::RawExtension:
      return "runtime.RawExtension";
    case Kind::FieldsV1:
      return "v1.FieldsV1";
    case Kind::Json:
      return "v1.JSON";
    default:
      return std::string(goShortName(field.message->name));
  }
}

std::string goType(const FieldInfo& field) {
  std::string element = goElementType(field);
  return field.shape == Shape::List ? "[]" + element : field.shape == Shape::Map ? "map[string]" + element : element;
}

std::string_view describeToken(Token token) {
  switch (token) {
    case Token::ObjectBegin:
      return "object";
    case Token::ArrayBegin:
      return "array";
    case Token::String:
      return "string";
    case Token::Number:
      return "number";
    default:
      return "bool";
  }
}

std::string mismatchText(const Step* path, std::string_view value, std::string_view type) {
  std::string fields;
  const schema::TypeInfo* owner = nullptr;
  for (const Step* step = path; step; step = step->up) {
    if (step->is != Step::Is::Field) continue;
    if (!owner) owner = step->owner;
    fields = fields.empty() ? std::string(step->name) : fmt::format("{}.{}", step->name, fields);
  }
  if (!owner) return fmt::format("json: cannot unmarshal {} into Go value of type {}", value, type);
  std::string_view ownerName = owner->name.substr(owner->name.rfind('.') + 1);
  return fmt::format("json: cannot unmarshal {} into Go struct field {}.{} of type {}", value, ownerName, fields, type);
}

std::string strictPath(const Step* path, std::string_view name) {
  std::string out(name);
  for (const Step* step = path; step; step = step->up) {
    bool index = step->is == Step::Is::Index;
    bool glued = !out.empty() && out[0] == '[';
    out = (index ? fmt::format("[{}]", step->index) : std::string(step->name)) + (glued ? "" : ".") + out;
  }
  return out;
}

}  // namespace knarr::codec
