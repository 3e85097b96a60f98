// Structs to JSON, byte for byte as encoding/json writes the Go types: declaration order,
// omitempty, sorted maps.
#include <fmt/format.h>

#include "base/strings.h"
#include "codec/codec.h"
#include "codec/json_text.h"
#include "schema/duration.h"
#include "schema/layout.h"

namespace knarr::codec {
namespace {

using namespace schema;

void appendTwo(std::string& out, int value) {
  out += static_cast<char>('0' + value / 10);
  out += static_cast<char>('0' + value % 10);
}

// "2006-01-02T15:04:05" without zone.
void appendCivil(std::string& out, int64_t unixSeconds) {
  CivilTime t = civilFromUnix(unixSeconds);
  auto year = static_cast<int>(t.year);
  appendTwo(out, year / 100);
  appendTwo(out, year % 100);
  out += '-';
  appendTwo(out, t.month);
  out += '-';
  appendTwo(out, t.day);
  out += 'T';
  appendTwo(out, t.hour);
  out += ':';
  appendTwo(out, t.minute);
  out += ':';
  appendTwo(out, t.second);
}

// Years of four digits; the protobuf form can hold others, which RFC 3339 cannot say.
bool hasRfc3339Year(int64_t unixSeconds) {
  constexpr int64_t kYear10000 = 253402300800;
  return unixSeconds >= Time::kUnixOfYear1 && unixSeconds < kYear10000;
}

void appendTime(std::string& out, Time time) {
  if (time.isZero() || !hasRfc3339Year(time.unixSeconds())) {
    out += "null";
    return;
  }
  out += '"';
  appendCivil(out, time.unixSeconds());
  out += "Z\"";
}

void appendMicroTime(std::string& out, MicroTime time) {
  int64_t micros = time.unixMicros();
  int64_t seconds = micros / 1'000'000 - (micros % 1'000'000 < 0 ? 1 : 0);
  if (time.isZero() || !hasRfc3339Year(seconds)) {
    out += "null";
    return;
  }
  out += '"';
  appendCivil(out, seconds);
  out += fmt::format(".{:06}Z\"", micros - seconds * 1'000'000);
}

// Quantities hold only characters that need no escape; other text can only come from code.
void appendQuantity(std::string& out, Str text) { appendJsonString(out, text.empty() ? Str("0") : text); }

void appendStruct(std::string& out, const TypeInfo& type, const void* root, std::string_view typeMeta);
void appendList(std::string& out, const FieldInfo& field, const AnyList& list);

const FieldInfo& part(const FieldInfo& field, std::string_view json) {
  for (const FieldInfo& inner : field.message->fields)
    if (inner.json == json) return inner;
  return field.message->fields[0];
}

void appendSchemaOr(std::string& out, const FieldInfo& field, const void* value) {
  const FieldInfo& schemaPart = part(field, "Schema");
  const void* inner = as<const void*>(schema::at(value, schemaPart));
  if (field.kind == Kind::JsonSchemaPropsOrBool) {
    const void* allows = schema::at(value, part(field, "Allows"));
    if (inner)
      appendStruct(out, *schemaPart.message, inner, {});
    else
      out += as<bool>(allows) ? "true" : "false";
    return;
  }
  const FieldInfo& listPart = part(field, field.kind == Kind::JsonSchemaPropsOrArray ? "JSONSchemas" : "Property");
  const auto& list = as<AnyList>(schema::at(value, listPart));
  if (list.size > 0)
    appendList(out, listPart, list);
  else if (inner)
    appendStruct(out, *schemaPart.message, inner, {});
  else
    out += "null";
}

void appendRaw(std::string& out, Str json) {
  if (json.empty())
    out += "null";
  else
    appendCompactJson(out, json);
}

void appendIntOrString(std::string& out, const IntOrString& value) {
  if (value.isString)
    appendJsonString(out, value.stringValue);
  else
    appendInt(out, value.intValue);
}

void appendBytes(std::string& out, const Bytes& value) {
  if (value.isNil()) {
    out += "null";
    return;
  }
  out += '"';
  appendBase64(out, value.bytes);
  out += '"';
}

void appendValue(std::string& out, const FieldInfo& field, const void* value) {
  switch (field.kind) {
    case Kind::String:
      return appendJsonString(out, as<Str>(value));
    case Kind::Bool:
      out += as<bool>(value) ? "true" : "false";
      return;
    case Kind::Int32:
      return appendInt(out, as<int32_t>(value));
    case Kind::Int64:
      return appendInt(out, as<int64_t>(value));
    case Kind::Uint64:
      return appendUint(out, as<uint64_t>(value));
    case Kind::Double:
      return appendJsonDouble(out, as<double>(value));
    case Kind::Bytes:
      return appendBytes(out, as<Bytes>(value));
    case Kind::Time:
      return appendTime(out, as<Time>(value));
    case Kind::MicroTime:
      return appendMicroTime(out, as<MicroTime>(value));
    case Kind::Duration:
      return appendJsonString(out, formatDuration(as<Duration>(value).nanos));
    case Kind::Quantity:
      return appendQuantity(out, as<Quantity>(value).text);
    case Kind::IntOrString:
      return appendIntOrString(out, as<IntOrString>(value));
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
      return appendRaw(out, as<RawJson>(value).text);
    case Kind::Message:
      return appendStruct(out, *field.message, value, {});
    case Kind::JsonSchemaPropsOrArray:
    case Kind::JsonSchemaPropsOrBool:
    case Kind::JsonSchemaPropsOrStringArray:
      return appendSchemaOr(out, field, value);
  }
}

void appendList(std::string& out, const FieldInfo& field, const AnyList& list) {
  if (list.data == nullptr) {
    out += "null";
    return;
  }
  out += '[';
  size_t size = valueSize(field);
  const char* at = list.data;
  for (uint32_t i = 0; i < list.size; ++i, at += size) {
    if (i != 0) out += ',';
    appendValue(out, field, at);
  }
  out += ']';
}

void appendMap(std::string& out, const FieldInfo& field, const AnyList& entries) {
  if (entries.data == nullptr) {
    out += "null";
    return;
  }
  out += '{';
  size_t size = entrySize(field);
  const char* at = entries.data;
  for (uint32_t i = 0; i < entries.size; ++i, at += size) {
    if (i != 0) out += ',';
    appendJsonString(out, as<Str>(at));
    out += ':';
    appendValue(out, field, at + kEntryValueOffset);
  }
  out += '}';
}

bool isEmptyValue(const FieldInfo& field, const void* value) {
  switch (field.kind) {
    case Kind::String:
    case Kind::Bytes:
    case Kind::FieldsV1:
      return as<Str>(value).empty();
    case Kind::Bool:
      return !as<bool>(value);
    case Kind::Int32:
      return as<int32_t>(value) == 0;
    case Kind::Int64:
    case Kind::Uint64:
      return as<int64_t>(value) == 0;
    case Kind::Double:
      return as<double>(value) == 0;
    case Kind::Message:
      // Go's omitempty never drops a struct; a wrapped type is a slice in Go.
      return field.message->wrapped && as<AnyList>(value).size == 0;
    default:
      return false;
  }
}

bool isOmitted(const FieldInfo& field, const void* member) {
  bool empty = false;
  if (field.has(kOmitZero)) {
    if (field.shape == Shape::Value && field.kind == Kind::Time && as<Time>(member).isZero()) return true;
    if (field.shape == Shape::Value && field.kind == Kind::Message && isZero(*field.message, member)) return true;
  }
  if (!field.has(kOmitEmpty) && !field.has(kOmitZero)) return false;
  switch (field.shape) {
    case Shape::Value:
      empty = isEmptyValue(field, member);
      break;
    case Shape::Pointer:
      empty = pointerValue(member, field) == nullptr;
      break;
    case Shape::List:
    case Shape::Map:
      empty = as<AnyList>(member).size == 0;
      break;
  }
  return empty;
}

void appendMember(std::string& out, const FieldInfo& field, const void* member) {
  switch (field.shape) {
    case Shape::Value:
      return appendValue(out, field, member);
    case Shape::Pointer:
      if (const void* value = pointerValue(member, field))
        appendValue(out, field, isMessageKind(field.kind) ? value : member);
      else
        out += "null";
      return;
    case Shape::List:
      return appendList(out, field, as<AnyList>(member));
    case Shape::Map:
      return appendMap(out, field, as<AnyList>(member));
  }
}

void appendMembers(std::string& out, const TypeInfo& type, const void* root) {
  for (const FieldInfo& field : type.fields) {
    const void* member = schema::at(root, field);
    if (field.has(kInline)) {
      appendMembers(out, *field.message, member);
      continue;
    }
    if (isOmitted(field, member)) continue;
    if (out.back() != '{') out += ',';
    out += '"';
    out += field.json;
    out += "\":";
    appendMember(out, field, member);
  }
}

void appendStruct(std::string& out, const TypeInfo& type, const void* root, std::string_view typeMeta) {
  if (type.wrapped) return appendList(out, type.fields[0], as<AnyList>(root));
  out += '{';
  out += typeMeta;
  appendMembers(out, type, root);
  out += '}';
}

std::string typeMetaJson(const TypeInfo& type) {
  if (!type.hasTypeMeta) return "";
  std::string out = "\"kind\":";
  appendJsonString(out, type.kind);
  out += ",\"apiVersion\":";
  appendJsonString(out, apiVersionOf(type));
  return out;
}

}  // namespace

std::string apiVersionOf(const TypeInfo& type) {
  return type.group.empty() ? std::string(type.version) : fmt::format("{}/{}", type.group, type.version);
}

std::string encodeJson(const Object& object) {
  std::string out;
  out.reserve(object.arena().bytesReserved());
  appendStruct(out, object.type(), object.root(), typeMetaJson(object.type()));
  return out;
}

bool isWrittenInJson(const FieldInfo& field, const void* member) { return !isOmitted(field, member); }

bool isJsonValuePresent(const FieldInfo& field, const void* member) {
  switch (field.kind) {
    case Kind::Time:
      return !as<Time>(member).isZero() && hasRfc3339Year(as<Time>(member).unixSeconds());
    case Kind::MicroTime: {
      std::string text;
      appendMicroTime(text, as<MicroTime>(member));
      return text != "null";
    }
    case Kind::Bytes:
      return !as<Bytes>(member).isNil();
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
      return !as<RawJson>(member).text.empty();
    case Kind::Message:
      return !field.message->wrapped || as<AnyList>(member).data != nullptr;
    default:
      return true;
  }
}

void appendJsonFieldMember(std::string& out, const FieldInfo& field, const void* member) { appendMember(out, field, member); }
void appendJsonFieldValue(std::string& out, const FieldInfo& field, const void* value) { appendValue(out, field, value); }

std::string encodeJsonPretty(const Object& object) { return indentJson(encodeJson(object)); }

void appendJsonValue(std::string& out, const TypeInfo& type, const void* value) { appendStruct(out, type, value, {}); }

std::string encodeJsonValue(const TypeInfo& type, const void* value) {
  std::string out;
  appendStruct(out, type, value, {});
  return out;
}

std::shared_ptr<const std::string> encodedJson(const Ref<void>& object) {
  if (auto remembered = object.object().rememberedEncoding(Encoding::Json)) return remembered;
  std::string text = encodeJson(object.object());
  text.shrink_to_fit();
  auto made = std::make_shared<const std::string>(std::move(text));
  object.object().rememberEncoding(Encoding::Json, made);
  return made;
}

}  // namespace knarr::codec
