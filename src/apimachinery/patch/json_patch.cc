#include <fmt/format.h>

#include "apimachinery/patch/patch.h"
#include "base/strings.h"

namespace knarr::apimachinery {
namespace {

using codec::Value;

// What "copy" operations may add up to. Source: k8s.io/apiserver, JSONPatchMaxCopyBytes.
constexpr size_t kCopyBytesMax = 3 * 1024 * 1024;

Unexpected doesNotApply() { return fail(Reason::Invalid, "the server rejected our request due to an error in our request"); }

// RFC 6901: the unescaped reference tokens of a pointer.
Result<std::vector<std::string>> pointerTokens(std::string_view pointer) {
  std::vector<std::string> tokens;
  if (pointer.empty()) return tokens;
  if (pointer[0] != '/') return doesNotApply();
  for (std::string_view raw : split(pointer.substr(1), '/')) {
    std::string token;
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '~' && i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1'))
        token += raw[++i] == '0' ? '~' : '/';
      else
        token += raw[i];
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// The index a token names in an array; array.size() for "-". Nothing when it is no index.
std::optional<size_t> indexOf(const Value& array, const std::string& token) {
  if (token == "-") return array.size();
  if (token.empty() || (token.size() > 1 && token[0] == '0')) return std::nullopt;
  auto index = parseUint(token);
  if (!index) return std::nullopt;
  return static_cast<size_t>(*index);
}

Value* child(Value& parent, const std::string& token) {
  if (parent.isObject()) return parent.find(token);
  if (!parent.isArray()) return nullptr;
  auto index = indexOf(parent, token);
  return index && *index < parent.size() ? &parent.items()[*index] : nullptr;
}

// The container that the last token stands in; null when the way there does not exist.
Value* parentOf(Value& root, const std::vector<std::string>& tokens) {
  Value* at = &root;
  for (size_t i = 0; i + 1 < tokens.size() && at; ++i) at = child(*at, tokens[i]);
  return at;
}

Value* locate(Value& root, const std::vector<std::string>& tokens) {
  Value* at = &root;
  for (const std::string& token : tokens) {
    at = child(*at, token);
    if (!at) return nullptr;
  }
  return at;
}

Result<void> add(Value& root, const std::vector<std::string>& tokens, const Value& value, Arena& arena) {
  if (tokens.empty()) {
    root = value;
    return {};
  }
  Value* parent = parentOf(root, tokens);
  if (!parent) return doesNotApply();
  if (parent->isObject()) {
    parent->set(arena, tokens.back(), value);
    return {};
  }
  if (!parent->isArray()) return doesNotApply();
  auto index = indexOf(*parent, tokens.back());
  if (!index || *index > parent->size()) return doesNotApply();
  parent->insertAt(arena, *index, value);
  return {};
}

Result<void> removeAt(Value& root, const std::vector<std::string>& tokens) {
  Value* parent = tokens.empty() ? nullptr : parentOf(root, tokens);
  if (!parent) return doesNotApply();
  if (parent->isObject()) {
    if (!parent->erase(tokens.back())) return doesNotApply();
    return {};
  }
  auto index = parent->isArray() ? indexOf(*parent, tokens.back()) : std::nullopt;
  if (!index || *index >= parent->size()) return doesNotApply();
  parent->eraseAt(*index);
  return {};
}

Result<void> applyOperation(Value& root, const Value& operation, Arena& arena, size_t& copiedBytes) {
  if (!operation.isObject()) return fail(Reason::BadRequest, "error decoding patch: an operation is not an object");
  const Value* op = operation.find("op");
  const Value* path = operation.find("path");
  if (!op || !op->isString() || !path || !path->isString()) return doesNotApply();
  auto tokens = TRY(pointerTokens(path->string()));
  const Value* value = operation.find("value");
  std::string_view name = op->string();
  if (name == "add")
    return value ? add(root, tokens, codec::deepCopyValue(*value, arena), arena) : add(root, tokens, Value(), arena);
  if (name == "remove") return removeAt(root, tokens);
  if (name == "replace") {
    Value* at = locate(root, tokens);
    if (!at) return doesNotApply();
    *at = value ? codec::deepCopyValue(*value, arena) : Value();
    return {};
  }
  if (name == "test") {
    Value* at = locate(root, tokens);
    bool same = at ? (value ? *at == *value : at->isNull()) : (!value || value->isNull());
    if (!same) return doesNotApply();
    return {};
  }
  if (name != "move" && name != "copy") return doesNotApply();
  const Value* from = operation.find("from");
  if (!from || !from->isString()) return doesNotApply();
  auto fromTokens = TRY(pointerTokens(from->string()));
  Value* at = locate(root, fromTokens);
  if (!at) return doesNotApply();
  Value moved = codec::deepCopyValue(*at, arena);
  if (name == "copy") {
    copiedBytes += codec::toJson(moved).size();
    if (copiedBytes > kCopyBytesMax) return doesNotApply();
  } else {
    TRY(removeAt(root, fromTokens));
  }
  return add(root, tokens, moved, arena);
}

}  // namespace

Result<Value> applyJsonPatch(const Value& document, const Value& patch, Arena& arena) {
  if (!patch.isArray())
    return fail(Reason::BadRequest, "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (patch.size() > kJsonPatchOperationsMax)
    return fail(Reason::RequestEntityTooLarge,
                fmt::format("Request entity too large: The allowed maximum operations in a JSON patch is {}, got {}",
                            kJsonPatchOperationsMax, patch.size()));
  Value root = codec::deepCopyValue(document, arena);
  size_t copiedBytes = 0;
  for (const Value& operation : patch.items()) TRY(applyOperation(root, operation, arena, copiedBytes));
  return root;
}

namespace {
Value merge(const Value& document, const Value& patch, Arena& arena) {
  if (!patch.isObject()) return codec::deepCopyValue(patch, arena);
  Value out = document.isObject() ? codec::deepCopyValue(document, arena) : Value::emptyObject();
  for (const codec::Member& member : patch.members()) {
    if (member.value.isNull()) {
      out.erase(member.name);
      continue;
    }
    const Value* have = out.find(member.name);
    out.set(arena, member.name, merge(have ? *have : Value(), member.value, arena));
  }
  return out;
}
}  // namespace

Result<Value> applyMergePatch(const Value& document, const Value& patch, Arena& arena) {
  if (!patch.isObject()) return fail(Reason::BadRequest, "Invalid JSON Patch");
  return merge(document, patch, arena);
}

}  // namespace knarr::apimachinery
