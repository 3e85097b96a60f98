#include <fmt/format.h>

#include <set>

#include "api/meta_v1.h"
#include "apimachinery/labels.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using namespace apimachinery;
using schema::Mut;
using schema::Ref;

namespace {

constexpr std::string_view kPortRange = "must be between 1 and 65535, inclusive";

void addAll(FieldErrors& errors, FieldErrors more) {
  for (FieldError& error : more) errors.push_back(std::move(error));
}

void requireOneOf(FieldErrors& errors, const FieldPath& path, std::string_view value, const std::vector<std::string>& allowed) {
  if (value.empty())
    errors.push_back(requiredError(path));
  else if (std::find(allowed.begin(), allowed.end(), value) == allowed.end())
    errors.push_back(notSupportedError(path, value, allowed));
}

void validateLabelName(FieldErrors& errors, const FieldPath& path, std::string_view name) {
  if (name.empty()) {
    errors.push_back(requiredError(path));
    return;
  }
  for (const std::string& message : isDns1123Label(name)) errors.push_back(invalidError(path, name, message));
}

bool validPort(int64_t port) { return port >= 1 && port <= 65535; }

void validatePorts(FieldErrors& errors, const corev1::Container& container, const FieldPath& path) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < container.ports.size(); ++i) {
    const auto& port = container.ports[i];
    FieldPath at = path.index(i);
    if (!port.name.empty()) {
      auto messages = isValidPortName(port.name);
      for (const std::string& message : messages) errors.push_back(invalidError(at.child("name"), port.name, message));
      if (messages.empty() && !names.insert(port.name).second) errors.push_back(duplicateError(at.child("name"), port.name));
    }
    if (port.containerPort == 0)
      errors.push_back(requiredError(at.child("containerPort")));
    else if (!validPort(port.containerPort))
      errors.push_back(invalidError(at.child("containerPort"), int64_t{port.containerPort}, kPortRange));
    if (port.hostPort != 0 && !validPort(port.hostPort))
      errors.push_back(invalidError(at.child("hostPort"), int64_t{port.hostPort}, kPortRange));
    requireOneOf(errors, at.child("protocol"), port.protocol, {"SCTP", "TCP", "UDP"});
  }
}

void validateEnvSource(FieldErrors& errors, const corev1::EnvVar& variable, const FieldPath& at) {
  if (!variable.valueFrom) return;
  const corev1::EnvVarSource& source = *variable.valueFrom;
  int sources = (source.fieldRef != nullptr) + (source.resourceFieldRef != nullptr) + (source.configMapKeyRef != nullptr) +
                (source.secretKeyRef != nullptr) + (source.fileKeyRef != nullptr);
  FieldPath path = at.child("valueFrom");
  if (sources == 0)
    errors.push_back(invalidError(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
  else if (!variable.value.empty())
    errors.push_back(invalidError(path, "", "may not be specified when `value` is not empty"));
  else if (sources > 1)
    errors.push_back(invalidError(path, "", "may not have more than one field specified at a time"));
  if (source.fieldRef && source.fieldRef->fieldPath.empty()) errors.push_back(requiredError(path.child("fieldRef").child("fieldPath")));
  auto validateKey = [&](const FieldPath& ref, schema::Str key) {
    if (key.empty())
      errors.push_back(requiredError(ref.child("key")));
    else
      for (const std::string& message : isConfigMapKey(key)) errors.push_back(invalidError(ref.child("key"), key, message));
  };
  if (source.configMapKeyRef) validateKey(path.child("configMapKeyRef"), source.configMapKeyRef->key);
  if (source.secretKeyRef) validateKey(path.child("secretKeyRef"), source.secretKeyRef->key);
}

void validateEnv(FieldErrors& errors, const corev1::Container& container, const FieldPath& path) {
  for (size_t i = 0; i < container.env.size(); ++i) {
    const auto& variable = container.env[i];
    FieldPath at = path.index(i);
    if (variable.name.empty())
      errors.push_back(requiredError(at.child("name")));
    else
      for (const std::string& message : isEnvVarName(variable.name)) errors.push_back(invalidError(at.child("name"), variable.name, message));
    validateEnvSource(errors, variable, at);
  }
}

void validateMounts(FieldErrors& errors, const corev1::Container& container, const std::set<std::string_view>& volumes, const FieldPath& path) {
  std::set<std::string_view> mountPaths;
  for (size_t i = 0; i < container.volumeMounts.size(); ++i) {
    const auto& mount = container.volumeMounts[i];
    FieldPath at = path.index(i);
    if (mount.name.empty()) errors.push_back(requiredError(at.child("name")));
    if (!volumes.contains(mount.name)) errors.push_back(notFoundError(at.child("name"), mount.name));
    if (mount.mountPath.empty()) errors.push_back(requiredError(at.child("mountPath")));
    if (!mountPaths.insert(mount.mountPath).second) errors.push_back(invalidError(at.child("mountPath"), mount.mountPath, "must be unique"));
    if (!mount.subPath.empty()) {
      FieldPath subPath = path.child("subPath");
      if (mount.subPath.starts_with('/')) errors.push_back(invalidError(subPath, mount.subPath, "must be a relative path"));
      for (std::string_view part : split(mount.subPath, '/'))
        if (part == "..") {
          errors.push_back(invalidError(subPath, mount.subPath, "must not contain '..'"));
          break;
        }
      if (!mount.subPathExpr.empty())
        errors.push_back(invalidError(at.child("subPathExpr"), mount.subPathExpr, "subPathExpr and subPath are mutually exclusive"));
    }
  }
}

void validateResources(FieldErrors& errors, const corev1::ResourceRequirements& resources, const FieldPath& path) {
  auto nonNegative = [&](const FieldPath& at, const schema::Quantity& quantity) {
    if (schema::amountOf(quantity).sign() < 0) errors.push_back(invalidError(at, quantity.text, "must be greater than or equal to 0"));
  };
  for (const auto& [name, quantity] : resources.limits) nonNegative(path.child("limits").key(name), quantity);
  for (const auto& [name, quantity] : resources.requests) {
    nonNegative(path.child("requests").key(name), quantity);
    const schema::Quantity* limit = resources.limits.find(name);
    if (limit && schema::amountOf(quantity) > schema::amountOf(*limit))
      errors.push_back(invalidError(path.child("requests"), quantity.text,
                                    fmt::format("must be less than or equal to {} limit of {}", name, limit->text)));
  }
}

void validateProbe(FieldErrors& errors, const corev1::Probe* probe, const FieldPath& path, bool successMustBeOne) {
  if (!probe) return;
  auto nonNegative = [&](std::string_view name, int64_t value) {
    if (value < 0) errors.push_back(invalidError(path.child(name), value, "must be greater than or equal to 0"));
  };
  const auto& handler = probe->probeHandler;
  int handlers = (handler.exec != nullptr) + (handler.httpGet != nullptr) + (handler.tcpSocket != nullptr) + (handler.grpc != nullptr);
  if (handlers == 0) errors.push_back(requiredError(path, "must specify a handler type"));
  if (handler.exec && handler.exec->command.empty()) errors.push_back(requiredError(path.child("exec").child("command")));
  if (handler.httpGet && handler.httpGet->path.empty()) errors.push_back(requiredError(path.child("httpGet").child("path")));
  if (handlers > 1)
    errors.push_back(forbiddenError(path.child(handler.tcpSocket ? "tcpSocket" : "httpGet"), "may not specify more than 1 handler type"));
  nonNegative("initialDelaySeconds", probe->initialDelaySeconds);
  nonNegative("timeoutSeconds", probe->timeoutSeconds);
  nonNegative("periodSeconds", probe->periodSeconds);
  nonNegative("successThreshold", probe->successThreshold);
  nonNegative("failureThreshold", probe->failureThreshold);
  if (successMustBeOne && probe->successThreshold != 1)
    errors.push_back(invalidError(path.child("successThreshold"), int64_t{probe->successThreshold}, "must be 1"));
}

void validateContainer(FieldErrors& errors, const corev1::Container& container, const std::set<std::string_view>& volumes, const FieldPath& at) {
  validateLabelName(errors, at.child("name"), container.name);
  if (container.image.empty()) errors.push_back(requiredError(at.child("image")));
  requireOneOf(errors, at.child("terminationMessagePolicy"), container.terminationMessagePolicy, {"File", "FallbackToLogsOnError"});
  validatePorts(errors, container, at.child("ports"));
  validateEnv(errors, container, at.child("env"));
  validateMounts(errors, container, volumes, at.child("volumeMounts"));
  requireOneOf(errors, at.child("imagePullPolicy"), container.imagePullPolicy, {"Always", "IfNotPresent", "Never"});
  validateResources(errors, container.resources, at.child("resources"));
  validateProbe(errors, container.livenessProbe, at.child("livenessProbe"), true);
  validateProbe(errors, container.readinessProbe, at.child("readinessProbe"), false);
  validateProbe(errors, container.startupProbe, at.child("startupProbe"), true);
}

std::set<std::string_view> validateVolumes(FieldErrors& errors, const corev1::PodSpec& spec, const FieldPath& path) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < spec.volumes.size(); ++i) {
    const auto& volume = spec.volumes[i];
    FieldPath at = path.index(i);
    size_t before = errors.size();
    const auto& source = volume.volumeSource;
    if (source.hostPath && source.hostPath->path.empty()) errors.push_back(requiredError(at.child("hostPath").child("path")));
    if (source.secret && source.secret->secretName.empty()) errors.push_back(requiredError(at.child("secret").child("secretName")));
    if (source.configMap && source.configMap->localObjectReference.name.empty())
      errors.push_back(requiredError(at.child("configMap").child("name")));
    if (volume.name.empty()) {
      errors.push_back(requiredError(at.child("name")));
    } else {
      for (const std::string& message : isDns1123Label(volume.name)) errors.push_back(invalidError(at.child("name"), volume.name, message));
    }
    if (names.contains(volume.name)) errors.push_back(duplicateError(at.child("name"), volume.name));
    if (errors.size() == before) names.insert(volume.name);
  }
  return names;
}

}  // namespace

FieldErrors validatePodSpec(const corev1::PodSpec& spec, const FieldPath& path) {
  FieldErrors errors;
  std::set<std::string_view> volumes = validateVolumes(errors, spec, path.child("volumes"));
  std::set<std::string_view> names;
  FieldPath containers = path.child("containers");
  if (spec.containers.empty()) errors.push_back(requiredError(containers));
  for (size_t i = 0; i < spec.containers.size(); ++i) {
    validateContainer(errors, spec.containers[i], volumes, containers.index(i));
    if (!names.insert(spec.containers[i].name).second && !spec.containers[i].name.empty())
      errors.push_back(duplicateError(containers.index(i).child("name"), spec.containers[i].name));
  }
  FieldPath initContainers = path.child("initContainers");
  for (size_t i = 0; i < spec.initContainers.size(); ++i) {
    const auto& container = spec.initContainers[i];
    validateContainer(errors, container, volumes, initContainers.index(i));
    if (!names.insert(container.name).second && !container.name.empty())
      errors.push_back(duplicateError(initContainers.index(i).child("name"), container.name));
    bool sidecar = container.restartPolicy && *container.restartPolicy == "Always";
    if (sidecar) continue;
    for (auto [name, set] : {std::pair{"lifecycle", container.lifecycle != nullptr}, std::pair{"livenessProbe", container.livenessProbe != nullptr},
                             std::pair{"readinessProbe", container.readinessProbe != nullptr}, std::pair{"startupProbe", container.startupProbe != nullptr}})
      if (set) errors.push_back(apimachinery::forbiddenError(initContainers.index(i).child(name), "may not be set for init containers without restartPolicy=Always"));
  }
  requireOneOf(errors, path.child("restartPolicy"), spec.restartPolicy, {"Always", "OnFailure", "Never"});
  requireOneOf(errors, path.child("dnsPolicy"), spec.dnsPolicy, {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"});
  if (spec.terminationGracePeriodSeconds && *spec.terminationGracePeriodSeconds < 0)
    errors.push_back(invalidError(path.child("terminationGracePeriodSeconds"), *spec.terminationGracePeriodSeconds, "must be greater than or equal to 0"));
  for (const auto& [key, value] : spec.nodeSelector) {
    for (const std::string& message : isQualifiedName(key)) errors.push_back(invalidError(path.child("nodeSelector"), key, message));
    for (const std::string& message : isValidLabelValue(value)) errors.push_back(invalidError(path.child("nodeSelector"), value, message));
  }
  auto subdomain = [&](std::string_view field, schema::Str value) {
    if (value.empty()) return;
    for (const std::string& message : isDns1123Subdomain(value)) errors.push_back(invalidError(path.child(field), value, message));
  };
  subdomain("serviceAccountName", spec.serviceAccountName);
  subdomain("nodeName", spec.nodeName);
  for (auto [field, value] : {std::pair{"hostname", spec.hostname}, std::pair{"subdomain", spec.subdomain}})
    if (!value.empty())
      for (const std::string& message : isDns1123Label(value)) errors.push_back(invalidError(path.child(field), value, message));
  if (spec.activeDeadlineSeconds && *spec.activeDeadlineSeconds < 1)
    errors.push_back(invalidError(path.child("activeDeadlineSeconds"), *spec.activeDeadlineSeconds, "must be between 1 and 2147483647, inclusive"));
  return errors;
}

FieldErrors validatePod(const Mut<>& object) {
  const auto& pod = *static_cast<const corev1::Pod*>(object.root());
  return validatePodSpec(pod.spec, FieldPath("spec"));
}

// A pod's spec stays as it is, but for images, activeDeadlineSeconds, added tolerations, and what binding sets.
// Source: pkg/apis/core/validation, ValidatePodUpdate.
FieldErrors validatePodUpdate(const Mut<>& object, const Ref<>& oldObject) {
  Ref<corev1::Pod> old(oldObject);
  Mut<corev1::Pod> next(Mut<>(schema::typeInfoOf<corev1::Pod>()));
  schema::deepCopy(object.type(), next.root(), object.root(), next.arena());
  FieldErrors errors;
  if (next->spec.containers.size() != old->spec.containers.size()) {
    errors.push_back(apimachinery::forbiddenError(FieldPath("spec").child("containers"), "pod updates may not add or remove containers"));
    return errors;
  }
  if (next->spec.initContainers.size() != old->spec.initContainers.size()) {
    errors.push_back(apimachinery::forbiddenError(FieldPath("spec").child("initContainers"), "pod updates may not add or remove containers"));
    return errors;
  }
  for (size_t i = 0; i < old->spec.containers.size(); ++i) next->spec.containers[i].image = old->spec.containers[i].image;
  for (size_t i = 0; i < old->spec.initContainers.size(); ++i) next->spec.initContainers[i].image = old->spec.initContainers[i].image;
  next->spec.activeDeadlineSeconds = old->spec.activeDeadlineSeconds;
  next->spec.tolerations = old->spec.tolerations;
  next->spec.schedulingGates = old->spec.schedulingGates;
  next->spec.ephemeralContainers = old->spec.ephemeralContainers;
  if (old->spec.nodeName.empty()) next->spec.nodeName = {};
  if (!old->spec.schedulingGates.empty()) {
    next->spec.nodeSelector = old->spec.nodeSelector;
    next->spec.affinity = old->spec.affinity;
  }
  if (old->spec.terminationGracePeriodSeconds && *old->spec.terminationGracePeriodSeconds < 0)
    next->spec.terminationGracePeriodSeconds = old->spec.terminationGracePeriodSeconds;
  if (schema::equal(next->spec, old->spec)) return errors;
  errors.push_back(apimachinery::forbiddenError(
      FieldPath("spec"),
      "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
      "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
      "previously negative)"));
  return errors;
}

FieldErrors validatePodTemplate(const corev1::PodTemplateSpec& pod, const metav1::LabelSelector* selector, const FieldPath& path) {
  FieldErrors errors;
  auto parsed = LabelSelector::from(selector);
  if (selector && parsed && !parsed->matches(pod.metadata.labels)) {
    std::string labels;
    for (const auto& [key, value] : pod.metadata.labels) labels += fmt::format("{}{}:{}", labels.empty() ? "" : ",", quote(key), quote(value));
    errors.push_back(invalidValueError(path.child("metadata").child("labels"), "{" + labels + "}", "`selector` does not match template `labels`"));
  }
  for (const auto& [key, value] : pod.metadata.labels) {
    for (const std::string& message : isQualifiedName(key)) errors.push_back(invalidError(path.child("metadata").child("labels"), key, message));
    for (const std::string& message : isValidLabelValue(value)) errors.push_back(invalidError(path.child("metadata").child("labels"), value, message));
  }
  addAll(errors, validatePodSpec(pod.spec, path.child("spec")));
  if (pod.spec.restartPolicy != "Always") errors.push_back(notSupportedError(path.child("spec").child("restartPolicy"), pod.spec.restartPolicy, {"Always"}));
  return errors;
}

schema::Str podQosClass(const corev1::Pod& pod) {
  bool any = false, guaranteed = true;
  for (const auto* list : {&pod.spec.containers, &pod.spec.initContainers})
    for (const auto& container : *list)
      for (std::string_view name : {"cpu", "memory"}) {
        const schema::Quantity* request = container.resources.requests.find(name);
        const schema::Quantity* limit = container.resources.limits.find(name);
        bool hasRequest = request && schema::amountOf(*request).sign() > 0;
        bool hasLimit = limit && schema::amountOf(*limit).sign() > 0;
        any = any || hasRequest || hasLimit;
        if (!hasLimit || (hasRequest && !(schema::amountOf(*request) == schema::amountOf(*limit)))) guaranteed = false;
      }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace knarr::apiserver
