// The pod's cgroup in the kubelet's tree. The runtime makes it with the first container; the
// kubelet removes it at the end. Upstream counterpart: pkg/kubelet/cm (cgroupfs driver).
#pragma once

#include <string>

#include "base/result.h"
#include "env/env.h"

namespace knarr::kubelet {

// Removes the empty cgroup `path` ("/kubepods/besteffort/podUID") from every hierarchy of the host,
// v1 and v2. Absent is fine; an error names one that still holds processes. Blocks; call it on the
// pool.
Result<void> removeCgroup(env::Files& files, const std::string& path);

}  // namespace knarr::kubelet
