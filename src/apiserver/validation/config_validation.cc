// ConfigMaps and Secrets. Source: pkg/apis/core/validation.
#include <set>

#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/arena.h"
#include "codec/value.h"
#include "schema/layout.h"

namespace knarr::apiserver {

using apimachinery::isConfigMapKey;

namespace {

// Of a Secret or ConfigMap, all data together. Source: core/v1, MaxSecretSize.
constexpr size_t kDataBytesMax = 1024 * 1024;
constexpr std::string_view kFrozen = "field is immutable when `immutable` is set";

void checkKey(FieldErrors& errors, const FieldPath& path, Str key) {
  for (const std::string& message : isConfigMapKey(key)) errors.push_back(invalidError(path.key(key), key, message));
}

// An object marked immutable keeps the mark and its data.
template <class T>
void checkFrozen(FieldErrors& errors, const Mut<>& object, const Ref<>& oldObject,
                 std::initializer_list<std::string_view> fields) {
  if (!static_cast<const T*>(oldObject.root())->immutable.valueOr(false)) return;
  if (!static_cast<const T*>(object.root())->immutable.valueOr(false)) forbid(errors, FieldPath("immutable"), kFrozen);
  for (std::string_view name : fields)
    for (const schema::FieldInfo& field : object.type().fields)
      if (field.json == name && !schema::equalField(field, object.root(), oldObject.root()))
        forbid(errors, FieldPath(std::string(name)), kFrozen);
}

bool isJsonObject(Str text) {
  Arena arena;
  auto parsed = codec::parseJsonValue(text, arena);
  return parsed && parsed->isObject();
}

}  // namespace

FieldErrors validateConfigMap(const Mut<>& object) {
  const auto& map = *static_cast<const corev1::ConfigMap*>(object.root());
  FieldErrors errors;
  size_t bytes = 0;
  for (const auto& [key, value] : map.data) {
    checkKey(errors, FieldPath("data"), key);
    if (map.binaryData.contains(key))
      errors.push_back(invalidError(FieldPath("data").key(key), key, "duplicate of key present in binaryData"));
    bytes += value.size();
  }
  for (const auto& [key, value] : map.binaryData) {
    checkKey(errors, FieldPath("binaryData"), key);
    bytes += value.bytes.size();
  }
  if (bytes > kDataBytesMax) errors.push_back(tooLongError(FieldPath(), static_cast<int64_t>(kDataBytesMax)));
  return errors;
}

FieldErrors validateConfigMapUpdate(const Mut<>& object, const Ref<>& old) {
  FieldErrors errors;
  checkFrozen<corev1::ConfigMap>(errors, object, old, {"data", "binaryData"});
  return errors;
}

FieldErrors validateSecret(const Mut<>& object) {
  const auto& secret = *static_cast<const corev1::Secret*>(object.root());
  FieldErrors errors;
  FieldPath path("data");
  size_t bytes = 0;
  for (const auto& [key, value] : secret.data) {
    checkKey(errors, path, key);
    bytes += value.bytes.size();
  }
  if (bytes > kDataBytesMax) errors.push_back(tooLongError(path, static_cast<int64_t>(kDataBytesMax)));
  auto has = [&](std::string_view key) { return secret.data.contains(key); };
  auto require = [&](std::string_view key) {
    if (!has(key)) errors.push_back(requiredError(path.key(key)));
  };
  auto requireJson = [&](std::string_view key) {
    require(key);
    const schema::Bytes* found = secret.data.find(key);
    if (found && !isJsonObject(found->bytes))
      errors.push_back(invalidError(path.key(key), "<secret contents redacted>", "invalid character in JSON object"));
  };
  if (secret.type == "kubernetes.io/service-account-token" &&
      schema::valueOf(secret.metadata.annotations, "kubernetes.io/service-account.name").empty())
    errors.push_back(requiredError(FieldPath("metadata").child("annotations").key("kubernetes.io/service-account.name")));
  if (secret.type == "kubernetes.io/dockercfg") requireJson(".dockercfg");
  if (secret.type == "kubernetes.io/dockerconfigjson") requireJson(".dockerconfigjson");
  if (secret.type == "kubernetes.io/basic-auth" && !has("username") && !has("password")) {
    require("username");
    require("password");
  }
  if (secret.type == "kubernetes.io/ssh-auth") {
    const schema::Bytes* key = secret.data.find("ssh-privatekey");
    if (!key || key->bytes.empty()) errors.push_back(requiredError(path.key("ssh-privatekey")));
  }
  if (secret.type == "kubernetes.io/tls") {
    require("tls.crt");
    require("tls.key");
  }
  return errors;
}

FieldErrors validateSecretUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& secret = *static_cast<const corev1::Secret*>(object.root());
  FieldErrors errors;
  if (secret.type != Ref<corev1::Secret>(oldObject)->type)
    errors.push_back(invalidError(FieldPath("type"), secret.type, kImmutable));
  checkFrozen<corev1::Secret>(errors, object, oldObject, {"data"});
  return errors;
}

}  // namespace knarr::apiserver
