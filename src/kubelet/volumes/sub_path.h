// Paths inside a volume that a container asks to have mounted alone.
//
// A container that shares the volume can put links into it, so nothing there is trusted: every link is followed by hand
// and must stay inside. Upstream counterpart: k8s.io/mount-utils, pkg/volume/util/subpath.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "env/env.h"

namespace knarr::kubelet {

// The host path of `subPath` below `volume`, without links; what is absent is made as directories (0750). Invalid when it
// leads out of the volume, or through something that is no directory. Blocks shortly.
Result<std::string> resolveSubPath(env::Files& files, const std::string& volume, std::string_view subPath);

}  // namespace knarr::kubelet
