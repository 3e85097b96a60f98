// Image garbage collection: when the disk of images is fuller than the high threshold, images that no container uses go,
// the longest unused first, until it is at the low one.
// Upstream counterpart: pkg/kubelet/images/image_gc_manager.go.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "async/async.h"
#include "contracts/cri/cri.h"
#include "env/env.h"

namespace knarr::kubelet {

struct ImageUse {
  std::string id;
  int64_t sizeBytes = 0;
  int64_t firstDetectedNanos = 0;  // Unix
  int64_t lastUsedNanos = 0;       // 0: never since it was detected
  bool inUse = false;
  bool pinned = false;
};

// How many bytes are to be freed; 0 below the high threshold. Pure.
int64_t imageBytesToFree(const env::FileSystemSize& size);
// The images that may go, in order. Pure. Which of them go depends on what each removal frees.
std::vector<ImageUse> imagesToRemove(std::vector<ImageUse> images, int64_t nowNanos);

class ImageCollector {
 public:
  // `pinned`: names of images that never go ("docker.io/library/busybox:1.36"), besides those that the runtime pins.
  // `warn` tells of the node: reason, message.
  ImageCollector(env::Env environment, cri::RuntimeClient& runtime, std::set<std::string, std::less<>> pinned,
                 std::function<void(std::string, std::string)> warn)
      : env_(environment), runtime_(runtime), pinned_(std::move(pinned)), warn_(std::move(warn)) {}

  // Looks every five minutes until stop.
  async::Task<void> run(async::StopToken stop);
  // One look. Errors: the runtime does not answer; too little could be freed.
  async::Task<Result<void>> collect();
  // Removes unused images until `bytes` are free or none is left. How many were freed.
  async::Task<Result<int64_t>> freeSpace(int64_t bytes);
  // Where the runtime keeps images; "" until it was asked.
  const std::string& imagePath() const { return imagePath_; }

 private:
  async::Task<Result<void>> detect();

  env::Env env_;
  cri::RuntimeClient& runtime_;
  std::set<std::string, std::less<>> pinned_;
  std::function<void(std::string, std::string)> warn_;
  std::map<std::string, ImageUse> known_;  // by id
  std::string imagePath_;
};

}  // namespace knarr::kubelet
