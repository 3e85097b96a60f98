// Structured logging in klog's text form: I1123 21:12:29.000000 room] message key="value".
//
// Source: k8s.io/klog v2 text format. Lines go to one sink, standard error unless setLogSink says otherwise; a line is
// written with one call, so lines of several threads do not mix. The time comes from the clock the program installed
// with setLogClock (env/ owns clocks); before that the time field is zero.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace knarr {

enum class LogLevel : uint8_t { Debug, Info, Warning, Error };

void setLogLevel(LogLevel least);
bool logEnabled(LogLevel level);
void setLogSink(std::function<void(std::string_view line)> sink);
// unixMicros: microseconds since 1970, UTC.
void setLogClock(std::function<int64_t()> unixMicros);
void logLine(LogLevel level, std::string_view room, std::string_view message);

template <class... Args>
void logDebug(std::string_view room, fmt::format_string<Args...> format, Args&&... args) {
  if (logEnabled(LogLevel::Debug)) logLine(LogLevel::Debug, room, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void logInfo(std::string_view room, fmt::format_string<Args...> format, Args&&... args) {
  if (logEnabled(LogLevel::Info)) logLine(LogLevel::Info, room, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void logWarning(std::string_view room, fmt::format_string<Args...> format, Args&&... args) {
  if (logEnabled(LogLevel::Warning)) logLine(LogLevel::Warning, room, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void logError(std::string_view room, fmt::format_string<Args...> format, Args&&... args) {
  if (logEnabled(LogLevel::Error)) logLine(LogLevel::Error, room, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace knarr
