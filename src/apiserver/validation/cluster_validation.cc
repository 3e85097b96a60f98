// Namespaces, nodes, limits, quotas, events. Source: pkg/apis/core/validation.
#include <fmt/format.h>

#include <set>

#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Subdomain;
using apimachinery::isQualifiedName;
using apimachinery::isValidLabelValue;

namespace {

constexpr size_t kEventWordBytesMax = 128, kEventMessageBytesMax = 1024;

void checkFinalizerName(FieldErrors& errors, const FieldPath& path, Str name) {
  for (const std::string& message : isQualifiedName(name)) errors.push_back(invalidError(path, name, message));
  bool standard = name == "kubernetes" || name == "orphan" || name == "foregroundDeletion";
  if (name.find('/') == std::string_view::npos && !standard)
    errors.push_back(invalidError(path, name, "name is neither a standard finalizer name nor is it fully qualified"));
}

void checkTaints(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::Taint>& taints) {
  std::set<std::string> seen;
  for (size_t i = 0; i < taints.size(); ++i) {
    const auto& taint = taints[i];
    FieldPath at = path.index(i);
    for (const std::string& message : isQualifiedName(taint.key))
      errors.push_back(invalidError(at.child("key"), taint.key, message));
    if (auto messages = isValidLabelValue(taint.value); !messages.empty())
      errors.push_back(invalidError(at.child("value"), taint.value, join(messages, ";")));
    requireOneOf(errors, at.child("effect"), taint.effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"});
    if (!seen.insert(fmt::format("{}:{}", taint.key, taint.effect)).second)
      errors.push_back(
          {apimachinery::FieldError::Duplicate, at.str(),
           fmt::format(
               "Duplicate value: {{\"Key\":{},\"Value\":{},\"Effect\":{},\"TimeAdded\":null}}: taints must be unique by key "
               "and effect pair",
               codec::quoteJson(taint.key), codec::quoteJson(taint.value), codec::quoteJson(taint.effect))});
  }
}

void checkPodCidrs(FieldErrors& errors, const FieldPath& path, const corev1::NodeSpec& spec) {
  int v4 = 0, v6 = 0;
  for (size_t i = 0; i < spec.podCIDRs.size(); ++i) {
    checkCidr(errors, path.index(i), spec.podCIDRs[i]);
    (spec.podCIDRs[i].find(':') == std::string_view::npos ? v4 : v6) += 1;
  }
  if (v4 > 1 || v6 > 1)
    errors.push_back(invalidValueError(path, printList(spec.podCIDRs), "may specify no more than one CIDR for each IP family"));
}

using Quantities = schema::Map<schema::Quantity>;

std::optional<schema::Amount> amountAt(const Quantities& list, std::string_view name) {
  const schema::Quantity* found = list.find(name);
  return found ? std::optional<schema::Amount>(schema::amountOf(*found)) : std::nullopt;
}

// The bounds of one resource against each other.
void checkLimit(FieldErrors& errors, const FieldPath& at, const corev1::LimitRangeItem& limit, const std::string& name) {
  auto max = amountAt(limit.max, name), min = amountAt(limit.min, name), fallback = amountAt(limit.default_, name),
       request = amountAt(limit.defaultRequest, name), ratio = amountAt(limit.maxLimitRequestRatio, name);
  auto text = [&](const Quantities& list) { return list.find(name)->text; };
  auto refuse = [&](std::string_view field, Str value, std::string why) {
    errors.push_back(invalidError(at.child(field).key(name), value, why));
  };
  if (min && max && *min > *max)
    refuse("min", text(limit.min), fmt::format("min value {} is greater than max value {}", text(limit.min), text(limit.max)));
  if (request && min && *min > *request)
    refuse("defaultRequest", text(limit.defaultRequest),
           fmt::format("min value {} is greater than default request value {}", text(limit.min), text(limit.defaultRequest)));
  if (request && max && *request > *max)
    refuse("defaultRequest", text(limit.defaultRequest),
           fmt::format("default request value {} is greater than max value {}", text(limit.defaultRequest), text(limit.max)));
  if (request && fallback && *request > *fallback)
    refuse("defaultRequest", text(limit.defaultRequest),
           fmt::format("default request value {} is greater than default limit value {}", text(limit.defaultRequest),
                       text(limit.default_)));
  if (fallback && min && *min > *fallback)
    refuse("default", text(limit.min),
           fmt::format("min value {} is greater than default value {}", text(limit.min), text(limit.default_)));
  if (fallback && max && *fallback > *max)
    refuse("default", text(limit.max),
           fmt::format("default value {} is greater than max value {}", text(limit.default_), text(limit.max)));
  if (ratio && *ratio < schema::Amount::fromInt64(1))
    refuse("maxLimitRequestRatio", text(limit.maxLimitRequestRatio),
           fmt::format("ratio {} is less than 1", text(limit.maxLimitRequestRatio)));
  if (ratio && min && max && !min->isZero() && ratio->asDouble() > max->asDouble() / min->asDouble())
    refuse("maxLimitRequestRatio", text(limit.maxLimitRequestRatio),
           fmt::format("ratio {} is greater than max/min = {:f}", text(limit.maxLimitRequestRatio),
                       max->asDouble() / min->asDouble()));
  bool overcommits = !isHugePage(name) && !isExtendedResource(name);
  if (!overcommits && fallback && request && !(*fallback == *request))
    refuse("defaultRequest", text(limit.defaultRequest),
           fmt::format("default value {} must equal to defaultRequest value {} in {}", text(limit.default_),
                       text(limit.defaultRequest), name));
}

void checkQuotaResources(FieldErrors& errors, const FieldPath& path, const Quantities& hard) {
  for (const auto& [name, quantity] : hard) {
    FieldPath at = path.key(name);
    for (const std::string& message : resourceNameProblems(name, ResourceNameRule::Any))
      errors.push_back(invalidError(at, name, message));
    bool bare = name.find('/') == std::string_view::npos;
    if (bare && (!isStandardResource(name) || name == "storage"))
      errors.push_back(invalidError(at, name, "must be a standard resource for quota"));
    checkResourceQuantity(errors, at, name, quantity);
  }
}

void checkScopes(FieldErrors& errors, const FieldPath& path, const corev1::ResourceQuotaSpec& spec) {
  static const std::set<std::string_view> kScopes{"Terminating",          "NotTerminating", "BestEffort",
                                                  "NotBestEffort",        "PriorityClass",  "CrossNamespacePodAffinity",
                                                  "VolumeAttributesClass"};
  std::set<std::string_view> scopes;
  FieldPath at = path.child("scopes");
  for (Str scope : spec.scopes) {
    scopes.insert(scope);
    if (!kScopes.contains(scope)) errors.push_back(invalidValueError(at, printList(spec.scopes), "unsupported scope"));
  }
  if ((scopes.contains("BestEffort") && scopes.contains("NotBestEffort")) ||
      (scopes.contains("Terminating") && scopes.contains("NotTerminating")))
    errors.push_back(invalidValueError(at, printList(spec.scopes), "conflicting scopes"));
  bool onlyPods = scopes.contains("BestEffort");
  for (const auto& [name, quantity] : spec.hard)
    if (onlyPods && isStandardResource(name) && name != "pods")
      errors.push_back(invalidValueError(at, printList(spec.scopes), "unsupported scope applied to resource"));
  if (!spec.scopeSelector) return;
  FieldPath expressions = path.child("scopeSelector").child("matchExpressions");
  for (const auto& expression : spec.scopeSelector->matchExpressions) {
    if (!kScopes.contains(expression.scopeName))
      errors.push_back(invalidError(expressions.child("scopeName"), expression.scopeName, "unsupported scope"));
    Str op = expression.operator_;
    if (op == "In" || op == "NotIn") {
      if (expression.values.empty())
        errors.push_back(requiredError(expressions.child("values"),
                                       "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"));
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (!expression.values.empty())
        errors.push_back(invalidValueError(expressions.child("values"), printList(expression.values),
                                           "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"));
    } else {
      errors.push_back(invalidError(expressions.child("operator"), op, "not a valid selector operator"));
    }
  }
}

FieldErrors validateEventAs(const corev1::Event& event, std::string_view reporting) {
  FieldErrors errors;
  Str involved = event.involvedObject.namespace_, own = event.metadata.namespace_;
  FieldPath at = FieldPath("involvedObject").child("namespace");
  bool mismatch = event.eventTime.isZero() ? (involved.empty() ? !own.empty() && own != "default" : involved != own)
                                           : involved.empty() && own != "default" && own != "kube-system";
  if (mismatch) errors.push_back(invalidError(at, involved, "does not match event.namespace"));
  if (!event.eventTime.isZero()) {
    requireText(errors, FieldPath(std::string(reporting)), event.reportingComponent);
    for (const std::string& message : isQualifiedName(event.reportingComponent))
      errors.push_back(invalidError(FieldPath(std::string(reporting)), event.reportingComponent, message));
    auto word = [&](const char* field, Str value) {
      requireText(errors, FieldPath(field), value);
      if (value.size() > kEventWordBytesMax)
        errors.push_back(invalidError(FieldPath(field), "", "can have at most 128 characters"));
    };
    word("reportingInstance", event.reportingInstance);
    word("action", event.action);
    word("reason", event.reason);
    if (event.message.size() > kEventMessageBytesMax)
      errors.push_back(invalidError(FieldPath("message"), "", "can have at most 1024 characters"));
  }
  checkName(errors, FieldPath("namespace"), own, isDns1123Subdomain);
  return errors;
}

void checkSeries(FieldErrors& errors, const corev1::Event& event) {
  if (!event.series) return;
  if (event.series->count < 2) errors.push_back(invalidError(FieldPath("series").child("count"), "", "should be at least 2"));
  if (event.series->lastObservedTime.isZero()) errors.push_back(requiredError(FieldPath("series").child("lastObservedTime")));
}

}  // namespace

FieldErrors validateNamespace(const Mut<>& object) {
  const auto& ns = *static_cast<const corev1::Namespace*>(object.root());
  FieldErrors errors;
  for (Str finalizer : ns.spec.finalizers) checkFinalizerName(errors, FieldPath("spec").child("finalizers"), finalizer);
  return errors;
}

FieldErrors validateNamespaceFinalize(const Mut<>& object, const Ref<>&) {
  const auto& ns = *static_cast<const corev1::Namespace*>(object.root());
  FieldErrors errors;
  for (size_t i = 0; i < ns.spec.finalizers.size(); ++i)
    checkFinalizerName(errors, FieldPath("spec").child("finalizers").index(i), ns.spec.finalizers[i]);
  return errors;
}

FieldErrors validateNamespaceStatusUpdate(const Mut<>& object, const Ref<>&) {
  const auto& ns = *static_cast<const corev1::Namespace*>(object.root());
  FieldErrors errors;
  FieldPath path = FieldPath("status").child("Phase");
  if (!ns.metadata.deletionTimestamp && ns.status.phase != "Active")
    errors.push_back(invalidError(path, ns.status.phase, "may only be 'Active' if `deletionTimestamp` is empty"));
  if (ns.metadata.deletionTimestamp && ns.status.phase != "Terminating")
    errors.push_back(invalidError(path, ns.status.phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"));
  return errors;
}

FieldErrors validateNode(const Mut<>& object) {
  const auto& node = *static_cast<const corev1::Node*>(object.root());
  FieldErrors errors;
  checkTaints(errors, FieldPath("metadata").child("taints"), node.spec.taints);
  FieldPath status("status");
  for (const auto& [name, quantity] : node.status.capacity)
    checkResourceQuantity(errors, status.child("capacity").child(name), name, quantity);
  for (const auto& [name, quantity] : node.status.allocatable)
    checkResourceQuantity(errors, status.child("allocatable").child(name), name, quantity);
  checkPodCidrs(errors, FieldPath("spec").child("podCIDRs"), node.spec);
  return errors;
}

FieldErrors validateNodeUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& node = *static_cast<const corev1::Node*>(object.root());
  Ref<corev1::Node> old(oldObject);
  FieldErrors errors;
  FieldPath path("spec");
  std::set<std::pair<std::string_view, std::string_view>> addresses;
  for (size_t i = 0; i < node.status.addresses.size(); ++i) {
    const auto& address = node.status.addresses[i];
    if (addresses.emplace(address.type, address.address).second) continue;
    errors.push_back({apimachinery::FieldError::Duplicate, FieldPath("status").child("addresses").index(i).str(),
                      fmt::format("Duplicate value: {{\"Type\":{},\"Address\":{}}}", codec::quoteJson(address.type),
                                  codec::quoteJson(address.address))});
  }
  if (!old->spec.podCIDRs.empty()) {
    constexpr std::string_view kFixed = "node updates may not change podCIDR except from \"\" to valid";
    if (node.spec.podCIDRs.size() != old->spec.podCIDRs.size()) {
      forbid(errors, path.child("podCIDRs"), kFixed);
    } else {
      for (size_t i = 0; i < node.spec.podCIDRs.size(); ++i)
        if (node.spec.podCIDRs[i] != old->spec.podCIDRs[i]) forbid(errors, path.child("podCIDRs"), kFixed);
    }
  }
  if (!old->spec.providerID.empty() && node.spec.providerID != old->spec.providerID)
    forbid(errors, path.child("providerID"), "node updates may not change providerID except from \"\" to valid");
  if (node.spec.externalID != old->spec.externalID) forbid(errors, path.child("externalID"), "may not be updated");
  return errors;
}

FieldErrors validateLimitRange(const Mut<>& object) {
  const auto& range = *static_cast<const corev1::LimitRange*>(object.root());
  FieldErrors errors;
  std::set<std::string_view> types;
  for (size_t i = 0; i < range.spec.limits.size(); ++i) {
    const auto& limit = range.spec.limits[i];
    FieldPath at = FieldPath("spec").child("limits").index(i);
    for (const std::string& message : isQualifiedName(limit.type))
      errors.push_back(invalidError(at.child("type"), limit.type, message));
    bool standard = limit.type == "Pod" || limit.type == "Container" || limit.type == "PersistentVolumeClaim";
    if (limit.type.find('/') == std::string_view::npos && !standard)
      errors.push_back(invalidError(at.child("type"), limit.type, "must be a standard limit type or fully qualified"));
    if (!types.insert(limit.type).second) errors.push_back(duplicateError(at.child("type"), limit.type));
    ResourceNameRule rule =
        limit.type == "Pod" || limit.type == "Container" ? ResourceNameRule::Container : ResourceNameRule::Any;
    std::set<std::string> names;
    auto checkNames = [&](std::string_view field, const Quantities& list) {
      for (const auto& [name, quantity] : list) {
        names.emplace(name);
        for (const std::string& message : resourceNameProblems(name, rule))
          errors.push_back(invalidError(at.child(field).key(name), name, message));
      }
    };
    checkNames("max", limit.max);
    checkNames("min", limit.min);
    if (limit.type == "Pod") {
      if (!limit.default_.empty()) forbid(errors, at.child("default"), "may not be specified when `type` is 'Pod'");
      if (!limit.defaultRequest.empty()) forbid(errors, at.child("defaultRequest"), "may not be specified when `type` is 'Pod'");
    } else {
      checkNames("default", limit.default_);
      checkNames("defaultRequest", limit.defaultRequest);
    }
    checkNames("maxLimitRequestRatio", limit.maxLimitRequestRatio);
    if (limit.type == "PersistentVolumeClaim" && !limit.min.contains("storage") && !limit.max.contains("storage"))
      errors.push_back(
          requiredError(at.child("limits"), "either minimum or maximum storage value is required, but neither was provided"));
    for (const std::string& name : names) checkLimit(errors, at, limit, name);
  }
  return errors;
}

FieldErrors validateResourceQuota(const Mut<>& object) {
  const auto& quota = *static_cast<const corev1::ResourceQuota*>(object.root());
  FieldErrors errors;
  checkQuotaResources(errors, FieldPath("spec").child("hard"), quota.spec.hard);
  checkScopes(errors, FieldPath("spec"), quota.spec);
  return errors;
}

FieldErrors validateResourceQuotaUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& quota = *static_cast<const corev1::ResourceQuota*>(object.root());
  Ref<corev1::ResourceQuota> old(oldObject);
  FieldErrors errors;
  std::set<std::string_view> now(quota.spec.scopes.begin(), quota.spec.scopes.end()),
      before(old->spec.scopes.begin(), old->spec.scopes.end());
  if (now != before)
    errors.push_back(invalidValueError(FieldPath("spec").child("scopes"), printList(quota.spec.scopes), kImmutable));
  return errors;
}

FieldErrors validateResourceQuotaStatusUpdate(const Mut<>& object, const Ref<>&) {
  const auto& quota = *static_cast<const corev1::ResourceQuota*>(object.root());
  FieldErrors errors;
  checkQuotaResources(errors, FieldPath("status").child("hard"), quota.status.hard);
  checkQuotaResources(errors, FieldPath("status").child("used"), quota.status.used);
  return errors;
}

FieldErrors validateEvent(const Mut<>& object) {
  return validateEventAs(*static_cast<const corev1::Event*>(object.root()), "reportingComponent");
}

FieldErrors validateEventsGroupEvent(const Mut<>& object) {
  return validateEventAs(*static_cast<const corev1::Event*>(object.root()), "reportingController");
}

FieldErrors validateNewEventsGroupEvent(const Mut<>& object) {
  const auto& event = *static_cast<const corev1::Event*>(object.root());
  FieldErrors errors;
  checkSeries(errors, event);
  if (event.eventTime.isZero()) errors.push_back(requiredError(FieldPath("eventTime")));
  if (event.type != "Normal" && event.type != "Warning")
    errors.push_back(invalidError(FieldPath("type"), "", fmt::format("has invalid value: {}", event.type)));
  auto unset = [&](const char* field, bool set) {
    if (set) errors.push_back(invalidError(FieldPath(field), "", "needs to be unset"));
  };
  unset("firstTimestamp", !event.firstTimestamp.isZero());
  unset("lastTimestamp", !event.lastTimestamp.isZero());
  unset("count", event.count != 0);
  unset("source", !event.source.component.empty() || !event.source.host.empty());
  return errors;
}

FieldErrors validateEventsGroupEventUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& event = *static_cast<const corev1::Event*>(object.root());
  Ref<corev1::Event> old(oldObject);
  FieldErrors errors;
  auto fixed = [&](const char* field, Str now, Str before) {
    if (now != before) errors.push_back(invalidError(FieldPath(field), now, kImmutable));
  };
  if (!schema::equal(event.involvedObject, old->involvedObject))
    errors.push_back(invalidValueError(FieldPath("involvedObject"), "{}", kImmutable));
  fixed("reason", event.reason, old->reason);
  fixed("message", event.message, old->message);
  fixed("type", event.type, old->type);
  fixed("action", event.action, old->action);
  fixed("reportingController", event.reportingComponent, old->reportingComponent);
  fixed("reportingInstance", event.reportingInstance, old->reportingInstance);
  if (event.count != old->count) errors.push_back(invalidError(FieldPath("count"), int64_t{event.count}, kImmutable));
  bool sameSeries = !event.series == !old->series && (!event.series || schema::equal(*event.series, *old->series));
  if (!sameSeries) checkSeries(errors, event);
  return errors;
}

}  // namespace knarr::apiserver
