#include "codec/json_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace knarr::codec {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// Characters that can stand in a JSON string as they are (ASCII part; 0x80 and above need a look at UTF-8).
constexpr auto kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 0x80; ++c) plain[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
  return plain;
}();
bool isPlain(char c) { return kPlain[static_cast<unsigned char>(c)]; }

// The first position from `at` on whose character is not plain, or the size.
size_t plainUntil(std::string_view text, size_t at) {
#if defined(__SSE2__)
  while (text.size() - at >= 16) {
    __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    auto is = [&](char c) { return _mm_cmpeq_epi8(block, _mm_set1_epi8(c)); };
    __m128i special = _mm_or_si128(_mm_or_si128(is('"'), is('\\')), _mm_or_si128(is('<'), _mm_or_si128(is('>'), is('&'))));
    // Signed: below a blank are control characters and everything outside ASCII.
    special = _mm_or_si128(special, _mm_cmplt_epi8(block, _mm_set1_epi8(0x20)));
    auto mask = static_cast<unsigned>(_mm_movemask_epi8(special));
    if (mask != 0) return at + static_cast<size_t>(__builtin_ctz(mask));
    at += 16;
  }
#endif
  while (at < text.size() && isPlain(text[at])) ++at;
  return at;
}

// Bytes of the UTF-8 sequence at the start of `text`; 0 when it is invalid.
size_t utf8Length(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  auto continues = [&](size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return continues(1) ? 2 : 0;
  if (lead < 0xf0) {
    if (!continues(1) || !continues(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;
    if (lead == 0xed && byte(1) >= 0xa0) return 0;  // surrogates
    return 3;
  }
  if (lead > 0xf4 || !continues(1) || !continues(2) || !continues(3)) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) >= 0x90) return 0;
  return 4;
}

void appendEscapedByte(std::string& out, char c) {
  auto byte = static_cast<unsigned char>(c);
  out += '\\';
  switch (c) {
    case '"':
    case '\\':
      out += c;
      return;
    case '\b':
      out += 'b';
      return;
    case '\f':
      out += 'f';
      return;
    case '\n':
      out += 'n';
      return;
    case '\r':
      out += 'r';
      return;
    case '\t':
      out += 't';
      return;
    default:
      out += "u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
  }
}

bool isLineSeparator(std::string_view text) {
  return text.size() >= 3 && text[0] == '\xe2' && text[1] == '\x80' && (text[2] == '\xa8' || text[2] == '\xa9');
}

void appendUtf8(std::string& out, uint32_t rune) {
  auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (rune < 0x80) {
    put(rune);
  } else if (rune < 0x800) {
    put(0xc0 | rune >> 6);
    put(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    put(0xe0 | rune >> 12);
    put(0x80 | (rune >> 6 & 0x3f));
    put(0x80 | (rune & 0x3f));
  } else {
    put(0xf0 | rune >> 18);
    put(0x80 | (rune >> 12 & 0x3f));
    put(0x80 | (rune >> 6 & 0x3f));
    put(0x80 | (rune & 0x3f));
  }
}

int hexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint32_t hex4(const char* at) {
  uint32_t rune = 0;
  for (int i = 0; i < 4; ++i) rune = rune << 4 | static_cast<uint32_t>(hexValue(at[i]));
  return rune;
}

bool isDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void appendJsonString(std::string& out, std::string_view text) {
  out += '"';
  size_t from = 0;
  for (size_t i = 0; i < text.size();) {
    i = plainUntil(text, i);
    if (i == text.size()) break;
    std::string_view rest = text.substr(i);
    size_t length = utf8Length(rest);
    if (length > 1 && !isLineSeparator(rest)) {
      i += length;
      continue;
    }
    out.append(text, from, i - from);
    if (length == 0) {
      out += "\\ufffd";
      ++i;
    } else if (length == 1) {
      appendEscapedByte(out, text[i++]);
    } else {
      out += text[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 3;
    }
    from = i;
  }
  out.append(text, from);
  out += '"';
}

void appendInt(std::string& out, int64_t value) {
  char buffer[24];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

void appendUint(std::string& out, uint64_t value) {
  char buffer[24];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

void appendJsonDouble(std::string& out, double value) {
  double size = std::abs(value);
  bool scientific = size != 0 && (size < 1e-6 || size >= 1e21);
  char buffer[64];
  auto format = scientific ? std::chars_format::scientific : std::chars_format::fixed;
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  // Go writes e-9 where C writes e-09.
  size_t length = text.size();
  if (scientific && length >= 4 && text[length - 4] == 'e' && text[length - 3] == '-' && text[length - 2] == '0') {
    out.append(text.substr(0, length - 2));
    out += text[length - 1];
    return;
  }
  out.append(text);
}

void appendBase64(std::string& out, std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    uint32_t group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    const char four[] = {kAlphabet[group >> 18], kAlphabet[group >> 12 & 63], kAlphabet[group >> 6 & 63],
                         kAlphabet[group & 63]};
    out.append(four, 4);
  }
  if (i == bytes.size()) return;
  bool two = i + 2 == bytes.size();
  uint32_t group = byte(i) << 16 | (two ? byte(i + 1) << 8 : 0);
  out += kAlphabet[group >> 18];
  out += kAlphabet[group >> 12 & 63];
  out += two ? kAlphabet[group >> 6 & 63] : '=';
  out += '=';
}

void appendCompactJson(std::string& out, std::string_view json) {
  if (!mayNeedCompacting(json)) {
    out += json;
    return;
  }
  bool inString = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (!inString && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) continue;
    if (inString && c == '\\' && i + 1 < json.size()) {
      out += c;
      out += json[++i];
      continue;
    }
    if (c == '"') inString = !inString;
    if (c == '<' || c == '>' || c == '&') {
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    } else if (c == '\xe2' && isLineSeparator(json.substr(i))) {
      out += json[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      out += c;
    }
  }
}

std::string indentJson(std::string_view json) {
  std::string out;
  out.reserve(json.size() * 2);
  size_t depth = 0;
  bool inString = false, opened = false;
  auto newLine = [&] {
    out += '\n';
    out.append(depth * 2, ' ');
  };
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (inString) {
      out += c;
      if (c == '\\' && i + 1 < json.size()) out += json[++i];
      if (c == '"') inString = false;
      continue;
    }
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
    bool closes = c == '}' || c == ']';
    if (opened && !closes) {
      opened = false;
      ++depth;
      newLine();
    }
    switch (c) {
      case '"':
        inString = true;
        out += c;
        break;
      case '{':
      case '[':
        opened = true;
        out += c;
        break;
      case ',':
        out += c;
        newLine();
        break;
      case ':':
        out += ": ";
        break;
      case '}':
      case ']':
        if (opened) {
          opened = false;
        } else {
          --depth;
          newLine();
        }
        out += c;
        break;
      default:
        out += c;
    }
  }
  return out;
}

void appendWithoutBlanks(std::string& out, std::string_view json) {
  bool inString = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (!inString && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) continue;
    out += c;
    if (inString && c == '\\' && i + 1 < json.size())
      out += json[++i];
    else if (c == '"')
      inString = !inString;
  }
}

bool mayNeedCompacting(std::string_view json) {
  for (char c : json)
    if (c <= ' ' || !(isPlain(c) || c == '"' || c == '\\')) return true;
  return false;
}

bool JsonScanner::readString(std::string_view& raw, bool& escaped) {
  const char* from = ++at_;
  const char* at = from;
  escaped = false;
  for (;;) {
#if defined(__SSE2__)
    // Sixteen bytes at a time up to a quote, a backslash, a control character or a byte outside ASCII.
    while (end_ - at >= 16) {
      __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
      __m128i special = _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
      special = _mm_or_si128(special, _mm_cmplt_epi8(block, _mm_set1_epi8(0x20)));
      auto mask = static_cast<unsigned>(_mm_movemask_epi8(special));
      if (mask != 0) {
        at += __builtin_ctz(mask);
        break;
      }
      at += 16;
    }
#endif
    if (at == end_) return false;
    char c = *at;
    if (c == '"') break;
    if (c == '\\') {
      escaped = true;
      if (end_ - at < 2) return false;
      if (at[1] == 'u') {
        if (end_ - at < 6) return false;
        for (int i = 2; i < 6; ++i)
          if (hexValue(at[i]) < 0) return false;
        at += 6;
      } else {
        if (std::strchr("\"\\/bfnrt", at[1]) == nullptr || at[1] == '\0') return false;
        at += 2;
      }
      continue;
    }
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20) return false;
    if (byte >= 0x80) {
      size_t length = utf8Length({at, static_cast<size_t>(end_ - at)});
      if (length == 0) escaped = true;  // decodeJsonString puts U+FFFD there
      at += length == 0 ? 1 : length;
      continue;
    }
    ++at;
  }
  raw = {from, static_cast<size_t>(at - from)};
  at_ = at + 1;
  return true;
}

bool JsonScanner::readNumber(std::string_view& text) {
  const char* from = at_;
  auto digits = [&] {
    const char* first = at_;
    while (at_ != end_ && isDigit(*at_)) ++at_;
    return at_ != first;
  };
  if (*at_ == '-') ++at_;
  if (at_ != end_ && *at_ == '0')
    ++at_;
  else if (!digits())
    return false;
  if (at_ != end_ && *at_ == '.') {
    ++at_;
    if (!digits()) return false;
  }
  if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
    ++at_;
    if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    if (!digits()) return false;
  }
  text = {from, static_cast<size_t>(at_ - from)};
  return true;
}

bool JsonScanner::readWord(std::string_view word) {
  if (static_cast<size_t>(end_ - at_) < word.size() || std::memcmp(at_, word.data(), word.size()) != 0) return false;
  at_ += word.size();
  return true;
}

bool JsonScanner::skipScalar(Token token) {
  std::string_view text;
  bool escaped = false;
  switch (token) {
    case Token::String:
      return readString(text, escaped);
    case Token::Number:
      return readNumber(text);
    case Token::True:
      return readWord("true");
    case Token::False:
      return readWord("false");
    case Token::Null:
      return readWord("null");
    default:
      return false;
  }
}

// Without recursion: a bit per open level says whether it is an object.
bool JsonScanner::skipValue(std::string_view& text, int depth) {
  Token token = peek();
  const char* from = at_;
  std::string open;
  bool expectsValue = true;
  for (;;) {
    if (expectsValue) {
      if (token == Token::ObjectBegin || token == Token::ArrayBegin) {
        if (static_cast<int>(open.size()) >= depth) return false;
        bool object = token == Token::ObjectBegin;
        open += object ? '{' : '[';
        skipMark();
        token = peek();
        if (token != (object ? Token::ObjectEnd : Token::ArrayEnd)) {
          if (!object) continue;
        } else {
          expectsValue = false;
          continue;
        }
      } else {
        if (!skipScalar(token)) return false;
        expectsValue = false;
        if (open.empty()) break;
        token = peek();
        continue;
      }
    } else if (token == Token::Comma) {
      skipMark();
      token = peek();
      expectsValue = true;
      if (open.back() == '[') continue;
    } else if (token == (open.back() == '{' ? Token::ObjectEnd : Token::ArrayEnd)) {
      skipMark();
      open.pop_back();
      if (open.empty()) break;
      token = peek();
      continue;
    } else {
      return false;
    }
    // A member's name.
    if (token != Token::String || !skipScalar(token) || peek() != Token::Colon) return false;
    skipMark();
    token = peek();
  }
  text = {from, static_cast<size_t>(at_ - from)};
  return true;
}

void decodeJsonString(std::string_view raw, std::string& out) {
  for (size_t i = 0; i < raw.size();) {
    char c = raw[i];
    if (c != '\\') {
      size_t length = utf8Length(raw.substr(i));
      if (length == 0)
        out += "\xef\xbf\xbd";
      else
        out.append(raw, i, length);
      i += length == 0 ? 1 : length;
      continue;
    }
    char kind = raw[i + 1];
    if (kind != 'u') {
      constexpr std::string_view kFrom = "bfnrt", kTo = "\b\f\n\r\t";
      size_t at = kFrom.find(kind);
      out += at == std::string_view::npos ? kind : kTo[at];
      i += 2;
      continue;
    }
    uint32_t rune = hex4(raw.data() + i + 2);
    i += 6;
    if (rune >= 0xd800 && rune < 0xdc00 && i + 6 <= raw.size() && raw[i] == '\\' && raw[i + 1] == 'u') {
      uint32_t low = hex4(raw.data() + i + 2);
      if (low >= 0xdc00 && low < 0xe000) {
        rune = 0x10000 + ((rune - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      }
    }
    appendUtf8(out, rune >= 0xd800 && rune < 0xe000 ? 0xfffd : rune);
  }
}

std::string_view decodeJsonString(std::string_view raw, bool escaped, Arena& arena) {
  if (!escaped) return arena.copy(raw);
  std::string decoded;
  decoded.reserve(raw.size());
  decodeJsonString(raw, decoded);
  return arena.copy(decoded);
}

std::string quoteJson(std::string_view text) {
  std::string out;
  appendJsonString(out, text);
  return out;
}

}  // namespace knarr::codec
