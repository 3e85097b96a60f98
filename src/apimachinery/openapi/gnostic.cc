// OpenAPI v2 in protobuf: the messages of package openapi.v2, which clients of all ages read.
//
// Source of the messages and their field numbers: github.com/google/gnostic, openapiv2/OpenAPIv2.proto; of what the server
// puts into them: k8s.io/kube-openapi/pkg/handler. Names in comments are those of the messages.
#include <cstring>

#include "apimachinery/openapi/builder.h"
#include "codec/protobuf_wire.h"

namespace knarr::apimachinery::openapi {
namespace {

using codec::Member;
using codec::Value;
using codec::Wire;

// One message, written field by field.
class Message {
 public:
  void bytes(uint32_t number, std::string_view value) {
    key(number, Wire::LengthDelimited);
    varint(value.size());
    out_ += value;
  }
  void message(uint32_t number, const Message& value) { bytes(number, value.out_); }
  // Proto3 leaves out what is zero.
  void text(uint32_t number, const Value* value) {
    if (value != nullptr && value->isString() && value->size() != 0) bytes(number, value->string());
  }
  void texts(uint32_t number, const Value* value) {
    if (value != nullptr && value->isArray())
      for (const Value& item : value->items()) bytes(number, item.stringOr());
  }
  void flag(uint32_t number, const Value* value) {
    if (value == nullptr || !value->isBool() || !value->boolean()) return;
    key(number, Wire::Varint);
    varint(1);
  }
  void integer(uint32_t number, const Value* value) {
    if (value == nullptr || !value->isInt() || value->integer() == 0) return;
    key(number, Wire::Varint);
    varint(static_cast<uint64_t>(value->integer()));
  }
  void real(uint32_t number, const Value* value) {
    if (value == nullptr || !value->isNumber() || value->number() == 0) return;
    key(number, Wire::Fixed64);
    double real = value->number();
    char raw[sizeof real];
    std::memcpy(raw, &real, sizeof real);
    out_.append(raw, sizeof raw);
  }
  std::string take() && { return std::move(out_); }

 private:
  void key(uint32_t number, Wire wire) { varint(uint64_t{number} << 3 | static_cast<uint64_t>(wire)); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>((value & 0x7f) | 0x80);
    out_ += static_cast<char>(value);
  }
  std::string out_;
};

// The messages of maps: NamedX {name, value}.
void named(Message& out, uint32_t number, std::string_view name, const Message& value) {
  Message entry;
  entry.bytes(1, name);
  entry.message(2, value);
  out.message(number, entry);
}

// Any. What stands in it is YAML, and JSON is that.
Message anyOf(const Value& value) {
  Message out;
  out.bytes(2, codec::toJson(value));
  return out;
}
void any(Message& out, uint32_t number, const Value* value) {
  if (value != nullptr) out.message(number, anyOf(*value));
}
void extensions(Message& out, uint32_t number, const Value& of) {
  for (const Member& member : of.members())
    if (member.name.starts_with("x-")) named(out, number, member.name, anyOf(member.value));
}

// Schema. Everything that a schema of a custom resource may say as well.
Message schemaOf(const Value& schema);

void numbersOf(Message& out, const Value& schema) {
  out.real(6, schema.find("multipleOf"));
  out.real(7, schema.find("maximum"));
  out.flag(8, schema.find("exclusiveMaximum"));
  out.real(9, schema.find("minimum"));
  out.flag(10, schema.find("exclusiveMinimum"));
  out.integer(11, schema.find("maxLength"));
  out.integer(12, schema.find("minLength"));
  out.text(13, schema.find("pattern"));
  out.integer(14, schema.find("maxItems"));
  out.integer(15, schema.find("minItems"));
  out.flag(16, schema.find("uniqueItems"));
  out.integer(17, schema.find("maxProperties"));
  out.integer(18, schema.find("minProperties"));
}

void partsOf(Message& out, const Value& schema) {
  if (const Value* more = schema.find("additionalProperties")) {
    Message item;
    if (more->isObject()) item.message(1, schemaOf(*more));
    item.flag(2, more);
    out.message(21, item);
  }
  if (const Value* type = schema.find("type")) {
    Message item;
    item.text(1, type);
    item.texts(1, type);
    out.message(22, item);
  }
  if (const Value* items = schema.find("items"); items != nullptr && items->isObject()) {
    Message item;
    item.message(1, schemaOf(*items));
    out.message(23, item);
  }
  if (const Value* all = schema.find("allOf"); all != nullptr && all->isArray())
    for (const Value& one : all->items()) out.message(24, schemaOf(one));
  if (const Value* properties = schema.find("properties"); properties != nullptr && properties->isObject()) {
    Message item;
    for (const Member& property : properties->members()) named(item, 1, property.name, schemaOf(property.value));
    out.message(25, item);
  }
}

Message schemaOf(const Value& schema) {
  Message out;
  if (!schema.isObject()) return out;
  out.text(1, schema.find("$ref"));
  out.text(2, schema.find("format"));
  out.text(3, schema.find("title"));
  out.text(4, schema.find("description"));
  any(out, 5, schema.find("default"));
  numbersOf(out, schema);
  out.texts(19, schema.find("required"));
  if (const Value* values = schema.find("enum"); values != nullptr && values->isArray())
    for (const Value& one : values->items()) out.message(20, anyOf(one));
  partsOf(out, schema);
  out.text(26, schema.find("discriminator"));
  out.flag(27, schema.find("readOnly"));
  any(out, 30, schema.find("example"));
  extensions(out, 31, schema);
  return out;
}

// ParametersItem{Parameter}: a BodyParameter, or by its place a NonBodyParameter.
Message parameterOf(const Value& parameter) {
  std::string_view place = parameter.find("in")->stringOr();
  Message one, choice, out;
  if (place == "body") {
    one.text(1, parameter.find("description"));
    one.text(2, parameter.find("name"));
    one.text(3, parameter.find("in"));
    one.flag(4, parameter.find("required"));
    if (const Value* schema = parameter.find("schema")) one.message(5, schemaOf(*schema));
    choice.message(1, one);
  } else {
    one.flag(1, parameter.find("required"));
    one.text(2, parameter.find("in"));
    one.text(3, parameter.find("description"));
    one.text(4, parameter.find("name"));
    bool query = place == "query";  // the only one with allowEmptyValue at 5
    one.text(query ? 6 : 5, parameter.find("type"));
    one.text(query ? 7 : 6, parameter.find("format"));
    one.flag(query ? 20 : 19, parameter.find("uniqueItems"));
    Message sub;
    sub.message(query ? 3 : place == "path" ? 4 : 1, one);
    choice.message(2, sub);
  }
  out.message(1, choice);
  return out;
}
void parameters(Message& out, uint32_t number, const Value* list) {
  if (list != nullptr)
    for (const Value& parameter : list->items()) out.message(number, parameterOf(parameter));
}

// Responses{NamedResponseValue{ResponseValue{Response}}}
Message responsesOf(const Value& responses) {
  Message out;
  for (const Member& response : responses.members()) {
    Message one, value;
    one.text(1, response.value.find("description"));
    if (const Value* schema = response.value.find("schema")) {
      Message item;
      item.message(1, schemaOf(*schema));
      one.message(2, item);
    }
    value.message(1, one);
    named(out, 1, response.name, value);
  }
  return out;
}

Message operationOf(const Value& operation) {
  Message out;
  out.texts(1, operation.find("tags"));
  out.text(3, operation.find("description"));
  out.text(5, operation.find("operationId"));
  out.texts(6, operation.find("produces"));
  out.texts(7, operation.find("consumes"));
  parameters(out, 8, operation.find("parameters"));
  if (const Value* responses = operation.find("responses")) out.message(9, responsesOf(*responses));
  out.texts(10, operation.find("schemes"));
  out.flag(11, operation.find("deprecated"));
  extensions(out, 13, operation);
  return out;
}

Message pathItemOf(const Value& item) {
  constexpr std::string_view kMethods[] = {"get", "put", "post", "delete", "options", "head", "patch"};
  Message out;
  uint32_t number = 2;
  for (std::string_view method : kMethods) {
    if (const Value* operation = item.find(method)) out.message(number, operationOf(*operation));
    ++number;
  }
  parameters(out, 9, item.find("parameters"));
  extensions(out, 10, item);
  return out;
}

// SecurityDefinitions{NamedSecurityDefinitionsItem{SecurityDefinitionsItem{ApiKeySecurity}}}
Message securityDefinitionsOf(const Value& definitions) {
  Message out;
  for (const Member& definition : definitions.members()) {
    Message key, item;
    key.text(1, definition.value.find("type"));
    key.text(2, definition.value.find("name"));
    key.text(3, definition.value.find("in"));
    key.text(4, definition.value.find("description"));
    item.message(2, key);
    named(out, 1, definition.name, item);
  }
  return out;
}

// SecurityRequirement{NamedStringArray{StringArray}}
Message requirementOf(const Value& requirement) {
  Message out;
  for (const Member& member : requirement.members()) {
    Message scopes;
    scopes.texts(1, &member.value);
    named(out, 1, member.name, scopes);
  }
  return out;
}

}  // namespace

std::string gnosticDocument(const Value& document) {
  Message out, info, paths, definitions;
  out.text(1, document.find("swagger"));
  info.text(1, document.find("info")->find("title"));
  info.text(2, document.find("info")->find("version"));
  out.message(2, info);
  for (const Member& path : document.find("paths")->members()) named(paths, 2, path.name, pathItemOf(path.value));
  out.message(8, paths);
  for (const Member& definition : document.find("definitions")->members())
    named(definitions, 1, definition.name, schemaOf(definition.value));
  out.message(9, definitions);
  for (const Value& requirement : document.find("security")->items()) out.message(12, requirementOf(requirement));
  out.message(13, securityDefinitionsOf(*document.find("securityDefinitions")));
  return std::move(out).take();
}

}  // namespace knarr::apimachinery::openapi
