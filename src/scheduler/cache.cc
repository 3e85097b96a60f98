#include "scheduler/cache.h"

namespace knarr::scheduler {

int64_t Cache::nodesWithImage(const std::string& image) const {
  auto found = imageNodes_.find(image);
  return found == imageNodes_.end() ? 0 : found->second;
}

const Ref<corev1::Pod>* Cache::findPod(const std::string& uid) const {
  auto placed = placed_.find(uid);
  if (placed == placed_.end()) return nullptr;
  auto node = nodes_.find(placed->second);
  if (node == nodes_.end()) return nullptr;
  auto pod = node->second.pods.find(uid);
  return pod == node->second.pods.end() ? nullptr : &pod->second;
}

void Cache::countImages(const corev1::Node& node, int64_t sign) {
  for (const auto& image : node.status.images)
    for (schema::Str name : image.names) {
      auto [at, fresh] = imageNodes_.try_emplace(std::string(name), 0);
      at->second += sign;
      if (at->second == 0) imageNodes_.erase(at);
    }
}

void Cache::setNode(Ref<corev1::Node> node) {
  NodeInfo& info = nodes_[std::string(node->metadata.name)];
  if (info.node)
    countImages(*info.node, -1);
  else
    ++nodeCount_;
  countImages(*node, 1);
  info.setNode(std::move(node));
}

void Cache::removeNode(const std::string& name) {
  auto found = nodes_.find(name);
  if (found == nodes_.end() || !found->second.node) return;
  countImages(*found->second.node, -1);
  --nodeCount_;
  found->second.setNode(nullptr);
  if (found->second.pods.empty()) nodes_.erase(found);
}

void Cache::addPod(const Ref<corev1::Pod>& pod, const std::string& node) {
  std::string uid(pod->metadata.uid);
  auto [at, fresh] = placed_.try_emplace(uid, node);
  if (!fresh && at->second != node) {
    giveUpRoom(uid, at->second);
    at->second = node;
  }
  nodes_[node].addPod(pod);
}

bool Cache::removePod(const std::string& uid) {
  auto found = placed_.find(uid);
  if (found == placed_.end()) return false;
  giveUpRoom(uid, found->second);
  placed_.erase(found);
  return true;
}

void Cache::giveUpRoom(const std::string& uid, const std::string& node) {
  auto found = nodes_.find(node);
  if (found == nodes_.end()) return;
  found->second.removePod(uid);
  if (!found->second.node && found->second.pods.empty()) nodes_.erase(found);
}

}  // namespace knarr::scheduler
