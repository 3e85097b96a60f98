// Our tables and field sets against what upstream's schema and field sets say, where ../shared/golden lies beside the tree.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "apimachinery/patch/patch.h"
#include "apimachinery/patch/typed.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apimachinery {
namespace {

namespace fs = std::filesystem;
using codec::Value;
using schema::FieldInfo;
using schema::TypeInfo;

fs::path golden(const char* path) {
  const char* dir = std::getenv("KNARR_SOURCE_DIR");
  return fs::path(dir ? dir : ".") / "../shared/golden" / path;
}

std::string readFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Value readYaml(const fs::path& path, Arena& arena) {
  auto json = codec::yamlToJson(readFile(path));
  EXPECT_TRUE(json) << path << ": " << json.error().message();
  auto value = json ? codec::parseJsonValue(arena.copy(*json), arena) : Result<Value>(Value());
  EXPECT_TRUE(value) << path;
  return value.value_or(Value());
}

std::string_view textAt(const Value& value, std::string_view name) {
  const Value* found = value.find(name);
  return found ? found->stringOr() : std::string_view();
}

// The schema of upstream's server: named types, each a map of fields or a scalar.
struct Upstream {
  Arena arena;
  std::map<std::string, const Value*, std::less<>> types;
  Value document;

  explicit Upstream(const fs::path& path) {
    document = readYaml(path, arena);
    for (const Value& type : document.find("types")->items()) types.emplace(textAt(type, "name"), &type);
  }

  // What a reference to a type means, in the words of SchemaRef.
  std::string relation(const Value& ref) const {
    std::string_view asked = textAt(ref, "elementRelationship");
    if (const Value* list = ref.find("list")) {
      std::string_view how = textAt(*list, "elementRelationship");
      const Value* keys = list->find("keys");
      if (how != "associative") return "atomic";
      return keys ? "listmap " + codec::toJson(*keys) : "set";
    }
    if (const Value* map = ref.find("map")) return textAt(*map, "elementRelationship") == "atomic" ? "atomic" : "map";
    if (ref.find("scalar")) return "scalar";
    std::string_view name = textAt(ref, "namedType");
    if (name.starts_with("__untyped")) return "atomic";
    // Stands in managed fields only, which nobody owns.
    if (name.ends_with(".FieldsV1")) return "atomic";
    auto found = types.find(name);
    if (found == types.end()) return "no type " + std::string(name);
    if (found->second->find("scalar") && !found->second->find("map")) return "scalar";
    const Value* map = found->second->find("map");
    std::string_view own = map ? textAt(*map, "elementRelationship") : "";
    if ((asked.empty() ? own : asked) == "atomic") return "atomic";
    // A struct without fields is written as a map of anything there.
    return "struct";
  }
};

std::string ourRelation(const SchemaRef& ref) {
  switch (ref.relation) {
    case SchemaRef::Scalar:
      return "scalar";
    case SchemaRef::Atomic:
      return "atomic";
    case SchemaRef::Struct:
      return "struct";
    case SchemaRef::Map:
      return "map";
    case SchemaRef::ListSet:
      return "set";
    case SchemaRef::ListMap: {
      std::vector<std::string> keys;
      for (std::string_view key : ref.field->listKeys) keys.push_back(quote(key));
      return "listmap [" + join(keys, ",") + "]";
    }
  }
  return "";
}

void flatten(const TypeInfo& type, std::map<std::string, const FieldInfo*>& into) {
  for (const FieldInfo& field : type.fields)
    if (field.json.empty() && field.message)
      flatten(*field.message, into);
    else
      into.emplace(field.json, &field);
}

std::vector<std::string> differences(const Upstream& upstream, const TypeInfo& type, const Value& theirs) {
  std::vector<std::string> out;
  std::map<std::string, const FieldInfo*> ours;
  flatten(type, ours);
  const Value* map = theirs.find("map");
  if (!map) return out;
  bool atomic = textAt(*map, "elementRelationship") == "atomic";
  if (atomic != type.atomic) out.push_back(fmt::format("{}: atomic here {}, upstream {}", type.openApiName, type.atomic, atomic));
  std::set<std::string> seen{"kind", "apiVersion"};
  if (const Value* fields = map->find("fields"))
    for (const Value& field : fields->items()) {
      std::string name(textAt(field, "name"));
      if (!seen.insert(name).second) continue;
      auto found = ours.find(name);
      if (found == ours.end()) {
        out.push_back(fmt::format("{}.{}: not here", type.openApiName, name));
        continue;
      }
      std::string expected = upstream.relation(*field.find("type"));
      std::string have = ourRelation(SchemaRef::ofField(*found->second));
      if (expected != have) out.push_back(fmt::format("{}.{}: here {}, upstream {}", type.openApiName, name, have, expected));
    }
  for (const auto& [name, field] : ours)
    if (!seen.contains(name)) out.push_back(fmt::format("{}.{}: not upstream", type.openApiName, name));
  return out;
}

// Every list type, merge key and atomic thing of every type of the API is upstream's.
TEST(SchemaOracle, relationsAreUpstreams) {
  fs::path path = golden("smd/k8s-types-1.36.3.smd.yaml");
  if (!fs::exists(path)) GTEST_SKIP() << "no schema at " << path;
  Upstream upstream(path);
  ASSERT_GT(upstream.types.size(), 800u);
  int compared = 0;
  std::vector<std::string> all;
  for (const TypeInfo* type : schema::allTypes()) {
    auto found = upstream.types.find(type->openApiName);
    if (found == upstream.types.end()) continue;
    ++compared;
    for (std::string& one : differences(upstream, *type, *found->second)) all.push_back(std::move(one));
  }
  RecordProperty("typesCompared", compared);
  EXPECT_GE(compared, 700);
  EXPECT_EQ(all, std::vector<std::string>());
}

// A type as the tests of upstream's patches describe it, in Swagger.
struct SwaggerTypes {
  std::deque<std::string> texts;
  std::deque<std::vector<FieldInfo>> fields;
  std::map<std::string, TypeInfo, std::less<>> types;

  explicit SwaggerTypes(const Value& definitions) {
    for (const codec::Member& one : definitions.members()) types[std::string(one.name)] = TypeInfo{};
    for (const codec::Member& one : definitions.members()) {
      std::vector<FieldInfo>& list = fields.emplace_back();
      for (const codec::Member& property : one.value.find("properties")->members())
        list.push_back(fieldOf(property.name, property.value));
      types[std::string(one.name)].fields = list;
    }
  }
  std::string_view keep(std::string_view text) { return texts.emplace_back(text); }
  FieldInfo fieldOf(std::string_view name, const Value& property) {
    FieldInfo field{};
    field.json = keep(name);
    field.patchStrategy = keep(textAt(property, "x-kubernetes-patch-strategy"));
    field.patchMergeKey = keep(textAt(property, "x-kubernetes-patch-merge-key"));
    const Value* element = property.find("items");
    field.shape = element ? schema::Shape::List : schema::Shape::Value;
    const Value& leaf = element ? *element : property;
    std::string_view reference = textAt(leaf, "$ref");
    field.kind = reference.empty() ? schema::Kind::String : schema::Kind::Message;
    if (!reference.empty()) field.message = &types.find(reference.substr(reference.rfind('/') + 1))->second;
    return field;
  }
};

struct PatchCase {
  const char* what;
  const char* original;
  const char* patch;
  const char* result;
};

// What the directives of a patch do, on the type that upstream's tests use.
TEST(StrategicPatchOracle, mergeItem) {
  fs::path path = golden("strategicpatch/testdata/swagger-merge-item.json");
  if (!fs::exists(path)) GTEST_SKIP() << "no schema at " << path;
  Arena arena;
  Value document = readYaml(path, arena);
  SwaggerTypes swagger(*document.find("definitions"));
  const TypeInfo& type = swagger.types.at("mergeItem");
  for (const PatchCase& one : {
           PatchCase{"null removes", R"({"name":"a","value":"b"})", R"({"value":null})", R"({"name":"a"})"},
           PatchCase{"scalars in a set are joined", R"({"mergingIntList":[1,2]})", R"({"mergingIntList":[2,3]})",
                     R"({"mergingIntList":[1,2,3]})"},
           PatchCase{"scalars elsewhere are replaced", R"({"nonMergingIntList":[1,2]})", R"({"nonMergingIntList":[3]})",
                     R"({"nonMergingIntList":[3]})"},
           PatchCase{"scalars are taken away", R"({"mergingIntList":[1,2,3]})",
                     R"({"$deleteFromPrimitiveList/mergingIntList":[2]})", R"({"mergingIntList":[1,3]})"},
           PatchCase{"scalars take an order", R"({"mergingIntList":[1,2,3]})", R"({"$setElementOrder/mergingIntList":[3,1,2]})",
                     R"({"mergingIntList":[3,1,2]})"},
           PatchCase{"items merge by key", R"({"mergingList":[{"name":"1","value":"1"},{"name":"2","value":"2"}]})",
                     R"({"mergingList":[{"name":"2","other":"x"}]})",
                     R"({"mergingList":[{"name":"1","value":"1"},{"name":"2","other":"x","value":"2"}]})"},
           PatchCase{"items without merging are replaced", R"({"nonMergingList":[{"name":"1","value":"1"}]})",
                     R"({"nonMergingList":[{"name":"2"}]})", R"({"nonMergingList":[{"name":"2"}]})"},
           PatchCase{"an item goes", R"({"mergingList":[{"name":"1"},{"name":"2"}]})",
                     R"({"mergingList":[{"$patch":"delete","name":"1"}]})", R"({"mergingList":[{"name":"2"}]})"},
           PatchCase{"the list starts anew", R"({"mergingList":[{"name":"1"},{"name":"2"}]})",
                     R"({"mergingList":[{"name":"3"},{"$patch":"replace"}]})", R"({"mergingList":[{"name":"3"}]})"},
           PatchCase{"a map starts anew", R"({"mergeItemPtr":{"name":"1","value":"1"}})",
                     R"({"mergeItemPtr":{"$patch":"replace","other":"x"}})", R"({"mergeItemPtr":{"other":"x"}})"},
           PatchCase{"items take an order, those of the server between",
                     R"({"mergingList":[{"name":"1"},{"name":"2"},{"name":"3"}]})",
                     R"({"$setElementOrder/mergingList":[{"name":"1"},{"name":"4"},{"name":"3"}],"mergingList":[{"name":"4"}]})",
                     R"({"mergingList":[{"name":"1"},{"name":"4"},{"name":"2"},{"name":"3"}]})"},
           PatchCase{"lists inside items of lists",
                     R"({"mergingList":[{"name":"1","mergingList":[{"name":"1","value":"a"},{"name":"2"}]}]})",
                     R"({"mergingList":[{"name":"1","mergingList":[{"name":"1","value":"b"}]}]})",
                     R"({"mergingList":[{"mergingList":[{"name":"1","value":"b"},{"name":"2"}],"name":"1"}]})"},
           PatchCase{"keys that stay", R"({"retainKeysMap":{"name":"foo","value":"bar"}})",
                     R"({"retainKeysMap":{"$retainKeys":["name"],"name":"foo"}})", R"({"retainKeysMap":{"name":"foo"}})"},
           PatchCase{"keys that stay in items", R"({"retainKeysMergingList":[{"name":"bar","value":"1"},{"name":"foo"}]})",
                     R"({"retainKeysMergingList":[{"$retainKeys":["name","other"],"name":"bar","other":"a"}]})",
                     R"({"retainKeysMergingList":[{"name":"bar","other":"a"},{"name":"foo"}]})"},
           PatchCase{"nothing to delete", R"({"name":"a"})", R"({"mergingList":[{"$patch":"delete","name":"1"}]})",
                     R"({"mergingList":[],"name":"a"})"},
           PatchCase{"kinds differ", R"({"simpleMap":{"a":"b"}})", R"({"simpleMap":"c"})", R"({"simpleMap":"c"})"},
       }) {
    auto merged = applyStrategicMergePatch(type, *codec::parseJsonValue(one.original, arena),
                                           *codec::parseJsonValue(one.patch, arena), arena);
    ASSERT_TRUE(merged) << one.what << ": " << merged.error().message();
    EXPECT_EQ(codec::toJson(*merged), one.result) << one.what;
  }
  struct Refusal {
    const char *original, *patch, *message;
  };
  for (const Refusal& one :
       {Refusal{R"({"mergingList":[{"name":"1"}]})", R"({"mergingList":[{"value":"1"}]})",
                "does not contain declared merge key: name"},
        Refusal{R"({"mergingList":[{"name":"1"}]})", R"({"mergingList":[{"$patch":"merge","name":"1"}]})",
                "merging lists cannot yet be specified in the patch"},
        Refusal{R"({"name":"1"})", R"({"$patch":"sideways"})", "unknown patch type: sideways in map: "},
        Refusal{R"({"retainKeysMap":{"name":"a"}})", R"({"retainKeysMap":{"$retainKeys":5}})",
                "invalid patch format of retainKeys"},
        Refusal{R"({"mergingIntList":[1]})", R"({"$deleteFromPrimitiveList/mergingIntList":{"a":1}})",
                "invalid patch format of primitive list"},
        Refusal{R"({"mergingList":[{"name":"1"}]})",
                R"({"$setElementOrder/mergingList":[{"name":"1"},{"name":"2"}],"mergingList":[{"name":"2"},{"name":"1"}]})",
                "The order in patch list:\n[map[name:2] map[name:1]]\n doesn't match $setElementOrder list:\n[map[name:1] "
                "map[name:2]]\n"},
        Refusal{R"({"mergingIntList":[1]})", R"({"$setElementOrder/mergingIntList":[1],"mergingIntList":[2]})",
                "The order in patch list:\n[2]\n doesn't match $setElementOrder list:\n[1]\n"},
        Refusal{R"({"mergingList":[{"name":"1"}]})", R"({"$setElementOrder/mergingList":5})",
                "invalid patch format of setElementOrder list"}}) {
    auto merged = applyStrategicMergePatch(type, *codec::parseJsonValue(one.original, arena),
                                           *codec::parseJsonValue(one.patch, arena), arena);
    ASSERT_FALSE(merged) << one.patch;
    EXPECT_NE(merged.error().message().find(one.message), std::string::npos) << merged.error().message();
  }
}

// Numbers stay what they are.
TEST(StrategicPatchOracle, precision) {
  fs::path path = golden("strategicpatch/testdata/swagger-precision-item.json");
  if (!fs::exists(path)) GTEST_SKIP() << "no schema at " << path;
  Arena arena;
  Value document = readYaml(path, arena);
  SwaggerTypes swagger(*document.find("definitions"));
  const TypeInfo& type = swagger.types.at("precisionItem");
  for (const char* number : {"9007199254740993", "-9223372036854775808", "9223372036854775807", "0.1", "3.141592653589793"}) {
    Value original = *codec::parseJsonValue(R"({"name":"a","int64":1,"float64":1})", arena);
    Value patch = *codec::parseJsonValue(fmt::format(R"({{"float64":{}}})", number), arena);
    EXPECT_EQ(codec::toJson(*applyStrategicMergePatch(type, original, patch, arena)),
              fmt::format(R"({{"float64":{},"int64":1,"name":"a"}})", number));
  }
}

// Strategies and merge keys of the types in the Swagger of upstream's tests of managed fields.
TEST(StrategicPatchOracle, strategiesAreUpstreams) {
  fs::path path = golden("managedfields/testdata/swagger.json");
  if (!fs::exists(path)) GTEST_SKIP() << "no schema at " << path;
  Arena arena;
  Value document = readYaml(path, arena);
  std::map<std::string_view, const TypeInfo*> ours;
  for (const TypeInfo* type : schema::allTypes()) ours.emplace(type->openApiName, type);
  int compared = 0;
  for (const codec::Member& definition : document.find("definitions")->members()) {
    const Value* properties = definition.value.find("properties");
    auto type = ours.find(definition.name);
    if (!properties || type == ours.end()) continue;
    for (const codec::Member& property : properties->members()) {
      const FieldInfo* field = fieldNamed(*type->second, property.name);
      std::string_view strategy = textAt(property.value, "x-kubernetes-patch-strategy");
      // Strategies mean something on lists and maps only.
      if (!field || strategy.empty() || field->kind == schema::Kind::String) continue;
      EXPECT_EQ(field->patchStrategy, strategy) << definition.name << "." << property.name;
      EXPECT_EQ(field->patchMergeKey, textAt(property.value, "x-kubernetes-patch-merge-key"))
          << definition.name << "." << property.name;
      ++compared;
    }
  }
  EXPECT_GE(compared, 25);
}

// Field sets that upstream wrote read and write back byte for byte.
TEST(FieldSetOracle, roundTrips) {
  int sets = 0;
  for (const char* name : {"endpointsset.json", "nodeset.json", "podset.json", "prometheus-crdset.json"}) {
    fs::path path = golden("smd/internal/testdata") / name;
    if (!fs::exists(path)) GTEST_SKIP() << "no field set at " << path;
    std::string text = readFile(path);
    while (text.ends_with('\n')) text.pop_back();
    auto set = FieldSet::fromJson(text);
    ASSERT_TRUE(set) << name << ": " << set.error().message();
    EXPECT_EQ(set->toJson(), text) << name;
    EXPECT_EQ(FieldSet::unite(*set, *set), *set);
    EXPECT_TRUE(FieldSet::subtract(*set, *set).empty());
    ++sets;
  }
  EXPECT_EQ(sets, 4);
}

}  // namespace
}  // namespace knarr::apimachinery
