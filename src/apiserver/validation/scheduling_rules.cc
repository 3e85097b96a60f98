// Where a pod may run. Source: pkg/apis/core/validation: affinity, tolerations, topology spread.
#include <fmt/format.h>

#include <set>

#include "apiserver/validation/rules.h"
#include "base/strings.h"

namespace knarr::apiserver {

using apimachinery::isDns1123Label;
using apimachinery::isDns1123Subdomain;
using apimachinery::isQualifiedName;
using apimachinery::isValidLabelValue;

namespace {

void checkNodeExpression(FieldErrors& errors, const FieldPath& at, const corev1::NodeSelectorRequirement& rule,
                         bool checkValues) {
  Str op = rule.operator_;
  if (op == "In" || op == "NotIn") {
    if (rule.values.empty())
      errors.push_back(requiredError(at.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (op == "Exists" || op == "DoesNotExist") {
    if (!rule.values.empty())
      forbid(errors, at.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
  } else if (op == "Gt" || op == "Lt") {
    if (rule.values.size() != 1)
      errors.push_back(requiredError(at.child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
  } else {
    errors.push_back(invalidError(at.child("operator"), op, "not a valid selector operator"));
  }
  for (const std::string& message : isQualifiedName(rule.key)) errors.push_back(invalidError(at.child("key"), rule.key, message));
  if (!checkValues) return;
  for (size_t k = 0; k < rule.values.size(); ++k)
    for (const std::string& message : isValidLabelValue(rule.values[k]))
      errors.push_back(invalidError(at.child("values").index(k), rule.values[k], message));
}

void checkNodeField(FieldErrors& errors, const FieldPath& at, const corev1::NodeSelectorRequirement& rule) {
  if (rule.operator_ == "In" || rule.operator_ == "NotIn") {
    if (rule.values.size() != 1)
      errors.push_back(
          requiredError(at.child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"));
  } else {
    errors.push_back(invalidError(at.child("operator"), rule.operator_, "not a valid selector operator"));
  }
  if (rule.key != "metadata.name") {
    errors.push_back(invalidError(at.child("key"), rule.key, "not a valid field selector key"));
    return;
  }
  for (size_t k = 0; k < rule.values.size(); ++k)
    checkName(errors, at.child("values").index(k), rule.values[k], isDns1123Subdomain);
}

void checkNodeTerm(FieldErrors& errors, const FieldPath& path, const corev1::NodeSelectorTerm& term, bool checkValues) {
  for (size_t j = 0; j < term.matchExpressions.size(); ++j)
    checkNodeExpression(errors, path.child("matchExpressions").index(j), term.matchExpressions[j], checkValues);
  for (size_t j = 0; j < term.matchFields.size(); ++j)
    checkNodeField(errors, path.child("matchFields").index(j), term.matchFields[j]);
}

void checkMatchKeys(FieldErrors& errors, const FieldPath& path, const schema::List<Str>& keys,
                    const metav1::LabelSelector* selector) {
  if (!keys.empty() && !selector) forbid(errors, path, "must not be specified when labelSelector is not set");
  for (size_t k = 0; k < keys.size(); ++k)
    for (const std::string& message : isQualifiedName(keys[k])) errors.push_back(invalidError(path.index(k), keys[k], message));
}

// A key of matchLabelKeys stands in the selector once: where the server put it. Source:
// validateMatchLabelKeysAndMismatchLabelKeys.
void checkSelectorHasOnce(FieldErrors& errors, const FieldPath& path, const schema::List<Str>& keys,
                          const metav1::LabelSelector* selector) {
  if (!selector) return;
  std::set<std::string_view> seen;
  for (const auto& [key, value] : selector->matchLabels) seen.insert(key);
  for (const auto& requirement : selector->matchExpressions) {
    bool again = !seen.insert(requirement.key).second;
    for (size_t k = 0; k < keys.size(); ++k)
      if (again && keys[k] == requirement.key)
        errors.push_back(invalidError(path.index(k), requirement.key, "exists in both matchLabelKeys and labelSelector"));
  }
}

void checkPodTerm(FieldErrors& errors, const FieldPath& path, const corev1::PodAffinityTerm& term) {
  checkLabelSelector(errors, path.child("labelSelector"), term.labelSelector);
  checkLabelSelector(errors, path.child("namespaceSelector"), term.namespaceSelector);
  for (Str nameSpace : term.namespaces)
    for (const std::string& message : isDns1123Label(nameSpace))
      errors.push_back(invalidError(path.child("namespace"), nameSpace, message));
  checkMatchKeys(errors, path.child("matchLabelKeys"), term.matchLabelKeys, term.labelSelector);
  checkMatchKeys(errors, path.child("mismatchLabelKeys"), term.mismatchLabelKeys, term.labelSelector);
  checkSelectorHasOnce(errors, path, term.matchLabelKeys, term.labelSelector);
  for (size_t k = 0; k < term.matchLabelKeys.size(); ++k)
    for (Str other : term.mismatchLabelKeys)
      if (other == term.matchLabelKeys[k])
        errors.push_back(
            invalidError(path.child("matchLabelKeys").index(k), other, "exists in both matchLabelKeys and mismatchLabelKeys"));
  if (term.topologyKey.empty()) errors.push_back(requiredError(path.child("topologyKey"), "can not be empty"));
  for (const std::string& message : isQualifiedName(term.topologyKey))
    errors.push_back(invalidError(path.child("topologyKey"), term.topologyKey, message));
}

void checkWeight(FieldErrors& errors, const FieldPath& path, int64_t weight) {
  if (weight < 1 || weight > 100) errors.push_back(invalidError(path.child("weight"), weight, "must be in the range 1-100"));
}

template <class PodTerms>
void checkPodTerms(FieldErrors& errors, const FieldPath& path, const PodTerms* terms) {
  if (!terms) return;
  const auto& required = terms->requiredDuringSchedulingIgnoredDuringExecution;
  for (size_t i = 0; i < required.size(); ++i)
    checkPodTerm(errors, path.child("requiredDuringSchedulingIgnoredDuringExecution").index(i), required[i]);
  const auto& preferred = terms->preferredDuringSchedulingIgnoredDuringExecution;
  for (size_t i = 0; i < preferred.size(); ++i) {
    FieldPath at = path.child("preferredDuringSchedulingIgnoredDuringExecution").index(i);
    checkWeight(errors, at, preferred[i].weight);
    checkPodTerm(errors, at.child("podAffinityTerm"), preferred[i].podAffinityTerm);
  }
}

}  // namespace

void checkNodeSelector(FieldErrors& errors, const FieldPath& path, const corev1::NodeSelector& selector) {
  FieldPath terms = path.child("nodeSelectorTerms");
  if (selector.nodeSelectorTerms.empty()) errors.push_back(requiredError(terms, "must have at least one node selector term"));
  for (size_t i = 0; i < selector.nodeSelectorTerms.size(); ++i)
    checkNodeTerm(errors, terms.index(i), selector.nodeSelectorTerms[i], true);
}

void checkAffinity(FieldErrors& errors, const FieldPath& path, const corev1::Affinity* affinity) {
  if (!affinity) return;
  if (const auto* node = affinity->nodeAffinity) {
    FieldPath at = path.child("nodeAffinity");
    if (node->requiredDuringSchedulingIgnoredDuringExecution)
      checkNodeSelector(errors, at.child("requiredDuringSchedulingIgnoredDuringExecution"),
                        *node->requiredDuringSchedulingIgnoredDuringExecution);
    const auto& preferred = node->preferredDuringSchedulingIgnoredDuringExecution;
    for (size_t i = 0; i < preferred.size(); ++i) {
      FieldPath item = at.child("preferredDuringSchedulingIgnoredDuringExecution").index(i);
      checkWeight(errors, item, preferred[i].weight);
      checkNodeTerm(errors, item.child("preference"), preferred[i].preference, false);
    }
  }
  checkPodTerms(errors, path.child("podAffinity"), affinity->podAffinity);
  checkPodTerms(errors, path.child("podAntiAffinity"), affinity->podAntiAffinity);
}

void checkTopologySpread(FieldErrors& errors, const FieldPath& path,
                         const schema::List<corev1::TopologySpreadConstraint>& constraints) {
  std::set<std::string> pairs;
  for (size_t i = 0; i < constraints.size(); ++i) {
    const auto& one = constraints[i];
    FieldPath at = path.index(i);
    if (one.maxSkew <= 0) errors.push_back(invalidError(at.child("maxSkew"), int64_t{one.maxSkew}, "must be greater than zero"));
    if (one.topologyKey.empty()) errors.push_back(requiredError(at.child("topologyKey"), "can not be empty"));
    if (one.whenUnsatisfiable != "DoNotSchedule" && one.whenUnsatisfiable != "ScheduleAnyway")
      errors.push_back(
          notSupportedError(at.child("whenUnsatisfiable"), one.whenUnsatisfiable, {"DoNotSchedule", "ScheduleAnyway"}));
    std::string pair = fmt::format("{{{}, {}}}", one.topologyKey, one.whenUnsatisfiable);
    if (!pairs.insert(pair).second) errors.push_back(duplicateError(at.child("{topologyKey, whenUnsatisfiable}"), pair));
    if (one.minDomains) {
      if (*one.minDomains <= 0)
        errors.push_back(invalidError(at.child("minDomains"), int64_t{*one.minDomains}, "must be greater than zero"));
      if (one.whenUnsatisfiable != "DoNotSchedule")
        errors.push_back(invalidError(
            at.child("minDomains"), int64_t{*one.minDomains},
            fmt::format("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", one.whenUnsatisfiable)));
    }
    checkOneOf(errors, at.child("nodeAffinityPolicy"), one.nodeAffinityPolicy, {"Honor", "Ignore"});
    checkOneOf(errors, at.child("nodeTaintsPolicy"), one.nodeTaintsPolicy, {"Honor", "Ignore"});
    checkMatchKeys(errors, at.child("matchLabelKeys"), one.matchLabelKeys, one.labelSelector);
    checkSelectorHasOnce(errors, at.child("matchLabelKeys"), one.matchLabelKeys, one.labelSelector);
    checkLabelSelector(errors, at.child("labelSelector"), one.labelSelector);
  }
}

void checkTolerations(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::Toleration>& tolerations) {
  for (size_t i = 0; i < tolerations.size(); ++i) {
    const auto& one = tolerations[i];
    FieldPath at = path.index(i);
    checkName(errors, at.child("key"), one.key, isQualifiedName);
    if (one.key.empty() && one.operator_ != "Exists")
      errors.push_back(
          invalidError(at.child("operator"), one.operator_,
                       "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
    if (one.tolerationSeconds && one.effect != "NoExecute")
      errors.push_back(
          invalidError(at.child("effect"), one.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    if (one.operator_.empty() || one.operator_ == "Equal") {
      if (auto messages = isValidLabelValue(one.value); !messages.empty())
        errors.push_back(invalidError(at.child("operator"), one.value, join(messages, ";")));
    } else if (one.operator_ == "Exists") {
      if (!one.value.empty())
        errors.push_back(invalidError(at.child("operator"), one.value, "value must be empty when `operator` is 'Exists'"));
    } else {
      errors.push_back(notSupportedError(at.child("operator"), one.operator_, {"Equal", "Exists"}));
    }
    checkOneOf(errors, at.child("effect"), one.effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"});
  }
}

}  // namespace knarr::apiserver
