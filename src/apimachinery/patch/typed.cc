#include "apimachinery/patch/typed.h"

#include <fmt/format.h>

#include <algorithm>

#include "apimachinery/patch/patch.h"
#include "base/strings.h"

namespace knarr::apimachinery {

using codec::Member;
using codec::Value;
using schema::FieldInfo;
using schema::Kind;
using schema::Shape;
using schema::TypeInfo;

namespace {

bool isStructKind(Kind kind) { return kind == Kind::Message; }

bool isScalarKind(Kind kind) {
  switch (kind) {
    case Kind::Message:
    case Kind::RawExtension:
    case Kind::FieldsV1:
    case Kind::Json:
    case Kind::JsonSchemaPropsOrArray:
    case Kind::JsonSchemaPropsOrBool:
    case Kind::JsonSchemaPropsOrStringArray:
      return false;
    default:
      return true;
  }
}

SchemaRef elementOf(const FieldInfo& field) {
  if (isStructKind(field.kind)) return SchemaRef::ofType(*field.message);
  return {isScalarKind(field.kind) ? SchemaRef::Scalar : SchemaRef::Atomic, nullptr, nullptr};
}

std::string fieldElement(std::string_view name) { return "f:" + std::string(name); }

bool knownMember(const SchemaRef& schema, std::string_view name) {
  return schema.relation == SchemaRef::Map || (schema.type && fieldNamed(*schema.type, name) != nullptr);
}

bool isEmptyMap(const Value& value) { return value.isObject() && value.size() == 0; }

Unexpected typeError(const std::string& path, std::string why) {
  return fail(Reason::Unknown, fmt::format("{}: {}", path.empty() ? "." : path, why));
}

Result<void> collect(const SchemaRef& schema, const Value& value, FieldSet& into, const std::string& path);

Result<void> collectMembers(const SchemaRef& schema, const Value& value, FieldSet& into, const std::string& path) {
  for (const Member& member : value.members()) {
    std::string at = fmt::format("{}.{}", path, member.name);
    if (!knownMember(schema, member.name)) return typeError(at, "field not declared in schema");
    std::string element = fieldElement(member.name);
    SchemaRef inner = schema.member(member.name);
    bool leaf = inner.relation == SchemaRef::Scalar || inner.relation == SchemaRef::Atomic || member.value.isNull() ||
                isEmptyMap(member.value) || schema.relation == SchemaRef::Map;
    if (leaf) into.insertHere(element);
    if (inner.relation == SchemaRef::Scalar || inner.relation == SchemaRef::Atomic || member.value.isNull()) continue;
    FieldSet below;
    TRY(collect(inner, member.value, below, at));
    if (!below.empty()) into.child(element) = std::move(below);
  }
  return {};
}

Result<void> collectItems(const SchemaRef& schema, const Value& value, FieldSet& into, const std::string& path) {
  Arena arena;
  SchemaRef inner = schema.item();
  for (const Value& item : value.items()) {
    auto element = itemElement(schema, item, arena);
    if (!element) return typeError(path, element.error().message());
    if (into.find(*element)) return typeError(path, fmt::format("duplicate entries for key [{}]", element->substr(2)));
    FieldSet below;
    if (inner.relation == SchemaRef::Struct) TRY(collect(inner, item, below, path + "[" + element->substr(2) + "]"));
    into.insertHere(*element);
    into.child(*element) = std::move(below);
  }
  return {};
}

Result<void> collect(const SchemaRef& schema, const Value& value, FieldSet& into, const std::string& path) {
  if (value.isNull()) return {};
  switch (schema.relation) {
    case SchemaRef::Struct:
    case SchemaRef::Map:
      if (!value.isObject()) return typeError(path, "expected map, got " + codec::toJson(value).substr(0, 40));
      return collectMembers(schema, value, into, path);
    case SchemaRef::ListMap:
    case SchemaRef::ListSet:
      if (!value.isArray()) return typeError(path, "expected list, got " + codec::toJson(value).substr(0, 40));
      return collectItems(schema, value, into, path);
    default:
      return {};
  }
}

// The set of a node that is there on one side only: the node itself and all below it.
Result<void> collectNode(const SchemaRef& schema, const Value& value, const std::string& element, FieldSet& into, bool isItem,
                         bool inMap) {
  bool leaf = isItem || inMap || schema.relation == SchemaRef::Scalar || schema.relation == SchemaRef::Atomic || value.isNull() ||
              isEmptyMap(value);
  if (leaf) into.insertHere(element);
  FieldSet below;
  TRY(collect(schema, value, below, ""));
  if (!below.empty()) into.child(element) = std::move(below);
  return {};
}

Result<void> compareNode(const SchemaRef& schema, const Value& before, const Value& after, const std::string& element,
                         Comparison& out);

Result<void> compareMembers(const SchemaRef& schema, const Value& before, const Value& after, Comparison& out) {
  bool inMap = schema.relation == SchemaRef::Map;
  for (const Member& member : before.members())
    if (!after.find(member.name))
      TRY(collectNode(schema.member(member.name), member.value, fieldElement(member.name), out.removed, false, inMap));
  for (const Member& member : after.members()) {
    const Value* old = before.find(member.name);
    if (!old)
      TRY(collectNode(schema.member(member.name), member.value, fieldElement(member.name), out.added, false, inMap));
    else
      TRY(compareNode(schema.member(member.name), *old, member.value, fieldElement(member.name), out));
  }
  return {};
}

Result<std::map<std::string, const Value*>> itemsByElement(const SchemaRef& schema, const Value& list, Arena& arena) {
  std::map<std::string, const Value*> out;
  for (const Value& item : list.items()) {
    auto element = itemElement(schema, item, arena);
    if (!element) return Unexpected(std::move(element).error());
    out.emplace(*element, &item);
  }
  return out;
}

Result<void> compareItems(const SchemaRef& schema, const Value& before, const Value& after, Comparison& out) {
  Arena arena;
  auto old = TRY(itemsByElement(schema, before, arena));
  auto now = TRY(itemsByElement(schema, after, arena));
  SchemaRef inner = schema.item();
  for (const auto& [element, item] : old)
    if (!now.contains(element)) TRY(collectNode(inner, *item, element, out.removed, true, false));
  for (const auto& [element, item] : now) {
    auto found = old.find(element);
    if (found == old.end())
      TRY(collectNode(inner, *item, element, out.added, true, false));
    else if (inner.relation == SchemaRef::Struct)
      TRY(compareNode(inner, *found->second, *item, element, out));
  }
  return {};
}

Result<void> compareNode(const SchemaRef& schema, const Value& before, const Value& after, const std::string& element,
                         Comparison& out) {
  if (before == after) return {};
  bool mapLike =
      (schema.relation == SchemaRef::Struct || schema.relation == SchemaRef::Map) && before.isObject() && after.isObject();
  bool listLike =
      (schema.relation == SchemaRef::ListMap || schema.relation == SchemaRef::ListSet) && before.isArray() && after.isArray();
  if (!mapLike && !listLike) {
    out.modified.insertHere(element);
    return {};
  }
  Comparison below;
  TRY(mapLike ? compareMembers(schema, before, after, below) : compareItems(schema, before, after, below));
  if (!below.added.empty()) out.added.child(element) = std::move(below.added);
  if (!below.modified.empty()) out.modified.child(element) = std::move(below.modified);
  if (!below.removed.empty()) out.removed.child(element) = std::move(below.removed);
  return {};
}

// Items of both lists: those only in live keep their places before the next item of the config that live has too.
Result<Value> mergeItems(const SchemaRef& schema, const Value& live, const Value& config, Arena& arena) {
  SchemaRef inner = schema.item();
  auto liveByElement = TRY(itemsByElement(schema, live, arena));
  auto configByElement = TRY(itemsByElement(schema, config, arena));
  Value out = Value::emptyArray();
  size_t at = 0;
  auto flushLiveOnly = [&](const std::string* until) -> Result<void> {
    for (; at < live.size(); ++at) {
      std::string element = *itemElement(schema, live.items()[at], arena);
      if (until && element == *until) {
        ++at;
        return {};
      }
      if (!configByElement.contains(element)) out.append(arena, codec::deepCopyValue(live.items()[at], arena));
    }
    return {};
  };
  for (const Value& item : config.items()) {
    std::string element = *itemElement(schema, item, arena);
    auto found = liveByElement.find(element);
    if (found == liveByElement.end()) {
      out.append(arena, codec::deepCopyValue(item, arena));
      continue;
    }
    // Only walk forward: an item of live that was passed already is merged where the config has it.
    bool ahead = false;
    for (size_t i = at; i < live.size() && !ahead; ++i) ahead = *itemElement(schema, live.items()[i], arena) == element;
    if (ahead) TRY(flushLiveOnly(&element));
    out.append(arena, TRY(mergeTyped(inner, *found->second, item, arena)));
  }
  TRY(flushLiveOnly(nullptr));
  return out;
}

}  // namespace

SchemaRef SchemaRef::ofType(const TypeInfo& type) {
  if (type.wrapped) return {Atomic, nullptr, nullptr};
  return {type.atomic ? Atomic : Struct, &type, nullptr};
}

SchemaRef SchemaRef::ofField(const FieldInfo& field) {
  if (field.shape == Shape::List) {
    if (field.listType == schema::ListType::Map && isStructKind(field.kind)) return {ListMap, field.message, &field};
    if (field.listType == schema::ListType::Set) return {ListSet, field.message, &field};
    return {Atomic, nullptr, &field};
  }
  if (field.shape == Shape::Map) return {field.atomicMap ? Atomic : Map, field.message, &field};
  if (field.atomicMap) return {Atomic, nullptr, nullptr};
  // A field may ask for members of their own although its type is replaced as a whole elsewhere.
  if (field.granularMap && isStructKind(field.kind)) return {Struct, field.message, nullptr};
  return elementOf(field);
}

SchemaRef SchemaRef::member(std::string_view name) const {
  if (relation == Map) return elementOf(*field);
  const FieldInfo* found = type ? fieldNamed(*type, name) : nullptr;
  return found ? ofField(*found) : SchemaRef{Atomic, nullptr, nullptr};
}

SchemaRef SchemaRef::item() const { return elementOf(*field); }

Result<std::string> itemElement(const SchemaRef& list, const Value& item, Arena& arena) {
  if (list.relation == SchemaRef::ListSet) return "v:" + codec::toJson(item);
  if (!item.isObject()) return fail(Reason::Unknown, "associative list with keys may not have non-map elements");
  Value keys = Value::emptyObject();
  for (std::string_view key : list.field->listKeys) {
    const Value* value = item.find(key);
    if (value && !value->isNull()) {
      keys.set(arena, key, *value);
      continue;
    }
    const FieldInfo* field = fieldNamed(*list.type, key);
    if (field && !field->defaultJson.empty()) {
      auto fallback = codec::parseJsonValue(field->defaultJson, arena);
      if (fallback) keys.set(arena, key, *fallback);
    }
  }
  if (keys.size() == 0)
    return fail(
        Reason::Unknown,
        fmt::format("element: associative list with keys has an element that omits key field {} (and doesn't have default value)",
                    quote(list.field->listKeys.empty() ? "" : list.field->listKeys[0])));
  return "k:" + codec::toJson(keys);
}

Result<FieldSet> toFieldSet(const SchemaRef& schema, const Value& value) {
  FieldSet set;
  TRY(collect(schema, value, set, ""));
  return set;
}

Result<Comparison> compareTyped(const SchemaRef& schema, const Value& before, const Value& after) {
  Comparison out;
  TRY(compareMembers(schema, before, after, out));
  return out;
}

Result<Value> mergeTyped(const SchemaRef& schema, const Value& live, const Value& config, Arena& arena) {
  bool mapLike =
      (schema.relation == SchemaRef::Struct || schema.relation == SchemaRef::Map) && live.isObject() && config.isObject();
  if (mapLike) {
    Value out = codec::deepCopyValue(live, arena);
    for (const Member& member : config.members()) {
      const Value* have = live.find(member.name);
      out.set(arena, member.name,
              have ? TRY(mergeTyped(schema.member(member.name), *have, member.value, arena))
                   : codec::deepCopyValue(member.value, arena));
    }
    return out;
  }
  bool listLike =
      (schema.relation == SchemaRef::ListMap || schema.relation == SchemaRef::ListSet) && live.isArray() && config.isArray();
  if (listLike) return mergeItems(schema, live, config, arena);
  return codec::deepCopyValue(config, arena);
}

Value removeTyped(const SchemaRef& schema, const Value& value, const FieldSet& gone, const FieldSet& kept, Arena& arena) {
  auto decide = [&](const std::string& element, const SchemaRef& inner, const Value& child) -> std::optional<Value> {
    const FieldSet::Node* drop = gone.find(element);
    const FieldSet::Node* keep = kept.find(element);
    if (!drop) return codec::deepCopyValue(child, arena);
    if (drop->owned && !keep) return std::nullopt;
    static const FieldSet kNothing;
    Value left = removeTyped(inner, child, drop->children, keep ? keep->children : kNothing, arena);
    // What lost all it had goes too, unless somebody wants it empty.
    bool emptied = (left.isObject() || left.isArray()) && left.size() == 0 && child.size() != 0;
    if (emptied && !(keep && keep->owned)) return std::nullopt;
    return left;
  };
  if ((schema.relation == SchemaRef::Struct || schema.relation == SchemaRef::Map) && value.isObject()) {
    Value out = Value::emptyObject();
    for (const Member& member : value.members())
      if (auto left = decide(fieldElement(member.name), schema.member(member.name), member.value))
        out.set(arena, member.name, *left);
    return out;
  }
  if ((schema.relation == SchemaRef::ListMap || schema.relation == SchemaRef::ListSet) && value.isArray()) {
    Value out = Value::emptyArray();
    for (const Value& item : value.items()) {
      auto element = itemElement(schema, item, arena);
      if (!element)
        out.append(arena, codec::deepCopyValue(item, arena));
      else if (auto left = decide(*element, schema.item(), item))
        out.append(arena, *left);
    }
    return out;
  }
  return codec::deepCopyValue(value, arena);
}

}  // namespace knarr::apimachinery
