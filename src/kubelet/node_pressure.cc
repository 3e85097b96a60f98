#include "kubelet/node_pressure.h"

#include "base/strings.h"

namespace knarr::kubelet {
namespace {

// Source: pkg/kubelet/apis/config/v1beta1/defaults_linux.go, DefaultEvictionHard.
constexpr int64_t kMemoryBytesMin = int64_t{100} << 20;
constexpr uint64_t kNodeFsPercentMin = 10, kNodeFsInodesPercentMin = 5;
constexpr uint64_t kImageFsPercentMin = 15, kImageFsInodesPercentMin = 5;
constexpr env::Duration kTransitionPeriod = std::chrono::minutes(5);

bool below(uint64_t available, uint64_t capacity, uint64_t percent) {
  return capacity > 0 && available < capacity / 100 * percent;
}

bool shortOfDisk(const std::optional<env::FileSystemSize>& size, uint64_t percent, uint64_t inodesPercent) {
  return size && (below(size->bytesAvailable, size->bytes, percent) || below(size->inodesFree, size->inodes, inodesPercent));
}

bool hold(bool seen, std::optional<env::Instant>& until, env::Instant now) {
  if (seen) until = now + kTransitionPeriod;
  if (until && now >= *until) until.reset();
  return until.has_value();
}

}  // namespace

std::optional<int64_t> memoryAvailableFromMeminfo(std::string_view meminfo) {
  std::optional<int64_t> free, inactive;
  for (std::string_view line : split(meminfo, '\n')) {
    for (auto [name, value] : {std::pair("MemFree:", &free), std::pair("Inactive(file):", &inactive)}) {
      if (!line.starts_with(name)) continue;
      std::string_view text = trim(line.substr(std::string_view(name).size()));
      if (auto number = parseInt(text.substr(0, text.find(' ')))) *value = *number * 1024;
    }
  }
  if (!free) return std::nullopt;
  return *free + inactive.value_or(0);
}

Pressure pressureOf(const NodeObservation& observation) {
  Pressure pressure;
  pressure.memory = observation.memoryAvailableBytes && *observation.memoryAvailableBytes < kMemoryBytesMin;
  pressure.disk = shortOfDisk(observation.nodeFs, kNodeFsPercentMin, kNodeFsInodesPercentMin) ||
                  shortOfDisk(observation.imageFs, kImageFsPercentMin, kImageFsInodesPercentMin);
  return pressure;
}

Pressure PressureHold::update(const Pressure& seen, env::Instant now) {
  Pressure held;
  held.memory = hold(seen.memory, memoryUntil_, now);
  held.disk = hold(seen.disk, diskUntil_, now);
  held.pid = hold(seen.pid, pidUntil_, now);
  return held;
}

NodeObservation observeNode(env::Files& files, const std::string& rootDirectory, const std::string& imagePath) {
  NodeObservation observation;
  if (auto meminfo = files.readFile("/proc/meminfo")) observation.memoryAvailableBytes = memoryAvailableFromMeminfo(*meminfo);
  if (auto size = files.fileSystemSize(rootDirectory)) observation.nodeFs = *size;
  if (!imagePath.empty())
    if (auto size = files.fileSystemSize(imagePath)) observation.imageFs = *size;
  return observation;
}

}  // namespace knarr::kubelet
