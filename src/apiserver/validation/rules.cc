#include "apiserver/validation/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "apimachinery/labels.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "codec/value.h"

namespace knarr::apiserver {

using namespace apimachinery;

namespace {

constexpr size_t kAnnotationsBytesMax = 262144;
constexpr size_t kReasonBytesMax = 1024, kMessageBytesMax = 32768;

bool isConditionReason(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  auto word = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; };
  if (text.empty() || !letter(text[0]) || !word(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return word(c) || c == ',' || c == ':'; });
}

}  // namespace

void addAll(FieldErrors& errors, FieldErrors more) {
  for (FieldError& error : more) errors.push_back(std::move(error));
}

void checkName(FieldErrors& errors, const FieldPath& path, std::string_view value, NameRule rule) {
  if (value.empty()) return;
  for (const std::string& message : rule(value)) errors.push_back(invalidError(path, value, message));
}

void requireText(FieldErrors& errors, const FieldPath& path, std::string_view value) {
  if (value.empty()) errors.push_back(requiredError(path));
}

void requireName(FieldErrors& errors, const FieldPath& path, std::string_view value, NameRule rule) {
  requireText(errors, path, value);
  checkName(errors, path, value, rule);
}

void checkOneOf(FieldErrors& errors, const FieldPath& path, std::string_view value, const Words& allowed) {
  if (!value.empty() && std::find(allowed.begin(), allowed.end(), value) == allowed.end())
    errors.push_back(notSupportedError(path, value, allowed));
}
void checkOneOf(FieldErrors& errors, const FieldPath& path, const schema::Opt<Str>& value, const Words& allowed) {
  if (value && std::find(allowed.begin(), allowed.end(), *value) == allowed.end())
    errors.push_back(notSupportedError(path, *value, allowed));
}

void requireOneOf(FieldErrors& errors, const FieldPath& path, std::string_view value, const Words& allowed) {
  requireText(errors, path, value);
  checkOneOf(errors, path, value, allowed);
}

void nonNegative(FieldErrors& errors, const FieldPath& path, int64_t value) {
  if (value < 0) errors.push_back(invalidError(path, value, kNonNegative));
}
void nonNegative(FieldErrors& errors, const FieldPath& path, const schema::Opt<int32_t>& value) {
  if (value) nonNegative(errors, path, int64_t{*value});
}
void nonNegative(FieldErrors& errors, const FieldPath& path, const schema::Opt<int64_t>& value) {
  if (value) nonNegative(errors, path, *value);
}

void checkPort(FieldErrors& errors, const FieldPath& path, int64_t port) {
  if (port < 1 || port > 65535) errors.push_back(invalidError(path, port, kPortRange));
}
void checkPort(FieldErrors& errors, const FieldPath& path, const schema::IntOrString& port) {
  if (!port.isString) return checkPort(errors, path, int64_t{port.intValue});
  for (const std::string& message : isValidPortName(port.stringValue))
    errors.push_back(invalidError(path, port.stringValue, message));
}

void checkIntOrPercent(FieldErrors& errors, const FieldPath& path, const schema::Opt<schema::IntOrString>& value, bool capped) {
  if (!value) return;
  const schema::IntOrString& v = value.value;
  if (!v.isString) return nonNegative(errors, path, int64_t{v.intValue});
  std::string_view digits = v.stringValue.substr(0, v.stringValue.empty() ? 0 : v.stringValue.size() - 1);
  bool percent =
      v.stringValue.size() > 1 && v.stringValue.back() == '%' && digits.find_first_not_of("0123456789") == std::string_view::npos;
  if (!percent) {
    errors.push_back(
        invalidError(path, v.stringValue,
                     "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
                     "used for validation is '[0-9]+%')"));
    return;
  }
  if (capped && parseInt(digits).value_or(101) > 100)
    errors.push_back(invalidError(path, v.stringValue, "must not be greater than 100%"));
}

bool isZeroAmount(const schema::Opt<schema::IntOrString>& value) {
  if (!value) return true;
  if (!value.value.isString) return value.value.intValue == 0;
  std::string_view text = value.value.stringValue;
  return text.size() > 1 && text.substr(0, text.size() - 1).find_first_not_of('0') == std::string_view::npos;
}

void checkLabels(FieldErrors& errors, const FieldPath& path, const schema::StringMap& labels) {
  for (const auto& [key, value] : labels) {
    for (const std::string& message : isQualifiedName(key)) errors.push_back(invalidError(path, key, message));
    for (const std::string& message : isValidLabelValue(value)) errors.push_back(invalidError(path, value, message));
  }
}

void checkAnnotations(FieldErrors& errors, const FieldPath& path, const schema::StringMap& annotations) {
  size_t bytes = 0;
  for (const auto& [key, value] : annotations) {
    for (const std::string& message : isQualifiedName(toLower(key))) errors.push_back(invalidError(path, key, message));
    bytes += key.size() + value.size();
  }
  if (bytes > kAnnotationsBytesMax) errors.push_back(tooLongError(path, static_cast<int64_t>(kAnnotationsBytesMax)));
}

void checkLabelSelector(FieldErrors& errors, const FieldPath& path, const metav1::LabelSelector* selector) {
  if (!selector) return;
  checkLabels(errors, path.child("matchLabels"), selector->matchLabels);
  for (size_t i = 0; i < selector->matchExpressions.size(); ++i) {
    const auto& expression = selector->matchExpressions[i];
    FieldPath at = path.child("matchExpressions").index(i);
    if (expression.operator_ == "In" || expression.operator_ == "NotIn") {
      if (expression.values.empty())
        errors.push_back(requiredError(at.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
    } else if (expression.operator_ == "Exists" || expression.operator_ == "DoesNotExist") {
      if (!expression.values.empty())
        forbid(errors, at.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      errors.push_back(invalidError(at.child("operator"), expression.operator_, "not a valid selector operator"));
    }
    for (const std::string& message : isQualifiedName(expression.key))
      errors.push_back(invalidError(at.child("key"), expression.key, message));
    for (size_t j = 0; j < expression.values.size(); ++j)
      for (const std::string& message : isValidLabelValue(expression.values[j]))
        errors.push_back(invalidError(at.child("values").index(j), expression.values[j], message));
  }
}

void checkConditions(FieldErrors& errors, const FieldPath& path, const schema::List<metav1::Condition>& conditions) {
  std::set<std::string_view> types;
  for (size_t i = 0; i < conditions.size(); ++i) {
    const auto& condition = conditions[i];
    FieldPath at = path.index(i);
    if (!types.insert(condition.type).second) errors.push_back(duplicateError(at.child("type"), condition.type));
    for (const std::string& message : isQualifiedName(condition.type))
      errors.push_back(invalidError(at.child("type"), condition.type, message));
    if (condition.status != "True" && condition.status != "False" && condition.status != "Unknown")
      errors.push_back(notSupportedError(at.child("status"), condition.status, {"False", "True", "Unknown"}));
    if (condition.observedGeneration < 0)
      errors.push_back(
          invalidError(at.child("observedGeneration"), condition.observedGeneration, "must be greater than or equal to zero"));
    if (condition.lastTransitionTime.isZero()) errors.push_back(requiredError(at.child("lastTransitionTime")));
    if (condition.reason.empty()) {
      errors.push_back(requiredError(at.child("reason")));
    } else if (!isConditionReason(condition.reason)) {
      errors.push_back(
          invalidError(at.child("reason"), condition.reason,
                       "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
                       "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  "
                       "or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
                       "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"));
    }
    if (condition.reason.size() > kReasonBytesMax)
      errors.push_back(tooLongError(at.child("reason"), static_cast<int64_t>(kReasonBytesMax)));
    if (condition.message.size() > kMessageBytesMax)
      errors.push_back(tooLongError(at.child("message"), static_cast<int64_t>(kMessageBytesMax)));
  }
}

void checkSignerName(FieldErrors& errors, const FieldPath& path, std::string_view name) {
  constexpr std::string_view kForm = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
  if (name.empty()) {
    errors.push_back(requiredError(path));
    return;
  }
  std::vector<std::string_view> segments = split(name, '/');
  if (segments.size() != 2) {
    errors.push_back(invalidError(path, name, kForm));
    return;
  }
  std::vector<std::string_view> labels = split(segments[0], '.');
  for (std::string_view label : labels)
    for (const std::string& message : isDns1123Label(label))
      errors.push_back(invalidError(path, segments[0], fmt::format("validating label {}: {}", quote(label), message)));
  if (labels.size() < 2)
    errors.push_back(invalidError(path, segments[0], "should be a domain with at least two segments separated by dots"));
  for (std::string_view label : split(segments[1], '.'))
    for (const std::string& message : isDns1123Subdomain(label))
      errors.push_back(invalidError(path, segments[1], fmt::format("validating label {}: {}", quote(label), message)));
}

std::string printMap(const schema::StringMap& map) {
  std::vector<std::string> pairs;
  for (const auto& [key, value] : map) pairs.push_back(fmt::format("{}:{}", codec::quoteJson(key), codec::quoteJson(value)));
  return map.isNil() ? "null" : "{" + join(pairs, ",") + "}";
}

std::string printList(const schema::List<Str>& list) {
  std::vector<std::string> items;
  for (Str item : list) items.push_back(codec::quoteJson(item));
  return list.isNil() ? "null" : "[" + join(items, ",") + "]";
}

}  // namespace knarr::apiserver
