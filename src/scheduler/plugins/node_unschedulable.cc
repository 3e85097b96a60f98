// NodeUnschedulable: cordoned nodes are for pods that tolerate it. Source: plugins/nodeunschedulable/node_unschedulable.go.
#include "scheduler/plugins/plugins.h"
#include "scheduler/plugins/tolerations.h"

namespace knarr::scheduler {
namespace {

bool toleratesCordon(const corev1::Pod& pod) {
  corev1::Taint taint{};
  taint.key = "node.kubernetes.io/unschedulable";
  taint.effect = "NoSchedule";
  return toleratesTaint(pod, taint);
}

class NodeUnschedulable : public Plugin, public FilterPlugin {
 public:
  std::string_view name() const override { return "NodeUnschedulable"; }
  EventsToRegister eventsToRegister() const override { return {.node = kAdd | kUpdateNodeTaint, .pod = kUpdatePodToleration}; }
  bool isSchedulableAfter(const corev1::Pod& pod, const ClusterEvent& event) const override {
    if (event.resource != EventResource::kNode)
      return event.pod && event.pod->metadata.uid == pod.metadata.uid && toleratesCordon(*event.pod);
    return event.node && !event.node->spec.unschedulable && (!event.nodeBefore || event.nodeBefore->spec.unschedulable);
  }
  Code filter(const CycleState&, const corev1::Pod& pod, const NodeInfo& info, Reasons& reasons) const override {
    if (!info.node->spec.unschedulable || toleratesCordon(pod)) return Code::kSuccess;
    reasons.push_back("node(s) were unschedulable");
    return Code::kUnschedulableAndUnresolvable;
  }
};

}  // namespace

std::unique_ptr<Plugin> makeNodeUnschedulable() { return std::make_unique<NodeUnschedulable>(); }

}  // namespace knarr::scheduler
