#include <fmt/format.h>

#include "apiserver/strategy.h"

namespace knarr::apiserver {
namespace {

using schema::FieldInfo;
using schema::Kind;
using schema::Shape;
using schema::TypeInfo;

template <class T>
const T* scalarAt(const FieldInfo& field, const void* at) {
  if (field.shape == Shape::Value) return static_cast<const T*>(at);
  if (field.shape != Shape::Pointer) return nullptr;
  const auto* opt = static_cast<const schema::Opt<T>*>(at);
  return opt->present ? &opt->value : nullptr;
}

std::string scalarText(const FieldInfo& field, const void* at) {
  switch (field.kind) {
    case Kind::String: {
      const auto* text = scalarAt<schema::Str>(field, at);
      return text ? std::string(*text) : std::string();
    }
    case Kind::Bool: {
      const auto* flag = scalarAt<bool>(field, at);
      return flag && *flag ? "true" : "false";
    }
    case Kind::Int32: {
      const auto* number = scalarAt<int32_t>(field, at);
      return fmt::format("{}", number ? *number : 0);
    }
    case Kind::Int64: {
      const auto* number = scalarAt<int64_t>(field, at);
      return fmt::format("{}", number ? *number : 0);
    }
    default:
      return "";
  }
}

}  // namespace

std::string fieldText(const TypeInfo& type, const void* value, std::string_view path) {
  size_t dot = path.find('.');
  std::string_view head = path.substr(0, dot);
  for (const FieldInfo& field : type.fields) {
    const void* at = static_cast<const char*>(value) + field.offset;
    if (field.has(schema::kInline) && field.kind == Kind::Message && field.shape == Shape::Value) {
      if (findField(*field.message, head)) return fieldText(*field.message, at, path);
      continue;
    }
    if (field.json != head) continue;
    if (dot == std::string_view::npos) return scalarText(field, at);
    if (field.kind != Kind::Message) return "";
    if (field.shape == Shape::Pointer) at = *static_cast<void* const*>(at);
    if (at == nullptr || (field.shape != Shape::Pointer && field.shape != Shape::Value)) return "";
    return fieldText(*field.message, at, path.substr(dot + 1));
  }
  return "";
}

}  // namespace knarr::apiserver
