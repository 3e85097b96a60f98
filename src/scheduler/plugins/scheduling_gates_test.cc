#include "scheduler/scheduler_fixture.h"

namespace knarr::scheduler {
namespace {

TEST(SchedulingGates, keepsAPodOutOfTheQueue) {
  Framework framework(defaultPlugins());
  EXPECT_EQ(framework.preEnqueue(*podOf(asking(""))), std::nullopt);
  EXPECT_EQ(framework.preEnqueue(*podOf(asking("") + R"(,"schedulingGates":[{"name":"a"},{"name":"b"}])")),
            "waiting for scheduling gates: [a b]");
}

}  // namespace
}  // namespace knarr::scheduler
