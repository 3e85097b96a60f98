// Reading JSON token by token, and what the text of a string means.
#include <cstring>

#include "codec/json_text.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace knarr::codec {
namespace {

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

bool JsonScanner::readString(std::string_view& raw, bool& escaped) {
  const char* from = ++at_;
  const char* at = from;
  escaped = false;
  for (;;) {
#if defined(__SSE2__)
    // Sixteen bytes at a time up to a quote, a backslash, a control character or a byte outside
    // ASCII.
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
