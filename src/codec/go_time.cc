#include "codec/go_time.h"

#include <fmt/format.h>

namespace knarr::codec {
namespace {

class GoTimeParser {
 public:
  GoTimeParser(std::string_view text, TimeLayout layout) : text_(text), rest_(text), layout_(layout) {}

  Result<UnixTime> run() {
    CivilTime t{};
    int year = 0;
    int64_t offset = 0;
    bool read = number(year, 4, 4, "2006") && literal("-") && number(t.month, 2, 2, "01") && literal("-") &&
                number(t.day, 2, 2, "02") && literal("T") && number(t.hour, 1, 2, "15") && literal(":") &&
                number(t.minute, 2, 2, "04") && literal(":") && number(t.second, 2, 2, "05") && fraction() && zone(offset);
    t.year = year;
    if (read && !rest_.empty()) return error(fmt::format(": extra text: {}", quote(rest_)));
    if (read) range(t);
    if (!range_.empty()) return error(": " + range_ + " out of range");
    if (!read) return error(fmt::format(" as {}: cannot parse {} as {}", quote(layoutText()), quote(rest_), quote(element_)));
    return UnixTime{unixFromCivil(t) - offset, nanos_};
  }

 private:
  std::string_view layoutText() const {
    return layout_ == TimeLayout::Rfc3339 ? "2006-01-02T15:04:05Z07:00" : "2006-01-02T15:04:05.000000Z07:00";
  }
  Unexpected error(std::string_view what) const {
    return fail(Reason::BadRequest, fmt::format("parsing time {}{}", quote(text_), what));
  }
  static bool isDigit(char c) { return c >= '0' && c <= '9'; }

  bool number(int& out, size_t least, size_t most, std::string_view element) {
    element_ = element;
    size_t n = 0;
    int value = 0;
    for (; n < most && n < rest_.size() && isDigit(rest_[n]); ++n) value = value * 10 + (rest_[n] - '0');
    if (n < least) return false;
    out = value;
    rest_.remove_prefix(n);
    return true;
  }
  bool literal(std::string_view text) {
    element_ = text;
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  bool fraction() {
    bool present = rest_.size() >= 2 && (rest_[0] == '.' || rest_[0] == ',') && isDigit(rest_[1]);
    size_t digits = 0;
    if (layout_ == TimeLayout::Rfc3339Micro) {
      element_ = ".000000";
      for (digits = 0; present && digits < 6; ++digits)
        if (digits + 1 >= rest_.size() || !isDigit(rest_[digits + 1])) return false;
      if (!present) return false;
    } else if (present) {
      while (digits + 1 < rest_.size() && isDigit(rest_[digits + 1])) ++digits;
    }
    if (!present) return true;
    int64_t value = 0;
    for (size_t i = 1; i <= 9; ++i) value = value * 10 + (i <= digits ? rest_[i] - '0' : 0);
    nanos_ = static_cast<int32_t>(value);
    rest_.remove_prefix(digits + 1);
    return true;
  }
  bool zone(int64_t& offset) {
    element_ = "Z07:00";
    if (rest_.starts_with('Z')) {
      rest_.remove_prefix(1);
      return true;
    }
    auto digit = [&](size_t i) { return isDigit(rest_[i]); };
    bool wellFormed = rest_.size() >= 6 && (rest_[0] == '+' || rest_[0] == '-') && digit(1) && digit(2) && rest_[3] == ':' &&
                      digit(4) && digit(5);
    if (!wellFormed) return false;
    int hours = (rest_[1] - '0') * 10 + rest_[2] - '0', minutes = (rest_[4] - '0') * 10 + rest_[5] - '0';
    if (hours > 24) range_ = "time zone offset hour";
    if (minutes > 60) range_ = "time zone offset minute";
    offset = (rest_[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    rest_.remove_prefix(6);
    return true;
  }
  void range(const CivilTime& t) {
    static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = t.year % 4 == 0 && (t.year % 100 != 0 || t.year % 400 == 0);
    if (t.month < 1 || t.month > 12) {
      range_ = "month";
    } else if (t.day < 1 || t.day > kDays[t.month - 1] + (leap && t.month == 2 ? 1 : 0)) {
      range_ = "day";
    } else if (t.hour > 23) {
      range_ = "hour";
    } else if (t.minute > 59) {
      range_ = "minute";
    } else if (t.second > 59) {
      range_ = "second";
    }
  }

  std::string_view text_, rest_;
  TimeLayout layout_;
  std::string_view element_;
  std::string range_;
  int32_t nanos_ = 0;
};

}  // namespace

Result<UnixTime> parseGoTime(std::string_view text, TimeLayout layout) { return GoTimeParser(text, layout).run(); }

}  // namespace knarr::codec
