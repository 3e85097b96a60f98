// The comparison of structs says what the comparison of their JSON says, on recorded objects and on changed copies of them.
#include "apimachinery/patch/struct_compare.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "codec/codec.h"
#include "schema/object.h"

namespace knarr::apimachinery {
namespace {

namespace fs = std::filesystem;
using codec::Value;

fs::path sourceDir() {
  const char* dir = std::getenv("KNARR_SOURCE_DIR");
  return dir ? dir : ".";
}

const schema::TypeInfo* typeOfStem(const std::string& stem) {
  size_t kindAt = stem.rfind('.'), versionAt = stem.rfind('.', kindAt - 1);
  std::string group = stem.substr(0, versionAt);
  return schema::findType(group == "core" ? "" : group, stem.substr(versionAt + 1, kindAt - versionAt - 1),
                          stem.substr(kindAt + 1));
}

Value treeOf(const schema::Mut<>& object, Arena& arena) {
  Value value = *codec::parseJsonValue(codec::encodeJson(object.object()), arena);
  value.erase("apiVersion");
  value.erase("kind");
  return value;
}

// Takes members and items away and changes strings, here and there.
void disturb(Value& value, std::mt19937_64& chance) {
  if (value.isObject()) {
    std::vector<std::string> gone;
    for (codec::Member& member : value.members())
      if (chance() % 12 == 0)
        gone.emplace_back(member.name);
      else
        disturb(member.value, chance);
    for (const std::string& name : gone) value.erase(name);
  } else if (value.isArray()) {
    for (Value& item : value.items()) disturb(item, chance);
    if (value.size() > 1 && chance() % 6 == 0) value.eraseAt(chance() % value.size());
  } else if (value.isString() && chance() % 10 == 0) {
    value = Value::ofString("changed");
  } else if (value.isInt() && chance() % 10 == 0) {
    value = Value::ofInt(7);
  }
}

void expectSame(const schema::TypeInfo& type, const schema::Mut<>* before, const schema::Mut<>& after) {
  Arena arena;
  auto slow = compareTyped(SchemaRef::ofType(type), before ? treeOf(*before, arena) : Value::emptyObject(), treeOf(after, arena));
  auto fast = compareStructs(type, before ? before->root() : nullptr, after.root());
  ASSERT_EQ(slow.has_value(), fast.has_value()) << (slow ? "" : slow.error().message());
  if (!slow) return;
  EXPECT_EQ(fast->added.toJson(), slow->added.toJson());
  EXPECT_EQ(fast->modified.toJson(), slow->modified.toJson());
  EXPECT_EQ(fast->removed.toJson(), slow->removed.toJson());
}

int checkFolder(const fs::path& folder, int rounds) {
  int objects = 0;
  std::mt19937_64 chance(1);
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::string stem = entry.path().stem();
    if (entry.path().extension() != ".json" || stem.ends_with(".after_roundtrip")) continue;
    const schema::TypeInfo* type = typeOfStem(stem);
    if (!type) continue;
    SCOPED_TRACE(entry.path().string());
    std::ifstream file(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    auto object = codec::decodeJson(*type, text.str());
    EXPECT_TRUE(object);
    if (!object) continue;
    ++objects;
    expectSame(*type, nullptr, object->object);
    expectSame(*type, &object->object, object->object);
    for (int i = 0; i < rounds; ++i) {
      Arena arena;
      Value tree = treeOf(object->object, arena);
      disturb(tree, chance);
      auto changed = codec::decodeJson(*type, codec::toJson(tree));
      if (!changed) continue;  // "changed" is no date
      expectSame(*type, nullptr, changed->object);
      expectSame(*type, &object->object, changed->object);
      expectSame(*type, &changed->object, object->object);
    }
    if (testing::Test::HasFailure()) return objects;
  }
  return objects;
}

TEST(StructCompare, ownObjects) { EXPECT_GE(checkFolder(sourceDir() / "tests/golden", 100), 4); }

TEST(StructCompare, everyKind) {
  fs::path folder = sourceDir() / "../shared/golden/v1.36.3";
  if (!fs::exists(folder)) GTEST_SKIP() << "no corpus at " << folder;
  EXPECT_GE(checkFolder(folder, 20), 185);
}

TEST(StructCompare, fieldsThatCountAsEqual) {
  const schema::TypeInfo& type = *schema::findType("apps", "v1", "Deployment");
  auto before = codec::decodeJson(type, R"({"metadata":{"name":"d"},"spec":{"replicas":1},"status":{"replicas":1}})");
  auto after = codec::decodeJson(type, R"({"metadata":{"name":"d"},"spec":{"replicas":2},"status":{"replicas":2}})");
  std::string_view status[] = {"status"};
  auto comparison = compareStructs(type, before->object.root(), after->object.root(), status);
  ASSERT_TRUE(comparison);
  EXPECT_EQ(comparison->modified.toJson(), R"({"f:spec":{"f:replicas":{}}})");
}

}  // namespace
}  // namespace knarr::apimachinery
