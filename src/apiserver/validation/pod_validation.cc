// Pods and pod templates. Source: pkg/apis/core/validation: ValidatePodSpec, ValidatePodCreate, ValidatePodTemplateSpec.
#include <fmt/format.h>

#include <set>

#include "apimachinery/labels.h"
#include "apiserver/validation/pod_rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;
using apimachinery::isDns1123Subdomain;
using apimachinery::isQualifiedName;

namespace {

constexpr size_t kNameserversMax = 3, kSearchPathsMax = 32, kSearchBytesMax = 2048, kHostnameOverrideMax = 64;
constexpr int64_t kDeadlineMax = 2147483647;
constexpr std::string_view kMirror = "kubernetes.io/config.mirror";

void checkDns(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec) {
  const corev1::PodDNSConfig* config = spec.dnsConfig;
  FieldPath servers = path.child("nameservers"), searches = path.child("searches");
  if (spec.dnsPolicy == "None") {
    if (!config) {
      errors.push_back(requiredError(path, "must provide `dnsConfig` when `dnsPolicy` is None"));
      return;
    }
    if (config->nameservers.empty()) {
      errors.push_back(requiredError(servers, "must provide at least one DNS nameserver when `dnsPolicy` is None"));
      return;
    }
  }
  if (!config) return;
  if (config->nameservers.size() > kNameserversMax)
    errors.push_back(invalidValueError(servers, printList(config->nameservers), "must not have more than 3 nameservers"));
  for (size_t i = 0; i < config->nameservers.size(); ++i) checkIp(errors, servers.index(i), config->nameservers[i]);
  if (config->searches.size() > kSearchPathsMax)
    errors.push_back(invalidValueError(searches, printList(config->searches), "must not have more than 32 search paths"));
  size_t bytes = config->searches.empty() ? 0 : config->searches.size() - 1;
  for (size_t i = 0; i < config->searches.size(); ++i) {
    Str search = config->searches[i];
    bytes += search.size();
    std::string plain(search.ends_with('.') ? search.substr(0, search.size() - 1) : search);
    std::replace(plain.begin(), plain.end(), '_', 'a');
    if (search == ".") continue;
    for (const std::string& message : isDns1123Subdomain(plain))
      errors.push_back(invalidError(searches.index(i), search, message));
  }
  if (bytes > kSearchBytesMax)
    errors.push_back(invalidValueError(searches, printList(config->searches),
                                       "must not have more than 2048 characters (including spaces) in the search list"));
  for (size_t i = 0; i < config->options.size(); ++i)
    if (config->options[i].name.empty()) errors.push_back(requiredError(path.child("options").index(i), "must not be empty"));
}

void checkClaims(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::PodResourceClaim>& claims) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < claims.size(); ++i) {
    const auto& claim = claims[i];
    FieldPath at = path.index(i);
    requireName(errors, at.child("name"), claim.name, isDns1123Label);
    if (!claim.name.empty() && !names.insert(claim.name).second) errors.push_back(duplicateError(at.child("name"), claim.name));
    if (claim.resourceClaimName && claim.resourceClaimTemplateName)
      errors.push_back(
          invalidValueError(at, "{}", "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"));
    if (!claim.resourceClaimName && !claim.resourceClaimTemplateName)
      errors.push_back(invalidValueError(at, "{}", "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"));
    if (claim.resourceClaimName) checkName(errors, at.child("resourceClaimName"), *claim.resourceClaimName, isDns1123Subdomain);
    if (claim.resourceClaimTemplateName)
      checkName(errors, at.child("resourceClaimTemplateName"), *claim.resourceClaimTemplateName, isDns1123Subdomain);
  }
}

void checkGates(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec) {
  for (size_t i = 0; i < spec.readinessGates.size(); ++i)
    for (const std::string& message : isQualifiedName(spec.readinessGates[i].conditionType))
      errors.push_back(invalidError(path.child("readinessGates").index(i).child("conditionType"),
                                    spec.readinessGates[i].conditionType, message));
  std::set<std::string_view> gates;
  for (size_t i = 0; i < spec.schedulingGates.size(); ++i) {
    FieldPath at = path.child("schedulingGates").index(i);
    for (const std::string& message : isQualifiedName(spec.schedulingGates[i].name))
      errors.push_back(invalidError(at, spec.schedulingGates[i].name, message));
    if (!gates.insert(spec.schedulingGates[i].name).second) errors.push_back(duplicateError(at, spec.schedulingGates[i].name));
  }
}

void checkHost(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec) {
  if (!spec.hostUsers.valueOr(true)) {
    constexpr std::string_view kWhy = "when `hostUsers` is false";
    if (spec.hostNetwork) forbid(errors, path.child("hostNetwork"), kWhy);
    if (spec.hostPID) forbid(errors, path.child("HostPID"), kWhy);
    if (spec.hostIPC) forbid(errors, path.child("HostIPC"), kWhy);
  }
  if (!spec.hostnameOverride) return;
  FieldPath at = path.child("hostnameOverride");
  if (spec.setHostnameAsFQDN.valueOr(false)) forbid(errors, at, "may not be specified when setHostnameAsFQDN is true");
  if (spec.hostNetwork) forbid(errors, at, "may not be specified when hostNetwork is true");
  if ((*spec.hostnameOverride).size() > kHostnameOverrideMax)
    errors.push_back(tooLongError(at, static_cast<int64_t>(kHostnameOverrideMax)));
  for (const std::string& message : isDns1123Subdomain(*spec.hostnameOverride))
    errors.push_back(invalidError(at, *spec.hostnameOverride, message));
}

void checkNames(FieldErrors& errors, const FieldPath& path, const corev1::PodSpec& spec) {
  checkName(errors, path.child("serviceAccountName"), spec.serviceAccountName, isDns1123Subdomain);
  checkName(errors, path.child("nodeName"), spec.nodeName, isDns1123Subdomain);
  if (spec.activeDeadlineSeconds && (*spec.activeDeadlineSeconds < 1 || *spec.activeDeadlineSeconds > kDeadlineMax))
    errors.push_back(invalidError(path.child("activeDeadlineSeconds"), *spec.activeDeadlineSeconds,
                                  "must be between 1 and 2147483647, inclusive"));
  checkName(errors, path.child("hostname"), spec.hostname, isDns1123Label);
  checkName(errors, path.child("subdomain"), spec.subdomain, isDns1123Label);
  checkTolerations(errors, path.child("tolerations"), spec.tolerations);
  for (size_t i = 0; i < spec.hostAliases.size(); ++i) {
    FieldPath at = path.child("hostAliases").index(i);
    checkIp(errors, at.child("ip"), spec.hostAliases[i].ip);
    for (size_t j = 0; j < spec.hostAliases[i].hostnames.size(); ++j)
      for (const std::string& message : isDns1123Subdomain(spec.hostAliases[i].hostnames[j]))
        errors.push_back(invalidError(at.child("hostnames").index(j), spec.hostAliases[i].hostnames[j], message));
  }
  checkName(errors, path.child("priorityClassName"), spec.priorityClassName, isDns1123Subdomain);
  if (spec.runtimeClassName) checkName(errors, path.child("runtimeClassName"), *spec.runtimeClassName, isDns1123Subdomain);
  if (spec.preemptionPolicy)
    checkOneOf(errors, path.child("preemptionPolicy"), spec.preemptionPolicy, {"PreemptLowerPriority", "Never"});
  corev1::ResourceRequirements overhead{};
  overhead.limits = spec.overhead;
  checkResources(errors, path.child("overhead"), overhead, ResourceNameRule::Container);
  if (spec.os) {
    requireText(errors, path.child("os").child("name"), spec.os->name);
    checkOneOf(errors, path.child("os"), spec.os->name, {"linux", "windows"});
  }
}

FieldErrors validateSpec(const corev1::PodSpec& spec, const FieldPath& path, bool isPod) {
  FieldErrors errors;
  PodFacts facts;
  facts.spec = &spec;
  facts.isPod = isPod;
  if (!spec.terminationGracePeriodSeconds) errors.push_back(requiredError(path.child("terminationGracePeriodSeconds")));
  checkVolumes(errors, path.child("volumes"), facts);
  checkClaims(errors, path.child("resourceClaims"), spec.resourceClaims);
  checkContainers(errors, path, facts);
  if (spec.resources) checkResources(errors, path.child("resources"), *spec.resources, ResourceNameRule::Pod);
  requireOneOf(errors, path.child("restartPolicy"), spec.restartPolicy, {"Always", "OnFailure", "Never"});
  requireOneOf(errors, path.child("dnsPolicy"), spec.dnsPolicy, {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"});
  checkLabels(errors, path.child("nodeSelector"), spec.nodeSelector);
  checkPodSecurity(errors, path.child("securityContext"), spec);
  checkAffinity(errors, path.child("affinity"), spec.affinity);
  checkDns(errors, path.child("dnsConfig"), spec);
  checkGates(errors, path, spec);
  checkTopologySpread(errors, path.child("topologySpreadConstraints"), spec.topologySpreadConstraints);
  checkHost(errors, path, spec);
  checkNames(errors, path, spec);
  return errors;
}

}  // namespace

FieldErrors validatePodSpec(const corev1::PodSpec& spec, const FieldPath& path) { return validateSpec(spec, path, false); }

FieldErrors validatePod(const Mut<>& object) {
  const auto& pod = *static_cast<const corev1::Pod*>(object.root());
  FieldErrors errors;
  if (pod.metadata.annotations.contains(kMirror) && pod.spec.nodeName.empty())
    errors.push_back(invalidError(FieldPath("metadata").child("annotations").key(kMirror),
                                  schema::valueOf(pod.metadata.annotations, kMirror),
                                  "must set spec.nodeName if mirror pod annotation is set"));
  FieldPath path("spec");
  addAll(errors, validateSpec(pod.spec, path, true));
  for (size_t i = 0; i < pod.spec.volumes.size(); ++i)
    if (const auto* projected = pod.spec.volumes[i].volumeSource.projected; projected && pod.spec.serviceAccountName.empty())
      for (size_t j = 0; j < projected->sources.size(); ++j)
        if (projected->sources[j].serviceAccountToken)
          forbid(errors, path.child("volumes").index(i).child("projected").child("sources").index(j).child("serviceAccountToken"),
                 "must not be specified when serviceAccountName is not set");
  return errors;
}

FieldErrors validateNewPod(const Mut<>& object) {
  const auto& pod = *static_cast<const corev1::Pod*>(object.root());
  FieldErrors errors;
  FieldPath path("spec");
  if (!pod.spec.ephemeralContainers.empty()) forbid(errors, path.child("ephemeralContainers"), "cannot be set on create");
  if (!pod.spec.nodeName.empty() && !pod.spec.schedulingGates.empty())
    forbid(errors, path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
  return errors;
}

FieldErrors validatePodTemplateSpec(const corev1::PodTemplateSpec& pod, const FieldPath& path) {
  FieldErrors errors;
  checkLabels(errors, path.child("labels"), pod.metadata.labels);
  checkAnnotations(errors, path.child("annotations"), pod.metadata.annotations);
  addAll(errors, validatePodSpec(pod.spec, path.child("spec")));
  if (!pod.spec.ephemeralContainers.empty())
    forbid(errors, path.child("spec").child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
  return errors;
}

FieldErrors validatePodTemplate(const corev1::PodTemplateSpec& pod, const metav1::LabelSelector* selector, const FieldPath& path,
                                std::string_view owner) {
  FieldErrors errors;
  auto parsed = apimachinery::LabelSelector::from(selector);
  if (selector && parsed && !parsed->matches(pod.metadata.labels))
    errors.push_back(invalidValueError(path.child("metadata").child("labels"), printMap(pod.metadata.labels),
                                       "`selector` does not match template `labels`"));
  addAll(errors, validatePodTemplateSpec(pod, path));
  if (pod.spec.restartPolicy != "Always")
    errors.push_back(notSupportedError(path.child("spec").child("restartPolicy"), pod.spec.restartPolicy, {"Always"}));
  if (pod.spec.activeDeadlineSeconds)
    forbid(errors, path.child("spec").child("activeDeadlineSeconds"),
           fmt::format("activeDeadlineSeconds in {} is not Supported", owner));
  return errors;
}

FieldErrors validatePodTemplateObject(const Mut<>& object) {
  return validatePodTemplateSpec(static_cast<const corev1::PodTemplate*>(object.root())->template_, FieldPath("template"));
}

FieldErrors validateReplicationController(const Mut<>& object) {
  const auto& spec = static_cast<const corev1::ReplicationController*>(object.root())->spec;
  FieldPath path("spec");
  FieldErrors errors;
  nonNegative(errors, path.child("minReadySeconds"), int64_t{spec.minReadySeconds});
  if (spec.selector.empty()) errors.push_back(requiredError(path.child("selector")));
  if (!spec.replicas)
    errors.push_back(requiredError(path.child("replicas")));
  else
    nonNegative(errors, path.child("replicas"), int64_t{*spec.replicas});
  if (!spec.template_) {
    errors.push_back(requiredError(path.child("template")));
    return errors;
  }
  metav1::LabelSelector selector{};
  selector.matchLabels = spec.selector;
  addAll(errors, validatePodTemplate(*spec.template_, spec.selector.empty() ? nullptr : &selector, path.child("template"),
                                     "ReplicationController"));
  return errors;
}

namespace {

// What the containers of a pod ask for of a resource, together.
struct Sums {
  schema::Amount requests, limits;
};

bool isSet(const schema::Quantity* quantity) { return quantity && schema::amountOf(*quantity).sign() > 0; }

}  // namespace

Str podQosClass(const corev1::Pod& pod) {
  bool any = false, guaranteed = true;
  Sums sums[2];
  constexpr std::string_view kNames[] = {"cpu", "memory"};
  auto add = [&](const corev1::ResourceRequirements& resources) {
    for (size_t i = 0; i < 2; ++i) {
      const schema::Quantity* request = resources.requests.find(kNames[i]);
      const schema::Quantity* limit = resources.limits.find(kNames[i]);
      any = any || isSet(request) || isSet(limit);
      if (!isSet(limit)) guaranteed = false;
      if (isSet(request)) sums[i].requests = sums[i].requests + schema::amountOf(*request);
      if (isSet(limit)) sums[i].limits = sums[i].limits + schema::amountOf(*limit);
    }
  };
  if (pod.spec.resources && !(pod.spec.resources->limits.empty() && pod.spec.resources->requests.empty())) {
    add(*pod.spec.resources);
  } else {
    for (const auto* list : {&pod.spec.containers, &pod.spec.initContainers})
      for (const auto& container : *list) add(container.resources);
  }
  if (!any) return "BestEffort";
  for (const Sums& sum : sums) guaranteed = guaranteed && (sum.requests.isZero() || sum.requests == sum.limits);
  return guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace knarr::apiserver
