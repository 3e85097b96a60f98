// What the node and its pods use, for /stats/summary and /metrics/resource of the kubelet's server.
//
// Upstream counterpart: pkg/kubelet/stats (CRI provider), pkg/kubelet/metrics/collectors/resource_metrics.go,
// k8s.io/kubelet/pkg/apis/stats/v1alpha1.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/core_v1.h"
#include "contracts/cri/cri.h"
#include "env/env.h"
#include "schema/object.h"

namespace knarr::kubelet {

// One sample; what is not known is left out of the answers.
struct Usage {
  int64_t atUnixNanos = 0;
  std::optional<int64_t> cpuNanos;  // consumed since the start
  std::optional<int64_t> workingSetBytes, usageBytes, rssBytes, availableBytes;
};
struct ContainerUsage {
  std::string name;
  int64_t startedUnixNanos = 0;
  Usage usage;
  std::optional<int64_t> rootfsBytes;
};
struct PodUsage {
  std::string name, nameSpace, uid;
  int64_t startedUnixSeconds = 0;
  std::vector<ContainerUsage> containers;
  Usage sum() const;  // of its containers
};
struct NodeUsage {
  std::string name;
  int64_t bootUnixSeconds = 0;
  Usage usage;
  std::optional<env::FileSystemSize> nodeFs, imageFs;
  std::vector<PodUsage> pods;
  bool failed = false;  // the runtime did not answer
};

// Processor time of all processors since the boot, of /proc/stat; and when that was.
std::optional<int64_t> cpuNanosFromStat(std::string_view procStat);
int64_t bootTimeFromStat(std::string_view procStat);

// The node's own part; blocks.
NodeUsage nodeUsage(env::Files& files, const std::string& nodeName, const std::string& rootDirectory,
                    const std::string& imagePath, int64_t nowUnixNanos);
// The pods' part from the runtime's answer. Pods that have not started, and containers of others, are left out. Pure.
std::vector<PodUsage> podUsages(const std::vector<schema::Ref<corev1::Pod>>& pods,
                                const runtimev1::ListContainerStatsResponse& stats);

// JSON of a Summary; with `onlyCpuAndMemory` without file systems.
std::string summaryJson(const NodeUsage& node, bool onlyCpuAndMemory);
// Prometheus text.
std::string resourceMetrics(const NodeUsage& node);

}  // namespace knarr::kubelet
