// How a field lies in memory, for engines that walk TypeInfo without knowing the struct (equality,
// codecs, patches).
//
//   at(root, field)             the member
//   Shape::Value                the value itself, valueSize() bytes
//   Shape::Pointer              message: void*; raw JSON: RawJson; others: value followed by `bool
//   present` Shape::List                 AnyList over elements of valueSize() Shape::Map AnyList
//   over entries of entrySize(): Str key, then the value at kEntryValueOffset
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/arena.h"
#include "schema/type_info.h"
#include "schema/values.h"

namespace knarr::schema {

inline bool isMessageKind(Kind kind) {
  return kind == Kind::Message || kind == Kind::JsonSchemaPropsOrArray || kind == Kind::JsonSchemaPropsOrBool ||
         kind == Kind::JsonSchemaPropsOrStringArray;
}
inline bool isRawJsonKind(Kind kind) { return kind == Kind::RawExtension || kind == Kind::FieldsV1 || kind == Kind::Json; }

// Bytes of one value of the field (of one element of a list or a map).
inline size_t valueSize(const FieldInfo& field) {
  switch (field.kind) {
    case Kind::Bool:
      return sizeof(bool);
    case Kind::Int32:
      return sizeof(int32_t);
    case Kind::Int64:
    case Kind::Uint64:
    case Kind::Double:
    case Kind::Time:
    case Kind::MicroTime:
    case Kind::Duration:
      return sizeof(int64_t);
    case Kind::String:
    case Kind::Bytes:
    case Kind::Quantity:
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
      return sizeof(Str);
    case Kind::IntOrString:
      return sizeof(IntOrString);
    case Kind::Message:
    case Kind::JsonSchemaPropsOrArray:
    case Kind::JsonSchemaPropsOrBool:
    case Kind::JsonSchemaPropsOrStringArray:
      return field.message->size;
  }
  return 0;
}
// Alignment that is enough for one value.
inline size_t valueAlignment(const FieldInfo& field) { return field.kind == Kind::Bool ? 1 : field.kind == Kind::Int32 ? 4 : 8; }

constexpr size_t kEntryValueOffset = sizeof(Str);
// Bytes of one MapEntry of a Map field.
inline size_t entrySize(const FieldInfo& field) { return (kEntryValueOffset + valueSize(field) + 7) & ~size_t{7}; }

// The common layout of every List<T>.
struct AnyList {
  char* data;
  uint32_t size;
  uint32_t capacity;
};
static_assert(sizeof(AnyList) == sizeof(List<int>));
static_assert(sizeof(MapEntry<bool>) == 24 && sizeof(MapEntry<Str>) == 32 && sizeof(Map<int>) == sizeof(AnyList));
static_assert(offsetof(Opt<int64_t>, present) == 8 && offsetof(Opt<bool>, present) == 1);
static_assert(offsetof(Opt<IntOrString>, present) == sizeof(IntOrString));

template <class T>
T& as(void* at) {
  return *static_cast<T*>(at);
}
template <class T>
const T& as(const void* at) {
  return *static_cast<const T*>(at);
}
inline void* at(void* root, const FieldInfo& field) { return static_cast<char*>(root) + field.offset; }
inline const void* at(const void* root, const FieldInfo& field) { return static_cast<const char*>(root) + field.offset; }
// The `present` of an Opt<T>.
inline bool& optPresent(void* member, const FieldInfo& field) { return as<bool>(static_cast<char*>(member) + valueSize(field)); }
inline bool optPresent(const void* member, const FieldInfo& field) {
  return as<bool>(static_cast<const char*>(member) + valueSize(field));
}
// The value of a Pointer field; null when it is absent.
inline const void* pointerValue(const void* member, const FieldInfo& field) {
  if (isMessageKind(field.kind)) return as<const void*>(member);
  if (isRawJsonKind(field.kind)) return as<Str>(member).empty() ? nullptr : member;
  return optPresent(member, field) ? member : nullptr;
}
// Bytes the field takes in its struct.
inline size_t memberSize(const FieldInfo& field) {
  switch (field.shape) {
    case Shape::List:
    case Shape::Map:
      return sizeof(List<int>);
    case Shape::Pointer:
      if (isMessageKind(field.kind)) return sizeof(void*);
      if (isRawJsonKind(field.kind)) return sizeof(Str);
      return (valueSize(field) + valueAlignment(field) + valueAlignment(field) - 1) & ~(valueAlignment(field) - 1);
    case Shape::Value:
      break;
  }
  return valueSize(field);
}
// Replaces one field of `toRoot` by a deep copy of that of `fromRoot`, both structs of the type the
// field belongs to.
void copyField(const FieldInfo& field, void* toRoot, const void* fromRoot, Arena& arena);
// Deep, semantic equality of one field.
bool equalField(const FieldInfo& field, const void* a, const void* b);
// What an empty list that is not nil points to.
char* emptyListData();
// Text or bytes that are there and empty, which is not the same as none (Str()).
inline Str emptyStr() {
  return Str(emptyListData(), 0);  // NOLINT(bugprone-string-constructor): the address is what tells it from none.
}
// Orders the entries of a map by key; of equal keys the last one stays. Returns the keys that stood
// more than once.
std::vector<Str> sortMapEntries(AnyList& entries, size_t entrySize, Arena& arena);
// A zeroed new last element of `elementSize` bytes.
void* appendElement(AnyList& list, size_t elementSize, Arena& arena);

}  // namespace knarr::schema
