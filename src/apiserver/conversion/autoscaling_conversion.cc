#include <fmt/format.h>

#include <cctype>
#include <optional>

#include "apiserver/conversion/moves.h"
#include "base/strings.h"

namespace knarr::apiserver {

using codec::Value;

namespace {

constexpr std::string_view kMetrics = "autoscaling.alpha.kubernetes.io/metrics";
constexpr std::string_view kCurrentMetrics = "autoscaling.alpha.kubernetes.io/current-metrics";
constexpr std::string_view kBehavior = "autoscaling.alpha.kubernetes.io/behavior";
constexpr std::string_view kConditions = "autoscaling.alpha.kubernetes.io/conditions";
constexpr std::string_view kAnnotations[] = {kMetrics,
                                             kCurrentMetrics,
                                             kBehavior,
                                             kConditions,
                                             "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
                                             "autoscaling.alpha.kubernetes.io/scale-up-tolerance"};
constexpr int64_t kCpuUtilizationDefault = 80;

Value text(Arena& arena, std::string_view words) { return Value::ofString(arena.copy(words)); }

Value& memberOf(Value& object, Arena& arena, std::string_view name) {
  if (Value* found = object.find(name); found && found->isObject()) return *found;
  return object.set(arena, name, Value::emptyObject());
}

// The same tree with the first letter of every member's name raised or lowered.
Value withLetterCase(const Value& value, Arena& arena, bool raise) {
  if (value.isArray()) {
    Value out = Value::emptyArray();
    for (const Value& item : value.items()) out.append(arena, withLetterCase(item, arena, raise));
    return out;
  }
  if (!value.isObject()) return value;
  Value out = Value::emptyObject();
  for (const codec::Member& member : value.members()) {
    std::string name(member.name);
    if (!name.empty()) name[0] = static_cast<char>(raise ? std::toupper(name[0]) : std::tolower(name[0]));
    out.set(arena, name, withLetterCase(member.value, arena, raise));
  }
  return out;
}

// Where a source of one type stands and what its members are called. `half` is "target" (spec) or "current" (status).
struct SourceNames {
  std::string_view type, member;
  std::string_view selector;             // its name in v1; "" when the source names a resource
  std::string_view value, averageValue;  // after the half, "" when v1 has none
};
constexpr SourceNames kSources[] = {{"Object", "object", "selector", "Value", ""},
                                    {"Pods", "pods", "selector", "", "AverageValue"},
                                    {"Resource", "resource", "", "", "AverageValue"},
                                    {"ContainerResource", "containerResource", "", "", "AverageValue"},
                                    {"External", "external", "metricSelector", "Value", "AverageValue"}};

const SourceNames* sourceOf(const Value& metric) {
  const Value* type = metric.find("type");
  for (const SourceNames& names : kSources)
    if (type && type->stringOr() == names.type) return &names;
  return nullptr;
}

std::string averageName(const SourceNames& names, std::string_view half) {
  return names.averageValue.empty() ? std::string("averageValue") : fmt::format("{}{}", half, names.averageValue);
}

Value metricToV1(const Value& metric, Arena& arena, std::string_view half) {
  const SourceNames* names = sourceOf(metric);
  if (!names) return metric;
  Value out = Value::emptyObject();
  out.set(arena, "type", text(arena, names->type));
  const Value* source = metric.find(names->member);
  if (!source) return out;
  Value from = codec::deepCopyValue(*source, arena), to = Value::emptyObject();
  moveMember(from, "describedObject", to, arena, "target");
  moveMember(from, "name", to, arena, "name");
  moveMember(from, "container", to, arena, "container");
  if (Value* identity = from.find("metric"); identity && identity->isObject()) {
    moveMember(*identity, "name", to, arena, "metricName");
    moveMember(*identity, "selector", to, arena, names->selector);
  }
  if (Value* amount = from.find(half); amount && amount->isObject()) {
    if (!names->value.empty()) moveMember(*amount, "value", to, arena, fmt::format("{}{}", half, names->value));
    moveMember(*amount, "averageValue", to, arena, averageName(*names, half));
    moveMember(*amount, "averageUtilization", to, arena, fmt::format("{}AverageUtilization", half));
  }
  out.set(arena, names->member, to);
  return out;
}

// The type of a target follows from what is set.
std::string_view targetType(const SourceNames& names, const Value& amount) {
  if (names.member == "resource" || names.member == "containerResource")
    return amount.find("averageUtilization") ? "Utilization" : "AverageValue";
  if (names.member == "pods") return "AverageValue";
  if (names.member == "object") return amount.find("averageValue") ? "AverageValue" : "Value";
  return amount.find("value") ? "Value" : "AverageValue";
}

std::optional<Value> metricFromV1(const Value& metric, Arena& arena, std::string_view half) {
  if (!metric.isObject()) return std::nullopt;
  const SourceNames* names = sourceOf(metric);
  const Value* source = names ? metric.find(names->member) : nullptr;
  if (!source || !source->isObject()) return std::nullopt;
  Value from = codec::deepCopyValue(*source, arena), to = Value::emptyObject();
  moveMember(from, "target", to, arena, "describedObject");
  moveMember(from, "name", to, arena, "name");
  moveMember(from, "container", to, arena, "container");
  if (!names->selector.empty()) {
    Value identity = Value::emptyObject();
    moveMember(from, "metricName", identity, arena, "name");
    moveMember(from, names->selector, identity, arena, "selector");
    to.set(arena, "metric", identity);
  }
  Value amount = Value::emptyObject();
  if (!names->value.empty()) moveMember(from, fmt::format("{}{}", half, names->value), amount, arena, "value");
  moveMember(from, averageName(*names, half), amount, arena, "averageValue");
  moveMember(from, fmt::format("{}AverageUtilization", half), amount, arena, "averageUtilization");
  if (half == "target") amount.set(arena, "type", text(arena, targetType(*names, amount)));
  to.set(arena, half, amount);
  Value out = Value::emptyObject();
  out.set(arena, "type", text(arena, names->type));
  out.set(arena, names->member, to);
  return out;
}

// The utilization that a v1 object says in a field of its own; null for every other metric.
const Value* cpuUtilization(const Value& metric, std::string_view half) {
  const SourceNames* names = sourceOf(metric);
  const Value* source = names && names->member == "resource" ? metric.find("resource") : nullptr;
  const Value* name = source ? source->find("name") : nullptr;
  const Value* amount = source ? source->find(half) : nullptr;
  return name && name->stringOr() == "cpu" && amount ? amount->find("averageUtilization") : nullptr;
}

void annotate(Value& object, Arena& arena, std::string_view key, const Value& value) {
  Value& annotations = memberOf(memberOf(object, arena, "metadata"), arena, "annotations");
  annotations.set(arena, key, text(arena, codec::toJson(value)));
}

// The parsed annotation; nothing when it is missing or is no JSON of the kind wanted.
std::optional<Value> annotation(Value& object, Arena& arena, std::string_view key, Value::Is wanted) {
  Value* metadata = object.find("metadata");
  Value* annotations = metadata ? metadata->find("annotations") : nullptr;
  const Value* found = annotations ? annotations->find(key) : nullptr;
  if (!found || !found->isString()) return std::nullopt;
  auto parsed = codec::parseJsonValue(found->string(), arena);
  if (!parsed || parsed->is() != wanted) return std::nullopt;
  return *parsed;
}

Value metricsFrom(const std::optional<Value>& annotated, Arena& arena, std::string_view half) {
  Value out = Value::emptyArray();
  if (!annotated) return out;
  for (const Value& metric : annotated->items())
    if (auto converted = metricFromV1(metric, arena, half)) out.append(arena, *converted);
  return out;
}

Value cpuMetric(Arena& arena, const Value& utilization) {
  Value target = Value::emptyObject(), resource = Value::emptyObject(), metric = Value::emptyObject();
  target.set(arena, "type", text(arena, "Utilization"));
  target.set(arena, "averageUtilization", utilization);
  resource.set(arena, "name", text(arena, "cpu"));
  resource.set(arena, "target", target);
  metric.set(arena, "type", text(arena, "Resource"));
  metric.set(arena, "resource", resource);
  return metric;
}

}  // namespace

void dropAutoscalerAnnotations(Value& object) {
  Value* metadata = object.find("metadata");
  Value* annotations = metadata ? metadata->find("annotations") : nullptr;
  if (!annotations || !annotations->isObject()) return;
  for (std::string_view key : kAnnotations) annotations->erase(key);
  if (annotations->size() == 0) metadata->erase("annotations");
}

void horizontalPodAutoscalerToV1(Value& object, Arena& arena) {
  dropAutoscalerAnnotations(object);
  if (Value* spec = object.find("spec"); spec && spec->isObject()) {
    Value rest = Value::emptyArray();
    const Value* metrics = spec->find("metrics");
    std::optional<Value> utilization;
    if (metrics && metrics->isArray())
      for (const Value& metric : metrics->items()) {
        if (const Value* cpu = cpuUtilization(metric, "target"))
          utilization = utilization ? utilization : std::optional<Value>(*cpu);
        else
          rest.append(arena, metricToV1(metric, arena, "target"));
      }
    const Value* behavior = spec->find("behavior");
    std::optional<Value> kept = behavior ? std::optional<Value>(*behavior) : std::nullopt;
    spec->erase("metrics");
    spec->erase("behavior");
    if (utilization) spec->set(arena, "targetCPUUtilizationPercentage", *utilization);
    if (rest.size() != 0) annotate(object, arena, kMetrics, rest);
    if (kept) annotate(object, arena, kBehavior, withLetterCase(*kept, arena, true));
  }
  if (Value* status = object.find("status"); status && status->isObject()) {
    Value current = Value::emptyArray();
    std::optional<Value> utilization, conditions;
    if (const Value* metrics = status->find("currentMetrics"); metrics && metrics->isArray())
      for (const Value& metric : metrics->items()) {
        if (const Value* cpu = cpuUtilization(metric, "current")) utilization = *cpu;
        current.append(arena, metricToV1(metric, arena, "current"));
      }
    if (const Value* found = status->find("conditions"); found && found->isArray() && found->size() != 0) conditions = *found;
    status->erase("currentMetrics");
    status->erase("conditions");
    if (utilization) status->set(arena, "currentCPUUtilizationPercentage", *utilization);
    if (current.size() != 0) annotate(object, arena, kCurrentMetrics, current);
    if (conditions) annotate(object, arena, kConditions, *conditions);
  }
}

void horizontalPodAutoscalerFromV1(Value& object, Arena& arena) {
  Value metrics = metricsFrom(annotation(object, arena, kMetrics, Value::Is::Array), arena, "target");
  Value current = metricsFrom(annotation(object, arena, kCurrentMetrics, Value::Is::Array), arena, "current");
  std::optional<Value> behavior = annotation(object, arena, kBehavior, Value::Is::Object);
  std::optional<Value> conditions = annotation(object, arena, kConditions, Value::Is::Array);
  Value& spec = memberOf(object, arena, "spec");
  if (const Value* utilization = spec.find("targetCPUUtilizationPercentage")) {
    Value percentage = *utilization;
    spec.erase("targetCPUUtilizationPercentage");
    metrics.append(arena, cpuMetric(arena, percentage));
  }
  if (metrics.size() == 0) metrics.append(arena, cpuMetric(arena, Value::ofInt(kCpuUtilizationDefault)));
  spec.set(arena, "metrics", metrics);
  if (behavior && behavior->size() != 0) spec.set(arena, "behavior", withLetterCase(*behavior, arena, false));
  if (Value* status = object.find("status"); status && status->isObject()) {
    status->erase("currentCPUUtilizationPercentage");
    if (current.size() != 0) status->set(arena, "currentMetrics", current);
    if (conditions) status->set(arena, "conditions", *conditions);
  }
  dropAutoscalerAnnotations(object);
}

}  // namespace knarr::apiserver
