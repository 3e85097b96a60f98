// Roles, bindings, signing requests. Source: pkg/apis/rbac/validation, pkg/apis/certificates/validation.
#include <fmt/format.h>

#include <set>

#include "api/certificates_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "wire/pki.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Subdomain;
using apimachinery::isPathSegmentName;
using certificatesv1::CertificateSigningRequest;

namespace {

constexpr std::string_view kRbacGroup = "rbac.authorization.k8s.io";
constexpr int32_t kExpirationSecondsMin = 600;

void checkRules(FieldErrors& errors, const schema::List<rbacv1::PolicyRule>& rules, bool namespaced) {
  for (size_t i = 0; i < rules.size(); ++i) {
    const auto& rule = rules[i];
    FieldPath at = FieldPath("rules").index(i);
    if (rule.verbs.empty()) errors.push_back(requiredError(at.child("verbs"), "verbs must contain at least one value"));
    if (!rule.nonResourceURLs.empty()) {
      FieldPath urls = at.child("nonResourceURLs");
      if (namespaced)
        errors.push_back(
            invalidValueError(urls, printList(rule.nonResourceURLs), "namespaced rules cannot apply to non-resource URLs"));
      if (!rule.apiGroups.empty() || !rule.resources.empty() || !rule.resourceNames.empty())
        errors.push_back(invalidValueError(urls, printList(rule.nonResourceURLs),
                                           "rules cannot apply to both regular resources and non-resource URLs"));
      continue;
    }
    if (rule.apiGroups.empty())
      errors.push_back(requiredError(at.child("apiGroups"), "resource rules must supply at least one api group"));
    if (rule.resources.empty())
      errors.push_back(requiredError(at.child("resources"), "resource rules must supply at least one resource"));
  }
}

void checkSubject(FieldErrors& errors, const FieldPath& at, const rbacv1::Subject& subject, bool namespaced) {
  requireText(errors, at.child("name"), subject.name);
  if (subject.kind == "ServiceAccount") {
    checkName(errors, at.child("name"), subject.name, isDns1123Subdomain);
    if (!subject.apiGroup.empty()) errors.push_back(notSupportedError(at.child("apiGroup"), subject.apiGroup, {""}));
    if (!namespaced) requireText(errors, at.child("namespace"), subject.namespace_);
  } else if (subject.kind == "User" || subject.kind == "Group") {
    if (subject.apiGroup != kRbacGroup)
      errors.push_back(notSupportedError(at.child("apiGroup"), subject.apiGroup, {std::string(kRbacGroup)}));
  } else {
    errors.push_back(notSupportedError(at.child("kind"), subject.kind, {"ServiceAccount", "User", "Group"}));
  }
}

template <class Binding>
FieldErrors validateBinding(const Mut<>& object, bool namespaced) {
  const auto& binding = *static_cast<const Binding*>(object.root());
  FieldErrors errors;
  FieldPath role("roleRef");
  if (binding.roleRef.apiGroup != kRbacGroup)
    errors.push_back(notSupportedError(role.child("apiGroup"), binding.roleRef.apiGroup, {std::string(kRbacGroup)}));
  bool known = binding.roleRef.kind == "ClusterRole" || (namespaced && binding.roleRef.kind == "Role");
  if (!known)
    errors.push_back(notSupportedError(role.child("kind"), binding.roleRef.kind,
                                       namespaced ? Words{"Role", "ClusterRole"} : Words{"ClusterRole"}));
  requireName(errors, role.child("name"), binding.roleRef.name, isPathSegmentName);
  for (size_t i = 0; i < binding.subjects.size(); ++i)
    checkSubject(errors, FieldPath("subjects").index(i), binding.subjects[i], namespaced);
  return errors;
}

template <class Binding>
FieldErrors checkRoleFixed(const Mut<>& object, const Ref<>& oldObject) {
  const auto& role = static_cast<const Binding*>(object.root())->roleRef;
  FieldErrors errors;
  if (!schema::equal(role, Ref<Binding>(oldObject)->roleRef))
    errors.push_back(invalidValueError(
        FieldPath("roleRef"),
        fmt::format("{{\"APIGroup\":\"{}\",\"Kind\":\"{}\",\"Name\":\"{}\"}}", role.apiGroup, role.kind, role.name),
        "cannot change roleRef"));
  return errors;
}

const Words& usages() {
  static const Words kUsages{"any",
                             "cert sign",
                             "client auth",
                             "code signing",
                             "content commitment",
                             "crl sign",
                             "data encipherment",
                             "decipher only",
                             "digital signature",
                             "email protection",
                             "encipher only",
                             "ipsec end system",
                             "ipsec tunnel",
                             "ipsec user",
                             "key agreement",
                             "key encipherment",
                             "microsoft sgc",
                             "netscape sgc",
                             "ocsp signing",
                             "s/mime",
                             "server auth",
                             "signing",
                             "timestamping"};
  return kUsages;
}

using Conditions = schema::List<certificatesv1::CertificateSigningRequestCondition>;

bool isLasting(Str type) { return type == "Approved" || type == "Denied" || type == "Failed"; }

void checkRequestConditions(FieldErrors& errors, const Conditions& conditions) {
  FieldPath path = FieldPath("status").child("conditions");
  std::set<std::string_view> types;
  for (size_t i = 0; i < conditions.size(); ++i) {
    const auto& condition = conditions[i];
    FieldPath at = path.index(i);
    requireText(errors, at.child("type"), condition.type);
    if (condition.status.empty())
      errors.push_back(requiredError(at.child("status")));
    else if (isLasting(condition.type))
      checkOneOf(errors, at.child("status"), condition.status, {"True"});
    else
      checkOneOf(errors, at.child("status"), condition.status, {"False", "True", "Unknown"});
    if (!types.insert(condition.type).second) errors.push_back(duplicateError(at.child("type"), condition.type));
    bool both =
        (condition.type == "Approved" && types.contains("Denied")) || (condition.type == "Denied" && types.contains("Approved"));
    if (both) errors.push_back(invalidError(path, condition.type, "Approved and Denied conditions are mutually exclusive"));
  }
}

const certificatesv1::CertificateSigningRequestCondition* find(const Conditions& conditions, std::string_view type) {
  for (const auto& condition : conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

// What no road may do to decisions and certificates, and what the approval and the status may.
FieldErrors checkRequestChange(const Mut<>& object, const Ref<>& oldObject, bool approval, bool status) {
  const auto& request = *static_cast<const CertificateSigningRequest*>(object.root());
  Ref<CertificateSigningRequest> old(oldObject);
  FieldErrors errors = validateCertificateSigningRequest(object);
  FieldPath conditions = FieldPath("status").child("conditions");
  for (const char* type : {"Approved", "Denied", "Failed"}) {
    const auto *now = find(request.status.conditions, type), *before = find(old->status.conditions, type);
    if (before && !now) forbid(errors, conditions, fmt::format("updates may not remove a condition of type {}", quote(type)));
    bool decision = std::string_view(type) != "Failed";
    if (approval || !decision) continue;
    if (now && !before) forbid(errors, conditions, fmt::format("updates may not add a condition of type {}", quote(type)));
    if (now && before && !schema::equal(*now, *before))
      forbid(errors, conditions, fmt::format("updates may not modify a condition of type {}", quote(type)));
  }
  if (request.status.certificate.bytes != old->status.certificate.bytes) {
    FieldPath at = FieldPath("status").child("certificate");
    if (!status) forbid(errors, at, "updates may not set certificate content");
    if (status && !old->status.certificate.bytes.empty())
      forbid(errors, at, "updates may not modify existing certificate content");
  }
  return errors;
}

}  // namespace

FieldErrors validateRole(const Mut<>& object) {
  FieldErrors errors;
  checkRules(errors, static_cast<const rbacv1::Role*>(object.root())->rules, true);
  return errors;
}

FieldErrors validateClusterRole(const Mut<>& object) {
  const auto& role = *static_cast<const rbacv1::ClusterRole*>(object.root());
  FieldErrors errors;
  checkRules(errors, role.rules, false);
  if (!role.aggregationRule) return errors;
  FieldPath selectors = FieldPath("aggregationRule").child("clusterRoleSelectors");
  if (role.aggregationRule->clusterRoleSelectors.empty())
    errors.push_back(requiredError(selectors, "at least one clusterRoleSelector required if aggregationRule is non-nil"));
  for (size_t i = 0; i < role.aggregationRule->clusterRoleSelectors.size(); ++i)
    checkLabelSelector(errors, selectors.index(i), &role.aggregationRule->clusterRoleSelectors[i]);
  return errors;
}

FieldErrors validateRoleBinding(const Mut<>& object) { return validateBinding<rbacv1::RoleBinding>(object, true); }
FieldErrors validateClusterRoleBinding(const Mut<>& object) { return validateBinding<rbacv1::ClusterRoleBinding>(object, false); }
FieldErrors validateRoleBindingUpdate(const Mut<>& object, const Ref<>& old) {
  return checkRoleFixed<rbacv1::RoleBinding>(object, old);
}
FieldErrors validateClusterRoleBindingUpdate(const Mut<>& object, const Ref<>& old) {
  return checkRoleFixed<rbacv1::ClusterRoleBinding>(object, old);
}

FieldErrors validateCertificateSigningRequest(const Mut<>& object) {
  const auto& request = *static_cast<const CertificateSigningRequest*>(object.root());
  FieldErrors errors;
  FieldPath path("spec");
  if (auto parsed = wire::parseCertificateRequest(request.spec.request.bytes); !parsed) {
    bool block = request.spec.request.bytes.find("BEGIN CERTIFICATE REQUEST") != std::string_view::npos;
    errors.push_back(invalidError(path.child("request"), base64Encode(request.spec.request.bytes),
                                  block ? parsed.error().message() : "PEM block type must be CERTIFICATE REQUEST"));
  }
  if (request.spec.usages.empty()) errors.push_back(requiredError(path.child("usages")));
  std::set<std::string_view> seen;
  for (size_t i = 0; i < request.spec.usages.size(); ++i) {
    Str usage = request.spec.usages[i];
    FieldPath at = path.child("usages").index(i);
    if (std::find(usages().begin(), usages().end(), usage) == usages().end())
      errors.push_back(notSupportedError(at, usage, usages()));
    if (!seen.insert(usage).second) errors.push_back(duplicateError(at, usage));
  }
  if (request.spec.signerName == "kubernetes.io/legacy-unknown")
    errors.push_back(invalidError(path.child("signerName"), request.spec.signerName,
                                  "the legacy signerName is not allowed via this API version"));
  else
    checkSignerName(errors, path.child("signerName"), request.spec.signerName);
  if (request.spec.expirationSeconds && *request.spec.expirationSeconds < kExpirationSecondsMin)
    errors.push_back(invalidError(path.child("expirationSeconds"), int64_t{*request.spec.expirationSeconds},
                                  "may not specify a duration less than 600 seconds (10 minutes)"));
  checkRequestConditions(errors, request.status.conditions);
  return errors;
}

FieldErrors validateCertificateSigningRequestUpdate(const Mut<>& object, const Ref<>& old) {
  return checkRequestChange(object, old, false, false);
}
FieldErrors validateCertificateSigningRequestApproval(const Mut<>& object, const Ref<>& old) {
  return checkRequestChange(object, old, true, false);
}
FieldErrors validateCertificateSigningRequestStatusUpdate(const Mut<>& object, const Ref<>& old) {
  return checkRequestChange(object, old, false, true);
}

}  // namespace knarr::apiserver
