#include "controllers/pod_endpoints/pod_endpoints.h"

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

TEST(PodEndpoints, whichPodsCount) {
  auto pod = [](const char* phase, const char* ip, bool going) {
    return fromJson<corev1::Pod>(fmt::format(R"({{"metadata":{{{}}},"status":{{"phase":"{}","podIP":"{}"}}}})",
                                             going ? R"("deletionTimestamp":"2026-01-01T00:00:00Z")" : "", phase, ip));
  };
  EXPECT_TRUE(shouldPodBeInEndpoints(*pod("Running", "10.0.0.1", false), false));
  EXPECT_TRUE(shouldPodBeInEndpoints(*pod("Pending", "10.0.0.1", false), false));
  EXPECT_FALSE(shouldPodBeInEndpoints(*pod("Running", "", false), true));
  EXPECT_FALSE(shouldPodBeInEndpoints(*pod("Failed", "10.0.0.1", false), true));
  EXPECT_FALSE(shouldPodBeInEndpoints(*pod("Succeeded", "10.0.0.1", false), true));
  EXPECT_FALSE(shouldPodBeInEndpoints(*pod("Running", "10.0.0.1", true), false));
  EXPECT_TRUE(shouldPodBeInEndpoints(*pod("Running", "10.0.0.1", true), true));
}

TEST(PodEndpoints, portsByName) {
  auto pod = fromJson<corev1::Pod>(
      R"({"spec":{"containers":[{"name":"a","ports":[{"name":"http","containerPort":8080},{"name":"dns","containerPort":53,"protocol":"UDP"}]}],
          "initContainers":[{"name":"once","ports":[{"name":"once","containerPort":1}]},
                            {"name":"side","restartPolicy":"Always","ports":[{"name":"metrics","containerPort":9090}]}]}})");
  auto find = [&](const char* json) {
    return findPodPort(*pod, *fromJson<corev1::Service>(fmt::format(R"({{"spec":{{"ports":[{}]}}}})", json))->spec.ports.begin());
  };
  EXPECT_EQ(find(R"({"port":80,"targetPort":"http"})"), 8080);
  EXPECT_EQ(find(R"({"port":80,"targetPort":7000})"), 7000);
  EXPECT_EQ(find(R"({"port":80})"), 80);
  EXPECT_EQ(find(R"({"port":53,"targetPort":"dns"})"), std::nullopt) << "another protocol";
  EXPECT_EQ(find(R"({"port":53,"targetPort":"dns","protocol":"UDP"})"), 53);
  EXPECT_EQ(find(R"({"port":80,"targetPort":"metrics"})"), 9090) << "of a sidecar";
  EXPECT_EQ(find(R"({"port":80,"targetPort":"once"})"), std::nullopt) << "of a plain init container";
}

TEST(TriggerTimeTracker, tellsTheEarliestNewChange) {
  auto service = fromJson<corev1::Service>(R"({"metadata":{"name":"s","creationTimestamp":"2026-01-01T00:00:00Z"}})");
  auto pod = [](const char* name, const char* when) {
    return fromJson<corev1::Pod>(fmt::format(
        R"({{"metadata":{{"name":"{}"}},"status":{{"podIP":"10.0.0.1","conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"{}"}}]}}}})",
        name, when));
  };
  TriggerTimeTracker tracker;
  EXPECT_EQ(tracker.computeLastChange("d/s", *service, {pod("a", "2026-01-01T00:01:00Z")}), "2026-01-01T00:00:00Z")
      << "the first sync";
  EXPECT_EQ(tracker.computeLastChange("d/s", *service, {pod("a", "2026-01-01T00:01:00Z")}), "") << "nothing new";
  EXPECT_EQ(tracker.computeLastChange("d/s", *service, {pod("a", "2026-01-01T00:03:00Z"), pod("b", "2026-01-01T00:02:00Z")}),
            "2026-01-01T00:02:00Z");
  tracker.forget("d/s");
  EXPECT_EQ(tracker.computeLastChange("d/s", *service, {}), "2026-01-01T00:00:00Z");
}

}  // namespace
}  // namespace knarr::controllers
