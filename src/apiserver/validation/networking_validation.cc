// Network policies, ingresses, ingress classes. Source: pkg/apis/networking/validation.
#include <fmt/format.h>

#include <set>

#include "api/networking_v1.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;
using apimachinery::isDns1123Subdomain;
using apimachinery::isPathSegmentName;
using apimachinery::isValidPortName;

namespace {

constexpr size_t kControllerBytesMax = 250;

void checkPolicyPort(FieldErrors& errors, const FieldPath& at, const networkingv1::NetworkPolicyPort& port) {
  checkOneOf(errors, at.child("protocol"), port.protocol, {"TCP", "UDP", "SCTP"});
  FieldPath end = at.child("endPort");
  if (!port.port) {
    if (port.endPort)
      errors.push_back(invalidError(end, int64_t{*port.endPort}, "may not be specified when `port` is not specified"));
    return;
  }
  checkPort(errors, at.child("port"), port.port.value);
  if (!port.endPort) return;
  if (port.port.value.isString) {
    errors.push_back(invalidError(end, int64_t{*port.endPort}, "may not be specified when `port` is non-numeric"));
    return;
  }
  if (*port.endPort < port.port.value.intValue)
    errors.push_back(invalidError(end, int64_t{port.port.value.intValue}, "must be greater than or equal to `port`"));
  checkPort(errors, end, int64_t{*port.endPort});
}

// Whether the network `inner` lies in `outer` and is smaller.
bool isStrictlyWithin(std::string_view inner, std::string_view outer) {
  auto parse = [](std::string_view text) {
    size_t slash = text.find('/');
    return std::pair{parseIpText(text.substr(0, slash)), parseInt(text.substr(slash + 1)).value_or(0)};
  };
  auto [a, aBits] = parse(inner);
  auto [b, bBits] = parse(outer);
  if (!a || !b || a->v6 != b->v6 || aBits <= bBits) return false;
  for (int64_t bit = 0; bit < bBits; ++bit)
    if ((a->bytes[bit / 8] ^ b->bytes[bit / 8]) & (0x80 >> (bit % 8))) return false;
  return true;
}

void checkIpBlock(FieldErrors& errors, const FieldPath& path, const networkingv1::IPBlock& block) {
  if (block.cidr.empty()) {
    errors.push_back(requiredError(path.child("cidr")));
    return;
  }
  size_t before = errors.size();
  checkCidr(errors, path.child("cidr"), block.cidr);
  if (errors.size() != before) return;
  for (size_t k = 0; k < block.except.size(); ++k) {
    FieldPath at = path.child("except").index(k);
    size_t good = errors.size();
    checkCidr(errors, at, block.except[k]);
    if (errors.size() == good && !isStrictlyWithin(block.except[k], block.cidr))
      errors.push_back(invalidError(at, block.except[k], "must be a strict subset of `cidr`"));
  }
}

void checkPeer(FieldErrors& errors, const FieldPath& at, const networkingv1::NetworkPolicyPeer& peer) {
  checkLabelSelector(errors, at.child("podSelector"), peer.podSelector);
  checkLabelSelector(errors, at.child("namespaceSelector"), peer.namespaceSelector);
  if (peer.ipBlock) checkIpBlock(errors, at.child("ipBlock"), *peer.ipBlock);
  if (!peer.podSelector && !peer.namespaceSelector && !peer.ipBlock) errors.push_back(requiredError(at, "must specify a peer"));
  if (peer.ipBlock && (peer.podSelector || peer.namespaceSelector))
    forbid(errors, at, "may not specify both ipBlock and another peer");
}

void checkHost(FieldErrors& errors, const FieldPath& at, Str host) {
  if (host.empty()) return;
  if (parseIpText(host)) {
    errors.push_back(invalidError(at, host, "must be a DNS name, not an IP address"));
    return;
  }
  if (host.find('*') == std::string_view::npos) return checkName(errors, at, host, isDns1123Subdomain);
  if (!host.starts_with("*.") || !isDns1123Subdomain(host.substr(2)).empty())
    errors.push_back(invalidError(
        at, host,
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
        "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
        "regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"));
}

void checkBackend(FieldErrors& errors, const FieldPath& path, const networkingv1::IngressBackend& backend) {
  if (backend.service && backend.resource) {
    errors.push_back(invalidError(path, "", "cannot set both resource and service backends"));
  } else if (backend.resource) {
    FieldPath at = path.child("resource");
    if (backend.resource->apiGroup) checkName(errors, at.child("apiGroup"), *backend.resource->apiGroup, isDns1123Subdomain);
    requireName(errors, at.child("kind"), backend.resource->kind, isPathSegmentName);
    requireName(errors, at.child("name"), backend.resource->name, isPathSegmentName);
  } else if (backend.service) {
    FieldPath at = path.child("service"), port = at.child("port");
    requireName(errors, at.child("name"), backend.service->name, isDns1123Label);
    bool named = !backend.service->port.name.empty(), numbered = backend.service->port.number != 0;
    if (named && numbered) errors.push_back(invalidError(path, "", "cannot set both port name & port number"));
    if (named) checkName(errors, port.child("name"), backend.service->port.name, isValidPortName);
    if (!named && numbered) checkPort(errors, port.child("number"), int64_t{backend.service->port.number});
    if (!named && !numbered) errors.push_back(requiredError(path, "port name or number is required"));
  } else {
    errors.push_back(invalidError(path, "", "resource or service backend is required"));
  }
}

void checkPath(FieldErrors& errors, const FieldPath& at, const networkingv1::HTTPIngressPath& path) {
  if (!path.pathType) {
    errors.push_back(requiredError(at.child("pathType"), "pathType must be specified"));
    return;
  }
  FieldPath where = at.child("path");
  auto refuse = [&](std::string_view why) { errors.push_back(invalidError(where, path.path, why)); };
  if (*path.pathType == "Exact" || *path.pathType == "Prefix") {
    if (!path.path.starts_with('/')) refuse("must be an absolute path");
    for (std::string_view bad : {"//", "/./", "/../", "%2f", "%2F"})
      if (path.path.find(bad) != std::string_view::npos) refuse(fmt::format("must not contain '{}'", bad));
    for (std::string_view bad : {"/..", "/."})
      if (path.path.ends_with(bad)) refuse(fmt::format("cannot end with '{}'", bad));
  } else if (*path.pathType == "ImplementationSpecific") {
    if (!path.path.empty() && !path.path.starts_with('/')) refuse("must be an absolute path");
  } else {
    errors.push_back(notSupportedError(at.child("pathType"), *path.pathType, {"Exact", "ImplementationSpecific", "Prefix"}));
  }
  checkBackend(errors, at.child("backend"), path.backend);
}

}  // namespace

FieldErrors validateNetworkPolicy(const Mut<>& object) {
  const auto& spec = static_cast<const networkingv1::NetworkPolicy*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec");
  checkLabelSelector(errors, path.child("podSelector"), &spec.podSelector);
  for (size_t i = 0; i < spec.ingress.size(); ++i) {
    FieldPath at = path.child("ingress").index(i);
    for (size_t j = 0; j < spec.ingress[i].ports.size(); ++j)
      checkPolicyPort(errors, at.child("ports").index(j), spec.ingress[i].ports[j]);
    for (size_t j = 0; j < spec.ingress[i].from.size(); ++j)
      checkPeer(errors, at.child("from").index(j), spec.ingress[i].from[j]);
  }
  for (size_t i = 0; i < spec.egress.size(); ++i) {
    FieldPath at = path.child("egress").index(i);
    for (size_t j = 0; j < spec.egress[i].ports.size(); ++j)
      checkPolicyPort(errors, at.child("ports").index(j), spec.egress[i].ports[j]);
    for (size_t j = 0; j < spec.egress[i].to.size(); ++j) checkPeer(errors, at.child("to").index(j), spec.egress[i].to[j]);
  }
  if (spec.policyTypes.size() > 2) {
    errors.push_back(
        invalidValueError(path.child("policyTypes"), printList(spec.policyTypes), "may not specify more than two policyTypes"));
    return errors;
  }
  for (size_t i = 0; i < spec.policyTypes.size(); ++i)
    checkOneOf(errors, path.child("policyTypes").index(i), spec.policyTypes[i], {"Ingress", "Egress"});
  return errors;
}

FieldErrors validateIngress(const Mut<>& object) {
  const auto& spec = static_cast<const networkingv1::Ingress*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.rules.empty() && !spec.defaultBackend)
    errors.push_back(invalidValueError(path, "[]", "either `defaultBackend` or `rules` must be specified"));
  if (spec.defaultBackend) checkBackend(errors, path.child("defaultBackend"), *spec.defaultBackend);
  for (size_t i = 0; i < spec.rules.size(); ++i) {
    FieldPath at = path.child("rules").index(i);
    checkHost(errors, at.child("host"), spec.rules[i].host);
    const auto* http = spec.rules[i].ingressRuleValue.http;
    if (!http) continue;
    FieldPath paths = at.child("http").child("paths");
    if (http->paths.empty()) errors.push_back(requiredError(paths));
    for (size_t j = 0; j < http->paths.size(); ++j) checkPath(errors, paths.index(j), http->paths[j]);
  }
  for (size_t i = 0; i < spec.tls.size(); ++i) {
    FieldPath at = path.child("tls").index(i);
    for (size_t j = 0; j < spec.tls[i].hosts.size(); ++j) checkHost(errors, at.child("hosts").index(j), spec.tls[i].hosts[j]);
    checkName(errors, at.child("secretName"), spec.tls[i].secretName, isDns1123Subdomain);
  }
  if (spec.ingressClassName) checkName(errors, path.child("ingressClassName"), *spec.ingressClassName, isDns1123Subdomain);
  return errors;
}

FieldErrors validateNewIngress(const Mut<>& object) {
  const auto& ingress = *static_cast<const networkingv1::Ingress*>(object.root());
  constexpr std::string_view kAnnotation = "kubernetes.io/ingress.class";
  FieldErrors errors;
  const Str* annotated = ingress.metadata.annotations.find(kAnnotation);
  if (annotated && ingress.spec.ingressClassName && *annotated != *ingress.spec.ingressClassName)
    errors.push_back(invalidError(FieldPath("annotations").child(kAnnotation), *annotated,
                                  "must match `ingressClassName` when both are specified"));
  return errors;
}

FieldErrors validateIngressClass(const Mut<>& object) {
  const auto& spec = static_cast<const networkingv1::IngressClass*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec"), controller = path.child("controller");
  if (spec.controller.size() > kControllerBytesMax)
    errors.push_back(tooLongError(controller, static_cast<int64_t>(kControllerBytesMax)));
  size_t slash = spec.controller.find('/');
  if (spec.controller.empty())
    errors.push_back(requiredError(controller));
  else if (slash == std::string_view::npos || slash == 0 || slash + 1 == spec.controller.size())
    errors.push_back(invalidError(controller, spec.controller, "must be a domain-prefixed path (such as \"acme.io/foo\")"));
  else
    checkName(errors, controller, spec.controller.substr(0, slash), isDns1123Subdomain);
  const auto* parameters = spec.parameters;
  if (!parameters) return errors;
  FieldPath at = path.child("parameters");
  if (parameters->apiGroup) checkName(errors, at.child("apiGroup"), *parameters->apiGroup, isDns1123Subdomain);
  requireName(errors, at.child("kind"), parameters->kind, isPathSegmentName);
  requireName(errors, at.child("name"), parameters->name, isPathSegmentName);
  if (!parameters->scope) {
    errors.push_back(requiredError(at.child("scope")));
    return errors;
  }
  checkOneOf(errors, at.child("scope"), parameters->scope, {"Cluster", "Namespace"});
  if (*parameters->scope == "Namespace") {
    if (!parameters->namespace_)
      errors.push_back(requiredError(at.child("namespace"), "`parameters.scope` is set to 'Namespace'"));
    else
      checkName(errors, at.child("namespace"), *parameters->namespace_, isDns1123Label);
  } else if (parameters->namespace_) {
    forbid(errors, at.child("namespace"), "`parameters.scope` is set to 'Cluster'");
  }
  return errors;
}

FieldErrors validateIngressClassUpdate(const Mut<>& object, const Ref<>& old) {
  Str now = static_cast<const networkingv1::IngressClass*>(object.root())->spec.controller;
  FieldErrors errors;
  if (now != Ref<networkingv1::IngressClass>(old)->spec.controller)
    errors.push_back(invalidError(FieldPath("spec").child("controller"), now, kImmutable));
  return errors;
}

}  // namespace knarr::apiserver
