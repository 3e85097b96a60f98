// NodePorts: a host port of a node belongs to one pod. Source: plugins/nodeports/node_ports.go.
#include <algorithm>

#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

struct WantedPorts : StateData {
  std::vector<HostPort> ports;
};

bool anyConflict(const std::vector<HostPort>& wanted, const std::vector<HostPort>& used) {
  return std::any_of(wanted.begin(), wanted.end(), [&](const HostPort& port) {
    return std::any_of(used.begin(), used.end(), [&](const HostPort& other) { return conflicts(port, other); });
  });
}

class NodePorts : public Plugin, public PreFilterPlugin, public FilterPlugin {
 public:
  std::string_view name() const override { return "NodePorts"; }
  EventsToRegister eventsToRegister() const override { return {.node = kAdd, .pod = kDelete}; }
  bool isSchedulableAfter(const corev1::Pod& pod, const ClusterEvent& event) const override {
    if (event.resource == EventResource::kNode) return true;
    bool held =
        event.podBefore && (!event.podBefore->spec.nodeName.empty() || !event.podBefore->status.nominatedNodeName.empty());
    return held && anyConflict(hostPortsOf(pod), hostPortsOf(*event.podBefore));
  }
  PreFilterResult preFilter(CycleState& state, const corev1::Pod& pod) const override {
    std::vector<HostPort> ports = hostPortsOf(pod);
    if (ports.empty()) return {Code::kSkip, "", std::nullopt};
    state.write<WantedPorts>(slot).ports = std::move(ports);
    return {};
  }
  Code filter(const CycleState& state, const corev1::Pod&, const NodeInfo& info, Reasons& reasons) const override {
    if (!anyConflict(state.read<WantedPorts>(slot)->ports, info.usedPorts)) return Code::kSuccess;
    reasons.push_back("node(s) didn't have free ports for the requested pod ports");
    return Code::kUnschedulable;
  }
};

}  // namespace

std::unique_ptr<Plugin> makeNodePorts() { return std::make_unique<NodePorts>(); }

}  // namespace knarr::scheduler
