#include "kubelet/stats.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "kubelet/machine.h"
#include "kubelet/node_pressure.h"
#include "kubelet/runtime_pod.h"

namespace knarr::kubelet {
namespace {

constexpr int64_t kNanos = 1'000'000'000;
constexpr int64_t kNanosPerTick = 10'000'000;  // USER_HZ is 100 on every Linux

void addTo(std::optional<int64_t>& sum, const std::optional<int64_t>& value) {
  if (value) sum = sum.value_or(0) + *value;
}

// The members of an object, joined; names and values of ours need no escapes.
class JsonObject {
 public:
  void text(std::string_view name, std::string_view value) { raw(name, fmt::format("\"{}\"", value)); }
  void number(std::string_view name, const std::optional<int64_t>& value) {
    if (value) raw(name, std::to_string(*value));
  }
  void raw(std::string_view name, std::string_view json) {
    out_ += fmt::format("{}\"{}\":{}", out_.empty() ? "" : ",", name, json);
  }
  std::string json() const { return "{" + out_ + "}"; }

 private:
  std::string out_;
};

void putUsage(JsonObject& to, const Usage& usage) {
  std::string time = formatRfc3339(usage.atUnixNanos / kNanos);
  if (usage.cpuNanos) {
    JsonObject cpu;
    cpu.text("time", time);
    cpu.number("usageCoreNanoSeconds", usage.cpuNanos);
    to.raw("cpu", cpu.json());
  }
  if (usage.workingSetBytes || usage.usageBytes) {
    JsonObject memory;
    memory.text("time", time);
    memory.number("availableBytes", usage.availableBytes);
    memory.number("usageBytes", usage.usageBytes);
    memory.number("workingSetBytes", usage.workingSetBytes);
    memory.number("rssBytes", usage.rssBytes);
    to.raw("memory", memory.json());
  }
}

std::string fsJson(const env::FileSystemSize& size, std::string_view time) {
  JsonObject fs;
  fs.text("time", time);
  fs.number("availableBytes", static_cast<int64_t>(size.bytesAvailable));
  fs.number("capacityBytes", static_cast<int64_t>(size.bytes));
  fs.number("usedBytes", static_cast<int64_t>(size.bytes - size.bytesAvailable));
  fs.number("inodesFree", static_cast<int64_t>(size.inodesFree));
  fs.number("inodes", static_cast<int64_t>(size.inodes));
  fs.number("inodesUsed", static_cast<int64_t>(size.inodes - size.inodesFree));
  return fs.json();
}

std::string containerJson(const ContainerUsage& container, bool onlyCpuAndMemory) {
  JsonObject out;
  out.text("name", container.name);
  out.text("startTime", formatRfc3339(container.startedUnixNanos / kNanos));
  putUsage(out, container.usage);
  if (container.rootfsBytes && !onlyCpuAndMemory) {
    JsonObject rootfs;
    rootfs.text("time", formatRfc3339(container.usage.atUnixNanos / kNanos));
    rootfs.number("usedBytes", container.rootfsBytes);
    out.raw("rootfs", rootfs.json());
  }
  return out.json();
}

std::string podJson(const PodUsage& pod, bool onlyCpuAndMemory) {
  JsonObject reference, out;
  reference.text("name", pod.name);
  reference.text("namespace", pod.nameSpace);
  reference.text("uid", pod.uid);
  out.raw("podRef", reference.json());
  out.text("startTime", formatRfc3339(pod.startedUnixSeconds));
  std::string containers;
  for (const ContainerUsage& container : pod.containers)
    containers += (containers.empty() ? "" : ",") + containerJson(container, onlyCpuAndMemory);
  out.raw("containers", "[" + containers + "]");
  putUsage(out, pod.sum());
  return out.json();
}

// One metric family: its lines are added between head and end.
class Family {
 public:
  Family(std::string& out, std::string_view name, std::string_view type, std::string_view help) : out_(out), name_(name) {
    head_ = fmt::format("# HELP {} [STABLE] {}\n# TYPE {} {}\n", name, help, name, type);
  }
  void add(std::string_view labels, double value, int64_t atUnixNanos) {
    out_ += std::exchange(head_, "");
    out_ += fmt::format("{}{} {}", name_, labels, value);
    if (atUnixNanos != 0) out_ += fmt::format(" {}", atUnixNanos / 1'000'000);
    out_ += '\n';
  }

 private:
  std::string& out_;
  std::string_view name_;
  std::string head_;
};

double secondsOf(int64_t nanos) { return static_cast<double>(nanos) / 1e9; }

}  // namespace

Usage PodUsage::sum() const {
  Usage out;
  for (const ContainerUsage& container : containers) {
    out.atUnixNanos = std::max(out.atUnixNanos, container.usage.atUnixNanos);
    addTo(out.cpuNanos, container.usage.cpuNanos);
    addTo(out.workingSetBytes, container.usage.workingSetBytes);
    addTo(out.usageBytes, container.usage.usageBytes);
    addTo(out.rssBytes, container.usage.rssBytes);
  }
  return out;
}

std::optional<int64_t> cpuNanosFromStat(std::string_view procStat) {
  std::string_view line = procStat.substr(0, procStat.find('\n'));
  if (!line.starts_with("cpu ")) return std::nullopt;
  int64_t ticks = 0;
  size_t field = 0;
  for (std::string_view text : split(line.substr(4), ' ')) {
    auto value = parseInt(text);
    if (!value) continue;
    // user nice system idle iowait irq softirq steal guest guest_nice; the guests' are in the first two. Source: proc(5).
    bool idle = field == 3 || field == 4;
    if (!idle && field < 8) ticks += *value;
    ++field;
  }
  return field < 4 ? std::nullopt : std::optional(ticks * kNanosPerTick);
}

int64_t bootTimeFromStat(std::string_view procStat) {
  for (std::string_view line : split(procStat, '\n'))
    if (line.starts_with("btime ")) return parseInt(line.substr(6)).value_or(0);
  return 0;
}

NodeUsage nodeUsage(env::Files& files, const std::string& nodeName, const std::string& rootDirectory,
                    const std::string& imagePath, int64_t nowUnixNanos) {
  NodeUsage node;
  node.name = nodeName;
  node.usage.atUnixNanos = nowUnixNanos;
  std::string stat = files.readFile("/proc/stat").value_or("");
  node.usage.cpuNanos = cpuNanosFromStat(stat);
  node.bootUnixSeconds = bootTimeFromStat(stat);
  NodeObservation seen = observeNode(files, rootDirectory, imagePath);
  node.nodeFs = seen.nodeFs;
  node.imageFs = seen.imageFs;
  if (seen.memoryAvailableBytes) {
    int64_t total = memoryFromMeminfo(files.readFile("/proc/meminfo").value_or(""));
    node.usage.availableBytes = seen.memoryAvailableBytes;
    node.usage.workingSetBytes = std::max<int64_t>(0, total - *seen.memoryAvailableBytes);
    node.usage.usageBytes = node.usage.workingSetBytes;
  }
  return node;
}

std::vector<PodUsage> podUsages(const std::vector<schema::Ref<corev1::Pod>>& pods,
                                const runtimev1::ListContainerStatsResponse& stats) {
  auto number = [](const runtimev1::UInt64Value* value) {
    return value == nullptr ? std::optional<int64_t>() : static_cast<int64_t>(value->value);
  };
  std::vector<PodUsage> out;
  for (const auto& pod : pods) {
    if (!pod->status.startTime) continue;
    PodUsage usage{std::string(pod->metadata.name),
                   std::string(pod->metadata.namespace_),
                   std::string(pod->metadata.uid),
                   pod->status.startTime.value.unixSeconds(),
                   {}};
    for (const runtimev1::ContainerStats& each : stats.stats) {
      if (each.attributes == nullptr || schema::valueOf(each.attributes->labels, labels::kPodUid) != pod->metadata.uid) continue;
      std::string name(schema::valueOf(each.attributes->labels, labels::kContainerName));
      // Only the instance that runs: a dead one keeps its last figures at the runtime.
      const corev1::ContainerStatus* status = nullptr;
      for (const auto* list :
           {&pod->status.containerStatuses, &pod->status.initContainerStatuses, &pod->status.ephemeralContainerStatuses})
        for (const corev1::ContainerStatus& one : *list)
          if (one.name == name && one.state.running != nullptr && one.containerID.ends_with(each.attributes->id)) status = &one;
      if (status == nullptr) continue;
      ContainerUsage container;
      container.name = name;
      container.startedUnixNanos = status->state.running->startedAt.unixSeconds() * kNanos;
      if (each.cpu != nullptr) {
        container.usage.atUnixNanos = each.cpu->timestamp;
        container.usage.cpuNanos = number(each.cpu->usageCoreNanoSeconds);
      }
      if (each.memory != nullptr) {
        container.usage.atUnixNanos = std::max(container.usage.atUnixNanos, each.memory->timestamp);
        container.usage.workingSetBytes = number(each.memory->workingSetBytes);
        container.usage.usageBytes = number(each.memory->usageBytes);
        container.usage.rssBytes = number(each.memory->rssBytes);
      }
      if (each.writableLayer != nullptr) container.rootfsBytes = number(each.writableLayer->usedBytes);
      usage.containers.push_back(std::move(container));
    }
    out.push_back(std::move(usage));
  }
  return out;
}

std::string summaryJson(const NodeUsage& node, bool onlyCpuAndMemory) {
  std::string time = formatRfc3339(node.usage.atUnixNanos / kNanos);
  JsonObject stats;
  stats.text("nodeName", node.name);
  stats.text("startTime", formatRfc3339(node.bootUnixSeconds));
  putUsage(stats, node.usage);
  if (!onlyCpuAndMemory) {
    if (node.nodeFs) stats.raw("fs", fsJson(*node.nodeFs, time));
    if (node.imageFs) {
      JsonObject runtime;
      runtime.raw("imageFs", fsJson(*node.imageFs, time));
      runtime.raw("containerFs", fsJson(*node.imageFs, time));
      stats.raw("runtime", runtime.json());
    }
  }
  std::string pods;
  for (const PodUsage& pod : node.pods) pods += (pods.empty() ? "" : ",") + podJson(pod, onlyCpuAndMemory);
  JsonObject out;
  out.raw("node", stats.json());
  out.raw("pods", "[" + pods + "]");
  return out.json();
}

std::string resourceMetrics(const NodeUsage& node) {
  std::string cpu, memory, started, podCpu, podMemory, out;
  Family containerCpu(cpu, "container_cpu_usage_seconds_total", "counter",
                      "Cumulative cpu time consumed by the container in core-seconds");
  Family containerMemory(memory, "container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes");
  Family containerStart(started, "container_start_time_seconds", "gauge",
                        "Start time of the container since unix epoch in seconds");
  Family podsCpu(podCpu, "pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds");
  Family podsMemory(podMemory, "pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
  for (const PodUsage& pod : node.pods) {
    for (const ContainerUsage& container : pod.containers) {
      std::string labels =
          fmt::format("{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}", container.name, pod.nameSpace, pod.name);
      const Usage& usage = container.usage;
      if (usage.cpuNanos) containerCpu.add(labels, secondsOf(*usage.cpuNanos), usage.atUnixNanos);
      if (usage.workingSetBytes) containerMemory.add(labels, static_cast<double>(*usage.workingSetBytes), usage.atUnixNanos);
      containerStart.add(labels, secondsOf(container.startedUnixNanos), 0);
    }
    Usage sum = pod.sum();
    std::string labels = fmt::format("{{namespace=\"{}\",pod=\"{}\"}}", pod.nameSpace, pod.name);
    if (sum.cpuNanos) podsCpu.add(labels, secondsOf(*sum.cpuNanos), sum.atUnixNanos);
    if (sum.workingSetBytes) podsMemory.add(labels, static_cast<double>(*sum.workingSetBytes), sum.atUnixNanos);
  }
  out = cpu + memory + started;
  Family nodeCpu(out, "node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
  if (node.usage.cpuNanos) nodeCpu.add("", secondsOf(*node.usage.cpuNanos), node.usage.atUnixNanos);
  Family nodeMemory(out, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
  if (node.usage.workingSetBytes) nodeMemory.add("", static_cast<double>(*node.usage.workingSetBytes), node.usage.atUnixNanos);
  out += podCpu + podMemory;
  Family error(out, "resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
  error.add("", node.failed ? 1 : 0, 0);
  return out;
}

}  // namespace knarr::kubelet
