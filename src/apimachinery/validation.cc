#include "apimachinery/validation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"

namespace knarr::apimachinery {
namespace {

bool isLower(char c) { return c >= 'a' && c <= 'z'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isLowerAlnum(char c) { return isLower(c) || isDigit(c); }
bool isAlnum(char c) { return isLowerAlnum(c) || (c >= 'A' && c <= 'Z'); }

constexpr std::string_view kLabel1123Text =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kSubdomainText =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
constexpr std::string_view kLabel1035Text =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
constexpr std::string_view kNamePartText =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
constexpr std::string_view kLabelValueText =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
constexpr std::string_view kConfigKeyText =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

bool matchesLabel1123(std::string_view text) {
  if (text.empty() || !isLowerAlnum(text.front()) || !isLowerAlnum(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return isLowerAlnum(c) || c == '-'; });
}
bool matchesSubdomain(std::string_view text) {
  for (std::string_view label : split(text, '.'))
    if (!matchesLabel1123(label)) return false;
  return true;
}
bool matchesNamePart(std::string_view text) {
  if (text.empty() || !isAlnum(text.front()) || !isAlnum(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return isAlnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string_view typeText(FieldError::Type type) {
  switch (type) {
    case FieldError::NotFound:
      return "FieldValueNotFound";
    case FieldError::Required:
      return "FieldValueRequired";
    case FieldError::Duplicate:
      return "FieldValueDuplicate";
    case FieldError::Invalid:
      return "FieldValueInvalid";
    case FieldError::NotSupported:
      return "FieldValueNotSupported";
    case FieldError::Forbidden:
      return "FieldValueForbidden";
    case FieldError::TooLong:
      return "FieldValueTooLong";
    case FieldError::TooMany:
      return "FieldValueTooMany";
    case FieldError::Internal:
      return "InternalError";
    case FieldError::TypeInvalid:
      return "FieldValueTypeInvalid";
  }
  return "";
}

}  // namespace

FieldPath FieldPath::child(std::string_view name) const {
  return FieldPath(text_.empty() ? std::string(name) : fmt::format("{}.{}", text_, name));
}
FieldPath FieldPath::index(size_t i) const { return FieldPath(fmt::format("{}[{}]", text_, i)); }
FieldPath FieldPath::key(std::string_view key) const { return FieldPath(fmt::format("{}[{}]", text_, key)); }

FieldError requiredError(const FieldPath& path, std::string detail) {
  return {FieldError::Required, path.str(), detail.empty() ? "Required value" : "Required value: " + detail};
}
FieldError invalidError(const FieldPath& path, std::string_view value, std::string_view detail) {
  return invalidValueError(path, quote(value), detail);
}
FieldError invalidError(const FieldPath& path, int64_t value, std::string_view detail) {
  return invalidValueError(path, fmt::format("{}", value), detail);
}
FieldError invalidValueError(const FieldPath& path, std::string_view printed, std::string_view detail) {
  std::string message = fmt::format("Invalid value: {}", printed);
  if (!detail.empty()) message += fmt::format(": {}", detail);
  return {FieldError::Invalid, path.str(), std::move(message)};
}
FieldError notSupportedError(const FieldPath& path, std::string_view value, const std::vector<std::string>& supported) {
  std::vector<std::string> quoted;
  for (const std::string& one : supported) quoted.push_back(quote(one));
  return {FieldError::NotSupported, path.str(),
          fmt::format("Unsupported value: {}: supported values: {}", quote(value), join(quoted, ", "))};
}
FieldError forbiddenError(const FieldPath& path, std::string_view detail) {
  return {FieldError::Forbidden, path.str(), detail.empty() ? "Forbidden" : fmt::format("Forbidden: {}", detail)};
}
FieldError duplicateError(const FieldPath& path, std::string_view value) {
  return {FieldError::Duplicate, path.str(), fmt::format("Duplicate value: {}", quote(value))};
}
FieldError notFoundError(const FieldPath& path, std::string_view value) {
  return {FieldError::NotFound, path.str(), fmt::format("Not found: {}", quote(value))};
}
FieldError tooLongError(const FieldPath& path, int64_t bytesMax) {
  return {FieldError::TooLong, path.str(), fmt::format("Too long: may not be more than {} bytes", bytesMax)};
}
FieldError tooManyError(const FieldPath& path, int64_t actual, int64_t most) {
  return {FieldError::TooMany, path.str(), fmt::format("Too many: {}: must have at most {} items", actual, most)};
}

Error invalidStatus(std::string_view group, std::string_view kind, std::string_view name, const FieldErrors& errors) {
  std::vector<std::string> texts;
  for (const FieldError& error : errors)
    texts.push_back(fmt::format("{}: {}", error.field.empty() ? "[]" : error.field, error.message));
  // Equal errors are told once, as upstream's aggregate does.
  std::vector<std::string> unique;
  for (std::string& text : texts)
    if (std::find(unique.begin(), unique.end(), text) == unique.end()) unique.push_back(std::move(text));
  std::string all = unique.size() == 1 ? unique.front() : "[" + join(unique, ", ") + "]";
  std::string groupKind = group.empty() ? std::string(kind) : fmt::format("{}.{}", kind, group);
  Error error(Reason::Invalid, fmt::format("{} {} is invalid: {}", groupKind, quote(name), all));
  error.withDetails({std::string(group), std::string(kind), std::string(name), "", 0});
  for (const FieldError& one : errors)
    error.withCause({std::string(typeText(one.type)), one.message, one.field.empty() ? "[]" : one.field});
  return error;
}

std::vector<std::string> isDns1123Label(std::string_view text) {
  std::vector<std::string> messages;
  if (text.size() > 63) messages.emplace_back("must be no more than 63 characters");
  if (!matchesLabel1123(text)) messages.emplace_back(matchesSubdomain(text) ? "must not contain dots" : kLabel1123Text);
  return messages;
}

std::vector<std::string> isDns1123Subdomain(std::string_view text) {
  std::vector<std::string> messages;
  if (text.size() > 253) messages.emplace_back("must be no more than 253 characters");
  if (!matchesSubdomain(text)) messages.emplace_back(kSubdomainText);
  return messages;
}

std::vector<std::string> isDns1035Label(std::string_view text) {
  std::vector<std::string> messages;
  if (text.size() > 63) messages.emplace_back("must be no more than 63 characters");
  if (!matchesLabel1123(text) || !isLower(text.front())) messages.emplace_back(kLabel1035Text);
  return messages;
}

std::vector<std::string> isQualifiedName(std::string_view text) {
  std::vector<std::string> messages;
  auto parts = split(text, '/');
  if (parts.size() > 2) {
    messages.push_back(fmt::format(
        "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')", kNamePartText));
    return messages;
  }
  std::string_view name = parts.back();
  if (parts.size() == 2) {
    if (parts[0].empty()) {
      messages.emplace_back("prefix part must be non-empty");
    } else {
      if (parts[0].size() > 253) messages.emplace_back("prefix part must be no more than 253 bytes");
      if (!matchesSubdomain(parts[0])) messages.push_back(fmt::format("prefix part {}", kSubdomainText));
    }
  }
  if (name.empty())
    messages.emplace_back("name part must be non-empty");
  else if (name.size() > 63)
    messages.emplace_back("name part must be no more than 63 bytes");
  if (!matchesNamePart(name)) messages.push_back(fmt::format("name part {}", kNamePartText));
  return messages;
}

std::vector<std::string> isValidLabelValue(std::string_view text) {
  std::vector<std::string> messages;
  if (text.size() > 63) messages.emplace_back("must be no more than 63 bytes");
  if (!text.empty() && !matchesNamePart(text)) messages.emplace_back(kLabelValueText);
  return messages;
}

std::vector<std::string> isPathSegmentName(std::string_view text) {
  if (text == ".") return {"may not be '.'"};
  if (text == "..") return {"may not be '..'"};
  std::vector<std::string> messages;
  if (text.find('/') != std::string_view::npos) messages.emplace_back("may not contain '/'");
  if (text.find('%') != std::string_view::npos) messages.emplace_back("may not contain '%'");
  return messages;
}

std::vector<std::string> isConfigMapKey(std::string_view text) {
  std::vector<std::string> messages;
  if (text.size() > 253) messages.emplace_back("must be no more than 253 characters");
  bool plain = !text.empty() &&
               std::all_of(text.begin(), text.end(), [](char c) { return isAlnum(c) || c == '-' || c == '_' || c == '.'; });
  if (!plain) messages.emplace_back(kConfigKeyText);
  if (text == ".")
    messages.emplace_back("must not be '.'");
  else if (text == "..")
    messages.emplace_back("must not be '..'");
  else if (text.starts_with(".."))
    messages.emplace_back("must not start with '..'");
  return messages;
}

std::vector<std::string> isEnvVarName(std::string_view text) {
  if (text.empty()) return {"environment variable name must be non-empty"};
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e && c != '='; }))
    return {"a valid environment variable name must consist only of printable ASCII characters other than '='"};
  return {};
}

std::vector<std::string> isValidPortName(std::string_view text) {
  std::vector<std::string> messages;
  if (text.size() > 15) messages.emplace_back("must be no more than 15 characters");
  if (text.empty() || !std::all_of(text.begin(), text.end(), [](char c) { return isLowerAlnum(c) || c == '-'; }))
    messages.emplace_back("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!std::any_of(text.begin(), text.end(), isLower)) messages.emplace_back("must contain at least one letter (a-z)");
  if (text.find("--") != std::string_view::npos) messages.emplace_back("must not contain consecutive hyphens");
  if (!text.empty() && (text.front() == '-' || text.back() == '-')) messages.emplace_back("must not begin or end with a hyphen");
  return messages;
}

}  // namespace knarr::apimachinery
