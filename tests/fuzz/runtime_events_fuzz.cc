// Events of runtimes: no bytes harm, and every event that is told names a container.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "cri/runtime_events.h"

using namespace knarr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  auto ofContainerd = cri::eventOfContainerd(bytes);
  if (ofContainerd && *ofContainerd) ASSERT(!(*ofContainerd)->id.empty());
  auto ofCri = cri::eventOfCri(bytes);
  if (ofCri && *ofCri) ASSERT(!(*ofCri)->id.empty());
  return 0;
}
