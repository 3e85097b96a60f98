// Patches by table: RFC 6902, RFC 7386 and the strategic merge patch.
#include "apimachinery/patch/patch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "codec/codec.h"

namespace knarr::apimachinery {
namespace {

using codec::Value;

Value parse(std::string_view json, Arena& arena) {
  auto value = codec::parseJsonValue(json, arena);
  EXPECT_TRUE(value) << json;
  return value.value_or(Value());
}
std::string shown(const Result<Value>& result) { return result ? codec::toJson(*result) : "error"; }

struct Case {
  const char* what;
  std::string document, patch, result;  // "error" for a patch that is refused
};

// Most rows are those of RFC 6902, appendix A.
TEST(JsonPatch, byTable) {
  for (const Case& c : std::initializer_list<Case>{
           {"A.1 a member", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux"}])", R"({"baz":"qux","foo":"bar"})"},
           {"A.2 an element", R"({"foo":["bar","baz"]})", R"([{"op":"add","path":"/foo/1","value":"qux"}])",
            R"({"foo":["bar","qux","baz"]})"},
           {"A.3 remove a member", R"({"baz":"qux","foo":"bar"})", R"([{"op":"remove","path":"/baz"}])", R"({"foo":"bar"})"},
           {"A.4 remove an element", R"({"foo":["bar","qux","baz"]})", R"([{"op":"remove","path":"/foo/1"}])",
            R"({"foo":["bar","baz"]})"},
           {"A.5 replace", R"({"baz":"qux","foo":"bar"})", R"([{"op":"replace","path":"/baz","value":"boo"}])",
            R"({"baz":"boo","foo":"bar"})"},
           {"A.6 move a member", R"({"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}})",
            R"([{"op":"move","from":"/foo/waldo","path":"/qux/thud"}])",
            R"({"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}})"},
           {"A.7 move an element", R"({"foo":["all","grass","cows","eat"]})",
            R"([{"op":"move","from":"/foo/1","path":"/foo/3"}])", R"({"foo":["all","cows","eat","grass"]})"},
           {"A.8 test", R"({"baz":"qux","foo":["a",2,"c"]})",
            R"([{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}])",
            R"({"baz":"qux","foo":["a",2,"c"]})"},
           {"A.9 test that fails", R"({"baz":"qux"})", R"([{"op":"test","path":"/baz","value":"bar"}])", "error"},
           {"A.10 a nested member", R"({"foo":"bar"})", R"([{"op":"add","path":"/child","value":{"grandchild":{}}}])",
            R"({"child":{"grandchild":{}},"foo":"bar"})"},
           {"A.11 unknown elements are ignored", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz","value":"qux","xyz":123}])",
            R"({"baz":"qux","foo":"bar"})"},
           {"A.12 to nowhere", R"({"foo":"bar"})", R"([{"op":"add","path":"/baz/bat","value":"qux"}])", "error"},
           {"A.14 escapes", R"({"/":9,"~1":10})",
            R"([{"op":"test","path":"/~01","value":10},{"op":"replace","path":"/~1","value":8}])", R"({"/":8,"~1":10})"},
           {"A.15 a number is no text", R"({"/":9,"~1":10})", R"([{"op":"test","path":"/~01","value":"10"}])", "error"},
           {"A.16 at the end", R"({"foo":["bar"]})", R"([{"op":"add","path":"/foo/-","value":["abc","def"]}])",
            R"({"foo":["bar",["abc","def"]]})"},
           {"the whole document", R"({"a":1})", R"([{"op":"replace","path":"","value":{"b":2}}])", R"({"b":2})"},
           {"copy is deep", R"({"a":{"x":1}})", R"([{"op":"copy","from":"/a","path":"/b"},{"op":"add","path":"/b/y","value":2}])",
            R"({"a":{"x":1},"b":{"x":1,"y":2}})"},
           {"move into itself", R"({"a":{"b":1}})", R"([{"op":"move","from":"/a","path":"/a/c"}])", "error"},
           {"remove what is not there", R"({"a":1})", R"([{"op":"remove","path":"/b"}])", "error"},
           {"replace what is not there", R"({"a":1})", R"([{"op":"replace","path":"/b","value":1}])", "error"},
           {"beyond the end", R"({"a":[1]})", R"([{"op":"add","path":"/a/2","value":1}])", "error"},
           {"at the end by number", R"({"a":[1]})", R"([{"op":"add","path":"/a/1","value":2}])", R"({"a":[1,2]})"},
           {"a leading zero", R"({"a":[1,2]})", R"([{"op":"remove","path":"/a/01"}])", "error"},
           {"a pointer without slash", R"({"a":1})", R"([{"op":"remove","path":"a"}])", "error"},
           {"an unknown operation", R"({"a":1})", R"([{"op":"frob","path":"/a"}])", "error"},
           {"no operation", R"({"a":1})", R"([{"path":"/a"}])", "error"},
           {"not a list", R"({"a":1})", R"({"op":"remove","path":"/a"})", "error"},
           {"all or nothing", R"({"a":1})", R"([{"op":"remove","path":"/a"},{"op":"remove","path":"/a"}])", "error"},
       }) {
    Arena arena;
    Value document = parse(c.document, arena);
    EXPECT_EQ(shown(applyJsonPatch(document, parse(c.patch, arena), arena)), c.result) << c.what;
    EXPECT_EQ(codec::toJson(document), codec::toJson(parse(c.document, arena))) << c.what << ": the document itself changed";
  }
}

TEST(JsonPatch, isBounded) {
  Arena arena;
  std::string many = "[";
  for (size_t i = 0; i <= kJsonPatchOperationsMax; ++i)
    many += fmt::format(R"({}{{"op":"add","path":"/a","value":1}})", i == 0 ? "" : ",");
  auto refused = applyJsonPatch(parse("{}", arena), parse(many + "]", arena), arena);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), 413);
  // Each copy doubles the document.
  std::string doubling = R"([{"op":"add","path":"/a","value":"0123456789012345678901234567890123456789"})";
  for (int i = 0; i < 40; ++i) doubling += fmt::format(R"(,{{"op":"copy","from":"","path":"/c{}"}})", i);
  EXPECT_FALSE(applyJsonPatch(parse("{}", arena), parse(doubling + "]", arena), arena));
}

// RFC 7386, appendix A, as far as the patch is an object.
TEST(MergePatch, byTable) {
  for (const Case& c : std::initializer_list<Case>{
           {"replace", R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
           {"add", R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
           {"remove", R"({"a":"b"})", R"({"a":null})", R"({})"},
           {"remove one", R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
           {"a list by a text", R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
           {"a text by a list", R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
           {"inside", R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
           {"lists are replaced", R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
           {"nulls of the document stay", R"({"e":null})", R"({"a":1})", R"({"a":1,"e":null})"},
           {"nulls in something new go", R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
           {"nulls in lists stay", R"({})", R"({"a":[null]})", R"({"a":[null]})"},
           {"an object over a list", R"({"a":[1,2]})", R"({"a":{"b":1}})", R"({"a":{"b":1}})"},
           {"not an object", R"({"a":1})", R"([1])", "error"},
       }) {
    Arena arena;
    EXPECT_EQ(shown(applyMergePatch(parse(c.document, arena), parse(c.patch, arena), arena)), c.result) << c.what;
  }
}

std::string strategic(const schema::TypeInfo& type, const std::string& document, const std::string& patch) {
  Arena arena;
  return shown(applyStrategicMergePatch(type, parse(document, arena), parse(patch, arena), arena));
}

TEST(StrategicMergePatch, listsOfMaps) {
  constexpr const char* kTwo = R"({"containers":[{"image":"a:1","name":"a"},{"image":"b:1","name":"b"}]})";
  for (const Case& c : std::initializer_list<Case>{
           {"by key", kTwo, R"({"containers":[{"name":"b","image":"b:2"}]})",
            R"({"containers":[{"image":"a:1","name":"a"},{"image":"b:2","name":"b"}]})"},
           {"a new item comes first", kTwo, R"({"containers":[{"name":"c","image":"c:1"}]})",
            R"({"containers":[{"image":"c:1","name":"c"},{"image":"a:1","name":"a"},{"image":"b:1","name":"b"}]})"},
           {"a new item beside one that is there", kTwo, R"({"containers":[{"name":"b","image":"b:2"},{"name":"c"}]})",
            R"({"containers":[{"image":"a:1","name":"a"},{"image":"b:2","name":"b"},{"name":"c"}]})"},
           {"an order that leaves out what the server has", kTwo,
            R"({"$setElementOrder/containers":[{"name":"c"},{"name":"b"}],"containers":[{"name":"c"}]})",
            R"({"containers":[{"name":"c"},{"image":"a:1","name":"a"},{"image":"b:1","name":"b"}]})"},
           {"delete", kTwo, R"({"containers":[{"$patch":"delete","name":"a"}]})",
            R"({"containers":[{"image":"b:1","name":"b"}]})"},
           {"delete what is not there", kTwo, R"({"containers":[{"$patch":"delete","name":"z"}]})", kTwo},
           {"replace", kTwo, R"({"containers":[{"$patch":"replace"},{"name":"z","image":"z"}]})",
            R"({"containers":[{"image":"z","name":"z"}]})"},
           {"null removes a field", kTwo, R"({"containers":[{"name":"a","image":null}]})",
            R"({"containers":[{"name":"a"},{"image":"b:1","name":"b"}]})"},
           {"null removes the list", kTwo, R"({"containers":null})", R"({})"},
           {"without the key", kTwo, R"({"containers":[{"image":"x"}]})", "error"},
           {"an unknown directive", kTwo, R"({"containers":[{"$patch":"frob","name":"a"}]})", "error"},
           {"order", kTwo,
            R"({"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","image":"a:2"}]})",
            R"({"containers":[{"image":"b:1","name":"b"},{"image":"a:2","name":"a"}]})"},
           {"order alone", kTwo, R"({"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]})",
            R"({"containers":[{"image":"b:1","name":"b"},{"image":"a:1","name":"a"}]})"},
           {"order with a new first one", kTwo,
            R"({"$setElementOrder/containers":[{"name":"c"},{"name":"a"},{"name":"b"}],"containers":[{"name":"c"}]})",
            R"({"containers":[{"name":"c"},{"image":"a:1","name":"a"},{"image":"b:1","name":"b"}]})"},
           {"a list that was not there", R"({})", R"({"containers":[{"name":"a"},{"$patch":"delete","name":"b"}]})",
            R"({"containers":[{"name":"a"}]})"},
           {"inside an item", R"({"containers":[{"name":"a","env":[{"name":"X","value":"1"}]}]})",
            R"({"containers":[{"name":"a","env":[{"name":"Y","value":"2"}]}]})",
            R"({"containers":[{"env":[{"name":"Y","value":"2"},{"name":"X","value":"1"}],"name":"a"}]})"},
           {"an atomic list", R"({"containers":[{"name":"a","args":["1","2"]}]})",
            R"({"containers":[{"name":"a","args":["3"]}]})", R"({"containers":[{"args":["3"],"name":"a"}]})"},
           {"tolerations are replaced", R"({"tolerations":[{"key":"a"}]})", R"({"tolerations":[{"key":"b"}]})",
            R"({"tolerations":[{"key":"b"}]})"},
       })
    EXPECT_EQ(strategic(schema::typeInfoOf<corev1::PodSpec>(), c.document, c.patch), c.result) << c.what;
}

TEST(StrategicMergePatch, scalarsAndMaps) {
  for (const Case& c : std::initializer_list<Case>{
           {"a union", R"({"finalizers":["a","b"]})", R"({"finalizers":["c","a"]})", R"({"finalizers":["c","a","b"]})"},
           {"delete from it", R"({"finalizers":["a","b","c"]})", R"({"$deleteFromPrimitiveList/finalizers":["b"]})",
            R"({"finalizers":["a","c"]})"},
           {"delete and add", R"({"finalizers":["a","b"]})",
            R"({"$deleteFromPrimitiveList/finalizers":["b"],"finalizers":["c"]})", R"({"finalizers":["c","a"]})"},
           {"order", R"({"finalizers":["a","b"]})", R"({"$setElementOrder/finalizers":["b","c","a"],"finalizers":["c"]})",
            R"({"finalizers":["b","c","a"]})"},
           {"labels merge", R"({"labels":{"a":"1","b":"2"}})", R"({"labels":{"b":null,"c":"3"}})",
            R"({"labels":{"a":"1","c":"3"}})"},
           {"labels replaced", R"({"labels":{"a":"1"}})", R"({"labels":{"$patch":"replace","c":"3"}})",
            R"({"labels":{"c":"3"}})"},
           {"owner by uid", R"({"ownerReferences":[{"name":"x","uid":"1"},{"name":"y","uid":"2"}]})",
            R"({"ownerReferences":[{"$patch":"delete","uid":"1"}]})", R"({"ownerReferences":[{"name":"y","uid":"2"}]})"},
       })
    EXPECT_EQ(strategic(schema::typeInfoOf<metav1::ObjectMeta>(), c.document, c.patch), c.result) << c.what;
}

TEST(StrategicMergePatch, retainKeys) {
  const schema::TypeInfo& type = schema::typeInfoOf<appsv1::DeploymentSpec>();
  constexpr const char* kRolling = R"({"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"}})";
  EXPECT_EQ(strategic(type, kRolling, R"({"strategy":{"$retainKeys":["type"],"type":"Recreate"}})"),
            R"({"strategy":{"type":"Recreate"}})");
  EXPECT_EQ(strategic(type, kRolling, R"({"strategy":{"$retainKeys":["type"],"rollingUpdate":{}}})"), "error")
      << "a key that is set must be kept";
  EXPECT_EQ(strategic(type, kRolling, R"({"strategy":{"$retainKeys":"type"}})"), "error");
  EXPECT_EQ(strategic(type, "{}", R"({"strategy":{"$retainKeys":["type"],"type":"Recreate"}})"),
            R"({"strategy":{"type":"Recreate"}})");
}

}  // namespace
}  // namespace knarr::apimachinery
