#include <fmt/format.h>

#include <algorithm>

#include "controllers/endpoint/endpoint.h"
#include "controllers/pod_endpoints/pod_endpoints.h"

namespace knarr::controllers {
namespace {

using corev1::EndpointAddress;
using corev1::Endpoints;
using corev1::Pod;
using corev1::Service;

// Source: endpoints_controller.go, maxCapacity.
constexpr size_t kAddressesMax = 1000;
constexpr std::string_view kOverCapacity = "endpoints.kubernetes.io/over-capacity";
constexpr std::string_view kManagedByLabel = "endpoints.kubernetes.io/managed-by";

struct Member {
  EndpointAddress address{};
  bool ready = false;
};
// By address and pod; the order of addresses in a subset.
using Members = std::map<std::pair<std::string, std::string>, Member>;

// Identical ports with the members that have them.
struct PortMembers {
  corev1::EndpointPort port{};
  bool hasPort = false;
  Members members;
};

std::string membersKey(const Members& members) {
  std::string key;
  for (const auto& [identity, member] : members) key += fmt::format("{}|{}|{};", identity.first, identity.second, member.ready);
  return key;
}

schema::Str familyOf(const Service& service) {
  if (!service.spec.ipFamilies.empty()) return service.spec.ipFamilies[0];
  if (!isHeadless(service)) return isIpv6Address(service.spec.clusterIP) ? "IPv6" : "IPv4";
  return "";
}

schema::Str addressFor(const Pod& pod, schema::Str family) {
  for (schema::Str address : podAddresses(pod))
    if (family.empty() || isIpv6Address(address) == (family == "IPv6")) return address;
  return "";
}

std::map<std::string, PortMembers> collect(const Service& service, const std::vector<Ref<Pod>>& pods, Arena& arena) {
  std::map<std::string, PortMembers> byPort;
  schema::Str family = familyOf(service);
  for (const Ref<Pod>& pod : pods) {
    if (!shouldPodBeInEndpoints(*pod, service.spec.publishNotReadyAddresses)) continue;
    Member member;
    member.address.ip = addressFor(*pod, family);
    if (member.address.ip.empty()) continue;
    member.ready = service.spec.publishNotReadyAddresses || isPodReady(*pod);
    if (shouldSetHostname(*pod, service)) member.address.hostname = pod->spec.hostname;
    if (!pod->spec.nodeName.empty()) member.address.nodeName = pod->spec.nodeName;
    member.address.targetRef = podReference(arena, *pod);
    std::pair<std::string, std::string> identity{member.address.ip, pod->metadata.uid};
    if (service.spec.ports.empty() && isHeadless(service)) byPort[""].members.emplace(identity, member);
    for (const auto& servicePort : service.spec.ports) {
      std::optional<int32_t> number = findPodPort(*pod, servicePort);
      if (!number) continue;
      corev1::EndpointPort port{};
      port.name = servicePort.name;
      port.port = *number;
      port.protocol = servicePort.protocol.empty() ? schema::Str("TCP") : servicePort.protocol;
      port.appProtocol = servicePort.appProtocol;
      PortMembers& group = byPort[fmt::format("{}|{}|{}|{}", port.name, port.protocol, port.port, port.appProtocol.valueOr(""))];
      group.port = port;
      group.hasPort = true;
      group.members.emplace(identity, member);
    }
  }
  return byPort;
}

// Ports that have the same members share a subset. Source: endpoints/subset_repacker, RepackSubsets.
void pack(Mut<Endpoints>& into, const std::map<std::string, PortMembers>& byPort) {
  std::map<std::string, std::vector<const PortMembers*>> byMembers;
  for (const auto& [key, group] : byPort) byMembers[membersKey(group.members)].push_back(&group);
  Arena& arena = into.arena();
  for (const auto& [key, groups] : byMembers) {
    auto& subset = into->subsets.append(arena);
    for (const auto& [identity, member] : groups.front()->members) {
      auto& list = member.ready ? subset.addresses : subset.notReadyAddresses;
      list.append(arena, *schema::copyInto(arena, member.address));
    }
    for (const PortMembers* group : groups)
      if (group->hasPort) subset.ports.append(arena, *schema::copyInto(arena, group->port));
  }
}

// Cuts a list of each subset, in proportion, until `over` addresses are gone.
template <class ListOf>
size_t cut(Endpoints& endpoints, size_t total, size_t over, ListOf listOf) {
  size_t gone = 0;
  if (total == 0 || over == 0) return 0;
  size_t wanted = std::min(over, total);
  for (auto& subset : endpoints.subsets) {
    auto& list = listOf(subset);
    // Rounded up, as upstream's: the sum of shares reaches the excess.
    size_t share = std::min({(list.size() * wanted + total - 1) / total, list.size(), wanted - gone});
    list.size_ -= static_cast<uint32_t>(share);
    gone += share;
  }
  return gone;
}

bool truncate(Endpoints& endpoints) {
  size_t ready = 0, notReady = 0;
  for (const auto& subset : endpoints.subsets) {
    ready += subset.addresses.size();
    notReady += subset.notReadyAddresses.size();
  }
  if (ready + notReady <= kAddressesMax) return false;
  size_t over = ready + notReady - kAddressesMax;
  over -= cut(endpoints, notReady, over, [](corev1::EndpointSubset& subset) -> auto& { return subset.notReadyAddresses; });
  cut(endpoints, ready, over, [](corev1::EndpointSubset& subset) -> auto& { return subset.addresses; });
  for (size_t i = endpoints.subsets.size(); i-- > 0;)
    if (endpoints.subsets[i].addresses.empty() && endpoints.subsets[i].notReadyAddresses.empty()) endpoints.subsets.eraseAt(i);
  return true;
}

bool sameMap(const schema::StringMap& a, const schema::StringMap& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [key, value] : a)
    if (const schema::Str* other = b.find(key); !other || *other != value) return false;
  return true;
}

bool sameSubsets(const Endpoints& a, const Endpoints& b) {
  if (a.subsets.size() != b.subsets.size()) return false;
  for (size_t i = 0; i < a.subsets.size(); ++i)
    if (!schema::equal(a.subsets[i], b.subsets[i])) return false;
  return true;
}

}  // namespace

Mut<Endpoints> decideEndpoints(const Ref<Service>& service, const std::vector<Ref<Pod>>& pods, const Ref<Endpoints>& current,
                               const std::string& triggerTime) {
  Mut<Endpoints> next = current ? schema::edit(current) : schema::newObject<Endpoints>();
  Arena& arena = next.arena();
  next->metadata.name = next.str(service->metadata.name);
  next->metadata.namespace_ = next.str(service->metadata.namespace_);
  next->metadata.labels.clear();
  for (const auto& [key, value] : service->metadata.labels) schema::set(next->metadata.labels, arena, key, value);
  schema::set(next->metadata.labels, arena, kManagedByLabel, "endpoint-controller");
  if (isHeadless(*service))
    schema::set(next->metadata.labels, arena, kHeadlessLabel, "");
  else
    next->metadata.labels.erase(kHeadlessLabel);
  next->subsets = {};
  Arena scratch;
  pack(next, collect(*service, pods, scratch));
  if (truncate(*next))
    schema::set(next->metadata.annotations, arena, kOverCapacity, "truncated");
  else
    next->metadata.annotations.erase(kOverCapacity);
  bool same =
      current && sameSubsets(*current, *next) && sameMap(current->metadata.labels, next->metadata.labels) &&
      schema::valueOf(current->metadata.annotations, kOverCapacity) == schema::valueOf(next->metadata.annotations, kOverCapacity);
  if (same) return {};
  if (triggerTime.empty())
    next->metadata.annotations.erase(kTriggerTimeAnnotation);
  else
    schema::set(next->metadata.annotations, arena, kTriggerTimeAnnotation, triggerTime);
  return next;
}

}  // namespace knarr::controllers
