// Container logs in the CRI format: reading with tail, since, limit and follow.
// Upstream counterpart: k8s.io/cri-client/pkg/logs/logs.go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/core_v1.h"
#include "kubelet/kubelet.h"

namespace knarr::kubelet {

// One line of a log file: "<RFC3339Nano> stdout|stderr F|P[:tags] text".
struct LogLine {
  std::string_view timestamp;
  int64_t unixNanos = 0;
  bool standardError = false;
  bool partial = false;  // joined with the next without a line end
  std::string_view text;
};
// Nothing for a line of another form.
std::optional<LogLine> parseLogLine(std::string_view line);

// Turns raw log bytes into what a client sees. Pure; feed it whole lines.
class LogFormatter {
 public:
  explicit LogFormatter(const LogOptions& options) : options_(options) {
    if (options.limitBytes) left_ = *options.limitBytes;
  }
  // The output for a line; sets done() when the byte limit is reached.
  std::string format(std::string_view line);
  bool done() const { return left_ == 0; }

 private:
  LogOptions options_;
  int64_t left_ = -1;  // -1: no limit
  bool inPartial_ = false;
};

// The runtime's id of the container instance whose log is asked for, by the pod's status. Pure.
// Errors (BadRequest) are upstream's: nothing has run yet, or there is no previous instance.
Result<std::string> containerToLog(const corev1::Pod& pod, std::string_view container, bool previous);

// Offset in `text` where its last `lines` lines begin.
size_t tailOffset(std::string_view text, int64_t lines);

// Reads the file and, with follow, what is added until `running` says no. Missing files are
// NotFound.
async::Task<Result<void>> readLogFile(env::Env environment, std::string path, LogOptions options, LogSink sink,
                                      std::function<async::Task<bool>()> running);

}  // namespace knarr::kubelet
