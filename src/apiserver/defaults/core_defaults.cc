#include <algorithm>
#include <map>

#include "apiserver/defaults/defaults.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using schema::Mut;
using schema::Str;

namespace {

// The tag of an image reference; "latest" when it has neither tag nor digest, "" when it has a digest.
std::string_view imageTag(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "";
  size_t slash = image.rfind('/');
  size_t colon = image.rfind(':');
  if (colon == std::string_view::npos || (slash != std::string_view::npos && colon < slash)) return "latest";
  return image.substr(colon + 1);
}

Str pullPolicyOf(std::string_view image) { return imageTag(image) == "latest" ? "Always" : "IfNotPresent"; }

void setHttpGetDefaults(corev1::HTTPGetAction& action) {
  setIfEmpty(action.path, "/");
  setIfEmpty(action.scheme, "HTTP");
}

void setProbeDefaults(corev1::Probe* probe) {
  if (!probe) return;
  if (probe->timeoutSeconds == 0) probe->timeoutSeconds = 1;
  if (probe->periodSeconds == 0) probe->periodSeconds = 10;
  if (probe->successThreshold == 0) probe->successThreshold = 1;
  if (probe->failureThreshold == 0) probe->failureThreshold = 3;
  if (probe->probeHandler.httpGet) setHttpGetDefaults(*probe->probeHandler.httpGet);
  if (probe->probeHandler.grpc) setIfAbsent(probe->probeHandler.grpc->service, Str(""));
}

void setLifecycleDefaults(corev1::Lifecycle* lifecycle) {
  if (!lifecycle) return;
  if (lifecycle->postStart && lifecycle->postStart->httpGet) setHttpGetDefaults(*lifecycle->postStart->httpGet);
  if (lifecycle->preStop && lifecycle->preStop->httpGet) setHttpGetDefaults(*lifecycle->preStop->httpGet);
}

void setResourceListDefaults(schema::Map<schema::Quantity>& list, Arena& arena) {
  // Amounts finer than a thousandth are rounded up. Source: core/v1/defaults.go, SetDefaults_ResourceList.
  for (auto& [name, quantity] : list) {
    schema::Amount amount = schema::amountOf(quantity);
    if (!(amount.roundUp(-3) == amount)) quantity = schema::quantityOf(arena, amount.roundUp(-3));
  }
}

void setContainerDefaults(corev1::Container& container, Arena& arena) {
  setIfEmpty(container.imagePullPolicy, pullPolicyOf(container.image));
  setIfEmpty(container.terminationMessagePath, "/dev/termination-log");
  setIfEmpty(container.terminationMessagePolicy, "File");
  for (auto& port : container.ports) setIfEmpty(port.protocol, "TCP");
  for (auto& variable : container.env)
    if (variable.valueFrom && variable.valueFrom->fieldRef) setIfEmpty(variable.valueFrom->fieldRef->apiVersion, "v1");
  setProbeDefaults(container.livenessProbe);
  setProbeDefaults(container.readinessProbe);
  setProbeDefaults(container.startupProbe);
  setLifecycleDefaults(container.lifecycle);
  setResourceListDefaults(container.resources.limits, arena);
  setResourceListDefaults(container.resources.requests, arena);
}

void setProjectionDefaults(corev1::ProjectedVolumeSource& projected) {
  setIfAbsent(projected.defaultMode, int32_t{0644});
  for (auto& source : projected.sources) {
    if (source.serviceAccountToken) setIfAbsent(source.serviceAccountToken->expirationSeconds, int64_t{3600});
    if (source.downwardAPI)
      for (auto& item : source.downwardAPI->items)
        if (item.fieldRef) setIfEmpty(item.fieldRef->apiVersion, "v1");
  }
}

bool hasSource(const corev1::VolumeSource& source) {
  return !schema::isZero(schema::typeInfoOf<corev1::VolumeSource>(), &source);
}

void setVolumeDefaults(corev1::Volume& volume, Arena& arena) {
  corev1::VolumeSource& source = volume.volumeSource;
  if (!hasSource(source)) source.emptyDir = arena.make<corev1::EmptyDirVolumeSource>();
  if (source.secret) setIfAbsent(source.secret->defaultMode, int32_t{0644});
  if (source.configMap) setIfAbsent(source.configMap->defaultMode, int32_t{0644});
  if (source.downwardAPI) {
    setIfAbsent(source.downwardAPI->defaultMode, int32_t{0644});
    for (auto& item : source.downwardAPI->items)
      if (item.fieldRef) setIfEmpty(item.fieldRef->apiVersion, "v1");
  }
  if (source.projected) setProjectionDefaults(*source.projected);
  if (source.hostPath) setIfAbsent(source.hostPath->type, Str(""));
  if (source.image) setIfEmpty(source.image->pullPolicy, pullPolicyOf(source.image->reference));
  if (source.ephemeral && source.ephemeral->volumeClaimTemplate)
    setIfAbsent(source.ephemeral->volumeClaimTemplate->spec.volumeMode, Str("Filesystem"));
}

// What a limit is given for but no request, is requested. Only pods, not templates.
void setRequestsFromLimits(corev1::Container& container, Arena& arena) {
  for (const auto& [name, limit] : container.resources.limits)
    if (!container.resources.requests.contains(name)) container.resources.requests.at(arena, name) = limit;
}

void podDefaults(Mut<>& object) {
  auto& pod = *static_cast<corev1::Pod*>(object.root());
  Arena& arena = object.arena();
  setPodSpecDefaults(pod.spec, arena);
  for (auto* list : {&pod.spec.containers, &pod.spec.initContainers})
    for (auto& container : *list) {
      setRequestsFromLimits(container, arena);
      if (pod.spec.hostNetwork)
        for (auto& port : container.ports)
          if (port.hostPort == 0) port.hostPort = port.containerPort;
    }
  setIfAbsent(pod.spec.enableServiceLinks, true);
}

void podTemplateDefaults(Mut<>& object) {
  setPodSpecDefaults(static_cast<corev1::PodTemplate*>(object.root())->template_.spec, object.arena());
}

void replicationControllerDefaults(Mut<>& object) {
  auto& rc = *static_cast<corev1::ReplicationController*>(object.root());
  setIfAbsent(rc.spec.replicas, int32_t{1});
  if (!rc.spec.template_) return;
  const schema::StringMap& labels = rc.spec.template_->metadata.labels;
  if (rc.spec.selector.empty())
    for (const auto& [key, value] : labels) schema::set(rc.spec.selector, object.arena(), key, value);
  if (rc.metadata.labels.empty())
    for (const auto& [key, value] : labels) schema::set(rc.metadata.labels, object.arena(), key, value);
  setPodSpecDefaults(rc.spec.template_->spec, object.arena());
}

void serviceDefaults(Mut<>& object) {
  auto& service = *static_cast<corev1::Service*>(object.root());
  corev1::ServiceSpec& spec = service.spec;
  setIfEmpty(spec.sessionAffinity, "None");
  if (spec.sessionAffinity == "None") spec.sessionAffinityConfig = nullptr;
  if (spec.sessionAffinity == "ClientIP") {
    if (!spec.sessionAffinityConfig) spec.sessionAffinityConfig = object.arena().make<corev1::SessionAffinityConfig>();
    if (!spec.sessionAffinityConfig->clientIP)
      spec.sessionAffinityConfig->clientIP = object.arena().make<corev1::ClientIPConfig>();
    setIfAbsent(spec.sessionAffinityConfig->clientIP->timeoutSeconds, int32_t{10800});
  }
  setIfEmpty(spec.type, "ClusterIP");
  for (auto& port : spec.ports) {
    setIfEmpty(port.protocol, "TCP");
    bool unset = port.targetPort.isString ? port.targetPort.stringValue.empty() : port.targetPort.intValue == 0;
    if (unset) port.targetPort = {false, port.port, {}};
  }
  bool external =
      spec.type == "NodePort" || spec.type == "LoadBalancer" || (spec.type == "ClusterIP" && !spec.externalIPs.empty());
  if (external) setIfEmpty(spec.externalTrafficPolicy, "Cluster");
  if (spec.type == "NodePort" || spec.type == "LoadBalancer" || spec.type == "ClusterIP")
    setIfAbsent(spec.internalTrafficPolicy, Str("Cluster"));
  if (spec.type == "LoadBalancer") {
    setIfAbsent(spec.allocateLoadBalancerNodePorts, true);
    for (auto& ingress : service.status.loadBalancer.ingress)
      if (!ingress.ip.empty()) setIfAbsent(ingress.ipMode, Str("VIP"));
  }
}

// What was written as text becomes data and is never stored as text. Source: core/v1/conversion.go,
// Convert_v1_Secret_To_core_Secret.
void secretDefaults(Mut<>& object) {
  auto& secret = *static_cast<corev1::Secret*>(object.root());
  setIfEmpty(secret.type, "Opaque");
  for (const auto& [key, text] : secret.stringData) secret.data.at(object.arena(), key) = {text};
  secret.stringData = {};
}

void endpointsDefaults(Mut<>& object) {
  for (auto& subset : static_cast<corev1::Endpoints*>(object.root())->subsets)
    for (auto& port : subset.ports) setIfEmpty(port.protocol, "TCP");
}

void persistentVolumeDefaults(Mut<>& object) {
  auto& volume = *static_cast<corev1::PersistentVolume*>(object.root());
  setIfEmpty(volume.status.phase, "Pending");
  setIfEmpty(volume.spec.persistentVolumeReclaimPolicy, "Retain");
  setIfAbsent(volume.spec.volumeMode, Str("Filesystem"));
}

void claimDefaults(Mut<>& object) {
  auto& claim = *static_cast<corev1::PersistentVolumeClaim*>(object.root());
  setIfEmpty(claim.status.phase, "Pending");
  setIfAbsent(claim.spec.volumeMode, Str("Filesystem"));
}

void namespaceDefaults(Mut<>& object) {
  auto& ns = *static_cast<corev1::Namespace*>(object.root());
  setIfEmpty(ns.status.phase, "Active");
  // Source: core/v1/defaults.go, SetDefaults_Namespace: the label that selects a namespace by its name.
  if (!ns.metadata.name.empty()) schema::set(ns.metadata.labels, object.arena(), "kubernetes.io/metadata.name", ns.metadata.name);
}

// What a limit's default leaves open, its maximum and minimum say.
void limitRangeDefaults(Mut<>& object) {
  auto fill = [&](schema::Map<schema::Quantity>& to, const schema::Map<schema::Quantity>& from) {
    for (const auto& [name, quantity] : from)
      if (!to.contains(name)) to.at(object.arena(), name) = quantity;
  };
  for (auto& limit : static_cast<corev1::LimitRange*>(object.root())->spec.limits) {
    if (limit.type != "Container") continue;
    fill(limit.default_, limit.max);
    fill(limit.defaultRequest, limit.default_);
    fill(limit.defaultRequest, limit.min);
  }
}

void nodeDefaults(Mut<>& object) {
  auto& node = *static_cast<corev1::Node*>(object.root());
  if (node.status.allocatable.empty())
    for (const auto& [name, quantity] : node.status.capacity) node.status.allocatable.at(object.arena(), name) = quantity;
}

}  // namespace

void setPodSpecDefaults(corev1::PodSpec& spec, Arena& arena) {
  setIfEmpty(spec.dnsPolicy, "ClusterFirst");
  setIfEmpty(spec.restartPolicy, "Always");
  if (!spec.securityContext) spec.securityContext = arena.make<corev1::PodSecurityContext>();
  setIfAbsent(spec.terminationGracePeriodSeconds, int64_t{30});
  setIfEmpty(spec.schedulerName, "default-scheduler");
  for (auto& volume : spec.volumes) setVolumeDefaults(volume, arena);
  for (auto& container : spec.initContainers) setContainerDefaults(container, arena);
  for (auto& container : spec.containers) setContainerDefaults(container, arena);
  for (auto& container : spec.ephemeralContainers) {
    setIfEmpty(container.ephemeralContainerCommon.imagePullPolicy, pullPolicyOf(container.ephemeralContainerCommon.image));
    setIfEmpty(container.ephemeralContainerCommon.terminationMessagePath, "/dev/termination-log");
    setIfEmpty(container.ephemeralContainerCommon.terminationMessagePolicy, "File");
  }
}

DefaultsFunction coreDefaultsOf(std::string_view kind) {
  static const std::map<std::string_view, DefaultsFunction> kDefaults{{"Pod", podDefaults},
                                                                      {"PodTemplate", podTemplateDefaults},
                                                                      {"ReplicationController", replicationControllerDefaults},
                                                                      {"Service", serviceDefaults},
                                                                      {"Secret", secretDefaults},
                                                                      {"Endpoints", endpointsDefaults},
                                                                      {"PersistentVolume", persistentVolumeDefaults},
                                                                      {"PersistentVolumeClaim", claimDefaults},
                                                                      {"Namespace", namespaceDefaults},
                                                                      {"LimitRange", limitRangeDefaults},
                                                                      {"Node", nodeDefaults}};
  auto found = kDefaults.find(kind);
  return found == kDefaults.end() ? nullptr : found->second;
}

}  // namespace knarr::apiserver
