// Filters, scores, requests and the queue, by table.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "env/sim/sim.h"
#include "scheduler/scheduler_fixture.h"
#include "scheduler/scheduling_queue.h"

namespace knarr::scheduler {
namespace {

using namespace std::chrono_literals;

TEST(PodRequests, byTable) {
  auto container = [](const char* name, const char* cpu, const char* memory, bool sidecar = false) {
    return fmt::format(R"({{"name":"{}",{}"resources":{{"requests":{{"cpu":"{}","memory":"{}"}}}}}})", name,
                       sidecar ? R"("restartPolicy":"Always",)" : "", cpu, memory);
  };
  auto spec = [](std::string init, std::string main, std::string more = "") {
    return fmt::format(R"("initContainers":[{}],"containers":[{}]{})", init, main, more);
  };
  struct Row {
    const char* what;
    std::string spec;
    int64_t cpuMilli, mebibytes;
  };
  for (const Row& c : std::initializer_list<Row>{
           {"a sum", spec("", container("a", "100m", "10Mi") + "," + container("b", "1", "1Gi")), 1100, 1034},
           {"nothing", R"("containers":[{"name":"a"}])", 0, 0},
           {"thousandths round up", spec("", container("a", "1m", "1Mi") + "," + container("b", "0.0001", "1Mi")), 2, 2},
           {"the largest init container",
            spec(container("i", "2", "5Mi") + "," + container("j", "1", "500Mi"), container("a", "500m", "100Mi")), 2000, 500},
           {"init containers below the sum", spec(container("i", "100m", "5Mi"), container("a", "500m", "100Mi")), 500, 100},
           {"a sidecar runs with the containers", spec(container("s", "200m", "20Mi", true), container("a", "500m", "100Mi")),
            700, 120},
           {"an init container beside an earlier sidecar",
            spec(container("s", "200m", "20Mi", true) + "," + container("i", "2", "10Mi"), container("a", "500m", "100Mi")), 2200,
            120},
           {"an init container before the sidecar",
            spec(container("i", "2", "10Mi") + "," + container("s", "200m", "20Mi", true), container("a", "500m", "100Mi")), 2000,
            120},
           {"overhead", spec("", container("a", "500m", "100Mi"), R"(,"overhead":{"cpu":"10m","memory":"1Mi"})"), 510, 101},
           {"the pod's own word", spec("", container("a", "500m", "100Mi"), R"(,"resources":{"requests":{"cpu":"3"}})"), 3000,
            100},
       }) {
    Resources requests = podRequests(*podOf(c.spec));
    EXPECT_EQ(requests.cpuMilli, c.cpuMilli) << c.what;
    EXPECT_EQ(requests.memoryBytes, c.mebibytes << 20) << c.what;
  }
  Resources nonZero = podRequestsNonZero(
      *podOf(R"("containers":[{"name":"a"},{"name":"b","resources":{"requests":{"cpu":"0","memory":"1Mi"}}}])"));
  EXPECT_EQ(nonZero.cpuMilli, 100);
  EXPECT_EQ(nonZero.memoryBytes, int64_t{201} << 20);
}

TEST(FilterNode, byTable) {
  using Reasons = std::vector<std::string>;
  struct Case {
    const char* what;
    std::string pod;
    NodeInfo node;
    Reasons reasons;
    bool unresolvable = false;
  };
  auto selector = [](const char* expressions) {
    return fmt::format(
        R"({},"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{}]}}}}}})",
        asking(""), expressions);
  };
  constexpr const char* kAffinity = "node(s) didn't match Pod's node affinity/selector";
  constexpr const char* kTaint = "node(s) had untolerated taint(s)";
  constexpr const char* kLabels = R"("disk":"ssd","cores":"8")";
  for (
      const Case& c : std::initializer_list<Case>{
          {"fits", asking(R"("cpu":"4","memory":"8Gi")"), nodeOf(), {}},
          {"too much of one", asking(R"("cpu":"4001m")"), nodeOf(), {"Insufficient cpu"}, true},
          {"of everything",
           asking(R"("cpu":"5","memory":"9Gi","ephemeral-storage":"11Gi","example.com/gpu":"3")"),
           nodeOf(),
           {"Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage", "Insufficient example.com/gpu"},
           true},
          {"of something the node does not have",
           asking(R"("example.com/fpga":"1")"),
           nodeOf(),
           {"Insufficient example.com/fpga"},
           true},
          {"cordoned", asking(""), nodeOf(R"("unschedulable":true)"), {"node(s) were unschedulable"}, true},
          {"cordoned, tolerated",
           asking("") + R"(,"tolerations":[{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}])",
           nodeOf(R"("unschedulable":true)"),
           {}},
          {"another node's name",
           asking("") + R"(,"nodeName":"n2")",
           nodeOf(),
           {"node(s) didn't match the requested node name"},
           true},
          {"taint", asking(""), nodeOf(R"("taints":[{"key":"a","effect":"NoSchedule"}])"), {kTaint}, true},
          {"taint that evicts", asking(""), nodeOf(R"("taints":[{"key":"a","effect":"NoExecute"}])"), {kTaint}, true},
          {"taint that only discourages", asking(""), nodeOf(R"("taints":[{"key":"a","effect":"PreferNoSchedule"}])"), {}},
          {"tolerated",
           asking("") + R"(,"tolerations":[{"key":"a","value":"1"}])",
           nodeOf(R"("taints":[{"key":"a","value":"1","effect":"NoSchedule"}])"),
           {}},
          {"one of two tolerated",
           asking("") + R"(,"tolerations":[{"key":"a","operator":"Exists"}])",
           nodeOf(R"("taints":[{"key":"a","effect":"NoSchedule"},{"key":"b","effect":"NoSchedule"}])"),
           {kTaint},
           true},
          {"selector", asking("") + R"(,"nodeSelector":{"disk":"ssd"})", nodeOf("", kLabels), {}},
          {"selector, other value", asking("") + R"(,"nodeSelector":{"disk":"hdd"})", nodeOf("", kLabels), {kAffinity}, true},
          {"In",
           selector(R"({"matchExpressions":[{"key":"disk","operator":"In","values":["hdd","ssd"]}]})"),
           nodeOf("", kLabels),
           {}},
          {"NotIn",
           selector(R"({"matchExpressions":[{"key":"disk","operator":"NotIn","values":["ssd"]}]})"),
           nodeOf("", kLabels),
           {kAffinity},
           true},
          {"NotIn without the label",
           selector(R"({"matchExpressions":[{"key":"zone","operator":"NotIn","values":["a"]}]})"),
           nodeOf("", kLabels),
           {}},
          {"Exists",
           selector(R"({"matchExpressions":[{"key":"zone","operator":"Exists"}]})"),
           nodeOf("", kLabels),
           {kAffinity},
           true},
          {"DoesNotExist",
           selector(R"({"matchExpressions":[{"key":"zone","operator":"DoesNotExist"}]})"),
           nodeOf("", kLabels),
           {}},
          {"Gt", selector(R"({"matchExpressions":[{"key":"cores","operator":"Gt","values":["7"]}]})"), nodeOf("", kLabels), {}},
          {"Lt",
           selector(R"({"matchExpressions":[{"key":"cores","operator":"Lt","values":["8"]}]})"),
           nodeOf("", kLabels),
           {kAffinity},
           true},
          {"Gt of no number",
           selector(R"({"matchExpressions":[{"key":"disk","operator":"Gt","values":["7"]}]})"),
           nodeOf("", kLabels),
           {kAffinity},
           true},
          {"terms are alternatives",
           selector(
               R"({"matchExpressions":[{"key":"zone","operator":"Exists"}]},{"matchExpressions":[{"key":"disk","operator":"Exists"}]})"),
           nodeOf("", kLabels),
           {}},
          {"an empty term matches nothing", selector("{}"), nodeOf("", kLabels), {kAffinity}, true},
          {"by name", selector(R"({"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]})"), nodeOf(), {}},
          {"by another name",
           selector(R"({"matchFields":[{"key":"metadata.name","operator":"In","values":["n2"]}]})"),
           nodeOf(),
           {kAffinity},
           true},
      }) {
    FilterResult result = filterNode(*podOf(c.pod), c.node);
    EXPECT_EQ(result.reasons, c.reasons) << c.what;
    EXPECT_EQ(result.unresolvable, c.unresolvable) << c.what;
  }
}

TEST(FilterNode, countsWhatIsThere) {
  NodeInfo node = nodeOf();
  node.addPod(podOf(asking(R"("cpu":"3")") + R"(,"nodeName":"n1")", "big"));
  EXPECT_TRUE(filterNode(*podOf(asking(R"("cpu":"1")")), node).reasons.empty());
  FilterResult full = filterNode(*podOf(asking(R"("cpu":"1001m")")), node);
  EXPECT_EQ(full.reasons, std::vector<std::string>{"Insufficient cpu"});
  EXPECT_FALSE(full.unresolvable) << "taking the other pod away would help";
  node.addPod(podOf(asking(R"("cpu":"2")"), "big"));
  EXPECT_EQ(node.requested.cpuMilli, 2000) << "the same pod again replaces itself";
  for (int i = 0; i < 9; ++i) node.addPod(podOf(asking(""), fmt::format("p{}", i)));
  EXPECT_EQ(filterNode(*podOf(asking("")), node).reasons, std::vector<std::string>{"Too many pods"});
  node.removePod("big");
  node.removePod("big");
  EXPECT_EQ(node.requested.cpuMilli, 0);
  EXPECT_TRUE(filterNode(*podOf(asking("")), node).reasons.empty());
}

TEST(FilterNode, hostPorts) {
  auto with = [](const char* port) {
    return fmt::format(R"("containers":[{{"name":"c","ports":[{{"containerPort":80,{}}}]}}])", port);
  };
  struct Case {
    const char *there, *wanted;
    bool fits;
  };
  for (Case c :
       std::initializer_list<Case>{{R"("hostPort":80)", R"("hostPort":80)", false},
                                   {R"("hostPort":80)", R"("hostPort":81)", true},
                                   {R"("hostPort":80)", R"("hostPort":80,"protocol":"UDP")", true},
                                   {R"("hostPort":80,"hostIP":"10.0.0.1")", R"("hostPort":80,"hostIP":"10.0.0.2")", true},
                                   {R"("hostPort":80,"hostIP":"10.0.0.1")", R"("hostPort":80,"hostIP":"0.0.0.0")", false},
                                   {R"("hostPort":80,"hostIP":"10.0.0.1")", R"("hostPort":80)", false},
                                   {R"("protocol":"TCP")", R"("protocol":"TCP")", true}}) {
    NodeInfo node = nodeOf();
    node.addPod(podOf(with(c.there), "there"));
    EXPECT_EQ(filterNode(*podOf(with(c.wanted)), node).reasons.empty(), c.fits) << c.there << " " << c.wanted;
  }
  NodeInfo node = nodeOf();
  node.addPod(podOf(
      R"("containers":[{"name":"c"}],"initContainers":[{"name":"s","restartPolicy":"Always","ports":[{"containerPort":1,"hostPort":80}]}])",
      "there"));
  EXPECT_FALSE(filterNode(*podOf(with(R"("hostPort":80)")), node).reasons.empty()) << "a sidecar holds its port";
}

TEST(SchedulePod, prefers) {
  constexpr const char* kSame = R"("cpu":"4","memory":"8Gi","pods":"10")";
  NodeInfo n1 = nodeOf("", R"("zone":"a")", kSame, "n1"), n2 = nodeOf("", R"("zone":"b")", kSame, "n2");
  std::string small = asking(R"("cpu":"500m","memory":"1Gi")");
  NodeInfo busy = n1;
  busy.addPod(podOf(asking(R"("cpu":"2","memory":"4Gi")"), "other"));
  EXPECT_EQ(decide(small, {busy, n2}).node, "n2") << "the emptier node";
  EXPECT_EQ(decide(small, {n1, n2}).node, "n1") << "equal ones: what the tie break says";
  auto preferring =
      small +
      R"(,"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":10,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["b"]}]}}]}})";
  EXPECT_EQ(decide(preferring, {n1, n2}).node, "n2");
  NodeInfo discouraged = nodeOf(R"("taints":[{"key":"a","effect":"PreferNoSchedule"}])", "", kSame, "n1");
  EXPECT_EQ(decide(small, {discouraged, n2}).node, "n2");
  NodeInfo withImage = nodeOf("", "", kSame, "n2", R"(,"images":[{"names":["big:1"],"sizeBytes":900000000}])");
  EXPECT_EQ(decide(R"("containers":[{"name":"c","image":"big:1"}])", {n1, withImage}).node, "n2");
  NodeInfo cpuHeavy = n1, memoryHeavy = n2;
  cpuHeavy.addPod(podOf(asking(R"("cpu":"2","memory":"1Gi")"), "x"));
  memoryHeavy.addPod(podOf(asking(R"("cpu":"500m","memory":"4Gi")"), "y"));
  EXPECT_EQ(decide(asking(R"("cpu":"100m","memory":"2Gi")"), {cpuHeavy, memoryHeavy}).node, "n1")
      << "memory goes where CPU is taken";
}

TEST(SchedulePod, saysWhyNot) {
  EXPECT_EQ(decide(asking(""), {}).message, "no nodes available to schedule pods");
  NodeInfo n1 = nodeOf(), n2 = nodeOf("", "", R"("cpu":"1","memory":"1Gi","pods":"10")", "n2"),
           n3 = nodeOf(R"("taints":[{"key":"a","effect":"NoSchedule"}])", "", R"("cpu":"64","memory":"64Gi","pods":"10")", "n3");
  EXPECT_EQ(decide(asking(R"("cpu":"8","memory":"2Gi")"), {n1, n2, n3}).message,
            "0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), 2 "
            "Insufficient cpu.");
  Cache cache;
  cache.addPod(podOf(asking("")), "gone");
  Framework framework(defaultPlugins());
  EXPECT_EQ(framework.schedulePod(*podOf(asking("")), cache, [](size_t) { return size_t{0}; }).message,
            "no nodes available to schedule pods");
}

class QueueTest : public ::testing::Test {
 protected:
  QueueTest() : sim_(3), queue_(sim_.env(), framework_.queueSort(), 1s, 10s), gate_(sim_.env().executor) {
    gate_.spawn(collect(&queue_, &popped_));
  }
  ~QueueTest() override {
    queue_.close();
    EXPECT_TRUE(sim_.runUntil([&] { return gate_.running() == 0; }, 1s));
  }
  static async::Task<void> collect(SchedulingQueue* queue, std::vector<std::string>* into) {
    for (;;) {
      auto key = co_await queue->pop();
      if (!key) co_return;
      into->push_back(*key);
    }
  }
  std::vector<std::string> take(env::Duration after = 1ms) {
    sim_.runFor(after);
    return std::exchange(popped_, {});
  }
  using Keys = std::vector<std::string>;
  Framework framework_{defaultPlugins()};
  env::SimEnv sim_;
  SchedulingQueue queue_;
  std::vector<std::string> popped_;
  async::Gate gate_;
};

TEST_F(QueueTest, priorityThenOrder) {
  queue_.add("b", 0);
  queue_.add("a", 0);
  queue_.add("high", 10);
  queue_.add("low", -1);
  queue_.add("b", 0);
  EXPECT_EQ(take(), (Keys{"high", "b", "a", "low"}));
}

TEST_F(QueueTest, backOffDoubles) {
  int64_t expected[] = {1, 2, 4, 8, 10, 10};
  for (int64_t seconds : expected) {
    queue_.addBackOff("p", 0);
    EXPECT_EQ(take(std::chrono::seconds(seconds) - 100ms), Keys{}) << seconds;
    EXPECT_EQ(take(200ms), Keys{"p"}) << seconds;
  }
  queue_.remove("p");
  queue_.addBackOff("p", 0);
  EXPECT_EQ(take(1100ms), Keys{"p"}) << "a pod of that name that comes later starts anew";
}

constexpr PluginSet kRefused = 1 << 3;
bool always(const std::string&, PluginSet) { return true; }

TEST_F(QueueTest, refusedWaitsForAnEventThatHelps) {
  queue_.addUnschedulable("p", 0, kRefused);
  EXPECT_EQ(take(2min), Keys{});
  queue_.moveIf([](const std::string& key, PluginSet by) { return key == "p" && by != kRefused; });
  EXPECT_EQ(take(), Keys{}) << "no plugin hopes for it";
  queue_.moveIf(always);
  EXPECT_EQ(take(), Keys{"p"}) << "its back-off is long over";
  queue_.addUnschedulable("p", 0, kRefused);
  EXPECT_EQ(take(4min), Keys{});
  EXPECT_EQ(take(70s), Keys{"p"}) << "after five minutes it is tried anyway";
}

TEST_F(QueueTest, backOffIsCutShortWhenIdle) {
  queue_.addUnschedulable("p", 0, kRefused);
  queue_.addUnschedulable("failed", 0, 0);
  queue_.moveIf(always);
  queue_.add("new", 0);
  EXPECT_EQ(take(), (Keys{"new", "p"})) << "active pods first; a failed attempt is not a refusal";
  EXPECT_EQ(take(1100ms), Keys{"failed"});
}

TEST_F(QueueTest, removalAndPlaces) {
  queue_.addBackOff("gone", 0);
  queue_.addUnschedulable("also", 0, kRefused);
  queue_.remove("gone");
  queue_.remove("also");
  queue_.remove("never");
  queue_.moveIf(always);
  EXPECT_EQ(take(10min), Keys{});
  queue_.addUnschedulable("p", 0, kRefused);
  EXPECT_TRUE(queue_.contains("p"));
  queue_.add("p", 0);
  EXPECT_EQ(take(), Keys{}) << "it stays where it is";
  queue_.moveIf("q", always);
  queue_.moveIf("p", always);
  EXPECT_EQ(take(), Keys{"p"});
  EXPECT_FALSE(queue_.contains("p"));
}

TEST(Search, looksAtAPartOfManyNodes) {
  struct Row {
    size_t nodes, enough;
  };
  for (Row row : {Row{1, 1}, Row{99, 99}, Row{100, 100}, Row{1000, 420}, Row{5000, 500}, Row{6000, 300}, Row{20000, 1000}})
    EXPECT_EQ(feasibleNodesToFind(row.nodes), row.enough) << row.nodes;
  std::vector<NodeInfo> list;
  for (int i = 0; i < 250; ++i)
    list.push_back(nodeOf("", "", R"("cpu":"4","memory":"8Gi","pods":"10")", fmt::format("n{:03}", i)));
  Cache cache = cacheOf(list);
  Framework framework(defaultPlugins());
  std::vector<size_t> equals;
  auto first = [&](size_t n) {
    equals.push_back(n);
    return size_t{0};
  };
  std::vector<std::string> chosen;
  for (int i = 0; i < 3; ++i) chosen.push_back(framework.schedulePod(*podOf(asking(R"("cpu":"1")")), cache, first).node);
  EXPECT_EQ(equals, (std::vector<size_t>{120, 120, 120})) << "48 of a hundred";
  EXPECT_EQ(chosen, (std::vector<std::string>{"n000", "n120", "n240"})) << "each search goes on where the former ended";
}

TEST(Cache, countsImagesAndRoom) {
  Cache cache;
  auto with = [](const char* name, const char* image) {
    return nodeOf("", "", R"("cpu":"4")", name, fmt::format(R"(,"images":[{{"names":["{}"],"sizeBytes":7}}])", image)).node;
  };
  cache.setNode(with("a", "x:1"));
  cache.setNode(with("b", "x:1"));
  EXPECT_EQ(cache.nodesWithImage("x:1"), 2);
  EXPECT_EQ(cache.nodes().find("a")->second.imageBytes("x:1"), 7);
  cache.setNode(with("a", "y:1"));
  EXPECT_EQ(cache.nodesWithImage("x:1"), 1);
  cache.addPod(podOf(asking(R"("cpu":"1")")), "a");
  cache.addPod(podOf(asking(R"("cpu":"1")")), "b");
  EXPECT_EQ(cache.nodes().find("a")->second.requested.cpuMilli, 0) << "a pod is on one node";
  EXPECT_EQ(cache.nodes().find("b")->second.requested.cpuMilli, 1000);
  cache.removeNode("b");
  EXPECT_EQ(cache.nodeCount(), 1u);
  EXPECT_EQ(cache.nodesWithImage("x:1"), 0);
  EXPECT_NE(cache.findPod("p"), nullptr) << "its pods are still known";
  EXPECT_TRUE(cache.removePod("p"));
  EXPECT_FALSE(cache.removePod("p"));
  EXPECT_EQ(cache.nodes().size(), 1u);
}

}  // namespace
}  // namespace knarr::scheduler
