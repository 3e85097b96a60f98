#include "schema/duration.h"

#include <fmt/format.h>

#include <limits>

#include "base/strings.h"

namespace knarr::schema {
namespace {

constexpr uint64_t kMicro = 1000, kMilli = 1'000'000, kSecond = 1'000'000'000;
constexpr uint64_t kOverflow = uint64_t{1} << 63;

// value / unit with its fraction, without trailing zeros.
std::string decimal(uint64_t value, uint64_t unit) {
  std::string out = fmt::format("{}", value / unit);
  uint64_t rest = value % unit;
  if (rest == 0) return out;
  out += '.';
  for (uint64_t place = unit / 10; rest != 0; place /= 10) {
    out += static_cast<char>('0' + rest / place);
    rest %= place;
  }
  return out;
}

uint64_t unitNanos(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "\xc2\xb5s" || unit == "\xce\xbcs") return kMicro;
  if (unit == "ms") return kMilli;
  if (unit == "s") return kSecond;
  if (unit == "m") return 60 * kSecond;
  if (unit == "h") return 3600 * kSecond;
  return 0;
}

bool isDigit(char c) { return c >= '0' && c <= '9'; }

// Adds the next "1.5h" of `text` to `total`, which stays at most 2^63.
Result<void> addTerm(std::string_view whole, std::string_view& text, uint64_t& total) {
  auto invalid = [&] { return fail(Reason::BadRequest, fmt::format("time: invalid duration {}", quote(whole))); };
  uint64_t value = 0, fraction = 0;
  double scale = 1;
  bool digits = false;
  for (; !text.empty() && isDigit(text[0]); text.remove_prefix(1), digits = true) {
    if (value > kOverflow / 10) return invalid();
    value = value * 10 + static_cast<uint64_t>(text[0] - '0');
    if (value > kOverflow) return invalid();
  }
  if (!text.empty() && text[0] == '.') {
    text.remove_prefix(1);
    for (bool full = false; !text.empty() && isDigit(text[0]); text.remove_prefix(1), digits = true) {
      if (full || fraction > (kOverflow - 1) / 10) {
        full = true;
        continue;
      }
      fraction = fraction * 10 + static_cast<uint64_t>(text[0] - '0');
      scale *= 10;
    }
  }
  if (!digits) return invalid();
  size_t unitEnd = 0;
  while (unitEnd < text.size() && text[unitEnd] != '.' && !isDigit(text[unitEnd])) ++unitEnd;
  if (unitEnd == 0) return fail(Reason::BadRequest, fmt::format("time: missing unit in duration {}", quote(whole)));
  uint64_t unit = unitNanos(text.substr(0, unitEnd));
  if (unit == 0)
    return fail(Reason::BadRequest,
                fmt::format("time: unknown unit {} in duration {}", quote(text.substr(0, unitEnd)), quote(whole)));
  text.remove_prefix(unitEnd);
  if (value > kOverflow / unit) return invalid();
  value *= unit;
  value += static_cast<uint64_t>(static_cast<double>(fraction) * (static_cast<double>(unit) / scale));
  total += value;
  return value > kOverflow || total > kOverflow ? Result<void>(invalid()) : Result<void>();
}

}  // namespace

std::string formatDuration(int64_t nanos) {
  if (nanos == 0) return "0s";
  uint64_t left = nanos < 0 ? uint64_t{0} - static_cast<uint64_t>(nanos) : static_cast<uint64_t>(nanos);
  std::string out = nanos < 0 ? "-" : "";
  if (left < kMicro) return out + fmt::format("{}ns", left);
  if (left < kMilli) return out + decimal(left, kMicro) + "\xc2\xb5s";
  if (left < kSecond) return out + decimal(left, kMilli) + "ms";
  uint64_t minutes = left / (60 * kSecond);
  if (minutes >= 60) out += fmt::format("{}h", minutes / 60);
  if (minutes > 0) out += fmt::format("{}m", minutes % 60);
  return out + decimal(left % (60 * kSecond), kSecond) + "s";
}

Result<int64_t> parseDuration(std::string_view text) {
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return 0;
  if (rest.empty()) return fail(Reason::BadRequest, fmt::format("time: invalid duration {}", quote(text)));
  uint64_t total = 0;
  while (!rest.empty()) {
    auto added = addTerm(text, rest, total);
    if (!added) return std::unexpected(std::move(added).error());
  }
  if (negative) return static_cast<int64_t>(uint64_t{0} - total);
  if (total > kOverflow - 1) return fail(Reason::BadRequest, fmt::format("time: invalid duration {}", quote(text)));
  return static_cast<int64_t>(total);
}

}  // namespace knarr::schema
