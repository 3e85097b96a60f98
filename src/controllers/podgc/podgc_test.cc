// Which pods the collector takes, by table.
#include "controllers/podgc/podgc.h"

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

Ref<corev1::Pod> pod(const std::string& name, const std::string& phase, int created = 0, const std::string& node = "n1",
                     bool going = false, const std::string& reason = "") {
  return fromJson<corev1::Pod>(fmt::format(
      R"({{"metadata":{{"name":"{}","uid":"u-{}","generation":2,"creationTimestamp":"2026-01-01T00:00:{:02}Z"{}}},"spec":{{"nodeName":"{}"}},"status":{{"phase":"{}","reason":"{}"}}}})",
      name, name, created, going ? R"(,"deletionTimestamp":"2026-01-02T00:00:00Z")" : "", node, phase, reason));
}

Ref<corev1::Node> node(const std::string& name, bool ready, bool outOfService) {
  return fromJson<corev1::Node>(fmt::format(
      R"({{"metadata":{{"name":"{}"}},"spec":{{"taints":[{}]}},"status":{{"conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
      name, outOfService ? R"({"key":"node.kubernetes.io/out-of-service","effect":"NoExecute"})" : "",
      ready ? "True" : "Unknown"));
}

std::vector<std::string> names(const PodList& pods) {
  std::vector<std::string> out;
  for (const auto& one : pods) out.emplace_back(one->metadata.name);
  return out;
}

TEST(PodGc, terminatedBeyondThreshold) {
  PodList pods{pod("young", "Succeeded", 9),
               pod("running", "Running", 1),
               pod("old", "Failed", 2),
               pod("b", "Succeeded", 5),
               pod("evicted", "Failed", 30, "n1", false, "Evicted"),
               pod("a", "Succeeded", 5)};
  EXPECT_EQ(names(terminatedBeyond(pods, 5)), std::vector<std::string>{});
  EXPECT_EQ(names(terminatedBeyond(pods, 3)), (std::vector<std::string>{"evicted", "old"}));
  EXPECT_EQ(names(terminatedBeyond(pods, 1)), (std::vector<std::string>{"evicted", "old", "a", "b"}));
  EXPECT_TRUE(terminatedBeyond(pods, 0).empty()) << "0 keeps all";
}

TEST(PodGc, outOfService) {
  PodList pods{pod("going", "Running", 0, "dead", true), pod("staying", "Running", 0, "dead"),
               pod("elsewhere", "Running", 0, "well", true), pod("silent", "Running", 0, "silent", true)};
  EXPECT_EQ(
      names(terminatingOutOfService(pods, {node("dead", false, true), node("well", true, true), node("silent", false, false)})),
      std::vector<std::string>{"going"});
}

TEST(PodGc, unscheduledAndMissing) {
  PodList pods{pod("a", "Pending", 0, "", true), pod("b", "Pending", 0, ""), pod("c", "Running", 0, "gone"),
               pod("d", "Running", 0, "n1")};
  EXPECT_EQ(names(terminatingUnscheduled(pods)), std::vector<std::string>{"a"});
  EXPECT_EQ(missingNodes(pods, {node("n1", true, false)}), std::set<std::string>{"gone"});
}

TEST(PodGc, failurePatch) {
  EXPECT_EQ(failurePatch(*pod("a", "Succeeded"), true, 0), "");
  EXPECT_EQ(failurePatch(*pod("a", "Running"), false, 0), R"({"metadata":{"uid":"u-a"},"status":{"phase":"Failed"}})");
  EXPECT_EQ(
      failurePatch(*pod("a", "Running"), true, 1'800'000'000),
      R"({"metadata":{"uid":"u-a"},"status":{"phase":"Failed","conditions":[{"type":"DisruptionTarget","status":"True",)"
      R"("reason":"DeletionByPodGC","message":"PodGC: node no longer exists","lastTransitionTime":"2027-01-15T08:00:00Z","observedGeneration":2}]}})");
}

}  // namespace
}  // namespace knarr::controllers
