// containerd as a child of ours: its own root, state, socket and configuration, so that a containerd or Docker that the
// host already has is not touched. It outlives the server process; a restart finds it again.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/cluster.h"

namespace knarr::cri {
class RuntimeClient;
}

namespace knarr::cluster {

// The configuration file. restrictOomScoreAdj: root here may not lower an OOM score (no CAP_SYS_RESOURCE).
std::string containerdConfigText(const ClusterConfig& config, bool restrictOomScoreAdj);
// The CNI network list of one node, whose pods have addresses of `podRange`.
std::string cniNetworkText(const ClusterConfig& config, std::string_view podRange);
// Puts it where containerd looks; the same text is not written again.
Result<void> writeCniNetwork(env::Env environment, const ClusterConfig& config, std::string_view podRange);
// Whether this process may lower OOM scores. Source: capabilities(7), CAP_SYS_RESOURCE is bit 24.
bool hasCapSysResource(env::Env environment);

// Starts it unless it answers already; returns when its socket takes connections.
async::Task<Result<void>> ensureContainerd(env::Env environment, ClusterConfig config);
// Loads the images under the assets that are not loaded yet, or that the runtime has lost.
async::Task<Result<void>> importImages(env::Env environment, ClusterConfig config);
// The same, asking `runtime` which images there are.
async::Task<Result<void>> importImages(env::Env environment, ClusterConfig config, cri::RuntimeClient* runtime);
// Names of the images that importImages has loaded ("docker.io/library/busybox:1.36").
std::set<std::string, std::less<>> loadedImages(env::Env environment, const ClusterConfig& config);
// The names in what `ctr images import` printed: a line "unpacking NAME (DIGEST)...done" each. Pure.
std::vector<std::string> importedImageNames(std::string_view output);
// Ends it and waits until it has gone.
async::Task<Result<void>> stopContainerd(env::Env environment, ClusterConfig config);

// Sends a signal to the process of a pid file and waits until it is gone; after `patience` it is killed. Absent is ok.
async::Task<void> endProcess(env::Env environment, std::string pidFile, int signalNumber, env::Duration patience);
// The living process of a pid file whose command line holds `word`; 0 when there is none.
int livingProcess(env::Env environment, const std::string& pidFile, std::string_view word);

}  // namespace knarr::cluster
