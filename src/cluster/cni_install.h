// Puts our CNI plugins where the runtime looks for them.
#pragma once

#include "cluster/cluster.h"

namespace knarr::cluster {

// Copies each plugin of the assets whose bytes differ; takes them away again.
Result<void> installCniPlugins(env::Env environment, const ClusterConfig& config);
Result<void> removeCniPlugins(env::Env environment, const ClusterConfig& config);

}  // namespace knarr::cluster
