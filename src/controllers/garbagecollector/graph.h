// The graph of owners and dependents, by uid. Plain data: no I/O, no clock.
#pragma once

#include <list>
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

// "[apps/v1/Deployment, namespace: default, name: web, uid: 1]", upstream's text of an object.
std::string coordinatesOf(const ObjectIdentity& identity);

// Owners found missing, by all their coordinates; the least recently used give way.
class AbsentOwners {
 public:
  explicit AbsentOwners(size_t most) : most_(most) {}
  void add(const std::string& coordinates);
  // A hit makes it the most recently used.
  bool contains(const std::string& coordinates);

 private:
  size_t most_;
  std::list<std::string> byUse_;  // the latest first
  std::map<std::string, std::list<std::string>::iterator> known_;
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
// Whether a dependent of the node is itself waiting for its dependents to go.
bool anyDeletesDependents(const OwnerGraph& graph, const GraphNode& node);
// Owners that the node names in its own namespace and that are known to be in another.
std::vector<ObjectIdentity> foreignOwners(const OwnerGraph& graph, const GraphNode& node);
// The strategic merge patch after which the object holds back none of its owners; "" when it holds back none.
std::string unblockingPatch(const metav1::ObjectMeta& metadata);

}  // namespace knarr::controllers
