// The scheduler's picture of the cluster: every node with its pods, pods under way included, and which images are where.
//
// Upstream counterpart: pkg/scheduler/backend/cache. One loop owns it; a decision reads it without a copy.
#pragma once

#include <map>
#include <string>

#include "scheduler/node_info.h"

namespace knarr::scheduler {

// By name. An entry without a node object stands for pods whose node is gone or not yet seen.
using Nodes = std::map<std::string, NodeInfo, std::less<>>;

class Cache {
 public:
  const Nodes& nodes() const { return nodes_; }
  // How many nodes have an object.
  size_t nodeCount() const { return nodeCount_; }
  // On how many nodes an image is. The name carries its tag.
  int64_t nodesWithImage(const std::string& image) const;

  // The pod as it takes room, with its node's name; null when it takes none. Valid until the next change.
  const Ref<corev1::Pod>* findPod(const std::string& uid) const;

  void setNode(Ref<corev1::Node> node);
  void removeNode(const std::string& name);
  // The one place a pod takes room in; a former one is given up.
  void addPod(const Ref<corev1::Pod>& pod, const std::string& node);
  // Whether it took any room.
  bool removePod(const std::string& uid);

 private:
  void giveUpRoom(const std::string& uid, const std::string& node);
  void countImages(const corev1::Node& node, int64_t sign);

  Nodes nodes_;
  size_t nodeCount_ = 0;
  std::map<std::string, int64_t> imageNodes_;
  std::map<std::string, std::string> placed_;  // uid to the node whose room the pod takes
};

}  // namespace knarr::scheduler
