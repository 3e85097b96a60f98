#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <mutex>

#include "base/strings.h"

namespace knarr {
namespace {

std::atomic<LogLevel> leastLevel{LogLevel::Info};

struct LogState {
  std::mutex mutex;
  std::function<void(std::string_view)> sink;
  std::function<int64_t()> clock;
};
LogState& logState() {
  static LogState state;
  return state;
}

}  // namespace

void setLogLevel(LogLevel least) { leastLevel = least; }
bool logEnabled(LogLevel level) { return level >= leastLevel.load(std::memory_order_relaxed); }

void setLogSink(std::function<void(std::string_view line)> sink) {
  std::lock_guard lock(logState().mutex);
  logState().sink = std::move(sink);
}

void setLogClock(std::function<int64_t()> unixMicros) {
  std::lock_guard lock(logState().mutex);
  logState().clock = std::move(unixMicros);
}

void logLine(LogLevel level, std::string_view room, std::string_view message) {
  static constexpr char kLetters[] = {'D', 'I', 'W', 'E'};
  std::lock_guard lock(logState().mutex);
  int64_t micros = logState().clock ? logState().clock() : 0;
  CivilTime t = civilFromUnix(micros / 1'000'000);
  std::string line = fmt::format("{}{:02}{:02} {:02}:{:02}:{:02}.{:06} {}] {}\n", kLetters[static_cast<int>(level)], t.month,
                                 t.day, t.hour, t.minute, t.second, micros % 1'000'000, room, message);
  if (logState().sink) {
    logState().sink(line);
    return;
  }
  // A log line that cannot be written has nowhere to be reported.
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace knarr
