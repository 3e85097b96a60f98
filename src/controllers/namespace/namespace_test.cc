#include "controllers/namespace/namespace.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"
#include "controllers/namespace/decide.h"

namespace knarr::controllers {
namespace {

template <class T>
Ref<> objectOf(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json;
  return std::move(decoded->object).publish();
}
Ref<> podWith(const char* grace, const char* phase, const char* metadata = "") {
  return objectOf<corev1::Pod>(
      fmt::format(R"({{"metadata":{{"name":"p"{}}},"spec":{{"terminationGracePeriodSeconds":{}}},"status":{{"phase":"{}"}}}})",
                  metadata, grace, phase));
}

TEST(EstimateGracefulTermination, byTable) {
  struct Row {
    const char* what;
    std::vector<Ref<>> pods;
    int64_t passed, estimate;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"none", {}, 0, 0},
           {"the longest", {podWith("30", "Running"), podWith("60", "Pending")}, 0, 60},
           {"ended ones do not count", {podWith("30", "Running"), podWith("60", "Failed"), podWith("60", "Succeeded")}, 0, 30},
           {"all of it, until it has passed", {podWith("30", "Running")}, 29, 30},
           {"passed", {podWith("30", "Running")}, 30, 0},
       })
    EXPECT_EQ(estimateGracefulTermination(row.pods, 1000, 1000 + row.passed), row.estimate) << row.what;
}

std::string conditionsOf(const Remaining& remaining) {
  Mut<corev1::Namespace> ns = schema::newObject<corev1::Namespace>();
  setConditions(ns, remaining, 1000);
  std::string out;
  for (const auto& condition : ns->status.conditions)
    if (condition.status == "True") out += fmt::format("{}/{}: {}; ", condition.type, condition.reason, condition.message);
  EXPECT_EQ(ns->status.conditions.size(), 5u);
  return out;
}

TEST(Remaining, tellsWhatIsLeftAndHowLong) {
  const auto& pods = client::resourceOf<corev1::Pod>();
  const auto& maps = client::resourceOf<corev1::ConfigMap>();
  Remaining nothing;
  nothing.add(pods, "ns", {}, 0);
  EXPECT_FALSE(nothing.anything());
  EXPECT_EQ(conditionsOf(nothing), "");

  Remaining ending;
  ending.add(pods, "ns", {podWith("30", "Running")}, 30);
  EXPECT_EQ(ending.estimateSeconds, 30);
  EXPECT_TRUE(ending.errors.empty()) << "they are given their time";
  EXPECT_EQ(conditionsOf(ending),
            "NamespaceContentRemaining/SomeResourcesRemain: Some resources are remaining: pods. has 1 resource instances; ");

  Remaining held;
  held.add(maps, "ns",
           {objectOf<corev1::ConfigMap>(R"({"metadata":{"name":"a","finalizers":["x/y","x/z"]}})"),
            objectOf<corev1::ConfigMap>(R"({"metadata":{"name":"b","finalizers":["x/y"]}})")},
           0);
  EXPECT_EQ(held.estimateSeconds, 15);
  EXPECT_EQ(conditionsOf(held),
            "NamespaceContentRemaining/SomeResourcesRemain: Some resources are remaining: configmaps. has 2 resource instances; "
            "NamespaceFinalizersRemaining/SomeFinalizersRemain: Some content in the namespace has finalizers remaining: "
            "x/y in 2 resource instances, x/z in 1 resource instances; ");

  Remaining stuck;
  stuck.errors.push_back("zzz");
  stuck.add(pods, "ns", {podWith("30", "Running")}, 0);
  EXPECT_EQ(stuck.estimateSeconds, 0);
  EXPECT_EQ(conditionsOf(stuck),
            "NamespaceDeletionContentFailure/ContentDeletionFailed: Failed to delete all resource types, 2 remaining: "
            "unexpected items still remain in namespace: ns for gvr: /v1, Resource=pods, zzz; "
            "NamespaceContentRemaining/SomeResourcesRemain: Some resources are remaining: pods. has 1 resource instances; ");
}

TEST(SetConditions, transitionTimeMovesWithTheStatus) {
  Mut<corev1::Namespace> ns = schema::newObject<corev1::Namespace>();
  Remaining failed;
  failed.errors.push_back("a");
  setConditions(ns, failed, 1000);
  failed.errors.push_back("b");
  setConditions(ns, failed, 2000);
  EXPECT_EQ(ns->status.conditions[2].message, "Failed to delete all resource types, 2 remaining: a, b");
  EXPECT_EQ(ns->status.conditions[2].lastTransitionTime.unixSeconds(), 1000);
  setConditions(ns, {}, 3000);
  EXPECT_EQ(ns->status.conditions[2].status, "False");
  EXPECT_EQ(ns->status.conditions[2].lastTransitionTime.unixSeconds(), 3000);
}

}  // namespace
}  // namespace knarr::controllers
