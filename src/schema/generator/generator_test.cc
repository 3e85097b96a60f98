#include <gtest/gtest.h>

#include "schema/generator/model.h"

namespace knarr::schema::generator {
namespace {

constexpr std::string_view kSmall = R"(# a comment
package boats/v1
group example.com
version v1
openapi com.example.v1

enum SailColour closed red 'dark blue' ''
resource boats Boat namespaced singular=boat short=bt categories=all,sea verbs=get,list hash=abc= deleteReturnsObject
resource boats/scale Scale namespaced verbs=get kindGV=other/v2

type Boat kind atomic
  name string =1 required
  inline Hull =2
  sails []Sail =3 omitempty list=map keys=colour patch=merge patchKey=colour
  default map[string]int32 =4 map=atomic
  x-note *string =5 omitempty default='"none at all"' gate=A gate=B validation='k8s:maxLength=8'

type Hull
  length int64 =1

type Sail
  colour string =1 enum=SailColour
)";

Model parsed(std::string_view text) {
  Model model;
  auto result = parsePackage("boats.api", text, model);
  EXPECT_TRUE(result) << result.error().message();
  return model;
}
std::string errorOf(std::string_view text) {
  Model model;
  auto result = parsePackage("boats.api", text, model);
  if (result) result = checkModel(model);
  return result ? "no error" : result.error().message();
}

TEST(Generator, readsEveryStatement) {
  Model model = parsed(kSmall);
  ASSERT_TRUE(checkModel(model));
  const Package& package = model.at("boats/v1");
  EXPECT_EQ(package.fileName(), "boats_v1");
  EXPECT_EQ(package.nameSpace(), "boatsv1");
  EXPECT_EQ(package.enums[0].values, (std::vector<std::string>{"red", "dark blue", ""}));
  EXPECT_TRUE(package.resources[0].deleteReturnsObject);
  EXPECT_EQ(package.resources[0].hash, "abc=");
  EXPECT_EQ(package.resources[1].kindGroup, "other");
  const Type& boat = *findType(model, "boats/v1.Boat");
  EXPECT_TRUE(boat.isKind && boat.atomic);
  EXPECT_EQ(boat.fields[2].keys, std::vector<std::string>{"colour"});
  EXPECT_EQ(boat.fields[3].cppName, "default_");
  EXPECT_EQ(boat.fields[4].cppName, "xNote");
  EXPECT_EQ(boat.fields[4].defaultJson, "\"none at all\"");
  EXPECT_EQ(boat.fields[4].gates, (std::vector<std::string>{"A", "B"}));
}

TEST(Generator, writesStructs) {
  Model model = parsed(kSmall);
  std::string header = emitHeader(model, model.at("boats/v1"));
  // Embedded structs come first; a list needs no complete type.
  EXPECT_NE(header.find("struct Hull {\n  int64_t length{};\n};\n\n"
                        "struct Boat {\n  schema::Str name;\n  Hull hull{};\n  schema::List<Sail> sails{};\n"
                        "  schema::Map<int32_t> default_{};\n  schema::Opt<schema::Str> xNote{};\n};\n"),
            std::string::npos)
      << header;
  EXPECT_NE(header.find("namespace SailColour {\ninline constexpr schema::Str Red = \"red\";\n"
                        "inline constexpr schema::Str DarkBlue = \"dark blue\";\n"
                        "inline constexpr schema::Str None = \"\";\n}\n"),
            std::string::npos)
      << header;
}

TEST(Generator, writesTables) {
  Model model = parsed(kSmall);
  std::string tables = emitTables(model, model.at("boats/v1"));
  EXPECT_NE(tables.find("{\"sails\", \"sails\", Kind::Message, Shape::List, ListType::Map, false, kOmitEmpty, 3, "
                        "offsetof(boatsv1::Boat, sails), &boats_v1_Sail"),
            std::string::npos)
      << tables;
  EXPECT_NE(tables.find("\"\\\"none at all\\\"\""), std::string::npos);
  EXPECT_NE(tables.find("constexpr uint16_t kByJson_boats_v1_Boat[] = {3, 0, 2, 4, };"), std::string::npos) << tables;
  EXPECT_NE(emitRegistry(model).find("&boats_v1_Boat"), std::string::npos);
}

TEST(Generator, errorsNameTheLine) {
  EXPECT_EQ(errorOf("package p/v1\nfoo bar\n"), "boats.api:2: unknown statement \"foo\"");
  EXPECT_EQ(errorOf("package p/v1\n  a string\n"), "boats.api:2: a field stands before any type");
  EXPECT_EQ(errorOf("package p/v1\ntype T\n  a string =0\n"), "boats.api:3: unknown field attribute \"=0\"");
  EXPECT_EQ(errorOf("package p/v1\ntype T\n  a [][]string\n"),
            "boats.api:3: type \"[]string\" is not a scalar, a list, a map or a struct");
  EXPECT_EQ(errorOf("package p/v1\ntype T\n  a U\n"), "p/v1.T field a: no type p/v1.U");
  EXPECT_EQ(errorOf("package p/v1\ntype T\n  a string enum=E\n"), "p/v1.T field a: no enum p/v1.E");
  EXPECT_EQ(errorOf("package p/v1\ntype T\n  a string\n  a bool\n"), "p/v1.T field a is declared twice");
  EXPECT_EQ(errorOf("package p/v1\ntype T\n  a U\ntype U\n  b T\n"), "type p/v1.T embeds itself");
  EXPECT_EQ(errorOf("type T\n"), "boats.api:2: the file names no package");
}

}  // namespace
}  // namespace knarr::schema::generator
