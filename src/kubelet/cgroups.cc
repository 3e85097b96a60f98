#include "kubelet/cgroups.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "kubelet/admission.h"
#include "kubelet/resources.h"

namespace knarr::kubelet {
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup";
constexpr int kDepthMax = 8;

// Children first: a cgroup with children cannot be removed.
Result<void> removeBelow(env::Files& files, const std::string& directory, int depth) {
  auto names = files.listDirectory(directory);
  if (!names && isNotFound(names.error())) return {};
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    std::string child = directory + "/" + name;
    auto status = files.status(child, false);
    if (depth < kDepthMax && status && status->type == env::FileStatus::Directory) {
      TRY(removeBelow(files, child, depth + 1));
    }
  }
  Result<void> removed = files.removeFile(directory);
  if (!removed && isNotFound(removed.error())) return {};
  return removed;
}

bool isPresent(env::Files& files, const std::string& path) { return files.status(path).has_value(); }

// Every value is written as one write of one line, which is what the kernel takes.
void writeValue(env::Files& files, const std::string& path, const std::string& value, Result<void>& first) {
  Result<void> written = files.appendFile(path, value);
  if (!written && first) first = written;
}

void applyV1(env::Files& files, const CgroupSetting& setting, Result<void>& first) {
  auto in = [&](const char* controller) -> std::string {
    std::string root = fmt::format("{}/{}", kRoot, controller);
    if (!isPresent(files, root + "/cgroup.procs")) return "";
    Result<void> made = files.makeDirectories(root + setting.path);
    if (!made && first) first = made;
    return made ? root + setting.path : "";
  };
  const CgroupLimits& limits = setting.limits;
  if (std::string cpu = in("cpu"); !cpu.empty()) {
    if (limits.cpuShares) writeValue(files, cpu + "/cpu.shares", std::to_string(*limits.cpuShares), first);
    if (limits.cpuQuotaMicros) {
      writeValue(files, cpu + "/cpu.cfs_period_us", std::to_string(kCpuPeriodMicros), first);
      writeValue(files, cpu + "/cpu.cfs_quota_us", std::to_string(*limits.cpuQuotaMicros), first);
    }
  }
  if (std::string memory = in("memory"); !memory.empty() && limits.memoryBytes)
    writeValue(files, memory + "/memory.limit_in_bytes", std::to_string(*limits.memoryBytes), first);
}

// A cgroup has a controller only when every one above it hands it on.
void handOnControllers(env::Files& files, const std::string& path) {
  std::string directory = kRoot;
  for (size_t slash = 0; slash != std::string::npos;) {
    auto available = files.readFile(directory + "/cgroup.controllers");
    auto handedOn = files.readFile(directory + "/cgroup.subtree_control");
    if (!available || !handedOn) return;
    std::vector<std::string_view> on = split(trim(*handedOn), ' ');
    for (std::string_view controller : split(trim(*available), ' '))
      if (!controller.empty() && std::ranges::find(on, controller) == on.end())
        // One that cannot be handed on (a process lives in the root of a container) leaves the others alone.
        (void)files.appendFile(directory + "/cgroup.subtree_control", fmt::format("+{}", controller));
    size_t next = path.find('/', slash + 1);
    if (next == std::string::npos) return;
    directory = kRoot + path.substr(0, next);
    if (!files.makeDirectories(directory)) return;
    slash = next;
  }
}

void applyV2(env::Files& files, const CgroupSetting& setting, Result<void>& first) {
  handOnControllers(files, setting.path + "/");
  std::string directory = kRoot + setting.path;
  if (Result<void> made = files.makeDirectories(directory); !made) {
    if (first) first = made;
    return;
  }
  const CgroupLimits& limits = setting.limits;
  std::string controllers = " " + std::string(trim(files.readFile(directory + "/cgroup.controllers").value_or(""))) + " ";
  if (controllers.find(" cpu ") != std::string::npos) {
    if (limits.cpuShares) writeValue(files, directory + "/cpu.weight", std::to_string(cpuWeightOf(*limits.cpuShares)), first);
    if (limits.cpuQuotaMicros) {
      std::string quota = *limits.cpuQuotaMicros < 0 ? "max" : std::to_string(*limits.cpuQuotaMicros);
      writeValue(files, directory + "/cpu.max", fmt::format("{} {}", quota, kCpuPeriodMicros), first);
    }
  }
  if (controllers.find(" memory ") != std::string::npos && limits.memoryBytes)
    writeValue(files, directory + "/memory.max", std::to_string(*limits.memoryBytes), first);
}

}  // namespace

CgroupLimits podCgroupLimits(const corev1::Pod& pod) {
  CgroupLimits limits;
  std::string qos = qosClassOf(pod);
  if (qos == "BestEffort") {
    limits.cpuShares = cpuSharesOf(0);
    return limits;
  }
  // A limit of the whole exists only when every container has one, or the pod itself.
  bool cpuLimited = true, memoryLimited = true;
  auto look = [&](const corev1::Container& container) {
    cpuLimited &= cpuMilliOf(container.resources.limits) > 0;
    memoryLimited &= memoryBytesOf(container.resources.limits) > 0;
  };
  for (const corev1::Container& container : pod.spec.containers) look(container);
  for (const corev1::Container& container : pod.spec.initContainers) look(container);
  if (pod.spec.resources != nullptr) {
    cpuLimited |= cpuMilliOf(pod.spec.resources->limits) > 0;
    memoryLimited |= memoryBytesOf(pod.spec.resources->limits) > 0;
  }
  PodRequest sum = podSum(pod, &corev1::ResourceRequirements::limits);
  limits.cpuShares = cpuSharesOf(podRequest(pod).cpuMilli);
  if (cpuLimited) limits.cpuQuotaMicros = cpuQuotaOf(sum.cpuMilli, kCpuPeriodMicros);
  if (memoryLimited) limits.memoryBytes = sum.memoryBytes;
  return limits;
}

std::vector<CgroupSetting> qosCgroups(const std::vector<schema::Ref<corev1::Pod>>& pods, const MachineInfo& machine,
                                      const std::string& cgroupRoot) {
  int64_t burstableMilli = 0;
  for (const auto& pod : pods)
    if (qosClassOf(*pod) == "Burstable") burstableMilli += podRequest(*pod).cpuMilli;
  std::string top = cgroupRoot + "/kubepods";
  return {{top, {cpuSharesOf(machine.cpuMilli), std::nullopt, machine.memoryBytes}},
          {top + "/burstable", {cpuSharesOf(burstableMilli), std::nullopt, std::nullopt}},
          {top + "/besteffort", {cpuSharesOf(0), std::nullopt, std::nullopt}}};
}

int64_t cpuWeightOf(int64_t shares) { return shares == 0 ? 0 : 1 + (std::clamp<int64_t>(shares, 2, 262144) - 2) * 9999 / 262142; }

Result<void> applyCgroup(env::Files& files, const CgroupSetting& setting) {
  Result<void> first;
  if (isPresent(files, std::string(kRoot) + "/cgroup.controllers")) {
    applyV2(files, setting, first);
  } else {
    applyV1(files, setting, first);
  }
  return first;
}

Result<void> removeCgroup(env::Files& files, const std::string& path) {
  std::vector<std::string> hierarchies = {kRoot};  // v2 alone
  if (auto names = files.listDirectory(kRoot)) {
    for (const std::string& name : *names) hierarchies.push_back(std::string(kRoot) + "/" + name);
  }
  Result<void> result;
  for (const std::string& hierarchy : hierarchies) {
    if (!files.status(hierarchy + path)) continue;
    if (Result<void> removed = removeBelow(files, hierarchy + path, 0); !removed) result = removed;
  }
  return result;
}

Result<void> removeCgroups(env::Files& files, const std::string& cgroupRoot) {
  return removeCgroup(files, cgroupRoot.empty() ? "/kubepods" : cgroupRoot);
}

}  // namespace knarr::kubelet
