// Rules that the validations of many kinds are made of.
//
// Each adds what it finds to `errors`. Source: pkg/apis/core/validation/validation.go and
// k8s.io/apimachinery/pkg/{api,apis/meta/v1,util}/validation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apimachinery/validation.h"
#include "schema/object.h"

namespace knarr::apiserver {

using apimachinery::duplicateError;
using apimachinery::FieldErrors;
using apimachinery::FieldPath;
using apimachinery::invalidError;
using apimachinery::invalidValueError;
using apimachinery::notFoundError;
using apimachinery::notSupportedError;
using apimachinery::requiredError;
using apimachinery::tooLongError;
using apimachinery::tooManyError;
using schema::Mut;
using schema::Ref;
using schema::Str;

using NameRule = std::vector<std::string> (*)(std::string_view);
using Words = std::vector<std::string>;

inline constexpr std::string_view kImmutable = "field is immutable";
inline constexpr std::string_view kNonNegative = "must be greater than or equal to 0";
inline constexpr std::string_view kPortRange = "must be between 1 and 65535, inclusive";

inline void forbid(FieldErrors& errors, const FieldPath& path, std::string_view why) {
  errors.push_back(apimachinery::forbiddenError(path, why));
}
void addAll(FieldErrors& errors, FieldErrors more);

// Every message of the rule; nothing for an empty text.
void checkName(FieldErrors& errors, const FieldPath& path, std::string_view value, NameRule rule);
// Required, then the rule.
void requireName(FieldErrors& errors, const FieldPath& path, std::string_view value, NameRule rule);
void requireText(FieldErrors& errors, const FieldPath& path, std::string_view value);
// Required, then one of `allowed`.
void requireOneOf(FieldErrors& errors, const FieldPath& path, std::string_view value, const Words& allowed);
// One of `allowed`; nothing for an empty text.
void checkOneOf(FieldErrors& errors, const FieldPath& path, std::string_view value, const Words& allowed);
void checkOneOf(FieldErrors& errors, const FieldPath& path, const schema::Opt<Str>& value, const Words& allowed);

void nonNegative(FieldErrors& errors, const FieldPath& path, int64_t value);
void nonNegative(FieldErrors& errors, const FieldPath& path, const schema::Opt<int32_t>& value);
void nonNegative(FieldErrors& errors, const FieldPath& path, const schema::Opt<int64_t>& value);
void checkPort(FieldErrors& errors, const FieldPath& path, int64_t port);
void checkPort(FieldErrors& errors, const FieldPath& path, const schema::IntOrString& port);
// A count, or a percentage; `capped` refuses more than 100 %.
void checkIntOrPercent(FieldErrors& errors, const FieldPath& path, const schema::Opt<schema::IntOrString>& value, bool capped);
bool isZeroAmount(const schema::Opt<schema::IntOrString>& value);

void checkLabels(FieldErrors& errors, const FieldPath& path, const schema::StringMap& labels);
void checkAnnotations(FieldErrors& errors, const FieldPath& path, const schema::StringMap& annotations);
// A null selector is valid.
void checkLabelSelector(FieldErrors& errors, const FieldPath& path, const metav1::LabelSelector* selector);
void checkConditions(FieldErrors& errors, const FieldPath& path, const schema::List<metav1::Condition>& conditions);

// Which rules a resource's name follows.
enum class ResourceNameRule : uint8_t { Container, Pod, Any };
// Messages for a resource's name.
std::vector<std::string> resourceNameProblems(std::string_view name, ResourceNameRule rule);
bool isExtendedResource(std::string_view name);
bool isHugePage(std::string_view name);
bool isIntegerResource(std::string_view name);
bool isStandardResource(std::string_view name);
// A quantity of a resource: not negative, whole where only whole ones exist.
void checkResourceQuantity(FieldErrors& errors, const FieldPath& path, std::string_view name, const schema::Quantity& quantity);
// Requests and limits of a container (or of a whole pod, which has no claims here).
void checkResources(FieldErrors& errors, const FieldPath& path, const corev1::ResourceRequirements& resources,
                    ResourceNameRule rule);
// A container's claims are among those of its pod. Source: validateResourceClaimNames.
void checkResourceClaims(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::ResourceClaim>& claims,
                         const schema::List<corev1::PodResourceClaim>& ofPod);

void checkTolerations(FieldErrors& errors, const FieldPath& path, const schema::List<corev1::Toleration>& tolerations);
void checkNodeSelector(FieldErrors& errors, const FieldPath& path, const corev1::NodeSelector& selector);
void checkAffinity(FieldErrors& errors, const FieldPath& path, const corev1::Affinity* affinity);
void checkTopologySpread(FieldErrors& errors, const FieldPath& path,
                         const schema::List<corev1::TopologySpreadConstraint>& constraints);
void checkSignerName(FieldErrors& errors, const FieldPath& path, std::string_view name);

// ---- addresses
struct IpText {
  bool v6 = false;
  bool leadingZeros = false;  // as in 010.0.0.1
  bool mapped = false;        // an IPv4 address written as ::ffff:10.0.0.1
  uint8_t bytes[16] = {};     // the first four of an IPv4 address
};
std::optional<IpText> parseIpText(std::string_view text);
// What a field that always took addresses takes; sloppy forms are refused with their own words.
void checkIp(FieldErrors& errors, const FieldPath& path, std::string_view text);
// An address that traffic may be sent to.
void checkEndpointIp(FieldErrors& errors, const FieldPath& path, std::string_view text);
void checkCidr(FieldErrors& errors, const FieldPath& path, std::string_view text);
// The same for fields that take one form of each address and range only.
void checkCanonicalIp(FieldErrors& errors, const FieldPath& path, std::string_view text);
void checkCanonicalCidr(FieldErrors& errors, const FieldPath& path, std::string_view text);

// JSON of a map and of a list of texts, as messages print them.
std::string printMap(const schema::StringMap& map);
std::string printList(const schema::List<Str>& list);

}  // namespace knarr::apiserver
