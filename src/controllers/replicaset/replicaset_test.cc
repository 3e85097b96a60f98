// The decisions of the ReplicaSet controller, by table.
#include "controllers/replicaset/replicaset.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"

namespace knarr::controllers {
namespace {

using Pods = std::vector<Ref<corev1::Pod>>;
constexpr int64_t kNow = 1'800'000'000;

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return Mut<T>(std::move(decoded->object)).publish();
}

Ref<appsv1::ReplicaSet> replicaSet(int replicas, int minReadySeconds = 0, const std::string& status = "") {
  return fromJson<appsv1::ReplicaSet>(fmt::format(
      R"({{"metadata":{{"name":"rs","generation":3}},"spec":{{"replicas":{},"minReadySeconds":{},"template":{{"metadata":{{"labels":{{"app":"web","v":"1"}}}}}}}},"status":{{{}}}}})",
      replicas, minReadySeconds, status));
}

struct PodShape {
  std::string name;
  std::string node = "n1";
  std::string phase = "Running";
  bool ready = true;
  int64_t readySecondsAgo = 100;
  int64_t createdSecondsAgo = 200;
  int restarts = 0;
  std::string cost = "";
  bool going = false;
  std::string labels = R"("app":"web","v":"1")";
  int sidecarRestarts = 0;
};

Ref<corev1::Pod> podOf(const PodShape& shape) {
  Mut<corev1::Pod> pod = schema::edit(fromJson<corev1::Pod>(fmt::format(
      R"({{"metadata":{{"name":"{0}","uid":"{0}","namespace":"default","labels":{{{1}}}}},"spec":{{"nodeName":"{2}","initContainers":[{{"name":"side","restartPolicy":"Always"}}]}},
        "status":{{"phase":"{3}","conditions":[{{"type":"Ready","status":"{4}"}}],"containerStatuses":[{{"name":"main","restartCount":{5}}}],
        "initContainerStatuses":[{{"name":"side","restartCount":{6}}}]}}}})",
      shape.name, shape.labels, shape.node, shape.phase, shape.ready ? "True" : "False", shape.restarts, shape.sidecarRestarts)));
  pod->status.conditions[0].lastTransitionTime = schema::Time::fromUnix(kNow - shape.readySecondsAgo);
  pod->metadata.creationTimestamp = schema::Time::fromUnix(kNow - shape.createdSecondsAgo);
  if (!shape.cost.empty())
    schema::set(pod->metadata.annotations, pod.arena(), "controller.kubernetes.io/pod-deletion-cost", shape.cost);
  if (shape.going) pod->metadata.deletionTimestamp = schema::Time::fromUnix(kNow);
  return std::move(pod).publish();
}

TEST(DecideReplicas, counts) {
  struct Case {
    int wanted, have, create, remove;
  };
  for (Case c : std::initializer_list<Case>{
           {0, 0, 0, 0}, {3, 0, 3, 0}, {3, 3, 0, 0}, {1, 3, 0, 2}, {0, 2, 0, 2}, {501, 0, 500, 0}, {0, 502, 0, 500}}) {
    Pods pods;
    for (int i = 0; i < c.have; ++i) pods.push_back(podOf({.name = fmt::format("p{}", i)}));
    ReplicaSetPlan plan = decideReplicas(*replicaSet(c.wanted), pods, {}, kNow);
    EXPECT_EQ(plan.create, c.create) << c.wanted << " wanted of " << c.have;
    EXPECT_EQ(plan.remove.size(), static_cast<size_t>(c.remove)) << c.wanted << " wanted of " << c.have;
  }
}

// Each row: two pods that differ in one rule; the first is the victim, in either order of the
// input.
TEST(DecideReplicas, ranking) {
  struct Case {
    const char* rule;
    PodShape victim, survivor;
    std::map<std::string, int> related = {};
  };
  for (const Case& c : std::initializer_list<Case>{
           {"not assigned before assigned", {.name = "b", .node = ""}, {.name = "a"}},
           {"Pending before Running", {.name = "b", .phase = "Pending", .ready = false}, {.name = "a", .ready = false}},
           {"Unknown before Running", {.name = "b", .phase = "Unknown", .ready = false}, {.name = "a", .ready = false}},
           {"Pending before Unknown",
            {.name = "b", .phase = "Pending", .ready = false},
            {.name = "a", .phase = "Unknown", .ready = false}},
           {"not ready before ready", {.name = "b", .ready = false}, {.name = "a"}},
           {"assignment weighs more than cost", {.name = "b", .node = "", .cost = "100"}, {.name = "a", .cost = "-5"}},
           {"lower cost", {.name = "b", .cost = "-10"}, {.name = "a"}},
           {"a malformed cost is none", {.name = "a", .cost = "x"}, {.name = "b", .cost = "1"}},
           {"cost weighs more than doubling up",
            {.name = "b", .node = "n1", .cost = "1"},
            {.name = "a", .node = "n2", .cost = "2"},
            {{"n1", 1}, {"n2", 5}}},
           {"the fuller node", {.name = "b", .node = "n2"}, {.name = "a", .node = "n1"}, {{"n1", 1}, {"n2", 2}}},
           {"ready for a shorter time", {.name = "b", .readySecondsAgo = 10}, {.name = "a", .readySecondsAgo = 1000}},
           {"times alike are decided by uid", {.name = "a", .readySecondsAgo = 1000}, {.name = "b", .readySecondsAgo = 990}},
           {"more restarts", {.name = "b", .restarts = 2}, {.name = "a", .restarts = 1}},
           {"more restarts of sidecars", {.name = "b", .sidecarRestarts = 2}, {.name = "a"}},
           {"newer", {.name = "b", .createdSecondsAgo = 10}, {.name = "a", .createdSecondsAgo = 1000}},
           {"the smaller uid", {.name = "a"}, {.name = "b"}},
       }) {
    Ref<corev1::Pod> victim = podOf(c.victim), survivor = podOf(c.survivor);
    for (const Pods& pods : {Pods{victim, survivor}, Pods{survivor, victim}}) {
      ReplicaSetPlan plan = decideReplicas(*replicaSet(1), pods, c.related, kNow);
      ASSERT_EQ(plan.remove.size(), 1u) << c.rule;
      EXPECT_EQ(plan.remove[0]->metadata.name, c.victim.name) << c.rule;
    }
  }
}

// Ready ages that are equal go on to restarts, like ones end at the uid: three pods can beat each
// other in a circle.
TEST(DecideReplicas, bearsRulesThatAreNotTransitive) {
  Pods pods;
  for (int i = 0; i < 60; ++i)
    pods.push_back(podOf({.name = fmt::format("p{:02}", (i * 37) % 60), .readySecondsAgo = 1000 + i % 2, .restarts = i % 3}));
  ReplicaSetPlan plan = decideReplicas(*replicaSet(20), pods, {}, kNow);
  std::set<std::string> names;
  for (const auto& pod : plan.remove) names.emplace(pod->metadata.name);
  EXPECT_EQ(names.size(), 40u);
}

TEST(CalculateStatus, counts) {
  Pods claimed = {podOf({.name = "ready"}),
                  podOf({.name = "young", .readySecondsAgo = 5}),
                  podOf({.name = "starting", .phase = "Pending", .ready = false}),
                  podOf({.name = "unlabelled", .labels = R"("app":"web")"}),
                  podOf({.name = "going", .going = true}),
                  podOf({.name = "done", .phase = "Succeeded", .ready = false}),
                  podOf({.name = "doneAndGoing", .phase = "Failed", .ready = false, .going = true})};
  auto next = calculateStatus(replicaSet(5, 30), claimed, "", "", kNow);
  EXPECT_EQ(next->status.replicas, 4);
  EXPECT_EQ(next->status.fullyLabeledReplicas, 3);
  EXPECT_EQ(next->status.readyReplicas, 3);
  EXPECT_EQ(next->status.availableReplicas, 2);
  EXPECT_EQ(next->status.terminatingReplicas.valueOr(-1), 1);
  EXPECT_EQ(next->status.observedGeneration, 3);
  EXPECT_TRUE(next->status.conditions.empty());
}

TEST(CalculateStatus, failureCondition) {
  auto failed = calculateStatus(replicaSet(5), {}, "FailedCreate", "no quota", kNow);
  ASSERT_EQ(failed->status.conditions.size(), 1u);
  EXPECT_EQ(failed->status.conditions[0].type, "ReplicaFailure");
  EXPECT_EQ(failed->status.conditions[0].reason, "FailedCreate");
  EXPECT_EQ(failed->status.conditions[0].message, "no quota");
  Ref<appsv1::ReplicaSet> before = std::move(failed).publish();
  auto still = calculateStatus(before, {}, "FailedCreate", "another", kNow + 9);
  ASSERT_EQ(still->status.conditions.size(), 1u);
  EXPECT_EQ(still->status.conditions[0].message, "no quota") << "the first failure stays";
  auto well = calculateStatus(before, {}, "FailedCreate", "", kNow + 9);
  EXPECT_TRUE(well->status.conditions.empty());
}

TEST(SecondsUntilAvailable, isTheSoonestOfThoseThatWait) {
  auto rs = replicaSet(3, 30);
  auto ready = [](int secondsAgo) { return podOf({.name = "p", .readySecondsAgo = secondsAgo}); };
  EXPECT_EQ(secondsUntilAvailable(*rs, {ready(10), ready(25), ready(40)}, kNow), 5);
  EXPECT_EQ(secondsUntilAvailable(*rs, {ready(40), podOf({.name = "q", .ready = false})}, kNow), 30);
  EXPECT_EQ(secondsUntilAvailable(*rs, {ready(30), ready(29)}, kNow), 1);
}

}  // namespace
}  // namespace knarr::controllers
