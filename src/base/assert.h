// Checks for our own bugs, active in every build. Outside input never reaches them: it gets a Result.
#pragma once

namespace knarr {
[[noreturn]] void assertFailed(const char* expression, const char* file, int line);
}  // namespace knarr

// ASSERT(condition): what must hold for the program to be right; crashes with the place when it does not.
#define ASSERT(...) (static_cast<bool>(__VA_ARGS__) ? void(0) : ::knarr::assertFailed(#__VA_ARGS__, __FILE__, __LINE__))
