#include <fmt/format.h>

#include <set>

#include "api/apps_v1.h"
#include "apiserver/validation/validation.h"
#include "schema/layout.h"

namespace knarr::apiserver {

using namespace apimachinery;
using schema::Mut;
using schema::Ref;

namespace {

// Of a Secret or ConfigMap, all data together. Source: core/v1, MaxSecretSize.
constexpr size_t kDataBytesMax = 1024 * 1024;

template <class T>
const T& as(const Mut<>& object) {
  return *static_cast<const T*>(object.root());
}

void validateDataKey(FieldErrors& errors, const FieldPath& path, schema::Str key) {
  for (const std::string& message : isConfigMapKey(key)) errors.push_back(invalidError(path.key(key), key, message));
}

FieldErrors validateSelectorAndTemplate(const metav1::LabelSelector* selector, const corev1::PodTemplateSpec& pod, const FieldPath& spec) {
  FieldErrors errors;
  if (!selector)
    errors.push_back(requiredError(spec.child("selector")));
  else if (selector->matchLabels.empty() && selector->matchExpressions.empty())
    errors.push_back(invalidValueError(spec.child("selector"), "{}", "empty selector is invalid for deployment"));
  for (FieldError& error : validatePodTemplate(pod, selector, spec.child("template"))) errors.push_back(std::move(error));
  return errors;
}

void nonNegative(FieldErrors& errors, const FieldPath& path, int64_t value) {
  if (value < 0) errors.push_back(invalidError(path, value, "must be greater than or equal to 0"));
}

void validateIntOrPercent(FieldErrors& errors, const schema::Opt<schema::IntOrString>& value, const FieldPath& path) {
  if (!value) return;
  const schema::IntOrString& v = value.value;
  if (!v.isString) {
    nonNegative(errors, path, v.intValue);
    return;
  }
  bool percent = v.stringValue.size() > 1 && v.stringValue.back() == '%' &&
                 v.stringValue.substr(0, v.stringValue.size() - 1).find_first_not_of("0123456789") == std::string_view::npos;
  if (!percent)
    errors.push_back(invalidError(path, v.stringValue,
                                  "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
                                  "used for validation is '[0-9]+%')"));
}

bool isZeroAmount(const schema::Opt<schema::IntOrString>& value) {
  return value && (value.value.isString ? value.value.stringValue == "0%" : value.value.intValue == 0);
}

}  // namespace

FieldErrors validateConfigMap(const Mut<>& object) {
  const auto& map = as<corev1::ConfigMap>(object);
  FieldErrors errors;
  size_t bytes = 0;
  for (const auto& [key, value] : map.data) {
    validateDataKey(errors, FieldPath("data"), key);
    if (map.binaryData.contains(key)) errors.push_back(invalidError(FieldPath("data").key(key), key, "duplicate of key present in binaryData"));
    bytes += value.size();
  }
  for (const auto& [key, value] : map.binaryData) {
    validateDataKey(errors, FieldPath("binaryData"), key);
    bytes += value.bytes.size();
  }
  if (bytes > kDataBytesMax) errors.push_back(tooLongError(FieldPath(), static_cast<int64_t>(kDataBytesMax)));
  return errors;
}

FieldErrors validateConfigMapUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& map = as<corev1::ConfigMap>(object);
  Ref<corev1::ConfigMap> old(oldObject);
  FieldErrors errors;
  if (!old->immutable.valueOr(false)) return errors;
  if (!map.immutable.valueOr(false)) errors.push_back(apimachinery::forbiddenError(FieldPath("immutable"), "field is immutable when `immutable` is set"));
  for (const char* name : {"data", "binaryData"})
    for (const schema::FieldInfo& field : object.type().fields)
      if (field.json == name && !schema::equalField(field, object.root(), oldObject.root()))
        errors.push_back(apimachinery::forbiddenError(FieldPath(name), "field is immutable when `immutable` is set"));
  return errors;
}

FieldErrors validateSecret(const Mut<>& object) {
  const auto& secret = as<corev1::Secret>(object);
  FieldErrors errors;
  size_t bytes = 0;
  for (const auto& [key, value] : secret.data) {
    validateDataKey(errors, FieldPath("data"), key);
    bytes += value.bytes.size();
  }
  if (bytes > kDataBytesMax) errors.push_back(tooLongError(FieldPath("data"), static_cast<int64_t>(kDataBytesMax)));
  auto requireKey = [&](std::string_view key) {
    if (!secret.data.contains(key)) errors.push_back(requiredError(FieldPath("data").key(key)));
  };
  if (secret.type == "kubernetes.io/dockerconfigjson") requireKey(".dockerconfigjson");
  if (secret.type == "kubernetes.io/ssh-auth") requireKey("ssh-privatekey");
  if (secret.type == "kubernetes.io/tls") {
    requireKey("tls.crt");
    requireKey("tls.key");
  }
  return errors;
}

FieldErrors validateSecretUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& secret = as<corev1::Secret>(object);
  Ref<corev1::Secret> old(oldObject);
  FieldErrors errors;
  if (secret.type != old->type) errors.push_back(invalidError(FieldPath("type"), secret.type, "field is immutable"));
  if (!old->immutable.valueOr(false)) return errors;
  if (!secret.immutable.valueOr(false)) errors.push_back(apimachinery::forbiddenError(FieldPath("immutable"), "field is immutable when `immutable` is set"));
  for (const schema::FieldInfo& field : object.type().fields)
    if (field.json == "data" && !schema::equalField(field, object.root(), oldObject.root()))
      errors.push_back(apimachinery::forbiddenError(FieldPath("data"), "field is immutable when `immutable` is set"));
  return errors;
}

FieldErrors validateService(const Mut<>& object) {
  const auto& service = as<corev1::Service>(object);
  const auto& spec = service.spec;
  FieldErrors errors;
  FieldPath path("spec");
  bool headless = spec.clusterIP == "None";
  if (spec.ports.empty() && !headless && spec.type != "ExternalName") errors.push_back(requiredError(path.child("ports")));
  if (spec.type == "ExternalName" && spec.externalName.empty()) errors.push_back(requiredError(path.child("externalName")));
  std::set<std::string_view> names;
  std::set<std::string> seen;
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const auto& port = spec.ports[i];
    FieldPath at = path.child("ports").index(i);
    if (port.name.empty()) {
      if (spec.ports.size() > 1) errors.push_back(requiredError(at.child("name")));
    } else {
      for (const std::string& message : isDns1123Label(port.name)) errors.push_back(invalidError(at.child("name"), port.name, message));
      if (!names.insert(port.name).second) errors.push_back(duplicateError(at.child("name"), port.name));
    }
    if (port.port < 1 || port.port > 65535)
      errors.push_back(invalidError(at.child("port"), int64_t{port.port}, "must be between 1 and 65535, inclusive"));
    if (port.protocol != "TCP" && port.protocol != "UDP" && port.protocol != "SCTP")
      errors.push_back(notSupportedError(at.child("protocol"), port.protocol, {"SCTP", "TCP", "UDP"}));
    if (port.targetPort.isString)
      for (const std::string& message : isValidPortName(port.targetPort.stringValue))
        errors.push_back(invalidError(at.child("targetPort"), port.targetPort.stringValue, message));
    else if (port.targetPort.intValue < 1 || port.targetPort.intValue > 65535)
      errors.push_back(invalidError(at.child("targetPort"), int64_t{port.targetPort.intValue}, "must be between 1 and 65535, inclusive"));
    seen.insert(fmt::format("{}/{}", port.protocol, port.port));
  }
  for (const auto& [key, value] : spec.selector) {
    for (const std::string& message : isQualifiedName(key)) errors.push_back(invalidError(path.child("selector"), key, message));
    for (const std::string& message : isValidLabelValue(value)) errors.push_back(invalidError(path.child("selector"), value, message));
  }
  if (spec.sessionAffinity != "None" && spec.sessionAffinity != "ClientIP")
    errors.push_back(notSupportedError(path.child("sessionAffinity"), spec.sessionAffinity, {"ClientIP", "None"}));
  if (spec.type != "ClusterIP" && spec.type != "NodePort" && spec.type != "LoadBalancer" && spec.type != "ExternalName")
    errors.push_back(notSupportedError(path.child("type"), spec.type, {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"}));
  return errors;
}

void keepServiceAllocations(Mut<>& object, const Ref<>& oldObject) {
  auto& spec = static_cast<corev1::Service*>(object.root())->spec;
  Ref<corev1::Service> old(oldObject);
  Arena& arena = object.arena();
  if (spec.type == "ExternalName" || old->spec.type == "ExternalName") return;
  if (spec.clusterIP.empty()) spec.clusterIP = object.str(old->spec.clusterIP);
  if (spec.clusterIPs.empty())
    for (schema::Str ip : old->spec.clusterIPs) spec.clusterIPs.append(arena) = object.str(ip);
  if (spec.ipFamilies.empty())
    for (schema::Str family : old->spec.ipFamilies) spec.ipFamilies.append(arena) = object.str(family);
  if (!spec.ipFamilyPolicy && old->spec.ipFamilyPolicy) spec.ipFamilyPolicy = object.str(*old->spec.ipFamilyPolicy);
  if (spec.type != "NodePort" && spec.type != "LoadBalancer") return;
  for (auto& port : spec.ports)
    for (const auto& before : old->spec.ports)
      if (port.nodePort == 0 && port.port == before.port && port.protocol == before.protocol) port.nodePort = before.nodePort;
}

FieldErrors validateDeployment(const Mut<>& object) {
  const auto& spec = as<appsv1::Deployment>(object).spec;
  FieldPath path("spec");
  FieldErrors errors;
  nonNegative(errors, path.child("replicas"), spec.replicas.valueOr(0));
  for (FieldError& error : validateSelectorAndTemplate(spec.selector, spec.template_, path)) errors.push_back(std::move(error));
  FieldPath strategy = path.child("strategy");
  if (spec.strategy.type == "Recreate") {
    if (spec.strategy.rollingUpdate)
      errors.push_back(apimachinery::forbiddenError(strategy.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'"));
  } else if (spec.strategy.type == "RollingUpdate") {
    const auto* rolling = spec.strategy.rollingUpdate;
    FieldPath at = strategy.child("rollingUpdate");
    if (!rolling) {
      errors.push_back(requiredError(at, "this should be defaulted and never be nil"));
    } else {
      validateIntOrPercent(errors, rolling->maxUnavailable, at.child("maxUnavailable"));
      validateIntOrPercent(errors, rolling->maxSurge, at.child("maxSurge"));
      if (isZeroAmount(rolling->maxUnavailable) && isZeroAmount(rolling->maxSurge))
        errors.push_back(invalidValueError(at.child("maxUnavailable"), "0", "may not be 0 when `maxSurge` is 0"));
    }
  } else {
    errors.push_back(notSupportedError(strategy, spec.strategy.type, {"Recreate", "RollingUpdate"}));
  }
  nonNegative(errors, path.child("minReadySeconds"), spec.minReadySeconds);
  if (spec.revisionHistoryLimit) nonNegative(errors, path.child("revisionHistoryLimit"), *spec.revisionHistoryLimit);
  if (spec.progressDeadlineSeconds) {
    nonNegative(errors, path.child("progressDeadlineSeconds"), *spec.progressDeadlineSeconds);
    if (*spec.progressDeadlineSeconds <= spec.minReadySeconds)
      errors.push_back(invalidError(path.child("progressDeadlineSeconds"), int64_t{*spec.progressDeadlineSeconds}, "must be greater than minReadySeconds"));
  }
  return errors;
}

FieldErrors validateReplicaSet(const Mut<>& object) {
  const auto& spec = as<appsv1::ReplicaSet>(object).spec;
  FieldErrors errors;
  nonNegative(errors, FieldPath("spec").child("replicas"), spec.replicas.valueOr(0));
  nonNegative(errors, FieldPath("spec").child("minReadySeconds"), spec.minReadySeconds);
  for (FieldError& error : validateSelectorAndTemplate(spec.selector, spec.template_, FieldPath("spec"))) errors.push_back(std::move(error));
  return errors;
}

FieldErrors validateStatefulSet(const Mut<>& object) {
  const auto& spec = as<appsv1::StatefulSet>(object).spec;
  FieldErrors errors;
  nonNegative(errors, FieldPath("spec").child("replicas"), spec.replicas.valueOr(0));
  for (FieldError& error : validateSelectorAndTemplate(spec.selector, spec.template_, FieldPath("spec"))) errors.push_back(std::move(error));
  return errors;
}

FieldErrors validateDaemonSet(const Mut<>& object) {
  const auto& spec = as<appsv1::DaemonSet>(object).spec;
  FieldErrors errors;
  for (FieldError& error : validateSelectorAndTemplate(spec.selector, spec.template_, FieldPath("spec"))) errors.push_back(std::move(error));
  return errors;
}

FieldErrors validateWorkloadUpdate(const Mut<>& object, const Ref<>& old) {
  FieldErrors errors;
  for (const schema::FieldInfo& spec : object.type().fields) {
    if (spec.json != "spec") continue;
    for (const schema::FieldInfo& field : spec.message->fields)
      if (field.json == "selector" && !schema::equalField(field, schema::at(object.root(), spec), schema::at(old.root(), spec)))
        errors.push_back(invalidValueError(FieldPath("spec").child("selector"), "{}", "field is immutable"));
  }
  return errors;
}

}  // namespace knarr::apiserver
