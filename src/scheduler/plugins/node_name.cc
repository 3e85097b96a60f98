// NodeName: a pod that names its node runs there or nowhere. Source: plugins/nodename/node_name.go.
#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

class NodeName : public Plugin, public FilterPlugin {
 public:
  std::string_view name() const override { return "NodeName"; }
  EventsToRegister eventsToRegister() const override { return {.node = kAdd}; }
  Code filter(const CycleState&, const corev1::Pod& pod, const NodeInfo& info, Reasons& reasons) const override {
    if (pod.spec.nodeName.empty() || pod.spec.nodeName == info.node->metadata.name) return Code::kSuccess;
    reasons.push_back("node(s) didn't match the requested node name");
    return Code::kUnschedulableAndUnresolvable;
  }
};

}  // namespace

std::unique_ptr<Plugin> makeNodeName() { return std::make_unique<NodeName>(); }

}  // namespace knarr::scheduler
