// Amount: the number behind a Quantity field, with exact decimal arithmetic.
//
// Source: k8s.io/apimachinery/pkg/api/resource (Quantity): suffixes, rounding up to nano, the cap
// of binary amounts at 2^63-1 and the canonical text are upstream's. An amount holds up to 35
// significant digits; a longer text is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "schema/values.h"

namespace knarr::schema {

enum class QuantityFormat : uint8_t {
  DecimalExponent,  // 12e6
  BinarySI,         // 12Mi
  DecimalSI,        // 12M
};

class Amount {
 public:
  using Magnitude = unsigned __int128;

  // Zero, DecimalSI.
  Amount() = default;
  static Amount fromInt64(int64_t value, QuantityFormat format = QuantityFormat::DecimalSI);
  static Amount fromMilli(int64_t milli, QuantityFormat format = QuantityFormat::DecimalSI);
  // (negative ? -1 : 1) * magnitude * 10^scale
  static Amount fromParts(bool negative, Magnitude magnitude, int32_t scale, QuantityFormat format);

  QuantityFormat format() const { return format_; }
  bool isZero() const { return magnitude_ == 0; }
  int sign() const { return magnitude_ == 0 ? 0 : negative_ ? -1 : 1; }
  // In units of 10^scale, rounded away from zero; the ends of int64 when it does not fit.
  int64_t scaledValue(int32_t scale) const;
  int64_t value() const { return scaledValue(0); }
  int64_t milliValue() const { return scaledValue(-3); }
  double asDouble() const;
  // The value as an integer when it is one that fits.
  bool asInt64(int64_t& out) const;
  // Rounded away from zero to a multiple of 10^scale.
  Amount roundUp(int32_t scale) const;
  Amount negated() const;
  // Canonical text: no fraction, the largest suffix that loses nothing.
  std::string text() const;

  // <0, 0, >0.
  static int compare(const Amount& a, const Amount& b);
  // The format is that of `a`, or of `b` when `a` is zero. Digits beyond the 35th are rounded away
  // from zero.
  friend Amount operator+(const Amount& a, const Amount& b);
  friend Amount operator-(const Amount& a, const Amount& b);
  friend bool operator==(const Amount& a, const Amount& b) { return compare(a, b) == 0; }
  friend bool operator<(const Amount& a, const Amount& b) { return compare(a, b) < 0; }
  friend bool operator>(const Amount& a, const Amount& b) { return compare(a, b) > 0; }
  friend bool operator<=(const Amount& a, const Amount& b) { return compare(a, b) <= 0; }
  friend bool operator>=(const Amount& a, const Amount& b) { return compare(a, b) >= 0; }

 private:
  Magnitude magnitude_ = 0;
  int32_t scale_ = 0;  // power of ten
  bool negative_ = false;
  QuantityFormat format_ = QuantityFormat::DecimalSI;
};

// Reads a quantity. Errors (BadRequest) carry upstream's text.
Result<Amount> parseQuantity(std::string_view text);
// The text that upstream writes for a quantity it read as `text`: canonical, except that a text
// which already looks canonical is kept as it is ("1.100", "+5").
Result<std::string> canonicalQuantity(std::string_view text);
// The amount of a field; zero when the field is empty. Decoded fields are always well formed, any
// other text is zero.
Amount amountOf(const Quantity& quantity);
// A field's value, its text in `arena`.
Quantity quantityOf(Arena& arena, const Amount& amount);

}  // namespace knarr::schema
