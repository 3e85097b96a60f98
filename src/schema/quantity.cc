#include "schema/quantity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/strings.h"

namespace knarr::schema {
namespace {

using Magnitude = Amount::Magnitude;
constexpr Magnitude kMagnitudeMax = ~Magnitude{0};
// Amounts stay below this, so that canonical text, which may append two zeros, can be read again.
constexpr Magnitude kMagnitudeLimit = kMagnitudeMax / 1000;
constexpr int32_t kNano = -9;
// Exponents beyond this are refused: no sum of real resources reaches 10^1000, and text of that
// size would be a burden.
constexpr int32_t kExponentMax = 1000;

constexpr std::string_view kFormatWrong =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
constexpr std::string_view kNumeric = "unable to parse numeric part of quantity";
constexpr std::string_view kSuffix = "unable to parse quantity's suffix";

Unexpected bad(std::string_view what) { return fail(Reason::BadRequest, std::string(what)); }

bool isDigit(char c) { return c >= '0' && c <= '9'; }

// a * 10^n; false when it does not fit.
bool scaleUp(Magnitude& a, int64_t n) {
  if (a == 0) return true;
  for (; n > 0; --n) {
    if (a > kMagnitudeMax / 10) return false;
    a *= 10;
  }
  return true;
}

// a / 10^n rounded up.
Magnitude scaleDownRoundingUp(Magnitude a, int64_t n) {
  bool lost = false;
  for (; n > 0 && a != 0; --n) {
    lost = lost || a % 10 != 0;
    a /= 10;
  }
  return lost ? a + 1 : a;
}

// What stands where in a quantity's text.
struct Parts {
  bool positive = true;
  std::string_view number, fraction,
      suffix;  // digits before and after the point; leading zeros stripped
};

Result<Parts> splitQuantity(std::string_view text) {
  Parts parts;
  size_t at = 0;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    parts.positive = text[0] == '+';
    at = 1;
  }
  while (at < text.size() && text[at] == '0') ++at;
  auto digits = [&] {
    size_t from = at;
    while (at < text.size() && isDigit(text[at])) ++at;
    return text.substr(from, at - from);
  };
  parts.number = digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    parts.fraction = digits();
  }
  size_t suffixFrom = at;
  while (at < text.size() && std::string_view("eEinumkKMGTP").find(text[at]) != std::string_view::npos) ++at;
  if (at < text.size() && at > suffixFrom && (text[at] == '-' || text[at] == '+')) ++at;
  digits();
  if (at != text.size()) return bad(kFormatWrong);
  parts.suffix = text.substr(suffixFrom);
  return parts;
}

struct Suffix {
  int base = 10;
  int32_t exponent = 0;
  QuantityFormat format = QuantityFormat::DecimalSI;
};

struct NamedSuffix {
  std::string_view text;
  int32_t exponent;
};
constexpr NamedSuffix kDecimalSuffixes[] = {{"n", -9}, {"u", -6}, {"m", -3}, {"", 0},   {"k", 3},
                                            {"M", 6},  {"G", 9},  {"T", 12}, {"P", 15}, {"E", 18}};
constexpr NamedSuffix kBinarySuffixes[] = {{"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}, {"Pi", 50}, {"Ei", 60}};

Result<Suffix> interpretSuffix(std::string_view text) {
  for (const NamedSuffix& named : kDecimalSuffixes)
    if (named.text == text) return Suffix{10, named.exponent, QuantityFormat::DecimalSI};
  for (const NamedSuffix& named : kBinarySuffixes)
    if (named.text == text) return Suffix{2, named.exponent, QuantityFormat::BinarySI};
  if (text.size() > 1 && (text[0] == 'e' || text[0] == 'E')) {
    std::string_view digits = text.substr(1);
    if (digits[0] == '+') digits.remove_prefix(1);
    auto exponent = digits.empty() || digits[0] == '+' ? std::nullopt : parseInt(digits);
    // A little more than kExponentMax, which bounds the amount without its trailing zeros.
    if (exponent && *exponent >= -2 * kExponentMax && *exponent <= 2 * kExponentMax)
      return Suffix{10, static_cast<int32_t>(*exponent), QuantityFormat::DecimalExponent};
  }
  return bad(kSuffix);
}

// The digits of both parts as one integer times 10^scale. Fraction digits that no longer fit only
// round up.
bool readDigits(const Parts& parts, Magnitude& magnitude, int32_t& scale, bool& lost) {
  magnitude = 0;
  scale = 0;
  lost = false;
  for (char c : parts.number) {
    if (magnitude > (kMagnitudeMax - 9) / 10) return false;
    magnitude = magnitude * 10 + static_cast<unsigned>(c - '0');
  }
  for (; magnitude > kMagnitudeLimit; ++scale) {
    if (magnitude % 10 != 0) return false;
    magnitude /= 10;
  }
  for (char c : parts.fraction) {
    if (lost || scale > 0 || magnitude > (kMagnitudeLimit - 9) / 10) {
      lost = lost || c != '0';
      continue;
    }
    magnitude = magnitude * 10 + static_cast<unsigned>(c - '0');
    --scale;
  }
  return true;
}

// Upstream keeps a text that it takes for canonical already.
bool looksCanonical(const Parts& parts, const Suffix& suffix) {
  auto digits = static_cast<int32_t>((parts.number.empty() ? 1 : parts.number.size()) + parts.fraction.size());
  if (suffix.format == QuantityFormat::BinarySI) {
    auto numberDigits = static_cast<int32_t>(parts.number.empty() ? 1 : parts.number.size());
    auto estimate = static_cast<int32_t>(static_cast<float>(suffix.exponent) * 3 / 10);
    if (!parts.fraction.empty() || 15 - numberDigits - estimate - 1 < 0) return false;
    return parts.number.empty() ? false : (parseInt(parts.number).value_or(0) & 7) != 0;
  }
  if (digits > 18) return false;
  int32_t scale = suffix.exponent - static_cast<int32_t>(parts.fraction.size());
  std::string shifted(parts.number.empty() ? "0" : parts.number);
  shifted += parts.fraction;
  return scale >= kNano && scale % 3 == 0 && !shifted.ends_with("000") && shifted[0] != '0';
}

Result<Amount> amountFrom(const Parts& parts, const Suffix& suffix) {
  Magnitude magnitude = 0;
  int32_t scale = 0;
  bool lost = false;
  if (!readDigits(parts, magnitude, scale, lost)) return bad(kNumeric);
  QuantityFormat format = suffix.format;
  if (suffix.base == 10) {
    for (; magnitude != 0 && magnitude % 10 == 0; ++scale) magnitude /= 10;
    scale += suffix.exponent;
    if (magnitude != 0 && scale > kExponentMax) return bad(kNumeric);
  } else {
    // The cap comes first: nothing above 2^63 needs the multiplication.
    if (scale >= 0 && magnitude > kMagnitudeLimit >> suffix.exponent) magnitude = kMagnitudeLimit >> suffix.exponent;
    while (magnitude > kMagnitudeLimit >> suffix.exponent) {
      lost = lost || magnitude % 10 != 0;
      magnitude /= 10;
      ++scale;
    }
    magnitude <<= suffix.exponent;
  }
  if (lost) ++magnitude;
  if (scale < kNano) {
    magnitude = scaleDownRoundingUp(magnitude, int64_t{kNano} - scale);
    scale = kNano;
  }
  if (format == QuantityFormat::BinarySI) {
    Amount amount = Amount::fromParts(false, magnitude, scale, format);
    constexpr int64_t kCap = std::numeric_limits<int64_t>::max();
    if (amount > Amount::fromInt64(kCap)) {
      magnitude = static_cast<Magnitude>(kCap);
      scale = 0;
    } else if (amount < Amount::fromInt64(1)) {
      format = QuantityFormat::DecimalSI;
    }
  }
  return Amount::fromParts(!parts.positive, magnitude, scale, format);
}

std::string decimalText(Magnitude magnitude) {
  std::string out;
  do {
    out += static_cast<char>('0' + static_cast<int>(magnitude % 10));
    magnitude /= 10;
  } while (magnitude != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string withDecimalSuffix(Magnitude magnitude, int32_t scale, QuantityFormat format) {
  while (magnitude % 10 == 0) {
    magnitude /= 10;
    ++scale;
  }
  std::string digits = decimalText(magnitude);
  for (; scale % 3 != 0; --scale) digits += '0';
  if (format == QuantityFormat::DecimalSI)
    for (const NamedSuffix& named : kDecimalSuffixes)
      if (named.exponent == scale) return digits.append(named.text);
  return scale == 0 ? digits : digits + 'e' + std::to_string(scale);
}

std::string withBinarySuffix(Magnitude magnitude) {
  size_t times = 0;
  for (; magnitude % 1024 == 0 && times < std::size(kBinarySuffixes); ++times) magnitude /= 1024;
  std::string digits = decimalText(magnitude);
  return times == 0 ? digits : digits.append(kBinarySuffixes[times - 1].text);
}

}  // namespace

Amount Amount::fromParts(bool negative, Magnitude magnitude, int32_t scale, QuantityFormat format) {
  Amount out;
  out.negative_ = negative && magnitude != 0;
  out.magnitude_ = magnitude;
  out.scale_ = magnitude == 0 ? 0 : scale;
  out.format_ = format;
  return out;
}

Amount Amount::fromInt64(int64_t value, QuantityFormat format) {
  Magnitude magnitude = value < 0 ? Magnitude{0} - static_cast<Magnitude>(value) : static_cast<Magnitude>(value);
  return fromParts(value < 0, magnitude, 0, format);
}

Amount Amount::fromMilli(int64_t milli, QuantityFormat format) {
  Amount out = fromInt64(milli, format);
  if (milli != 0) out.scale_ = -3;
  return out;
}

Amount Amount::roundUp(int32_t scale) const {
  if (scale_ >= scale || magnitude_ == 0) return *this;
  return fromParts(negative_, scaleDownRoundingUp(magnitude_, int64_t{scale} - scale_), scale, format_);
}

Amount Amount::negated() const { return fromParts(!negative_, magnitude_, scale_, format_); }

int64_t Amount::scaledValue(int32_t scale) const {
  Amount rounded = roundUp(scale);
  Magnitude magnitude = rounded.magnitude_;
  constexpr auto kMax = static_cast<Magnitude>(std::numeric_limits<int64_t>::max());
  bool fits = scaleUp(magnitude, int64_t{rounded.scale_} - scale) && magnitude <= kMax;
  if (negative_) return fits ? -static_cast<int64_t>(magnitude) : std::numeric_limits<int64_t>::min();
  return fits ? static_cast<int64_t>(magnitude) : std::numeric_limits<int64_t>::max();
}

bool Amount::asInt64(int64_t& out) const {
  Magnitude magnitude = magnitude_;
  int32_t scale = scale_;
  for (; scale < 0 && magnitude % 10 == 0 && magnitude != 0; ++scale) magnitude /= 10;
  if (scale < 0 || !scaleUp(magnitude, scale) || magnitude > static_cast<Magnitude>(std::numeric_limits<int64_t>::max()))
    return false;
  out = negative_ ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
  return true;
}

double Amount::asDouble() const {
  auto base = static_cast<double>(magnitude_);
  return (negative_ ? -base : base) * std::pow(10.0, scale_);
}

int Amount::compare(const Amount& a, const Amount& b) {
  if (a.sign() != b.sign()) return a.sign() < b.sign() ? -1 : 1;
  if (a.magnitude_ == 0) return 0;
  Magnitude x = a.magnitude_, y = b.magnitude_;
  int order = 0;
  // What does not fit after scaling is the larger one.
  if (a.scale_ > b.scale_ && !scaleUp(x, int64_t{a.scale_} - b.scale_))
    order = 1;
  else if (b.scale_ > a.scale_ && !scaleUp(y, int64_t{b.scale_} - a.scale_))
    order = -1;
  else
    order = x < y ? -1 : x > y ? 1 : 0;
  return a.negative_ ? -order : order;
}

Amount operator+(const Amount& a, const Amount& b) {
  if (a.isZero()) return b;
  if (b.isZero()) return a;
  Amount x = a, y = b;
  // One spare digit, so that the sum of two fits.
  int32_t scale = std::min(x.scale_, y.scale_);
  for (;; ++scale) {
    Magnitude p = x.roundUp(scale).magnitude_, q = y.roundUp(scale).magnitude_;
    constexpr Magnitude kHalf = kMagnitudeLimit / 2;
    bool fits = scaleUp(p, std::max(0, x.scale_ - scale)) && scaleUp(q, std::max(0, y.scale_ - scale));
    if (!fits || p > kHalf || q > kHalf) continue;
    if (x.negative_ == y.negative_) return Amount::fromParts(x.negative_, p + q, scale, a.format_);
    return p >= q ? Amount::fromParts(x.negative_, p - q, scale, a.format_)
                  : Amount::fromParts(y.negative_, q - p, scale, a.format_);
  }
}

Amount operator-(const Amount& a, const Amount& b) { return a + b.negated(); }

std::string Amount::text() const {
  if (magnitude_ == 0) return "0";
  std::string sign = negative_ ? "-" : "";
  if (format_ == QuantityFormat::BinarySI) {
    Amount absolute = fromParts(false, magnitude_, scale_, format_);
    Magnitude whole = magnitude_;
    int32_t scale = scale_;
    for (; scale < 0 && whole % 10 == 0; ++scale) whole /= 10;
    if (absolute >= fromInt64(1024) && scale >= 0 && scaleUp(whole, scale)) return sign + withBinarySuffix(whole);
    return sign + withDecimalSuffix(magnitude_, scale_, QuantityFormat::DecimalSI);
  }
  return sign + withDecimalSuffix(magnitude_, scale_, format_);
}

Result<Amount> parseQuantity(std::string_view text) {
  if (text.empty()) return bad(kFormatWrong);
  Parts parts = TRY(splitQuantity(text));
  return amountFrom(parts, TRY(interpretSuffix(parts.suffix)));
}

Result<std::string> canonicalQuantity(std::string_view text) {
  if (text.empty()) return bad(kFormatWrong);
  Parts parts = TRY(splitQuantity(text));
  Suffix suffix = TRY(interpretSuffix(parts.suffix));
  if (looksCanonical(parts, suffix)) return std::string(text);
  return TRY(amountFrom(parts, suffix)).text();
}

Amount amountOf(const Quantity& quantity) {
  if (quantity.text.empty()) return Amount();
  auto amount = parseQuantity(quantity.text);
  return amount ? *amount : Amount();
}

Quantity quantityOf(Arena& arena, const Amount& amount) { return {arena.copy(amount.text())}; }

}  // namespace knarr::schema
