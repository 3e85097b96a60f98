// What an update means to the queue, and whom it may help.
#include <algorithm>

#include "scheduler/framework.h"

namespace knarr::scheduler {
namespace {

// Source: scheduler.go, buildQueueingHintMap: who waits for new nodes also hears of changed taints, because a new node first
// shows up with taints.
bool isAskedBy(const Plugin& plugin, const ClusterEvent& event, bool& always) {
  EventsToRegister events = plugin.eventsToRegister();
  uint32_t wanted = event.resource == EventResource::kNode ? events.node : events.pod;
  always = event.resource == EventResource::kNode && event.action == kUpdateNodeTaint && (wanted & kAdd) &&
           !(wanted & kUpdateNodeTaint);
  return always || (wanted & event.action);
}

bool lowersRequests(const corev1::Pod& before, const corev1::Pod& after) {
  Resources was = podRequests(before), is = podRequests(after);
  if (is.cpuMilli < was.cpuMilli || is.memoryBytes < was.memoryBytes || is.ephemeralBytes < was.ephemeralBytes) return true;
  return std::any_of(was.extended.begin(), was.extended.end(), [&](const auto& one) {
    auto found = is.extended.find(one.first);
    return found == is.extended.end() || found->second < one.second;
  });
}

bool sameConditions(const corev1::Node& a, const corev1::Node& b) {
  auto statusOf = [](const corev1::Node& node, schema::Str type) {
    for (const auto& one : node.status.conditions)
      if (one.type == type) return one.status;
    return schema::Str();
  };
  return a.status.conditions.size() == b.status.conditions.size() &&
         std::all_of(a.status.conditions.begin(), a.status.conditions.end(),
                     [&](const auto& one) { return statusOf(b, one.type) == one.status; });
}

template <class List>
bool sameList(const List& a, const List& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) { return schema::equal(x, y); });
}

bool sameMap(const schema::StringMap& a, const schema::StringMap& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.begin(), a.end(), [&](const auto& one) {
    const schema::Str* other = b.find(one.key);
    return other && *other == one.value;
  });
}

}  // namespace

std::vector<ActionType> podUpdateActions(const corev1::Pod& before, const corev1::Pod& after) {
  std::vector<ActionType> out;
  if (!sameMap(before.metadata.labels, after.metadata.labels)) out.push_back(kUpdatePodLabel);
  if (lowersRequests(before, after)) out.push_back(kUpdatePodScaleDown);
  if (!before.spec.schedulingGates.empty() && after.spec.schedulingGates.empty())
    out.push_back(kUpdatePodSchedulingGatesEliminated);
  if (before.spec.tolerations.size() != after.spec.tolerations.size()) out.push_back(kUpdatePodToleration);
  return out;
}

std::vector<ActionType> nodeUpdateActions(const corev1::Node& before, const corev1::Node& after) {
  std::vector<ActionType> out;
  Resources was = resourcesOf(before.status.allocatable), is = resourcesOf(after.status.allocatable);
  if (was != is || allowedPodsOf(before) != allowedPodsOf(after)) out.push_back(kUpdateNodeAllocatable);
  if (!sameMap(before.metadata.labels, after.metadata.labels)) out.push_back(kUpdateNodeLabel);
  bool uncordoned = before.spec.unschedulable && !after.spec.unschedulable;
  if (uncordoned || !sameList(before.spec.taints, after.spec.taints)) out.push_back(kUpdateNodeTaint);
  if (!sameConditions(before, after)) out.push_back(kUpdateNodeCondition);
  if (!sameMap(before.metadata.annotations, after.metadata.annotations)) out.push_back(kUpdateNodeAnnotation);
  return out;
}

bool Framework::isInteresting(const ClusterEvent& event) const {
  bool always = false;
  return std::any_of(plugins_.begin(), plugins_.end(), [&](const auto& one) { return isAskedBy(*one.plugin, event, always); });
}

bool Framework::isWorthRequeuing(const corev1::Pod& pod, PluginSet rejectedBy, const ClusterEvent& event) const {
  for (const auto& [plugin, weight] : plugins_) {
    if (!(rejectedBy >> plugin->slot & 1)) continue;
    bool always = false;
    if (isAskedBy(*plugin, event, always) && (always || plugin->isSchedulableAfter(pod, event))) return true;
  }
  return false;
}

}  // namespace knarr::scheduler
