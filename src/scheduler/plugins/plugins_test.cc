// The default profile: its order and weights, and which events bring a pod back that a plugin refused.
#include "scheduler/plugins/plugins.h"

#include "scheduler/scheduler_fixture.h"

namespace knarr::scheduler {
namespace {

TEST(DefaultPlugins, orderAndWeights) {
  std::string list;
  for (const auto& [plugin, weight] : defaultPlugins())
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", plugin->name(), weight);
  EXPECT_EQ(list,
            "SchedulingGates 1, PrioritySort 1, NodeUnschedulable 1, NodeName 1, TaintToleration 3, NodeAffinity 2, NodePorts 1, "
            "NodeResourcesFit 1, NodeResourcesBalancedAllocation 1, ImageLocality 1, DefaultBinder 1");
}

TEST(NodeUpdateActions, byTable) {
  constexpr const char* kBase = R"("cpu":"4","memory":"8Gi","pods":"10")";
  auto base = nodeOf("", R"("a":"1")", kBase).node;
  struct Row {
    const char* what;
    Ref<corev1::Node> after;
    std::vector<ActionType> actions;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"nothing", nodeOf("", R"("a":"1")", kBase).node, {}},
           {"a heartbeat", nodeOf("", R"("a":"1")", kBase, "n1", R"(,"nodeInfo":{"kernelVersion":"6"})").node, {}},
           {"labels", nodeOf("", R"("a":"2")", kBase).node, {kUpdateNodeLabel}},
           {"room", nodeOf("", R"("a":"1")", R"("cpu":"5","memory":"8Gi","pods":"10")").node, {kUpdateNodeAllocatable}},
           {"pods", nodeOf("", R"("a":"1")", R"("cpu":"4","memory":"8Gi","pods":"11")").node, {kUpdateNodeAllocatable}},
           {"taints", nodeOf(R"("taints":[{"key":"a","effect":"NoSchedule"}])", R"("a":"1")", kBase).node, {kUpdateNodeTaint}},
           {"cordoned", nodeOf(R"("unschedulable":true)", R"("a":"1")", kBase).node, {}},
           {"condition",
            nodeOf("", R"("a":"1")", kBase, "n1", R"(,"conditions":[{"type":"Ready","status":"True"}])").node,
            {kUpdateNodeCondition}},
       })
    EXPECT_EQ(nodeUpdateActions(*base, *row.after), row.actions) << row.what;
  EXPECT_EQ(nodeUpdateActions(*nodeOf(R"("unschedulable":true)").node, *nodeOf().node),
            std::vector<ActionType>{kUpdateNodeTaint});
}

TEST(PodUpdateActions, byTable) {
  struct Row {
    const char *what, *before, *after;
    std::vector<ActionType> actions;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"nothing", "", "", {}},
           {"gates gone", R"(,"schedulingGates":[{"name":"g"}])", "", {kUpdatePodSchedulingGatesEliminated}},
           {"one gate gone", R"(,"schedulingGates":[{"name":"g"},{"name":"h"}])", R"(,"schedulingGates":[{"name":"g"}])", {}},
           {"tolerates more", "", R"(,"tolerations":[{"operator":"Exists"}])", {kUpdatePodToleration}},
           {"asks for less", R"(,"overhead":{"cpu":"2"})", R"(,"overhead":{"cpu":"1"})", {kUpdatePodScaleDown}},
           {"asks for more", R"(,"overhead":{"cpu":"1"})", R"(,"overhead":{"cpu":"2"})", {}},
       })
    EXPECT_EQ(podUpdateActions(*podOf(asking("") + row.before), *podOf(asking("") + row.after)), row.actions) << row.what;
}

// Whether an update of the node brings back a pod that it refused.
bool comesBack(const std::string& podSpec, const NodeInfo& before, const NodeInfo& after) {
  Framework framework(defaultPlugins());
  auto pod = podOf(podSpec);
  Decision decision = framework.schedulePod(*pod, cacheOf({before}), [](size_t) { return size_t{0}; });
  EXPECT_EQ(decision.node, "") << podSpec;
  for (ActionType action : nodeUpdateActions(*before.node, *after.node))
    if (framework.isWorthRequeuing(
            *pod, decision.rejectedBy,
            {.resource = EventResource::kNode, .action = action, .nodeBefore = &*before.node, .node = &*after.node}))
      return true;
  return false;
}

TEST(QueueingHints, ofNodeUpdates) {
  auto offering = [](const char* cpu, const char* memory = "8Gi") {
    return nodeOf("", "", fmt::format(R"("cpu":"{}","memory":"{}","pods":"10")", cpu, memory));
  };
  NodeInfo tainted = nodeOf(R"("taints":[{"key":"a","effect":"NoSchedule"}])"), cordoned = nodeOf(R"("unschedulable":true)");
  struct Row {
    const char* what;
    std::string pod;
    NodeInfo before, after;
    bool back;
  };
  std::string big = asking(R"("cpu":"5")"), selecting = asking("") + R"(,"nodeSelector":{"disk":"ssd"})";
  for (const Row& row : std::initializer_list<Row>{
           {"enough CPU now", big, offering("4"), offering("6"), true},
           {"more CPU, not enough", big, offering("3"), offering("4"), false},
           {"more of what it does not ask for", big, offering("4"), offering("4", "16Gi"), false},
           {"labels do not give CPU", big, offering("4"),
            nodeOf("", R"("disk":"ssd")", R"("cpu":"4","memory":"8Gi","pods":"10")"), false},
           {"the label", selecting, nodeOf(), nodeOf("", R"("disk":"ssd")"), true},
           {"another label", selecting, nodeOf(), nodeOf("", R"("disk":"hdd")"), false},
           {"room does not give a label", selecting, offering("4"), offering("6"), false},
           {"the taint goes", asking(""), tainted, nodeOf(), true},
           {"another taint comes", asking(""), tainted, nodeOf(R"("taints":[{"key":"b","effect":"NoSchedule"}])"), false},
           {"uncordoned", asking(""), cordoned, nodeOf(), true},
           {"a label on a cordoned node", asking(""), cordoned, nodeOf(R"("unschedulable":true)", R"("a":"1")"), false},
       })
    EXPECT_EQ(comesBack(row.pod, row.before, row.after), row.back) << row.what;
}

TEST(QueueingHints, ofPods) {
  Framework framework(defaultPlugins());
  constexpr const char* kPort = R"("containers":[{"name":"c","ports":[{"containerPort":80,"hostPort":80}]}])";
  NodeInfo full = nodeOf();
  full.addPod(podOf(asking(R"("cpu":"4")") + R"(,"nodeName":"n1")", "big"));
  NodeInfo taken = nodeOf();
  taken.addPod(podOf(std::string(kPort) + R"(,"nodeName":"n1")", "web"));
  auto rejectedBy = [&](const std::string& pod, const NodeInfo& node) {
    return framework.schedulePod(*podOf(pod), cacheOf({node}), [](size_t) { return size_t{0}; }).rejectedBy;
  };
  auto gone = [&](const std::string& waiting, const NodeInfo& node, const Ref<corev1::Pod>& pod) {
    return framework.isWorthRequeuing(*podOf(waiting), rejectedBy(waiting, node),
                                      {.resource = EventResource::kAssignedPod, .action = kDelete, .podBefore = &*pod});
  };
  EXPECT_TRUE(gone(asking(R"("cpu":"1")"), full, full.pods.begin()->second));
  EXPECT_FALSE(gone(asking(R"("cpu":"1")"), full, podOf(asking(""), "never-placed")));
  EXPECT_TRUE(gone(kPort, taken, taken.pods.begin()->second));
  EXPECT_FALSE(gone(kPort, taken, full.pods.begin()->second)) << "it held another port";
  EXPECT_FALSE(gone(asking("") + R"(,"nodeSelector":{"a":"b"})", full, full.pods.begin()->second)) << "no pod gives a label";

  auto was = podOf(asking(R"("cpu":"4")") + R"(,"nodeName":"n1")", "big"),
       less = podOf(asking(R"("cpu":"3")") + R"(,"nodeName":"n1")", "big");
  ClusterEvent shrunk{.resource = EventResource::kAssignedPod, .action = kUpdatePodScaleDown, .podBefore = &*was, .pod = &*less};
  EXPECT_TRUE(framework.isWorthRequeuing(*podOf(asking(R"("cpu":"1")")), rejectedBy(asking(R"("cpu":"1")"), full), shrunk));
  std::string gpu = asking(R"("example.com/gpu":"3")");
  EXPECT_FALSE(framework.isWorthRequeuing(*podOf(gpu), rejectedBy(gpu, full), shrunk)) << "it gave CPU, not what is wanted";

  // A plugin that waits for new nodes hears of changed taints too.
  auto named = podOf(asking("") + R"(,"nodeName":"n2")");
  auto n1 = nodeOf().node;
  EXPECT_TRUE(framework.isWorthRequeuing(*named, rejectedBy(asking("") + R"(,"nodeName":"n2")", nodeOf()),
                                         {.action = kUpdateNodeTaint, .nodeBefore = &*n1, .node = &*n1}));
  EXPECT_FALSE(framework.isInteresting({.action = kUpdateNodeCondition, .nodeBefore = &*n1, .node = &*n1}));
  EXPECT_FALSE(framework.isInteresting({.action = kDelete, .nodeBefore = &*n1}));
}

}  // namespace
}  // namespace knarr::scheduler
