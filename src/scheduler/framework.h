// The framework: filters say where a pod can run, scores say where it runs best. Plain functions over the cache.
//
// Source: pkg/scheduler/framework/plugins, pkg/scheduler/schedule_one.go; order and weights of facts about the default
// profile.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "scheduler/node_info.h"

namespace knarr::scheduler {

using Nodes = std::map<std::string, NodeInfo>;

// Why a pod cannot run on a node; no reasons means that it can.
struct FilterResult {
  std::vector<std::string> reasons;
  bool unresolvable = false;  // taking other pods away would not help
};
FilterResult filterNode(const corev1::Pod& pod, const NodeInfo& node);
// What a node scores by itself (resources): 0 to 100 a plugin, times its weight.
int64_t scoreNode(const corev1::Pod& pod, const NodeInfo& node);

struct Decision {
  std::string node;     // "" when no node fits
  std::string message;  // then: "0/3 nodes are available: 3 Insufficient cpu."
};
// The best node. `tieBreak` chooses among equals: it gets how many there are and answers with an index.
Decision schedulePod(const corev1::Pod& pod, const Nodes& nodes, const std::function<size_t(size_t)>& tieBreak);

// Required node affinity and nodeSelector. Source: component-helpers/scheduling/corev1/nodeaffinity.
bool matchesNodeAffinity(const corev1::Pod& pod, const corev1::Node& node);

}  // namespace knarr::scheduler
