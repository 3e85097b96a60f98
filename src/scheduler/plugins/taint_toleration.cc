// TaintToleration: taints keep pods away that do not tolerate them. Source: plugins/tainttoleration/taint_toleration.go.
#include "scheduler/plugins/plugins.h"
#include "scheduler/plugins/tolerations.h"

namespace knarr::scheduler {
namespace {

bool isUntolerated(const corev1::Pod& pod, const corev1::Node& node) {
  return std::any_of(node.spec.taints.begin(), node.spec.taints.end(), [&](const corev1::Taint& taint) {
    return (taint.effect == "NoSchedule" || taint.effect == "NoExecute") && !toleratesTaint(pod, taint);
  });
}

class TaintToleration : public Plugin, public FilterPlugin, public ScorePlugin {
 public:
  std::string_view name() const override { return "TaintToleration"; }
  EventsToRegister eventsToRegister() const override { return {.node = kAdd | kUpdateNodeTaint, .pod = kUpdatePodToleration}; }
  bool isSchedulableAfter(const corev1::Pod& pod, const ClusterEvent& event) const override {
    if (event.resource != EventResource::kNode) return event.pod && event.pod->metadata.uid == pod.metadata.uid;
    return event.node && (!event.nodeBefore || isUntolerated(pod, *event.nodeBefore)) && !isUntolerated(pod, *event.node);
  }
  Code filter(const CycleState&, const corev1::Pod& pod, const NodeInfo& info, Reasons& reasons) const override {
    if (!isUntolerated(pod, *info.node)) return Code::kSuccess;
    reasons.push_back("node(s) had untolerated taint(s)");
    return Code::kUnschedulableAndUnresolvable;
  }
  // Taints that only discourage, as many as the pod has no toleration for.
  int64_t score(const CycleState&, const corev1::Pod& pod, const NodeInfo& info) const override {
    int64_t count = 0;
    for (const auto& taint : info.node->spec.taints) count += taint.effect == "PreferNoSchedule" && !toleratesTaint(pod, taint);
    return count;
  }
  void normalizeScore(std::span<int64_t> scores) const override { defaultNormalizeScore(scores, true); }
};

}  // namespace

std::unique_ptr<Plugin> makeTaintToleration() { return std::make_unique<TaintToleration>(); }

}  // namespace knarr::scheduler
