#include "codec/yaml_scalar.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace knarr::codec {
namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }

bool isOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  for (std::string_view word : words)
    if (word == text) return true;
  return false;
}

// Go's strconv.ParseInt/ParseUint with base 0 after the underscores were taken out.
bool parseGoInteger(std::string_view text, bool& negative, uint64_t& magnitude) {
  negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    char mark = text[1];
    base = mark == 'x' || mark == 'X' ? 16 : mark == 'b' || mark == 'B' ? 2 : 8;
    text.remove_prefix(base == 8 && mark != 'o' && mark != 'O' ? 1 : 2);
  }
  if (text.empty()) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), magnitude, base);
  return error == std::errc() && end == text.data() + text.size();
}

// ^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$
bool isYamlFloat(std::string_view text) {
  size_t at = 0;
  auto digits = [&] {
    size_t from = at;
    while (at < text.size() && isDigit(text[at])) ++at;
    return at - from;
  };
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  size_t whole = digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (digits() == 0 && whole == 0) return false;
  } else if (whole == 0) {
    return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

// yyyy-m-d, alone or followed by [Tt ] or blanks and h:mm:ss with fraction and zone. Source:
// yaml.v2 resolve.go.
bool isYamlTimestamp(std::string_view text) {
  size_t at = 0;
  auto digits = [&](size_t least, size_t most) {
    size_t n = 0;
    while (n < most && at < text.size() && isDigit(text[at])) ++at, ++n;
    return n >= least;
  };
  auto mark = [&](char c) { return at < text.size() && text[at] == c && ++at; };
  if (!digits(4, 4) || !mark('-') || !digits(1, 2) || !mark('-') || !digits(1, 2)) return false;
  if (at == text.size()) return true;
  bool blank = text[at] == ' ' || text[at] == '\t';
  if (!mark('T') && !mark('t') && !blank) return false;
  while (blank && at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  if (!digits(1, 2) || !mark(':') || !digits(1, 2) || !mark(':') || !digits(1, 2)) return false;
  if (mark('.')) digits(0, 9);
  if (at == text.size()) return blank;
  if (mark('Z')) return at == text.size();
  if (!mark('+') && !mark('-')) return false;
  return digits(1, 2) && (at == text.size() || (mark(':') && digits(2, 2))) && at == text.size();
}

// ^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$: other readers take it for a number in base 60.
bool isBase60(std::string_view text) {
  size_t at = 0;
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  if (at >= text.size() || !isDigit(text[at])) return false;
  while (at < text.size() && (isDigit(text[at]) || text[at] == '_')) ++at;
  size_t groups = 0;
  while (at < text.size() && text[at] == ':') {
    size_t n = 0;
    for (++at; at < text.size() && isDigit(text[at]) && n < 2; ++at) ++n;
    if (n == 0 || (n == 2 && text[at - 2] > '5')) return false;
    ++groups;
  }
  if (groups == 0) return false;
  if (at < text.size() && text[at] == '.')
    for (++at; at < text.size() && (isDigit(text[at]) || text[at] == '_');) ++at;
  return at == text.size();
}

}  // namespace

ResolvedScalar resolveYamlScalar(std::string_view text) {
  if (isOneOf(text, {"", "~", "null", "Null", "NULL"})) return {YamlScalar::Null};
  if (isOneOf(text, {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) return {YamlScalar::Bool, true};
  if (isOneOf(text, {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}))
    return {YamlScalar::Bool, false};
  if (isOneOf(text, {".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"}))
    return {YamlScalar::NotFinite};
  char first = text[0];
  if (!isDigit(first) && first != '+' && first != '-' && first != '.') return {};
  if (isYamlTimestamp(text)) return {YamlScalar::Timestamp};
  std::string plain;
  for (char c : text)
    if (c != '_') plain += c;
  bool negative = false;
  uint64_t magnitude = 0;
  if (first != '.' && parseGoInteger(plain, negative, magnitude)) {
    if (negative && magnitude <= uint64_t{1} << 63)
      return {YamlScalar::Int, false, static_cast<int64_t>(uint64_t{0} - magnitude)};
    if (!negative && magnitude <= INT64_MAX) return {YamlScalar::Int, false, static_cast<int64_t>(magnitude)};
    if (!negative) return {YamlScalar::Uint, false, 0, static_cast<double>(magnitude)};
  }
  if (isYamlFloat(plain)) {
    const char* begin = plain.data() + (plain[0] == '+' ? 1 : 0);
    double value = 0;
    if (std::from_chars(begin, plain.data() + plain.size(), value).ec == std::errc()) return {YamlScalar::Float, false, 0, value};
  }
  return {};
}

bool needsYamlQuotes(std::string_view text) {
  return text == "<<" || resolveYamlScalar(text).is != YamlScalar::String || isBase60(text);
}

std::string formatGoG(double value) {
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  char buffer[64];
  auto scientific = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(scientific.ptr - buffer));
  size_t e = text.find('e');
  std::string_view digits = text.substr(e + 1);
  if (digits[0] == '+') digits.remove_prefix(1);
  int exponent = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
  // Shortest 'g' turns to exponents below 1e-4 and from 1e6 on.
  if (exponent < -4 || exponent >= 6)
    return fmt::format("{}e{}{:02}", text.substr(0, e), exponent < 0 ? '-' : '+', std::abs(exponent));
  auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  return std::string(buffer, fixed.ptr);
}

}  // namespace knarr::codec
