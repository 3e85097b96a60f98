// Go's text form of durations ("1h2m3.5s"), as metav1.Duration uses it. Source: Go package time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knarr::schema {

std::string formatDuration(int64_t nanos);
// Nanoseconds. Errors (BadRequest) carry Go's text.
Result<int64_t> parseDuration(std::string_view text);

}  // namespace knarr::schema
