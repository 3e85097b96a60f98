// Configurations of CNI plugins: no input harms, and a text that was accepted can be taken apart.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "cni/plugin/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string error;
  auto json = knarr::cni::parseJson(text, error);
  ASSERT(json.has_value() == error.empty());
  if (!json) return 0;
  (void)json->at("ipam").at("ranges").string();
  std::string again = knarr::cni::jsonString(json->at("name").string());
  auto quoted = knarr::cni::parseJson(again, error);
  ASSERT(quoted && quoted->string() == json->at("name").string());
  return 0;
}
