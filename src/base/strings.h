// Small pure functions on text, and the civil calendar.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace knarr {

// Pieces between separators; an empty text gives one empty piece, as Go's strings.Split does.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& pieces, std::string_view separator);
std::string_view trim(std::string_view text);
std::string toLower(std::string_view text);
bool equalsIgnoreCase(std::string_view a, std::string_view b);
// A decimal integer that fills the whole text; nothing otherwise, and on overflow.
std::optional<int64_t> parseInt(std::string_view text);
std::optional<uint64_t> parseUint(std::string_view text);

std::string toHex(std::string_view bytes);
// Standard alphabet with padding (RFC 4648 section 4).
std::string base64Encode(std::string_view bytes);
std::optional<std::string> base64Decode(std::string_view text);
// URL alphabet without padding (RFC 4648 section 5), as JWT uses it.
std::string base64UrlEncode(std::string_view bytes);
std::optional<std::string> base64UrlDecode(std::string_view text);
// RFC 3986 percent decoding; plusIsSpace for query strings. Nothing on a malformed escape.
std::optional<std::string> percentDecode(std::string_view text, bool plusIsSpace);
std::string percentEncode(std::string_view text);
// "..." with Go's %q escapes.
std::string quote(std::string_view text);
bool isValidUtf8(std::string_view text);

// FNV-1a, 32 and 64 bits.
uint32_t fnv32a(std::string_view bytes);
uint64_t fnv64a(std::string_view bytes);

// A moment in the proleptic Gregorian calendar, UTC.
struct CivilTime {
  int64_t year;
  int month, day, hour, minute, second;  // month and day from 1
};
CivilTime civilFromUnix(int64_t unixSeconds);
int64_t unixFromCivil(const CivilTime& time);
// RFC 3339 with whole seconds: 2006-01-02T15:04:05Z.
std::string formatRfc3339(int64_t unixSeconds);
// RFC 3339 with six digits: 2006-01-02T15:04:05.000000Z.
std::string formatRfc3339Micro(int64_t unixMicros);
// Nanoseconds since 1970 of an RFC 3339 text with any offset and up to nine fraction digits. The range of years is 0001
// to 9999; nanoseconds outside int64 give nothing, use parseRfc3339Parts there.
struct UnixTime {
  int64_t seconds;
  int32_t nanos;
};
std::optional<UnixTime> parseRfc3339(std::string_view text);

// Transparent hashing so that unordered maps keyed by std::string take string_view look-ups.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

}  // namespace knarr
