// What a container says about its end: the file at terminationMessagePath, or the end of its log.
// Source: pkg/kubelet/kuberuntime/kuberuntime_container.go (getTerminationMessage),
// pkg/kubelet/container/runtime.go.
#pragma once

#include "async/async.h"
#include "kubelet/runtime_pod.h"

namespace knarr::kubelet {

// Completes the messages of the containers that have exited.
async::Task<void> addTerminationMessages(env::Env environment, RuntimePod* runtime);

// The last `bytesMax` bytes of the last `lines` lines of a log file's text, without its timestamps.
// Pure.
std::string lastLogText(std::string_view logFile, int64_t lines, size_t bytesMax);

// Cuts termination messages so that a pod's share 12 KiB. Source: status_manager.go
// normalizeStatus.
constexpr size_t kPodTerminationMessageBytesMax = 12 * 1024;

}  // namespace knarr::kubelet
