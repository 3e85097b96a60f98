#include "codec/value.h"

#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "codec/codec.h"

namespace knarr::codec {
namespace {

Value parsed(std::string_view text, Arena& arena) {
  auto value = parseJsonValue(text, arena);
  EXPECT_TRUE(value) << text << value.error().message();
  return value ? *value : Value();
}

TEST(Value, parsesAndWritesCanonically) {
  Arena arena;
  EXPECT_EQ(toJson(parsed(R"( {"b":[1,2.50,-3,"x\u0041",true,null],"a":{"z":{}}} )", arena)),
            R"({"a":{"z":{}},"b":[1,2.5,-3,"xA",true,null]})");
  EXPECT_TRUE(parsed("9223372036854775807", arena).isInt());
  EXPECT_FALSE(parsed("9223372036854775808", arena).isInt());
  EXPECT_FALSE(parsed("1.0", arena).isInt());
  EXPECT_EQ(parseJsonValue("1e999", arena).error().message(),
            "json: cannot unmarshal number 1e999 into Go value of type float64");
  EXPECT_EQ(parseJsonValue("[1,]", arena).error().message(), "invalid character ']' looking for beginning of value");
  EXPECT_EQ(parseJsonValue(std::string(5000, '['), arena).error().message(), "exceeded max depth");
}

TEST(Value, editsObjectsAndArrays) {
  Arena arena;
  Value value = parsed(R"({"m":1,"c":[1,2]})", arena);
  value.set(arena, "a", Value::ofString("x"));
  value.set(arena, "z", Value::ofBool(false));
  value.set(arena, "m", Value());
  EXPECT_TRUE(value.erase("c"));
  EXPECT_FALSE(value.erase("c"));
  EXPECT_EQ(toJson(value), R"({"a":"x","m":null,"z":false})");
  EXPECT_EQ(value.find("a")->string(), "x");
  EXPECT_EQ(value.find("q"), nullptr);
  EXPECT_EQ(Value::ofInt(1).find("a"), nullptr);
  Value list = Value::emptyArray();
  for (int i = 0; i < 6; ++i) list.append(arena, Value::ofInt(i));
  list.insertAt(arena, 0, Value::ofInt(-1));
  list.eraseAt(3);
  list.insertAt(arena, 6, Value::ofInt(9));
  EXPECT_EQ(toJson(list), "[-1,0,1,3,4,5,9]");
  value.set(arena, "copy", deepCopyValue(value, arena));
  EXPECT_EQ(toJson(value), R"({"a":"x","copy":{"a":"x","m":null,"z":false},"m":null,"z":false})");
}

TEST(Value, equality) {
  Arena arena;
  EXPECT_EQ(parsed(R"({"a":1,"b":[{}]})", arena), parsed(R"({"b":[{}],"a":1.0})", arena));
  for (auto [a, b] :
       {std::pair("1", "2"), {"[1]", "[1,2]"}, {"{}", "[]"}, {"null", "false"}, {R"({"a":1})", R"({"b":1})"}, {"\"1\"", "1"}})
    EXPECT_FALSE(parsed(a, arena) == parsed(b, arena)) << a << b;
}

TEST(Value, duplicatesAreToldAndTheLastWins) {
  Arena arena;
  std::vector<std::string> strict;
  auto value = parseJsonValue(R"({"a":1,"b":[{"c":1,"c":2}],"a":3})", arena, &strict);
  ASSERT_TRUE(value);
  EXPECT_EQ(strict, (std::vector<std::string>{"duplicate field \"b[0].c\"", "duplicate field \"a\""}));
  EXPECT_EQ(toJson(*value), R"({"a":3,"b":[{"c":2}]})");
}

TEST(Value, toAndFromStructs) {
  Arena arena;
  auto pod = decodeJson(schema::typeInfoOf<corev1::Pod>(), R"({"metadata":{"name":"x"},"spec":{"containers":[]}})");
  auto value = valueOf(schema::typeInfoOf<corev1::Pod>(), pod->object.root(), arena);
  ASSERT_TRUE(value);
  EXPECT_EQ(toJson(*value), R"({"metadata":{"name":"x"},"spec":{"containers":[]},"status":{}})");
  value->find("metadata")->set(arena, "name", Value::ofString("y"));
  auto* back = arena.make<corev1::Pod>();
  ASSERT_TRUE(decodeValue(schema::typeInfoOf<corev1::Pod>(), *value, back, arena));
  EXPECT_EQ(back->metadata.name, "y");
}

TEST(Value, deepCopiesOutliveTheirSource) {
  Arena target;
  Value copy;
  {
    Arena source;
    copy = deepCopyValue(parsed(R"({"a":["x",{"b":"y"}]})", source), target);
  }
  EXPECT_EQ(toJson(copy), R"({"a":["x",{"b":"y"}]})");
}

}  // namespace
}  // namespace knarr::codec
