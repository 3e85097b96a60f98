#include "controllers/garbagecollector/graph.h"

#include <fmt/format.h>

namespace knarr::controllers {

std::string coordinatesOf(const ObjectIdentity& identity) {
  return fmt::format("[{}/{}, namespace: {}, name: {}, uid: {}]", identity.apiVersion, identity.kind, identity.nameSpace,
                     identity.name, identity.uid);
}

void AbsentOwners::add(const std::string& coordinates) {
  if (contains(coordinates)) return;
  if (known_.size() >= most_) {
    known_.erase(byUse_.back());
    byUse_.pop_back();
  }
  byUse_.push_front(coordinates);
  known_.emplace(coordinates, byUse_.begin());
}

bool AbsentOwners::contains(const std::string& coordinates) {
  auto found = known_.find(coordinates);
  if (found == known_.end()) return false;
  byUse_.splice(byUse_.begin(), byUse_, found->second);
  return true;
}

bool GraphNode::hasFinalizer(std::string_view finalizer) const {
  if (!object) return false;
  for (schema::Str one : schema::metadataOf(object).finalizers)
    if (one == finalizer) return true;
  return false;
}

const GraphNode* OwnerGraph::find(const std::string& uid) const {
  auto found = nodes_.find(uid);
  return found == nodes_.end() ? nullptr : &found->second;
}

void OwnerGraph::link(GraphNode& node) {
  for (const metav1::OwnerReference& owner : node.owners) {
    auto [at, fresh] = nodes_.try_emplace(std::string(owner.uid));
    if (fresh) {
      ObjectIdentity& identity = at->second.identity;
      identity.apiVersion = owner.apiVersion;
      identity.kind = owner.kind;
      identity.name = owner.name;
      identity.uid = owner.uid;
      size_t slash = identity.apiVersion.find('/');
      std::string_view version = identity.apiVersion;
      identity.resource = slash == std::string::npos
                              ? schema::findResourceOfKind("", version, identity.kind)
                              : schema::findResourceOfKind(version.substr(0, slash), version.substr(slash + 1), identity.kind);
      // A namespaced owner stands in the namespace of what it owns.
      if (identity.resource && identity.resource->namespaced) identity.nameSpace = node.identity.nameSpace;
    }
    at->second.dependents.insert(node.identity.uid);
  }
}

void OwnerGraph::unlink(const GraphNode& node) {
  for (const metav1::OwnerReference& owner : node.owners) {
    auto at = nodes_.find(std::string(owner.uid));
    if (at == nodes_.end()) continue;
    at->second.dependents.erase(node.identity.uid);
    if (at->second.isVirtual() && at->second.dependents.empty()) nodes_.erase(at);
  }
}

OwnerGraph::Affected OwnerGraph::upsert(const client::ResourceInfo& resource, const Ref<>& object) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  std::string uid(metadata.uid);
  GraphNode& node = nodes_[uid];
  bool wasDeleting = node.beingDeleted(), wasForeground = node.deletingDependents();
  Affected affected;
  if (node.object) {
    // Owners that lost this dependent may be waiting for just that.
    for (const metav1::OwnerReference& owner : node.owners) affected.emplace_back(owner.uid);
    unlink(node);
  }
  node.object = object;
  node.identity = {
      &resource,
      resource.group.empty() ? std::string(resource.version) : fmt::format("{}/{}", resource.group, resource.version),
      std::string(resource.kind),
      std::string(metadata.namespace_),
      std::string(metadata.name),
      uid};
  node.owners.assign(metadata.ownerReferences.begin(), metadata.ownerReferences.end());
  link(node);
  if (!node.owners.empty()) affected.push_back(uid);
  bool foreground = node.deletingDependents();
  if (node.beingDeleted() && (!wasDeleting || foreground != wasForeground)) {
    affected.push_back(uid);
    if (foreground) affected.insert(affected.end(), node.dependents.begin(), node.dependents.end());
  }
  return affected;
}

OwnerGraph::Affected OwnerGraph::remove(const std::string& uid) {
  Affected affected;
  auto at = nodes_.find(uid);
  if (at == nodes_.end()) return affected;
  affected.assign(at->second.dependents.begin(), at->second.dependents.end());
  for (const metav1::OwnerReference& owner : at->second.owners) affected.emplace_back(owner.uid);
  unlink(at->second);
  if (at->second.dependents.empty())
    nodes_.erase(at);
  else {
    at->second.object = nullptr;  // its dependents still name it
    at->second.owners.clear();
  }
  return affected;
}

std::vector<std::string> blockingDependents(const OwnerGraph& graph, const GraphNode& owner) {
  std::vector<std::string> blocking;
  for (const std::string& uid : owner.dependents) {
    const GraphNode* dependent = graph.find(uid);
    if (!dependent) continue;
    for (const metav1::OwnerReference& reference : dependent->owners)
      if (reference.uid == owner.identity.uid && reference.blockOwnerDeletion && *reference.blockOwnerDeletion)
        blocking.push_back(uid);
  }
  return blocking;
}

bool anyDeletesDependents(const OwnerGraph& graph, const GraphNode& node) {
  for (const std::string& uid : node.dependents)
    if (const GraphNode* dependent = graph.find(uid); dependent && dependent->deletingDependents()) return true;
  return false;
}

std::vector<ObjectIdentity> foreignOwners(const OwnerGraph& graph, const GraphNode& node) {
  std::vector<ObjectIdentity> foreign;
  for (const metav1::OwnerReference& reference : node.owners) {
    const GraphNode* owner = graph.find(std::string(reference.uid));
    if (!owner || owner->isVirtual() || owner->identity.nameSpace.empty() || owner->identity.nameSpace == node.identity.nameSpace)
      continue;
    foreign.push_back({nullptr, std::string(reference.apiVersion), std::string(reference.kind), node.identity.nameSpace,
                       std::string(reference.name), std::string(reference.uid)});
  }
  return foreign;
}

std::string unblockingPatch(const metav1::ObjectMeta& metadata) {
  std::string references;
  for (const metav1::OwnerReference& owner : metadata.ownerReferences)
    if (owner.blockOwnerDeletion && *owner.blockOwnerDeletion)
      references += fmt::format(R"({}{{"uid":"{}","blockOwnerDeletion":false}})", references.empty() ? "" : ",", owner.uid);
  if (references.empty()) return "";
  return fmt::format(R"({{"metadata":{{"ownerReferences":[{}],"uid":"{}"}}}})", references, metadata.uid);
}

}  // namespace knarr::controllers
