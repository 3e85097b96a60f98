// Addresses of services and the ranges they come from. Source: pkg/apis/networking/validation.
#include <fmt/format.h>

#include "api/networking_v1.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/ip.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Subdomain;
using apimachinery::isPathSegmentName;

namespace {

const networkingv1::ServiceCIDRSpec& specOf(const Mut<>& object) {
  return static_cast<const networkingv1::ServiceCIDR*>(object.root())->spec;
}

void checkRanges(FieldErrors& errors, const FieldPath& path, const networkingv1::ServiceCIDRSpec& spec) {
  const auto& ranges = spec.cidrs;
  if (ranges.empty()) {
    errors.push_back(requiredError(path, "at least one CIDR required"));
    return;
  }
  if (ranges.size() > 2) {
    errors.push_back(apimachinery::invalidValueError(path, fmt::format("{{\"CIDRs\":{}}}", printList(ranges)),
                                                     "may only hold up to 2 values"));
    return;
  }
  for (size_t i = 0; i < ranges.size(); ++i) checkCanonicalCidr(errors, path.index(i), ranges[i]);
  if (ranges.size() < 2) return;
  auto first = IpPrefix::parse(ranges[0]), second = IpPrefix::parse(ranges[1]);
  if (first && second && first->address.v6 == second->address.v6)
    errors.push_back(apimachinery::invalidValueError(
        path, printList(ranges), "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"));
}

}  // namespace

std::vector<std::string> ipAddressName(std::string_view name) {
  FieldErrors errors;
  checkCanonicalIp(errors, FieldPath("name"), name);
  std::vector<std::string> out;
  std::string shown = fmt::format("Invalid value: {}: ", quote(name));
  for (const auto& error : errors) out.push_back(error.message.substr(shown.size()));
  return out;
}

FieldErrors validateIpAddress(const Mut<>& object) {
  const auto* parent = static_cast<const networkingv1::IPAddress*>(object.root())->spec.parentRef;
  FieldErrors errors;
  FieldPath path = FieldPath("spec").child("parentRef");
  if (!parent) {
    errors.push_back(requiredError(path));
    return errors;
  }
  checkName(errors, path.child("group"), parent->group, isDns1123Subdomain);
  requireName(errors, path.child("resource"), parent->resource, isPathSegmentName);
  requireName(errors, path.child("name"), parent->name, isPathSegmentName);
  checkName(errors, path.child("namespace"), parent->namespace_, isPathSegmentName);
  return errors;
}

FieldErrors validateIpAddressUpdate(const Mut<>& object, const Ref<>& old) {
  const auto* now = static_cast<const networkingv1::IPAddress*>(object.root())->spec.parentRef;
  const auto* before = Ref<networkingv1::IPAddress>(old)->spec.parentRef;
  FieldErrors errors;
  const schema::TypeInfo& type = schema::typeInfoOf<networkingv1::ParentReference>();
  if (!now || !before || !schema::deepEqual(type, now, before))
    errors.push_back(apimachinery::invalidValueError(FieldPath("spec").child("parentRef"),
                                                     now ? codec::encodeJsonValue(type, now) : "null", kImmutable));
  return errors;
}

FieldErrors validateServiceCidr(const Mut<>& object) {
  FieldErrors errors;
  checkRanges(errors, FieldPath("spec").child("cidrs"), specOf(object));
  return errors;
}

FieldErrors validateServiceCidrUpdate(const Mut<>& object, const Ref<>& old) {
  const auto& now = specOf(object);
  const auto& before = Ref<networkingv1::ServiceCIDR>(old)->spec;
  FieldErrors errors;
  FieldPath path = FieldPath("spec").child("cidrs");
  bool grows = before.cidrs.size() == 1 && now.cidrs.size() == 2;
  if (now.cidrs.size() != before.cidrs.size() && !grows) {
    errors.push_back(apimachinery::invalidValueError(path, printList(now.cidrs), kImmutable));
    return errors;
  }
  for (size_t i = 0; i < before.cidrs.size(); ++i)
    if (now.cidrs[i] != before.cidrs[i]) errors.push_back(invalidError(path.index(i), now.cidrs[i], kImmutable));
  return errors;
}

}  // namespace knarr::apiserver
