#include "kubelet/admission.h"

#include <fmt/format.h>

#include <algorithm>

#include "kubelet/resources.h"

namespace knarr::kubelet {
namespace {

using corev1::Pod;

// Sysctls of a pod's own namespaces that harm nobody else. Source:
// pkg/kubelet/sysctl/safe_sysctls.go.
constexpr std::string_view kSafeSysctls[] = {"kernel.shm_rmid_forced",
                                             "net.ipv4.ip_local_port_range",
                                             "net.ipv4.tcp_syncookies",
                                             "net.ipv4.ping_group_range",
                                             "net.ipv4.ip_unprivileged_port_start",
                                             "net.ipv4.ip_local_reserved_ports",
                                             "net.ipv4.tcp_keepalive_time",
                                             "net.ipv4.tcp_keepalive_intvl",
                                             "net.ipv4.tcp_keepalive_probes",
                                             "net.ipv4.tcp_fin_timeout",
                                             "net.ipv4.tcp_rmem",
                                             "net.ipv4.tcp_wmem"};

std::optional<Rejection> checkSysctls(const Pod& pod) {
  if (pod.spec.securityContext == nullptr) return std::nullopt;
  for (const corev1::Sysctl& sysctl : pod.spec.securityContext->sysctls) {
    std::string name(sysctl.name);
    std::replace(name.begin(), name.end(), '/', '.');
    auto refuse = [&](std::string_view why) {
      return Rejection{"SysctlForbidden", fmt::format("forbidden sysctl: \"{}\" {}", name, why)};
    };
    if (std::find(std::begin(kSafeSysctls), std::end(kSafeSysctls), name) == std::end(kSafeSysctls)) {
      return refuse("not allowlisted");
    }
    if (name.starts_with("net.") && pod.spec.hostNetwork) return refuse("not allowed with host net enabled");
    if (name.starts_with("kernel.") && pod.spec.hostIPC) return refuse("not allowed with host ipc enabled");
  }
  return std::nullopt;
}

std::optional<Rejection> checkFit(const Pod& pod, const std::vector<schema::Ref<Pod>>& others, const MachineInfo& machine,
                                  int64_t maxPods) {
  PodRequest wanted = podRequest(pod), used;
  for (const auto& other : others) {
    PodRequest request = podRequest(*other);
    used.cpuMilli += request.cpuMilli;
    used.memoryBytes += request.memoryBytes;
  }
  auto refuse = [](std::string_view resource, int64_t requested, int64_t inUse, int64_t capacity) {
    return Rejection{fmt::format("OutOf{}", resource),
                     fmt::format("Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}", resource,
                                 requested, inUse, capacity)};
  };
  auto count = static_cast<int64_t>(others.size());
  if (count + 1 > maxPods) return refuse("pods", 1, count, maxPods);
  if (wanted.cpuMilli > 0 && used.cpuMilli + wanted.cpuMilli > machine.cpuMilli) {
    return refuse("cpu", wanted.cpuMilli, used.cpuMilli, machine.cpuMilli);
  }
  if (wanted.memoryBytes > 0 && used.memoryBytes + wanted.memoryBytes > machine.memoryBytes) {
    return refuse("memory", wanted.memoryBytes, used.memoryBytes, machine.memoryBytes);
  }
  return std::nullopt;
}

}  // namespace

PodRequest podRequest(const Pod& pod) { return podSum(pod, &corev1::ResourceRequirements::requests); }

PodRequest podSum(const Pod& pod, schema::Map<schema::Quantity> corev1::ResourceRequirements::* which) {
  PodRequest sum, initMax, sidecars;
  auto add = [](PodRequest& to, const schema::Map<schema::Quantity>& resources) {
    to.cpuMilli += cpuMilliOf(resources);
    to.memoryBytes += memoryBytesOf(resources);
  };
  for (const corev1::Container& container : pod.spec.containers) add(sum, container.resources.*which);
  // An init container runs beside the sidecars that started before it.
  for (const corev1::Container& container : pod.spec.initContainers) {
    PodRequest now = sidecars;
    add(now, container.resources.*which);
    if (isSidecar(container)) sidecars = now;
    initMax.cpuMilli = std::max(initMax.cpuMilli, now.cpuMilli);
    initMax.memoryBytes = std::max(initMax.memoryBytes, now.memoryBytes);
  }
  PodRequest out{std::max(sum.cpuMilli + sidecars.cpuMilli, initMax.cpuMilli),
                 std::max(sum.memoryBytes + sidecars.memoryBytes, initMax.memoryBytes)};
  // What is asked for the pod as a whole stands instead of the sum.
  if (pod.spec.resources != nullptr) {
    const schema::Map<schema::Quantity>& whole = pod.spec.resources->*which;
    if (whole.find("cpu") != nullptr) out.cpuMilli = cpuMilliOf(whole);
    if (whole.find("memory") != nullptr) out.memoryBytes = memoryBytesOf(whole);
  }
  add(out, pod.spec.overhead);
  return out;
}

std::optional<Rejection> admitUnderPressure(const Pod& pod, const Pressure& pressure) {
  constexpr int32_t kSystemCriticalPriority = 2'000'000'000;
  if (!pressure.any() || pod.spec.priority.valueOr(0) >= kSystemCriticalPriority) return std::nullopt;
  if (pressure.memory && !pressure.disk && !pressure.pid) {
    if (qosClassOf(pod) != "BestEffort") return std::nullopt;
    for (const corev1::Toleration& toleration : pod.spec.tolerations) {
      bool key =
          toleration.key == "node.kubernetes.io/memory-pressure" || (toleration.key.empty() && toleration.operator_ == "Exists");
      bool effect = toleration.effect.empty() || toleration.effect == "NoSchedule";
      if (key && effect && (toleration.operator_ == "Exists" || toleration.value.empty())) return std::nullopt;
    }
  }
  std::string conditions;
  for (auto [has, name] : {std::pair(pressure.memory, "MemoryPressure"), std::pair(pressure.disk, "DiskPressure"),
                           std::pair(pressure.pid, "PIDPressure")})
    if (has) conditions += (conditions.empty() ? "" : " ") + std::string(name);
  return Rejection{"Evicted", fmt::format("The node had condition: [{}]. ", conditions)};
}

std::optional<Rejection> admitPod(const Pod& pod, const std::vector<schema::Ref<Pod>>& others, const MachineInfo& machine,
                                  int64_t maxPods) {
  if (auto rejection = checkSysctls(pod)) return rejection;
  if (auto rejection = checkFit(pod, others, machine, maxPods)) return rejection;
  if (pod.spec.os != nullptr && pod.spec.os->name != "linux") {
    return Rejection{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"};
  }
  return std::nullopt;
}

}  // namespace knarr::kubelet
