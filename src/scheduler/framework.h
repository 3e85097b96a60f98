// The framework: runs the plugins of a profile in their order, and makes one decision of their verdicts.
//
// Upstream counterpart: pkg/scheduler/framework/runtime, pkg/scheduler/schedule_one.go (findNodesThatFitPod, prioritizeNodes).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/interface.h"

namespace knarr::scheduler {

// A plugin of a profile; weight counts where it scores.
struct ProfilePlugin {
  std::unique_ptr<Plugin> plugin;
  int64_t weight = 1;
};

// Plugins by their slots.
using PluginSet = uint64_t;

struct Decision {
  std::string node;          // "" when no node fits
  std::string message;       // then: "0/3 nodes are available: 3 Insufficient cpu."
  PluginSet rejectedBy = 0;  // then: who refused some node; none when there are no nodes
};

// What the filters say about one node. No reasons: it fits.
struct FilterVerdict {
  Code code = Code::kSuccess;
  const Plugin* plugin = nullptr;  // the one that refused
};

class Framework {
 public:
  // At most 64 plugins, exactly one of which sorts the queue. Their order is the order in which each point runs.
  explicit Framework(std::vector<ProfilePlugin> plugins);

  // The message of the plugin that keeps the pod out of the queue.
  std::optional<std::string> preEnqueue(const corev1::Pod& pod) const;
  const QueueSortPlugin& queueSort() const { return *queueSort_; }
  // The best node. `tieBreak` chooses among equals: it gets how many there are and answers with an index.
  // Of many nodes only a part is looked at; the next search goes on after the last node of this one.
  Decision schedulePod(const corev1::Pod& pod, const Cache& cache, const std::function<size_t(size_t)>& tieBreak);
  // Reserve plugins in order; a message when one refuses, after all have given back.
  std::optional<std::string> reserve(const corev1::Pod& pod, const std::string& node);
  void unreserve(const corev1::Pod& pod, const std::string& node);
  async::Task<Result<void>> bind(client::Client* client, schema::Ref<corev1::Pod> pod, std::string node) const;

  // Whether a plugin of the profile wants to know of such an event.
  bool isInteresting(const ClusterEvent& event) const;
  // Whether one of the plugins that refused `pod` says that the event may help it.
  bool isWorthRequeuing(const corev1::Pod& pod, PluginSet rejectedBy, const ClusterEvent& event) const;

  // The filters of one node, without the points before; for tests and for who asks "why not".
  FilterVerdict filterNode(const corev1::Pod& pod, const NodeInfo& node, std::vector<std::string>& reasons) const;

 private:
  template <class Point>
  struct At {
    const Plugin* plugin;
    Point* point;
    int64_t weight;
  };
  struct Search;
  bool preFilter(CycleState& state, const corev1::Pod& pod, Search& search) const;
  FilterVerdict filter(const CycleState& state, const corev1::Pod& pod, const NodeInfo& node, PluginSet skip,
                       Reasons& reasons) const;
  void findNodes(const CycleState& state, const corev1::Pod& pod, const Cache& cache, Search& search);
  std::vector<int64_t> score(CycleState& state, const corev1::Pod& pod, const Cache& cache, const Search& search) const;

  std::vector<ProfilePlugin> plugins_;
  std::vector<At<PreEnqueuePlugin>> preEnqueue_;
  QueueSortPlugin* queueSort_ = nullptr;
  std::vector<At<PreFilterPlugin>> preFilter_;
  std::vector<At<FilterPlugin>> filter_;
  std::vector<At<PreScorePlugin>> preScore_;
  std::vector<At<ScorePlugin>> score_;
  std::vector<At<ReservePlugin>> reserve_;
  std::vector<At<BindPlugin>> bind_;
  std::string searchAfter_;  // the last node the former search looked at
};

// How many feasible nodes end a search over `nodes` nodes. Source: schedule_one.go, numFeasibleNodesToFind.
size_t feasibleNodesToFind(size_t nodes);

// The events an update makes, one ActionType each. Source: framework/events.go, PodSchedulingPropertiesChange and
// NodeSchedulingPropertiesChange.
std::vector<ActionType> podUpdateActions(const corev1::Pod& before, const corev1::Pod& after);
std::vector<ActionType> nodeUpdateActions(const corev1::Node& before, const corev1::Node& after);

}  // namespace knarr::scheduler
