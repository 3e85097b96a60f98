// What a plain YAML scalar means, by the rules of YAML 1.1 as gopkg.in/yaml.v2 applies them.
#pragma once

#include <string>
#include <string_view>

#include "codec/value.h"

namespace knarr::codec {

enum class YamlScalar : uint8_t { Null, Bool, Int, Uint, Float, NotFinite, Timestamp, String };

struct ResolvedScalar {
  YamlScalar is = YamlScalar::String;
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
};

// `text` without quotes and tags.
ResolvedScalar resolveYamlScalar(std::string_view text);
// True when `text` must be quoted to stay a string.
bool needsYamlQuotes(std::string_view text);
// strconv.FormatFloat(value, 'g', -1, 64).
std::string formatGoG(double value);

}  // namespace knarr::codec
