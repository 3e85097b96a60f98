#include "scheduler/framework.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "api/meta_v1.h"
#include "base/strings.h"

namespace knarr::scheduler {
namespace {

// Weights of the default profile. Source: pkg/scheduler/apis/config/v1/default_plugins.go.
constexpr int64_t kTaintTolerationWeight = 3, kNodeAffinityWeight = 2, kFitWeight = 1, kBalancedWeight = 1, kImageLocalityWeight = 1;
constexpr int64_t kMaxScore = 100;
// Source: plugins/imagelocality: images below 23 MiB score nothing, 1000 MiB and more score full.
constexpr int64_t kImageBytesMin = int64_t{23} << 20, kImageBytesMax = int64_t{1000} << 20;

bool tolerates(const corev1::Toleration& toleration, const corev1::Taint& taint) {
  if (!toleration.effect.empty() && toleration.effect != taint.effect) return false;
  if (!toleration.key.empty() && toleration.key != taint.key) return false;
  if (toleration.operator_ == "Exists") return true;
  if (toleration.key.empty()) return false;
  return (toleration.operator_.empty() || toleration.operator_ == "Equal") && toleration.value == taint.value;
}

bool toleratesTaint(const corev1::Pod& pod, const corev1::Taint& taint) {
  return std::any_of(pod.spec.tolerations.begin(), pod.spec.tolerations.end(), [&](const auto& t) { return tolerates(t, taint); });
}

bool matchesRequirement(const corev1::NodeSelectorRequirement& requirement, const schema::Str* value) {
  auto listed = [&] { return std::find(requirement.values.begin(), requirement.values.end(), *value) != requirement.values.end(); };
  if (requirement.operator_ == "In") return value && listed();
  if (requirement.operator_ == "NotIn") return !value || !listed();
  if (requirement.operator_ == "Exists") return value != nullptr;
  if (requirement.operator_ == "DoesNotExist") return value == nullptr;
  if (requirement.values.size() != 1 || !value) return false;
  auto have = parseInt(*value), bound = parseInt(requirement.values[0]);
  if (!have || !bound) return false;
  return requirement.operator_ == "Gt" ? *have > *bound : requirement.operator_ == "Lt" && *have < *bound;
}

bool matchesTerm(const corev1::NodeSelectorTerm& term, const corev1::Node& node) {
  if (term.matchExpressions.empty() && term.matchFields.empty()) return false;
  for (const auto& requirement : term.matchExpressions)
    if (!matchesRequirement(requirement, node.metadata.labels.find(requirement.key))) return false;
  for (const auto& requirement : term.matchFields)
    if (requirement.key != "metadata.name" || !matchesRequirement(requirement, &node.metadata.name)) return false;
  return true;
}

void filterResources(const corev1::Pod& pod, const NodeInfo& node, FilterResult& result) {
  if (static_cast<int64_t>(node.pods.size()) + 1 > node.allowedPods) result.reasons.emplace_back("Too many pods");
  Resources wanted = podRequests(pod);
  auto check = [&](std::string_view name, int64_t want, int64_t used, int64_t have) {
    if (want > 0 && want > have - used) {
      result.reasons.push_back(fmt::format("Insufficient {}", name));
      if (want > have) result.unresolvable = true;
    }
  };
  check("cpu", wanted.cpuMilli, node.requested.cpuMilli, node.allocatable.cpuMilli);
  check("memory", wanted.memoryBytes, node.requested.memoryBytes, node.allocatable.memoryBytes);
  check("ephemeral-storage", wanted.ephemeralBytes, node.requested.ephemeralBytes, node.allocatable.ephemeralBytes);
  for (const auto& [name, amount] : wanted.extended) {
    auto used = node.requested.extended.find(name);
    auto have = node.allocatable.extended.find(name);
    check(name, amount, used == node.requested.extended.end() ? 0 : used->second, have == node.allocatable.extended.end() ? 0 : have->second);
  }
}

FilterResult unresolvable(std::string reason) { return {{std::move(reason)}, true}; }

// Free share after placing the pod, averaged over CPU and memory; a resource that the node has not is left out.
// Source: noderesources/least_allocated.go.
int64_t leastAllocated(const Resources& wanted, const NodeInfo& node) {
  int64_t sum = 0, resources = 0;
  auto consider = [&](int64_t want, int64_t used, int64_t have) {
    if (have == 0) return;
    ++resources;
    if (used + want <= have) sum += (have - used - want) * kMaxScore / have;
  };
  consider(wanted.cpuMilli, node.requestedNonZero.cpuMilli, node.allocatable.cpuMilli);
  consider(wanted.memoryBytes, node.requestedNonZero.memoryBytes, node.allocatable.memoryBytes);
  return resources == 0 ? 0 : sum / resources;
}

// How alike the used shares of CPU and memory are, 0 to 100.
int64_t balance(const Resources& used, const Resources& allocatable) {
  auto share = [](int64_t part, int64_t whole) { return std::min(1.0, static_cast<double>(part) / static_cast<double>(whole)); };
  if (allocatable.cpuMilli == 0 || allocatable.memoryBytes == 0) return kMaxScore;
  double apart = std::abs(share(used.cpuMilli, allocatable.cpuMilli) - share(used.memoryBytes, allocatable.memoryBytes)) / 2.0;
  return static_cast<int64_t>((1.0 - apart) * kMaxScore);
}

// Whether the pod makes a node's shares more alike or less; a pod that asks for nothing does neither.
// Source: noderesources/balanced_allocation.go.
int64_t balancedAllocation(const Resources& wanted, const NodeInfo& node) {
  if (wanted.cpuMilli == 0 && wanted.memoryBytes == 0) return 0;
  Resources after = node.requested;
  after.add(wanted);
  return kMaxScore / 2 + (kMaxScore / 2 + balance(after, node.allocatable) - balance(node.requested, node.allocatable)) / 2;
}

// "web" means "web:latest".
std::string normalizedImage(schema::Str name) {
  size_t slash = name.rfind('/'), colon = name.rfind(':');
  bool tagged = colon != schema::Str::npos && (slash == schema::Str::npos || colon > slash);
  return std::string(name) + (tagged ? "" : ":latest");
}

// The images of the pod, each as often as it is used.
std::vector<std::string> imagesOf(const corev1::Pod& pod) {
  std::vector<std::string> out;
  for (const auto* containers : {&pod.spec.initContainers, &pod.spec.containers})
    for (const auto& container : *containers) out.push_back(normalizedImage(container.image));
  return out;
}

int64_t imageBytes(const NodeInfo& node, const std::string& image) {
  for (const auto& have : node.node->status.images)
    if (std::find(have.names.begin(), have.names.end(), image) != have.names.end()) return have.sizeBytes;
  return 0;
}

// An image counts the more, the more nodes have it, so that a single node does not draw all pods. `spread` is the share of nodes that
// have each of `images`. Source: plugins/imagelocality.
int64_t imageLocality(const std::vector<std::string>& images, const std::vector<double>& spread, const NodeInfo& node) {
  if (images.empty()) return 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < images.size(); ++i) bytes += static_cast<int64_t>(static_cast<double>(imageBytes(node, images[i])) * spread[i]);
  int64_t most = kImageBytesMax * static_cast<int64_t>(images.size());
  bytes = std::clamp(bytes, kImageBytesMin, most);
  return kMaxScore * (bytes - kImageBytesMin) / (most - kImageBytesMin);
}

int64_t preferredAffinityWeight(const corev1::Pod& pod, const corev1::Node& node) {
  if (!pod.spec.affinity || !pod.spec.affinity->nodeAffinity) return 0;
  int64_t sum = 0;
  for (const auto& term : pod.spec.affinity->nodeAffinity->preferredDuringSchedulingIgnoredDuringExecution)
    if (matchesTerm(term.preference, node)) sum += term.weight;
  return sum;
}

int64_t intolerablePreferences(const corev1::Pod& pod, const corev1::Node& node) {
  int64_t count = 0;
  for (const auto& taint : node.spec.taints)
    if (taint.effect == "PreferNoSchedule" && !toleratesTaint(pod, taint)) ++count;
  return count;
}

}  // namespace

bool matchesNodeAffinity(const corev1::Pod& pod, const corev1::Node& node) {
  for (const auto& [key, value] : pod.spec.nodeSelector)
    if (const schema::Str* have = node.metadata.labels.find(key); !have || *have != value) return false;
  if (!pod.spec.affinity || !pod.spec.affinity->nodeAffinity) return true;
  const auto* required = pod.spec.affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return std::any_of(required->nodeSelectorTerms.begin(), required->nodeSelectorTerms.end(),
                     [&](const auto& term) { return matchesTerm(term, node); });
}

FilterResult filterNode(const corev1::Pod& pod, const NodeInfo& info) {
  const corev1::Node& node = *info.node;
  constexpr std::string_view kUnschedulable = "node.kubernetes.io/unschedulable";
  if (node.spec.unschedulable) {
    corev1::Taint taint{};
    taint.key = kUnschedulable;
    taint.effect = "NoSchedule";
    if (!toleratesTaint(pod, taint)) return unresolvable("node(s) were unschedulable");
  }
  if (!pod.spec.nodeName.empty() && pod.spec.nodeName != node.metadata.name) return unresolvable("node(s) didn't match the requested node name");
  for (const auto& taint : node.spec.taints) {
    if ((taint.effect != "NoSchedule" && taint.effect != "NoExecute") || toleratesTaint(pod, taint)) continue;
    return unresolvable(fmt::format("node(s) had untolerated taint(s)"));
  }
  if (!matchesNodeAffinity(pod, node)) return unresolvable("node(s) didn't match Pod's node affinity/selector");
  for (const HostPort& wanted : hostPortsOf(pod))
    for (const auto& [uid, other] : info.pods)
      for (const HostPort& used : hostPortsOf(*other))
        if (conflicts(wanted, used)) return {{"node(s) didn't have free ports for the requested pod ports"}, false};
  FilterResult result;
  filterResources(pod, info, result);
  return result;
}

int64_t scoreNode(const corev1::Pod& pod, const NodeInfo& node) {
  Resources nonZero = podRequestsNonZero(pod);
  return kFitWeight * leastAllocated(nonZero, node) + kBalancedWeight * balancedAllocation(podRequests(pod), node);
}

namespace {

struct Candidate {
  const std::string* name;
  const NodeInfo* node;
  int64_t score;
};

// Scores that only mean something relative to the other nodes.
void addNormalizedScores(const corev1::Pod& pod, std::vector<Candidate>& candidates) {
  int64_t mostPreferred = 0, mostIntolerable = 0;
  for (const Candidate& c : candidates) {
    mostPreferred = std::max(mostPreferred, preferredAffinityWeight(pod, *c.node->node));
    mostIntolerable = std::max(mostIntolerable, intolerablePreferences(pod, *c.node->node));
  }
  for (Candidate& c : candidates) {
    if (mostPreferred > 0) c.score += kNodeAffinityWeight * kMaxScore * preferredAffinityWeight(pod, *c.node->node) / mostPreferred;
    int64_t intolerable = intolerablePreferences(pod, *c.node->node);
    c.score += kTaintTolerationWeight * (mostIntolerable == 0 ? kMaxScore : kMaxScore - kMaxScore * intolerable / mostIntolerable);
  }
}

void addImageScores(const corev1::Pod& pod, const Nodes& nodes, std::vector<Candidate>& candidates) {
  std::vector<std::string> images = imagesOf(pod);
  std::vector<double> spread;
  for (const std::string& image : images) {
    double having = 0, all = 0;
    for (const auto& [name, node] : nodes) {
      if (!node.node) continue;
      ++all;
      having += imageBytes(node, image) > 0;
    }
    spread.push_back(all > 0 ? having / all : 0);
  }
  for (Candidate& c : candidates) c.score += kImageLocalityWeight * imageLocality(images, spread, *c.node);
}

}  // namespace

Decision schedulePod(const corev1::Pod& pod, const Nodes& nodes, const std::function<size_t(size_t)>& tieBreak) {
  std::vector<Candidate> candidates;
  std::map<std::string, int> reasons;
  int known = 0;
  for (const auto& [name, node] : nodes) {
    if (!node.node) continue;
    ++known;
    FilterResult result = filterNode(pod, node);
    if (result.reasons.empty()) candidates.push_back({&name, &node, scoreNode(pod, node)});
    for (const std::string& reason : result.reasons) ++reasons[reason];
  }
  if (candidates.empty()) {
    if (known == 0) return {"", "no nodes available to schedule pods"};
    std::vector<std::string> parts;
    for (const auto& [reason, count] : reasons) parts.push_back(fmt::format("{} {}", count, reason));
    std::sort(parts.begin(), parts.end());
    return {"", fmt::format("0/{} nodes are available: {}.", known, join(parts, ", "))};
  }
  addNormalizedScores(pod, candidates);
  if (candidates.size() > 1) addImageScores(pod, nodes, candidates);
  int64_t best = std::max_element(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.score < b.score; })->score;
  std::vector<const Candidate*> equal;
  for (const Candidate& c : candidates)
    if (c.score == best) equal.push_back(&c);
  return {*equal[equal.size() == 1 ? 0 : tieBreak(equal.size())]->name, ""};
}

}  // namespace knarr::scheduler
