#include "apiserver/admission/limit_ranger.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "api/meta_v1.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {
namespace {

using schema::Amount;
using Quantities = schema::Map<schema::Quantity>;
using Amounts = std::map<std::string, Amount, std::less<>>;

constexpr std::string_view kAnnotation = "kubernetes.io/limit-ranger";

Amounts amountsOf(const Quantities& list) {
  Amounts out;
  for (const auto& [name, quantity] : list) out.emplace(name, schema::amountOf(quantity));
  return out;
}

std::optional<Amount> find(const Amounts& amounts, std::string_view name) {
  auto found = amounts.find(name);
  return found == amounts.end() ? std::nullopt : std::optional<Amount>(found->second);
}

// What one thing (a container, a pod, a claim) asks for.
struct Usage {
  std::string_view type;
  Amounts requests, limits;
  // A claim has no limits: its maximum is one of the request.
  bool onlyRequests = false;
};

void checkMin(std::vector<std::string>& out, const Usage& usage, std::string_view name, const schema::Quantity& least) {
  Amount enforced = schema::amountOf(least);
  auto request = find(usage.requests, name), limit = find(usage.limits, name);
  std::string rule = fmt::format("minimum {} usage per {} is {}", name, usage.type, least.text);
  if (!request)
    out.push_back(rule + ".  No request is specified");
  else if (*request < enforced)
    out.push_back(fmt::format("{}, but request is {}", rule, request->text()));
  else if (limit && *limit < enforced)
    out.push_back(fmt::format("{}, but limit is {}", rule, limit->text()));
}

void checkMax(std::vector<std::string>& out, const Usage& usage, std::string_view name, const schema::Quantity& most) {
  Amount enforced = schema::amountOf(most);
  auto request = find(usage.requests, name), limit = find(usage.limits, name);
  std::string rule = fmt::format("maximum {} usage per {} is {}", name, usage.type, most.text);
  if (!usage.onlyRequests && !limit)
    out.push_back(rule + ".  No limit is specified");
  else if (usage.onlyRequests && !request)
    out.push_back(rule + ".  No request is specified");
  else if (limit && *limit > enforced)
    out.push_back(fmt::format("{}, but limit is {}", rule, limit->text()));
  else if (request && *request > enforced)
    out.push_back(fmt::format("{}, but request is {}", rule, request->text()));
}

void checkRatio(std::vector<std::string>& out, const Usage& usage, std::string_view name, const schema::Quantity& most) {
  auto request = find(usage.requests, name), limit = find(usage.limits, name);
  std::string rule = fmt::format("{} max limit to request ratio per {} is {}", name, usage.type, most.text);
  if (!request || request->isZero()) {
    out.push_back(rule + ", but no request is specified or request is 0");
  } else if (!limit || limit->isZero()) {
    out.push_back(rule + ", but no limit is specified or limit is 0");
  } else if (double ratio = limit->asDouble() / request->asDouble(); ratio > schema::amountOf(most).asDouble()) {
    out.push_back(fmt::format("{}, but provided ratio is {:f}", rule, ratio));
  }
}

void check(std::vector<std::string>& out, const corev1::LimitRangeItem& limit, const Usage& usage) {
  for (const auto& [name, quantity] : limit.min) checkMin(out, usage, name, quantity);
  for (const auto& [name, quantity] : limit.max) checkMax(out, usage, name, quantity);
  for (const auto& [name, quantity] : limit.maxLimitRequestRatio) checkRatio(out, usage, name, quantity);
}

bool isSidecar(const corev1::Container& container) { return container.restartPolicy && *container.restartPolicy == "Always"; }

void addTo(Amounts& sum, const Amounts& more) {
  for (const auto& [name, amount] : more) sum[name] = find(sum, name).value_or(Amount()) + amount;
}
void raiseTo(Amounts& sum, const Amounts& least) {
  for (const auto& [name, amount] : least)
    if (auto have = find(sum, name); !have || *have < amount) sum[name] = amount;
}

// What a pod takes at most at one time: its containers and sidecars together, or one init container with the sidecars
// before it. Source: component-helpers/resource, PodRequests.
Amounts podTotal(const corev1::PodSpec& spec, Amounts (*of)(const corev1::Container&)) {
  Amounts total, sidecars, starting;
  for (const auto& container : spec.containers) addTo(total, of(container));
  for (const auto& container : spec.initContainers) {
    Amounts now = of(container);
    if (isSidecar(container)) {
      addTo(total, now);
      addTo(sidecars, now);
      now = sidecars;
    } else {
      addTo(now, sidecars);
    }
    raiseTo(starting, now);
  }
  raiseTo(total, starting);
  return total;
}

Amounts requestsOf(const corev1::Container& container) { return amountsOf(container.resources.requests); }
Amounts limitsOf(const corev1::Container& container) { return amountsOf(container.resources.limits); }

// The names that were filled in, joined; "" when none was.
std::string fill(Quantities& to, const Quantities& defaults, Arena& arena) {
  std::vector<std::string> names;
  for (const auto& [name, quantity] : defaults) {
    if (to.contains(name)) continue;
    to.at(arena, name) = {arena.copy(quantity.text)};
    names.emplace_back(name);
  }
  return join(names, ", ");
}

}  // namespace

void applyLimitDefaults(const corev1::LimitRange& range, corev1::Pod& pod, Arena& arena) {
  std::vector<std::string> notes;
  auto fillIn = [&](corev1::Container& container, std::string_view what) {
    for (const auto& limit : range.spec.limits) {
      if (limit.type != "Container") continue;
      std::string limits = fill(container.resources.limits, limit.default_, arena);
      std::string requests = fill(container.resources.requests, limit.defaultRequest, arena);
      if (!requests.empty()) notes.push_back(fmt::format("{} request for {} {}", requests, what, container.name));
      if (!limits.empty()) notes.push_back(fmt::format("{} limit for {} {}", limits, what, container.name));
    }
  };
  for (auto& container : pod.spec.containers) fillIn(container, "container");
  for (auto& container : pod.spec.initContainers) fillIn(container, "init container");
  if (!notes.empty()) schema::set(pod.metadata.annotations, arena, kAnnotation, "LimitRanger plugin set: " + join(notes, "; "));
}

std::vector<std::string> limitViolations(const corev1::LimitRange& range, const corev1::Pod& pod) {
  std::vector<std::string> out;
  for (const auto& limit : range.spec.limits) {
    if (limit.type == "Container")
      for (const auto* list : {&pod.spec.containers, &pod.spec.initContainers})
        for (const auto& container : *list) check(out, limit, {limit.type, requestsOf(container), limitsOf(container)});
    if (limit.type == "Pod") check(out, limit, {limit.type, podTotal(pod.spec, requestsOf), podTotal(pod.spec, limitsOf)});
  }
  return out;
}

std::vector<std::string> limitViolations(const corev1::LimitRange& range, const corev1::PersistentVolumeClaim& claim) {
  std::vector<std::string> out;
  for (const auto& limit : range.spec.limits)
    if (limit.type == "PersistentVolumeClaim") {
      Usage usage{limit.type, amountsOf(claim.spec.resources.requests), {}, true};
      for (const auto& [name, quantity] : limit.min) checkMin(out, usage, name, quantity);
      for (const auto& [name, quantity] : limit.max) checkMax(out, usage, name, quantity);
    }
  return out;
}

}  // namespace knarr::apiserver
