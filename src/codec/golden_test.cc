// Round trips of recorded objects: every kind in JSON, YAML and protobuf decodes to equal objects
// and encodes back byte for byte. Our own few objects always run; the corpus of all kinds runs
// where ../shared/golden lies beside the tree.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "codec/codec.h"
#include "schema/object.h"

namespace knarr::codec {
namespace {

namespace fs = std::filesystem;

fs::path sourceDir() {
  const char* dir = std::getenv("KNARR_SOURCE_DIR");
  return dir ? dir : ".";
}

std::string readFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string withoutNewline(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

// The type of GROUP.VERSION.KIND as a file name says it, "core" for the core group.
const schema::TypeInfo* typeOfStem(const std::string& stem) {
  size_t kindAt = stem.rfind('.'), versionAt = stem.rfind('.', kindAt - 1);
  std::string group = stem.substr(0, versionAt);
  return schema::findType(group == "core" ? "" : group, stem.substr(versionAt + 1, kindAt - versionAt - 1),
                          stem.substr(kindAt + 1));
}

struct Count {
  int objects = 0, unknownKinds = 0;
};

// The bytes that encoding must give: those of the file, or of its "after_roundtrip" twin where an
// older release's object holds fields that are gone.
std::string expectedBytes(const fs::path& jsonPath, const char* extension) {
  fs::path twin = jsonPath;
  twin.replace_extension(std::string("after_roundtrip.") + extension);
  return readFile(fs::exists(twin) ? twin : fs::path(jsonPath).replace_extension(extension));
}

void checkObject(const fs::path& jsonPath, const schema::TypeInfo& type) {
  bool current = !fs::exists(fs::path(jsonPath).replace_extension("after_roundtrip.json"));
  auto fromJson = decodeJson(type, readFile(jsonPath), {.strict = true});
  ASSERT_TRUE(fromJson) << fromJson.error().message();
  if (current) EXPECT_EQ(fromJson->strictErrors, std::vector<std::string>());
  const schema::Object& object = fromJson->object.object();
  EXPECT_EQ(encodeJsonPretty(object), withoutNewline(expectedBytes(jsonPath, "json")));

  auto fromPb = decodeProtobuf(type, readFile(fs::path(jsonPath).replace_extension("pb")));
  ASSERT_TRUE(fromPb) << fromPb.error().message();
  EXPECT_TRUE(schema::deepEqual(type, object.root(), fromPb->root())) << encodeJsonPretty(fromPb->object());
  EXPECT_EQ(encodeProtobuf(object), expectedBytes(jsonPath, "pb")) << "protobuf bytes differ";

  auto fromYaml = decodeYaml(type, readFile(fs::path(jsonPath).replace_extension("yaml")), {.strict = true});
  ASSERT_TRUE(fromYaml) << fromYaml.error().message();
  if (current) EXPECT_EQ(fromYaml->strictErrors, std::vector<std::string>());
  EXPECT_TRUE(schema::deepEqual(type, object.root(), fromYaml->object.root()));
  EXPECT_EQ(encodeYaml(object), expectedBytes(jsonPath, "yaml"));

  auto again = decodeProtobuf(type, encodeProtobuf(object));
  ASSERT_TRUE(again);
  EXPECT_TRUE(schema::deepEqual(type, again->root(), object.root()));
}

Count checkFolder(const fs::path& folder) {
  Count count;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::string stem = entry.path().stem();
    if (entry.path().extension() != ".json" || stem.ends_with(".after_roundtrip")) continue;
    const schema::TypeInfo* type = typeOfStem(stem);
    if (!type) {
      ++count.unknownKinds;
      continue;
    }
    SCOPED_TRACE(entry.path().string());
    checkObject(entry.path(), *type);
    ++count.objects;
  }
  return count;
}

// UPDATE_GOLDEN=1 writes the encodings of our own objects anew; the difference is for a reviewer.
void updateGolden(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    auto decoded = decodeJson(*typeOfStem(entry.path().stem()), readFile(entry.path()));
    ASSERT_TRUE(decoded) << entry.path() << decoded.error().message();
    auto write = [&](const char* extension, const std::string& bytes) {
      std::ofstream(fs::path(entry.path()).replace_extension(extension), std::ios::binary) << bytes;
    };
    write("json", encodeJsonPretty(decoded->object.object()));
    write("yaml", encodeYaml(decoded->object.object()));
    write("pb", encodeProtobuf(decoded->object.object()));
  }
}

TEST(Golden, ownObjects) {
  if (std::getenv("UPDATE_GOLDEN")) updateGolden(sourceDir() / "tests/golden");
  Count count = checkFolder(sourceDir() / "tests/golden");
  EXPECT_GE(count.objects, 4);
  EXPECT_EQ(count.unknownKinds, 0);
}

class GoldenCorpus : public testing::TestWithParam<std::pair<const char*, int>> {};

TEST_P(GoldenCorpus, roundTrips) {
  auto [name, least] = GetParam();
  fs::path folder = sourceDir() / "../shared/golden" / name;
  if (!fs::exists(folder)) GTEST_SKIP() << "no corpus at " << folder;
  Count count = checkFolder(folder);
  EXPECT_GE(count.objects, least);
  RecordProperty("objects", count.objects);
  RecordProperty("kindsNoLongerServed", count.unknownKinds);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenCorpus,
                         testing::Values(std::pair("v1.36.3", 185), std::pair("apiextensions-v1.36.3", 2),
                                         std::pair("older/v1.35.0", 179)));

}  // namespace
}  // namespace knarr::codec
