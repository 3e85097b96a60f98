// NodeResourcesFit: what a pod asks for must be free; the emptier node is better.
// Source: plugins/noderesources/fit.go, least_allocated.go.
#include <fmt/format.h>

#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

struct Requests : StateData {
  Resources wanted, nonZero;
  std::vector<std::string> extendedReasons;  // one for each of wanted.extended, in its order
};

// Whether the pod would fit if nothing else ran on the node.
bool fitsEmpty(const Resources& wanted, const Resources& allocatable, int64_t allowedPods) {
  if (allowedPods < 1 || wanted.cpuMilli > allocatable.cpuMilli || wanted.memoryBytes > allocatable.memoryBytes ||
      wanted.ephemeralBytes > allocatable.ephemeralBytes)
    return false;
  for (const auto& [name, amount] : wanted.extended)
    if (amount > allocatable.extendedOf(name)) return false;
  return true;
}

// Whether one of the resources that `wanted` has is more in `after` than in `before`.
bool grewForPod(const Resources& wanted, const Resources& before, const Resources& after) {
  if ((wanted.cpuMilli > 0 && after.cpuMilli > before.cpuMilli) ||
      (wanted.memoryBytes > 0 && after.memoryBytes > before.memoryBytes) ||
      (wanted.ephemeralBytes > 0 && after.ephemeralBytes > before.ephemeralBytes))
    return true;
  for (const auto& [name, amount] : wanted.extended)
    if (amount > 0 && after.extendedOf(name) > before.extendedOf(name)) return true;
  return false;
}

// Free share after placing the pod, averaged over CPU and memory; a resource that the node has not is left out.
int64_t leastAllocated(const Resources& wanted, const NodeInfo& node) {
  int64_t sum = 0, resources = 0;
  auto consider = [&](int64_t want, int64_t used, int64_t have) {
    if (have == 0) return;
    ++resources;
    if (used + want <= have) sum += (have - used - want) * kMaxNodeScore / have;
  };
  consider(wanted.cpuMilli, node.requestedNonZero.cpuMilli, node.allocatable.cpuMilli);
  consider(wanted.memoryBytes, node.requestedNonZero.memoryBytes, node.allocatable.memoryBytes);
  return resources == 0 ? 0 : sum / resources;
}

class NodeResourcesFit : public Plugin, public PreFilterPlugin, public FilterPlugin, public ScorePlugin {
 public:
  std::string_view name() const override { return "NodeResourcesFit"; }
  EventsToRegister eventsToRegister() const override {
    return {.node = kAdd | kUpdateNodeAllocatable, .pod = kDelete | kUpdatePodScaleDown};
  }
  bool isSchedulableAfter(const corev1::Pod& pod, const ClusterEvent& event) const override {
    if (event.resource == EventResource::kNode) return isSchedulableAfterNode(pod, event);
    if (event.action == kDelete)
      return event.podBefore && (!event.podBefore->spec.nodeName.empty() || !event.podBefore->status.nominatedNodeName.empty());
    if (!event.podBefore || !event.pod) return false;
    if (event.pod->metadata.uid == pod.metadata.uid) return true;
    // Another pod that runs takes less of something this one asks for.
    return !event.pod->spec.nodeName.empty() &&
           grewForPod(podRequests(pod), podRequests(*event.pod), podRequests(*event.podBefore));
  }

  PreFilterResult preFilter(CycleState& state, const corev1::Pod& pod) const override {
    auto& requests = state.write<Requests>(slot);
    requests.wanted = podRequests(pod);
    requests.nonZero = podRequestsNonZero(pod);
    for (const auto& [name, amount] : requests.wanted.extended)
      requests.extendedReasons.push_back(fmt::format("Insufficient {}", name));
    return {};
  }

  Code filter(const CycleState& state, const corev1::Pod&, const NodeInfo& node, Reasons& reasons) const override {
    const Requests& requests = *state.read<Requests>(slot);
    const Resources& wanted = requests.wanted;
    size_t before = reasons.size();
    if (static_cast<int64_t>(node.pods.size()) + 1 > node.allowedPods) reasons.push_back("Too many pods");
    bool unresolvable = false;
    auto check = [&](std::string_view reason, int64_t want, int64_t used, int64_t have) {
      if (want <= 0 || want <= have - used) return;
      reasons.push_back(reason);
      unresolvable = unresolvable || want > have;
    };
    check("Insufficient cpu", wanted.cpuMilli, node.requested.cpuMilli, node.allocatable.cpuMilli);
    check("Insufficient memory", wanted.memoryBytes, node.requested.memoryBytes, node.allocatable.memoryBytes);
    check("Insufficient ephemeral-storage", wanted.ephemeralBytes, node.requested.ephemeralBytes,
          node.allocatable.ephemeralBytes);
    size_t i = 0;
    for (const auto& [name, amount] : wanted.extended)
      check(requests.extendedReasons[i++], amount, node.requested.extendedOf(name), node.allocatable.extendedOf(name));
    if (reasons.size() == before) return Code::kSuccess;
    return unresolvable ? Code::kUnschedulableAndUnresolvable : Code::kUnschedulable;
  }

  int64_t score(const CycleState& state, const corev1::Pod&, const NodeInfo& node) const override {
    return leastAllocated(state.read<Requests>(slot)->nonZero, node);
  }

 private:
  static bool isSchedulableAfterNode(const corev1::Pod& pod, const ClusterEvent& event) {
    if (!event.node) return false;
    Resources wanted = podRequests(pod), after = resourcesOf(event.node->status.allocatable);
    if (!fitsEmpty(wanted, after, allowedPodsOf(*event.node))) return false;
    if (!event.nodeBefore || allowedPodsOf(*event.node) > allowedPodsOf(*event.nodeBefore)) return true;
    return grewForPod(wanted, resourcesOf(event.nodeBefore->status.allocatable), after);
  }
};

}  // namespace

std::unique_ptr<Plugin> makeNodeResourcesFit() { return std::make_unique<NodeResourcesFit>(); }

}  // namespace knarr::scheduler
