// What the scheduler knows of a node: its object and what its pods take.
//
// Upstream counterpart: pkg/scheduler/framework/types.go, NodeInfo and Resource.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "schema/object.h"

namespace knarr::scheduler {

using schema::Ref;

struct Resources {
  int64_t cpuMilli = 0;
  int64_t memoryBytes = 0;
  int64_t ephemeralBytes = 0;
  std::map<std::string, int64_t> extended;  // example.com/gpu, hugepages-2Mi

  void add(const Resources& other, int64_t sign = 1);
  // For each resource the larger one.
  void atLeast(const Resources& other);
  // What is asked of, or there, of an extended resource; 0 when absent.
  int64_t extendedOf(const std::string& name) const;
  friend bool operator==(const Resources&, const Resources&) = default;
};
// Amounts of a resource list; cpu in thousandths, rounded up.
Resources resourcesOf(const schema::Map<schema::Quantity>& list);
// How many pods the node takes.
int64_t allowedPodsOf(const corev1::Node& node);
// What a pod asks of its node: the sum of its containers and sidecars, or its largest init container if that is more, and
// its overhead. Source: component-helpers/resource, PodRequests.
Resources podRequests(const corev1::Pod& pod);
// The same with 100m CPU and 200 MiB for containers that ask for nothing; only scores use it.
Resources podRequestsNonZero(const corev1::Pod& pod);

struct HostPort {
  std::string ip, protocol;
  int32_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
std::vector<HostPort> hostPortsOf(const corev1::Pod& pod);
bool conflicts(const HostPort& a, const HostPort& b);

class NodeInfo {
 public:
  Ref<corev1::Node> node;  // null while only its pods are known
  Resources allocatable, requested, requestedNonZero;
  int64_t allowedPods = 0;
  std::map<std::string, Ref<corev1::Pod>> pods;  // by uid
  std::vector<HostPort> usedPorts;

  // Bytes of an image that the node has; 0 when it has not. The name carries its tag.
  int64_t imageBytes(std::string_view image) const;
  void setNode(Ref<corev1::Node> object);
  void addPod(const Ref<corev1::Pod>& pod);
  void removePod(const std::string& uid);

 private:
  std::vector<std::pair<std::string_view, int64_t>> images_;  // by name; views into `node`
};

}  // namespace knarr::scheduler
