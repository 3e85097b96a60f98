// The graph of owners and dependents, by uid. Plain data: no I/O, no clock.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

struct ObjectIdentity {
  const client::ResourceInfo* resource = nullptr;  // null when the kind is not known
  std::string apiVersion, kind, nameSpace, name, uid;
};

struct GraphNode {
  ObjectIdentity identity;
  std::vector<metav1::OwnerReference> owners;  // texts live in `object`
  Ref<> object;                                // null for a virtual node: known only as somebody's owner
  std::set<std::string> dependents;            // uids
  bool isVirtual() const { return !object; }
  bool beingDeleted() const { return object && schema::metadataOf(object).deletionTimestamp.present; }
  bool hasFinalizer(std::string_view finalizer) const;
  bool deletingDependents() const { return beingDeleted() && hasFinalizer("foregroundDeletion"); }
};

class OwnerGraph {
 public:
  // What has to be looked at after a change, as uids.
  using Affected = std::vector<std::string>;
  Affected upsert(const client::ResourceInfo& resource, const Ref<>& object);
  // The object is gone: its dependents are to be looked at.
  Affected remove(const std::string& uid);
  const GraphNode* find(const std::string& uid) const;
  size_t size() const { return nodes_.size(); }

 private:
  void link(GraphNode& node);
  void unlink(const GraphNode& node);
  std::map<std::string, GraphNode> nodes_;
};

// The uids of dependents that hold their owner back (blockOwnerDeletion).
std::vector<std::string> blockingDependents(const OwnerGraph& graph, const GraphNode& owner);

}  // namespace knarr::controllers
