// Containers of every sort. Source: pkg/apis/core/validation: validateContainers, validateInitContainers,
// validateEphemeralContainers.
#include <fmt/format.h>

#include <map>
#include <set>

#include "apiserver/validation/pod_rules.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::isConfigMapKey;
using apimachinery::isDns1123Label;
using apimachinery::isDns1123Subdomain;
using apimachinery::isEnvVarName;
using apimachinery::isQualifiedName;
using apimachinery::isValidPortName;

namespace {

constexpr size_t kRestartRulesMax = 20, kExitCodesMax = 255;
constexpr std::string_view kOneSource = "may not have more than one field specified at a time";

const Words& envFields() {
  static const Words kFields{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
                             "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
  return kFields;
}

void checkPorts(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::ContainerPort>& ports) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < ports.size(); ++i) {
    const auto& port = ports[i];
    FieldPath at = path.index(i);
    if (!port.name.empty()) {
      auto messages = isValidPortName(port.name);
      for (const std::string& message : messages) errors.push_back(invalidError(at.child("name"), port.name, message));
      if (messages.empty() && !names.insert(port.name).second) errors.push_back(duplicateError(at.child("name"), port.name));
    }
    if (port.containerPort == 0)
      errors.push_back(requiredError(at.child("containerPort")));
    else
      checkPort(errors, at.child("containerPort"), int64_t{port.containerPort});
    if (port.hostPort != 0) checkPort(errors, at.child("hostPort"), int64_t{port.hostPort});
    requireOneOf(errors, at.child("protocol"), port.protocol, {"SCTP", "TCP", "UDP"});
  }
}

template <class KeySelector>
void checkKey(FieldErrors& errors, const FieldPath& path, const KeySelector& selector) {
  for (const std::string& message : isDns1123Subdomain(selector.localObjectReference.name))
    errors.push_back(invalidError(path.child("name"), selector.localObjectReference.name, message));
  requireName(errors, path.child("key"), selector.key, isConfigMapKey);
}

void checkFileKey(FieldErrors& errors, const FieldPath& path, const corev1::FileKeySelector& selector, const PodFacts& facts) {
  requireName(errors, path.child("key"), selector.key, isEnvVarName);
  requireName(errors, path.child("volumeName"), selector.volumeName, isDns1123Label);
  requireText(errors, path.child("path"), selector.path);
  for (std::string_view part : split(selector.path, '/'))
    if (part == "..") errors.push_back(invalidError(path.child("path"), selector.path, "must not contain '..'"));
  auto volume = facts.volumes.find(selector.volumeName);
  if (volume == facts.volumes.end())
    errors.push_back(notFoundError(path.child("volumeName"), selector.volumeName));
  else if (!volume->second->volumeSource.emptyDir)
    errors.push_back(invalidError(path.child("volumeName"), selector.volumeName, "referenced volume must be of type emptyDir"));
}

void checkEnvSource(FieldErrors& errors, const FieldPath& path, const corev1::EnvVar& variable, const PodFacts& facts) {
  const corev1::EnvVarSource& source = *variable.valueFrom;
  int sources = 0;
  if (source.fieldRef && ++sources) checkObjectField(errors, path.child("fieldRef"), *source.fieldRef, envFields());
  if (source.resourceFieldRef && ++sources)
    checkResourceField(errors, path.child("resourceFieldRef"), *source.resourceFieldRef, false);
  if (source.configMapKeyRef && ++sources) checkKey(errors, path.child("configMapKeyRef"), *source.configMapKeyRef);
  if (source.secretKeyRef && ++sources) checkKey(errors, path.child("secretKeyRef"), *source.secretKeyRef);
  if (source.fileKeyRef && ++sources) checkFileKey(errors, path.child("fileKeyRef"), *source.fileKeyRef, facts);
  if (sources == 0)
    errors.push_back(invalidError(
        path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
  else if (!variable.value.empty())
    errors.push_back(invalidError(path, "", "may not be specified when `value` is not empty"));
  else if (sources > 1)
    errors.push_back(invalidError(path, "", kOneSource));
}

void checkEnv(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::EnvVar>& env, const PodFacts& facts) {
  for (size_t i = 0; i < env.size(); ++i) {
    FieldPath at = path.index(i);
    requireName(errors, at.child("name"), env[i].name, isEnvVarName);
    if (env[i].valueFrom) checkEnvSource(errors, at.child("valueFrom"), env[i], facts);
  }
}

void checkEnvFrom(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::EnvFromSource>& sources) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const auto& source = sources[i];
    FieldPath at = path.index(i);
    checkName(errors, at.child("prefix"), source.prefix, isEnvVarName);
    if (source.configMapRef)
      requireName(errors, at.child("configMapRef").child("name"), source.configMapRef->localObjectReference.name,
                  isDns1123Subdomain);
    if (source.secretRef)
      requireName(errors, at.child("secretRef").child("name"), source.secretRef->localObjectReference.name, isDns1123Subdomain);
    if (!source.configMapRef && !source.secretRef)
      errors.push_back(invalidError(path, "", "must specify one of: `configMapRef` or `secretRef`"));
    else if (source.configMapRef && source.secretRef)
      errors.push_back(invalidError(path, "", kOneSource));
  }
}

void checkPropagation(FieldErrors& errors, const FieldPath& path, const corev1::VolumeMount& mount, bool privileged) {
  checkOneOf(errors, path.child("mountPropagation"), mount.mountPropagation, {"Bidirectional", "HostToContainer", "None"});
  if (mount.mountPropagation && *mount.mountPropagation == "Bidirectional" && !privileged)
    forbid(errors, path.child("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers");
  if (!mount.recursiveReadOnly) return;
  FieldPath at = path.child("recursiveReadOnly");
  checkOneOf(errors, at, mount.recursiveReadOnly, {"Disabled", "Enabled", "IfPossible"});
  if (*mount.recursiveReadOnly != "Enabled" && *mount.recursiveReadOnly != "IfPossible") return;
  if (!mount.readOnly) forbid(errors, at, "may only be specified when readOnly is true");
  if (mount.mountPropagation && *mount.mountPropagation != "None")
    forbid(errors, at, "may only be specified when mountPropagation is None or not specified");
}

template <class Container>
void checkMounts(FieldErrors& errors, const FieldPath& path, const Container& container, const PodFacts& facts) {
  bool privileged = container.securityContext && container.securityContext->privileged.valueOr(false);
  std::set<std::string_view> paths;
  for (size_t i = 0; i < container.volumeMounts.size(); ++i) {
    const auto& mount = container.volumeMounts[i];
    FieldPath at = path.index(i);
    requireText(errors, at.child("name"), mount.name);
    if (!facts.volumes.contains(mount.name)) errors.push_back(notFoundError(at.child("name"), mount.name));
    requireText(errors, at.child("mountPath"), mount.mountPath);
    if (!paths.insert(mount.mountPath).second)
      errors.push_back(invalidError(at.child("mountPath"), mount.mountPath, "must be unique"));
    for (const auto& device : container.volumeDevices) {
      if (device.name == mount.name)
        errors.push_back(invalidError(at.child("name"), mount.name, "must not already exist in volumeDevices"));
      if (device.devicePath == mount.mountPath)
        errors.push_back(
            invalidError(at.child("mountPath"), mount.mountPath, "must not already exist as a path in volumeDevices"));
    }
    if (!mount.subPath.empty()) checkDescendingPath(errors, path.child("subPath"), mount.subPath);
    if (!mount.subPathExpr.empty()) {
      if (!mount.subPath.empty())
        errors.push_back(
            invalidError(at.child("subPathExpr"), mount.subPathExpr, "subPathExpr and subPath are mutually exclusive"));
      checkDescendingPath(errors, path.child("subPathExpr"), mount.subPathExpr);
    }
    checkPropagation(errors, path, mount, privileged);
  }
}

template <class Container>
void checkDevices(FieldErrors& errors, const FieldPath& path, const Container& container, const PodFacts& facts) {
  std::set<std::string_view> names, paths;
  for (size_t i = 0; i < container.volumeDevices.size(); ++i) {
    const auto& device = container.volumeDevices[i];
    FieldPath name = path.index(i).child("name"), at = path.index(i).child("devicePath");
    requireText(errors, name, device.name);
    if (!names.insert(device.name).second) errors.push_back(invalidError(name, device.name, "must be unique"));
    auto volume = facts.volumes.find(device.name);
    if (volume == facts.volumes.end())
      errors.push_back(notFoundError(name, device.name));
    else if (!volume->second->volumeSource.persistentVolumeClaim && !volume->second->volumeSource.ephemeral)
      errors.push_back(invalidError(name, device.name,
                                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"));
    requireText(errors, at, device.devicePath);
    if (!paths.insert(device.devicePath).second) errors.push_back(invalidError(at, device.devicePath, "must be unique"));
    for (std::string_view part : split(device.devicePath, '/'))
      if (part == "..") errors.push_back(invalidError(at, device.devicePath, "can not contain backsteps ('..')"));
    for (const auto& mount : container.volumeMounts) {
      if (mount.name == device.name) errors.push_back(invalidError(name, device.name, "must not already exist in volumeMounts"));
      if (mount.mountPath == device.devicePath)
        errors.push_back(invalidError(at, device.devicePath, "must not already exist as a path in volumeMounts"));
    }
  }
}

template <class Container>
void checkResizePolicy(FieldErrors& errors, const FieldPath& path, const Container& container, const corev1::PodSpec& spec) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < container.resizePolicy.size(); ++i) {
    const auto& policy = container.resizePolicy[i];
    if (!names.insert(policy.resourceName).second) errors.push_back(duplicateError(path.index(i), policy.resourceName));
    requireOneOf(errors, path, policy.resourceName, {"cpu", "memory"});
    requireOneOf(errors, path, policy.restartPolicy, {"NotRequired", "RestartContainer"});
    if (spec.restartPolicy == "Never" && policy.restartPolicy != "NotRequired")
      errors.push_back(invalidError(path, policy.restartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"));
  }
}

template <class Container>
void checkContainer(FieldErrors& errors, const FieldPath& at, const Container& container, const PodFacts& facts) {
  requireName(errors, at.child("name"), container.name, isDns1123Label);
  if (container.image.empty())
    errors.push_back(requiredError(at.child("image")));
  else if (facts.isPod && trim(container.image) != container.image)
    errors.push_back(invalidError(at.child("image"), container.image, "must not have leading or trailing whitespace"));
  requireOneOf(errors, at.child("terminationMessagePolicy"), container.terminationMessagePolicy,
               {"File", "FallbackToLogsOnError"});
  checkPorts(errors, at.child("ports"), container.ports);
  checkEnv(errors, at.child("env"), container.env, facts);
  checkEnvFrom(errors, at.child("envFrom"), container.envFrom);
  checkMounts(errors, at.child("volumeMounts"), container, facts);
  checkDevices(errors, at.child("volumeDevices"), container, facts);
  requireOneOf(errors, at.child("imagePullPolicy"), container.imagePullPolicy, {"Always", "IfNotPresent", "Never"});
  checkResources(errors, at.child("resources"), container.resources, ResourceNameRule::Container);
  checkResourceClaims(errors, at.child("resources").child("claims"), container.resources.claims, facts.spec->resourceClaims);
  checkResizePolicy(errors, at.child("resizePolicy"), container, *facts.spec);
  checkContainerSecurity(errors, at.child("securityContext"), container.securityContext, *facts.spec);
}

void checkRestartRules(FieldErrors& errors, const FieldPath& at, const corev1::Container& container) {
  FieldPath path = at.child("restartPolicyRules");
  if (!container.restartPolicy && !container.restartPolicyRules.empty())
    errors.push_back(requiredError(at.child("restartPolicy"), "must specify restartPolicy when restart rules are used"));
  checkOneOf(errors, at.child("restartPolicy"), container.restartPolicy, {"Always", "Never", "OnFailure"});
  if (container.restartPolicyRules.size() > kRestartRulesMax)
    errors.push_back(
        tooManyError(path, static_cast<int64_t>(container.restartPolicyRules.size()), static_cast<int64_t>(kRestartRulesMax)));
  for (size_t k = 0; k < container.restartPolicyRules.size(); ++k) {
    const auto& rule = container.restartPolicyRules[k];
    FieldPath codes = path.index(k).child("exitCodes");
    if (rule.action != "Restart" && rule.action != "RestartAllContainers")
      errors.push_back(notSupportedError(path.index(k).child("action"), rule.action, {"Restart", "RestartAllContainers"}));
    if (!rule.exitCodes) {
      errors.push_back(requiredError(codes, "must be specified"));
      continue;
    }
    if (rule.exitCodes->operator_ != "In" && rule.exitCodes->operator_ != "NotIn")
      errors.push_back(notSupportedError(codes.child("operator"), rule.exitCodes->operator_, {"In", "NotIn"}));
    if (rule.exitCodes->values.size() > kExitCodesMax)
      errors.push_back(tooManyError(codes.child("values"), static_cast<int64_t>(rule.exitCodes->values.size()),
                                    static_cast<int64_t>(kExitCodesMax)));
  }
}

void checkProbes(FieldErrors& errors, const FieldPath& at, const corev1::Container& container, int64_t grace) {
  checkLifecycle(errors, at.child("lifecycle"), container.lifecycle, grace);
  checkProbe(errors, at.child("livenessProbe"), container.livenessProbe, false);
  checkProbe(errors, at.child("readinessProbe"), container.readinessProbe, true);
  checkProbe(errors, at.child("startupProbe"), container.startupProbe, false);
}

void checkHostPorts(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec) {
  std::set<std::string> taken;
  for (size_t i = 0; i < spec.containers.size(); ++i)
    for (size_t j = 0; j < spec.containers[i].ports.size(); ++j) {
      const auto& port = spec.containers[i].ports[j];
      if (port.hostPort == 0) continue;
      std::string key = fmt::format("{}/{}/{}", port.protocol, port.hostIP, port.hostPort);
      FieldPath at = path.index(i).child("ports").index(j).child("hostPort");
      if (!taken.insert(key).second) errors.push_back(duplicateError(at, key));
      if (spec.hostNetwork && port.hostPort != port.containerPort)
        errors.push_back(invalidError(at, int64_t{port.hostPort}, "must match `containerPort` when `hostNetwork` is true"));
    }
}

void checkInitContainers(FieldErrors& errors, const FieldPath& path, const PodFacts& facts, std::set<std::string_view>& names) {
  const corev1::PodSpec& spec = *facts.spec;
  int64_t grace = spec.terminationGracePeriodSeconds.valueOr(0);
  for (size_t i = 0; i < spec.initContainers.size(); ++i) {
    const auto& container = spec.initContainers[i];
    FieldPath at = path.index(i);
    checkContainer(errors, at, container, facts);
    if (!container.name.empty() && !names.insert(container.name).second)
      errors.push_back(duplicateError(at.child("name"), container.name));
    bool sidecar = container.restartPolicy && *container.restartPolicy == "Always";
    checkRestartRules(errors, at, container);
    if (sidecar) {
      checkProbes(errors, at, container, grace);
      continue;
    }
    auto refuse = [&](std::string_view field, bool set) {
      if (set) forbid(errors, at.child(field), "may not be set for init containers without restartPolicy=Always");
    };
    refuse("lifecycle", container.lifecycle != nullptr);
    refuse("livenessProbe", container.livenessProbe != nullptr);
    refuse("readinessProbe", container.readinessProbe != nullptr);
    refuse("startupProbe", container.startupProbe != nullptr);
  }
}

void checkEphemeralContainers(FieldErrors& errors, const FieldPath& path, const PodFacts& facts,
                              std::set<std::string_view>& names) {
  const corev1::PodSpec& spec = *facts.spec;
  std::set<std::string_view> targets;
  for (const auto* list : {&spec.containers, &spec.initContainers})
    for (const auto& container : *list) targets.insert(container.name);
  for (size_t i = 0; i < spec.ephemeralContainers.size(); ++i) {
    const auto& container = spec.ephemeralContainers[i].ephemeralContainerCommon;
    FieldPath at = path.index(i);
    checkContainer(errors, at, container, facts);
    if (!container.name.empty() && !names.insert(container.name).second)
      errors.push_back(duplicateError(at.child("name"), container.name));
    Str target = spec.ephemeralContainers[i].targetContainerName;
    if (!target.empty() && !targets.contains(target)) errors.push_back(notFoundError(at.child("targetContainerName"), target));
    auto refuse = [&](const FieldPath& field, bool set) {
      if (set) forbid(errors, field, "cannot be set for an Ephemeral Container");
    };
    refuse(at.child("ports"), !container.ports.empty());
    refuse(at.child("resources"), !container.resources.limits.empty() || !container.resources.requests.empty());
    refuse(at.child("livenessProbe"), container.livenessProbe != nullptr);
    refuse(at.child("readinessProbe"), container.readinessProbe != nullptr);
    refuse(at.child("startupProbe"), container.startupProbe != nullptr);
    refuse(at.child("lifecycle"), container.lifecycle != nullptr);
    refuse(at.child("resizePolicy"), !container.resizePolicy.empty());
    refuse(at.child("restartPolicy"), container.restartPolicy.present);
    for (size_t j = 0; j < container.volumeMounts.size(); ++j) {
      refuse(at.child("volumeMounts").index(j).child("subPath"), !container.volumeMounts[j].subPath.empty());
      refuse(at.child("volumeMounts").index(j).child("subPathExpr"), !container.volumeMounts[j].subPathExpr.empty());
    }
  }
}

}  // namespace

void checkObjectField(FieldErrors& errors, const FieldPath& path, const corev1::ObjectFieldSelector& selector,
                      const Words& allowed) {
  requireText(errors, path.child("apiVersion"), selector.apiVersion);
  requireText(errors, path.child("fieldPath"), selector.fieldPath);
  if (selector.apiVersion.empty() || selector.fieldPath.empty()) return;
  FieldPath at = path.child("fieldPath");
  Str text = selector.fieldPath;
  if (selector.apiVersion != "v1") {
    errors.push_back(
        invalidError(at, text, fmt::format("error converting fieldPath: unsupported pod version: {}", selector.apiVersion)));
    return;
  }
  if (size_t open = text.find("['"); open != std::string_view::npos && text.ends_with("']")) {
    Str base = text.substr(0, open), key = text.substr(open + 2, text.size() - open - 4);
    if (base == "metadata.annotations" || base == "metadata.labels") {
      std::string name = base == "metadata.annotations" ? toLower(key) : std::string(key);
      for (const std::string& message : isQualifiedName(name)) errors.push_back(invalidError(at, key, message));
    } else {
      errors.push_back(
          invalidError(at, text, fmt::format("error converting fieldPath: field label does not support subscript: {}", text)));
    }
    return;
  }
  static const std::set<std::string_view> kKnown{"metadata.annotations", "metadata.labels",    "metadata.name",
                                                 "metadata.namespace",   "metadata.uid",       "spec.nodeName",
                                                 "spec.hostNetwork",     "spec.restartPolicy", "spec.serviceAccountName",
                                                 "spec.schedulerName",   "status.phase",       "status.hostIP",
                                                 "status.hostIPs",       "status.podIP",       "status.podIPs"};
  if (!kKnown.contains(text))
    errors.push_back(invalidError(at, text, fmt::format("error converting fieldPath: field label not supported: {}", text)));
  else
    checkOneOf(errors, at, text, allowed);
}

void checkResourceField(FieldErrors& errors, const FieldPath& path, const corev1::ResourceFieldSelector& selector, bool volume) {
  if (volume && selector.containerName.empty()) {
    errors.push_back(requiredError(path.child("containerName")));
    return;
  }
  Str name = selector.resource;
  if (name.empty()) {
    errors.push_back(requiredError(path.child("resource")));
    return;
  }
  bool pages = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
  if (!pages)
    checkOneOf(errors, path.child("resource"), name,
               {"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
                "requests.memory"});
  std::string divisor(selector.divisor.text);
  if (divisor.empty() || divisor == "0") return;
  if (name.ends_with(".cpu")) {
    if (divisor != "1m" && divisor != "1")
      errors.push_back(
          invalidError(path.child("divisor"), name, "only divisor's values 1m and 1 are supported with the cpu resource"));
    return;
  }
  static const std::set<std::string_view> kDivisors{"1",   "1k",  "1M",  "1G",  "1T",  "1P", "1E",
                                                    "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"};
  if (kDivisors.contains(divisor)) return;
  std::string_view what = pages                      ? "the hugepages resource"
                          : name.ends_with("memory") ? "the memory resource"
                                                     : "the local ephemeral storage resource";
  errors.push_back(invalidError(
      path.child("divisor"), name,
      fmt::format("only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with {}", what)));
}

void checkContainers(FieldErrors& errors, const FieldPath& path, const PodFacts& facts) {
  const corev1::PodSpec& spec = *facts.spec;
  std::set<std::string_view> names;
  FieldPath containers = path.child("containers");
  if (spec.containers.empty()) errors.push_back(requiredError(containers));
  int64_t grace = spec.terminationGracePeriodSeconds.valueOr(0);
  for (size_t i = 0; i < spec.containers.size(); ++i) {
    const auto& container = spec.containers[i];
    FieldPath at = containers.index(i);
    checkContainer(errors, at, container, facts);
    if (!container.name.empty() && !names.insert(container.name).second)
      errors.push_back(duplicateError(at.child("name"), container.name));
    checkProbes(errors, at, container, grace);
    checkRestartRules(errors, at, container);
  }
  checkHostPorts(errors, containers, spec);
  checkInitContainers(errors, path.child("initContainers"), facts, names);
  checkEphemeralContainers(errors, path.child("ephemeralContainers"), facts, names);
}

}  // namespace knarr::apiserver
