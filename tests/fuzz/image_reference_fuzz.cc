// Names of images: what is taken stays the same when it is taken again, and has a tag or a digest.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "kubelet/image_reference.h"

using namespace knarr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto full = kubelet::withDefaultTag(text);
  if (!full) return 0;
  ASSERT(full->starts_with(text));
  ASSERT(full->find_first_of(":@", full->rfind('/') == full->npos ? 0 : full->rfind('/')) != full->npos);
  auto again = kubelet::withDefaultTag(*full);
  ASSERT(again.has_value());
  ASSERT(*again == *full);
  return 0;
}
