#include <unordered_map>

#include "codec/codec.h"
#include "codec/json_text.h"
#include "codec/value.h"
#include "schema/layout.h"

namespace knarr::codec {
namespace {

using schema::AnyList;
using schema::FieldInfo;
using schema::Shape;

// Types that have a declared default themselves or somewhere below. Most have none, and are not walked.
const std::unordered_map<const TypeInfo*, bool>& typesWithDefaults() {
  static const auto kTypes = [] {
    std::unordered_map<const TypeInfo*, bool> found;
    for (bool changed = true; changed;) {
      changed = false;
      for (const TypeInfo* type : schema::allTypes()) {
        if (found[type]) continue;
        for (const FieldInfo& field : type->fields) {
          bool below = field.message && field.message != type && found[field.message];
          if (field.defaultJson.empty() && !below) continue;
          found[type] = changed = true;
          break;
        }
      }
    }
    return found;
  }();
  return kTypes;
}

bool mayHaveDefaults(const TypeInfo& type) {
  auto found = typesWithDefaults().find(&type);
  return found == typesWithDefaults().end() || found->second;
}

bool isUnset(const TypeInfo& type, const FieldInfo& field, const void* root) {
  (void)type;
  const char* bytes = static_cast<const char*>(schema::at(root, field));
  for (size_t i = 0; i < schema::memberSize(field); ++i)
    if (bytes[i] != 0) return false;
  return true;
}

void applyTo(const TypeInfo& type, void* root, Arena& arena) {
  for (const FieldInfo& field : type.fields) {
    void* member = schema::at(root, field);
    if (!field.defaultJson.empty() && isUnset(type, field, root)) {
      std::string text = "{";
      appendJsonString(text, field.json);
      text += ":";
      text += field.defaultJson;
      text += "}";
      // Decoding sets the named field and leaves the others as they are; a default that does not fit is our bug.
      auto set = decodeJsonValue(type, text, root, arena);
      ASSERT(set.has_value());
    }
    if (!schema::isMessageKind(field.kind) || !mayHaveDefaults(*field.message)) continue;
    if (field.shape == Shape::Value) {
      applyTo(*field.message, member, arena);
    } else if (field.shape == Shape::Pointer) {
      if (void* inner = schema::as<void*>(member)) applyTo(*field.message, inner, arena);
    } else {
      AnyList& list = schema::as<AnyList>(member);
      bool map = field.shape == Shape::Map;
      size_t step = map ? schema::entrySize(field) : schema::valueSize(field);
      for (uint32_t i = 0; i < list.size; ++i)
        applyTo(*field.message, list.data + i * step + (map ? schema::kEntryValueOffset : 0), arena);
    }
  }
}

}  // namespace

void applyDeclaredDefaults(const TypeInfo& type, void* root, Arena& arena) {
  if (mayHaveDefaults(type)) applyTo(type, root, arena);
}

std::string quoteJson(std::string_view text) {
  std::string out;
  appendJsonString(out, text);
  return out;
}

}  // namespace knarr::codec
