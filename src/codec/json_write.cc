// JSON texts as Go writes them.
#include <array>
#include <charconv>
#include <cmath>

#include "codec/json_text.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace knarr::codec {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// Characters that can stand in a JSON string as they are (ASCII part; 0x80 and above need a look at
// UTF-8).
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
    const char four[] = {kAlphabet[group >> 18], kAlphabet[group >> 12 & 63], kAlphabet[group >> 6 & 63], kAlphabet[group & 63]};
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

}  // namespace knarr::codec
