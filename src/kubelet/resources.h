// Resource arithmetic of pods: quality of service, cgroup figures, out-of-memory scores. Pure.
// Upstream counterpart: pkg/apis/core/v1/helper/qos, pkg/kubelet/cm/helpers_linux.go,
// pkg/kubelet/qos/policy.go.
#pragma once

#include <string>

#include "api/core_v1.h"

namespace knarr::kubelet {

// "Guaranteed", "Burstable" or "BestEffort"; the status' value when it has one.
std::string qosClassOf(const corev1::Pod& pod);

// In milli for cpu, bytes for the others; 0 when not set.
int64_t cpuMilliOf(const schema::Map<schema::Quantity>& resources);
int64_t memoryBytesOf(const schema::Map<schema::Quantity>& resources);

// cgroup v1 units. Source: pkg/kubelet/cm/helpers_linux.go.
int64_t cpuSharesOf(int64_t milliCpu);
// 0: no limit. period in microseconds.
int64_t cpuQuotaOf(int64_t milliCpu, int64_t period);
constexpr int64_t kCpuPeriodMicros = 100'000;

// oom_score_adj of a container.
int64_t oomScoreAdjust(const corev1::Pod& pod, const corev1::Container& container, int64_t nodeMemoryBytes);

// "<cgroupRoot>/kubepods/burstable/pod<uid>".
std::string podCgroup(const corev1::Pod& pod, const std::string& cgroupRoot);

// An init container that stays: restartPolicy Always.
bool isSidecar(const corev1::Container& container);

}  // namespace knarr::kubelet
