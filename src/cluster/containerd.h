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

// Where a process is on its way out, by its files /proc/PID/stat and status ("" when absent). Pure.
// Ending: it is being killed, but may still hold ports and locks. A zombie holds nothing any more and counts as gone: its
// parent may never ask for it. Source: proc_pid_stat(5); PF_EXITING of the kernel's include/linux/sched.h.
enum class ProcessLife { Living, Ending, Gone };
ProcessLife processLife(std::string_view stat, std::string_view status);

// Sends a signal to the process of a pid file and waits until it is gone; after `patience` it is killed. Absent is ok.
async::Task<void> endProcess(env::Env environment, std::string pidFile, int signalNumber, env::Duration patience);
// Waits while the process of a pid file is ending, at most ten seconds. One that lives is not waited for.
async::Task<void> awaitEnding(env::Env environment, std::string pidFile);
// The living process of a pid file whose command line holds `word`; 0 when there is none.
int livingProcess(env::Env environment, const std::string& pidFile, std::string_view word);

}  // namespace knarr::cluster
