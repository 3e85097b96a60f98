#include "kubelet/image_manager.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "codec/value.h"
#include "kubelet/image_reference.h"

namespace knarr::kubelet {

using async::Task;
namespace v1 = runtimev1;

namespace {

// "docker.io/library/busybox:1.36" to its registry and path, as credentials are looked up by.
std::string repositoryOf(std::string_view image) {
  std::string name(image.substr(0, image.find('@')));
  size_t slash = name.rfind('/');
  size_t colon = name.find(':', slash == std::string::npos ? 0 : slash);
  if (colon != std::string::npos) name.resize(colon);
  size_t first = name.find('/');
  std::string host = first == std::string::npos ? "" : name.substr(0, first);
  bool isHost = host.find('.') != std::string::npos || host.find(':') != std::string::npos || host == "localhost";
  if (!isHost) name = "index.docker.io/" + (first == std::string::npos ? "library/" + name : name);
  if (name.starts_with("docker.io/")) name = "index." + name;
  return name;
}

std::string registryKey(std::string_view key) {
  for (std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  }
  std::string out(key);
  for (std::string_view version : {"/v1/", "/v2/", "/v1", "/v2"}) {
    if (out.ends_with(version)) out.resize(out.size() - version.size());
  }
  while (out.ends_with('/')) out.pop_back();
  return out == "docker.io" ? "index.docker.io" : out;
}

// One label of a host, "*" standing for any run of characters.
bool labelMatches(std::string_view pattern, std::string_view label) {
  size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == label;
  std::string_view head = pattern.substr(0, star), tail = pattern.substr(star + 1);
  return label.size() >= head.size() + tail.size() && label.starts_with(head) && label.ends_with(tail);
}

bool hostMatches(std::string_view pattern, std::string_view host) {
  std::vector<std::string_view> want = split(pattern, '.'), have = split(host, '.');
  if (want.size() != have.size()) return false;
  for (size_t i = 0; i < want.size(); ++i) {
    if (!labelMatches(want[i], have[i])) return false;
  }
  return true;
}

RegistryCredentials credentialsOf(const codec::Value& entry) {
  auto text = [&](std::string_view name) {
    const codec::Value* value = entry.find(name);
    return std::string(value == nullptr ? std::string_view() : value->stringOr());
  };
  RegistryCredentials out{text("username"), text("password"), "", text("identitytoken"), text("registrytoken")};
  if (auto decoded = base64Decode(text("auth")); decoded && !decoded->empty()) {
    size_t colon = decoded->find(':');
    if (colon != std::string::npos) {
      out.username = decoded->substr(0, colon);
      out.password = decoded->substr(colon + 1);
    }
  }
  return out;
}

// A runtime says with the first word of its error what kind it is. Source: k8s.io/cri-api
// pkg/errors.
StartFailure pullFailure(std::string_view image, std::string_view message) {
  for (auto [prefix, what] : {std::pair<std::string_view, std::string_view>{"RegistryUnavailable", "the registry is unavailable"},
                              {"SignatureValidationFailed", "the signature validation failed"}}) {
    if (!message.starts_with(prefix)) continue;
    std::string_view rest = message.substr(prefix.size());
    return {std::string(prefix), fmt::format("image pull failed for {} because {}{}", image, what, rest)};
  }
  return {"ErrImagePull", std::string(message)};
}

}  // namespace

std::optional<RegistryCredentials> credentialsFor(std::string_view dockerConfigJson, std::string_view image) {
  Arena arena;
  auto root = codec::parseJsonValue(dockerConfigJson, arena);
  if (!root || !root->isObject()) return std::nullopt;
  const codec::Value* auths = root->find("auths");
  if (auths == nullptr) auths = &*root;  // the older .dockercfg has no outer object
  if (!auths->isObject()) return std::nullopt;
  std::string repository = repositoryOf(image);
  const codec::Value* best = nullptr;
  size_t bestSize = 0;
  for (const codec::Member& member : auths->members()) {
    std::string key = registryKey(member.name);
    size_t keySlash = key.find('/'), repositorySlash = repository.find('/');
    std::string keyPath = keySlash == std::string::npos ? "" : key.substr(keySlash);
    if (!hostMatches(key.substr(0, keySlash), repository.substr(0, repositorySlash))) continue;
    if (!repository.substr(repositorySlash).starts_with(keyPath)) continue;
    if (best != nullptr && key.size() <= bestSize) continue;  // longer paths are closer
    best = &member.value;
    bestSize = key.size();
  }
  if (best == nullptr || !best->isObject()) return std::nullopt;
  return credentialsOf(*best);
}

Task<Result<std::optional<PresentImage>>> ImageManager::look(std::string image) {
  auto request = schema::newObject<v1::ImageStatusRequest>();
  request->image = request.arena().make<v1::ImageSpec>();
  request->image->image = request.str(image);
  auto answer = CO_TRY(co_await runtime_.imageStatus(std::move(request)));
  if (answer->image == nullptr) co_return std::nullopt;
  PresentImage present;
  present.ref = answer->image->id;
  if (answer->image->uid != nullptr) present.uid = answer->image->uid->value;
  present.username = answer->image->username;
  co_return present;
}

Task<Result<std::string>> ImageManager::pull(schema::Ref<corev1::Pod> pod, std::string image) {
  std::vector<RegistryCredentials> credentials;
  for (size_t i = 0; i < pod->spec.imagePullSecrets.size(); ++i) {
    std::string name(pod->spec.imagePullSecrets[i].name);
    auto secret = co_await objects_.secret(std::string(pod->metadata.namespace_), name, false);
    if (!secret) {
      recorder_.event(pod, "Warning", "FailedToRetrieveImagePullSecret",
                      fmt::format("Unable to retrieve some image pull secrets ({}); attempting to "
                                  "pull the image may not "
                                  "succeed.",
                                  name));
      continue;
    }
    for (std::string_view key : {".dockerconfigjson", ".dockercfg"}) {
      const schema::Bytes* text = (*secret)->data.find(key);
      if (text == nullptr) continue;
      if (auto found = credentialsFor(text->bytes, image)) credentials.push_back(std::move(*found));
    }
  }
  if (credentials.empty()) credentials.emplace_back();  // anonymous
  std::string errors;
  for (const RegistryCredentials& each : credentials) {
    auto request = schema::newObject<v1::PullImageRequest>();
    request->image = request.arena().make<v1::ImageSpec>();
    request->image->image = request.str(image);
    if (!each.username.empty() || !each.identityToken.empty() || !each.registryToken.empty()) {
      request->auth = request.arena().make<v1::AuthConfig>();
      request->auth->username = request.str(each.username);
      request->auth->password = request.str(each.password);
      request->auth->identityToken = request.str(each.identityToken);
      request->auth->registryToken = request.str(each.registryToken);
    }
    auto answer = co_await runtime_.pullImage(std::move(request));
    if (answer) co_return std::string((*answer)->imageRef);
    errors += (errors.empty() ? "" : ", ") + answer.error().message();
  }
  co_return fail(Reason::InternalError, errors);
}

Task<ImageManager::Outcome> ImageManager::ensureImageExists(schema::Ref<corev1::Pod> pod, std::string fieldPath,
                                                            std::string image, std::string pullPolicy) {
  auto refuse = [&](std::string event, std::string reason, std::string message) {
    recorder_.eventAbout(pod, fieldPath, "Warning", event, message);
    return Outcome(std::unexpected(StartFailure{std::move(reason), std::move(message)}));
  };
  Result<std::string> full = withDefaultTag(image);
  if (!full) {
    co_return refuse("InspectFailed", "InvalidImageName",
                     fmt::format("Failed to apply default image tag \"{}\": {}", image, full.error().message()));
  }
  if (pullPolicy != "Always") {
    auto present = co_await look(*full);
    if (!present) {
      co_return refuse("InspectFailed", "ImageInspectError",
                       fmt::format("Failed to inspect image \"{}\": {}", image, present.error().message()));
    }
    if (*present) {
      recorder_.eventAbout(
          pod, fieldPath, "Normal", "Pulled",
          fmt::format("Container image \"{}\" already present on machine and can be accessed by the pod", image));
      co_return **present;
    }
    if (pullPolicy == "Never") {
      co_return refuse("ErrImageNeverPull", "ErrImageNeverPull",
                       fmt::format("Container image \"{}\" is not present with pull policy of Never", image));
    }
  }
  std::string key = fmt::format("{}_{}", pod->metadata.uid, *full);
  int64_t now = env_.clock.unixNanos();
  if (auto last = lastFailureNanos_.find(key);
      last != lastFailureNanos_.end() && backOff_.remaining(key, last->second, now) > 0) {
    std::string message = fmt::format("Back-off pulling image \"{}\"", image);
    recorder_.eventAbout(pod, fieldPath, "Normal", "BackOff", message);
    const StartFailure& failure = lastFailure_[key];
    co_return std::unexpected(
        StartFailure{"ImagePullBackOff", fmt::format("{}: {}: {}", message, failure.reason, failure.message)});
  }
  recorder_.eventAbout(pod, fieldPath, "Normal", "Pulling", fmt::format("Pulling image \"{}\"", image));
  Result<std::string> ref = co_await pull(pod, *full);
  if (!ref) {
    recorder_.eventAbout(pod, fieldPath, "Warning", "Failed",
                         fmt::format("Failed to pull image \"{}\": {}", image, ref.error().message()));
    int64_t failedAt = env_.clock.unixNanos();
    backOff_.collect(failedAt);
    std::erase_if(lastFailureNanos_, [&](const auto& e) { return backOff_.delayOf(e.first) == env::Duration{}; });
    std::erase_if(lastFailure_, [&](const auto& e) { return backOff_.delayOf(e.first) == env::Duration{}; });
    backOff_.advance(key, failedAt, failedAt);
    lastFailureNanos_[key] = failedAt;
    lastFailure_[key] = pullFailure(image, ref.error().message());
    co_return std::unexpected(lastFailure_[key]);
  }
  int64_t took = (env_.clock.unixNanos() - now) / 1'000'000;
  auto present = co_await look(*full);
  if (!present || !*present) present = co_await look(*ref);
  if (!present || !*present) {
    co_return refuse("InspectFailed", "ImageInspectError",
                     fmt::format("Failed to inspect image \"{}\": it is not present after the pull", image));
  }
  recorder_.eventAbout(pod, fieldPath, "Normal", "Pulled",
                       fmt::format("Successfully pulled image \"{}\" in {}ms ({}ms including waiting).", image, took, took));
  co_return **present;
}

}  // namespace knarr::kubelet
