// Go's words for malformed JSON. Only error paths come here: the state machine follows
// encoding/json's scanner, so that it stops at the same character with the same expectation.
#include <fmt/format.h>

#include <string>

#include "codec/codec.h"
#include "codec/json_text.h"

namespace knarr::codec {
namespace {

// Go's quoteChar: the character in single quotes.
std::string quoteCharacter(char c) {
  auto byte = static_cast<unsigned char>(c);
  if (c == '\'') return "'\\''";
  if (c == '"') return "'\"'";
  switch (c) {
    case '\\':
      return "'\\\\'";
    case '\n':
      return "'\\n'";
    case '\r':
      return "'\\r'";
    case '\t':
      return "'\\t'";
    case '\a':
      return "'\\a'";
    case '\b':
      return "'\\b'";
    case '\f':
      return "'\\f'";
    case '\v':
      return "'\\v'";
    default:
      break;
  }
  if (byte >= 0x20 && byte < 0x7f) return fmt::format("'{}'", c);
  if (byte < 0xa0 || byte == 0xad) return byte < 0x80 ? fmt::format("'\\x{:02x}'", byte) : fmt::format("'\\u{:04x}'", byte);
  // Go converts the byte to the rune of that number.
  std::string rune;
  rune += static_cast<char>(0xc0 | byte >> 6);
  rune += static_cast<char>(0x80 | (byte & 0x3f));
  return "'" + rune + "'";
}

class SyntaxCheck {
 public:
  explicit SyntaxCheck(std::string_view text) : text_(text) {}

  std::optional<std::string> run() {
    bool ok = value();
    if (ok) {
      blanks();
      if (at_ < text_.size()) ok = unexpected("after top-level value");
    }
    return ok ? std::nullopt : std::optional(error_);
  }

 private:
  bool unexpected(std::string_view where) {
    error_ = at_ >= text_.size() ? "unexpected end of JSON input"
                                 : fmt::format("invalid character {} {}", quoteCharacter(text_[at_]), where);
    return false;
  }
  char current() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool isAt(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool isDigitHere() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }
  void blanks() {
    while (isAt(' ') || isAt('\n') || isAt('\t') || isAt('\r')) ++at_;
  }

  bool value() {
    for (;;) {
      blanks();
      char c = current();
      if (isAt('{') || isAt('[')) {
        if (open_.size() >= static_cast<size_t>(kDepthMax)) {
          error_ = "exceeded max depth";
          return false;
        }
        open_ += c;
        ++at_;
        blanks();
        if (c == '{' && !isAt('}')) {
          if (!name("looking for beginning of object key string")) return false;
          continue;
        }
        if (c == '[' && !isAt(']')) continue;
      } else if (!scalar()) {
        return false;
      }
      // After a value: close what ends here, or go on to the next value.
      bool again = false;
      if (!afterValue(again)) return false;
      if (!again) return true;
    }
  }

  bool afterValue(bool& again) {
    while (!open_.empty()) {
      blanks();
      bool object = open_.back() == '{';
      if (isAt(object ? '}' : ']')) {
        ++at_;
        open_.pop_back();
        continue;
      }
      if (!isAt(',')) return unexpected(object ? "after object key:value pair" : "after array element");
      ++at_;
      blanks();
      again = true;
      return !object || name("looking for beginning of object key string");
    }
    return true;
  }

  bool name(std::string_view where) {
    if (!isAt('"')) return unexpected(where);
    if (!string()) return false;
    blanks();
    if (!isAt(':')) return unexpected("after object key");
    ++at_;
    return true;
  }

  bool scalar() {
    if (isAt('"')) return string();
    if (isAt('t')) return word("true");
    if (isAt('f')) return word("false");
    if (isAt('n')) return word("null");
    if (isAt('-') || isDigitHere()) return number();
    return unexpected("looking for beginning of value");
  }

  bool word(std::string_view text) {
    for (size_t i = 1; i < text.size(); ++i) {
      ++at_;
      if (!isAt(text[i])) return unexpected(fmt::format("in literal {} (expecting {})", text, quoteCharacter(text[i])));
    }
    ++at_;
    return true;
  }

  bool string() {
    for (++at_; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (static_cast<unsigned char>(c) < 0x20) return unexpected("in string literal");
      if (c != '\\') continue;
      ++at_;
      if (isAt('u')) {
        for (int i = 0; i < 4; ++i) {
          ++at_;
          if (at_ >= text_.size() || std::string_view("0123456789abcdefABCDEF").find(text_[at_]) == std::string_view::npos)
            return unexpected("in \\u hexadecimal character escape");
        }
      } else if (at_ >= text_.size() || std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
        return unexpected("in string escape code");
      }
    }
    return unexpected("");
  }

  bool number() {
    if (isAt('-')) {
      ++at_;
      if (!isDigitHere()) return unexpected("in numeric literal");
    }
    if (isAt('0'))
      ++at_;
    else
      while (isDigitHere()) ++at_;
    if (isAt('.')) {
      ++at_;
      if (!isDigitHere()) return unexpected("after decimal point in numeric literal");
      while (isDigitHere()) ++at_;
    }
    if (isAt('e') || isAt('E')) {
      ++at_;
      if (isAt('+') || isAt('-')) ++at_;
      if (!isDigitHere()) return unexpected("in exponent of numeric literal");
      while (isDigitHere()) ++at_;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string open_;
  std::string error_;
};

}  // namespace

std::optional<std::string> jsonSyntaxError(std::string_view text) { return SyntaxCheck(text).run(); }

}  // namespace knarr::codec
