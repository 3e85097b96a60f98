// Field paths, field errors and the name rules that validation everywhere is made of.
//
// Source: k8s.io/apimachinery/pkg/util/validation and util/validation/field; messages are upstream's, clients show them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::apimachinery {

// field.Error: what is wrong with one field.
struct FieldError {
  enum Type : uint8_t {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    Internal,
    TypeInvalid
  };
  Type type;
  std::string field;
  std::string message;  // "Invalid value: \"x\": must be ...", the field not included
};
using FieldErrors = std::vector<FieldError>;

// A path such as spec.containers[0].name or metadata.labels[key]. Cheap to extend.
class FieldPath {
 public:
  FieldPath() = default;
  explicit FieldPath(std::string text) : text_(std::move(text)) {}
  FieldPath child(std::string_view name) const;
  FieldPath index(size_t i) const;
  FieldPath key(std::string_view key) const;
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

FieldError requiredError(const FieldPath& path, std::string detail = "");
// A text value; it is quoted in the message.
FieldError invalidError(const FieldPath& path, std::string_view value, std::string_view detail);
FieldError invalidError(const FieldPath& path, int64_t value, std::string_view detail);
// Any other value, printed as given (composite values are JSON).
FieldError invalidValueError(const FieldPath& path, std::string_view printed, std::string_view detail);
FieldError notSupportedError(const FieldPath& path, std::string_view value, const std::vector<std::string>& supported);
FieldError forbiddenError(const FieldPath& path, std::string_view detail);
FieldError duplicateError(const FieldPath& path, std::string_view value);
FieldError notFoundError(const FieldPath& path, std::string_view value);
FieldError tooLongError(const FieldPath& path, int64_t bytesMax);
FieldError tooManyError(const FieldPath& path, int64_t actual, int64_t most);

// The 422 Status of a list of field errors: `Pod "x" is invalid: ...`, with causes.
Error invalidStatus(std::string_view group, std::string_view kind, std::string_view name, const FieldErrors& errors);

// Each returns the messages, none when the text is valid.
std::vector<std::string> isQualifiedName(std::string_view text);
std::vector<std::string> isValidLabelValue(std::string_view text);
std::vector<std::string> isDns1123Label(std::string_view text);
std::vector<std::string> isDns1123Subdomain(std::string_view text);
std::vector<std::string> isDns1035Label(std::string_view text);
// What may stand in a URL path: not "." or "..", no "/" and no "%".
std::vector<std::string> isPathSegmentName(std::string_view text);
// A key of a ConfigMap or Secret.
std::vector<std::string> isConfigMapKey(std::string_view text);
// The name of an environment variable (printable ASCII without "=").
std::vector<std::string> isEnvVarName(std::string_view text);
// A port name (IANA service name).
std::vector<std::string> isValidPortName(std::string_view text);

}  // namespace knarr::apimachinery
