// How events are counted, combined and cut off, and how the recorder writes them.
#include "client/event_recorder.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "client/event_correlator.h"
#include "env/sim/sim.h"

namespace knarr::client {
namespace {

using namespace std::chrono_literals;

EventIdentity said(std::string message) {
  return {"Pod/default/web/1", "Warning/BackOff", "spec.containers{c}", std::move(message)};
}

TEST(EventCorrelator, equalEventsHaveOneKey) {
  EventCorrelator correlator;
  env::Instant now{};
  std::string key = correlator.judge(said("a"), now).key;
  EXPECT_EQ(correlator.judge(said("a"), now + 1s).key, key);
  EXPECT_NE(correlator.judge(said("b"), now + 1s).key, key);
  EventIdentity other = said("a");
  other.part = "spec.containers{d}";
  EXPECT_NE(correlator.judge(other, now).key, key);
}

TEST(EventCorrelator, tenMessagesOfAKindShareAnObjectForTenMinutes) {
  EventCorrelator correlator;
  env::Instant now{};
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(correlator.judge(said(fmt::format("{}", i)), now).combined) << i;
  EventCorrelator::Verdict tenth = correlator.judge(said("9"), now);
  EXPECT_TRUE(tenth.combined);
  EXPECT_EQ(correlator.judge(said("10"), now).key, tenth.key);
  EXPECT_FALSE(correlator.judge(said("11"), now + 11min).combined);
}

TEST(EventCorrelator, whoTellsTooMuchIsCutOff) {
  EventCorrelator correlator;
  env::Instant now{};
  for (int i = 0; i < 25; ++i) EXPECT_FALSE(correlator.judge(said("x"), now).drop) << i;
  EXPECT_TRUE(correlator.judge(said("x"), now).drop);
  EventIdentity other = said("x");
  other.about = "Pod/default/other/2";
  EXPECT_FALSE(correlator.judge(other, now).drop);
  EXPECT_TRUE(correlator.judge(said("x"), now + 299s).drop);
  EXPECT_FALSE(correlator.judge(said("x"), now + 301s).drop);
  EXPECT_TRUE(correlator.judge(said("x"), now + 301s).drop);
}

}  // namespace
}  // namespace knarr::client
