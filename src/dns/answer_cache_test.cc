#include "dns/answer_cache.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace knarr::dns {
namespace {

using namespace std::chrono_literals;
constexpr env::Instant kStart{1000s};

Message answer(uint32_t ttl, uint16_t rcode = kNoError) {
  Message out;
  out.rcode = rcode;
  Name name = *nameFromText("a.example.com");
  if (rcode == kNoError) out.answers.push_back({name, kA, kClassIn, ttl, "1234"});
  if (rcode == kNxDomain) out.authority.push_back({name, kSOA, kClassIn, ttl, soaData({name, name, 1, 1, 1, 1, 10})});
  return out;
}

TEST(AnswerCache, keepsForAsLongAsSaidWithinBounds) {
  struct Case {
    uint32_t ttl;
    env::Duration holds, ends;
  };
  for (const Case& c : std::initializer_list<Case>{{20, 19s, 20s}, {0, 4s, 5s}, {86400, 29s, 30s}}) {
    AnswerCache cache;
    cache.put("k", answer(c.ttl), kStart);
    EXPECT_TRUE(cache.get("k", kStart + c.holds)) << c.ttl;
    EXPECT_FALSE(cache.get("k", kStart + c.ends)) << c.ttl;
    EXPECT_EQ(cache.entries(), 0u);
  }
}

TEST(AnswerCache, timesCountDown) {
  AnswerCache cache;
  cache.put("k", answer(20), kStart);
  EXPECT_EQ(cache.get("k", kStart + 7500ms)->answers[0].ttl, 13u);
}

TEST(AnswerCache, negativeAnswers) {
  AnswerCache cache;
  cache.put("nx", answer(600, kNxDomain), kStart);
  EXPECT_TRUE(cache.get("nx", kStart + 9s)) << "the minimum of the SOA counts";
  EXPECT_FALSE(cache.get("nx", kStart + 10s));
  cache.put("fail", answer(0, kServFail), kStart);
  EXPECT_TRUE(cache.get("fail", kStart + 4s));
  EXPECT_FALSE(cache.get("fail", kStart + 5s));
  cache.put("refused", answer(0, kRefused), kStart);
  Message bare;
  cache.put("bare", bare, kStart);
  EXPECT_FALSE(cache.get("refused", kStart) || cache.get("bare", kStart)) << "they say nothing about how long they hold";
}

TEST(AnswerCache, isBounded) {
  AnswerCache cache;
  for (size_t i = 0; i < AnswerCache::kEntriesMax + 100; ++i) {
    cache.put(fmt::format("{}", i), answer(30), kStart);
    if (i % 100 == 0) EXPECT_TRUE(cache.get("0", kStart)) << "used all the time";
  }
  EXPECT_EQ(cache.entries(), AnswerCache::kEntriesMax);
  EXPECT_FALSE(cache.get("1", kStart));
  Message big = answer(30);
  big.answers[0].rdata.assign(60000, 'x');
  for (int i = 0; i < 1000; ++i) cache.put(fmt::format("big{}", i), big, kStart);
  EXPECT_LT(cache.entries(), 200u);
}

TEST(AnswerCache, keys) {
  Question a{*nameFromText("A.example.com"), kA, kClassIn}, b{*nameFromText("a.EXAMPLE.com"), kA, kClassIn};
  EXPECT_EQ(AnswerCache::keyOf(a, false, false), AnswerCache::keyOf(b, false, false));
  EXPECT_NE(AnswerCache::keyOf(a, false, false), AnswerCache::keyOf(a, true, false));
  b.type = kAAAA;
  EXPECT_NE(AnswerCache::keyOf(a, false, false), AnswerCache::keyOf(b, false, false));
}

}  // namespace
}  // namespace knarr::dns
