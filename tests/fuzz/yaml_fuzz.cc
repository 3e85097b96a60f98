// YAML to JSON and back: no input harms, and the YAML written for a value is read as that value.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "codec/codec.h"

using namespace knarr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> duplicates;
  (void)codec::splitYamlDocuments(text);
  auto json = codec::yamlToJson(text, &duplicates, size_t{1} << 20);
  if (!json) return 0;
  auto yaml = codec::jsonToYaml(*json);
  ASSERT(yaml.has_value());
  auto again = codec::yamlToJson(*yaml);
  ASSERT(again.has_value());
  return 0;
}
