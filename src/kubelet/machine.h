// What this host is made of, read from /proc and /etc. Upstream counterpart: cAdvisor's machine
// info.
#pragma once

#include "kubelet/kubelet.h"

namespace knarr::kubelet {

// rootDirectory: where pods' data lie; its file system is the ephemeral storage. Blocks a little.
// Errors name the file that cannot be read.
Result<MachineInfo> readMachineInfo(env::Files& files, const std::string& rootDirectory);

// Pure parts: bytes of MemTotal; PRETTY_NAME; number of processors.
int64_t memoryFromMeminfo(std::string_view meminfo);
std::string osImageFromRelease(std::string_view osRelease);
int64_t processorsFromCpuinfo(std::string_view cpuinfo);

}  // namespace knarr::kubelet
