// Quantities and durations: the canonical text is a fixed point and keeps the amount; arithmetic
// never harms.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "schema/duration.h"
#include "schema/quantity.h"

using namespace knarr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t half = text.find(' ');
  std::string_view other = half == std::string_view::npos ? text : text.substr(half + 1);
  if (auto nanos = schema::parseDuration(text)) ASSERT(schema::parseDuration(schema::formatDuration(*nanos)) == *nanos);
  auto a = schema::parseQuantity(text.substr(0, half)), b = schema::parseQuantity(other);
  if (!a) return 0;
  std::string canonical = a->text();
  auto again = schema::parseQuantity(canonical);
  ASSERT(again.has_value() && *again == *a);
  ASSERT(again->text() == canonical);
  (void)a->milliValue();
  (void)a->asDouble();
  if (!b) return 0;
  ASSERT((*a < *b) == (*b > *a));
  (void)(*a + *b).text();
  ASSERT((*a - *a).isZero());
  return 0;
}
