// NodeAffinity: nodeSelector and node affinity, required and preferred.
// Source: plugins/nodeaffinity/node_affinity.go, component-helpers/scheduling/corev1/nodeaffinity.
#include <algorithm>

#include "base/strings.h"
#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

bool matchesRequirement(const corev1::NodeSelectorRequirement& requirement, const schema::Str* value) {
  auto listed = [&] {
    return std::find(requirement.values.begin(), requirement.values.end(), *value) != requirement.values.end();
  };
  if (requirement.operator_ == "In") return value && listed();
  if (requirement.operator_ == "NotIn") return !value || !listed();
  if (requirement.operator_ == "Exists") return value != nullptr;
  if (requirement.operator_ == "DoesNotExist") return value == nullptr;
  if (requirement.values.size() != 1 || !value) return false;
  auto have = parseInt(*value), bound = parseInt(requirement.values[0]);
  if (!have || !bound) return false;
  return requirement.operator_ == "Gt" ? *have > *bound : requirement.operator_ == "Lt" && *have < *bound;
}

// An empty term matches nothing.
bool matchesTerm(const corev1::NodeSelectorTerm& term, const corev1::Node& node) {
  if (term.matchExpressions.empty() && term.matchFields.empty()) return false;
  for (const auto& requirement : term.matchExpressions)
    if (!matchesRequirement(requirement, node.metadata.labels.find(requirement.key))) return false;
  for (const auto& requirement : term.matchFields)
    if (requirement.key != "metadata.name" || !matchesRequirement(requirement, &node.metadata.name)) return false;
  return true;
}

const corev1::NodeSelector* requiredOf(const corev1::Pod& pod) {
  if (!pod.spec.affinity || !pod.spec.affinity->nodeAffinity) return nullptr;
  return pod.spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution;
}

bool matches(const corev1::Pod& pod, const corev1::Node& node) {
  for (const auto& [key, value] : pod.spec.nodeSelector)
    if (const schema::Str* have = node.metadata.labels.find(key); !have || *have != value) return false;
  const corev1::NodeSelector* required = requiredOf(pod);
  return !required || std::any_of(required->nodeSelectorTerms.begin(), required->nodeSelectorTerms.end(),
                                  [&](const auto& term) { return matchesTerm(term, node); });
}

// The names a term allows; nothing: it does not say.
std::optional<std::set<std::string>> namesOf(const corev1::NodeSelectorTerm& term) {
  std::optional<std::set<std::string>> out;
  for (const auto& requirement : term.matchFields) {
    if (requirement.key != "metadata.name" || requirement.operator_ != "In") continue;
    std::set<std::string> names;
    for (schema::Str value : requirement.values)
      if (!out || out->contains(std::string(value))) names.emplace(value);
    out = std::move(names);
  }
  return out;
}

class NodeAffinity : public Plugin, public PreFilterPlugin, public FilterPlugin, public PreScorePlugin, public ScorePlugin {
 public:
  std::string_view name() const override { return "NodeAffinity"; }
  EventsToRegister eventsToRegister() const override { return {.node = kAdd | kUpdateNodeLabel}; }
  bool isSchedulableAfter(const corev1::Pod& pod, const ClusterEvent& event) const override {
    return event.node && matches(pod, *event.node) && (!event.nodeBefore || !matches(pod, *event.nodeBefore));
  }
  PreFilterResult preFilter(CycleState&, const corev1::Pod& pod) const override {
    const corev1::NodeSelector* required = requiredOf(pod);
    PreFilterResult result;
    if (!required && pod.spec.nodeSelector.empty()) result.code = Code::kSkip;
    if (!required || required->nodeSelectorTerms.empty()) return result;
    std::set<std::string> all;
    for (const auto& term : required->nodeSelectorTerms) {
      auto names = namesOf(term);
      if (!names) return result;
      all.merge(*names);
    }
    if (all.empty()) return {Code::kUnschedulableAndUnresolvable, "pod affinity terms conflict", std::nullopt};
    result.nodeNames = std::move(all);
    return result;
  }
  Code filter(const CycleState&, const corev1::Pod& pod, const NodeInfo& info, Reasons& reasons) const override {
    if (matches(pod, *info.node)) return Code::kSuccess;
    reasons.push_back("node(s) didn't match Pod's node affinity/selector");
    return Code::kUnschedulableAndUnresolvable;
  }
  Code preScore(CycleState&, const corev1::Pod& pod, const Cache&) const override {
    bool prefers = pod.spec.affinity && pod.spec.affinity->nodeAffinity &&
                   !pod.spec.affinity->nodeAffinity->preferredDuringSchedulingIgnoredDuringExecution.empty();
    return prefers ? Code::kSuccess : Code::kSkip;
  }
  int64_t score(const CycleState&, const corev1::Pod& pod, const NodeInfo& info) const override {
    int64_t sum = 0;
    for (const auto& term : pod.spec.affinity->nodeAffinity->preferredDuringSchedulingIgnoredDuringExecution)
      if (matchesTerm(term.preference, *info.node)) sum += term.weight;
    return sum;
  }
  void normalizeScore(std::span<int64_t> scores) const override { defaultNormalizeScore(scores, false); }
};

}  // namespace

std::unique_ptr<Plugin> makeNodeAffinity() { return std::make_unique<NodeAffinity>(); }

}  // namespace knarr::scheduler
