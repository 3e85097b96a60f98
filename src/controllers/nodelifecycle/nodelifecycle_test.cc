#include "controllers/nodelifecycle/nodelifecycle.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"

namespace knarr::controllers {
namespace {

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return Mut<T>(std::move(decoded->object)).publish();
}

Ref<corev1::Node> nodeWith(const std::string& conditions, const std::string& spec = "") {
  return fromJson<corev1::Node>(fmt::format(
      R"({{"metadata":{{"name":"n","creationTimestamp":"2026-01-01T00:00:00Z"}},"spec":{{{}}},"status":{{"conditions":[{}]}}}})",
      spec, conditions));
}

TEST(DecideTaints, byTable) {
  struct Case {
    const char* what;
    const char* conditions;
    const char* spec;
    bool evict;
    std::set<std::string> taints;
  };
  for (
      const Case& c : std::initializer_list<Case>{
          {"ready", R"({"type":"Ready","status":"True"})", "", true, {}},
          {"no condition yet", "", "", true, {}},
          {"not ready",
           R"({"type":"Ready","status":"False"})",
           "",
           true,
           {"node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"}},
          {"unreachable",
           R"({"type":"Ready","status":"Unknown"})",
           "",
           true,
           {"node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"}},
          {"unreachable with all others",
           R"({"type":"Ready","status":"Unknown"})",
           "",
           false,
           {"node.kubernetes.io/unreachable:NoSchedule"}},
          {"what is there stays",
           R"({"type":"Ready","status":"Unknown"})",
           R"("taints":[{"key":"node.kubernetes.io/unreachable","effect":"NoExecute"}])",
           false,
           {"node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"}},
          {"pressure",
           R"({"type":"Ready","status":"True"},{"type":"MemoryPressure","status":"True"},{"type":"DiskPressure","status":"False"},{"type":"PIDPressure","status":"True"},{"type":"NetworkUnavailable","status":"True"})",
           "",
           true,
           {"node.kubernetes.io/memory-pressure:NoSchedule", "node.kubernetes.io/pid-pressure:NoSchedule",
            "node.kubernetes.io/network-unavailable:NoSchedule"}},
          {"cordoned",
           R"({"type":"Ready","status":"True"})",
           R"("unschedulable":true)",
           true,
           {"node.kubernetes.io/unschedulable:NoSchedule"}},
          {"others' taints stay, ours go",
           R"({"type":"Ready","status":"True"})",
           R"("taints":[{"key":"a","effect":"NoSchedule"},{"key":"node.kubernetes.io/not-ready","effect":"NoExecute"},{"key":"node.kubernetes.io/not-ready","effect":"NoSchedule"},{"key":"node.kubernetes.io/disk-pressure","effect":"NoExecute"}])",
           true,
           {"a:NoSchedule", "node.kubernetes.io/disk-pressure:NoExecute"}},
          {"from not ready to unreachable",
           R"({"type":"Ready","status":"Unknown"})",
           R"("taints":[{"key":"node.kubernetes.io/not-ready","effect":"NoExecute"}])",
           true,
           {"node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"}},
      }) {
    std::set<std::string> taints;
    auto node = nodeWith(c.conditions, c.spec);
    for (const auto& taint : decideTaints(*node, c.evict ? Eviction::Give : Eviction::Keep))
      taints.insert(fmt::format("{}:{}", taint.key, taint.effect));
    EXPECT_EQ(taints, c.taints) << c.what;
  }
}

TEST(DecideTaints, keepsTheTimeOfATaint) {
  auto node =
      nodeWith(R"({"type":"Ready","status":"False"})",
               R"("taints":[{"key":"node.kubernetes.io/not-ready","effect":"NoExecute","timeAdded":"2026-01-01T00:00:00Z"}])");
  bool found = false;
  for (const auto& taint : decideTaints(*node, Eviction::Give))
    if (taint.effect == "NoExecute") found = taint.timeAdded.present && taint.timeAdded.value == node->metadata.creationTimestamp;
  EXPECT_TRUE(found);
}

TEST(DecideTaints, cutOff) {
  auto node =
      nodeWith(R"({"type":"Ready","status":"Unknown"})",
               R"("taints":[{"key":"node.kubernetes.io/unreachable","effect":"NoExecute"},{"key":"a","effect":"NoExecute"}])");
  std::set<std::string> taints;
  for (const auto& taint : decideTaints(*node, Eviction::Take)) taints.insert(fmt::format("{}:{}", taint.key, taint.effect));
  EXPECT_EQ(taints, (std::set<std::string>{"a:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"}));
}

TEST(Zones, states) {
  EXPECT_EQ(decideZoneState(3, 0), ZoneState::Normal);
  EXPECT_EQ(decideZoneState(1, 2), ZoneState::Normal) << "two nodes are no disruption";
  EXPECT_EQ(decideZoneState(2, 3), ZoneState::PartialDisruption);
  EXPECT_EQ(decideZoneState(3, 3), ZoneState::Normal) << "half is less than 55 %";
  EXPECT_EQ(decideZoneState(0, 1), ZoneState::FullDisruption);
  EXPECT_EQ(decideZoneState(0, 0), ZoneState::Normal);
  NodeLifecycleConfig config;
  EXPECT_EQ(evictionInterval(ZoneState::Normal, 10, config), config.evictionInterval);
  EXPECT_EQ(evictionInterval(ZoneState::FullDisruption, 10, config), config.evictionInterval);
  EXPECT_EQ(evictionInterval(ZoneState::PartialDisruption, 50, config), std::nullopt);
  EXPECT_EQ(evictionInterval(ZoneState::PartialDisruption, 51, config), config.slowEvictionInterval);
}

TEST(Zones, names) {
  auto labelled = [](const std::string& labels) {
    return zoneOf(*fromJson<corev1::Node>(fmt::format(R"({{"metadata":{{"name":"n","labels":{{{}}}}}}})", labels)));
  };
  EXPECT_EQ(labelled(""), "");
  EXPECT_EQ(labelled(R"("topology.kubernetes.io/zone":"z","topology.kubernetes.io/region":"r")"), "r/z");
  EXPECT_EQ(labelled(R"("failure-domain.beta.kubernetes.io/zone":"z")"), "/z");
}

TEST(MarkUnknown, changesWhatWasKnownAndAddsWhatWasNot) {
  auto node = nodeWith(
      R"({"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":"2026-01-01T01:00:00Z"},
    {"type":"DiskPressure","status":"Unknown","reason":"NodeStatusUnknown","lastTransitionTime":"2026-01-01T00:30:00Z"},
    {"type":"NetworkUnavailable","status":"False"})");
  int64_t now = node->metadata.creationTimestamp.unixSeconds() + 7200;
  auto next = markUnknown(node, now);
  std::map<std::string, std::string> seen;
  for (const auto& condition : next->status.conditions)
    seen[std::string(condition.type)] =
        fmt::format("{} {} {}", condition.status, condition.reason, condition.lastTransitionTime.unixSeconds() - now);
  EXPECT_EQ(seen, (std::map<std::string, std::string>{
                      {"Ready", "Unknown NodeStatusUnknown 0"},
                      {"DiskPressure", "Unknown NodeStatusUnknown -5400"},
                      {"MemoryPressure", "Unknown NodeStatusNeverUpdated 0"},
                      {"PIDPressure", "Unknown NodeStatusNeverUpdated 0"},
                      {"NetworkUnavailable", fmt::format("False  {}", schema::Time{}.unixSeconds() - now)}}));
}

TEST(Tolerates, byTable) {
  struct Case {
    const char* toleration;
    const char* taint;
    bool tolerates;
  };
  for (Case c : std::initializer_list<Case>{
           {R"({"key":"a","value":"1","effect":"NoSchedule"})", R"({"key":"a","value":"1","effect":"NoSchedule"})", true},
           {R"({"key":"a","operator":"Equal","value":"2"})", R"({"key":"a","value":"1","effect":"NoSchedule"})", false},
           {R"({"key":"a","operator":"Exists"})", R"({"key":"a","value":"1","effect":"NoSchedule"})", true},
           {R"({"operator":"Exists"})", R"({"key":"a","value":"1","effect":"NoExecute"})", true},
           {R"({"key":"b","operator":"Exists"})", R"({"key":"a","effect":"NoExecute"})", false},
           {R"({"key":"a","operator":"Exists","effect":"NoSchedule"})", R"({"key":"a","effect":"NoExecute"})", false},
           {R"({"value":""})", R"({"key":"a","effect":"NoExecute"})", false},
       }) {
    auto pod = fromJson<corev1::Pod>(fmt::format(R"({{"spec":{{"tolerations":[{}]}}}})", c.toleration));
    auto node = nodeWith("", fmt::format(R"("taints":[{}])", c.taint));
    EXPECT_EQ(tolerates(pod->spec.tolerations[0], node->spec.taints[0]), c.tolerates) << c.toleration << " " << c.taint;
  }
}

TEST(MarkDisrupted, setsOneCondition) {
  auto pod = fromJson<corev1::Pod>(R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  Ref<corev1::Pod> once = markDisrupted(pod, 1000).publish();
  auto twice = markDisrupted(once, 2000);
  ASSERT_EQ(twice->status.conditions.size(), 2u);
  EXPECT_EQ(twice->status.conditions[1].reason, "DeletionByTaintManager");
  EXPECT_EQ(twice->status.conditions[1].lastTransitionTime.unixSeconds(), 1000);
}

TEST(SecondsUntilEviction, byTable) {
  constexpr const char* kA = R"({"key":"a","effect":"NoExecute"})";
  constexpr const char* kBoth = R"({"key":"a","effect":"NoExecute"},{"key":"b","effect":"NoExecute"})";
  struct Case {
    const char* what;
    const char* tolerations;
    const char* taints;
    std::optional<int64_t> seconds;
  };
  for (Case c : std::initializer_list<Case>{
           {"not tolerated", "", kA, 0},
           {"for ever", R"({"key":"a","operator":"Exists"})", kA, std::nullopt},
           {"for a while", R"({"key":"a","operator":"Exists","tolerationSeconds":300})", kA, 300},
           {"not at all", R"({"key":"a","operator":"Exists","tolerationSeconds":-5})", kA, 0},
           {"the shortest",
            R"({"key":"a","operator":"Exists","tolerationSeconds":300},{"key":"b","operator":"Exists","tolerationSeconds":30})",
            kBoth, 30},
           {"one of two", R"({"key":"a","operator":"Exists"})", kBoth, 0},
           {"the first that tolerates counts", R"({"operator":"Exists"},{"key":"a","operator":"Exists","tolerationSeconds":10})",
            kA, std::nullopt},
       }) {
    auto pod = fromJson<corev1::Pod>(fmt::format(R"({{"spec":{{"tolerations":[{}]}}}})", c.tolerations));
    auto node = nodeWith("", fmt::format(R"("taints":[{}])", c.taints));
    std::vector<corev1::Taint> taints(node->spec.taints.begin(), node->spec.taints.end());
    EXPECT_EQ(secondsUntilEviction(*pod, taints), c.seconds) << c.what;
  }
}

}  // namespace
}  // namespace knarr::controllers
