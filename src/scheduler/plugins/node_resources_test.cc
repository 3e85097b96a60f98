// NodeResourcesFit and NodeResourcesBalancedAllocation: the scores, by table.
#include "scheduler/scheduler_fixture.h"

namespace knarr::scheduler {
namespace {

NodeInfo with(const char* allocatable, const char* used) {
  NodeInfo node = nodeOf("", "", allocatable);
  if (*used) node.addPod(podOf(asking(used), "other"));
  return node;
}

TEST(NodeResources, scores) {
  constexpr const char* kNode = R"("cpu":"4","memory":"8Gi","pods":"10")";
  struct Row {
    const char* what;
    const char* wanted;
    NodeInfo node;
    int64_t fit, balanced;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"half of an empty node", R"("cpu":"2","memory":"4Gi")", with(kNode, ""), 50, 75},
           {"everything", R"("cpu":"4","memory":"8Gi")", with(kNode, ""), 0, 75},
           {"nothing: 100m and 200Mi count", "", with(kNode, ""), 97, 0},
           {"all CPU of an empty node", R"("cpu":"4")", with(kNode, ""), 48, 50},
           {"evens out", R"("memory":"8Gi")", with(kNode, R"("cpu":"4")"), 0, 100},
           {"a node without memory", R"("cpu":"1")", with(R"("cpu":"4","pods":"10")", ""), 75, 75},
       }) {
    EXPECT_EQ(scoresOf(makeNodeResourcesFit(), asking(row.wanted), {row.node}), std::vector<int64_t>{row.fit}) << row.what;
    EXPECT_EQ(scoresOf(makeNodeResourcesBalancedAllocation(), asking(row.wanted), {row.node}), std::vector<int64_t>{row.balanced})
        << row.what;
  }
}

}  // namespace
}  // namespace knarr::scheduler
