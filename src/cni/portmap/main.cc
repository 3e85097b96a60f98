#include "cni/portmap/portmap.h"

namespace {
knarr::cni::Outcome<void> status(const knarr::cni::Request&) { return {}; }
}  // namespace

int main() {
  using namespace knarr::cni;
  return runPlugin({"portmap", addPortmap, removePortmap, checkPortmap, status});
}
