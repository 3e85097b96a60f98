// Endpoints of Services, by table.
#include "controllers/endpoint/endpoint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"

namespace knarr::controllers {
namespace {

using corev1::Endpoints;
using corev1::Pod;
using corev1::Service;

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return Mut<T>(std::move(decoded->object)).publish();
}

Ref<Service> service(
    const std::string& spec = R"("clusterIP":"10.96.0.5","ports":[{"name":"http","port":80,"targetPort":8080}])") {
  return fromJson<Service>(fmt::format(
      R"({{"metadata":{{"name":"web","namespace":"default","labels":{{"tier":"front"}}}},"spec":{{"selector":{{"app":"web"}},{}}}}})",
      spec));
}

Ref<Pod> pod(const std::string& name, const std::string& ip, bool ready = true, bool going = false,
             const std::string& spec = "") {
  return fromJson<Pod>(fmt::format(
      R"({{"metadata":{{"name":"{}","namespace":"default","uid":"u-{}"{}}},"spec":{{"nodeName":"n1"{}}},
          "status":{{"phase":"Running","podIP":"{}","conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
      name, name, going ? R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")" : "", spec, ip, ready ? "True" : "False"));
}

TEST(Endpoints, readyAndNot) {
  auto made = decideEndpoints(
      service(), {pod("b", "10.0.0.2"), pod("a", "10.0.0.1"), pod("c", "10.0.0.3", false), pod("d", "10.0.0.4", true, true)}, {},
      "t");
  ASSERT_TRUE(made);
  EXPECT_EQ(
      codec::encodeJson(made.object()),
      R"({"kind":"Endpoints","apiVersion":"v1","metadata":{"name":"web","namespace":"default",)"
      R"("labels":{"endpoints.kubernetes.io/managed-by":"endpoint-controller","tier":"front"},"annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"t"}},)"
      R"("subsets":[{"addresses":[{"ip":"10.0.0.1","nodeName":"n1","targetRef":{"kind":"Pod","namespace":"default","name":"a","uid":"u-a"}},)"
      R"({"ip":"10.0.0.2","nodeName":"n1","targetRef":{"kind":"Pod","namespace":"default","name":"b","uid":"u-b"}}],)"
      R"("notReadyAddresses":[{"ip":"10.0.0.3","nodeName":"n1","targetRef":{"kind":"Pod","namespace":"default","name":"c","uid":"u-c"}}],)"
      R"("ports":[{"name":"http","port":8080,"protocol":"TCP"}]}]})");
}

TEST(Endpoints, settles) {
  std::vector<Ref<Pod>> pods{pod("a", "10.0.0.1"), pod("b", "10.0.0.2", false)};
  Ref<Endpoints> current = std::move(decideEndpoints(service(), pods, {}, "t")).publish();
  EXPECT_FALSE(decideEndpoints(service(), pods, current, "later"));
  pods[1] = pod("b", "10.0.0.2", true);
  EXPECT_TRUE(decideEndpoints(service(), pods, current, "later"));
}

TEST(Endpoints, portsOfEqualAddressesShareASubset) {
  auto named = service(R"("clusterIP":"None","ports":[{"name":"http","port":80,"targetPort":"web"},{"name":"plain","port":81}])");
  auto made = decideEndpoints(
      named,
      {pod("a", "10.0.0.1", true, false, R"(,"containers":[{"name":"c","ports":[{"name":"web","containerPort":8080}]}])"),
       pod("b", "10.0.0.2", true, false, R"(,"containers":[{"name":"c","ports":[{"name":"web","containerPort":8080}]}])")},
      {}, "");
  ASSERT_EQ(made->subsets.size(), 1u);
  EXPECT_EQ(made->subsets[0].ports.size(), 2u);
  EXPECT_EQ(made->subsets[0].addresses.size(), 2u);
  EXPECT_TRUE(made->metadata.labels.contains("service.kubernetes.io/headless"));
}

TEST(Endpoints, headlessWithoutPorts) {
  auto made = decideEndpoints(service(R"("clusterIP":"None")"),
                              {pod("a", "10.0.0.1", true, false, R"(,"hostname":"zero","subdomain":"web")")}, {}, "");
  ASSERT_EQ(made->subsets.size(), 1u);
  EXPECT_TRUE(made->subsets[0].ports.empty());
  EXPECT_EQ(made->subsets[0].addresses[0].hostname, "zero");
}

TEST(Endpoints, publishNotReady) {
  auto made = decideEndpoints(service(R"("clusterIP":"None","publishNotReadyAddresses":true)"),
                              {pod("a", "10.0.0.1", false), pod("b", "10.0.0.2", true, true)}, {}, "");
  ASSERT_EQ(made->subsets.size(), 1u);
  EXPECT_EQ(made->subsets[0].addresses.size(), 2u);
  EXPECT_TRUE(made->subsets[0].notReadyAddresses.empty());
}

TEST(Endpoints, cutAtAThousand) {
  std::vector<Ref<Pod>> pods;
  for (int i = 0; i < 1100; ++i)
    pods.push_back(pod(fmt::format("p{:04}", i), fmt::format("10.0.{}.{}", i / 200, i % 200 + 1), i % 11 != 0));
  auto made = decideEndpoints(service(), pods, {}, "");
  ASSERT_EQ(made->subsets.size(), 1u);
  EXPECT_EQ(made->subsets[0].addresses.size(), 1000u) << "the hundred that are not ready go first";
  EXPECT_EQ(made->subsets[0].notReadyAddresses.size(), 0u);
  EXPECT_EQ(schema::valueOf(made->metadata.annotations, "endpoints.kubernetes.io/over-capacity"), "truncated");
  pods.resize(5);
  auto fewer = decideEndpoints(service(), pods, std::move(made).publish(), "");
  EXPECT_FALSE(fewer->metadata.annotations.contains("endpoints.kubernetes.io/over-capacity"));
}

}  // namespace
}  // namespace knarr::controllers
