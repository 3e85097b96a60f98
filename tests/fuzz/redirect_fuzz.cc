// Where a pod's answer leads a probe: to the same host, with a path that can be asked for.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "kubelet/http_get.h"

using namespace knarr;

namespace {

std::string_view hostOf(std::string_view address) { return address.substr(0, address.rfind(':')); }

}  // namespace

// The first line is the path that was asked for, the rest is the Location that came.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string_view path = text.substr(0, text.find('\n'));
  std::string_view location = path.size() == text.size() ? std::string_view() : text.substr(path.size() + 1);
  for (std::string_view address : {"10.0.0.1:80", "[fd00::1]:80"}) {
    kubelet::HttpGetRequest request;
    request.address = request.host = address;
    request.path = "/" + std::string(path);
    auto next = kubelet::redirected(request, 302, location);
    if (!next) continue;
    ASSERT(hostOf(next->address) == hostOf(address));
    ASSERT(next->path.starts_with("/"));
    ASSERT(next->path.size() <= request.path.size() + location.size() + 1);
  }
  return 0;
}
