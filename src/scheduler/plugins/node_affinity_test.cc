#include "scheduler/scheduler_fixture.h"

namespace knarr::scheduler {
namespace {

std::string requiring(const char* terms) {
  return fmt::format(
      R"({},"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{}]}}}}}})",
      asking(""), terms);
}

TEST(NodeAffinity, namesNarrowTheSearch) {
  std::vector<NodeInfo> nodes;
  for (const char* name : {"n1", "n2", "n3"}) nodes.push_back(nodeOf("", "", R"("cpu":"4","memory":"8Gi","pods":"10")", name));
  auto named = [](const char* names) {
    return requiring(
        fmt::format(R"({{"matchFields":[{{"key":"metadata.name","operator":"In","values":[{}]}}]}})", names).c_str());
  };
  EXPECT_EQ(decide(named(R"("n3")"), nodes).node, "n3");
  EXPECT_EQ(decide(named(R"("n4")"), nodes).message,
            "0/3 nodes are available: 3 node(s) didn't satisfy plugin(s) [NodeAffinity].");
  NodeInfo cordoned = nodeOf(R"("unschedulable":true)", "", R"("pods":"10")", "n1");
  EXPECT_EQ(decide(named(R"("n1")"), {cordoned, nodes[1], nodes[2]}).message,
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].");
  EXPECT_EQ(decide(requiring(R"({"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]},
                                {"key":"metadata.name","operator":"In","values":["n2"]}]})"),
                   nodes)
                .message,
            "0/3 nodes are available: pod affinity terms conflict.");
}

TEST(NodeAffinity, prefersByWeight) {
  auto preferring = asking("") +
                    R"(,"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
       {"weight":10,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]}},
       {"weight":30,"preference":{"matchExpressions":[{"key":"disk","operator":"Exists"}]}}]}})";
  std::vector<NodeInfo> nodes{nodeOf("", R"("zone":"a")"), nodeOf("", R"("disk":"ssd","zone":"a")", R"("cpu":"4")", "n2"),
                              nodeOf("", "", R"("cpu":"4")", "n3")};
  EXPECT_EQ(scoresOf(makeNodeAffinity(), preferring, nodes), (std::vector<int64_t>{25, 100, 0}));
  EXPECT_EQ(scoresOf(makeNodeAffinity(), asking(""), nodes), (std::vector<int64_t>{0, 0, 0}));
}

}  // namespace
}  // namespace knarr::scheduler
