#include "scheduler/node_info.h"

#include <algorithm>

#include "schema/quantity.h"

namespace knarr::scheduler {
namespace {

// Source: pkg/scheduler/util/pod_resources.go, DefaultMilliCPURequest and DefaultMemoryRequest.
constexpr int64_t kDefaultCpuMilli = 100;
constexpr int64_t kDefaultMemoryBytes = int64_t{200} << 20;

bool isSidecar(const corev1::Container& container) { return container.restartPolicy && *container.restartPolicy == "Always"; }

Resources containerRequests(const corev1::Container& container, bool nonZero) {
  Resources requests = resourcesOf(container.resources.requests);
  if (nonZero) {
    if (!container.resources.requests.contains("cpu")) requests.cpuMilli = kDefaultCpuMilli;
    if (!container.resources.requests.contains("memory")) requests.memoryBytes = kDefaultMemoryBytes;
  }
  return requests;
}

Resources requestsOf(const corev1::Pod& pod, bool nonZero) {
  Resources total;
  for (const auto& container : pod.spec.containers) total.add(containerRequests(container, nonZero));
  // An init container runs beside the sidecars that were started before it.
  Resources sidecars, initPeak;
  for (const auto& container : pod.spec.initContainers) {
    Resources requests = containerRequests(container, nonZero);
    if (isSidecar(container)) {
      total.add(requests);
      sidecars.add(requests);
      requests = sidecars;
    } else {
      requests.add(sidecars);
    }
    initPeak.atLeast(requests);
  }
  total.atLeast(initPeak);
  if (pod.spec.resources && !pod.spec.resources->requests.empty()) {
    Resources whole = resourcesOf(pod.spec.resources->requests);
    if (pod.spec.resources->requests.contains("cpu")) total.cpuMilli = whole.cpuMilli;
    if (pod.spec.resources->requests.contains("memory")) total.memoryBytes = whole.memoryBytes;
  }
  total.add(resourcesOf(pod.spec.overhead));
  return total;
}

}  // namespace

void Resources::add(const Resources& other, int64_t sign) {
  cpuMilli += sign * other.cpuMilli;
  memoryBytes += sign * other.memoryBytes;
  ephemeralBytes += sign * other.ephemeralBytes;
  for (const auto& [name, amount] : other.extended) extended[name] += sign * amount;
}

void Resources::atLeast(const Resources& other) {
  cpuMilli = std::max(cpuMilli, other.cpuMilli);
  memoryBytes = std::max(memoryBytes, other.memoryBytes);
  ephemeralBytes = std::max(ephemeralBytes, other.ephemeralBytes);
  for (const auto& [name, amount] : other.extended) extended[name] = std::max(extended[name], amount);
}

int64_t Resources::extendedOf(const std::string& name) const {
  auto found = extended.find(name);
  return found == extended.end() ? 0 : found->second;
}

Resources resourcesOf(const schema::Map<schema::Quantity>& list) {
  Resources out;
  for (const auto& [name, quantity] : list) {
    schema::Amount amount = schema::amountOf(quantity);
    if (name == "cpu")
      out.cpuMilli = amount.milliValue();
    else if (name == "memory")
      out.memoryBytes = amount.value();
    else if (name == "ephemeral-storage")
      out.ephemeralBytes = amount.value();
    else if (name != "pods")
      out.extended[std::string(name)] = amount.value();
  }
  return out;
}

int64_t allowedPodsOf(const corev1::Node& node) {
  const schema::Quantity* pods = node.status.allocatable.find("pods");
  return pods ? schema::amountOf(*pods).value() : 0;
}

Resources podRequests(const corev1::Pod& pod) { return requestsOf(pod, false); }
Resources podRequestsNonZero(const corev1::Pod& pod) { return requestsOf(pod, true); }

std::vector<HostPort> hostPortsOf(const corev1::Pod& pod) {
  std::vector<HostPort> ports;
  auto collect = [&](const corev1::Container& container) {
    for (const auto& port : container.ports)
      if (port.hostPort > 0)
        ports.push_back({port.hostIP.empty() ? "0.0.0.0" : std::string(port.hostIP),
                         port.protocol.empty() ? "TCP" : std::string(port.protocol), port.hostPort});
  };
  for (const auto& container : pod.spec.containers) collect(container);
  for (const auto& container : pod.spec.initContainers)
    if (isSidecar(container)) collect(container);
  return ports;
}

bool conflicts(const HostPort& a, const HostPort& b) {
  if (a.port != b.port || a.protocol != b.protocol) return false;
  return a.ip == b.ip || a.ip == "0.0.0.0" || b.ip == "0.0.0.0";
}

void NodeInfo::setNode(Ref<corev1::Node> object) {
  node = std::move(object);
  allocatable = node ? resourcesOf(node->status.allocatable) : Resources();
  allowedPods = node ? allowedPodsOf(*node) : 0;
  images_.clear();
  if (!node) return;
  for (const auto& image : node->status.images)
    for (schema::Str name : image.names) images_.emplace_back(name, image.sizeBytes);
  std::sort(images_.begin(), images_.end());
}

int64_t NodeInfo::imageBytes(std::string_view image) const {
  auto found = std::lower_bound(images_.begin(), images_.end(), image,
                                [](const auto& one, std::string_view name) { return one.first < name; });
  return found != images_.end() && found->first == image ? found->second : 0;
}

void NodeInfo::addPod(const Ref<corev1::Pod>& pod) {
  std::string uid(pod->metadata.uid);
  removePod(uid);
  requested.add(podRequests(*pod));
  requestedNonZero.add(podRequestsNonZero(*pod));
  for (HostPort& port : hostPortsOf(*pod)) usedPorts.push_back(std::move(port));
  pods.emplace(std::move(uid), pod);
}

void NodeInfo::removePod(const std::string& uid) {
  auto found = pods.find(uid);
  if (found == pods.end()) return;
  requested.add(podRequests(*found->second), -1);
  requestedNonZero.add(podRequestsNonZero(*found->second), -1);
  for (const HostPort& port : hostPortsOf(*found->second))
    if (auto at = std::find(usedPorts.begin(), usedPorts.end(), port); at != usedPorts.end()) usedPorts.erase(at);
  pods.erase(found);
}

}  // namespace knarr::scheduler
