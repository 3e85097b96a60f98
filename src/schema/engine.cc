// Copy, equality and zero tests over TypeInfo tables: one implementation for all kinds.
#include <algorithm>
#include <cstring>

#include "api/meta_v1.h"
#include "schema/layout.h"
#include "schema/object.h"

namespace knarr::schema {
namespace {

alignas(16) char kEmptyListData[16];

void copyList(const FieldInfo& field, AnyList& list, size_t elementSize, size_t valueOffset, Arena& arena);

void copyText(Str& text, Arena& arena) {
  bool isNil = text.data() == nullptr;
  text = arena.copy(text);
  if (!isNil && text.empty()) text = emptyStr();
}

// `value` holds a shallow copy; replaces everything it points to.
void copyValue(const FieldInfo& field, void* value, Arena& arena) {
  switch (field.kind) {
    case Kind::String:
    case Kind::Bytes:
    case Kind::Quantity:
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
      copyText(as<Str>(value), arena);
      return;
    case Kind::IntOrString:
      copyText(as<IntOrString>(value).stringValue, arena);
      return;
    case Kind::Message:
    case Kind::JsonSchemaPropsOrArray:
    case Kind::JsonSchemaPropsOrBool:
    case Kind::JsonSchemaPropsOrStringArray:
      deepCopy(*field.message, value, value, arena);
      return;
    default:
      return;
  }
}

void copyMember(const FieldInfo& field, void* member, Arena& arena) {
  switch (field.shape) {
    case Shape::Value:
      copyValue(field, member, arena);
      return;
    case Shape::Pointer:
      if (!isMessageKind(field.kind)) {
        copyValue(field, member, arena);
      } else if (const void* from = as<void*>(member)) {
        void* to = arena.allocate(field.message->size, 16);
        deepCopy(*field.message, to, from, arena);
        as<void*>(member) = to;
      }
      return;
    case Shape::List:
      copyList(field, as<AnyList>(member), valueSize(field), 0, arena);
      return;
    case Shape::Map:
      copyList(field, as<AnyList>(member), entrySize(field), kEntryValueOffset, arena);
      return;
  }
}

void copyList(const FieldInfo& field, AnyList& list, size_t elementSize, size_t valueOffset, Arena& arena) {
  list.capacity = list.size;
  if (list.data == nullptr) return;
  if (list.size == 0) {
    list.data = kEmptyListData;
    return;
  }
  char* to = static_cast<char*>(arena.allocate(list.size * elementSize, 16));
  std::memcpy(to, list.data, list.size * elementSize);
  list.data = to;
  for (uint32_t i = 0; i < list.size; ++i, to += elementSize) {
    if (valueOffset != 0) copyText(as<Str>(to), arena);
    copyValue(field, to + valueOffset, arena);
  }
}

bool equalQuantity(Str a, Str b) { return (a.empty() ? "0" : a) == (b.empty() ? "0" : b); }

bool equalValue(const FieldInfo& field, const void* a, const void* b) {
  switch (field.kind) {
    case Kind::Quantity:
      return equalQuantity(as<Str>(a), as<Str>(b));
    case Kind::String:
    case Kind::Bytes:
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
      return as<Str>(a) == as<Str>(b);
    case Kind::IntOrString: {
      const auto &x = as<IntOrString>(a), &y = as<IntOrString>(b);
      if (x.isString != y.isString) return false;
      return x.isString ? x.stringValue == y.stringValue : x.intValue == y.intValue;
    }
    case Kind::Double:
      return as<double>(a) == as<double>(b);
    case Kind::Message:
    case Kind::JsonSchemaPropsOrArray:
    case Kind::JsonSchemaPropsOrBool:
    case Kind::JsonSchemaPropsOrStringArray:
      return deepEqual(*field.message, a, b);
    default:
      return std::memcmp(a, b, valueSize(field)) == 0;
  }
}

bool equalList(const FieldInfo& field, const AnyList& a, const AnyList& b, size_t elementSize, size_t valueOffset) {
  if (a.size != b.size) return false;
  for (size_t i = 0, at = 0; i < a.size; ++i, at += elementSize) {
    if (valueOffset != 0 && as<Str>(a.data + at) != as<Str>(b.data + at)) return false;
    if (!equalValue(field, a.data + at + valueOffset, b.data + at + valueOffset)) return false;
  }
  return true;
}

bool equalMember(const FieldInfo& field, const void* a, const void* b) {
  switch (field.shape) {
    case Shape::Value:
      return equalValue(field, a, b);
    case Shape::Pointer: {
      const void *x = pointerValue(a, field), *y = pointerValue(b, field);
      return x && y ? equalValue(field, x, y) : x == y;
    }
    case Shape::List:
      return equalList(field, as<AnyList>(a), as<AnyList>(b), valueSize(field), 0);
    case Shape::Map:
      return equalList(field, as<AnyList>(a), as<AnyList>(b), entrySize(field), kEntryValueOffset);
  }
  return false;
}

bool isZeroValue(const FieldInfo& field, const void* value) {
  switch (field.kind) {
    case Kind::String:
    case Kind::Quantity:
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
      return as<Str>(value).empty();
    case Kind::Bytes:
      return as<Bytes>(value).isNil();
    case Kind::IntOrString: {
      const auto& v = as<IntOrString>(value);
      return !v.isString && v.intValue == 0 && v.stringValue.empty();
    }
    case Kind::Bool:
      return !as<bool>(value);
    case Kind::Int32:
      return as<int32_t>(value) == 0;
    case Kind::Double:
      return as<double>(value) == 0;
    case Kind::Message:
    case Kind::JsonSchemaPropsOrArray:
    case Kind::JsonSchemaPropsOrBool:
    case Kind::JsonSchemaPropsOrStringArray:
      return isZero(*field.message, value);
    default:
      return as<int64_t>(value) == 0;
  }
}

}  // namespace

char* emptyListData() { return kEmptyListData; }

std::vector<Str> sortMapEntries(AnyList& entries, size_t entrySize, Arena& arena) {
  std::vector<Str> twice;
  auto keyAt = [&](uint32_t i) { return as<Str>(entries.data + i * entrySize); };
  bool sorted = true;
  for (uint32_t i = 1; i < entries.size && sorted; ++i) sorted = keyAt(i - 1) < keyAt(i);
  if (sorted) return twice;
  std::vector<const char*> order(entries.size);
  for (size_t i = 0; i < order.size(); ++i) order[i] = entries.data + i * entrySize;
  std::sort(order.begin(), order.end(), [](const char* a, const char* b) {
    int c = as<Str>(a).compare(as<Str>(b));
    return c != 0 ? c < 0 : a < b;
  });
  char* to = static_cast<char*>(arena.allocate(entries.size * entrySize, 16));
  uint32_t kept = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i + 1 < order.size() && as<Str>(order[i]) == as<Str>(order[i + 1])) {
      if (twice.empty() || twice.back() != as<Str>(order[i])) twice.push_back(as<Str>(order[i]));
      continue;
    }
    std::memcpy(to + kept++ * entrySize, order[i], entrySize);
  }
  entries = {to, kept, kept};
  return twice;
}

void* appendElement(AnyList& list, size_t elementSize, Arena& arena) {
  if (list.size == list.capacity) {
    uint32_t capacity = list.capacity == 0 ? 2 : list.capacity * 2;
    char* grown = static_cast<char*>(arena.allocate(capacity * elementSize, 16));
    if (list.size != 0) std::memcpy(grown, list.data, list.size * elementSize);
    list.data = grown;
    list.capacity = capacity;
  }
  void* slot = list.data + list.size++ * elementSize;
  std::memset(slot, 0, elementSize);
  return slot;
}

void copyField(const FieldInfo& field, void* toRoot, const void* fromRoot, Arena& arena) {
  void* to = at(toRoot, field);
  std::memmove(to, at(fromRoot, field), memberSize(field));
  copyMember(field, to, arena);
}

bool equalField(const FieldInfo& field, const void* a, const void* b) { return equalMember(field, at(a, field), at(b, field)); }

void deepCopy(const TypeInfo& type, void* to, const void* from, Arena& arena) {
  if (to != from) std::memcpy(to, from, type.size);
  for (const FieldInfo& field : type.fields) copyMember(field, at(to, field), arena);
}

bool deepEqual(const TypeInfo& type, const void* a, const void* b) {
  if (a == b) return true;
  for (const FieldInfo& field : type.fields)
    if (!equalMember(field, at(a, field), at(b, field))) return false;
  return true;
}

bool isZero(const TypeInfo& type, const void* value) {
  for (const FieldInfo& field : type.fields) {
    const void* member = at(value, field);
    bool zero = field.shape == Shape::Value     ? isZeroValue(field, member)
                : field.shape == Shape::Pointer ? pointerValue(member, field) == nullptr
                                                : as<AnyList>(member).data == nullptr;
    if (!zero) return false;
  }
  return true;
}

Mut<void> edit(const Ref<void>& object) {
  const Object& from = object.object();
  Mut<void> copy(from.type(), from.arena().bytesReserved());
  deepCopy(from.type(), copy.root(), from.root(), copy.arena());
  return copy;
}

namespace {
const void* member(const Object& object, int32_t offset) {
  return offset < 0 ? nullptr : static_cast<const char*>(object.root()) + offset;
}
}  // namespace

const metav1::ObjectMeta* metadataOf(const Object& object) {
  return static_cast<const metav1::ObjectMeta*>(member(object, object.type().metadataOffset));
}
metav1::ObjectMeta* metadataOf(Object& object) {
  return const_cast<metav1::ObjectMeta*>(metadataOf(static_cast<const Object&>(object)));
}
const metav1::ListMeta* listMetadataOf(const Object& object) {
  return static_cast<const metav1::ListMeta*>(member(object, object.type().listMetadataOffset));
}
metav1::ListMeta* listMetadataOf(Object& object) {
  return const_cast<metav1::ListMeta*>(listMetadataOf(static_cast<const Object&>(object)));
}

}  // namespace knarr::schema
