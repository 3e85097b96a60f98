// FieldSet: which fields of an object somebody owns, as a tree of path elements.
//
// A path element is written as in FieldsV1: "f:name" (a field or a key of a map), "k:{...}" (the item of a list with these
// keys), "v:..." (the item of a set), "i:0" (an index).
// Source: sigs.k8s.io/structured-merge-diff/v6/fieldpath; KEP-555.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::apimachinery {

class FieldSet {
 public:
  struct Node;
  struct Entry;
  bool empty() const { return nodes_.empty(); }
  // Owns the node at `path` itself.
  void insert(const std::vector<std::string>& path);
  // The node under `element` of this set; made when absent. The reference lasts until this set gets another element.
  FieldSet& child(const std::string& element);
  void insertHere(const std::string& element);
  // Whether anything at or below `element` is owned.
  const Node* find(const std::string& element) const;
  // In byte order of the elements.
  const std::vector<Entry>& nodes() const { return nodes_; }

  static FieldSet unite(FieldSet a, FieldSet b);
  static FieldSet intersect(const FieldSet& a, const FieldSet& b);
  // What `a` owns and `b` does not own at the same path.
  static FieldSet subtract(const FieldSet& a, const FieldSet& b);
  // Removes a path and all below it.
  void removeSubtree(const std::vector<std::string>& path);
  // The owned paths as texts: .spec.containers[name="a"].image
  std::vector<std::string> paths() const;

  // FieldsV1 as JSON, both ways. Depth and size are bounded by the JSON reader.
  std::string toJson() const;
  static Result<FieldSet> fromJson(std::string_view json);

  friend bool operator==(const FieldSet& a, const FieldSet& b);

 private:
  Node& nodeAt(const std::string& element);
  bool removePath(const std::vector<std::string>& path, size_t depth);
  std::vector<Entry> nodes_;
};

struct FieldSet::Node {
  bool owned = false;
  FieldSet children;
};

struct FieldSet::Entry {
  std::string element;
  Node node;
};

}  // namespace knarr::apimachinery
