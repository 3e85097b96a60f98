// RFC 3339 times as Go's time.Parse reads them, with its errors. Source: Go package time,
// format.go.
#pragma once

#include <string_view>

#include "base/result.h"
#include "base/strings.h"

namespace knarr::codec {

// time.RFC3339, or meta/v1's RFC3339Micro, which wants exactly six fraction digits.
enum class TimeLayout : uint8_t { Rfc3339, Rfc3339Micro };
Result<UnixTime> parseGoTime(std::string_view text, TimeLayout layout);

}  // namespace knarr::codec
