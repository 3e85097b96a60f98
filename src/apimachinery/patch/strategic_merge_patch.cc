// The strategic merge patch: lists of maps merge by a key, directives stand in the patch itself.
//
// Source: k8s.io/apimachinery/pkg/util/strategicpatch/patch.go (mergeMap, mergeSlice and their directives).
#include <fmt/format.h>

#include <algorithm>

#include "apimachinery/patch/patch.h"
#include "base/strings.h"

namespace knarr::apimachinery {

using codec::Member;
using codec::Value;
using schema::FieldInfo;
using schema::TypeInfo;

const FieldInfo* fieldNamed(const TypeInfo& type, std::string_view json) {
  for (const FieldInfo& field : type.fields) {
    if (!field.json.empty() && field.json == json) return &field;
    if (field.json.empty() && field.message)
      if (const FieldInfo* inner = fieldNamed(*field.message, json)) return inner;
  }
  return nullptr;
}

namespace {

constexpr std::string_view kDirective = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFromPrimitiveList = "$deleteFromPrimitiveList/";
constexpr std::string_view kSetElementOrder = "$setElementOrder/";

bool hasStrategy(const FieldInfo* field, std::string_view strategy) {
  if (!field) return false;
  for (std::string_view one : split(field->patchStrategy, ','))
    if (one == strategy) return true;
  return false;
}

std::string_view directiveOf(const Value& map) {
  const Value* directive = map.isObject() ? map.find(kDirective) : nullptr;
  return directive && directive->isString() ? directive->string() : std::string_view();
}

const TypeInfo* messageOf(const FieldInfo* field) { return field ? field->message : nullptr; }

// A value that is new to the document: directives and nulls inside maps are dropped.
Value withoutDirectives(const Value& value, Arena& arena) {
  if (value.isObject()) {
    Value out = Value::emptyObject();
    for (const Member& member : value.members()) {
      if (member.name.starts_with('$') &&
          (member.name == kDirective || member.name == kRetainKeys || member.name.starts_with(kDeleteFromPrimitiveList) ||
           member.name.starts_with(kSetElementOrder)))
        continue;
      if (member.value.isNull()) continue;
      if (directiveOf(member.value) == "delete") continue;
      out.set(arena, member.name, withoutDirectives(member.value, arena));
    }
    return out;
  }
  if (value.isArray()) {
    Value out = Value::emptyArray();
    for (const Value& item : value.items())
      if (directiveOf(item).empty()) out.append(arena, withoutDirectives(item, arena));
    return out;
  }
  return codec::deepCopyValue(value, arena);
}

Result<Value> mergeMap(const TypeInfo* type, const Value& original, const Value& patch, Arena& arena);

Unexpected noMergeKey(const Value& map, std::string_view key) {
  return Unexpected(
      Error(Reason::Unknown, fmt::format("map: {} does not contain declared merge key: {}", codec::toJson(map), key)));
}

// Items of the patch without their directives, applied to the items of the document.
struct MergeList {
  std::vector<Value> items;
  std::vector<Value> patchOrder;  // merge keys in the order of the patch
};

Value* findByKey(std::vector<Value>& items, std::string_view key, const Value& wanted) {
  for (Value& item : items) {
    const Value* have = item.find(key);
    if (have && *have == wanted) return &item;
  }
  return nullptr;
}

Result<MergeList> mergeMaps(const FieldInfo& field, const Value& original, const Value& patch, Arena& arena) {
  std::string_view key = field.patchMergeKey;
  MergeList out;
  bool replace = false;
  for (const Value& item : patch.items()) replace = replace || directiveOf(item) == "replace";
  if (!replace && original.isArray())
    for (const Value& item : original.items()) out.items.push_back(codec::deepCopyValue(item, arena));
  for (const Value& item : patch.items()) {
    if (!item.isObject()) return fail(Reason::Unknown, "list element types are not identical: a map and a scalar");
    std::string_view directive = directiveOf(item);
    const Value* wanted = item.find(key);
    if (directive == "replace") continue;
    if (directive == "merge") return fail(Reason::Unknown, "merging lists cannot yet be specified in the patch");
    if (!wanted) return noMergeKey(item, key);
    if (directive == "delete") {
      std::erase_if(out.items, [&](const Value& have) {
        const Value* k = have.find(key);
        return k && *k == *wanted;
      });
      continue;
    }
    if (!directive.empty())
      return Unexpected(Error(Reason::Unknown, fmt::format("unknown patch type: {} in map: {}", directive, codec::toJson(item))));
    out.patchOrder.push_back(*wanted);
    if (Value* have = replace ? nullptr : findByKey(out.items, key, *wanted))
      *have = TRY(mergeMap(field.message, *have, item, arena));
    else
      out.items.push_back(withoutDirectives(item, arena));
  }
  return out;
}

// Orders merged items: those the patch names take its order, the others keep theirs of the document. Where both meet, an item
// that is new to the document goes first. `order` lists keys (maps) or the items themselves (scalars).
// Source: normalizeElementOrder, mergeSortedSlice.
void orderItems(std::vector<Value>& items, const std::vector<Value>& order, const Value& original, std::string_view key) {
  auto identity = [&](const Value& item) -> const Value& {
    const Value* k = key.empty() ? &item : item.find(key);
    return k ? *k : item;
  };
  auto indexIn = [&](const auto& list, const Value& wanted) -> ptrdiff_t {
    ptrdiff_t i = 0;
    for (const Value& one : list) {
      if (one == wanted) return i;
      ++i;
    }
    return -1;
  };
  std::vector<Value> live;
  if (original.isArray())
    for (const Value& item : original.items()) live.push_back(identity(item));
  std::vector<Value> named, serverOnly;
  for (const Value& item : items) (indexIn(order, identity(item)) >= 0 ? named : serverOnly).push_back(item);
  std::stable_sort(named.begin(), named.end(),
                   [&](const Value& a, const Value& b) { return indexIn(order, identity(a)) < indexIn(order, identity(b)); });
  std::stable_sort(serverOnly.begin(), serverOnly.end(),
                   [&](const Value& a, const Value& b) { return indexIn(live, identity(a)) < indexIn(live, identity(b)); });
  // Interleaved by their places in the document where both have one.
  std::vector<Value> out;
  size_t i = 0, j = 0;
  while (i < serverOnly.size() && j < named.size()) {
    ptrdiff_t server = indexIn(live, identity(serverOnly[i])), mine = indexIn(live, identity(named[j]));
    bool takeServer = server >= 0 && server < mine;
    out.push_back(takeServer ? serverOnly[i++] : named[j++]);
  }
  out.insert(out.end(), serverOnly.begin() + static_cast<ptrdiff_t>(i), serverOnly.end());
  out.insert(out.end(), named.begin() + static_cast<ptrdiff_t>(j), named.end());
  items = std::move(out);
}

Value arrayOf(const std::vector<Value>& items, Arena& arena) {
  Value out = Value::emptyArray();
  for (const Value& item : items) out.append(arena, item);
  return out;
}

// A value as Go's %v prints it.
std::string goText(const Value& value) {
  std::string out;
  if (value.isArray()) {
    for (const Value& item : value.items()) out += (out.empty() ? "" : " ") + goText(item);
    return "[" + out + "]";
  }
  if (value.isObject()) {
    for (const Member& member : value.members())
      out += fmt::format("{}{}:{}", out.empty() ? "" : " ", member.name, goText(member.value));
    return "map[" + out + "]";
  }
  if (value.isNull()) return "<nil>";
  return value.isString() ? std::string(value.string()) : codec::toJson(value);
}

// What the patch lists must stand in the same order in the order that it asks for. Source: validatePatchWithSetOrderList.
Result<void> checkPatchOrder(const Value* patch, const Value& order, std::string_view key) {
  if (!patch || !patch->isArray()) return {};
  size_t at = 0;
  for (const Value& item : patch->items()) {
    if (!key.empty() && !directiveOf(item).empty()) continue;
    const Value* wanted = key.empty() ? &item : item.find(key);
    if (!wanted) return noMergeKey(item, key);
    for (; at < order.size(); ++at) {
      const Value* named = key.empty() ? &order.items()[at] : order.items()[at].find(key);
      if (named && *named == *wanted) break;
    }
    if (at++ >= order.size())
      return Unexpected(
          Error(Reason::Unknown, fmt::format("The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                                             goText(*patch), goText(order))));
  }
  return {};
}

Result<void> checkDirectives(const FieldInfo& field, const Value* patch, const Value* deletions, const Value* order) {
  if (deletions && !deletions->isArray()) return fail(Reason::BadRequest, "invalid patch format of primitive list");
  if (!order) return {};
  if (!order->isArray()) return fail(Reason::BadRequest, "invalid patch format of setElementOrder list");
  bool ofMaps = field.kind == schema::Kind::Message;
  for (const Value& item : order->items())
    if (ofMaps && (!item.isObject() || !item.find(field.patchMergeKey)))
      return fail(Reason::BadRequest, "invalid patch format of setElementOrder list");
  return checkPatchOrder(patch, *order, ofMaps ? field.patchMergeKey : std::string_view());
}

// A list whose elements are scalars: a union, with removals, in the order asked for or else that of the patch.
Value mergeScalars(const Value& original, const Value* patch, const Value* deletions, const Value* order, Arena& arena) {
  std::vector<Value> items;
  auto addUnique = [&](const Value& item) {
    if (std::find(items.begin(), items.end(), item) == items.end()) items.push_back(codec::deepCopyValue(item, arena));
  };
  if (original.isArray())
    for (const Value& item : original.items()) addUnique(item);
  if (patch && patch->isArray())
    for (const Value& item : patch->items()) addUnique(item);
  if (deletions && deletions->isArray())
    for (const Value& gone : deletions->items()) std::erase_if(items, [&](const Value& have) { return have == gone; });
  const Value* wanted = order && order->isArray() ? order : patch;
  if (wanted && wanted->isArray())
    orderItems(items, std::vector<Value>(wanted->items().begin(), wanted->items().end()), original, "");
  return arrayOf(items, arena);
}

Result<Value> mergeList(const FieldInfo* field, const Value& original, const Value* patch, const Value* deletions,
                        const Value* order, Arena& arena) {
  if (!hasStrategy(field, "merge")) return withoutDirectives(patch ? *patch : Value::emptyArray(), arena);
  TRY(checkDirectives(*field, patch, deletions, order));
  if (field->kind != schema::Kind::Message) return mergeScalars(original, patch, deletions, order, arena);
  if (field->patchMergeKey.empty()) return withoutDirectives(patch ? *patch : Value::emptyArray(), arena);
  MergeList merged = TRY(mergeMaps(*field, original, patch ? *patch : Value::emptyArray(), arena));
  std::vector<Value> keys = merged.patchOrder;
  if (order && order->isArray()) {
    keys.clear();
    for (const Value& item : order->items()) keys.push_back(*item.find(field->patchMergeKey));
  }
  orderItems(merged.items, keys, original, field->patchMergeKey);
  return arrayOf(merged.items, arena);
}

Result<void> retainKeys(Value& out, const Value& patch) {
  const Value* keys = patch.find(kRetainKeys);
  if (!keys) return {};
  if (!keys->isArray()) return fail(Reason::BadRequest, "invalid patch format of retainKeys");
  auto listed = [&](std::string_view name) {
    for (const Value& key : keys->items())
      if (key.isString() && key.string() == name) return true;
    return false;
  };
  for (const Member& member : patch.members())
    if (!member.name.starts_with('$') && !member.value.isNull() && !listed(member.name))
      return fail(Reason::BadRequest, "invalid patch format of retainKeys");
  std::vector<std::string> gone;
  for (const Member& member : out.members())
    if (!listed(member.name)) gone.emplace_back(member.name);
  for (const std::string& name : gone) out.erase(name);
  return {};
}

// Fields that stand in the patch only as directives ($setElementOrder/x, $deleteFromPrimitiveList/x).
Result<void> mergeDirectivesOnly(const TypeInfo* type, Value& out, const Value& patch, Arena& arena) {
  for (const Member& member : patch.members()) {
    bool order = member.name.starts_with(kSetElementOrder), deletion = member.name.starts_with(kDeleteFromPrimitiveList);
    if (!order && !deletion) continue;
    std::string name(member.name.substr(order ? kSetElementOrder.size() : kDeleteFromPrimitiveList.size()));
    if (patch.find(name)) continue;
    const Value* have = out.find(name);
    if (!have || !have->isArray()) continue;
    const FieldInfo* field = type ? fieldNamed(*type, name) : nullptr;
    const Value* deletions = patch.find(std::string(kDeleteFromPrimitiveList) + name);
    const Value* wantedOrder = patch.find(std::string(kSetElementOrder) + name);
    if (!hasStrategy(field, "merge")) continue;
    Value original = *have;
    out.set(arena, name, TRY(mergeList(field, original, nullptr, deletions, wantedOrder, arena)));
  }
  return {};
}

Result<Value> mergeMap(const TypeInfo* type, const Value& original, const Value& patch, Arena& arena) {
  std::string_view directive = directiveOf(patch);
  if (directive == "replace") return withoutDirectives(patch, arena);
  if (directive == "delete") return Value::emptyObject();
  if (!directive.empty() && directive != "merge")
    return Unexpected(Error(Reason::Unknown, fmt::format("unknown patch type: {} in map: {}", directive, codec::toJson(patch))));
  Value out = codec::deepCopyValue(original, arena);
  TRY(retainKeys(out, patch));
  for (const Member& member : patch.members()) {
    if (member.name == kDirective || member.name == kRetainKeys || member.name.starts_with(kSetElementOrder) ||
        member.name.starts_with(kDeleteFromPrimitiveList))
      continue;
    if (member.value.isNull()) {
      out.erase(member.name);
      continue;
    }
    const FieldInfo* field = type ? fieldNamed(*type, member.name) : nullptr;
    const Value* have = out.find(member.name);
    if (!have || have->is() != member.value.is()) {
      if (directiveOf(member.value) == "delete") {
        out.erase(member.name);
        continue;
      }
      out.set(arena, member.name, withoutDirectives(member.value, arena));
      continue;
    }
    Value current = *have;
    if (member.value.isObject()) {
      bool replace = hasStrategy(field, "replace");
      // The values of a map field are no structs with fields of their own to look up.
      const TypeInfo* inner = field && field->shape == schema::Shape::Map ? nullptr : messageOf(field);
      out.set(arena, member.name,
              replace ? withoutDirectives(member.value, arena) : TRY(mergeMap(inner, current, member.value, arena)));
    } else if (member.value.isArray()) {
      const Value* deletions = patch.find(std::string(kDeleteFromPrimitiveList) + std::string(member.name));
      const Value* order = patch.find(std::string(kSetElementOrder) + std::string(member.name));
      out.set(arena, member.name, TRY(mergeList(field, current, &member.value, deletions, order, arena)));
    } else {
      out.set(arena, member.name, codec::deepCopyValue(member.value, arena));
    }
  }
  TRY(mergeDirectivesOnly(type, out, patch, arena));
  return out;
}

}  // namespace

Result<Value> applyStrategicMergePatch(const TypeInfo& type, const Value& document, const Value& patch, Arena& arena) {
  if (!patch.isObject()) return fail(Reason::BadRequest, "invalid JSON document");
  return mergeMap(&type, document, patch, arena);
}

}  // namespace knarr::apimachinery
