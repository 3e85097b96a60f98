// NodeResourcesBalancedAllocation: CPU and memory should fill alike. Source: plugins/noderesources/balanced_allocation.go.
#include <algorithm>
#include <cmath>

#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

struct Wanted : StateData {
  int64_t cpuMilli = 0, memoryBytes = 0;
};

// How alike the used shares of CPU and memory are, 0 to 100; 100 when the node has only one of them.
int64_t balance(int64_t cpuMilli, int64_t memoryBytes, const Resources& allocatable) {
  auto share = [](int64_t part, int64_t whole) { return std::min(1.0, static_cast<double>(part) / static_cast<double>(whole)); };
  if (allocatable.cpuMilli == 0 || allocatable.memoryBytes == 0) return kMaxNodeScore;
  double deviation = std::abs(share(cpuMilli, allocatable.cpuMilli) - share(memoryBytes, allocatable.memoryBytes)) / 2.0;
  return static_cast<int64_t>((1.0 - deviation) * kMaxNodeScore);
}

class NodeResourcesBalancedAllocation : public Plugin, public PreScorePlugin, public ScorePlugin {
 public:
  std::string_view name() const override { return "NodeResourcesBalancedAllocation"; }
  // A pod that asks for nothing makes no node more or less balanced.
  Code preScore(CycleState& state, const corev1::Pod& pod, const Cache&) const override {
    Resources requests = podRequests(pod);
    if (requests.cpuMilli == 0 && requests.memoryBytes == 0) return Code::kSkip;
    auto& wanted = state.write<Wanted>(slot);
    wanted.cpuMilli = requests.cpuMilli;
    wanted.memoryBytes = requests.memoryBytes;
    return Code::kSuccess;
  }
  int64_t score(const CycleState& state, const corev1::Pod&, const NodeInfo& node) const override {
    const Wanted& wanted = *state.read<Wanted>(slot);
    const Resources& used = node.requested;
    int64_t with = balance(used.cpuMilli + wanted.cpuMilli, used.memoryBytes + wanted.memoryBytes, node.allocatable);
    return kMaxNodeScore / 2 + (kMaxNodeScore / 2 + with - balance(used.cpuMilli, used.memoryBytes, node.allocatable)) / 2;
  }
};

}  // namespace

std::unique_ptr<Plugin> makeNodeResourcesBalancedAllocation() { return std::make_unique<NodeResourcesBalancedAllocation>(); }

}  // namespace knarr::scheduler
