#include <time.h>

#include <cstdio>
#include <cstdlib>

#include "roles.h"

namespace knarr::testserver {
namespace {

int64_t monotonicNanos() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void waitNanos(int64_t nanos) {
  timespec span{nanos / 1'000'000'000, nanos % 1'000'000'000};
  nanosleep(&span, nullptr);
}

// Long enough for any test that says "for ever".
constexpr int64_t kForeverSeconds = int64_t{100} * 365 * 86400;
// A slice of time in which a burner spins for its share and rests for the remainder: short against the 100 ms period of
// the kernel's CPU quota, so that a share below a container's limit is not throttled.
constexpr int64_t kSliceNanos = 10'000'000;

}  // namespace

int burnMemory(int64_t mebibytes, int64_t seconds) {
  constexpr size_t kPage = 4096;
  size_t size = static_cast<size_t>(mebibytes) << 20;
  auto* bytes = static_cast<volatile char*>(std::malloc(size));
  if (bytes == nullptr && size > 0) {
    std::fprintf(stderr, "testserver: cannot allocate %lld MiB\n", static_cast<long long>(mebibytes));
    return 1;
  }
  for (size_t at = 0; at < size; at += kPage) bytes[at] = 1;
  std::printf("holding %lld MiB\n", static_cast<long long>(mebibytes));
  std::fflush(stdout);
  waitNanos((seconds == 0 ? kForeverSeconds : seconds) * 1'000'000'000);
  std::free(const_cast<char*>(bytes));
  return 0;
}

int burnCpu(int64_t milliCpu, int64_t seconds) {
  int64_t end = seconds == 0 ? INT64_MAX : monotonicNanos() + seconds * 1'000'000'000;
  int64_t spin = kSliceNanos * milliCpu / 1000;
  for (int64_t now = monotonicNanos(); now < end; now = monotonicNanos()) {
    while (monotonicNanos() < now + spin) {
    }
    if (spin < kSliceNanos) waitNanos(kSliceNanos - spin);
  }
  return 0;
}

}  // namespace knarr::testserver
