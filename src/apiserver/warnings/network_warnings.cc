// Source: pkg/api/service/warnings.go; pkg/registry/{discovery/endpointslice,networking/ingress}/strategy.go.
#include <fmt/format.h>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "apimachinery/validation.h"
#include "apiserver/warnings/warnings.h"
#include "base/ip.h"
#include "base/strings.h"

namespace knarr::apiserver {

using apimachinery::FieldPath;
using schema::Mut;
using schema::Ref;

void warnOfIp(Warnings& out, const FieldPath& path, std::string_view text) {
  auto ip = IpAddress::parse(text);
  if (ip && ip->v6 && ip->text() != text)
    out.push_back(fmt::format("{}: IPv6 address {} should be in RFC 5952 canonical format ({})", path.str(), quote(text),
                              quote(ip->text())));
}

namespace {

void warnOfCidr(Warnings& out, const FieldPath& path, std::string_view text) {
  auto prefix = IpPrefix::parse(text);
  if (prefix && prefix->address.v6 && prefix->text() != text)
    out.push_back(fmt::format("{}: IPv6 CIDR value {} should be in RFC 5952 canonical format ({})", path.str(), quote(text),
                              quote(prefix->text())));
}

}  // namespace

Warnings serviceWarnings(const Mut<>& object, const Ref<>&) {
  Warnings out;
  const auto& service = *static_cast<const corev1::Service*>(object.root());
  const auto& spec = service.spec;
  FieldPath path("spec");
  if (service.metadata.annotations.find("service.kubernetes.io/topology-aware-hints"))
    out.emplace_back(
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
        "service.kubernetes.io/topology-mode instead");
  for (size_t i = 0; i < spec.clusterIPs.size(); ++i) warnOfIp(out, path.child("clusterIPs").index(i), spec.clusterIPs[i]);
  for (size_t i = 0; i < spec.externalIPs.size(); ++i) warnOfIp(out, path.child("externalIPs").index(i), spec.externalIPs[i]);
  warnOfIp(out, path.child("loadBalancerIP"), spec.loadBalancerIP);
  for (size_t i = 0; i < spec.loadBalancerSourceRanges.size(); ++i)
    warnOfCidr(out, path.child("loadBalancerSourceRanges").index(i), spec.loadBalancerSourceRanges[i]);
  bool headless = spec.type == "ClusterIP" && spec.clusterIP == "None", named = spec.type == "ExternalName";
  if (headless) {
    if (!spec.loadBalancerIP.empty()) out.emplace_back("spec.loadBalancerIP is ignored for headless services");
    if (!spec.externalIPs.empty()) out.emplace_back("spec.externalIPs is ignored for headless services");
    if (spec.sessionAffinity != "None") out.emplace_back("spec.SessionAffinity is ignored for headless services");
  } else if (!named && !spec.externalIPs.empty()) {
    out.emplace_back("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
  }
  if (named && !spec.externalIPs.empty()) out.emplace_back("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
  if (!named && !spec.externalName.empty())
    out.emplace_back("spec.externalName is ignored when spec.type is not \"ExternalName\"");
  if (spec.trafficDistribution.valueOr("") == "PreferClose")
    out.emplace_back("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
  return out;
}

Warnings endpointSliceWarnings(const Mut<>& object, const Ref<>&) {
  Warnings out;
  const auto& slice = *static_cast<const discoveryv1::EndpointSlice*>(object.root());
  if (slice.addressType == "FQDN") out.emplace_back("spec.addressType: FQDN endpoints are deprecated");
  std::string_view manager = schema::valueOf(slice.metadata.labels, "endpointslice.kubernetes.io/managed-by");
  if (manager == "endpointslice-controller.k8s.io" || manager == "endpointslicemirroring-controller.k8s.io") return out;
  if (slice.addressType != "IPv6") return out;
  for (size_t i = 0; i < slice.endpoints.size(); ++i)
    for (size_t j = 0; j < slice.endpoints[i].addresses.size(); ++j)
      warnOfIp(out, FieldPath("endpoints").index(i).child("addresses").index(j), slice.endpoints[i].addresses[j]);
  return out;
}

Warnings ingressWarnings(const Mut<>& object, const Ref<>& old) {
  Warnings out;
  const auto& ingress = *static_cast<const networkingv1::Ingress*>(object.root());
  if (!old && !ingress.spec.ingressClassName && ingress.metadata.annotations.find("kubernetes.io/ingress.class"))
    out.emplace_back("annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
  return out;
}

}  // namespace knarr::apiserver
