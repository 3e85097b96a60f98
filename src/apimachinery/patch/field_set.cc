#include "apimachinery/patch/field_set.h"

#include <algorithm>

#include "base/strings.h"
#include "codec/codec.h"
#include "codec/value.h"

namespace knarr::apimachinery {
namespace {

using codec::Value;

bool before(const FieldSet::Entry& entry, const std::string& element) { return entry.element < element; }

std::string elementText(const std::string& element) {
  std::string_view body = std::string_view(element).substr(2);
  if (element[0] == 'f') return "." + std::string(body);
  if (element[0] == 'i') return "[" + std::string(body) + "]";
  if (element[0] == 'v') return "[=" + std::string(body) + "]";
  Arena arena;
  auto keys = codec::parseJsonValue(body, arena);
  if (!keys || !keys->isObject()) return "[" + std::string(body) + "]";
  std::string out;
  for (const codec::Member& member : keys->members()) {
    out += out.empty() ? "[" : ",";
    out += std::string(member.name) + "=" + codec::toJson(member.value);
  }
  return out + "]";
}

void collectPaths(const FieldSet& set, const std::string& prefix, std::vector<std::string>& out) {
  for (const auto& [element, node] : set.nodes()) {
    std::string path = prefix + elementText(element);
    if (node.owned) out.push_back(path);
    collectPaths(node.children, path, out);
  }
}

// Elements stand in byte order, and "." before all of them.
void appendJson(std::string& out, const FieldSet& set, bool owned) {
  out += '{';
  if (owned && !set.empty()) out += "\".\":{}";
  for (const auto& [element, node] : set.nodes()) {
    if (out.back() != '{') out += ',';
    out += codec::quoteJson(element);
    out += ':';
    appendJson(out, node.children, node.owned);
  }
  out += '}';
}

Result<void> fromValue(const Value& value, FieldSet& set) {
  if (!value.isObject()) return fail(Reason::BadRequest, "fieldsV1: expected an object");
  for (const codec::Member& member : value.members()) {
    if (member.name == ".") continue;
    std::string element(member.name);
    bool known = element.size() >= 2 && element[1] == ':' && std::string_view("fkvi").find(element[0]) != std::string_view::npos;
    if (!known) return fail(Reason::BadRequest, "fieldsV1: missing colon or unknown path element type in " + quote(element));
    if (!member.value.isObject()) return fail(Reason::BadRequest, "fieldsV1: expected an object");
    if (member.value.size() == 0 || member.value.find(".")) set.insertHere(element);
    if (member.value.size() != 0) TRY(fromValue(member.value, set.child(element)));
  }
  return {};
}

}  // namespace

FieldSet::Node& FieldSet::nodeAt(const std::string& element) {
  // Most sets are made in order.
  if (nodes_.empty() || nodes_.back().element < element) return nodes_.emplace_back(Entry{element, {}}).node;
  auto at = std::lower_bound(nodes_.begin(), nodes_.end(), element, before);
  if (at == nodes_.end() || at->element != element) at = nodes_.insert(at, Entry{element, {}});
  return at->node;
}

FieldSet& FieldSet::child(const std::string& element) { return nodeAt(element).children; }
void FieldSet::insertHere(const std::string& element) { nodeAt(element).owned = true; }

void FieldSet::insert(const std::vector<std::string>& path) {
  FieldSet* at = this;
  for (size_t i = 0; i + 1 < path.size(); ++i) at = &at->child(path[i]);
  if (!path.empty()) at->insertHere(path.back());
}

const FieldSet::Node* FieldSet::find(const std::string& element) const {
  auto at = std::lower_bound(nodes_.begin(), nodes_.end(), element, before);
  return at == nodes_.end() || at->element != element ? nullptr : &at->node;
}

FieldSet FieldSet::unite(FieldSet a, FieldSet b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  FieldSet out;
  out.nodes_.reserve(a.nodes_.size() + b.nodes_.size());
  auto x = a.nodes_.begin(), y = b.nodes_.begin();
  while (x != a.nodes_.end() || y != b.nodes_.end()) {
    if (y == b.nodes_.end() || (x != a.nodes_.end() && x->element < y->element)) {
      out.nodes_.push_back(std::move(*x++));
    } else if (x == a.nodes_.end() || y->element < x->element) {
      out.nodes_.push_back(std::move(*y++));
    } else {
      Node both{x->node.owned || y->node.owned, unite(std::move(x->node.children), std::move(y->node.children))};
      out.nodes_.push_back({std::move(x->element), std::move(both)});
      ++x, ++y;
    }
  }
  return out;
}

FieldSet FieldSet::intersect(const FieldSet& a, const FieldSet& b) {
  FieldSet out;
  for (const auto& [element, node] : a.nodes_) {
    const Node* other = b.find(element);
    if (!other) continue;
    Node both{node.owned && other->owned, intersect(node.children, other->children)};
    if (both.owned || !both.children.empty()) out.nodes_.push_back({element, std::move(both)});
  }
  return out;
}

FieldSet FieldSet::subtract(const FieldSet& a, const FieldSet& b) {
  FieldSet out;
  for (const auto& [element, node] : a.nodes_) {
    const Node* other = b.find(element);
    Node rest = other ? Node{node.owned && !other->owned, subtract(node.children, other->children)} : node;
    if (rest.owned || !rest.children.empty()) out.nodes_.push_back({element, std::move(rest)});
  }
  return out;
}

void FieldSet::removeSubtree(const std::vector<std::string>& path) { removePath(path, 0); }

// What is left without owner and children goes with it. Tells whether this set became empty.
bool FieldSet::removePath(const std::vector<std::string>& path, size_t depth) {
  auto at = std::lower_bound(nodes_.begin(), nodes_.end(), path[depth], before);
  if (at == nodes_.end() || at->element != path[depth]) return false;
  if (depth + 1 == path.size() || (at->node.children.removePath(path, depth + 1) && !at->node.owned)) nodes_.erase(at);
  return nodes_.empty();
}

std::vector<std::string> FieldSet::paths() const {
  std::vector<std::string> out;
  collectPaths(*this, "", out);
  return out;
}

std::string FieldSet::toJson() const {
  std::string out;
  appendJson(out, *this, false);
  return out;
}

Result<FieldSet> FieldSet::fromJson(std::string_view json) {
  FieldSet set;
  if (json.empty()) return set;
  Arena arena;
  Value value = TRY(codec::parseJsonValue(json, arena));
  TRY(fromValue(value, set));
  return set;
}

bool operator==(const FieldSet& a, const FieldSet& b) {
  if (a.nodes_.size() != b.nodes_.size()) return false;
  for (auto x = a.nodes_.begin(), y = b.nodes_.begin(); x != a.nodes_.end(); ++x, ++y)
    if (x->element != y->element || x->node.owned != y->node.owned || !(x->node.children == y->node.children)) return false;
  return true;
}

}  // namespace knarr::apimachinery
