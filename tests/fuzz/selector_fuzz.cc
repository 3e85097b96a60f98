// Label and field selectors, and times: no input harms; what was accepted prints to a text that means the same.
#include <cstdint>
#include <string_view>

#include "apimachinery/labels.h"
#include "base/assert.h"
#include "base/strings.h"

using namespace knarr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto selector = apimachinery::LabelSelector::parse(text)) {
    std::string printed = selector->str();
    auto again = apimachinery::LabelSelector::parse(printed);
    ASSERT(again.has_value());
    ASSERT(again->str() == printed);
  }
  (void)apimachinery::FieldSelector::parse(text);
  if (auto time = parseRfc3339(text)) {
    auto again = parseRfc3339(formatRfc3339(time->seconds));
    ASSERT(again && again->seconds == time->seconds);
  }
  return 0;
}
