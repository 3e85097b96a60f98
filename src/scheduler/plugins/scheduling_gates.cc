// SchedulingGates: a pod with gates does not enter the queue. Source: plugins/schedulinggates/scheduling_gates.go.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

class SchedulingGates : public Plugin, public PreEnqueuePlugin {
 public:
  std::string_view name() const override { return "SchedulingGates"; }
  EventsToRegister eventsToRegister() const override { return {.pod = kUpdatePodSchedulingGatesEliminated}; }
  bool isSchedulableAfter(const corev1::Pod& pod, const ClusterEvent& event) const override {
    return event.pod && event.pod->metadata.uid == pod.metadata.uid;
  }
  std::optional<std::string> preEnqueue(const corev1::Pod& pod) const override {
    if (pod.spec.schedulingGates.empty()) return std::nullopt;
    std::vector<std::string_view> gates;
    for (const auto& gate : pod.spec.schedulingGates) gates.push_back(gate.name);
    return fmt::format("waiting for scheduling gates: [{}]", fmt::join(gates, " "));
  }
};

}  // namespace

std::unique_ptr<Plugin> makeSchedulingGates() { return std::make_unique<SchedulingGates>(); }

}  // namespace knarr::scheduler
