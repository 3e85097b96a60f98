#include <gtest/gtest.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/result.h"
#include "base/strings.h"

namespace knarr {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return fail(Reason::Invalid, "odd");
  return n / 2;
}
Result<int> quarter(int n) { return TRY(half(TRY(half(n)))); }

TEST(Result, tryReturnsTheFirstError) {
  EXPECT_EQ(*quarter(8), 2);
  auto failed = quarter(6);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), 422);
  EXPECT_EQ(failed.error().withContext("inner").withContext("outer").describe(), "outer: inner: odd");
}

TEST(Reason, namesRoundTrip) {
  EXPECT_EQ(reasonFromName("NotFound"), Reason::NotFound);
  EXPECT_EQ(reasonName(Reason::Conflict), "Conflict");
  EXPECT_EQ(reasonCode(Reason::Expired), 410);
}

TEST(Strings, base64RoundTrips) {
  for (std::string text : {"", "f", "fo", "foo", "foob", "\xff\xfe"}) {
    EXPECT_EQ(base64Decode(base64Encode(text)), text);
    EXPECT_EQ(base64UrlDecode(base64UrlEncode(text)), text);
  }
  EXPECT_EQ(base64Encode("foob"), "Zm9vYg==");
  EXPECT_FALSE(base64Decode("Zm9vYg"));
  EXPECT_FALSE(base64Decode("Z!=="));
}

TEST(Strings, rfc3339) {
  EXPECT_EQ(formatRfc3339(1199149261), "2008-01-01T01:01:01Z");
  EXPECT_EQ(parseRfc3339("2008-01-01T01:01:01Z")->seconds, 1199149261);
  EXPECT_EQ(parseRfc3339("2008-01-01T02:01:01.5+01:00")->seconds, 1199149261);
  EXPECT_EQ(parseRfc3339("2008-01-01T02:01:01.5+01:00")->nanos, 500'000'000);
  EXPECT_EQ(formatRfc3339(-62135596800), "0001-01-01T00:00:00Z");
  for (const char* bad : {"", "2008-13-01T00:00:00Z", "2008-02-30T00:00:00Z", "2008-01-01 00:00:00Z", "2008-01-01T00:00:00",
                          "2008-01-01T00:00:00+1:00", "2008-01-01T25:00:00Z"})
    EXPECT_FALSE(parseRfc3339(bad)) << bad;
}

TEST(Strings, percent) {
  EXPECT_EQ(percentDecode("a%2Fb+c", true), "a/b c");
  EXPECT_EQ(percentDecode("a+c", false), "a+c");
  EXPECT_FALSE(percentDecode("%2", false));
  EXPECT_EQ(percentEncode("a/b c"), "a%2Fb%20c");
}

TEST(Strings, utf8) {
  EXPECT_TRUE(isValidUtf8("gr\xc3\xbc\xc3\x9f"));
  EXPECT_FALSE(isValidUtf8("\xc0\x80"));
  EXPECT_FALSE(isValidUtf8("\xed\xa0\x80"));
  EXPECT_FALSE(isValidUtf8("\xff"));
}

TEST(Arena, keepsLargeAndSmall) {
  Arena arena;
  auto small = arena.copy("small");
  std::string big(200'000, 'x');
  auto large = arena.copy(big);
  auto after = arena.copy("after");
  EXPECT_EQ(small, "small");
  EXPECT_EQ(large, big);
  EXPECT_EQ(after, "after");
  EXPECT_GE(arena.bytesReserved(), big.size());
}

TEST(Log, klogText) {
  std::string got;
  setLogSink([&](std::string_view line) { got = line; });
  setLogClock([] { return int64_t{1199149261} * 1'000'000 + 42; });
  logWarning("kubelet", "pod {} is late", "a");
  setLogSink({});
  setLogClock({});
  EXPECT_EQ(got, "W0101 01:01:01.000042 kubelet] pod a is late\n");
}

}  // namespace
}  // namespace knarr
