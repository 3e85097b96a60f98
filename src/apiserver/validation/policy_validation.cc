// Budgets, autoscalers, priorities, leases, runtime classes. Source:
// pkg/apis/{policy,autoscaling,scheduling,coordination,node}/validation.
#include <fmt/format.h>

#include <set>

#include "api/autoscaling_v2.h"
#include "api/coordination_v1.h"
#include "api/node_v1.h"
#include "api/policy_v1.h"
#include "api/scheduling_v1.h"
#include "apiserver/validation/rules.h"
#include "apiserver/validation/validation.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;
using apimachinery::isPathSegmentName;

namespace {

constexpr int32_t kUserPriorityMax = 1000000000;
constexpr int32_t kWindowSecondsMax = 3600, kPeriodSecondsMax = 1800;

void checkTarget(FieldErrors& errors, const FieldPath& path, const autoscalingv2::MetricTarget& target) {
  if (target.type.empty()) errors.push_back(requiredError(path.child("type"), "must specify a metric target type"));
  if (target.type != "Utilization" && target.type != "Value" && target.type != "AverageValue")
    errors.push_back(invalidError(path.child("type"), target.type, "must be either Utilization, Value, or AverageValue"));
  auto positive = [&](std::string_view field, const schema::Opt<schema::Quantity>& amount) {
    if (amount && schema::amountOf(amount.value).sign() <= 0)
      errors.push_back(invalidError(path.child(field), amount.value.text, "must be positive"));
  };
  positive("value", target.value);
  positive("averageValue", target.averageValue);
  if (target.averageUtilization && *target.averageUtilization < 1)
    errors.push_back(
        invalidError(path.child("averageUtilization"), int64_t{*target.averageUtilization}, "must be greater than 0"));
}

void checkResourceTarget(FieldErrors& errors, const FieldPath& path, const autoscalingv2::MetricTarget& target) {
  checkTarget(errors, path, target);
  if (!target.averageUtilization && !target.averageValue)
    errors.push_back(
        requiredError(path.child("averageUtilization"), "must set either a target raw value or a target utilization"));
  if (target.averageUtilization && target.averageValue)
    forbid(errors, path.child("averageValue"), "may not set both a target raw value and a target utilization");
}

void checkMetricName(FieldErrors& errors, const FieldPath& path, const autoscalingv2::MetricIdentifier& metric) {
  if (metric.name.empty()) errors.push_back(requiredError(path.child("name"), "must specify a metric name"));
  checkName(errors, path.child("name"), metric.name, isPathSegmentName);
}

void checkMetric(FieldErrors& errors, const FieldPath& path, const autoscalingv2::MetricSpec& metric) {
  const Words kTypes{"ContainerResource", "External", "Object", "Pods", "Resource"};
  if (metric.type.empty()) errors.push_back(requiredError(path.child("type"), "must specify a metric source type"));
  checkOneOf(errors, path.child("type"), metric.type, kTypes);
  struct Source {
    std::string_view type, field;
    const void* value;
  };
  const Source kSources[] = {{"Object", "object", metric.object},
                             {"External", "external", metric.external},
                             {"Pods", "pods", metric.pods},
                             {"Resource", "resource", metric.resource},
                             {"ContainerResource", "containerResource", metric.containerResource}};
  for (const Source& source : kSources) {
    if (source.type == metric.type && !source.value)
      errors.push_back(requiredError(path.child(source.field), "must populate information for the given metric source"));
    if (source.type != metric.type && source.value)
      forbid(errors, path.child(source.field), "must populate the given metric source only");
  }
  if (const auto* object = metric.object) {
    FieldPath at = path.child("object"), target = at.child("target");
    checkMetricName(errors, at.child("metric"), object->metric);
    checkTarget(errors, target, object->target);
    if (!object->target.value && !object->target.averageValue)
      errors.push_back(requiredError(target.child("averageValue"), "must set either a target value or averageValue"));
  }
  if (const auto* external = metric.external) {
    FieldPath at = path.child("external"), target = at.child("target");
    checkMetricName(errors, at.child("metric"), external->metric);
    checkTarget(errors, target, external->target);
    if (!external->target.value && !external->target.averageValue)
      errors.push_back(
          requiredError(target.child("averageValue"), "must set either a target value for metric or a per-pod target"));
    if (external->target.value && external->target.averageValue)
      forbid(errors, target.child("value"), "may not set both a target value for metric and a per-pod target");
  }
  if (const auto* pods = metric.pods) {
    FieldPath at = path.child("pods");
    checkMetricName(errors, at.child("metric"), pods->metric);
    checkTarget(errors, at.child("target"), pods->target);
    if (!pods->target.averageValue)
      errors.push_back(requiredError(at.child("target").child("averageValue"), "must specify a positive target averageValue"));
  }
  if (const auto* resource = metric.resource) {
    FieldPath at = path.child("resource");
    if (resource->name.empty()) errors.push_back(requiredError(at.child("name"), "must specify a resource name"));
    checkResourceTarget(errors, at.child("target"), resource->target);
  }
  if (const auto* resource = metric.containerResource) {
    FieldPath at = path.child("containerResource");
    if (resource->name.empty()) errors.push_back(requiredError(at.child("name"), "must specify a resource name"));
    if (resource->container.empty()) errors.push_back(requiredError(at.child("container"), "must specify a container"));
    checkName(errors, at.child("container"), resource->container, isDns1123Label);
    checkResourceTarget(errors, at.child("target"), resource->target);
  }
}

void checkScalingRules(FieldErrors& errors, const FieldPath& path, const autoscalingv2::HPAScalingRules* rules) {
  if (!rules) return;
  FieldPath window = path.child("stabilizationWindowSeconds");
  if (rules->stabilizationWindowSeconds && *rules->stabilizationWindowSeconds < 0)
    errors.push_back(invalidError(window, int64_t{*rules->stabilizationWindowSeconds}, "must be greater than or equal to zero"));
  if (rules->stabilizationWindowSeconds.valueOr(0) > kWindowSecondsMax)
    errors.push_back(invalidError(window, int64_t{*rules->stabilizationWindowSeconds}, "must be less than or equal to 3600"));
  checkOneOf(errors, path.child("selectPolicy"), rules->selectPolicy, {"Disabled", "Max", "Min"});
  if (rules->policies.empty()) errors.push_back(requiredError(path.child("policies"), "must specify at least one Policy"));
  for (size_t i = 0; i < rules->policies.size(); ++i) {
    const auto& policy = rules->policies[i];
    FieldPath at = path.child("policies").index(i);
    if (policy.type != "Percent" && policy.type != "Pods")
      errors.push_back(notSupportedError(at.child("type"), policy.type, {"Percent", "Pods"}));
    if (policy.value <= 0) errors.push_back(invalidError(at.child("value"), int64_t{policy.value}, "must be greater than zero"));
    if (policy.periodSeconds <= 0)
      errors.push_back(invalidError(at.child("periodSeconds"), int64_t{policy.periodSeconds}, "must be greater than zero"));
    if (policy.periodSeconds > kPeriodSecondsMax)
      errors.push_back(
          invalidError(at.child("periodSeconds"), int64_t{policy.periodSeconds}, "must be less than or equal to 1800"));
  }
}

}  // namespace

FieldErrors validateHorizontalPodAutoscaler(const Mut<>& object) {
  const auto& spec = static_cast<const autoscalingv2::HorizontalPodAutoscaler*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.minReplicas && *spec.minReplicas < 1)
    errors.push_back(invalidError(path.child("minReplicas"), int64_t{*spec.minReplicas}, "must be greater than or equal to 1"));
  FieldPath most = path.child("maxReplicas");
  if (spec.maxReplicas == 0)
    errors.push_back(requiredError(most, "must be set and greater than 0"));
  else if (spec.maxReplicas < 0)
    errors.push_back(invalidError(most, int64_t{spec.maxReplicas}, "must be greater than or equal to 1"));
  if (spec.minReplicas && spec.maxReplicas < *spec.minReplicas)
    errors.push_back(invalidError(most, int64_t{spec.maxReplicas}, "must be greater than or equal to `minReplicas`"));
  FieldPath target = path.child("scaleTargetRef");
  requireName(errors, target.child("kind"), spec.scaleTargetRef.kind, isPathSegmentName);
  requireName(errors, target.child("name"), spec.scaleTargetRef.name, isPathSegmentName);
  Str version = spec.scaleTargetRef.apiVersion;
  if (std::count(version.begin(), version.end(), '/') > 1)
    errors.push_back(
        invalidError(target.child("apiVersion"), version, fmt::format("unexpected GroupVersion string: {}", version)));
  else if (version.find('/') == std::string_view::npos && spec.scaleTargetRef.kind != "ReplicationController")
    errors.push_back(invalidError(target.child("apiVersion"), version, "apiVersion must specify API group"));
  for (size_t i = 0; i < spec.metrics.size(); ++i) checkMetric(errors, path.child("metrics").index(i), spec.metrics[i]);
  if (spec.behavior) {
    checkScalingRules(errors, path.child("behavior").child("scaleUp"), spec.behavior->scaleUp);
    checkScalingRules(errors, path.child("behavior").child("scaleDown"), spec.behavior->scaleDown);
  }
  return errors;
}

FieldErrors validatePodDisruptionBudget(const Mut<>& object) {
  const auto& spec = static_cast<const policyv1::PodDisruptionBudget*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.minAvailable && spec.maxUnavailable)
    errors.push_back(invalidValueError(path, "{}", "minAvailable and maxUnavailable cannot be both set"));
  checkIntOrPercent(errors, path.child("minAvailable"), spec.minAvailable, true);
  checkIntOrPercent(errors, path.child("maxUnavailable"), spec.maxUnavailable, true);
  checkLabelSelector(errors, path.child("selector"), spec.selector);
  checkOneOf(errors, path.child("unhealthyPodEvictionPolicy"), spec.unhealthyPodEvictionPolicy,
             {"AlwaysAllow", "IfHealthyBudget"});
  return errors;
}

FieldErrors validatePodDisruptionBudgetStatusUpdate(const Mut<>& object, const Ref<>&) {
  const auto& status = static_cast<const policyv1::PodDisruptionBudget*>(object.root())->status;
  FieldErrors errors;
  FieldPath path("status");
  checkConditions(errors, path.child("conditions"), status.conditions);
  nonNegative(errors, path.child("disruptionsAllowed"), int64_t{status.disruptionsAllowed});
  nonNegative(errors, path.child("currentHealthy"), int64_t{status.currentHealthy});
  nonNegative(errors, path.child("desiredHealthy"), int64_t{status.desiredHealthy});
  nonNegative(errors, path.child("expectedPods"), int64_t{status.expectedPods});
  return errors;
}

FieldErrors validatePriorityClass(const Mut<>& object) {
  const auto& one = *static_cast<const schedulingv1::PriorityClass*>(object.root());
  FieldErrors errors;
  Str name = one.metadata.name;
  if (name.starts_with("system-")) {
    std::string why;
    int32_t known = name == "system-node-critical" ? 2000001000 : name == "system-cluster-critical" ? 2000000000 : 0;
    if (known == 0)
      why = fmt::format("{} is not a known system priority class", name);
    else if (one.value != known)
      why = fmt::format("value of {} PriorityClass must be {}", name, known);
    else if (one.globalDefault)
      why = fmt::format("globalDefault of {} PriorityClass must be false", name);
    if (!why.empty())
      forbid(errors, FieldPath("metadata").child("name"),
             fmt::format("priority class names with 'system-' prefix are reserved for system use only. error: {}", why));
  } else if (one.value > kUserPriorityMax) {
    forbid(errors, FieldPath("value"), fmt::format("maximum allowed value of a user defined priority is {}", kUserPriorityMax));
  }
  if (!one.preemptionPolicy)
    errors.push_back(requiredError(FieldPath("preemptionPolicy")));
  else
    checkOneOf(errors, FieldPath("preemptionPolicy"), one.preemptionPolicy, {"PreemptLowerPriority", "Never"});
  return errors;
}

FieldErrors validatePriorityClassUpdate(const Mut<>& object, const Ref<>& oldObject) {
  const auto& now = *static_cast<const schedulingv1::PriorityClass*>(object.root());
  Ref<schedulingv1::PriorityClass> old(oldObject);
  FieldErrors errors;
  if (now.value != old->value) forbid(errors, FieldPath("value"), "may not be changed in an update.");
  if (now.preemptionPolicy.valueOr("") != old->preemptionPolicy.valueOr(""))
    errors.push_back(invalidError(FieldPath("preemptionPolicy"), now.preemptionPolicy.valueOr(""), kImmutable));
  return errors;
}

FieldErrors validateLease(const Mut<>& object) {
  const auto& spec = static_cast<const coordinationv1::Lease*>(object.root())->spec;
  FieldErrors errors;
  FieldPath path("spec");
  if (spec.leaseDurationSeconds && *spec.leaseDurationSeconds <= 0)
    errors.push_back(
        invalidError(path.child("leaseDurationSeconds"), int64_t{*spec.leaseDurationSeconds}, "must be greater than 0"));
  nonNegative(errors, path.child("leaseTransitions"), spec.leaseTransitions);
  return errors;
}

FieldErrors validateRuntimeClass(const Mut<>& object) {
  const auto& one = *static_cast<const nodev1::RuntimeClass*>(object.root());
  FieldErrors errors;
  requireName(errors, FieldPath("handler"), one.handler, isDns1123Label);
  if (one.overhead) {
    corev1::ResourceRequirements overhead{};
    overhead.limits = one.overhead->podFixed;
    checkResources(errors, FieldPath("overhead"), overhead, ResourceNameRule::Container);
  }
  if (one.scheduling) {
    checkLabels(errors, FieldPath("scheduling").child("nodeSelector"), one.scheduling->nodeSelector);
    checkTolerations(errors, FieldPath("scheduling").child("tolerations"), one.scheduling->tolerations);
  }
  return errors;
}

FieldErrors validateRuntimeClassUpdate(const Mut<>& object, const Ref<>& old) {
  const auto& one = *static_cast<const nodev1::RuntimeClass*>(object.root());
  FieldErrors errors;
  if (one.handler != Ref<nodev1::RuntimeClass>(old)->handler)
    errors.push_back(invalidError(FieldPath("handler"), one.handler, kImmutable));
  return errors;
}

}  // namespace knarr::apiserver
