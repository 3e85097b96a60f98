// The kubelet's tree of cgroups: /kubepods, its QoS classes, one for each pod. Limits of a pod as a whole hold what its
// containers may do together; the runtime makes the containers' own cgroups below.
//
// cgroup v1 (a mount per controller), v2 and the hybrid of both (v2 without controllers at unified/) are served; what is
// mounted decides. Upstream counterpart: pkg/kubelet/cm (cgroupfs driver).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "base/result.h"
#include "env/env.h"
#include "kubelet/kubelet.h"
#include "schema/object.h"

namespace knarr::kubelet {

// In units of v1; nothing: stays as it is.
struct CgroupLimits {
  std::optional<int64_t> cpuShares;
  std::optional<int64_t> cpuQuotaMicros;  // in kCpuPeriodMicros; -1: none
  std::optional<int64_t> memoryBytes;
  bool operator==(const CgroupLimits&) const = default;
};

// Of a pod. Pure. Source: pkg/kubelet/cm/helpers_linux.go, ResourceConfigForPod.
CgroupLimits podCgroupLimits(const corev1::Pod& pod);

struct CgroupSetting {
  std::string path;  // "/kubepods/burstable"
  CgroupLimits limits;
  bool operator==(const CgroupSetting&) const = default;
};
// <cgroupRoot>/kubepods and its classes for the pods that the node holds. Pure. Source:
// pkg/kubelet/cm/qos_container_manager_linux.go, node_container_manager_linux.go.
std::vector<CgroupSetting> qosCgroups(const std::vector<schema::Ref<corev1::Pod>>& pods, const MachineInfo& machine,
                                      const std::string& cgroupRoot);

// v2's weight of v1's shares. Source: pkg/kubelet/cm/util, CPUSharesToCPUWeight (KEP 2254).
int64_t cpuWeightOf(int64_t shares);

// Makes the cgroup in every hierarchy that limits something and writes the limits. Without cgroups on the host nothing
// happens. Blocks; call it on the pool. Errors: the first file that could not be written; the rest is written all the same.
Result<void> applyCgroup(env::Files& files, const CgroupSetting& setting);

// Removes the empty cgroup `path` ("/kubepods/besteffort/podUID") from every hierarchy of the host, v1 and v2. Absent is
// fine; an error names one that still holds processes. Blocks; call it on the pool.
Result<void> removeCgroup(env::Files& files, const std::string& path);

}  // namespace knarr::kubelet
