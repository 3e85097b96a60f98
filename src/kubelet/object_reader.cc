#include "kubelet/object_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/authentication_v1.h"
#include "api/node_v1.h"

namespace knarr::kubelet {

using async::Task;
using schema::Ref;

namespace {
constexpr int64_t kNanos = 1'000'000'000;
constexpr int64_t kAgeMaxNanos = 20 * kNanos;
// Past it what is remembered and old is dropped; twice as many cost about as much memory as the
// pods that use them.
constexpr size_t kEntriesMax = 2000;
constexpr int64_t kTokenAgeMaxSeconds = 24 * 3600;

// The kubelet names what is not there in the singular. Source: pkg/kubelet/util/manager, the group resource of its stores.
Unexpected absent(std::string_view kind, std::string_view name, Error error) {
  if (!isNotFound(error)) return Unexpected(std::move(error));
  return fail(Reason::NotFound, fmt::format("{} \"{}\" not found", kind, name));
}
}  // namespace

Task<Result<Ref<>>> ObjectReader::read(const schema::ResourceInfo& resource, std::string nameSpace, std::string name,
                                       bool fresh) {
  std::string key = fmt::format("{}/{}/{}", resource.resource, nameSpace, name);
  int64_t now = env_.clock.unixNanos();
  auto known = entries_.find(key);
  if (!fresh && known != entries_.end() && now - known->second.readAtNanos < kAgeMaxNanos) {
    co_return known->second.object;
  }
  Result<Ref<>> object = co_await client_.get(resource, nameSpace, name);
  if (!object) {
    entries_.erase(key);
    co_return Unexpected(std::move(object).error());
  }
  if (entries_.size() >= kEntriesMax) {
    std::erase_if(entries_, [&](const auto& e) { return now - e.second.readAtNanos >= kAgeMaxNanos; });
  }
  if (entries_.size() < kEntriesMax) entries_[key] = {*object, env_.clock.unixNanos()};
  co_return *object;
}

Task<Result<Ref<corev1::ConfigMap>>> ObjectReader::configMap(std::string nameSpace, std::string name, bool fresh) {
  Result<Ref<>> object = co_await read(client::resourceOf<corev1::ConfigMap>(), nameSpace, name, fresh);
  if (!object) co_return absent("configmap", name, std::move(object).error());
  co_return Ref<corev1::ConfigMap>(std::move(*object));
}

Task<Result<Ref<corev1::Secret>>> ObjectReader::secret(std::string nameSpace, std::string name, bool fresh) {
  Result<Ref<>> object = co_await read(client::resourceOf<corev1::Secret>(), nameSpace, name, fresh);
  if (!object) co_return absent("secret", name, std::move(object).error());
  co_return Ref<corev1::Secret>(std::move(*object));
}

Task<Result<std::string>> ObjectReader::runtimeHandler(std::string runtimeClassName) {
  Result<Ref<>> object = co_await read(client::resourceOf<nodev1::RuntimeClass>(), "", runtimeClassName, false);
  if (!object) {
    co_return fail(object.error().reason(), fmt::format("failed to get sandbox runtime: {}", object.error().message()));
  }
  co_return std::string(Ref<nodev1::RuntimeClass>(std::move(*object))->handler);
}

Task<Result<std::string>> ObjectReader::serviceAccountToken(Ref<corev1::Pod> pod, std::string audience,
                                                            int64_t expirationSeconds) {
  std::string key = fmt::format("{}/{}/{}", pod->metadata.uid, audience, expirationSeconds);
  auto known = tokens_.find(key);
  if (known != tokens_.end() && env_.clock.unixSeconds() < known->second.refreshAtSeconds) {
    co_return known->second.token;
  }
  auto request = schema::newObject<authenticationv1::TokenRequest>();
  Arena& arena = request.arena();
  if (!audience.empty()) request->spec.audiences.append(arena, request.str(audience));
  request->spec.expirationSeconds = expirationSeconds;
  auto* bound = request->spec.boundObjectRef = arena.make<authenticationv1::BoundObjectReference>();
  bound->kind = "Pod";
  bound->apiVersion = "v1";
  bound->name = request.str(pod->metadata.name);
  bound->uid = request.str(pod->metadata.uid);
  std::string account(pod->spec.serviceAccountName.empty() ? schema::Str("default") : pod->spec.serviceAccountName);
  Result<Ref<>> answer = co_await client_.create(client::resourceOf<corev1::ServiceAccount>("token"),
                                                 std::string(pod->metadata.namespace_), account, std::move(request));
  int64_t now = env_.clock.unixSeconds();
  if (!answer) {
    // An older token that still holds beats none.
    known = tokens_.find(key);
    if (known != tokens_.end() && now < known->second.expiresAtSeconds) co_return known->second.token;
    co_return Unexpected(std::move(answer).error().withContext("failed to fetch token"));
  }
  Ref<authenticationv1::TokenRequest> granted(std::move(*answer));
  int64_t expires = granted->status.expirationTimestamp.unixSeconds();
  int64_t refresh = now + std::min<int64_t>((expires - now) * 8 / 10, kTokenAgeMaxSeconds);
  tokens_[key] = {std::string(granted->status.token), refresh, expires};
  co_return std::string(granted->status.token);
}

void ObjectReader::forgetPod(std::string_view podUid) {
  std::string prefix = fmt::format("{}/", podUid);
  std::erase_if(tokens_, [&](const auto& entry) { return entry.first.starts_with(prefix); });
}

}  // namespace knarr::kubelet
