#include "kubelet/image_gc.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace knarr::kubelet {

using async::Task;
namespace v1 = runtimev1;

namespace {

constexpr env::Duration kPeriod = std::chrono::minutes(5);  // Source: ImageGCPeriod
// Source: pkg/kubelet/apis/config/v1beta1/defaults.go: imageGCHighThresholdPercent, ...Low..., imageMinimumGCAge.
constexpr uint64_t kHighPercent = 85, kLowPercent = 80;
constexpr int64_t kAgeMinNanos = int64_t{120} * 1'000'000'000;
// The image of sandboxes, which no container names; runtimes older than pinned images do not mark it.
constexpr std::string_view kSandboxImage = "registry.k8s.io/pause:";

uint64_t usedPercent(const env::FileSystemSize& size) {
  return size.bytes == 0 ? 0 : 100 - size.bytesAvailable * 100 / size.bytes;
}

std::string sizeText(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace

int64_t imageBytesToFree(const env::FileSystemSize& size) {
  if (usedPercent(size) < kHighPercent) return 0;
  auto wanted = static_cast<int64_t>(size.bytes * (100 - kLowPercent) / 100);
  return std::max<int64_t>(0, wanted - static_cast<int64_t>(size.bytesAvailable));
}

std::vector<ImageUse> imagesToRemove(std::vector<ImageUse> images, int64_t nowNanos) {
  std::erase_if(images, [&](const ImageUse& image) {
    return image.inUse || image.pinned || nowNanos - image.firstDetectedNanos < kAgeMinNanos;
  });
  std::ranges::sort(images, [](const ImageUse& a, const ImageUse& b) {
    return std::tie(a.lastUsedNanos, a.firstDetectedNanos, a.id) < std::tie(b.lastUsedNanos, b.firstDetectedNanos, b.id);
  });
  return images;
}

// Remembers when each image was first seen and last used.
Task<Result<void>> ImageCollector::detect() {
  auto images = CO_TRY(co_await runtime_.listImages(schema::newObject<v1::ListImagesRequest>()));
  auto containers = CO_TRY(co_await runtime_.listContainers(schema::newObject<v1::ListContainersRequest>()));
  std::set<std::string, std::less<>> used;
  for (const v1::Container& container : containers->containers) {
    used.emplace(container.imageRef);
    if (container.image != nullptr) used.emplace(container.image->image);
  }
  int64_t now = env_.clock.unixNanos();
  std::map<std::string, ImageUse> found;
  for (const v1::Image& image : images->images) {
    std::string id(image.id);
    ImageUse use = known_.contains(id) ? known_[id] : ImageUse{.id = id, .firstDetectedNanos = now};
    use.sizeBytes = static_cast<int64_t>(image.size);
    use.pinned = image.pinned;
    use.inUse = used.contains(id);
    auto look = [&](schema::Str name) {
      use.inUse |= used.contains(std::string_view(name));
      use.pinned |= name.starts_with(kSandboxImage) || pinned_.contains(std::string_view(name));
    };
    for (schema::Str name : image.repoTags) look(name);
    for (schema::Str name : image.repoDigests) look(name);
    if (use.inUse) use.lastUsedNanos = now;
    found[id] = std::move(use);
  }
  known_ = std::move(found);
  co_return Result<void>();
}

Task<Result<int64_t>> ImageCollector::freeSpace(int64_t bytes) {
  CO_TRY(co_await detect());
  std::vector<ImageUse> images;
  for (const auto& [id, use] : known_) images.push_back(use);
  int64_t freed = 0;
  for (const ImageUse& image : imagesToRemove(std::move(images), env_.clock.unixNanos())) {
    if (freed >= bytes) break;
    auto request = schema::newObject<v1::RemoveImageRequest>();
    request->image = request.arena().make<v1::ImageSpec>();
    request->image->image = request.str(image.id);
    auto removed = co_await runtime_.removeImage(std::move(request));
    if (!removed) {
      logWarning("kubelet", "cannot remove an unused image id={} error={}", image.id, removed.error().describe());
      continue;
    }
    known_.erase(image.id);
    freed += image.sizeBytes;
  }
  co_return freed;
}

Task<Result<void>> ImageCollector::collect() {
  auto info = CO_TRY(co_await runtime_.imageFsInfo());
  if (info->imageFilesystems.empty() || info->imageFilesystems[0].fsId == nullptr)
    co_return fail(Reason::InternalError, "the runtime does not say where it keeps images");
  imagePath_ = info->imageFilesystems[0].fsId->mountpoint;
  env::FileSystemSize size = CO_TRY(env_.files.fileSystemSize(imagePath_));
  if (size.bytes == 0) {
    warn_("InvalidDiskCapacity", "invalid capacity 0 on image filesystem");
    co_return fail(Reason::InternalError, "invalid capacity 0 on image filesystem");
  }
  int64_t wanted = imageBytesToFree(size);
  if (wanted > 0)
    logInfo("kubelet", "the disk of images is full path={} usedPercent={} bytesToFree={}", imagePath_, usedPercent(size), wanted);
  int64_t freed = CO_TRY(co_await freeSpace(wanted));
  if (freed >= wanted) co_return Result<void>();
  std::string message = fmt::format(
      "Insufficient free disk space on the node's image filesystem ({}% of {} used). Failed to free sufficient space by "
      "deleting unused images (freed {} bytes). Investigate disk usage, as it could be used by active images, logs, volumes, or "
      "other data.",
      usedPercent(size), sizeText(size.bytes), freed);
  warn_("FreeDiskSpaceFailed", message);
  co_return fail(Reason::InternalError, message);
}

Task<void> ImageCollector::run(async::StopToken stop) {
  bool failedBefore = false;
  while (!stop.stopRequested()) {
    Result<void> collected = co_await collect();
    if (!collected) {
      logWarning("kubelet", "image garbage collection failed error={}", collected.error().describe());
      // The first one may be a runtime that is just starting. Source: kubelet.go, StartGarbageCollection.
      if (failedBefore) warn_("ImageGCFailed", collected.error().message());
    }
    failedBefore = !collected;
    co_await async::sleepFor(env_, kPeriod, stop);
  }
}

}  // namespace knarr::kubelet
