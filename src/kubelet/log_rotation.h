// Rotation of container logs: a log over 10 MiB is put aside, older ones are compressed, at most
// five are kept. Upstream counterpart: pkg/kubelet/logs/container_log_manager.go.
#pragma once

#include <string>
#include <vector>

#include "async/async.h"
#include "contracts/cri/cri.h"

namespace knarr::kubelet {

struct LogRotationLimits {
  uint64_t bytesMax = uint64_t{10} << 20;  // containerLogMaxSize
  size_t filesMax = 5;                     // containerLogMaxFiles, the current one included
};

// "<pod logs>/<ns>_<name>_<uid>/<container>/<n>.log" taken apart.
struct LogPath {
  std::string path, podUid, container;
};
// The current log files over the size. Blocks.
std::vector<LogPath> findLargeLogs(env::Files& files, const std::string& podLogsDirectory, uint64_t bytesMax);
// What lies beside the log that is to go, so that after one more rotation at most filesMax are
// left. Pure.
std::vector<std::string> rotatedToRemove(std::vector<std::string> rotated, size_t filesMax);

// One look at all logs.
async::Task<void> rotateLogs(env::Env environment, cri::RuntimeClient* runtime, std::string podLogsDirectory,
                             LogRotationLimits limits);

}  // namespace knarr::kubelet
