// Pods, nodes and a framework for tests of the scheduler.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"
#include "scheduler/framework.h"
#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return schema::Mut<T>(std::move(decoded->object)).publish();
}

inline Ref<corev1::Pod> podOf(const std::string& spec, const std::string& name = "p") {
  return fromJson<corev1::Pod>(
      fmt::format(R"({{"metadata":{{"name":"{0}","uid":"{0}","namespace":"default"}},"spec":{{{1}}}}})", name, spec));
}
inline std::string asking(const std::string& requests) {
  return fmt::format(R"("containers":[{{"name":"c","resources":{{"requests":{{{}}}}}}}])", requests);
}

inline NodeInfo nodeOf(
    const std::string& spec = "", const std::string& labels = "",
    const std::string& allocatable = R"("cpu":"4","memory":"8Gi","pods":"10","ephemeral-storage":"10Gi","example.com/gpu":"2")",
    const std::string& name = "n1", const std::string& status = "") {
  NodeInfo info;
  info.setNode(fromJson<corev1::Node>(
      fmt::format(R"({{"metadata":{{"name":"{}","labels":{{{}}}}},"spec":{{{}}},"status":{{"allocatable":{{{}}}{}}}}})", name,
                  labels, spec, allocatable, status)));
  return info;
}

struct FilterResult {
  std::vector<std::string> reasons;
  bool unresolvable = false;
  std::string_view plugin;
};
// What the default profile says about one node.
inline FilterResult filterNode(const corev1::Pod& pod, const NodeInfo& node) {
  Framework framework(defaultPlugins());
  FilterResult result;
  FilterVerdict verdict = framework.filterNode(pod, node, result.reasons);
  result.unresolvable = verdict.code == Code::kUnschedulableAndUnresolvable;
  if (verdict.plugin) result.plugin = verdict.plugin->name();
  return result;
}

// A cache of these nodes and of the pods on them.
inline Cache cacheOf(const std::vector<NodeInfo>& list) {
  Cache cache;
  for (const NodeInfo& info : list) {
    cache.setNode(info.node);
    for (const auto& [uid, pod] : info.pods) cache.addPod(pod, std::string(info.node->metadata.name));
  }
  return cache;
}

// The decision of the default profile; among equals the first.
inline Decision decide(const std::string& pod, const std::vector<NodeInfo>& list) {
  Framework framework(defaultPlugins());
  return framework.schedulePod(*podOf(pod), cacheOf(list), [](size_t) { return size_t{0}; });
}

// Normalized scores of one plugin for `pod` on each node.
inline std::vector<int64_t> scoresOf(std::unique_ptr<Plugin> plugin, const std::string& podSpec,
                                     const std::vector<NodeInfo>& nodes) {
  auto pod = podOf(podSpec);
  Cache cache = cacheOf(nodes);
  CycleState state(1);
  plugin->slot = 0;
  if (auto* point = dynamic_cast<PreFilterPlugin*>(plugin.get())) point->preFilter(state, *pod);
  std::vector<int64_t> scores(nodes.size());
  if (auto* point = dynamic_cast<PreScorePlugin*>(plugin.get()); point && point->preScore(state, *pod, cache) == Code::kSkip)
    return scores;
  auto* score = dynamic_cast<ScorePlugin*>(plugin.get());
  for (size_t i = 0; i < nodes.size(); ++i) scores[i] = score->score(state, *pod, nodes[i]);
  score->normalizeScore(scores);
  return scores;
}

}  // namespace knarr::scheduler
