// Names and amounts of resources. Source: pkg/apis/core/helper, ValidateResourceRequirements.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "apiserver/validation/rules.h"
#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::apiserver {

using apimachinery::isQualifiedName;

namespace {

constexpr std::string_view kHugePagesPrefix = "hugepages-";

bool isNative(std::string_view name) {
  return name.find('/') == std::string_view::npos || name.find("kubernetes.io/") != std::string_view::npos;
}

// "hugepages-2Mi" to the bytes of one page; 0 when the name says no size.
int64_t pageBytes(std::string_view name) {
  auto size = schema::parseQuantity(name.substr(kHugePagesPrefix.size()));
  return size ? size->value() : 0;
}

void checkPages(FieldErrors& errors, const FieldPath& path, std::string_view name, const schema::Quantity& quantity) {
  if (!isHugePage(name)) return;
  int64_t page = pageBytes(name);
  if (page <= 0 || schema::amountOf(quantity).value() % page == 0) return;
  errors.push_back(
      invalidError(path, quantity.text, fmt::format("{} is not positive integer multiple of {}", quantity.text, name)));
}

void checkResource(FieldErrors& errors, const FieldPath& path, std::string_view name, const schema::Quantity& quantity,
                   ResourceNameRule rule) {
  if (rule == ResourceNameRule::Pod && name != "cpu" && name != "memory" && !isHugePage(name))
    errors.push_back(notSupportedError(path, name, {"cpu", "hugepages-", "memory"}));
  for (const std::string& message : resourceNameProblems(name, rule)) errors.push_back(invalidError(path, name, message));
  checkResourceQuantity(errors, path, name, quantity);
  checkPages(errors, path, name, quantity);
}

}  // namespace

bool isHugePage(std::string_view name) { return name.starts_with(kHugePagesPrefix); }

bool isExtendedResource(std::string_view name) {
  return !isNative(name) && !name.starts_with("requests.") && isQualifiedName(fmt::format("requests.{}", name)).empty();
}

bool isIntegerResource(std::string_view name) {
  static const std::set<std::string_view> kInteger{
      "pods",       "resourcequotas",         "services",           "replicationcontrollers", "secrets",
      "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers"};
  return kInteger.contains(name) || isExtendedResource(name);
}

bool isStandardResource(std::string_view name) {
  static const std::set<std::string_view> kStandard{"cpu",
                                                    "memory",
                                                    "ephemeral-storage",
                                                    "storage",
                                                    "requests.cpu",
                                                    "requests.memory",
                                                    "requests.ephemeral-storage",
                                                    "requests.storage",
                                                    "limits.cpu",
                                                    "limits.memory",
                                                    "limits.ephemeral-storage",
                                                    "pods",
                                                    "resourcequotas",
                                                    "services",
                                                    "replicationcontrollers",
                                                    "secrets",
                                                    "configmaps",
                                                    "persistentvolumeclaims",
                                                    "services.nodeports",
                                                    "services.loadbalancers"};
  return kStandard.contains(name) || isHugePage(name) || name.starts_with("requests.hugepages-");
}

std::vector<std::string> resourceNameProblems(std::string_view name, ResourceNameRule rule) {
  std::vector<std::string> out = isQualifiedName(name);
  if (!out.empty()) return out;
  bool bare = name.find('/') == std::string_view::npos;
  if (bare && !isStandardResource(name)) out.emplace_back("must be a standard resource type or fully qualified");
  if (rule != ResourceNameRule::Container) return out;
  bool container = name == "cpu" || name == "memory" || name == "ephemeral-storage" || isHugePage(name);
  if (bare && !container) out.emplace_back("must be a standard resource for containers");
  if (!bare && !isNative(name) && !isExtendedResource(name)) out.emplace_back("doesn't follow extended resource name standard");
  return out;
}

void checkResourceQuantity(FieldErrors& errors, const FieldPath& path, std::string_view name, const schema::Quantity& quantity) {
  schema::Amount amount = schema::amountOf(quantity);
  if (amount.sign() < 0) errors.push_back(invalidError(path, quantity.text, kNonNegative));
  int64_t whole = 0;
  if (isIntegerResource(name) && !amount.asInt64(whole))
    errors.push_back(invalidError(path, quantity.text, "must be an integer"));
}

void checkResources(FieldErrors& errors, const FieldPath& path, const corev1::ResourceRequirements& resources,
                    ResourceNameRule rule) {
  bool cpuOrMemory = false, hugePages = false;
  auto note = [&](std::string_view name) {
    cpuOrMemory = cpuOrMemory || name == "cpu" || name == "memory";
    hugePages = hugePages || isHugePage(name);
  };
  for (const auto& [name, quantity] : resources.limits) {
    checkResource(errors, path.child("limits").key(name), name, quantity, rule);
    note(name);
  }
  for (const auto& [name, quantity] : resources.requests) {
    FieldPath requests = path.child("requests");
    checkResource(errors, requests.key(name), name, quantity, rule);
    note(name);
    const schema::Quantity* limit = resources.limits.find(name);
    bool overcommits = isNative(name) && !isHugePage(name);
    if (!limit) {
      if (!overcommits)
        errors.push_back(requiredError(path.child("limits"), "Limit must be set for non overcommitable resources"));
      continue;
    }
    bool equal = schema::amountOf(quantity) == schema::amountOf(*limit);
    if (!overcommits && !equal)
      errors.push_back(invalidError(requests, quantity.text, fmt::format("must be equal to {} limit of {}", name, limit->text)));
    else if (overcommits && schema::amountOf(quantity) > schema::amountOf(*limit))
      errors.push_back(
          invalidError(requests, quantity.text, fmt::format("must be less than or equal to {} limit of {}", name, limit->text)));
  }
  if (hugePages && !cpuOrMemory) forbid(errors, path, "HugePages require cpu or memory");
  if (rule == ResourceNameRule::Pod && !resources.claims.empty())
    forbid(errors, path.child("claims"), "claims may not be set for Resources at pod-level");
}

void checkResourceClaims(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::ResourceClaim>& claims,
                         const schema::List<corev1::PodResourceClaim>& ofPod) {
  std::set<std::string> known, taken;
  for (const auto& claim : ofPod) known.emplace(claim.name);
  std::vector<std::string> names(known.begin(), known.end());
  for (size_t i = 0; i < claims.size(); ++i) {
    FieldPath at = path.index(i);
    std::string name(claims[i].name);
    std::string key = claims[i].request.empty() ? name : fmt::format("{}/{}", name, claims[i].request);
    if (!claims[i].request.empty()) checkName(errors, at.child("request"), claims[i].request, apimachinery::isDns1123Label);
    if (name.empty()) {
      errors.push_back(requiredError(at));
      continue;
    }
    // A claim as a whole meets each of its requests.
    auto request = taken.lower_bound(name + "/");
    bool inPart = claims[i].request.empty() && request != taken.end() && request->starts_with(name + "/");
    if (taken.contains(name) || inPart || !taken.insert(key).second) errors.push_back(duplicateError(at, key));
    if (known.contains(name)) continue;
    errors.push_back(notFoundError(at, name));
    errors.back().message += ": must be one of the names in pod.spec.resourceClaims";
    errors.back().message += names.empty() ? " which is empty" : ": " + join(names, ", ");
  }
}

}  // namespace knarr::apiserver
