#include "scheduler/framework.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/assert.h"
#include "base/strings.h"

namespace knarr::scheduler {
namespace {

constexpr size_t kPluginsMax = 64;  // bits of PluginSet
// Source: schedule_one.go, minFeasibleNodesToFind and minFeasibleNodesPercentageToFind.
constexpr size_t kFeasibleNodesMin = 100, kFeasiblePercentMin = 5;

PluginSet bitOf(const Plugin& plugin) { return PluginSet{1} << plugin.slot; }

}  // namespace

size_t feasibleNodesToFind(size_t nodes) {
  if (nodes < kFeasibleNodesMin) return nodes;
  size_t lowered = nodes / 125;
  size_t percent = lowered + kFeasiblePercentMin >= 50 ? kFeasiblePercentMin : 50 - lowered;
  return std::max(nodes * percent / 100, kFeasibleNodesMin);
}

void defaultNormalizeScore(std::span<int64_t> scores, bool reverse) {
  int64_t most = 0;
  for (int64_t score : scores) most = std::max(most, score);
  for (int64_t& score : scores) {
    if (most > 0) score = kMaxNodeScore * score / most;
    if (reverse) score = kMaxNodeScore - score;
  }
}

// One attempt: what is left to look at, what was found, and why the rest does not fit.
struct Framework::Search {
  PluginSet skip = 0;                              // plugins without a filter for this pod
  std::optional<std::set<std::string>> onlyNodes;  // what preFilter left
  std::vector<std::string_view> narrowedBy;        // plugins that left some nodes out
  std::string preFilterMessage;
  PluginSet rejectedBy = 0;
  std::vector<const NodeInfo*> feasible;
  std::map<std::string, size_t, std::less<>> reasons;

  void count(std::string_view reason, size_t nodes = 1) {
    auto found = reasons.find(reason);
    if (found == reasons.end()) found = reasons.emplace(std::string(reason), 0).first;
    found->second += nodes;
  }
  std::string message(size_t nodes) const {
    if (!preFilterMessage.empty()) return fmt::format("0/{} nodes are available: {}.", nodes, preFilterMessage);
    std::vector<std::string> parts;
    for (const auto& [reason, count] : reasons) parts.push_back(fmt::format("{} {}", count, reason));
    std::sort(parts.begin(), parts.end());
    return fmt::format("0/{} nodes are available: {}.", nodes, join(parts, ", "));
  }
};

Framework::Framework(std::vector<ProfilePlugin> plugins) : plugins_(std::move(plugins)) {
  ASSERT(plugins_.size() <= kPluginsMax);
  for (size_t i = 0; i < plugins_.size(); ++i) {
    Plugin* plugin = plugins_[i].plugin.get();
    plugin->slot = i;
    auto enlist = [&]<class Point>(std::vector<At<Point>>& list) {
      if (auto* point = dynamic_cast<Point*>(plugin)) list.push_back({plugin, point, plugins_[i].weight});
    };
    enlist(preEnqueue_), enlist(preFilter_), enlist(filter_), enlist(preScore_), enlist(score_), enlist(reserve_), enlist(bind_);
    if (auto* sort = dynamic_cast<QueueSortPlugin*>(plugin)) {
      ASSERT(!queueSort_);
      queueSort_ = sort;
    }
  }
  ASSERT(queueSort_);
}

std::optional<std::string> Framework::preEnqueue(const corev1::Pod& pod) const {
  for (const auto& at : preEnqueue_)
    if (auto message = at.point->preEnqueue(pod)) return message;
  return std::nullopt;
}

// Whether any node is worth looking at. Source: framework/runtime, RunPreFilterPlugins.
bool Framework::preFilter(CycleState& state, const corev1::Pod& pod, Search& search) const {
  for (const auto& at : preFilter_) {
    PreFilterResult result = at.point->preFilter(state, pod);
    if (result.code == Code::kSkip) search.skip |= bitOf(*at.plugin);
    if (isRejected(result.code)) {
      search.rejectedBy |= bitOf(*at.plugin);
      search.preFilterMessage = std::move(result.message);
      return false;
    }
    if (!result.nodeNames) continue;
    search.narrowedBy.push_back(at.plugin->name());
    search.rejectedBy |= bitOf(*at.plugin);
    if (search.onlyNodes)
      std::erase_if(*search.onlyNodes, [&](const std::string& name) { return !result.nodeNames->contains(name); });
    else
      search.onlyNodes = std::move(result.nodeNames);
    if (!search.onlyNodes->empty()) continue;
    search.preFilterMessage =
        search.narrowedBy.size() == 1
            ? fmt::format("node(s) didn't satisfy plugin {}", search.narrowedBy[0])
            : fmt::format("node(s) didn't satisfy plugin(s) [{}] simultaneously", fmt::join(search.narrowedBy, " "));
    return false;
  }
  return true;
}

FilterVerdict Framework::filter(const CycleState& state, const corev1::Pod& pod, const NodeInfo& node, PluginSet skip,
                                Reasons& reasons) const {
  for (const auto& at : filter_) {
    if (skip & bitOf(*at.plugin)) continue;
    Code code = at.point->filter(state, pod, node, reasons);
    if (code != Code::kSuccess) return {code, at.plugin};
  }
  return {};
}

void Framework::findNodes(const CycleState& state, const corev1::Pod& pod, const Cache& cache, Search& search) {
  Reasons reasons;
  auto look = [&](const NodeInfo& node) {
    reasons.clear();
    FilterVerdict verdict = filter(state, pod, node, search.skip, reasons);
    if (!verdict.plugin) {
      search.feasible.push_back(&node);
      return;
    }
    search.rejectedBy |= bitOf(*verdict.plugin);
    for (std::string_view reason : reasons) search.count(reason);
  };
  const Nodes& nodes = cache.nodes();
  if (search.onlyNodes) {
    size_t known = 0;
    for (const std::string& name : *search.onlyNodes) {
      auto found = nodes.find(name);
      if (found == nodes.end() || !found->second.node) continue;
      ++known;
      look(found->second);
    }
    std::sort(search.narrowedBy.begin(), search.narrowedBy.end());
    if (size_t others = cache.nodeCount() - known)
      search.count(fmt::format("node(s) didn't satisfy plugin(s) [{}]", fmt::join(search.narrowedBy, " ")), others);
    return;
  }
  size_t enough = feasibleNodesToFind(cache.nodeCount());
  auto at = nodes.upper_bound(searchAfter_);
  for (size_t seen = 0; seen < nodes.size() && search.feasible.size() < enough; ++seen) {
    if (at == nodes.end()) at = nodes.begin();
    if (at->second.node) look(at->second);
    if (search.feasible.size() == enough) searchAfter_ = at->first;
    ++at;
  }
}

// The total of every feasible node.
std::vector<int64_t> Framework::score(CycleState& state, const corev1::Pod& pod, const Cache& cache, const Search& search) const {
  PluginSet skip = 0;
  for (const auto& at : preScore_)
    if (at.point->preScore(state, pod, cache) == Code::kSkip) skip |= bitOf(*at.plugin);
  std::vector<int64_t> total(search.feasible.size()), one(search.feasible.size());
  for (const auto& at : score_) {
    if (skip & bitOf(*at.plugin)) continue;
    for (size_t i = 0; i < one.size(); ++i) one[i] = at.point->score(state, pod, *search.feasible[i]);
    at.point->normalizeScore(one);
    for (size_t i = 0; i < one.size(); ++i) {
      ASSERT(one[i] >= 0 && one[i] <= kMaxNodeScore);
      total[i] += at.weight * one[i];
    }
  }
  return total;
}

Decision Framework::schedulePod(const corev1::Pod& pod, const Cache& cache, const std::function<size_t(size_t)>& tieBreak) {
  if (cache.nodeCount() == 0) return {"", "no nodes available to schedule pods", 0};
  CycleState state(plugins_.size());
  Search search;
  if (preFilter(state, pod, search)) findNodes(state, pod, cache, search);
  auto nameOf = [&](size_t i) { return std::string(search.feasible[i]->node->metadata.name); };
  if (search.feasible.empty()) return {"", search.message(cache.nodeCount()), search.rejectedBy};
  if (search.feasible.size() == 1) return {nameOf(0), "", 0};
  std::vector<int64_t> total = score(state, pod, cache, search);
  int64_t best = *std::max_element(total.begin(), total.end());
  size_t equal = static_cast<size_t>(std::count(total.begin(), total.end(), best));
  size_t chosen = equal == 1 ? 0 : tieBreak(equal);
  for (size_t i = 0;; ++i)
    if (total[i] == best && chosen-- == 0) return {nameOf(i), "", 0};
}

std::optional<std::string> Framework::reserve(const corev1::Pod& pod, const std::string& node) {
  CycleState state(plugins_.size());
  for (const auto& at : reserve_) {
    auto message = at.point->reserve(state, pod, node);
    if (!message) continue;
    unreserve(pod, node);
    return message;
  }
  return std::nullopt;
}

void Framework::unreserve(const corev1::Pod& pod, const std::string& node) {
  for (auto at = reserve_.rbegin(); at != reserve_.rend(); ++at) at->point->unreserve(pod, node);
}

async::Task<Result<void>> Framework::bind(client::Client* client, schema::Ref<corev1::Pod> pod, std::string node) const {
  ASSERT(!bind_.empty());
  return bind_.front().point->bind(client, std::move(pod), std::move(node));
}

FilterVerdict Framework::filterNode(const corev1::Pod& pod, const NodeInfo& node, std::vector<std::string>& reasons) const {
  CycleState state(plugins_.size());
  Search search;
  if (!preFilter(state, pod, search)) {
    reasons.push_back(search.preFilterMessage);
    return {Code::kUnschedulableAndUnresolvable, nullptr};
  }
  Reasons views;
  FilterVerdict verdict = filter(state, pod, node, search.skip, views);
  reasons.assign(views.begin(), views.end());
  return verdict;
}

}  // namespace knarr::scheduler
