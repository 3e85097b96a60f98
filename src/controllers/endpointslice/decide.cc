#include <fmt/format.h>

#include <algorithm>

#include "controllers/endpointslice/endpointslice.h"
#include "controllers/pod_endpoints/pod_endpoints.h"

namespace knarr::controllers {
namespace {

using corev1::Pod;
using corev1::Service;
using discoveryv1::Endpoint;
using discoveryv1::EndpointSlice;

// What tells two endpoints apart. Source: endpointslice/util, hashEndpoint: addresses, host name, and the pod's name.
std::string endpointKey(const Endpoint& endpoint) {
  std::vector<std::string> addresses;
  for (schema::Str address : endpoint.addresses) addresses.emplace_back(address);
  std::sort(addresses.begin(), addresses.end());
  std::string key;
  for (const std::string& address : addresses) key += address + ",";
  key += fmt::format("|{}", endpoint.hostname.valueOr(""));
  if (endpoint.targetRef) key += fmt::format("|{}/{}", endpoint.targetRef->namespace_, endpoint.targetRef->name);
  return key;
}

using Ports = schema::List<discoveryv1::EndpointPort>;

std::string portsKey(const Ports& ports) {
  std::vector<std::string> texts;
  for (const auto& port : ports)
    texts.push_back(fmt::format("{}/{}/{}/{}", port.name.valueOr(""), port.protocol.valueOr("TCP"), port.port.valueOr(0),
                                port.appProtocol.valueOr("")));
  std::sort(texts.begin(), texts.end());
  std::string key;
  for (const std::string& text : texts) key += text + ",";
  return key;
}

// The endpoints wanted with one set of ports, by identity.
struct PortGroup {
  Ports ports{};
  std::map<std::string, const Endpoint*> endpoints;
};

class Decision {
 public:
  explicit Decision(const EndpointSliceInputs& inputs) : in_(inputs), service_(*inputs.service) {}

  EndpointSlicePlan decide() {
    std::vector<std::string> types = addressTypesOf(service_);
    for (const auto& slice : in_.slices)
      if (std::find(types.begin(), types.end(), slice->addressType) == types.end()) plan_.remove.push_back(slice);
    for (const std::string& type : types) decideType(type);
    return std::move(plan_);
  }

 private:
  void decideType(const std::string& type) {
    std::map<std::string, PortGroup> wanted = wantedEndpoints(type);
    std::map<std::string, std::vector<Ref<EndpointSlice>>> existing;
    size_t existingCount = 0;
    for (const auto& slice : in_.slices) {
      if (slice->addressType != type) continue;
      existing[portsKey(slice->ports)].push_back(slice);
      ++existingCount;
    }
    create_.clear();
    remove_.clear();
    for (auto& [key, group] : wanted) {
      packGroup(type, group, existing[key]);
      existing.erase(key);
    }
    for (auto& [key, slices] : existing) remove_.insert(remove_.end(), slices.begin(), slices.end());
    if (existingCount == remove_.size() && create_.empty()) addPlaceholder(type);
    recycle();
    for (auto& slice : create_) plan_.create.push_back(std::move(slice));
    plan_.remove.insert(plan_.remove.end(), remove_.begin(), remove_.end());
  }

  std::map<std::string, PortGroup> wantedEndpoints(const std::string& type) {
    std::map<std::string, PortGroup> groups;
    for (const Ref<Pod>& pod : in_.pods) {
      if (!shouldPodBeInEndpoints(*pod, true)) continue;
      auto node = in_.nodes.find(std::string(pod->spec.nodeName));
      bool known = node != in_.nodes.end() && node->second;
      if (!known && !pod->spec.nodeName.empty() && !service_.spec.publishNotReadyAddresses) {
        plan_.podsWithoutNode.emplace_back(pod->metadata.name);
        continue;
      }
      const Endpoint* endpoint = endpointOf(*pod, known ? node->second : nullptr, type == "IPv6");
      if (endpoint->addresses.empty()) continue;
      Ports ports = portsOf(*pod);
      PortGroup& group = groups[portsKey(ports)];
      group.ports = ports;
      group.endpoints.emplace(endpointKey(*endpoint), endpoint);
    }
    return groups;
  }

  Ports portsOf(const Pod& pod) {
    Ports ports{};
    for (const auto& servicePort : service_.spec.ports) {
      std::optional<int32_t> number = findPodPort(pod, servicePort);
      if (!number) continue;
      auto& port = ports.append(scratch_);
      port.name = servicePort.name;
      port.protocol = servicePort.protocol.empty() ? schema::Str("TCP") : servicePort.protocol;
      port.port = *number;
      port.appProtocol = servicePort.appProtocol;
    }
    return ports;
  }

  const Endpoint* endpointOf(const Pod& pod, const Ref<corev1::Node>& node, bool v6) {
    Endpoint* endpoint = scratch_.make<Endpoint>();
    for (schema::Str address : podAddresses(pod))
      if (isIpv6Address(address) == v6) endpoint->addresses.append(scratch_) = address;
    bool serving = isPodReady(pod), terminating = pod.metadata.deletionTimestamp.present;
    endpoint->conditions.ready = service_.spec.publishNotReadyAddresses || (serving && !terminating);
    endpoint->conditions.serving = serving;
    endpoint->conditions.terminating = terminating;
    endpoint->targetRef = podReference(scratch_, pod);
    if (!pod.spec.nodeName.empty()) endpoint->nodeName = pod.spec.nodeName;
    if (node)
      if (schema::Str zone = schema::valueOf(node->metadata.labels, "topology.kubernetes.io/zone"); !zone.empty())
        endpoint->zone = zone;
    if (shouldSetHostname(pod, service_)) endpoint->hostname = pod.spec.hostname;
    setHints(*endpoint);
    return endpoint;
  }

  // Hints for spec.trafficDistribution. Source: k8s.io/endpointslice/trafficdist.
  void setHints(Endpoint& endpoint) {
    schema::Str distribution = service_.spec.trafficDistribution.valueOr("");
    bool node = distribution == "PreferSameNode";
    if (!node && distribution != "PreferClose" && distribution != "PreferSameZone") return;
    if (!endpoint.conditions.ready.value || !endpoint.zone) return;
    endpoint.hints = scratch_.make<discoveryv1::EndpointHints>();
    endpoint.hints->forZones.append(scratch_).name = *endpoint.zone;
    if (node && endpoint.nodeName) endpoint.hints->forNodes.append(scratch_).name = *endpoint.nodeName;
  }

  // The endpoints of one port set into the slices that have it. Source: reconciler.go, reconcileByPortMapping.
  void packGroup(const std::string& type, PortGroup& group, const std::vector<Ref<EndpointSlice>>& existing) {
    std::vector<Ref<EndpointSlice>> unchanged;
    std::vector<Mut<EndpointSlice>> changed;
    for (const auto& slice : existing) keepWanted(slice, group, unchanged, changed);
    std::stable_sort(changed.begin(), changed.end(), [](const Mut<EndpointSlice>& a, const Mut<EndpointSlice>& b) {
      return a->endpoints.size() > b->endpoints.size();
    });
    for (auto& slice : changed) fill(slice, group);
    while (!group.endpoints.empty()) {
      size_t fullest = unchanged.size();
      for (size_t i = 0; i < unchanged.size() && group.endpoints.size() < in_.endpointsMax; ++i) {
        if (unchanged[i]->endpoints.size() + group.endpoints.size() > in_.endpointsMax) continue;
        if (fullest == unchanged.size() || unchanged[i]->endpoints.size() > unchanged[fullest]->endpoints.size()) fullest = i;
      }
      if (fullest < unchanged.size()) {
        changed.push_back(schema::edit(unchanged[fullest]));
        unchanged.erase(unchanged.begin() + static_cast<std::ptrdiff_t>(fullest));
        setMetadata(changed.back());
        fill(changed.back(), group);
      } else {
        create_.push_back(newSlice(type, group.ports));
        fill(create_.back(), group);
      }
    }
    for (auto& slice : changed) plan_.update.push_back(std::move(slice));
  }

  // Sorts one slice into those that stay as they are, those that change, and those that go.
  void keepWanted(const Ref<EndpointSlice>& slice, PortGroup& group, std::vector<Ref<EndpointSlice>>& unchanged,
                  std::vector<Mut<EndpointSlice>>& changed) {
    std::vector<const Endpoint*> kept;
    bool differs = false;
    for (const Endpoint& endpoint : slice->endpoints) {
      auto wanted = group.endpoints.find(endpointKey(endpoint));
      if (wanted == group.endpoints.end()) {
        differs = true;
        continue;
      }
      differs = differs || !schema::equal(*wanted->second, endpoint);
      kept.push_back(wanted->second);
      group.endpoints.erase(wanted);
    }
    if (kept.empty()) {
      remove_.push_back(slice);
      return;
    }
    if (!differs && labelsRight(*slice)) {
      unchanged.push_back(slice);
      return;
    }
    Mut<EndpointSlice> next = schema::edit(slice);
    next->endpoints.clear();
    for (const Endpoint* endpoint : kept) next->endpoints.append(next.arena(), *schema::copyInto(next.arena(), *endpoint));
    setMetadata(next);
    changed.push_back(std::move(next));
  }

  void fill(Mut<EndpointSlice>& slice, PortGroup& group) {
    while (!group.endpoints.empty() && slice->endpoints.size() < in_.endpointsMax) {
      slice->endpoints.append(slice.arena(), *schema::copyInto(slice.arena(), *group.endpoints.begin()->second));
      group.endpoints.erase(group.endpoints.begin());
    }
  }

  // A Service always has a slice, so that its absence can be told from its emptiness.
  void addPlaceholder(const std::string& type) {
    Mut<EndpointSlice> placeholder = newSlice(type, Ports{});
    if (remove_.size() == 1) {
      const EndpointSlice& have = *remove_.front();
      if (have.endpoints.empty() && have.ports.empty() && labelsRight(have)) {
        remove_.clear();
        return;
      }
    }
    create_.push_back(std::move(placeholder));
  }

  // A slice that would go gives its name to one that would come: one write instead of two.
  void recycle() {
    while (!create_.empty() && !remove_.empty()) {
      Mut<EndpointSlice> next = schema::edit(remove_.back());
      const Mut<EndpointSlice>& from = create_.back();
      schema::deepCopy(schema::typeInfoOf<EndpointSlice>(), next.root(), from.root(), next.arena());
      const metav1::ObjectMeta& metadata = remove_.back()->metadata;
      schema::deepCopy(schema::typeInfoOf<metav1::ObjectMeta>(), &next->metadata, &metadata, next.arena());
      setMetadata(next);
      plan_.update.push_back(std::move(next));
      create_.pop_back();
      remove_.pop_back();
    }
  }

  static bool isReservedLabel(schema::Str key) {
    return key == kServiceNameLabel || key == kManagedByLabel || key == kHeadlessLabel;
  }

  std::map<std::string, std::string> wantedLabels() const {
    std::map<std::string, std::string> labels;
    for (const auto& [key, value] : service_.metadata.labels)
      if (!isReservedLabel(key)) labels.emplace(key, value);
    labels.emplace(kServiceNameLabel, service_.metadata.name);
    labels.emplace(kManagedByLabel, kEndpointSliceManager);
    if (isHeadless(service_)) labels.emplace(kHeadlessLabel, "");
    return labels;
  }

  bool labelsRight(const EndpointSlice& slice) const {
    std::map<std::string, std::string> wanted = wantedLabels();
    if (slice.metadata.labels.size() != wanted.size()) return false;
    for (const auto& [key, value] : slice.metadata.labels) {
      auto found = wanted.find(std::string(key));
      if (found == wanted.end() || found->second != value) return false;
    }
    return true;
  }

  void setMetadata(Mut<EndpointSlice>& slice) const {
    slice->metadata.labels.clear();
    for (const auto& [key, value] : wantedLabels()) schema::set(slice->metadata.labels, slice.arena(), key, value);
    if (in_.triggerTime.empty())
      slice->metadata.annotations.erase(kTriggerTimeAnnotation);
    else
      schema::set(slice->metadata.annotations, slice.arena(), kTriggerTimeAnnotation, in_.triggerTime);
  }

  Mut<EndpointSlice> newSlice(const std::string& type, const Ports& ports) const {
    Mut<EndpointSlice> slice = schema::newObject<EndpointSlice>();
    slice->metadata.generateName = slice.str(fmt::format("{}-", service_.metadata.name));
    slice->metadata.namespace_ = slice.str(service_.metadata.namespace_);
    setControllerReference(slice->metadata, slice.arena(), in_.service);
    setMetadata(slice);
    slice->addressType = slice.str(type);
    slice->endpoints.reserve(slice.arena(), 1);
    slice->ports.reserve(slice.arena(), 1);
    for (const auto& port : ports) slice->ports.append(slice.arena(), *schema::copyInto(slice.arena(), port));
    return slice;
  }

  const EndpointSliceInputs& in_;
  const Service& service_;
  Arena scratch_;  // endpoints until they are copied into their slice
  EndpointSlicePlan plan_;
  std::vector<Mut<EndpointSlice>> create_;  // of the address type at hand
  std::vector<Ref<EndpointSlice>> remove_;
};

}  // namespace

std::vector<std::string> addressTypesOf(const Service& service) {
  std::vector<std::string> types;
  for (schema::Str family : service.spec.ipFamilies) types.emplace_back(family == "IPv6" ? "IPv6" : "IPv4");
  if (!types.empty()) return types;
  if (!isHeadless(service)) return {isIpv6Address(service.spec.clusterIP) ? "IPv6" : "IPv4"};
  return {"IPv4", "IPv6"};
}

EndpointSlicePlan decideEndpointSlices(const EndpointSliceInputs& inputs) { return Decision(inputs).decide(); }

}  // namespace knarr::controllers
