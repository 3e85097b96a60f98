#include "controllers/pod_endpoints/pod_endpoints.h"

#include <algorithm>

#include "base/strings.h"

namespace knarr::controllers {
namespace {

bool selects(const schema::StringMap& selector, const schema::StringMap& labels) {
  for (const auto& [key, value] : selector)
    if (const schema::Str* have = labels.find(key); !have || *have != value) return false;
  return true;
}

bool sameLabels(const schema::StringMap& a, const schema::StringMap& b) { return a.size() == b.size() && selects(a, b); }

template <class Containers>
std::optional<int32_t> namedPort(const Containers& containers, bool sidecarsOnly, schema::Str name, schema::Str protocol) {
  for (const auto& container : containers) {
    if (sidecarsOnly && (!container.restartPolicy || *container.restartPolicy != "Always")) continue;
    for (const auto& port : container.ports)
      if (port.name == name && (port.protocol.empty() ? schema::Str("TCP") : port.protocol) == protocol)
        return port.containerPort;
  }
  return std::nullopt;
}

int64_t readyTransition(const corev1::Pod& pod) {
  const corev1::PodCondition* ready = podCondition(pod, "Ready");
  return ready && !ready->lastTransitionTime.isZero() ? ready->lastTransitionTime.unixSeconds() : 0;
}

}  // namespace

bool shouldPodBeInEndpoints(const corev1::Pod& pod, bool includeTerminating) {
  if (pod.status.phase == "Succeeded" || pod.status.phase == "Failed") return false;
  if (pod.status.podIP.empty() && pod.status.podIPs.empty()) return false;
  return includeTerminating || !pod.metadata.deletionTimestamp;
}

std::optional<int32_t> findPodPort(const corev1::Pod& pod, const corev1::ServicePort& port) {
  if (!port.targetPort.isString) return port.targetPort.intValue != 0 ? port.targetPort.intValue : port.port;
  schema::Str protocol = port.protocol.empty() ? schema::Str("TCP") : port.protocol;
  if (auto found = namedPort(pod.spec.containers, false, port.targetPort.stringValue, protocol)) return found;
  return namedPort(pod.spec.initContainers, true, port.targetPort.stringValue, protocol);
}

bool shouldSetHostname(const corev1::Pod& pod, const corev1::Service& service) {
  return !pod.spec.hostname.empty() && pod.spec.subdomain == service.metadata.name &&
         pod.metadata.namespace_ == service.metadata.namespace_;
}

bool isHeadless(const corev1::Service& service) { return service.spec.clusterIP.empty() || service.spec.clusterIP == "None"; }

std::vector<schema::Str> podAddresses(const corev1::Pod& pod) {
  std::vector<schema::Str> out;
  for (const auto& one : pod.status.podIPs)
    if (!one.ip.empty()) out.push_back(one.ip);
  if (out.empty() && !pod.status.podIP.empty()) out.push_back(pod.status.podIP);
  return out;
}

bool podChangeMatters(const corev1::Pod& before, const corev1::Pod& after) {
  return isPodReady(before) != isPodReady(after) ||
         before.metadata.deletionTimestamp.present != after.metadata.deletionTimestamp.present ||
         podAddresses(before) != podAddresses(after) || before.spec.hostname != after.spec.hostname ||
         before.spec.subdomain != after.spec.subdomain || before.spec.nodeName != after.spec.nodeName ||
         before.status.phase != after.status.phase || !sameLabels(before.metadata.labels, after.metadata.labels);
}

std::vector<std::string> servicesSelecting(const client::Informer& services, const corev1::Pod& pod) {
  std::vector<std::string> keys;
  for (const Ref<corev1::Service>& service : client::Lister<corev1::Service>(services).list(pod.metadata.namespace_))
    if (!service->spec.selector.empty() && selects(service->spec.selector, pod.metadata.labels))
      keys.push_back(client::keyOf(service));
  return keys;
}

std::vector<Ref<corev1::Pod>> podsSelected(const client::Informer& pods, const corev1::Service& service) {
  std::vector<Ref<corev1::Pod>> out;
  for (Ref<corev1::Pod>& pod : client::Lister<corev1::Pod>(pods).list(service.metadata.namespace_))
    if (selects(service.spec.selector, pod->metadata.labels)) out.push_back(std::move(pod));
  return out;
}

corev1::ObjectReference* podReference(Arena& arena, const corev1::Pod& pod) {
  auto* reference = arena.make<corev1::ObjectReference>();
  reference->kind = "Pod";
  reference->namespace_ = arena.copy(pod.metadata.namespace_);
  reference->name = arena.copy(pod.metadata.name);
  reference->uid = arena.copy(pod.metadata.uid);
  return reference;
}

std::set<std::string> servicesToSync(const client::Informer& services, const Ref<corev1::Pod>& before,
                                     const Ref<corev1::Pod>& after) {
  std::set<std::string> keys;
  if (before && after && !podChangeMatters(*before, *after)) return keys;
  for (const Ref<corev1::Pod>& pod : {before, after}) {
    if (!pod) continue;
    for (std::string& key : servicesSelecting(services, *pod)) keys.insert(std::move(key));
  }
  return keys;
}

std::string TriggerTimeTracker::computeLastChange(const std::string& key, const corev1::Service& service,
                                                  const std::vector<Ref<corev1::Pod>>& pods) {
  auto [at, first] = byService_.try_emplace(key);
  Seen next;
  next.service = service.metadata.creationTimestamp.unixSeconds();
  int64_t change = 0;
  auto consider = [&change](int64_t when) { change = change == 0 ? when : std::min(change, when); };
  for (const Ref<corev1::Pod>& pod : pods) {
    if (!shouldPodBeInEndpoints(*pod, true)) continue;
    int64_t when = readyTransition(*pod);
    if (when == 0) continue;
    std::string name(pod->metadata.name);
    auto seen = at->second.pods.find(name);
    if (seen == at->second.pods.end() || seen->second < when) consider(when);
    next.pods.emplace(std::move(name), when);
  }
  if (at->second.service < next.service) consider(next.service);
  if (first) change = next.service;
  at->second = std::move(next);
  return change == 0 ? "" : formatRfc3339(change);
}

}  // namespace knarr::controllers
