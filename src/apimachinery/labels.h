// Label and field selectors: parsing, matching, printing.
//
// Source: k8s.io/apimachinery/pkg/labels/selector.go, pkg/fields/selector.go; API document "Labels and Selectors".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schema/values.h"

namespace knarr::metav1 {
struct LabelSelector;
}

namespace knarr::apimachinery {

struct Requirement {
  enum class Operator : uint8_t { In, NotIn, Exists, DoesNotExist, GreaterThan, LessThan };
  std::string key;
  Operator op = Operator::Exists;
  std::vector<std::string> values;  // sorted
  bool singleEquals = false;        // "k=v": printed so, and usable as an exact value

  bool matches(const schema::StringMap& labels) const;
};

class LabelSelector {
 public:
  // Matches everything.
  LabelSelector() = default;
  static LabelSelector nothing();
  // "a=b,c!=d,e in (f,g),h,!i,j>1". BadRequest with upstream's wording on a bad text.
  static Result<LabelSelector> parse(std::string_view text);
  // metav1.LabelSelector: null or absent matches nothing, empty matches everything.
  static Result<LabelSelector> from(const metav1::LabelSelector* selector);
  // Every label of the map must be equal.
  static LabelSelector fromMap(const schema::StringMap& labels);

  bool matches(const schema::StringMap& labels) const;
  bool empty() const { return !nothing_ && requirements_.empty(); }
  bool matchesNothing() const { return nothing_; }
  void add(Requirement requirement) { requirements_.push_back(std::move(requirement)); }
  const std::vector<Requirement>& requirements() const { return requirements_; }
  std::string str() const;

 private:
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

// "metadata.name=x,status.phase!=Running".
struct FieldSelector {
  struct Term {
    std::string field;
    std::string value;
    bool equal = true;
  };
  std::vector<Term> terms;

  static Result<FieldSelector> parse(std::string_view text);
  bool empty() const { return terms.empty(); }
  // The value a "=" term demands of a field; null when there is none.
  const std::string* exactValue(std::string_view field) const;
};

}  // namespace knarr::apimachinery
