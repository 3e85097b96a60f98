#include "scheduler/scheduler_fixture.h"

namespace knarr::scheduler {
namespace {

TEST(TaintToleration, fewerDiscouragingTaintsAreBetter) {
  std::vector<NodeInfo> nodes{
      nodeOf(R"("taints":[{"key":"a","effect":"PreferNoSchedule"},{"key":"b","effect":"PreferNoSchedule"}])"),
      nodeOf(R"("taints":[{"key":"a","effect":"PreferNoSchedule"}])", "", R"("cpu":"4")", "n2"),
      nodeOf("", "", R"("cpu":"4")", "n3")};
  EXPECT_EQ(scoresOf(makeTaintToleration(), asking(""), nodes), (std::vector<int64_t>{0, 50, 100}));
  EXPECT_EQ(scoresOf(makeTaintToleration(), asking("") + R"(,"tolerations":[{"key":"a","operator":"Exists"}])", nodes),
            (std::vector<int64_t>{0, 100, 100}));
  EXPECT_EQ(
      scoresOf(makeTaintToleration(), asking("") + R"(,"tolerations":[{"operator":"Exists","effect":"NoSchedule"}])", nodes),
      (std::vector<int64_t>{0, 50, 100}));
}

}  // namespace
}  // namespace knarr::scheduler
