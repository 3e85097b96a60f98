// Field sets, typed values and managed fields.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "apimachinery/patch/managed_fields.h"
#include "codec/codec.h"

namespace knarr::apimachinery {
namespace {

using codec::Value;

class ApplyTest : public ::testing::Test {
 protected:
  Value parse(std::string_view json) {
    auto value = codec::parseJsonValue(json, arena_);
    EXPECT_TRUE(value) << json;
    return value.value_or(Value());
  }
  FieldSet fieldsOf(std::string_view json) {
    auto set = toFieldSet(pod_, parse(json));
    EXPECT_TRUE(set) << (set ? "" : set.error().message());
    return set.value_or(FieldSet());
  }
  static FieldSet setOf(std::string_view json) {
    auto set = FieldSet::fromJson(json);
    EXPECT_TRUE(set) << json;
    return set.value_or(FieldSet());
  }
  SchemaRef pod_ = SchemaRef::ofType(schema::typeInfoOf<corev1::Pod>());
  Arena arena_;
};

TEST_F(ApplyTest, fieldsV1RoundTrip) {
  for (const char* json : {R"({})", R"({"f:spec":{"f:replicas":{}}})", R"({"f:metadata":{"f:labels":{".":{},"f:app":{}}}})",
                           R"({"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}}}})",
                           R"({"f:metadata":{"f:finalizers":{"v:\"x\"":{}}}})"})
    EXPECT_EQ(setOf(json).toJson(), json);
  for (const char* json : {R"([])", R"({"x:spec":{}})", R"({"f":{}})", R"({"f:a":1})", R"({)"})
    EXPECT_FALSE(FieldSet::fromJson(json)) << json;
}

TEST_F(ApplyTest, setAlgebra) {
  FieldSet a = setOf(R"({"f:x":{".":{},"f:y":{}},"f:z":{}})"), b = setOf(R"({"f:x":{"f:y":{},"f:w":{}}})");
  EXPECT_EQ(FieldSet::unite(a, b).toJson(), R"({"f:x":{".":{},"f:w":{},"f:y":{}},"f:z":{}})");
  EXPECT_EQ(FieldSet::intersect(a, b).toJson(), R"({"f:x":{"f:y":{}}})");
  EXPECT_EQ(FieldSet::subtract(a, b).toJson(), R"({"f:x":{},"f:z":{}})") << "x itself stays owned";
  EXPECT_EQ(FieldSet::subtract(b, a).toJson(), R"({"f:x":{"f:w":{}}})");
  EXPECT_TRUE(FieldSet::subtract(a, a).empty());
  a.removeSubtree({"f:x"});
  EXPECT_EQ(a.toJson(), R"({"f:z":{}})");
  EXPECT_EQ(setOf(R"({"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:image":{}}}}})").paths(),
            std::vector<std::string>{R"(.spec.containers[name="a"].image)"});
}

TEST_F(ApplyTest, whatAValueSets) {
  struct Case {
    const char *value, *fields;
  };
  for (
      Case c : std::initializer_list<Case>{
          {R"({"metadata":{"labels":{"a":"b"},"finalizers":["x"]}})",
           R"({"f:metadata":{"f:finalizers":{"v:\"x\"":{}},"f:labels":{"f:a":{}}}})"},
          {R"({"spec":{"containers":[{"name":"c","image":"i","args":["1","2"]}]}})",
           R"({"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:args":{},"f:image":{},"f:name":{}}}}})"},
          {R"({"spec":{"containers":[{"name":"c","ports":[{"containerPort":80}]}]}})",
           R"({"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}})"},
          {R"({"spec":{"nodeSelector":{"a":"b"}}})", R"({"f:spec":{"f:nodeSelector":{}}})"},
          {R"({"spec":{"securityContext":{}}})", R"({"f:spec":{"f:securityContext":{}}})"},
          {R"({"spec":{"nodeName":null}})", R"({"f:spec":{"f:nodeName":{}}})"},
      })
    EXPECT_EQ(fieldsOf(c.value).toJson(), c.fields) << c.value;
  EXPECT_FALSE(toFieldSet(pod_, parse(R"({"spec":{"frob":1}})"))) << "an unknown field";
  EXPECT_FALSE(toFieldSet(pod_, parse(R"({"spec":{"containers":[{"name":"a"},{"name":"a"}]}})"))) << "an item twice";
  EXPECT_FALSE(toFieldSet(pod_, parse(R"({"spec":{"containers":[{"image":"a"}]}})"))) << "an item without its key";
  EXPECT_FALSE(toFieldSet(pod_, parse(R"({"spec":[]})"))) << "a list for a struct";
}

TEST_F(ApplyTest, comparison) {
  auto compared = compareTyped(
      pod_, parse(R"({"metadata":{"labels":{"a":"1","b":"2"}},"spec":{"containers":[{"name":"x","image":"1"},{"name":"y"}]}})"),
      parse(
          R"({"metadata":{"labels":{"a":"1","b":"3","c":"4"}},"spec":{"containers":[{"name":"z"},{"name":"x","image":"2"}]}})"));
  ASSERT_TRUE(compared);
  EXPECT_EQ(compared->modified.toJson(),
            R"({"f:metadata":{"f:labels":{"f:b":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"x\"}":{"f:image":{}}}}})");
  EXPECT_EQ(compared->added.toJson(),
            R"({"f:metadata":{"f:labels":{"f:c":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"z\"}":{".":{},"f:name":{}}}}})");
  EXPECT_EQ(compared->removed.toJson(), R"({"f:spec":{"f:containers":{"k:{\"name\":\"y\"}":{".":{},"f:name":{}}}}})");
  auto reordered =
      compareTyped(pod_, parse(R"({"metadata":{"finalizers":["a","b"]}})"), parse(R"({"metadata":{"finalizers":["b","a"]}})"));
  EXPECT_TRUE(reordered && reordered->same()) << "the order of a set says nothing";
}

TEST_F(ApplyTest, merging) {
  struct Case {
    const char *live, *config, *merged;
  };
  for (Case c : std::initializer_list<Case>{
           {R"({"spec":{"nodeName":"n","hostname":"h"}})", R"({"spec":{"hostname":"i"}})",
            R"({"spec":{"hostname":"i","nodeName":"n"}})"},
           {R"({"spec":{"containers":[{"name":"a","image":"1"},{"name":"b"}]}})",
            R"({"spec":{"containers":[{"name":"b","image":"2"},{"name":"c"}]}})",
            R"({"spec":{"containers":[{"image":"1","name":"a"},{"image":"2","name":"b"},{"name":"c"}]}})"},
           {R"({"spec":{"nodeSelector":{"a":"1"}}})", R"({"spec":{"nodeSelector":{"b":"2"}}})",
            R"({"spec":{"nodeSelector":{"b":"2"}}})"},
           {R"({"metadata":{"labels":{"a":"1"}}})", R"({"metadata":{"labels":{"b":"2"}}})",
            R"({"metadata":{"labels":{"a":"1","b":"2"}}})"},
           {R"({"metadata":{"finalizers":["a","b"]}})", R"({"metadata":{"finalizers":["c","b"]}})",
            R"({"metadata":{"finalizers":["c","a","b"]}})"},
       }) {
    auto merged = mergeTyped(pod_, parse(c.live), parse(c.config), arena_);
    ASSERT_TRUE(merged) << c.config;
    EXPECT_EQ(codec::toJson(*merged), c.merged);
  }
}

TEST_F(ApplyTest, removing) {
  struct Case {
    const char *what, *value, *gone, *kept, *left;
  };
  for (Case c : std::initializer_list<Case>{
           {"a field", R"({"spec":{"hostname":"h","nodeName":"n"}})", R"({"f:spec":{"f:hostname":{}}})", "{}",
            R"({"spec":{"nodeName":"n"}})"},
           {"a field that somebody keeps", R"({"spec":{"hostname":"h"}})", R"({"f:spec":{"f:hostname":{}}})",
            R"({"f:spec":{"f:hostname":{}}})", R"({"spec":{"hostname":"h"}})"},
           {"an item", R"({"metadata":{"finalizers":["a","b"]}})", R"({"f:metadata":{"f:finalizers":{"v:\"a\"":{}}}})", "{}",
            R"({"metadata":{"finalizers":["b"]}})"},
           {"an item with something kept inside", R"({"spec":{"containers":[{"name":"a","image":"1","tty":true}]}})",
            R"({"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:name":{},"f:tty":{}}}}})",
            R"({"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:tty":{}}}}})",
            R"({"spec":{"containers":[{"name":"a","tty":true}]}})"},
           {"what is emptied goes", R"({"spec":{"hostname":"h","securityContext":{"runAsUser":1}}})",
            R"({"f:spec":{"f:securityContext":{"f:runAsUser":{}}}})", "{}", R"({"spec":{"hostname":"h"}})"},
           {"unless it is wanted empty", R"({"spec":{"hostname":"h","securityContext":{"runAsUser":1}}})",
            R"({"f:spec":{"f:securityContext":{"f:runAsUser":{}}}})", R"({"f:spec":{"f:securityContext":{}}})",
            R"({"spec":{"hostname":"h","securityContext":{}}})"},
       })
    EXPECT_EQ(codec::toJson(removeTyped(pod_, parse(c.value), setOf(c.gone), setOf(c.kept), arena_)), c.left) << c.what;
}

class ManagersTest : public ApplyTest {
 protected:
  static Manager manager(std::string name, bool apply, int64_t at = 1) { return {std::move(name), apply, "v1", "", at, {}}; }
  Result<ApplyResult> apply(const char* who, std::string_view config, bool force = false) {
    auto result = applyConfiguration(schema::typeInfoOf<corev1::Pod>(), managers_, live_, parse(config),
                                     manager(who, true, ++now_), force, arena_);
    if (result) {
      managers_ = result->managers;
      live_ = result->object;
    }
    return result;
  }
  void update(const char* who, std::string_view next) {
    Value after = parse(next);
    auto managers = trackUpdateFields(schema::typeInfoOf<corev1::Pod>(), managers_, live_, after, manager(who, false, ++now_));
    ASSERT_TRUE(managers);
    managers_ = *managers;
    live_ = after;
  }
  std::map<std::string, std::string> owned() const {
    std::map<std::string, std::string> out;
    for (const Manager& one : managers_) out[one.name] = one.fields.toJson();
    return out;
  }
  using Owned = std::map<std::string, std::string>;
  Managers managers_;
  Value live_ = Value::emptyObject();
  int64_t now_ = 100;
};

TEST_F(ManagersTest, updatesTakeWhatTheyChange) {
  update("a", R"({"metadata":{"name":"x","uid":"1","labels":{"l":"1"}},"spec":{"hostname":"h"}})");
  EXPECT_EQ(owned(), (Owned{{"a", R"({"f:metadata":{"f:labels":{"f:l":{}}},"f:spec":{"f:hostname":{}}})"}}))
      << "identity belongs to nobody";
  update("b", R"({"metadata":{"name":"x","uid":"1","labels":{"l":"2"}},"spec":{"hostname":"h"}})");
  EXPECT_EQ(owned(), (Owned{{"a", R"({"f:spec":{"f:hostname":{}}})"}, {"b", R"({"f:metadata":{"f:labels":{"f:l":{}}}})"}}));
  update("b", R"({"metadata":{"name":"x","uid":"1","labels":{"l":"2"}}})");
  EXPECT_EQ(owned(), (Owned{{"b", R"({"f:metadata":{"f:labels":{"f:l":{}}}})"}})) << "what is gone is nobody's";
}

TEST_F(ManagersTest, applyConflictsAndForces) {
  ASSERT_TRUE(apply("a", R"({"metadata":{"labels":{"l":"1"}},"spec":{"hostname":"h"}})"));
  auto refused = apply("b", R"({"metadata":{"labels":{"l":"2"}},"spec":{"hostname":"i"}})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), 409);
  EXPECT_EQ(refused.error().message(),
            "Apply failed with 2 conflicts: conflicts with \"a\":\n- .metadata.labels.l\n- "
            ".spec.hostname");
  EXPECT_EQ(refused.error().causes().size(), 2u);
  ASSERT_TRUE(apply("b", R"({"metadata":{"labels":{"l":"1"}}})")) << "the same value is no conflict";
  ASSERT_TRUE(apply("b", R"({"metadata":{"labels":{"l":"2"}}})", true));
  EXPECT_EQ(owned(), (Owned{{"a", R"({"f:spec":{"f:hostname":{}}})"}, {"b", R"({"f:metadata":{"f:labels":{"f:l":{}}}})"}}));
}

TEST_F(ManagersTest, whatIsNoLongerAppliedGoes) {
  ASSERT_TRUE(apply(
      "a",
      R"({"metadata":{"labels":{"l":"1","m":"1"}},"spec":{"containers":[{"name":"x","image":"1"},{"name":"y","image":"1"}]}})"));
  ASSERT_TRUE(apply("b", R"({"metadata":{"labels":{"m":"1"}}})"));
  ASSERT_TRUE(apply("a", R"({"spec":{"containers":[{"name":"x","image":"1"}]}})"));
  EXPECT_EQ(codec::toJson(live_), R"({"metadata":{"labels":{"m":"1"}},"spec":{"containers":[{"image":"1","name":"x"}]}})")
      << "m is still b's";
  auto again = apply("a", R"({"spec":{"containers":[{"name":"x","image":"1"}]}})");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->changed);
}

TEST_F(ManagersTest, manyUpdatersAreFolded) {
  std::string labels;
  for (int i = 0; i < 15; ++i) {
    labels += fmt::format(R"({}"l{}":"1")", i == 0 ? "" : ",", i);
    update(fmt::format("m{}", i).c_str(), fmt::format(R"({{"metadata":{{"labels":{{{}}}}}}})", labels));
  }
  EXPECT_EQ(managers_.size(), 10u);
  ASSERT_TRUE(owned().contains("ancient-changes"));
  EXPECT_NE(owned()["ancient-changes"].find("f:l0"), std::string::npos);
}

TEST_F(ManagersTest, encodeDecodeKeepsThem) {
  update("b", R"({"metadata":{"labels":{"l":"1"}}})");
  ASSERT_TRUE(apply("a", R"({"spec":{"hostname":"h"}})"));
  auto pod = schema::newObject<corev1::Pod>();
  encodeManagers(managers_, pod->metadata, pod.arena());
  ASSERT_EQ(pod->metadata.managedFields.size(), 2u);
  EXPECT_EQ(pod->metadata.managedFields[0].operation, "Apply") << "applies stand first";
  auto back = decodeManagers(pod->metadata);
  ASSERT_TRUE(back);
  for (const Manager& one : *back) EXPECT_EQ(one.fields.toJson(), owned()[one.name]);
}

}  // namespace
}  // namespace knarr::apimachinery
