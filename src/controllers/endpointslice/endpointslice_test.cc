// Slices of Services, by table.
#include "controllers/endpointslice/endpointslice.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/codec.h"

namespace knarr::controllers {
namespace {

using corev1::Pod;
using corev1::Service;
using discoveryv1::EndpointSlice;

template <class T>
Ref<T> fromJson(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  EXPECT_TRUE(decoded) << json << ": " << (decoded ? "" : decoded.error().describe());
  return Mut<T>(std::move(decoded->object)).publish();
}

Ref<Service> service(
    const std::string& spec = R"("clusterIP":"10.96.0.5","ports":[{"name":"http","port":80,"targetPort":8080}])") {
  return fromJson<Service>(fmt::format(
      R"({{"metadata":{{"name":"web","namespace":"default","uid":"s1","labels":{{"tier":"front"}}}},"spec":{{"selector":{{"app":"web"}},{}}}}})",
      spec));
}

Ref<Pod> pod(const std::string& name, const std::string& ip, bool ready = true, bool going = false,
             const std::string& spec = "") {
  return fromJson<Pod>(fmt::format(
      R"({{"metadata":{{"name":"{}","namespace":"default","uid":"u-{}"{}}},"spec":{{"nodeName":"n1"{}}},
          "status":{{"phase":"Running","podIP":"{}","podIPs":[{{"ip":"{}"}}],"conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
      name, name, going ? R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")" : "", spec, ip, ip, ready ? "True" : "False"));
}

EndpointSliceInputs inputs(Ref<Service> of, std::vector<Ref<Pod>> pods) {
  EndpointSliceInputs in;
  in.service = std::move(of);
  in.pods = std::move(pods);
  in.nodes["n1"] = fromJson<corev1::Node>(R"({"metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"z1"}}})");
  return in;
}

std::vector<Ref<Pod>> somePods(int count) {
  std::vector<Ref<Pod>> pods;
  for (int i = 0; i < count; ++i) pods.push_back(pod(fmt::format("p{:03}", i), fmt::format("10.0.{}.{}", i / 200, i % 200 + 1)));
  return pods;
}

// What a server makes of the writes: names, and the new contents.
void apply(EndpointSliceInputs& in, EndpointSlicePlan plan, int& nextName) {
  for (auto& slice : plan.remove)
    std::erase_if(in.slices, [&](const auto& one) { return one->metadata.name == slice->metadata.name; });
  for (auto& slice : plan.update)
    for (auto& one : in.slices)
      if (one->metadata.name == slice->metadata.name) {
        one = std::move(slice).publish();
        break;
      }
  for (auto& slice : plan.create) {
    slice->metadata.name = slice.str(fmt::format("web-{}", nextName++));
    in.slices.push_back(std::move(slice).publish());
  }
}

std::vector<size_t> sizes(const EndpointSliceInputs& in) {
  std::vector<size_t> out;
  for (const auto& slice : in.slices) out.push_back(slice->endpoints.size());
  return out;
}

TEST(EndpointSlices, firstSlice) {
  auto in = inputs(service(), {pod("a", "10.0.0.1"), pod("b", "10.0.0.2", false), pod("c", "10.0.0.3", true, true)});
  in.triggerTime = "2026-01-01T00:00:00Z";
  auto plan = decideEndpointSlices(in);
  ASSERT_EQ(plan.create.size(), 1u);
  EXPECT_TRUE(plan.update.empty() && plan.remove.empty());
  EXPECT_EQ(
      codec::encodeJson(plan.create[0].object()),
      R"({"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"generateName":"web-","namespace":"default",)"
      R"("labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","tier":"front"},)"
      R"("annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"2026-01-01T00:00:00Z"},)"
      R"("ownerReferences":[{"apiVersion":"v1","kind":"Service","name":"web","uid":"s1","controller":true,"blockOwnerDeletion":true}]},)"
      R"("addressType":"IPv4","endpoints":[)"
      R"({"addresses":["10.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false},"targetRef":{"kind":"Pod","namespace":"default","name":"a","uid":"u-a"},"nodeName":"n1","zone":"z1"},)"
      R"({"addresses":["10.0.0.2"],"conditions":{"ready":false,"serving":false,"terminating":false},"targetRef":{"kind":"Pod","namespace":"default","name":"b","uid":"u-b"},"nodeName":"n1","zone":"z1"},)"
      R"({"addresses":["10.0.0.3"],"conditions":{"ready":false,"serving":true,"terminating":true},"targetRef":{"kind":"Pod","namespace":"default","name":"c","uid":"u-c"},"nodeName":"n1","zone":"z1"}],)"
      R"("ports":[{"name":"http","protocol":"TCP","port":8080}]})");
}

TEST(EndpointSlices, settles) {
  auto in = inputs(service(), somePods(5));
  int name = 0;
  apply(in, decideEndpointSlices(in), name);
  auto again = decideEndpointSlices(in);
  EXPECT_TRUE(again.create.empty() && again.update.empty() && again.remove.empty());
}

TEST(EndpointSlices, packsAtMostTheMaximum) {
  auto in = inputs(service(), somePods(250));
  int name = 0;
  apply(in, decideEndpointSlices(in), name);
  EXPECT_EQ(sizes(in), (std::vector<size_t>{100, 100, 50}));
  // Ten more fit into the slice that has room; nothing else is touched.
  in.pods = somePods(260);
  auto plan = decideEndpointSlices(in);
  EXPECT_EQ(plan.update.size(), 1u);
  EXPECT_TRUE(plan.create.empty() && plan.remove.empty());
  apply(in, std::move(plan), name);
  EXPECT_EQ(sizes(in), (std::vector<size_t>{100, 100, 60}));
  // Two pods of the first slice go and three come: the slice that changes anyway takes two, and one goes where there is room.
  auto pods = somePods(263);
  pods.erase(pods.begin() + 9);  // 10.0.0.1 and 10.0.0.10 share a slice: the order is that of texts
  pods.erase(pods.begin());
  in.pods = pods;
  plan = decideEndpointSlices(in);
  EXPECT_EQ(plan.update.size(), 2u);
  apply(in, std::move(plan), name);
  EXPECT_EQ(sizes(in), (std::vector<size_t>{100, 100, 61}));
}

TEST(EndpointSlices, placeholderAndRecycling) {
  int name = 0;
  auto in = inputs(service(), {});
  auto plan = decideEndpointSlices(in);
  ASSERT_EQ(plan.create.size(), 1u);
  EXPECT_TRUE(plan.create[0]->endpoints.empty() && plan.create[0]->ports.empty());
  apply(in, std::move(plan), name);
  plan = decideEndpointSlices(in);
  EXPECT_TRUE(plan.create.empty() && plan.update.empty() && plan.remove.empty()) << "an empty Service keeps its placeholder";
  in.pods = {pod("a", "10.0.0.1")};
  plan = decideEndpointSlices(in);
  EXPECT_TRUE(plan.create.empty() && plan.remove.empty());
  ASSERT_EQ(plan.update.size(), 1u) << "the placeholder becomes the first slice";
  EXPECT_EQ(plan.update[0]->metadata.name, "web-0");
  EXPECT_EQ(plan.update[0]->endpoints.size(), 1u);
  EXPECT_EQ(plan.update[0]->ports.size(), 1u);
}

TEST(EndpointSlices, portSetsApart) {
  auto named =
      service(R"("clusterIP":"10.96.0.5","ports":[{"name":"http","port":80,"targetPort":"web"},{"name":"plain","port":81}])");
  auto in = inputs(
      named, {pod("a", "10.0.0.1", true, false, R"(,"containers":[{"name":"c","ports":[{"name":"web","containerPort":8080}]}])"),
              pod("b", "10.0.0.2", true, false, R"(,"containers":[{"name":"c","ports":[{"name":"web","containerPort":9090}]}])"),
              pod("c", "10.0.0.3")});
  auto plan = decideEndpointSlices(in);
  ASSERT_EQ(plan.create.size(), 3u);
  std::set<std::vector<int>> ports;
  for (const auto& slice : plan.create) {
    std::vector<int> numbers;
    for (const auto& port : slice->ports) numbers.push_back(*port.port);
    ports.insert(numbers);
  }
  EXPECT_EQ(ports, (std::set<std::vector<int>>{{8080, 81}, {9090, 81}, {81}}));
}

TEST(EndpointSlices, familiesAndHeadless) {
  EXPECT_EQ(addressTypesOf(*service(R"("clusterIP":"10.0.0.1")")), (std::vector<std::string>{"IPv4"}));
  EXPECT_EQ(addressTypesOf(*service(R"("clusterIP":"fd00::1")")), (std::vector<std::string>{"IPv6"}));
  EXPECT_EQ(addressTypesOf(*service(R"("clusterIP":"None")")), (std::vector<std::string>{"IPv4", "IPv6"}));
  EXPECT_EQ(addressTypesOf(*service(R"("clusterIP":"None","ipFamilies":["IPv6","IPv4"])")),
            (std::vector<std::string>{"IPv6", "IPv4"}));
  auto in = inputs(service(R"("clusterIP":"None","ipFamilies":["IPv4"],"publishNotReadyAddresses":true)"),
                   {pod("a", "10.0.0.1", false, false, R"(,"hostname":"zero","subdomain":"web")"), pod("b", "fd00::5")});
  auto plan = decideEndpointSlices(in);
  ASSERT_EQ(plan.create.size(), 1u);
  const auto& slice = plan.create[0];
  ASSERT_EQ(slice->endpoints.size(), 1u);
  EXPECT_EQ(*slice->endpoints[0].hostname, "zero");
  EXPECT_TRUE(*slice->endpoints[0].conditions.ready) << "published though it is not ready";
  EXPECT_TRUE(slice->metadata.labels.contains("service.kubernetes.io/headless"));
}

TEST(EndpointSlices, unknownNode) {
  auto in = inputs(service(), {pod("a", "10.0.0.1")});
  in.nodes.clear();
  auto plan = decideEndpointSlices(in);
  EXPECT_EQ(plan.podsWithoutNode, std::vector<std::string>{"a"});
  ASSERT_EQ(plan.create.size(), 1u);
  EXPECT_TRUE(plan.create[0]->endpoints.empty());
}

TEST(EndpointSlices, labelsFollowTheService) {
  auto in = inputs(service(), {pod("a", "10.0.0.1")});
  int name = 0;
  apply(in, decideEndpointSlices(in), name);
  auto changed = schema::edit(in.service);
  schema::set(changed->metadata.labels, changed.arena(), "tier", "back");
  in.service = std::move(changed).publish();
  auto plan = decideEndpointSlices(in);
  ASSERT_EQ(plan.update.size(), 1u);
  EXPECT_EQ(schema::valueOf(plan.update[0]->metadata.labels, "tier"), "back");
}

TEST(EndpointSlices, hintsOfTrafficDistribution) {
  auto in = inputs(service(R"("clusterIP":"10.0.0.1","trafficDistribution":"PreferSameNode")"),
                   {pod("a", "10.0.0.1"), pod("b", "10.0.0.2", false)});
  auto plan = decideEndpointSlices(in);
  ASSERT_EQ(plan.create.size(), 1u);
  const auto& endpoints = plan.create[0]->endpoints;
  ASSERT_TRUE(endpoints[0].hints);
  EXPECT_EQ(endpoints[0].hints->forZones[0].name, "z1");
  EXPECT_EQ(endpoints[0].hints->forNodes[0].name, "n1");
  EXPECT_FALSE(endpoints[1].hints);
}

}  // namespace
}  // namespace knarr::controllers
