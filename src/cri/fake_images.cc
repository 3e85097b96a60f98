// The images of FakeRuntime.
#include <fmt/format.h>

#include "base/strings.h"
#include "cri/fake.h"

namespace knarr::cri {

std::string FakeRuntime::fullImageName(std::string_view name) {
  std::string full(name);
  size_t slash = full.rfind('/');
  if (slash == std::string::npos) full = "docker.io/library/" + full;
  slash = full.rfind('/');
  if (full.find(':', slash) == std::string::npos && full.find('@') == std::string::npos) full += ":latest";
  return full;
}

std::string FakeRuntime::presentImage(std::string_view name) const {
  for (const std::string& candidate : {std::string(name), fullImageName(name)}) {
    if (images_.contains(candidate)) return candidate;
    if (!candidate.starts_with("sha256:")) continue;
    for (const auto& [image, behavior] : images_) {
      if ("sha256:" + fmt::format("{:064x}", fnv64a(image)) == candidate) return image;
    }
  }
  return "";
}

void FakeRuntime::addImage(std::string name, Behavior behavior) { images_[fullImageName(name)] = std::move(behavior); }
void FakeRuntime::addRemoteImage(std::string name, Behavior behavior) {
  remoteImages_[fullImageName(name)] = std::move(behavior);
}
namespace {
void describeImage(v1::Image& image, Arena& arena, const std::string& name, const FakeRuntime::Behavior& behavior) {
  image.id = arena.copy("sha256:" + fmt::format("{:064x}", fnv64a(name)));
  image.repoTags.append(arena, arena.copy(name));
  image.size = 1 << 20;
  bool number = !behavior.user.empty() && behavior.user.find_first_not_of("0123456789") == std::string::npos;
  if (number) {
    image.uid = arena.make<v1::Int64Value>();
    image.uid->value = std::stoll(behavior.user);
  } else {
    image.username = arena.copy(behavior.user);
  }
}
}  // namespace

Answer<v1::ListImagesResponse> FakeRuntime::listImages(Mut<v1::ListImagesRequest>) {
  CO_TRY(co_await enter("ListImages", delays.other));
  auto answer = schema::newObject<v1::ListImagesResponse>();
  for (const auto& [name, behavior] : images_) {
    describeImage(answer->images.append(answer.arena()), answer.arena(), name, behavior);
  }
  co_return std::move(answer).publish();
}

Answer<v1::ImageStatusResponse> FakeRuntime::imageStatus(Mut<v1::ImageStatusRequest> request) {
  CO_TRY(co_await enter("ImageStatus", delays.other));
  if (request->image == nullptr) co_return fail(Reason::Invalid, "image spec is nil");
  auto answer = schema::newObject<v1::ImageStatusResponse>();
  std::string name = presentImage(request->image->image);
  if (!name.empty()) {
    answer->image = answer.arena().make<v1::Image>();
    describeImage(*answer->image, answer.arena(), name, images_[name]);
  }
  co_return std::move(answer).publish();
}

Answer<v1::PullImageResponse> FakeRuntime::pullImage(Mut<v1::PullImageRequest> request) {
  if (request->image == nullptr) co_return fail(Reason::Invalid, "image spec is nil");
  std::string name = fullImageName(request->image->image);
  CO_TRY(co_await enter("PullImage", delays.pull, name));
  auto remote = remoteImages_.find(name);
  if (remote == remoteImages_.end() && !images_.contains(name)) {
    co_return fail(Reason::NotFound, fmt::format("failed to resolve reference \"{}\": {}: not found", name, name));
  }
  if (remote != remoteImages_.end()) images_[name] = remote->second;
  auto answer = schema::newObject<v1::PullImageResponse>();
  answer->imageRef = answer.str("sha256:" + fmt::format("{:064x}", fnv64a(name)));
  co_return std::move(answer).publish();
}

Answer<v1::RemoveImageResponse> FakeRuntime::removeImage(Mut<v1::RemoveImageRequest> request) {
  CO_TRY(co_await enter("RemoveImage", delays.other));
  if (request->image != nullptr) images_.erase(presentImage(request->image->image));
  co_return schema::newObject<v1::RemoveImageResponse>().publish();
}

}  // namespace knarr::cri
