#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "codec/codec.h"
#include "codec/value.h"
#include "codec/yaml_scalar.h"
#include "fmt/format.h"

namespace knarr::codec {
namespace {

std::string json(std::string_view yaml) {
  auto out = yamlToJson(yaml);
  return out ? *out : "error: " + out.error().message();
}
std::string yaml(std::string_view text) {
  auto out = jsonToYaml(text);
  return out ? *out : "error: " + out.error().message();
}

TEST(Yaml, plainScalars) {
  const std::pair<const char*, const char*> cases[] = {
      {"a: yes", R"({"a":true})"},
      {"a: off", R"({"a":false})"},
      {"a: y", R"({"a":true})"},
      {"a: 'yes'", R"({"a":"yes"})"},
      {"a: 010", R"({"a":8})"},
      {"a: 0o10", R"({"a":8})"},
      {"a: 0x1F", R"({"a":31})"},
      {"a: 0b11", R"({"a":3})"},
      {"a: 1_000", R"({"a":1000})"},
      {"a: -5", R"({"a":-5})"},
      {"a: +5", R"({"a":5})"},
      {"a: 09", R"({"a":9})"},
      {"a: 1.50", R"({"a":1.5})"},
      {"a: 1e3", R"({"a":1000})"},
      {"a: .5", R"({"a":0.5})"},
      {"a: ~", R"({"a":null})"},
      {"a:", R"({"a":null})"},
      {"a: Null", R"({"a":null})"},
      {"a: 100m", R"({"a":"100m"})"},
      {"a: 1.2.3", R"({"a":"1.2.3"})"},
      {"a: 2001-01-02", R"({"a":"2001-01-02"})"},
      {"a: 12:30", R"({"a":"12:30"})"},
      {"a: !!str 1", R"({"a":"1"})"},
      {"a: !!binary aGk=", R"({"a":"hi"})"},
      {"1: x", R"({"1":"x"})"},
      {"true: x", R"({"true":"x"})"},
      {"- 1\n- b", R"([1,"b"])"},
      {"", "null"},
      {"# c", "null"},
      {"a: |\n  x\n  y\n", R"({"a":"x\ny\n"})"},
      {"{a: [1, {b: c}]}", R"({"a":[1,{"b":"c"}]})"},
      {"{\"a\": \"b\"}", R"({"a":"b"})"},
  };
  for (auto [text, want] : cases) EXPECT_EQ(json(text), want) << text;
}

TEST(Yaml, anchorsAndMerges) {
  EXPECT_EQ(json("a: &x {k: 1}\nb: *x\n"), R"({"a":{"k":1},"b":{"k":1}})");
  EXPECT_EQ(json("a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n"), R"({"a":{"k":1,"l":2},"b":{"k":1,"l":3}})");
  EXPECT_EQ(json("b: *x"), "error: yaml: unknown anchor 'x' referenced");
  EXPECT_EQ(json("a: &x [*x]"), "error: yaml: anchor 'x' value contains itself");
  EXPECT_EQ(json("a: {<<: 1}"), "error: yaml: map merge requires map or sequence of maps as the value");
}

TEST(Yaml, errors) {
  EXPECT_TRUE(json("a: [1").starts_with("error: yaml: "));
  EXPECT_TRUE(json("a: b: c").starts_with("error: yaml: "));
  EXPECT_TRUE(json("a: .nan").starts_with("error: error marshaling into JSON"));
  EXPECT_TRUE(json("[1, 2]: x").starts_with("error: yaml: unsupported map key"));
  std::vector<std::string> duplicates;
  ASSERT_TRUE(yamlToJson("a: 1\nb: 2\na: 3\n", &duplicates));
  EXPECT_EQ(duplicates, std::vector<std::string>{"yaml: unmarshal errors:\n  line 3: key \"a\" already set in map"});
  EXPECT_EQ(json("a: 1\nb: 2\na: 3\n"), R"({"a":3,"b":2})");
}

TEST(Yaml, decodesObjectsStrictly) {
  auto pod = decodeYaml(schema::typeInfoOf<corev1::Pod>(),
                        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\nspec:\n  foo: 1\n", {.strict = true});
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->strictErrors, (std::vector<std::string>{"yaml: unmarshal errors:\n  line 5: key \"name\" already set in map",
                                                         "unknown field \"spec.foo\""}));
}

TEST(Yaml, writesTheFamiliarShape) {
  EXPECT_EQ(yaml(R"({"b":[{"x":1,"y":"z"},[]],"a":{},"c":null,"d":"true","e":"1","f":"","g":1.5,"h":"a: b","i":"- x"})"),
            "a: {}\nb:\n- x: 1\n  \"y\": z\n- []\nc: null\nd: \"true\"\ne: \"1\"\nf: \"\"\ng: 1.5\nh: "
            "'a: b'\ni: '- x'\n");
  EXPECT_EQ(yaml(R"({"a":"x\ny\n","b":"x\ny"})"), "a: |\n  x\n  y\nb: |-\n  x\n  y\n");
  EXPECT_EQ(yaml(R"({"a10":1,"a9":1,"A":1,"a-b":1})"), "A: 1\na-b: 1\na9: 1\na10: 1\n");
  EXPECT_EQ(yaml(R"({"t":"2008-01-01T01:01:01Z","n":1e21,"m":12:30})").substr(0, 6), "error:");
  EXPECT_EQ(yaml(R"({"t":"2008-01-01T01:01:01Z","m":"12:30:45"})"), "m: \"12:30:45\"\nt: \"2008-01-01T01:01:01Z\"\n");
  std::string words = "the quick brown fox jumps over the lazy dog and runs away from all the other animals today";
  EXPECT_EQ(yaml("{\"w\":\"" + words + "\"}"),
            "w: the quick brown fox jumps over the lazy dog and runs away from all the other "
            "animals\n  today\n");
}

// What is written is read again as the same value.
TEST(Yaml, roundTripsAwkwardStrings) {
  for (std::string text : {"",
                           " ",
                           "a ",
                           " a",
                           "#x",
                           "a #b",
                           "a: b",
                           ":",
                           "-",
                           "- ",
                           "?",
                           "{",
                           "}",
                           "[",
                           "*a",
                           "&a",
                           "!a",
                           "|",
                           ">",
                           "%",
                           "@",
                           "`",
                           "'",
                           "\"",
                           "a'b",
                           "~",
                           "null",
                           "yes",
                           "0x1",
                           "1e3",
                           "1_0",
                           "\ta",
                           "a\tb",
                           "a\n",
                           "\n",
                           "\n\n",
                           "a\n\nb",
                           " a\nb",
                           "---",
                           "...",
                           "--- a",
                           "=",
                           "<<",
                           "0o7",
                           "\xc3\xbc",
                           "\xf0\x9f\x98\x80",
                           "a\rb",
                           "\x01",
                           "\xef\xbb\xbf",
                           "\xe2\x80\xa8"}) {
    Value value = Value::emptyObject();
    Arena arena;
    value.set(arena, "k", Value::ofString(text));
    value.set(arena, text, Value::ofInt(1));
    std::string expected = toJson(value);
    auto written = jsonToYaml(expected);
    ASSERT_TRUE(written) << expected;
    EXPECT_EQ(json(*written), expected) << *written;
  }
}

TEST(Yaml, splitsDocuments) {
  auto documents = splitYamlDocuments("# head\n---\na: 1\n---\n\n--- # two\nb: 2\n---\n{\"c\": 3}\n---");
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(json(documents[0]), R"({"a":1})");
  EXPECT_EQ(json(documents[1]), R"({"b":2})");
  EXPECT_EQ(json(documents[2]), R"({"c":3})");
  EXPECT_TRUE(splitYamlDocuments("").empty());
  EXPECT_TRUE(splitYamlDocuments("---\n---\n# x\n").empty());
}

TEST(YamlHostile, billionLaughs) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i);
    for (int j = 0; j < 10; ++j) bomb += fmt::format("{}*a{}", j ? "," : "", i - 1);
    bomb += "]\n";
  }
  EXPECT_EQ(json(bomb), "error: yaml: document contains excessive aliasing");
}

TEST(YamlHostile, depthAndSize) {
  EXPECT_TRUE(json(std::string(100'000, '[')).starts_with("error: yaml: "));
  std::string nested;
  for (int i = 0; i < 3000; ++i) nested += "- ";
  EXPECT_TRUE(json(nested + "x").starts_with("error: yaml: "));
  EXPECT_FALSE(yamlToJson("a: 1", nullptr, 2));
}

}  // namespace
}  // namespace knarr::codec
