#include "controllers/frame/frame.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/apps_v1.h"
#include "codec/codec.h"
#include "env/sim/sim.h"

namespace knarr::controllers {
namespace {

using namespace std::chrono_literals;

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return Mut<T>(std::move(decoded->object)).publish();
}

Ref<corev1::Pod> podWith(const std::string& metadata, const std::string& status = "") {
  return fromJson<corev1::Pod>(fmt::format(R"({{"metadata":{{{}}},"status":{{{}}}}})", metadata, status));
}

TEST(Claim, decides) {
  constexpr const char* kGoing = R"("deletionTimestamp":"2026-01-01T00:00:00Z")";
  constexpr const char* kMine = R"("ownerReferences":[{"kind":"ReplicaSet","name":"rs","uid":"u1","controller":true}])";
  constexpr const char* kOther = R"("ownerReferences":[{"kind":"ReplicaSet","name":"rs","uid":"u2","controller":true}])";
  constexpr const char* kNoController = R"("ownerReferences":[{"kind":"ReplicaSet","name":"rs","uid":"u1"}])";
  constexpr const char* kMatch = R"("labels":{"app":"web"})";
  constexpr const char* kNoMatch = R"("labels":{"app":"db"})";
  struct Case {
    const char* what;
    std::string pod;
    std::string owner;
    Claim claim;
  };
  auto ns = [](std::string rest, const char* name = "default") { return fmt::format(R"("namespace":"{}",{})", name, rest); };
  std::string owner = R"("namespace":"default","name":"rs","uid":"u1")", goingOwner = owner + "," + kGoing;
  for (const Case& c : std::initializer_list<Case>{
           {"owned and selected", ns(fmt::format("{},{}", kMine, kMatch)), owner, Claim::Keep},
           {"owned, being deleted", ns(fmt::format("{},{},{}", kMine, kMatch, kGoing)), owner, Claim::Keep},
           {"owned by another", ns(fmt::format("{},{}", kOther, kMatch)), owner, Claim::Ignore},
           {"owned, no longer selected", ns(fmt::format("{},{}", kMine, kNoMatch)), owner, Claim::Release},
           {"the same while the owner goes", ns(fmt::format("{},{}", kMine, kNoMatch)), goingOwner, Claim::Ignore},
           {"owned and selected while the owner goes", ns(fmt::format("{},{}", kMine, kMatch)), goingOwner, Claim::Keep},
           {"orphan, selected", ns(kMatch), owner, Claim::Adopt},
           {"an owner that does not control", ns(fmt::format("{},{}", kNoController, kMatch)), owner, Claim::Adopt},
           {"orphan, not selected", ns(kNoMatch), owner, Claim::Ignore},
           {"orphan being deleted", ns(fmt::format("{},{}", kMatch, kGoing)), owner, Claim::Ignore},
           {"orphan of another namespace", ns(kMatch, "other"), owner, Claim::Ignore},
           {"orphan while the owner goes", ns(kMatch), goingOwner, Claim::Ignore},
       }) {
    auto selector = apimachinery::LabelSelector::parse("app=web");
    ASSERT_TRUE(selector);
    EXPECT_EQ(decideClaim(podWith(c.pod)->metadata, podWith(c.owner)->metadata, *selector), c.claim) << c.what;
  }
}

TEST(Expectations, areMetOrExpire) {
  env::SimEnv sim(1);
  Expectations expectations(sim.env().clock);
  EXPECT_TRUE(expectations.satisfied("a")) << "nothing was asked for";
  expectations.expectCreations("a", 2);
  EXPECT_FALSE(expectations.satisfied("a"));
  EXPECT_TRUE(expectations.satisfied("b")) << "owners do not mix";
  expectations.creationObserved("a");
  EXPECT_FALSE(expectations.satisfied("a"));
  expectations.creationObserved("a");
  EXPECT_TRUE(expectations.satisfied("a"));

  expectations.expectDeletions("a", {"default/x", "default/y"});
  expectations.deletionObserved("a", "default/x");
  expectations.deletionObserved("a", "default/x");
  expectations.deletionObserved("a", "default/z");
  EXPECT_FALSE(expectations.satisfied("a")) << "only a listed key counts, and once";
  expectations.deletionObserved("a", "default/y");
  EXPECT_TRUE(expectations.satisfied("a"));

  expectations.expectCreations("a", 1);
  sim.runFor(5min - 1s);
  EXPECT_FALSE(expectations.satisfied("a"));
  sim.runFor(2s);
  EXPECT_TRUE(expectations.satisfied("a")) << "after five minutes the cache is believed";
  expectations.expectCreations("a", 1);
  expectations.forget("a");
  EXPECT_TRUE(expectations.satisfied("a"));
}

TEST(Pods, predicates) {
  constexpr const char* kGoing = R"("deletionTimestamp":"2026-01-01T00:00:00Z")";
  struct Case {
    const char* metadata;
    const char* phase;
    bool active, terminating;
  };
  for (Case c : std::initializer_list<Case>{{"", "Running", true, false},
                                            {"", "Pending", true, false},
                                            {"", "Succeeded", false, false},
                                            {"", "Failed", false, false},
                                            {kGoing, "Running", false, true},
                                            {kGoing, "Failed", false, false}}) {
    auto pod = podWith(c.metadata, fmt::format(R"("phase":"{}")", c.phase));
    EXPECT_EQ(isPodActive(*pod), c.active) << c.metadata << c.phase;
    EXPECT_EQ(isPodTerminating(*pod), c.terminating) << c.metadata << c.phase;
  }
}

TEST(Pods, availability) {
  auto pod = podWith("", R"("conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}])");
  int64_t since = podCondition(*pod, "Ready")->lastTransitionTime.unixSeconds();
  EXPECT_TRUE(isPodAvailable(*pod, 0, since - 100));
  EXPECT_FALSE(isPodAvailable(*pod, 10, since + 9));
  EXPECT_TRUE(isPodAvailable(*pod, 10, since + 10));
  auto noTime = podWith("", R"("conditions":[{"type":"Ready","status":"True"}])");
  EXPECT_TRUE(isPodAvailable(*noTime, 0, since));
  EXPECT_FALSE(isPodAvailable(*noTime, 1, since));
  EXPECT_FALSE(isPodAvailable(*podWith("", R"("conditions":[{"type":"Ready","status":"False"}])"), 0, since));
}

TEST(Pods, fromTemplate) {
  auto rs = fromJson<appsv1::ReplicaSet>(
      R"({"metadata":{"name":"web-1","namespace":"shop","uid":"u1"},"spec":{"template":{
    "metadata":{"labels":{"app":"web"},"annotations":{"a":"b"},"finalizers":["x.io/f"]},
    "spec":{"containers":[{"name":"main","image":"busybox"}]}}}})");
  Ref<corev1::Pod> pod = podFromTemplate(rs->spec.template_, rs).publish();
  EXPECT_EQ(pod->metadata.generateName, "web-1-");
  EXPECT_EQ(pod->metadata.name, "");
  EXPECT_EQ(pod->metadata.namespace_, "shop");
  EXPECT_EQ(schema::valueOf(pod->metadata.labels, "app"), "web");
  EXPECT_EQ(schema::valueOf(pod->metadata.annotations, "a"), "b");
  ASSERT_EQ(pod->metadata.finalizers.size(), 1u);
  const metav1::OwnerReference* owner = controllerOf(pod->metadata);
  ASSERT_NE(owner, nullptr);
  EXPECT_EQ(owner->apiVersion, "apps/v1");
  EXPECT_EQ(owner->kind, "ReplicaSet");
  EXPECT_EQ(owner->uid, "u1");
  EXPECT_TRUE(*owner->blockOwnerDeletion);
  EXPECT_EQ(pod->spec.containers[0].image, "busybox");
}

TEST(SafeEncode, isUpstreams) {
  // Each decimal digit's character code modulo 27 picks a letter of the alphabet.
  EXPECT_EQ(safeEncode(0), "4");
  EXPECT_EQ(safeEncode(1234567890), "56789bcdf4");
}

}  // namespace
}  // namespace knarr::controllers
