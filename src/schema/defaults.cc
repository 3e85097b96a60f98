// Declared defaults, for all kinds by their tables.
#include "base/strings.h"
#include "schema/layout.h"
#include "schema/object.h"

namespace knarr::schema {
namespace {

// A JSON scalar into a value of the field's kind. Strings of schema files carry no escapes.
void setFromJson(const FieldInfo& field, void* value, std::string_view json) {
  switch (field.kind) {
    case Kind::String:
    case Kind::Quantity:
      as<Str>(value) = json.substr(1, json.size() - 2);
      return;
    case Kind::Bool:
      as<bool>(value) = json == "true";
      return;
    case Kind::Int32:
      as<int32_t>(value) = static_cast<int32_t>(parseInt(json).value_or(0));
      return;
    case Kind::Int64:
    case Kind::Uint64:
      as<int64_t>(value) = parseInt(json).value_or(0);
      return;
    case Kind::RawExtension:
    case Kind::Json:
      as<RawJson>(value).text = json;
      return;
    default:
      return;
  }
}

bool isZeroScalar(const FieldInfo& field, const void* value) {
  switch (field.kind) {
    case Kind::String:
    case Kind::Quantity:
    case Kind::RawExtension:
    case Kind::Json:
      return as<Str>(value).empty();
    case Kind::Bool:
      return !as<bool>(value);
    case Kind::Int32:
      return as<int32_t>(value) == 0;
    case Kind::Int64:
    case Kind::Uint64:
      return as<int64_t>(value) == 0;
    default:
      return false;
  }
}

void applyScalar(const FieldInfo& field, void* member) {
  if (field.shape == Shape::Value) {
    if (isZeroScalar(field, member)) setFromJson(field, member, field.defaultJson);
  } else if (field.shape == Shape::Pointer && pointerValue(member, field) == nullptr) {
    setFromJson(field, member, field.defaultJson);
    if (!isRawJsonKind(field.kind)) optPresent(member, field) = true;
  }
}

void applyEach(const FieldInfo& field, AnyList& list, size_t elementSize, size_t valueOffset, Arena& arena) {
  for (uint32_t i = 0; i < list.size; ++i)
    applyDeclaredDefaults(*field.message, list.data + i * elementSize + valueOffset, arena);
}

}  // namespace

void applyDeclaredDefaults(const TypeInfo& type, void* root, Arena& arena) {
  for (const FieldInfo& field : type.fields) {
    void* member = at(root, field);
    if (!isMessageKind(field.kind)) {
      if (!field.defaultJson.empty()) applyScalar(field, member);
      continue;
    }
    switch (field.shape) {
      case Shape::Value:
        applyDeclaredDefaults(*field.message, member, arena);
        break;
      case Shape::Pointer:
        if (void* held = as<void*>(member)) applyDeclaredDefaults(*field.message, held, arena);
        break;
      case Shape::List:
        applyEach(field, as<AnyList>(member), valueSize(field), 0, arena);
        break;
      case Shape::Map:
        applyEach(field, as<AnyList>(member), entrySize(field), kEntryValueOffset, arena);
        break;
    }
  }
}

}  // namespace knarr::schema
