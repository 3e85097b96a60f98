#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "api/apiextensions_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "codec/codec.h"

namespace knarr::codec {
namespace {

const schema::TypeInfo& podType() { return schema::typeInfoOf<corev1::Pod>(); }

schema::Ref<void> samplePod(std::string_view name) {
  auto text = fmt::format(
      R"({{"metadata":{{"name":"{}","labels":{{"a":"1"}},"creationTimestamp":"2026-01-02T03:04:05Z"}},"spec":{{
      "containers":[{{"name":"c","ports":[{{"containerPort":80}}],"livenessProbe":{{"httpGet":{{"port":"http"}}}}}}],
      "priority":-5,"volumes":[{{"name":"v","emptyDir":{{"sizeLimit":"1Gi"}}}}]}}}})",
      name);
  return std::move(decodeJson(podType(), text)->object).publish();
}

TEST(Protobuf, negativeNumbersTakeTenBytes) {
  Arena arena;
  auto* status = arena.make<corev1::ContainerStateTerminated>();
  status->exitCode = -1;
  std::string bytes = encodeProtobufValue(schema::typeInfoOf<corev1::ContainerStateTerminated>(), status);
  EXPECT_EQ(bytes.substr(0, 11), std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
}

TEST(Protobuf, bareAndEnveloped) {
  auto pod = samplePod("a");
  std::string enveloped = encodeProtobuf(pod.object());
  ASSERT_TRUE(hasProtobufEnvelope(enveloped));
  auto envelope = openProtobufEnvelope(enveloped);
  ASSERT_TRUE(envelope);
  EXPECT_EQ(envelope->typeMeta.kind, "Pod");
  EXPECT_EQ(envelope->typeMeta.apiVersion, "v1");
  auto bare = decodeProtobuf(podType(), envelope->raw);
  ASSERT_TRUE(bare);
  EXPECT_TRUE(schema::deepEqual(podType(), bare->root(), pod.root()));
  EXPECT_EQ(wrapProtobuf("v1", "Pod", envelope->raw), enveloped);
  EXPECT_FALSE(openProtobufEnvelope("{}"));
}

TEST(Protobuf, unknownFieldsArePassedOver) {
  // Field 2000 in every wire type, around a name.
  std::string bytes = "\x80\x7d\x05";
  bytes += "\x81\x7d";
  bytes += "12345678";
  bytes += "\x82\x7d\x03xyz";
  bytes += "\x83\x7d\x08\x01\x84\x7d";
  bytes += "\x85\x7d";
  bytes += "1234";
  bytes += "\x0a\x03\x0a\x01n";
  auto pod = decodeProtobuf(podType(), bytes);
  ASSERT_TRUE(pod) << pod.error().message();
  EXPECT_EQ(schema::metadataOf(*pod).name, "n");
}

TEST(Protobuf, unsortedMapsAndPackedNumbers) {
  auto entry = [](std::string key, std::string value) {
    std::string inner = "\x0a" + std::string(1, char(key.size())) + key + "\x12" + std::string(1, char(value.size())) + value;
    return "\x12" + std::string(1, char(inner.size())) + inner;
  };
  auto map = decodeProtobuf(schema::typeInfoOf<corev1::ConfigMap>(), entry("b", "1") + entry("a", "2") + entry("b", "3"));
  ASSERT_TRUE(map);
  schema::Mut<corev1::ConfigMap> config(std::move(*map));
  ASSERT_EQ(config->data.size(), 2u);
  EXPECT_EQ(schema::valueOf(config->data, "b"), "3");
  // PodSecurityContext.supplementalGroups = 4, packed.
  auto context = decodeProtobuf(schema::typeInfoOf<corev1::PodSecurityContext>(), "\x22\x03\x01\xac\x02");
  ASSERT_TRUE(context);
  schema::Mut<corev1::PodSecurityContext> groups(std::move(*context));
  ASSERT_EQ(groups->supplementalGroups.size(), 2u);
  EXPECT_EQ(groups->supplementalGroups[1], 300);
}

TEST(ProtobufHostile, everyPrefixIsReadSafely) {
  std::string bytes = encodeProtobuf(samplePod("prefix").object());
  int failed = 0;
  for (size_t i = 4; i < bytes.size(); ++i) failed += decodeProtobuf(podType(), bytes.substr(0, i)) ? 0 : 1;
  EXPECT_GT(failed, static_cast<int>(bytes.size()) / 2);
}

TEST(ProtobufHostile, lengthsAndDepth) {
  EXPECT_FALSE(decodeProtobuf(podType(), "\x0a\xff\xff\xff\xff\x0f"));
  EXPECT_FALSE(decodeProtobuf(podType(), "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
  EXPECT_FALSE(decodeProtobuf(podType(), "\x08\x01"));  // metadata is no number
  EXPECT_FALSE(decodeProtobuf(podType(), std::string(1, '\0')));
  // JSONSchemaProps.not = 28 nested 5000 times, each with its true length.
  std::string nested;
  for (int i = 0; i < 5000; ++i) {
    std::string length;
    size_t n = nested.size();
    for (; n >= 0x80; n >>= 7) length += static_cast<char>(n | 0x80);
    length += static_cast<char>(n);
    nested = "\xe2\x01" + length + nested;
  }
  auto deep = decodeProtobuf(schema::typeInfoOf<apiextensionsv1::JSONSchemaProps>(), nested);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().message(), "the message is nested too deeply");
  EXPECT_EQ(decodeProtobuf(podType(), "1234", 3).error().code(), 413);
}

TEST(ProtobufHostile, mutatedBytesNeverHarm) {
  std::string bytes = encodeProtobuf(samplePod("mutated").object());
  std::mt19937 random(20260203);
  int decodedCount = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string mutated = bytes;
    for (int change = 0; change < 3; ++change) mutated[4 + random() % (mutated.size() - 4)] = static_cast<char>(random());
    auto object = decodeProtobuf(podType(), mutated);
    if (!object) continue;
    ++decodedCount;
    // What was accepted can be encoded in every form, and comes back equal.
    auto again = decodeProtobuf(podType(), encodeProtobuf(object->object()));
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(schema::deepEqual(podType(), object->root(), again->root()));
    EXPECT_TRUE(decodeJson(podType(), encodeJson(object->object())));
  }
  EXPECT_GT(decodedCount, 100);
}

TEST(Lists, areBuiltFromItemEncodings) {
  std::vector<Ref<void>> items = {samplePod("a"), samplePod("b")};
  ListHead head{.apiVersion = "v1", .kind = "PodList", .resourceVersion = "7", .continueToken = "t", .remainingItemCount = 3};
  std::string json, protobuf;
  writeJsonList(head, items, [&](std::string_view piece) { json += piece; });
  writeProtobufList(head, items, [&](std::string_view piece) { protobuf += piece; });

  const schema::TypeInfo& listType = schema::typeInfoOf<corev1::PodList>();
  auto list = decodeJson(listType, json, {.strict = true});
  ASSERT_TRUE(list) << list.error().message();
  // The streamed bytes are those of the list object itself.
  EXPECT_EQ(encodeJson(list->object.object()), json);
  EXPECT_EQ(encodeProtobuf(list->object.object()), protobuf);
  EXPECT_EQ(schema::Mut<corev1::PodList>(std::move(list->object))->items[1].metadata.name, "b");

  std::string kept, empty;
  head.itemsCarryTypeMeta = true;
  writeJsonList(head, items, [&](std::string_view piece) { kept += piece; });
  EXPECT_NE(kept.find(R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"b")"), std::string::npos);
  writeJsonList({.apiVersion = "v1", .kind = "PodList"}, {}, [&](std::string_view piece) { empty += piece; });
  EXPECT_EQ(empty, R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]})");
}

}  // namespace
}  // namespace knarr::codec
