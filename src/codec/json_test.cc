#include <gtest/gtest.h>

#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "codec/codec.h"
#include "codec/json_text.h"

namespace knarr::codec {
namespace {

template <class T>
Decoded decoded(std::string_view text, bool strict = false) {
  auto out = decodeJson(schema::typeInfoOf<T>(), text, {.strict = strict});
  EXPECT_TRUE(out) << text << ": " << out.error().message();
  return std::move(*out);
}
template <class T>
std::string errorOf(std::string_view text) {
  auto out = decodeJson(schema::typeInfoOf<T>(), text);
  return out ? "no error" : out.error().message();
}
template <class T>
std::string reencoded(std::string_view text) {
  return encodeJson(decoded<T>(text).object.object());
}

TEST(JsonDecode, readsFieldsInAnyOrder) {
  auto pod =
      schema::Mut<corev1::Pod>(decoded<corev1::Pod>(
                                   R"({"spec":{"nodeName":"n","containers":[{"image":"i","name":"c"}]},"metadata":{"labels":
      {"b":"2","a":"1"},"name":"p"},"kind":"Pod","apiVersion":"v1"})")
                                   .object);
  EXPECT_EQ(pod->metadata.name, "p");
  EXPECT_EQ(pod->spec.nodeName, "n");
  EXPECT_EQ(pod->spec.containers[0].image, "i");
  EXPECT_EQ(schema::valueOf(pod->metadata.labels, "b"), "2");
  EXPECT_EQ(pod->metadata.labels.entries[0].key, "a");
}

TEST(JsonDecode, goErrors) {
  EXPECT_EQ(errorOf<appsv1::Deployment>(R"({"spec":{"replicas":"3"}})"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of "
            "type int32");
  EXPECT_EQ(errorOf<appsv1::Deployment>(R"({"spec":{"template":{"spec":{"containers":[{"env":[{"value":1}]}]}}}})"),
            "json: cannot unmarshal number into Go struct field "
            "EnvVar.spec.template.spec.containers.env.value of type string");
  EXPECT_EQ(errorOf<appsv1::Deployment>(R"({"spec":{"replicas":99999999999}})"),
            "json: cannot unmarshal number 99999999999 into Go struct field "
            "DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(errorOf<appsv1::Deployment>(R"({"spec":{"replicas":1.0}})"),
            "json: cannot unmarshal number 1.0 into Go struct field DeploymentSpec.spec.replicas "
            "of type int32");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"spec":{"containers":{}}})"),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
            "[]v1.Container");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"spec":[]})"),
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"metadata":{"labels":{"a":true}}})"),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"metadata":{"labels":["a"]}})"),
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type "
            "map[string]string");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"spec":{"restartPolicy":1}})"),
            "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type "
            "v1.RestartPolicy");
  EXPECT_EQ(errorOf<corev1::Pod>("[]"), "json: cannot unmarshal array into Go value of type v1.Pod");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"kind":1})"), "json: cannot unmarshal number into Go struct field Pod.kind of type string");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"metadata":{"creationTimestamp":"yesterday"}})"),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse "
            "\"yesterday\" as \"2006\"");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"metadata":{"creationTimestamp":"2026-13-01T00:00:00Z"}})"),
            "parsing time \"2026-13-01T00:00:00Z\": month out of range");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"metadata":{"creationTimestamp":5}})"),
            "json: cannot unmarshal number into Go value of type string");
  EXPECT_EQ(errorOf<corev1::Pod>(R"({"spec":{"overhead":{"cpu":"1x"}}})"),
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  EXPECT_EQ(errorOf<corev1::Secret>(R"({"data":{"a":"%"}})"), "illegal base64 data at input byte 0");
  EXPECT_EQ(errorOf<corev1::Service>(R"({"spec":{"ports":[{"targetPort":true}]}})"),
            "json: cannot unmarshal bool into Go value of type int32");
}

TEST(JsonDecode, goSyntaxErrors) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "unexpected end of JSON input"},
      {"{", "unexpected end of JSON input"},
      {R"({"a")", "unexpected end of JSON input"},
      {R"({"metadata":{"name":"x)", "unexpected end of JSON input"},
      {"{a}", "invalid character 'a' looking for beginning of object key string"},
      {R"({"a" 1})", "invalid character '1' after object key"},
      {R"({"a":1 "b":2})", "invalid character '\"' after object key:value pair"},
      {R"({"a":[1 2]})", "invalid character '2' after array element"},
      {R"({"a":})", "invalid character '}' looking for beginning of value"},
      {R"({"a":1,})", "invalid character '}' looking for beginning of object key string"},
      {R"({} x)", "invalid character 'x' after top-level value"},
      {R"({"a":tru})", "invalid character '}' in literal true (expecting 'e')"},
      {R"({"a":01})", "invalid character '1' after object key:value pair"},
      {R"({"a":1.})", "invalid character '}' after decimal point in numeric literal"},
      {R"({"a":1e})", "invalid character '}' in exponent of numeric literal"},
      {R"({"a":-})", "invalid character '}' in numeric literal"},
      {"{\"a\":\"\n\"}", "invalid character '\\n' in string literal"},
      {R"({"a":"\x"})", "invalid character 'x' in string escape code"},
      {R"({"a":"\u12g4"})", "invalid character 'g' in \\u hexadecimal character escape"},
      {"\xff", "invalid character '\xc3\xbf' looking for beginning of value"},
      // A syntax error is told even where a type error stands before it.
      {R"({"spec":1,})", "invalid character '}' looking for beginning of object key string"},
  };
  for (auto [text, want] : cases) EXPECT_EQ(errorOf<corev1::Pod>(text), want) << text;
}

TEST(JsonDecode, strictErrorsNamePaths) {
  auto out = decoded<corev1::Pod>(
      R"({"Kind":"x","metadata":{"name":"a","name":"b","labels":{"z":"1","z":"2"},"colour":1},
          "spec":{"containers":[{"name":"c"},{"name":"d","foo":{"bar":1},"foo":2}]},"kind":"Pod","kind":"Pod"})",
      true);
  EXPECT_EQ(out.strictErrors, (std::vector<std::string>{
                                  "unknown field \"Kind\"",
                                  "duplicate field \"metadata.name\"",
                                  "duplicate field \"metadata.labels.z\"",
                                  "unknown field \"metadata.colour\"",
                                  "unknown field \"spec.containers[1].foo\"",
                                  "duplicate field \"kind\"",
                              }));
  EXPECT_EQ(schema::Mut<corev1::Pod>(std::move(out.object))->metadata.name, "b");
  EXPECT_TRUE(decoded<corev1::Pod>(R"({"Kind":"x"})").strictErrors.empty());
  // The number of errors is bounded.
  std::string many = "{";
  for (int i = 0; i < 500; ++i) many += (i ? ",\"x" : "\"x") + std::to_string(i) + "\":1";
  EXPECT_EQ(decoded<corev1::Pod>(many + "}", true).strictErrors.size(), kStrictErrorsMax);
}

TEST(JsonDecode, nullLeavesUnset) {
  EXPECT_EQ(reencoded<corev1::ConfigMap>(R"({"metadata":null,"data":null,"immutable":null})"),
            R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{}})");
  EXPECT_EQ(reencoded<corev1::ConfigMap>(R"({"data":{"a":null}})"),
            R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{},"data":{"a":""}})");
  EXPECT_EQ(reencoded<corev1::ConfigMap>("null"), R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{}})");
}

TEST(JsonEncode, escapesLikeGo) {
  EXPECT_EQ(reencoded<corev1::ConfigMap>("{\"data\":{\"a\":\"<&>\\u2028\\u0001\\b\\f\\n\\r\\t\\\"\\\\\\/\x7f\"}}"),
            "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{},\"data\":{\"a\":"
            "\"\\u003c\\u0026\\u003e\\u2028\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\x7f\"}}");
  // Bad UTF-8 and lone surrogates become U+FFFD on the way in.
  auto map =
      schema::Mut<corev1::ConfigMap>(decoded<corev1::ConfigMap>("{\"data\":{\"a\":\"x\xff\\ud800y\\ud83d\\ude00\"}}").object);
  EXPECT_EQ(schema::valueOf(map->data, "a"), "x\xef\xbf\xbd\xef\xbf\xbdy\xf0\x9f\x98\x80");
  std::string out;
  appendJsonString(out, "\xc0\x80");
  EXPECT_EQ(out, "\"\\ufffd\\ufffd\"");
}

TEST(JsonEncode, numbersLikeGo) {
  auto text = [](double value) {
    std::string out;
    appendJsonDouble(out, value);
    return out;
  };
  EXPECT_EQ(text(1), "1");
  EXPECT_EQ(text(0.1), "0.1");
  EXPECT_EQ(text(-0.0), "-0");
  EXPECT_EQ(text(1e20), "100000000000000000000");
  EXPECT_EQ(text(1e21), "1e+21");
  EXPECT_EQ(text(1e-6), "0.000001");
  EXPECT_EQ(text(1e-7), "1e-7");
  EXPECT_EQ(text(1.5e-10), "1.5e-10");
}

TEST(JsonEncode, omitsAsGoDoes) {
  EXPECT_EQ(reencoded<corev1::Pod>("{}"),
            R"({"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":null},"status":{}})");
  EXPECT_EQ(reencoded<corev1::Pod>(R"({"spec":{"containers":[]}})"),
            R"({"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":[]},"status":{}})");
  // A pointer to zero is not omitted.
  EXPECT_EQ(
      reencoded<corev1::Pod>(R"({"spec":{"containers":[],"terminationGracePeriodSeconds":0}})"),
      R"({"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":[],"terminationGracePeriodSeconds":0},"status":{}})");
}

TEST(JsonEncode, rawValuesStayAsTheyAre) {
  EXPECT_EQ(
      reencoded<appsv1::ControllerRevision>(R"({"data": {"b": [1.0, "<"], "a" : "x y"}, "revision":1})"),
      R"({"kind":"ControllerRevision","apiVersion":"apps/v1","metadata":{},"data":{"b":[1.0,"\u003c"],"a":"x y"},"revision":1})");
}

TEST(JsonEncode, schemaOrForms) {
  const char* schema =
      R"({"items":[{"type":"string"}],"additionalProperties":false,"dependencies":{"a":["b"],"c":{"type":"object"}}})";
  Arena arena;
  auto* props = arena.make<apiextensionsv1::JSONSchemaProps>();
  ASSERT_TRUE(decodeJsonValue(schema::typeInfoOf<apiextensionsv1::JSONSchemaProps>(), schema, props, arena));
  EXPECT_EQ(props->items->jsonSchemas.size(), 1u);
  EXPECT_FALSE(props->additionalProperties->allows);
  EXPECT_EQ(encodeJsonValue(schema::typeInfoOf<apiextensionsv1::JSONSchemaProps>(), props), schema);
}

TEST(Json, peekTypeMeta) {
  auto meta = peekTypeMeta(R"({"metadata":{"kind":"no"},"kind":"Deployment","apiVersion":"apps/v1","spec":)");
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->kind, "Deployment");
  EXPECT_EQ(meta->group(), "apps");
  EXPECT_EQ(meta->version(), "v1");
  EXPECT_EQ(peekTypeMeta(R"({"apiVersion":"v1"})")->group(), "");
  EXPECT_EQ(peekTypeMeta("{").error().message(), "couldn't get version/kind; json parse error: unexpected end of JSON input");
  EXPECT_EQ(peekTypeMeta("{\"a\":1,}").error().message(),
            "couldn't get version/kind; json parse error: invalid character '}' looking for "
            "beginning of object key string");
}

TEST(Json, indentsLikeGo) {
  EXPECT_EQ(indentJson(R"({"a":[],"b":{},"c":[1,{"d":"{,"}]})"),
            "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"{,\"\n    "
            "}\n  ]\n}");
}

TEST(Json, remembersEncodings) {
  auto pod = std::move(decoded<corev1::Pod>(R"({"metadata":{"name":"a"}})").object).publish();
  auto first = encodedJson(pod);
  EXPECT_EQ(first.get(), encodedJson(pod).get());
  EXPECT_EQ(*first, encodeJson(pod.object()));
  EXPECT_EQ(encodedProtobuf(pod).get(), encodedProtobuf(pod).get());
}

TEST(JsonHostile, depthIsBounded) {
  std::string deep(100'000, '['), objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(errorOf<corev1::Pod>("{\"x\":" + deep), "exceeded max depth");
  EXPECT_EQ(errorOf<corev1::Pod>("{\"x\":" + objects), "exceeded max depth");
  EXPECT_EQ(errorOf<appsv1::ControllerRevision>("{\"data\":" + objects), "exceeded max depth");
  std::string schemas;
  for (int i = 0; i < 100'000; ++i) schemas += "{\"not\":";
  EXPECT_EQ(
      errorOf<apiextensionsv1::CustomResourceDefinition>("{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":" + schemas),
      "exceeded max depth");
}

TEST(JsonHostile, everyPrefixFails) {
  std::string text =
      R"({"kind":"Pod","metadata":{"name":"a\u0041","labels":{"x":"y"}},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}},"ports":[{"containerPort":-80}]}]}})";
  ASSERT_EQ(errorOf<corev1::Pod>(text), "no error");
  for (size_t i = 0; i < text.size(); ++i)
    EXPECT_EQ(errorOf<corev1::Pod>(text.substr(0, i)), "unexpected end of JSON input") << i;
}

TEST(JsonHostile, sizes) {
  auto tooLong = decodeJson(schema::typeInfoOf<corev1::Pod>(), "{\"a\":1}", {.bytesMax = 3});
  ASSERT_FALSE(tooLong);
  EXPECT_EQ(tooLong.error().code(), 413);
  EXPECT_EQ(errorOf<corev1::Pod>("{\"spec\":{\"priority\":" + std::string(5000, '9') + "}}").substr(0, 40),
            "json: cannot unmarshal number 9999999999");
  EXPECT_EQ(errorOf<corev1::Pod>("{\"spec\":{\"overhead\":{\"cpu\":\"" + std::string(5000, '9') + "\"}}}"),
            "quantity is too long");
  // Keys in falling order must not cost quadratic time.
  std::string map = "{\"data\":{";
  for (int i = 99'999; i >= 0; --i) map += "\"k" + std::to_string(100'000 + i) + "\":\"\"" + (i ? "," : "");
  auto config = schema::Mut<corev1::ConfigMap>(decoded<corev1::ConfigMap>(map + "}}").object);
  EXPECT_EQ(config->data.size(), 100'000u);
  EXPECT_TRUE(config->data.contains("k100000"));
}

}  // namespace
}  // namespace knarr::codec
