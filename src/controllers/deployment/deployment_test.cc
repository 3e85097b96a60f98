// The decisions of the Deployment controller, by table.
#include "controllers/deployment/deployment.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"

namespace knarr::controllers {
namespace {

using appsv1::Deployment;
using appsv1::ReplicaSet;
constexpr int64_t kNow = 1'800'000'000;

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return Mut<T>(std::move(decoded->object)).publish();
}

std::string templateOf(const std::string& image, const std::string& extraLabels = "") {
  return fmt::format(R"({{"metadata":{{"labels":{{"app":"web"{}}}}},"spec":{{"containers":[{{"name":"main","image":"{}"}}]}}}})",
                     extraLabels, image);
}

struct DeploymentShape {
  int replicas = 10;
  std::string surge = "0", unavailable = "0";
  std::string type = "RollingUpdate";
  std::string image = "v2";
  std::string extra = "";   // more of the spec
  std::string status = "";  // the inside of the status
};
Ref<Deployment> deploymentOf(const DeploymentShape& shape) {
  return fromJson<Deployment>(fmt::format(
      R"({{"metadata":{{"name":"web","namespace":"default","uid":"d","generation":2}},"spec":{{"replicas":{},"strategy":{{"type":"{}","rollingUpdate":{{"maxSurge":{},"maxUnavailable":{}}}}},"template":{}{}}},"status":{{{}}}}})",
      shape.replicas, shape.type, shape.surge, shape.unavailable, templateOf(shape.image), shape.extra, shape.status));
}

struct SetShape {
  std::string name;
  int spec = 0;
  int available = 0;
  std::string image = "v1";
  int created = 0;  // seconds
  std::string annotations = "";
  int status = -1;  // status.replicas, spec when negative
  std::string metadata = "";
  int ready = -1;  // available when negative
};
Ref<ReplicaSet> setOf(const SetShape& shape) {
  Mut<ReplicaSet> rs = schema::edit(fromJson<ReplicaSet>(fmt::format(
      R"({{"metadata":{{"name":"{0}","namespace":"default","uid":"{0}","annotations":{{{1}}}{2}}},"spec":{{"replicas":{3},"template":{4}}},"status":{{"replicas":{5},"availableReplicas":{6},"readyReplicas":{7}}}}})",
      shape.name, shape.annotations, shape.metadata, shape.spec,
      templateOf(shape.image, fmt::format(R"(,"pod-template-hash":"{}")", shape.name)),
      shape.status < 0 ? shape.spec : shape.status, shape.available, shape.ready < 0 ? shape.available : shape.ready)));
  rs->metadata.creationTimestamp = schema::Time::fromUnix(kNow - 1000 + shape.created);
  return std::move(rs).publish();
}

std::map<std::string, int> sizesOf(const std::vector<ScaleStep>& steps) {
  std::map<std::string, int> sizes;
  for (const ScaleStep& step : steps) sizes[std::string(step.replicaSet->metadata.name)] = step.replicas;
  return sizes;
}
using Sizes = std::map<std::string, int>;

TEST(RollingBounds, rounding) {
  struct Case {
    int replicas;
    const char *surge, *unavailable;
    int wantSurge, wantUnavailable;
  };
  for (Case c : std::initializer_list<Case>{{10, "\"25%\"", "\"25%\"", 3, 2},
                                            {4, "\"25%\"", "\"25%\"", 1, 1},
                                            {1, "\"25%\"", "\"25%\"", 1, 0},
                                            {10, "2", "3", 2, 3},
                                            {10, "0", "0", 0, 1},
                                            {3, "0", "\"10%\"", 0, 1},
                                            {2, "0", "5", 0, 2},
                                            {0, "\"25%\"", "\"25%\"", 0, 0},
                                            {0, "2", "2", 2, 0},
                                            {10, "\"junk\"", "1", 0, 1},
                                            {10, "\"100%\"", "\"100%\"", 10, 10}}) {
    auto bounds = rollingBounds(*deploymentOf({.replicas = c.replicas, .surge = c.surge, .unavailable = c.unavailable}));
    EXPECT_EQ(bounds.surge, c.wantSurge) << c.replicas << " " << c.surge << " " << c.unavailable;
    EXPECT_EQ(bounds.unavailable, c.wantUnavailable) << c.replicas << " " << c.surge << " " << c.unavailable;
  }
  auto recreate = rollingBounds(*deploymentOf({.surge = "3", .unavailable = "3", .type = "Recreate"}));
  EXPECT_EQ(recreate.surge, 0);
  EXPECT_EQ(recreate.unavailable, 0);
}

TEST(RollingStep, byTable) {
  struct Case {
    const char* what;
    int replicas;
    const char *surge, *unavailable;
    std::vector<SetShape> old;
    std::optional<SetShape> fresh;
    Sizes steps;
  };
  auto fresh = [](int spec, int available) {
    return SetShape{.name = "new", .spec = spec, .available = available, .image = "v2", .created = 100};
  };
  for (const Case& c : std::initializer_list<Case>{
           {"nothing yet, first size", 10, "2", "0", {}, fresh(0, 0), {{"new", 10}}},
           {"room by surge only", 10, "2", "0", {{"old", 10, 10}}, fresh(0, 0), {{"new", 2}}},
           {"surge used up, nothing available yet", 10, "2", "0", {{"old", 10, 10}}, fresh(2, 0), {}},
           {"one became available", 10, "2", "0", {{"old", 10, 10}}, fresh(2, 1), {{"old", 9}}},
           {"old shrank, the new grows first", 10, "2", "0", {{"old", 8, 8}}, fresh(2, 2), {{"new", 4}}},
           {"unavailable allows shrinking first", 10, "0", "3", {{"old", 10, 10}}, fresh(0, 0), {{"old", 7}}},
           {"surge is not borrowed from the fencepost", 10, "0", "0", {{"old", 10, 10}}, fresh(0, 0), {{"old", 9}}},
           {"then the new one grows into the hole", 10, "0", "3", {{"old", 7, 7}}, fresh(0, 0), {{"new", 3}}},
           {"new pods not available hold the old ones", 10, "0", "3", {{"old", 7, 7}}, fresh(3, 0), {}},
           {"broken old pods go first", 10, "2", "2", {{"old", 10, 4}}, fresh(2, 0), {{"old", 8}}},
           {"all old ones broken", 4, "1", "1", {{"old", 4, 0}}, fresh(1, 1), {{"old", 2}}},
           {"older set first", 10, "0", "2", {{"b", 5, 5, "v1", 20}, {"a", 5, 5, "v0", 10}}, fresh(0, 0), {{"a", 3}}},
           {"broken ones first, then by age",
            10,
            "0",
            "4",
            {{"a", 5, 5, "v0", 10}, {"b", 5, 3, "v1", 20}},
            fresh(0, 0),
            {{"a", 3}, {"b", 3}}},
           {"scaled-down deployment shrinks the new set", 3, "1", "1", {}, fresh(5, 5), {{"new", 3}}},
           {"complete", 10, "2", "2", {{"old", 0, 0}}, fresh(10, 10), {}},
           {"a percentage", 10, "\"25%\"", "\"25%\"", {{"old", 10, 10}}, fresh(0, 0), {{"new", 3}}},
           {"no more than wanted", 3, "10", "0", {{"old", 3, 3}}, fresh(0, 0), {{"new", 3}}},
           {"pods on their way out are not spent twice", 6, "2", "1", {{"old", 5, 6}}, fresh(3, 3), {{"old", 2}}},
           {"no new set at all", 4, "1", "1", {{"old", 4, 4}}, std::nullopt, {{"old", 3}}},
       }) {
    ReplicaSets all;
    for (const SetShape& shape : c.old) all.push_back(setOf(shape));
    Ref<ReplicaSet> newSet;
    if (c.fresh) {
      newSet = setOf(*c.fresh);
      all.push_back(newSet);
    }
    auto d = deploymentOf({.replicas = c.replicas, .surge = c.surge, .unavailable = c.unavailable});
    EXPECT_EQ(sizesOf(decideRollingStep(*d, all, newSet)), c.steps) << c.what;
  }
}

// Rolls out with pods that become available at once, or one at a time, and holds both bounds at
// every step.
TEST(RollingStep, endsAndKeepsItsBounds) {
  for (int replicas : {1, 2, 5, 10, 33})
    for (const char* surge : {"0", "1", "3", "\"25%\"", "\"100%\""})
      for (const char* unavailable : {"0", "1", "3", "\"25%\"", "\"100%\""})
        for (bool slow : {false, true}) {
          auto d = deploymentOf({.replicas = replicas, .surge = surge, .unavailable = unavailable});
          RollingBounds bounds = rollingBounds(*d);
          SetShape old{.name = "old", .spec = replicas, .available = replicas}, fresh{.name = "new", .image = "v2", .created = 9};
          std::string what = fmt::format("{} replicas, surge {}, unavailable {}, slow {}", replicas, surge, unavailable, slow);
          bool done = false;
          for (int round = 0; round < 300 && !done; ++round) {
            Ref<ReplicaSet> oldSet = setOf(old), newSet = setOf(fresh);
            auto sizes = sizesOf(decideRollingStep(*d, {oldSet, newSet}, newSet));
            if (sizes.contains("old")) old.spec = sizes["old"];
            if (sizes.contains("new")) fresh.spec = sizes["new"];
            ASSERT_LE(old.spec + fresh.spec, replicas + bounds.surge) << what;
            old.available = std::min(old.available, old.spec);
            fresh.available = std::min(fresh.available, fresh.spec);
            ASSERT_GE(old.available + fresh.available, replicas - bounds.unavailable) << what;
            if (fresh.available < fresh.spec) fresh.available = slow ? fresh.available + 1 : fresh.spec;
            done = old.spec == 0 && fresh.available == replicas;
          }
          EXPECT_TRUE(done) << what;
        }
}

std::string scaledFor(int desired, int most) {
  return fmt::format(R"("deployment.kubernetes.io/desired-replicas":"{}","deployment.kubernetes.io/max-replicas":"{}")", desired,
                     most);
}

TEST(ScalingEvent, isAChangeOfWhatWasDesired) {
  auto d = deploymentOf({.replicas = 10});
  EXPECT_FALSE(isScalingEvent(*d, {setOf({.name = "a", .spec = 5, .annotations = scaledFor(10, 12)})}));
  EXPECT_TRUE(isScalingEvent(*d, {setOf({.name = "a", .spec = 5, .annotations = scaledFor(5, 7)})}));
  EXPECT_FALSE(isScalingEvent(*d, {setOf({.name = "a", .spec = 0, .annotations = scaledFor(5, 7)})}))
      << "an empty one does not count";
  EXPECT_FALSE(isScalingEvent(*d, {setOf({.name = "a", .spec = 5})}));
  EXPECT_FALSE(
      isScalingEvent(*d, {setOf({.name = "a", .spec = 5, .annotations = R"("deployment.kubernetes.io/desired-replicas":"x")"})}));
}

TEST(ProportionalScale, byTable) {
  struct Case {
    const char* what;
    int replicas;
    const char* surge;
    std::vector<SetShape> sets;  // the one named "new" is the new one
    Sizes sizes;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"one active set takes all", 10, "2", {{.name = "new", .spec = 5}}, {{"new", 10}}},
           {"one active set of the right size", 5, "2", {{.name = "new", .spec = 5}}, {}},
           {"the active one is old", 7, "2", {{.name = "old", .spec = 5}, {.name = "new", .spec = 0}}, {{"old", 7}}},
           {"none active: the new one", 7, "2", {{.name = "old", .spec = 0}, {.name = "new", .spec = 0}}, {{"new", 7}}},
           {"none active, none new: the newest", 7, "2", {{.name = "b", .created = 9}, {.name = "a", .created = 3}}, {{"b", 7}}},
           // 5+10+5 of 20 + 0 to 30: shares of one and a half.
           {"shares",
            30,
            "0",
            {{.name = "a", .spec = 5, .created = 1, .annotations = scaledFor(20, 20)},
             {.name = "b", .spec = 10, .created = 2, .annotations = scaledFor(20, 20)},
             {.name = "new", .spec = 5, .created = 3, .annotations = scaledFor(20, 20)}},
            {{"a", 7}, {"b", 15}, {"new", 8}}},
           {"down to nothing",
            0,
            "0",
            {{.name = "a", .spec = 5, .annotations = scaledFor(10, 10)},
             {.name = "new", .spec = 5, .annotations = scaledFor(10, 10)}},
            {{"a", 0}, {"new", 0}}},
           {"the surge takes part",
            20,
            "5",
            {{.name = "a", .spec = 10, .created = 1, .annotations = scaledFor(10, 15)},
             {.name = "new", .spec = 5, .created = 2, .annotations = scaledFor(10, 15)}},
            {{"a", 17}, {"new", 8}}},
           {"the leftover goes to the largest",
            5,
            "0",
            {{.name = "a", .spec = 1, .annotations = scaledFor(3, 3)},
             {.name = "b", .spec = 1, .annotations = scaledFor(3, 3)},
             {.name = "new", .spec = 1, .created = 5, .annotations = scaledFor(3, 3)}},
            {{"a", 1}, {"b", 2}, {"new", 2}}},
       }) {
    ReplicaSets all;
    Ref<ReplicaSet> newSet;
    for (const SetShape& shape : c.sets) {
      all.push_back(setOf(shape));
      if (shape.name == "new") newSet = all.back();
    }
    auto d = deploymentOf({.replicas = c.replicas, .surge = c.surge, .unavailable = "1"});
    auto sizes = sizesOf(decideProportionalScale(*d, all, newSet));
    EXPECT_EQ(sizes, c.sizes) << c.what;
  }
}

TEST(ProportionalScale, aSaturatedNewSetEndsTheOthers) {
  Ref<ReplicaSet> fresh = setOf({.name = "new", .spec = 4, .available = 4, .annotations = scaledFor(4, 5)});
  ReplicaSets all{setOf({.name = "a", .spec = 2}), fresh, setOf({.name = "b", .spec = 1})};
  EXPECT_EQ(sizesOf(decideProportionalScale(*deploymentOf({.replicas = 4, .surge = "1"}), all, fresh)),
            (Sizes{{"a", 0}, {"b", 0}}));
}

TEST(FindNewReplicaSet, isTheOldestWithTheTemplate) {
  auto d = deploymentOf({.image = "v2"});
  auto a = setOf({.name = "a", .image = "v1", .created = 1}), b = setOf({.name = "b", .image = "v2", .created = 3}),
       c = setOf({.name = "c", .image = "v2", .created = 2});
  EXPECT_EQ(findNewReplicaSet(*d, {a, b, c}), c) << "the label with the hash does not count";
  EXPECT_FALSE(findNewReplicaSet(*d, {a}));
  EXPECT_FALSE(findNewReplicaSet(*d, {}));
}

TEST(PodTemplateHash, dependsOnTemplateAndCollisions) {
  auto a = deploymentOf({.image = "v1"}), b = deploymentOf({.image = "v2"}),
       again = deploymentOf({.image = "v1", .extra = R"(,"paused":true)"});
  std::string hash = podTemplateHash(a->spec.template_, std::nullopt);
  EXPECT_EQ(hash, podTemplateHash(again->spec.template_, std::nullopt));
  EXPECT_EQ(hash.find_first_not_of("bcdfghjklmnpqrstvwxz2456789"), std::string::npos) << hash;
  EXPECT_NE(hash, podTemplateHash(b->spec.template_, std::nullopt));
  EXPECT_NE(hash, podTemplateHash(a->spec.template_, 1));
  EXPECT_NE(podTemplateHash(a->spec.template_, 2), podTemplateHash(a->spec.template_, 1));
}

TEST(Cleanup, keepsTheLimit) {
  auto revision = [](int n) { return fmt::format(R"("deployment.kubernetes.io/revision":"{}")", n); };
  ReplicaSets old{
      setOf({.name = "r3", .annotations = revision(3)}), setOf({.name = "r1", .annotations = revision(1)}),
      setOf({.name = "r2", .spec = 1, .annotations = revision(2)}), setOf({.name = "r10", .annotations = revision(10)}),
      setOf({.name = "going", .annotations = revision(0), .metadata = R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")"})};
  auto names = [](const ReplicaSets& sets) {
    std::vector<std::string> out;
    for (const auto& rs : sets) out.emplace_back(rs->metadata.name);
    return out;
  };
  using Names = std::vector<std::string>;
  auto limited = [](const char* limit) { return deploymentOf({.extra = std::string(R"(,"revisionHistoryLimit":)") + limit}); };
  EXPECT_EQ(names(decideCleanup(*limited("4"), old)), Names{});
  EXPECT_EQ(names(decideCleanup(*limited("3"), old)), Names{"r1"});
  EXPECT_EQ(names(decideCleanup(*limited("2"), old)), Names{"r1"}) << "one that still has pods is passed over";
  EXPECT_EQ(names(decideCleanup(*limited("0"), old)), (Names{"r1", "r3", "r10"}));
  EXPECT_EQ(names(decideCleanup(*limited("2147483647"), old)), Names{});
  EXPECT_EQ(names(decideCleanup(*deploymentOf({}), old)), Names{}) << "without a limit everything stays";
  ReplicaSets unobserved{setOf({.name = "x", .metadata = R"(,"generation":5)"})};
  EXPECT_EQ(names(decideCleanup(*limited("0"), unobserved)), Names{}) << "its status is from before";
}

std::string conditionText(const appsv1::DeploymentStatus& status, std::string_view type) {
  const appsv1::DeploymentCondition* condition = deploymentCondition(status, type);
  return condition ? fmt::format("{} {} {}", condition->status, condition->reason, condition->message) : "none";
}

TEST(DeploymentStatus, sums) {
  auto fresh = setOf({.name = "new", .spec = 4, .available = 2, .image = "v2", .ready = 3});
  auto next = calculateRolloutStatus(deploymentOf({.replicas = 6, .unavailable = "1"}),
                                     {setOf({.name = "old", .spec = 3, .available = 3}), fresh}, fresh, kNow);
  EXPECT_EQ(next->status.observedGeneration, 2);
  EXPECT_EQ(next->status.replicas, 7);
  EXPECT_EQ(next->status.updatedReplicas, 4);
  EXPECT_EQ(next->status.readyReplicas, 6);
  EXPECT_EQ(next->status.availableReplicas, 5);
  EXPECT_EQ(next->status.unavailableReplicas, 2);
  EXPECT_EQ(conditionText(next->status, "Available"), "True MinimumReplicasAvailable Deployment has minimum availability.");
  auto fewer = calculateRolloutStatus(deploymentOf({.replicas = 6, .surge = "1", .unavailable = "0"}), {fresh}, fresh, kNow);
  EXPECT_EQ(conditionText(fewer->status, "Available"),
            "False MinimumReplicasUnavailable Deployment does not have minimum availability.");
}

TEST(DeploymentStatus, progressing) {
  auto progressing = [](const char* reason, int64_t updatedAgo) {
    return fmt::format(
        R"(,"conditions":[{{"type":"Progressing","status":"{}","reason":"{}","message":"m","lastUpdateTime":"{}"}}])",
        std::string_view(reason) == "ProgressDeadlineExceeded" ? "False" : "True", reason,
        updatedAgo < 100 ? "2027-01-15T07:59:30Z" : "2027-01-15T07:40:00Z");
  };
  constexpr const char* kSame = R"("replicas":4,"updatedReplicas":4,"readyReplicas":2,"availableReplicas":2)";
  struct Case {
    const char* what;
    std::string status;
    int available;
    const char* extra;
    const char* text;
  };
  constexpr const char* kDeadline = R"(,"progressDeadlineSeconds":600)";
  for (const Case& c : std::initializer_list<Case>{
           {"complete", kSame + progressing("ReplicaSetUpdated", 10), 4, kDeadline,
            "True NewReplicaSetAvailable ReplicaSet \"new\" has successfully progressed."},
           {"one more became available", R"("replicas":4,"updatedReplicas":4,"readyReplicas":1,"availableReplicas":1)", 2,
            kDeadline, "True ReplicaSetUpdated ReplicaSet \"new\" is progressing."},
           {"nothing moved, there is time", kSame + progressing("ReplicaSetUpdated", 10), 2, kDeadline,
            "True ReplicaSetUpdated m"},
           {"nothing moved for too long", kSame + progressing("ReplicaSetUpdated", 1200), 2, kDeadline,
            "False ProgressDeadlineExceeded ReplicaSet \"new\" has timed out progressing."},
           {"it stays timed out", kSame + progressing("ProgressDeadlineExceeded", 10), 2, kDeadline,
            "False ProgressDeadlineExceeded m"},
           {"a pod lost after the end is no failure", kSame + progressing("NewReplicaSetAvailable", 1200), 2, kDeadline,
            "True NewReplicaSetAvailable m"},
           {"without a deadline", kSame + progressing("ReplicaSetUpdated", 10), 2, "", "none"},
           {"with the largest deadline", kSame + progressing("ReplicaSetUpdated", 10), 2,
            R"(,"progressDeadlineSeconds":2147483647)", "none"},
       }) {
    auto fresh = setOf({.name = "new", .spec = 4, .available = c.available, .image = "v2"});
    auto next = calculateRolloutStatus(deploymentOf({.replicas = 4, .unavailable = "4", .extra = c.extra, .status = c.status}),
                                       {fresh}, fresh, kNow);
    EXPECT_EQ(conditionText(next->status, "Progressing"), c.text) << c.what;
  }
}

TEST(DeploymentStatus, copiesReplicaFailure) {
  auto broken = schema::edit(setOf({.name = "new", .spec = 4, .image = "v2"}));
  auto& condition = broken->status.conditions.append(broken.arena());
  condition.type = "ReplicaFailure";
  condition.status = "True";
  condition.reason = "FailedCreate";
  condition.message = "no quota";
  Ref<ReplicaSet> fresh = std::move(broken).publish();
  auto next = calculateRolloutStatus(deploymentOf({}), {fresh}, fresh, kNow);
  EXPECT_EQ(conditionText(next->status, "ReplicaFailure"), "True FailedCreate no quota");
  auto well = setOf({.name = "new", .spec = 4, .image = "v2"});
  auto later = calculateRolloutStatus(std::move(next).publish(), {well}, well, kNow);
  EXPECT_EQ(conditionText(later->status, "ReplicaFailure"), "none");
}

TEST(DeploymentCondition, keepsTheTransitionTimeOfTheSameStatus) {
  Mut<Deployment> d = schema::edit(deploymentOf({}));
  setDeploymentCondition(d, "Available", "True", "A", "one", kNow);
  setDeploymentCondition(d, "Available", "True", "A", "two", kNow + 5);
  EXPECT_EQ(deploymentCondition(d->status, "Available")->message, "one") << "the message alone does not count";
  setDeploymentCondition(d, "Available", "True", "B", "three", kNow + 10);
  EXPECT_EQ(deploymentCondition(d->status, "Available")->lastTransitionTime.unixSeconds(), kNow);
  EXPECT_EQ(deploymentCondition(d->status, "Available")->lastUpdateTime.unixSeconds(), kNow + 10);
  setDeploymentCondition(d, "Available", "False", "C", "four", kNow + 20);
  EXPECT_EQ(deploymentCondition(d->status, "Available")->lastTransitionTime.unixSeconds(), kNow + 20);
  EXPECT_EQ(d->status.conditions.size(), 1u);
}

// While paused, or resized, a roll-out says nothing: else the condition would go back and forth with DeploymentPaused.
TEST(DeploymentStatus, pausedKeepsItsProgress) {
  auto d = deploymentOf({.replicas = 2,
                         .extra = R"(,"paused":true,"progressDeadlineSeconds":600)",
                         .status = R"("conditions":[{"type":"Progressing","status":"Unknown","reason":"DeploymentPaused"}])"});
  auto fresh = setOf({.name = "new", .spec = 2, .available = 2, .image = "v2"});
  auto paused = calculateDeploymentStatus(d, {fresh}, fresh, kNow);
  EXPECT_EQ(deploymentCondition(paused->status, "Progressing")->reason, "DeploymentPaused");
  EXPECT_EQ(deploymentCondition(paused->status, "Available")->status, "True");
  auto rolling = calculateRolloutStatus(d, {fresh}, fresh, kNow);
  EXPECT_EQ(deploymentCondition(rolling->status, "Progressing")->reason, "NewReplicaSetAvailable");
}

TEST(DeploymentStatus, terminatingIsUnknownUntilAllTell) {
  auto with = [](int64_t observed, std::optional<int32_t> terminating) {
    auto rs = schema::edit(setOf({.name = "a", .spec = 1}));
    rs->status.observedGeneration = observed;
    if (terminating) rs->status.terminatingReplicas = *terminating;
    return std::move(rs).publish();
  };
  auto of = [&](ReplicaSets all) {
    return calculateDeploymentStatus(deploymentOf({}), all, nullptr, kNow)->status.terminatingReplicas;
  };
  EXPECT_EQ(of({with(1, 2), with(1, 3)}).valueOr(-1), 5);
  EXPECT_EQ(of({with(1, 2), with(0, std::nullopt)}).valueOr(-1), 2);
  EXPECT_FALSE(of({with(1, 2), with(1, std::nullopt)}).present);
}

TEST(Rollback, byTable) {
  auto revised = [](const char* name, int revision, const char* image) {
    return setOf({.name = name,
                  .image = image,
                  .annotations = fmt::format(R"("deployment.kubernetes.io/revision":"{}","note":"{}")", revision, name)});
  };
  auto asking = [](const char* revision) {
    auto d = schema::edit(deploymentOf({.image = "v3"}));
    schema::set(d->metadata.annotations, d.arena(), kRollbackAnnotation, revision);
    schema::set(d->metadata.annotations, d.arena(), kRevisionAnnotation, "3");
    schema::set(d->metadata.annotations, d.arena(), "mine", "yes");
    return std::move(d).publish();
  };
  ReplicaSets all{revised("a", 1, "v1"), revised("c", 3, "v3"), revised("b", 2, "v2")};
  struct Row {
    const char *revision, *reason, *message, *image;
    ReplicaSets sets;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"1", "DeploymentRollback", "Rolled back deployment \"web\" to revision 1", "v1", all},
           {"0", "DeploymentRollback", "Rolled back deployment \"web\" to revision 2", "v2", all},
           {"3", "DeploymentRollbackTemplateUnchanged",
            "The rollback revision contains the same template as current deployment \"web\"", "v3", all},
           {"9", "DeploymentRollbackRevisionNotFound", "Unable to find the revision to rollback to.", "v3", all},
           {"0", "DeploymentRollbackRevisionNotFound", "Unable to find last revision.", "v3", {all[1]}},
       }) {
    auto d = asking(row.revision);
    auto revision = rollbackRevision(*d);
    ASSERT_TRUE(revision);
    Rollback rollback = decideRollback(d, row.sets, *revision);
    EXPECT_EQ(rollback.reason, row.reason) << row.revision;
    EXPECT_EQ(rollback.message, row.message);
    EXPECT_EQ(rollback.next->spec.template_.spec.containers[0].image, row.image);
    EXPECT_FALSE(rollback.next->metadata.annotations.contains(kRollbackAnnotation));
    EXPECT_FALSE(rollback.next->spec.template_.metadata.labels.contains(kPodTemplateHashLabel));
    EXPECT_EQ(schema::valueOf(rollback.next->metadata.annotations, kRevisionAnnotation), "3");
    bool rolledBack = rollback.reason == "DeploymentRollback";
    EXPECT_EQ(rollback.next->metadata.annotations.contains("note"), rolledBack) << "the annotations of the former revision";
    EXPECT_EQ(rollback.next->metadata.annotations.contains("mine"), !rolledBack);
  }
  EXPECT_FALSE(rollbackRevision(*asking("x")));
  EXPECT_FALSE(rollbackRevision(*deploymentOf({})));
}

}  // namespace
}  // namespace knarr::controllers
