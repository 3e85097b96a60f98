// JSON as text: strings and numbers as Go writes them, the scanner that reads them, and Go's syntax
// errors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/result.h"

namespace knarr::codec {

// ---- writing
// "text" with encoding/json's escapes: HTML characters and U+2028/2029 as \u00XX, invalid UTF-8 as
// \ufffd.
void appendJsonString(std::string& out, std::string_view text);
// encoding/json's form of a float64.
void appendJsonDouble(std::string& out, double value);
void appendInt(std::string& out, int64_t value);
void appendUint(std::string& out, uint64_t value);
void appendBase64(std::string& out, std::string_view bytes);
// JSON text that is well formed, without blanks and with HTML characters inside strings escaped.
void appendCompactJson(std::string& out, std::string_view json);
// Indents compact or loose JSON by two blanks a level, as Go's json.Indent.
std::string indentJson(std::string_view json);
// Drops blanks between tokens and keeps strings as written.
void appendWithoutBlanks(std::string& out, std::string_view json);
// False when appendWithoutBlanks and appendCompactJson would surely give `json` itself.
bool mayNeedCompacting(std::string_view json);

// ---- reading
// Bytes of the UTF-8 sequence at the start of `text`, which is not empty; 0 when it is invalid.
size_t utf8Length(std::string_view text);
// What stands at a position of a JSON text. The scanner never reads past the end and never fails:
// Bad tells the caller to stop and to ask jsonSyntaxError for the words.
enum class Token : uint8_t {
  End,
  Bad,
  ObjectBegin,
  ObjectEnd,
  ArrayBegin,
  ArrayEnd,
  String,
  Number,
  True,
  False,
  Null,
  Comma,
  Colon
};

class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  const char* position() const { return at_; }
  // The kind of the next token, which stays unread.
  Token peek() {
    while (at_ != end_) {
      Token token = kTokens[static_cast<unsigned char>(*at_)];
      if (token != kBlank) [[likely]]
        return token;
      ++at_;
    }
    return Token::End;
  }
  // Consumes a one-character token that peek() has seen.
  void skipMark() { ++at_; }
  // Consumes a String: the text between the quotes, `escaped` when it needs decodeJsonString. False
  // when it is malformed.
  bool readString(std::string_view& raw, bool& escaped);
  // Consumes a Number: its text. False when it is malformed.
  bool readNumber(std::string_view& text);
  // Consumes true, false or null. False when it is spelled wrong.
  bool readWord(std::string_view word);
  // Consumes one whole value and says where it stood. False when it is malformed or deeper than
  // `depth` levels.
  bool skipValue(std::string_view& text, int depth);

 private:
  bool skipScalar(Token token);
  // Stands in the table for the four characters between tokens; peek() never returns it.
  static constexpr Token kBlank = static_cast<Token>(0xff);
  static constexpr auto kTokens = [] {
    std::array<Token, 256> tokens{};
    tokens.fill(Token::Bad);
    for (char c : {' ', '\n', '\t', '\r'}) tokens[static_cast<unsigned char>(c)] = kBlank;
    for (unsigned char c = '0'; c <= '9'; ++c) tokens[c] = Token::Number;
    tokens['-'] = Token::Number;
    tokens['"'] = Token::String;
    tokens['{'] = Token::ObjectBegin;
    tokens['}'] = Token::ObjectEnd;
    tokens['['] = Token::ArrayBegin;
    tokens[']'] = Token::ArrayEnd;
    tokens[','] = Token::Comma;
    tokens[':'] = Token::Colon;
    tokens['t'] = Token::True;
    tokens['f'] = Token::False;
    tokens['n'] = Token::Null;
    return tokens;
  }();
  const char* at_;
  const char* end_;
};

// The meaning of the text between quotes, in `arena`. Escapes are decoded; lone surrogates and
// invalid UTF-8 become U+FFFD as in Go. `raw` comes from a scanner, so its escapes are well formed.
std::string_view decodeJsonString(std::string_view raw, bool escaped, Arena& arena);
void decodeJsonString(std::string_view raw, std::string& out);

// What encoding/json would say about `text`; nothing when it is one well-formed value with nothing
// after it.
std::optional<std::string> jsonSyntaxError(std::string_view text);

}  // namespace knarr::codec
