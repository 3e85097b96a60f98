// What the node is short of: memory, disk, processes. The conditions of the Node say it, the node lifecycle controller
// taints by them, and admission refuses pods.
//
// Upstream counterpart: pkg/kubelet/eviction (signals, thresholds, conditions; the defaults of evictionHard).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "env/env.h"

namespace knarr::kubelet {

struct Pressure {
  bool memory = false, disk = false, pid = false;
  bool any() const { return memory || disk || pid; }
  bool operator==(const Pressure&) const = default;
};

// One look at the node. Nothing: not known, and no reason for a condition.
struct NodeObservation {
  std::optional<int64_t> memoryAvailableBytes;  // with what the page cache can give back
  std::optional<env::FileSystemSize> nodeFs;    // of the kubelet's root
  std::optional<env::FileSystemSize> imageFs;   // of the runtime's images
};

// Memory that is free or holds file pages nobody used lately, of /proc/meminfo: what cAdvisor's working set leaves.
std::optional<int64_t> memoryAvailableFromMeminfo(std::string_view meminfo);

// Which thresholds are met now. Pure. PIDs have no threshold by default.
Pressure pressureOf(const NodeObservation& observation);

// Holds a condition for a while after it was last seen, so that it does not flap. Source: evictionPressureTransitionPeriod.
class PressureHold {
 public:
  // The conditions to report at `now`.
  Pressure update(const Pressure& seen, env::Instant now);

 private:
  std::optional<env::Instant> memoryUntil_, diskUntil_, pidUntil_;
};

// Reads /proc and the file systems. `imagePath` "": unknown. Blocks; call it on the pool.
NodeObservation observeNode(env::Files& files, const std::string& rootDirectory, const std::string& imagePath);

}  // namespace knarr::kubelet
