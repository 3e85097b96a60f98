#include "apimachinery/patch/struct_compare.h"

#include <algorithm>

#include "codec/codec.h"
#include "schema/layout.h"

namespace knarr::apimachinery {
namespace {

using schema::AnyList;
using schema::as;
using schema::FieldInfo;
using schema::Kind;
using schema::Shape;
using schema::TypeInfo;

// Where the walk stops being able to go on.
struct Walk {
  bool failed = false;
};

bool isLeaf(const SchemaRef& ref) { return ref.relation == SchemaRef::Scalar || ref.relation == SchemaRef::Atomic; }

std::string fieldElement(std::string_view name) {
  std::string out;
  out.reserve(name.size() + 2);
  out += "f:";
  out += name;
  return out;
}

// Whether the JSON of a written member is null.
bool isNull(const FieldInfo& field, const void* member) {
  switch (field.shape) {
    case Shape::List:
    case Shape::Map:
      return as<AnyList>(member).data == nullptr;
    case Shape::Pointer:
      return schema::pointerValue(member, field) == nullptr;
    case Shape::Value:
      break;
  }
  return !codec::isJsonValuePresent(field, member);
}

// The struct behind a member of a message kind.
const void* structOf(const FieldInfo& field, const void* member) {
  return field.shape == Shape::Pointer ? as<const void*>(member) : member;
}

bool writesAnything(const TypeInfo& type, const void* root) {
  for (const FieldInfo& field : type.fields) {
    const void* member = schema::at(root, field);
    if (field.has(schema::kInline) ? writesAnything(*field.message, member) : codec::isWrittenInJson(field, member)) return true;
  }
  return false;
}

struct Found {
  const FieldInfo* field = nullptr;
  const void* member = nullptr;
};
Found findMember(const TypeInfo& type, const void* root, std::string_view json) {
  for (const FieldInfo& field : type.fields) {
    const void* member = schema::at(root, field);
    if (field.has(schema::kInline)) {
      if (Found inner = findMember(*field.message, member, json); inner.field) return inner;
    } else if (field.json == json) {
      return {&field, member};
    }
  }
  return {};
}

// "k:{...}" or "v:..."; "" when the item has no key.
std::string itemElementOf(const SchemaRef& list, const FieldInfo& field, const void* item) {
  std::string out;
  if (list.relation == SchemaRef::ListSet) {
    out = "v:";
    codec::appendJsonFieldValue(out, field, item);
    return out;
  }
  out = "k:{";
  std::vector<std::string_view> keys(field.listKeys.begin(), field.listKeys.end());
  std::sort(keys.begin(), keys.end());
  for (std::string_view key : keys) {
    Found found = findMember(*field.message, item, key);
    if (!found.field) continue;
    bool there = codec::isWrittenInJson(*found.field, found.member) && !isNull(*found.field, found.member);
    if (!there && found.field->defaultJson.empty()) continue;
    if (out.back() != '{') out += ',';
    out += '"';
    out += key;
    out += "\":";
    if (there)
      codec::appendJsonFieldMember(out, *found.field, found.member);
    else
      out += found.field->defaultJson;
  }
  return out.back() == '{' ? std::string() : out + '}';
}

// Calls back with each element of a list or map: items by their place, entries with their key.
template <class Each>
void forEachItem(const FieldInfo& field, const AnyList& list, Each each) {
  size_t size = schema::valueSize(field);
  const char* at = list.data;
  for (uint32_t i = 0; i < list.size; ++i, at += size) each(static_cast<const void*>(at));
}
template <class Each>
void forEachEntry(const FieldInfo& field, const AnyList& entries, Each each) {
  size_t size = schema::entrySize(field);
  const char* at = entries.data;
  for (uint32_t i = 0; i < entries.size; ++i, at += size)
    each(std::string_view(as<schema::Str>(at)), static_cast<const void*>(at + schema::kEntryValueOffset));
}

void collectStruct(Walk& walk, const TypeInfo& type, const void* root, FieldSet& into);

void collectInside(Walk& walk, const SchemaRef& ref, const FieldInfo& field, const void* member, FieldSet& into) {
  if (ref.relation == SchemaRef::Struct) {
    collectStruct(walk, *field.message, structOf(field, member), into);
  } else if (ref.relation == SchemaRef::Map) {
    bool structs = ref.member("").relation == SchemaRef::Struct;
    bool leaves = isLeaf(ref.member(""));
    walk.failed = walk.failed || (!structs && !leaves);
    forEachEntry(field, as<AnyList>(member), [&](std::string_view key, const void* value) {
      std::string element = fieldElement(key);
      into.insertHere(element);
      FieldSet below;
      if (structs) collectStruct(walk, *field.message, value, below);
      if (!below.empty()) into.child(element) = std::move(below);
    });
  } else {
    bool structs = ref.item().relation == SchemaRef::Struct;
    forEachItem(field, as<AnyList>(member), [&](const void* item) {
      std::string element = itemElementOf(ref, field, item);
      if (element.empty() || into.find(element)) walk.failed = true;
      if (walk.failed) return;
      into.insertHere(element);
      if (structs) collectStruct(walk, *field.message, item, into.child(element));
    });
  }
}

// A written member that the other side does not have: itself and all below it.
void collectMember(Walk& walk, const FieldInfo& field, const void* member, FieldSet& into) {
  SchemaRef ref = SchemaRef::ofField(field);
  std::string element = fieldElement(field.json);
  bool leaf = isLeaf(ref) || isNull(field, member);
  bool empty = !leaf && ((ref.relation == SchemaRef::Struct && !writesAnything(*field.message, structOf(field, member))) ||
                         (ref.relation == SchemaRef::Map && as<AnyList>(member).size == 0));
  if (leaf || empty) into.insertHere(element);
  if (leaf) return;
  FieldSet below;
  collectInside(walk, ref, field, member, below);
  if (!below.empty()) into.child(element) = std::move(below);
}

void collectStruct(Walk& walk, const TypeInfo& type, const void* root, FieldSet& into) {
  for (const FieldInfo& field : type.fields) {
    const void* member = schema::at(root, field);
    if (field.has(schema::kInline))
      collectStruct(walk, *field.message, member, into);
    else if (codec::isWrittenInJson(field, member))
      collectMember(walk, field, member, into);
  }
}

void adopt(Comparison& out, const std::string& element, Comparison below) {
  if (!below.added.empty()) out.added.child(element) = std::move(below.added);
  if (!below.modified.empty()) out.modified.child(element) = std::move(below.modified);
  if (!below.removed.empty()) out.removed.child(element) = std::move(below.removed);
}

void compareStruct(Walk& walk, const TypeInfo& type, const void* before, const void* after,
                   std::span<const std::string_view> unchanged, Comparison& out);

std::string textOf(const FieldInfo& field, const void* value) {
  std::string out;
  codec::appendJsonFieldValue(out, field, value);
  return out;
}

// An element that only one side has.
void collectElement(Walk& walk, bool structs, const FieldInfo& field, const std::string& element, const void* value,
                    FieldSet& into) {
  into.insertHere(element);
  FieldSet below;
  if (structs) collectStruct(walk, *field.message, value, below);
  if (!below.empty()) into.child(element) = std::move(below);
}

// Items of a list or entries of a map, by their elements.
void compareElements(Walk& walk, const SchemaRef& inner, bool values, const FieldInfo& field,
                     const std::map<std::string, const void*>& before, const std::map<std::string, const void*>& after,
                     Comparison& out) {
  bool structs = inner.relation == SchemaRef::Struct;
  walk.failed = walk.failed || (!structs && !isLeaf(inner));
  for (const auto& [element, value] : before)
    if (!after.contains(element)) collectElement(walk, structs, field, element, value, out.removed);
  for (const auto& [element, value] : after) {
    auto old = before.find(element);
    if (old == before.end()) {
      collectElement(walk, structs, field, element, value, out.added);
    } else if (structs) {
      Comparison below;
      compareStruct(walk, *field.message, old->second, value, {}, below);
      adopt(out, element, std::move(below));
    } else if (values && textOf(field, old->second) != textOf(field, value)) {
      out.modified.insertHere(element);
    }
  }
}

std::map<std::string, const void*> elementsOf(Walk& walk, const SchemaRef& ref, const FieldInfo& field, const AnyList& list) {
  std::map<std::string, const void*> out;
  if (ref.relation == SchemaRef::Map) {
    forEachEntry(field, list, [&](std::string_view key, const void* value) { out.emplace(fieldElement(key), value); });
    return out;
  }
  forEachItem(field, list, [&](const void* item) {
    std::string element = itemElementOf(ref, field, item);
    if (element.empty()) walk.failed = true;
    out.emplace(std::move(element), item);
  });
  return out;
}

// A member that both sides write and that differs.
void compareMember(Walk& walk, const FieldInfo& field, const void* before, const void* after, Comparison& out) {
  SchemaRef ref = SchemaRef::ofField(field);
  std::string element = fieldElement(field.json);
  if (isLeaf(ref) || isNull(field, before) || isNull(field, after)) {
    out.modified.insertHere(element);
    return;
  }
  Comparison below;
  if (ref.relation == SchemaRef::Struct) {
    compareStruct(walk, *field.message, structOf(field, before), structOf(field, after), {}, below);
  } else {
    bool isMap = ref.relation == SchemaRef::Map;
    compareElements(walk, isMap ? ref.member("") : ref.item(), isMap, field, elementsOf(walk, ref, field, as<AnyList>(before)),
                    elementsOf(walk, ref, field, as<AnyList>(after)), below);
  }
  adopt(out, element, std::move(below));
}

void compareStruct(Walk& walk, const TypeInfo& type, const void* before, const void* after,
                   std::span<const std::string_view> unchanged, Comparison& out) {
  for (const FieldInfo& field : type.fields) {
    if (walk.failed) return;
    const void *old = schema::at(before, field), *now = schema::at(after, field);
    if (field.has(schema::kInline)) {
      compareStruct(walk, *field.message, old, now, unchanged, out);
      continue;
    }
    if (std::find(unchanged.begin(), unchanged.end(), field.json) != unchanged.end()) continue;
    bool had = codec::isWrittenInJson(field, old), has = codec::isWrittenInJson(field, now);
    if (had && has) {
      if (!schema::equalField(field, before, after)) compareMember(walk, field, old, now, out);
    } else if (had) {
      collectMember(walk, field, old, out.removed);
    } else if (has) {
      collectMember(walk, field, now, out.added);
    }
  }
}

}  // namespace

std::optional<Comparison> compareStructs(const TypeInfo& type, const void* before, const void* after,
                                         std::span<const std::string_view> unchanged) {
  Walk walk;
  Comparison out;
  if (before)
    compareStruct(walk, type, before, after, unchanged, out);
  else
    collectStruct(walk, type, after, out.added);
  if (walk.failed) return std::nullopt;
  return out;
}

}  // namespace knarr::apimachinery
