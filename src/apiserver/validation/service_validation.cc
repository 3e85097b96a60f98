// Services, Endpoints and EndpointSlices. Source: pkg/apis/core/validation, pkg/apis/discovery/validation.
#include <fmt/format.h>

#include <set>

#include "api/discovery_v1.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "schema/layout.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;
using apimachinery::isDns1123Subdomain;
using apimachinery::isQualifiedName;

bool needsHealthCheck(const corev1::ServiceSpec& spec) {
  return spec.type == "LoadBalancer" && spec.externalTrafficPolicy == "Local";
}

namespace {

constexpr int32_t kAffinitySecondsMax = 86400;
constexpr std::string_view kLoadBalancerOnly = "may only be used when `type` is 'LoadBalancer'";
constexpr std::string_view kOnceSet = "may not change once set";
constexpr size_t kSlicePortsMax = 20000, kSliceEndpointsMax = 1000, kSliceAddressesMax = 100, kHintsMax = 8, kTopologyMax = 16;

const Words& protocols() {
  static const Words kProtocols{"SCTP", "TCP", "UDP"};
  return kProtocols;
}

bool isHeadless(const corev1::ServiceSpec& spec) { return spec.clusterIPs.size() == 1 && spec.clusterIPs[0] == "None"; }

bool isExternallyAccessible(const corev1::ServiceSpec& spec) {
  return spec.type == "LoadBalancer" || spec.type == "NodePort" || (spec.type == "ClusterIP" && !spec.externalIPs.empty());
}

void checkServicePorts(FieldErrors& errors, const FieldPath& path, const corev1::ServiceSpec& spec) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const auto& port = spec.ports[i];
    FieldPath at = path.index(i);
    if (port.name.empty()) {
      if (spec.ports.size() > 1) errors.push_back(requiredError(at.child("name")));
    } else {
      checkName(errors, at.child("name"), port.name, isDns1123Label);
      if (!names.insert(port.name).second) errors.push_back(duplicateError(at.child("name"), port.name));
    }
    checkPort(errors, at.child("port"), int64_t{port.port});
    requireOneOf(errors, at.child("protocol"), port.protocol, protocols());
    checkPort(errors, at.child("targetPort"), port.targetPort);
    if (port.appProtocol)
      for (const std::string& message : isQualifiedName(*port.appProtocol))
        errors.push_back(invalidError(at.child("appProtocol"), *port.appProtocol, message));
  }
}

void checkAffinityConfig(FieldErrors& errors, const FieldPath& path, const corev1::ServiceSpec& spec) {
  FieldPath at = path.child("sessionAffinityConfig");
  const corev1::SessionAffinityConfig* config = spec.sessionAffinityConfig;
  constexpr std::string_view kWhen = "when session affinity type is ClientIP";
  if (spec.sessionAffinity == "ClientIP") {
    if (!config)
      errors.push_back(requiredError(at, std::string(kWhen)));
    else if (!config->clientIP)
      errors.push_back(requiredError(at.child("clientIP"), std::string(kWhen)));
    else if (!config->clientIP->timeoutSeconds)
      errors.push_back(requiredError(at.child("clientIP").child("timeoutSeconds"), std::string(kWhen)));
    else if (int32_t seconds = *config->clientIP->timeoutSeconds; seconds <= 0 || seconds > kAffinitySecondsMax)
      errors.push_back(invalidError(at.child("clientIP").child("timeoutSeconds"), int64_t{seconds},
                                    "must be greater than 0 and less than 86400"));
  } else if (spec.sessionAffinity == "None" && config) {
    forbid(errors, at, "must not be set when session affinity is None");
  }
}

void checkClusterIps(FieldErrors& errors, const FieldPath& path, const corev1::ServiceSpec& spec) {
  FieldPath ips = path.child("clusterIPs"), families = path.child("ipFamilies");
  std::string printed = printList(spec.clusterIPs);
  if (!spec.clusterIP.empty() && spec.clusterIPs.empty()) errors.push_back(requiredError(ips));
  if (!spec.clusterIP.empty() && !spec.clusterIPs.empty() && spec.clusterIPs[0] != spec.clusterIP)
    errors.push_back(invalidValueError(ips, printed, "first value must match `clusterIP`"));
  if (spec.clusterIP.empty() && !spec.clusterIPs.empty())
    errors.push_back(invalidValueError(ips, printed, "must be empty when `clusterIP` is not specified"));
  std::set<std::string_view> seen;
  for (size_t i = 0; i < spec.ipFamilies.size(); ++i) {
    checkOneOf(errors, families.index(i), spec.ipFamilies[i], {"IPv4", "IPv6"});
    if (!seen.insert(spec.ipFamilies[i]).second) errors.push_back(duplicateError(families.index(i), spec.ipFamilies[i]));
  }
  checkOneOf(errors, path.child("ipFamilyPolicy"), spec.ipFamilyPolicy, {"PreferDualStack", "RequireDualStack", "SingleStack"});
  if (!spec.clusterIPs.empty() && spec.clusterIPs[0] == "None") {
    if (spec.clusterIPs.size() > 1) errors.push_back(invalidValueError(ips, printed, "'None' must be the first and only value"));
    return;
  }
  size_t before = errors.size();
  for (size_t i = 0; i < spec.clusterIPs.size(); ++i) checkIp(errors, ips.index(i), spec.clusterIPs[i]);
  if (spec.clusterIPs.size() > 2) errors.push_back(invalidValueError(ips, printed, "may only hold up to 2 values"));
  if (errors.size() != before) return;
  for (size_t i = 0; i < spec.clusterIPs.size(); ++i) {
    bool v6 = parseIpText(spec.clusterIPs[i])->v6;
    if (i == 1 && parseIpText(spec.clusterIPs[0])->v6 == v6)
      errors.push_back(invalidValueError(ips, printed, "may specify no more than one IP for each IP family"));
    if (i < spec.ipFamilies.size() && (spec.ipFamilies[i] == "IPv6") != v6)
      errors.push_back(invalidError(ips.index(i), spec.clusterIPs[i],
                                    fmt::format("expected an {} value as indicated by `ipFamilies[{}]`", spec.ipFamilies[i], i)));
  }
}

void checkNodePorts(FieldErrors& errors, const FieldPath& path, const corev1::ServiceSpec& spec) {
  std::set<std::string> nodePorts, ports;
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const auto& port = spec.ports[i];
    FieldPath at = path.index(i);
    if (spec.type == "ClusterIP" && port.nodePort != 0)
      forbid(errors, at.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
    if (port.nodePort != 0 && !nodePorts.insert(fmt::format("{}/{}", port.protocol, port.nodePort)).second)
      errors.push_back(
          {apimachinery::FieldError::Duplicate, at.child("nodePort").str(), fmt::format("Duplicate value: {}", port.nodePort)});
  }
  for (size_t i = 0; i < spec.ports.size(); ++i) {
    const auto& port = spec.ports[i];
    if (ports.insert(fmt::format("{}/{}", port.protocol, port.port)).second) continue;
    errors.push_back(
        {apimachinery::FieldError::Duplicate, path.index(i).str(),
         fmt::format("Duplicate value: "
                     "{{\"Name\":\"\",\"Protocol\":\"{}\",\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                     port.protocol, port.port)});
  }
}

void checkTraffic(FieldErrors& errors, const FieldPath& path, const corev1::ServiceSpec& spec) {
  bool balancer = spec.type == "LoadBalancer";
  FieldPath ranges = path.child("LoadBalancerSourceRanges");
  if (!spec.loadBalancerSourceRanges.empty()) {
    if (!balancer) forbid(errors, ranges, kLoadBalancerOnly);
    for (size_t i = 0; i < spec.loadBalancerSourceRanges.size(); ++i)
      checkCidr(errors, ranges.index(i), trim(spec.loadBalancerSourceRanges[i]));
  }
  if (spec.allocateLoadBalancerNodePorts && !balancer)
    forbid(errors, path.child("allocateLoadBalancerNodePorts"), kLoadBalancerOnly);
  if (!spec.allocateLoadBalancerNodePorts && balancer)
    errors.push_back(requiredError(FieldPath("allocateLoadBalancerNodePorts")));
  if (spec.loadBalancerClass) {
    if (!balancer) forbid(errors, path.child("loadBalancerClass"), kLoadBalancerOnly);
    for (const std::string& message : balancer ? isQualifiedName(*spec.loadBalancerClass) : std::vector<std::string>())
      errors.push_back(invalidError(path.child("loadBalancerClass"), *spec.loadBalancerClass, message));
  }
  FieldPath external = path.child("externalTrafficPolicy"), health = path.child("healthCheckNodePort");
  if (isExternallyAccessible(spec))
    requireOneOf(errors, external, spec.externalTrafficPolicy, {"Cluster", "Local"});
  else if (!spec.externalTrafficPolicy.empty())
    errors.push_back(invalidError(external, spec.externalTrafficPolicy, "may only be set for externally-accessible services"));
  if (!needsHealthCheck(spec) && spec.healthCheckNodePort != 0)
    errors.push_back(invalidError(health, int64_t{spec.healthCheckNodePort},
                                  "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
  if (spec.type == "ClusterIP" || spec.type == "NodePort" || balancer) {
    if (!spec.internalTrafficPolicy) errors.push_back(requiredError(path.child("internalTrafficPolicy")));
    checkOneOf(errors, path.child("internalTrafficPolicy"), spec.internalTrafficPolicy, {"Cluster", "Local"});
  }
  checkOneOf(errors, path.child("trafficDistribution"), spec.trafficDistribution,
             {"PreferClose", "PreferSameZone", "PreferSameNode"});
}

void checkExternalName(FieldErrors& errors, const FieldPath& path, const corev1::ServiceSpec& spec) {
  constexpr std::string_view kNot = "may not be set for ExternalName services";
  if (!spec.clusterIPs.empty() || !spec.clusterIP.empty()) forbid(errors, path.child("clusterIPs"), kNot);
  if (!spec.ipFamilies.empty()) forbid(errors, path.child("ipFamilies"), kNot);
  if (spec.ipFamilyPolicy) forbid(errors, path.child("ipFamilyPolicy"), kNot);
  Str name = spec.externalName;
  requireName(errors, path.child("externalName"), name.ends_with('.') ? name.substr(0, name.size() - 1) : name,
              isDns1123Subdomain);
}

template <class Port>
void checkEndpointPort(FieldErrors& errors, const FieldPath& at, const Port& port, bool nameRequired) {
  if (nameRequired && port.name.empty()) errors.push_back(requiredError(at.child("name")));
  checkName(errors, at.child("name"), port.name, isDns1123Label);
  checkPort(errors, at.child("port"), int64_t{port.port});
  requireOneOf(errors, at.child("protocol"), port.protocol, protocols());
  if (port.appProtocol)
    for (const std::string& message : isQualifiedName(*port.appProtocol))
      errors.push_back(invalidError(at.child("appProtocol"), *port.appProtocol, message));
}

void checkEndpointAddresses(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::EndpointAddress>& addresses) {
  for (size_t j = 0; j < addresses.size(); ++j) {
    FieldPath at = path.index(j);
    checkIp(errors, at.child("ip"), addresses[j].ip);
    checkEndpointIp(errors, at.child("ip"), addresses[j].ip);
    checkName(errors, at.child("hostname"), addresses[j].hostname, isDns1123Label);
    if (addresses[j].nodeName) checkName(errors, at.child("nodeName"), *addresses[j].nodeName, isDns1123Subdomain);
  }
}

void checkSliceAddresses(FieldErrors& errors, const FieldPath& path, Str type, const discoveryv1::Endpoint& endpoint) {
  FieldPath addresses = path.child("addresses");
  if (endpoint.addresses.empty()) errors.push_back(requiredError(addresses, "must contain at least 1 address"));
  if (endpoint.addresses.size() > kSliceAddressesMax)
    errors.push_back(
        tooManyError(addresses, static_cast<int64_t>(endpoint.addresses.size()), static_cast<int64_t>(kSliceAddressesMax)));
  for (size_t j = 0; j < endpoint.addresses.size(); ++j) {
    Str text = endpoint.addresses[j];
    if (type == "FQDN") {
      for (const std::string& message : isDns1123Subdomain(text))
        errors.push_back(invalidError(addresses.index(j), text, message));
      if (text.find('.') == std::string_view::npos)
        errors.push_back(
            invalidError(addresses.index(j), text, "should be a domain with at least two segments separated by dots"));
      continue;
    }
    checkIp(errors, addresses.index(j), text);
    std::optional<IpText> ip = parseIpText(text);
    bool v6 = type == "IPv6";
    if (!ip || ip->v6 != v6)
      errors.push_back(invalidError(addresses, text, v6 ? "must be an IPv6 address" : "must be an IPv4 address"));
    else
      checkEndpointIp(errors, addresses.index(j), text);
  }
}

void checkSliceEndpoint(FieldErrors& errors, const FieldPath& at, Str type, const discoveryv1::Endpoint& endpoint) {
  checkSliceAddresses(errors, at, type, endpoint);
  if (endpoint.nodeName) checkName(errors, at.child("nodeName"), *endpoint.nodeName, isDns1123Subdomain);
  if (endpoint.deprecatedTopology.size() > kTopologyMax)
    errors.push_back(tooManyError(at.child("deprecatedTopology"), static_cast<int64_t>(endpoint.deprecatedTopology.size()),
                                  static_cast<int64_t>(kTopologyMax)));
  checkLabels(errors, at.child("deprecatedTopology"), endpoint.deprecatedTopology);
  if (endpoint.hostname) checkName(errors, at.child("hostname"), *endpoint.hostname, isDns1123Label);
  if (!endpoint.hints) return;
  FieldPath zones = at.child("hints").child("forZones");
  std::set<std::string_view> names;
  if (endpoint.hints->forZones.size() > kHintsMax)
    errors.push_back(tooManyError(zones, static_cast<int64_t>(endpoint.hints->forZones.size()), static_cast<int64_t>(kHintsMax)));
  for (size_t k = 0; k < endpoint.hints->forZones.size(); ++k) {
    Str name = endpoint.hints->forZones[k].name;
    if (!names.insert(name).second) errors.push_back(duplicateError(zones.index(k).child("name"), name));
    for (const std::string& message : apimachinery::isValidLabelValue(name))
      errors.push_back(invalidError(zones.index(k).child("name"), name, message));
  }
}

}  // namespace

FieldErrors validateService(const Mut<>& object) {
  const auto& spec = static_cast<const corev1::Service*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec");
  bool external = spec.type == "ExternalName";
  if (spec.ports.empty() && !isHeadless(spec) && !external) errors.push_back(requiredError(path.child("ports")));
  if (isHeadless(spec) && (spec.type == "LoadBalancer" || spec.type == "NodePort"))
    errors.push_back(invalidError(path.child("clusterIPs").index(0), "None",
                                  fmt::format("may not be set to 'None' for {} services", spec.type)));
  if (external) checkExternalName(errors, path, spec);
  checkServicePorts(errors, path.child("ports"), spec);
  checkLabels(errors, path.child("selector"), spec.selector);
  requireOneOf(errors, path.child("sessionAffinity"), spec.sessionAffinity, {"ClientIP", "None"});
  checkAffinityConfig(errors, path, spec);
  if (!external) checkClusterIps(errors, path, spec);
  for (size_t i = 0; i < spec.externalIPs.size(); ++i) {
    FieldPath at = path.child("externalIPs").index(i);
    size_t before = errors.size();
    checkIp(errors, at, spec.externalIPs[i]);
    if (errors.size() == before) checkEndpointIp(errors, at, spec.externalIPs[i]);
  }
  requireOneOf(errors, path.child("type"), spec.type, {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"});
  checkNodePorts(errors, path.child("ports"), spec);
  checkTraffic(errors, path, spec);
  return errors;
}

FieldErrors validateServiceUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& spec = static_cast<const corev1::Service*>(object.root())->spec;
  const auto& old = Ref<corev1::Service>(oldObject)->spec;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.type != "ExternalName" && old.type != "ExternalName" && !(isHeadless(spec) && isHeadless(old))) {
    FieldPath ips = path.child("clusterIPs");
    size_t now = spec.clusterIPs.size(), before = old.clusterIPs.size();
    if (now == before) {
      for (size_t i = 0; i < now; ++i)
        if (spec.clusterIPs[i] != old.clusterIPs[i])
          errors.push_back(invalidValueError(ips.index(i), printList(spec.clusterIPs), kOnceSet));
    } else if (now == 0) {
      errors.push_back(invalidValueError(ips.index(0), printList(spec.clusterIPs), "primary clusterIP can not be unset"));
    } else if (before != 0) {
      if (spec.clusterIPs[0] != old.clusterIPs[0])
        errors.push_back(invalidValueError(ips.index(0), printList(spec.clusterIPs), kOnceSet));
      if (now == 1 && spec.ipFamilyPolicy.valueOr("SingleStack") != "SingleStack")
        errors.push_back(invalidError(path.child("ipFamilyPolicy"), *spec.ipFamilyPolicy,
                                      "must be set to 'SingleStack' when releasing the secondary clusterIP"));
    }
  }
  bool bothBalance = spec.type == "LoadBalancer" && old.type == "LoadBalancer";
  if (bothBalance && (spec.loadBalancerClass.present != old.loadBalancerClass.present ||
                      (spec.loadBalancerClass && *spec.loadBalancerClass != *old.loadBalancerClass)))
    errors.push_back(invalidError(path.child("loadBalancerClass"), spec.loadBalancerClass.valueOr(""), kOnceSet));
  if (needsHealthCheck(spec) && needsHealthCheck(old) && spec.healthCheckNodePort != old.healthCheckNodePort)
    forbid(errors, path.child("healthCheckNodePort"), kImmutable);
  return errors;
}

FieldErrors validateServiceStatusUpdate(const Mut<>& object, const Ref<>&) {
  const auto& service = *static_cast<const corev1::Service*>(object.root());
  const auto& ingress = service.status.loadBalancer.ingress;
  FieldErrors errors;
  FieldPath path = FieldPath("status").child("loadBalancer").child("ingress");
  if (!ingress.empty() && service.spec.type != "LoadBalancer") {
    forbid(errors, path, "may only be used when `spec.type` is 'LoadBalancer'");
    return errors;
  }
  for (size_t i = 0; i < ingress.size(); ++i) {
    FieldPath at = path.index(i);
    if (!ingress[i].ip.empty()) {
      checkIp(errors, at.child("ip"), ingress[i].ip);
      if (!ingress[i].ipMode) errors.push_back(requiredError(at.child("ipMode"), "must be specified when `ip` is set"));
    } else if (ingress[i].ipMode) {
      forbid(errors, at.child("ipMode"), "may not be specified when `ip` is not set");
    }
    checkOneOf(errors, at.child("ipMode"), ingress[i].ipMode, {"Proxy", "VIP"});
    checkName(errors, at.child("hostname"), ingress[i].hostname, isDns1123Subdomain);
    if (!ingress[i].hostname.empty() && parseIpText(ingress[i].hostname))
      errors.push_back(invalidError(at.child("hostname"), ingress[i].hostname, "must be a DNS name, not an IP address"));
  }
  return errors;
}

namespace {
// Node ports that were only carried along go with the type that needed them.
void dropNodePorts(corev1::ServiceSpec& spec, const corev1::ServiceSpec& old) {
  for (auto& port : spec.ports)
    for (const auto& before : old.ports)
      if (port.nodePort == before.nodePort) port.nodePort = 0;
}

template <class T>
void dropIfSame(schema::Opt<T>& now, const schema::Opt<T>& before) {
  if (now.present == before.present && now.value == before.value) now.clear();
}

// A Service that becomes a mere name lets go of what it had and did not change.
void dropAllocations(corev1::ServiceSpec& spec, const corev1::ServiceSpec& old) {
  auto same = [](const auto& a, const auto& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); };
  // Who only knows the single field empties that one; the list follows.
  bool emptied = spec.clusterIP.empty() && !old.clusterIP.empty();
  if (same(spec.clusterIPs, old.clusterIPs) && (emptied || spec.clusterIP == old.clusterIP)) {
    spec.clusterIP = {};
    spec.clusterIPs = {};
  }
  if (same(spec.ipFamilies, old.ipFamilies)) spec.ipFamilies = {};
  dropIfSame(spec.ipFamilyPolicy, old.ipFamilyPolicy);
  dropIfSame(spec.loadBalancerClass, old.loadBalancerClass);
  dropIfSame(spec.allocateLoadBalancerNodePorts, old.allocateLoadBalancerNodePorts);
  if (spec.externalTrafficPolicy == old.externalTrafficPolicy) spec.externalTrafficPolicy = {};
  if (spec.healthCheckNodePort == old.healthCheckNodePort) spec.healthCheckNodePort = 0;
  dropNodePorts(spec, old);
}
}  // namespace

// Source: pkg/registry/core/service/storage/storage.go, patchAllocatedValues and NormalizeClusterIPs.
void keepServiceAllocations(Mut<>& object, const Ref<>& oldObject) {
  auto& spec = static_cast<corev1::Service*>(object.root())->spec;
  Ref<corev1::Service> old(oldObject);
  Arena& arena = object.arena();
  if (old->spec.type == "ExternalName" || spec.type == "ExternalName") return;
  if (spec.clusterIP.empty()) spec.clusterIP = object.str(old->spec.clusterIP);
  if (spec.clusterIPs.empty() && spec.clusterIP == old->spec.clusterIP)
    for (Str ip : old->spec.clusterIPs) spec.clusterIPs.append(arena) = object.str(ip);
  // One who only knows the single field changes it; the list follows.
  if (spec.clusterIP != old->spec.clusterIP && spec.clusterIPs.size() == 1 && !old->spec.clusterIPs.empty() &&
      spec.clusterIPs[0] == old->spec.clusterIPs[0])
    spec.clusterIPs[0] = spec.clusterIP;
  if (spec.ipFamilies.empty())
    for (Str family : old->spec.ipFamilies) spec.ipFamilies.append(arena) = object.str(family);
  if (!spec.ipFamilyPolicy && old->spec.ipFamilyPolicy) spec.ipFamilyPolicy = object.str(*old->spec.ipFamilyPolicy);
  if (needsHealthCheck(spec) && needsHealthCheck(old->spec) && spec.healthCheckNodePort == 0)
    spec.healthCheckNodePort = old->spec.healthCheckNodePort;
  bool needsPorts = spec.type != "ClusterIP" && old->spec.type != "ClusterIP";
  std::set<int32_t> before, used;
  for (const auto& port : old->spec.ports) before.insert(port.nodePort);
  for (const auto& port : spec.ports)
    if (before.contains(port.nodePort)) used.insert(port.nodePort);
  for (auto& port : spec.ports)
    for (const auto& known : old->spec.ports)
      if (needsPorts && port.nodePort == 0 && port.name == known.name && used.insert(known.nodePort).second)
        port.nodePort = known.nodePort;
}

// Source: pkg/registry/core/service/strategy.go, dropTypeDependentFields.
void dropTypeDependentFields(Mut<>& object, const Ref<>& oldObject) {
  auto& service = *static_cast<corev1::Service*>(object.root());
  auto& spec = service.spec;
  Ref<corev1::Service> old(oldObject);
  if (spec.type != "LoadBalancer") service.status.loadBalancer = {};
  if (spec.type == "ExternalName") spec.internalTrafficPolicy.clear();
  if (old->spec.type == "ExternalName") return;
  if (spec.type == "ExternalName") return dropAllocations(spec, old->spec);
  if (needsHealthCheck(old->spec) && !needsHealthCheck(spec) && spec.healthCheckNodePort == old->spec.healthCheckNodePort)
    spec.healthCheckNodePort = 0;
  if (old->spec.type == "LoadBalancer" && spec.type != "LoadBalancer") {
    spec.allocateLoadBalancerNodePorts.clear();
    dropIfSame(spec.loadBalancerClass, old->spec.loadBalancerClass);
  }
  if (spec.type == "NodePort" || spec.type == "LoadBalancer") return;
  if (old->spec.type == "NodePort" || old->spec.type == "LoadBalancer") dropNodePorts(spec, old->spec);
  if (spec.externalIPs.empty() && spec.externalTrafficPolicy == old->spec.externalTrafficPolicy) spec.externalTrafficPolicy = {};
}

FieldErrors validateEndpoints(const Mut<>& object) {
  const auto& endpoints = *static_cast<const corev1::Endpoints*>(object.root());
  FieldErrors errors;
  for (size_t i = 0; i < endpoints.subsets.size(); ++i) {
    const auto& subset = endpoints.subsets[i];
    FieldPath at = FieldPath("subsets").index(i);
    if (subset.addresses.empty() && subset.notReadyAddresses.empty())
      errors.push_back(requiredError(at, "must specify `addresses` or `notReadyAddresses`"));
    checkEndpointAddresses(errors, at.child("addresses"), subset.addresses);
    checkEndpointAddresses(errors, at.child("notReadyAddresses"), subset.notReadyAddresses);
    for (size_t j = 0; j < subset.ports.size(); ++j)
      checkEndpointPort(errors, at.child("ports").index(j), subset.ports[j], subset.ports.size() > 1);
  }
  return errors;
}

FieldErrors validateEndpointSlice(const Mut<>& object) {
  const auto& slice = *static_cast<const discoveryv1::EndpointSlice*>(object.root());
  FieldErrors errors;
  requireOneOf(errors, FieldPath("addressType"), slice.addressType, {"FQDN", "IPv4", "IPv6"});
  FieldPath ports("ports"), endpoints("endpoints");
  if (slice.ports.size() > kSlicePortsMax)
    errors.push_back(tooManyError(ports, static_cast<int64_t>(slice.ports.size()), static_cast<int64_t>(kSlicePortsMax)));
  std::set<std::string_view> names;
  for (size_t i = 0; i < slice.ports.size() && slice.ports.size() <= kSlicePortsMax; ++i) {
    const auto& port = slice.ports[i];
    FieldPath at = ports.index(i);
    checkName(errors, at.child("name"), port.name.valueOr(""), isDns1123Label);
    if (!names.insert(port.name.valueOr("")).second) errors.push_back(duplicateError(at.child("name"), port.name.valueOr("")));
    if (!port.protocol)
      errors.push_back(requiredError(at.child("protocol")));
    else
      checkOneOf(errors, at.child("protocol"), port.protocol, protocols());
    if (port.appProtocol)
      for (const std::string& message : isQualifiedName(*port.appProtocol))
        errors.push_back(invalidError(at.child("appProtocol"), *port.appProtocol, message));
  }
  if (slice.endpoints.size() > kSliceEndpointsMax)
    errors.push_back(
        tooManyError(endpoints, static_cast<int64_t>(slice.endpoints.size()), static_cast<int64_t>(kSliceEndpointsMax)));
  for (size_t i = 0; i < slice.endpoints.size(); ++i)
    checkSliceEndpoint(errors, endpoints.index(i), slice.addressType, slice.endpoints[i]);
  return errors;
}

FieldErrors validateEndpointSliceUpdate(const Mut<>& object, const Ref<>& old) {
  const auto& slice = *static_cast<const discoveryv1::EndpointSlice*>(object.root());
  FieldErrors errors;
  if (slice.addressType != Ref<discoveryv1::EndpointSlice>(old)->addressType)
    errors.push_back(invalidError(FieldPath("addressType"), slice.addressType, kImmutable));
  return errors;
}

}  // namespace knarr::apiserver
