// Names that error texts use: Go's types, JSON's kinds of values, and the path to the value being
// read.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json_text.h"
#include "schema/type_info.h"

namespace knarr::codec {

// "core/v1.PodSpec" to "v1.PodSpec".
std::string_view goShortName(std::string_view fullName);
// What Go calls one value of a field ("int32", "v1.PodSpec"), and the whole field
// ("[]v1.Container").
std::string goElementType(const schema::FieldInfo& field);
std::string goType(const schema::FieldInfo& field);
// "object", "array", "string", "number" or "bool".
std::string_view describeToken(Token token);

// One step of the path from the root to the value being read.
struct Step {
  enum class Is : uint8_t { Field, Key, Index };
  const Step* up;
  Is is;
  std::string_view name;
  size_t index;
  const schema::TypeInfo* owner;  // of a field: the struct it belongs to in Go
};

// Go's text for a value of the wrong kind: "json: cannot unmarshal string into Go struct field
// PodSpec.spec.x of type T".
std::string mismatchText(const Step* path, std::string_view value, std::string_view type);
// The path of a member called `name`, as strict errors write it: "spec.containers[0].foo".
std::string strictPath(const Step* path, std::string_view name);

// The members that a struct has had so far; few enough for a linear search.
class SeenMembers {
 public:
  // False when it was there already.
  bool add(const void* what) {
    if (std::find(few_, few_ + count_, what) != few_ + count_ || std::find(more_.begin(), more_.end(), what) != more_.end())
      return false;
    if (count_ < std::size(few_))
      few_[count_++] = what;
    else
      more_.push_back(what);
    return true;
  }

 private:
  const void* few_[24];
  size_t count_ = 0;
  std::vector<const void*> more_;
};

}  // namespace knarr::codec
