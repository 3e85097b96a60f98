// The built-in admission plugins and their order.
#pragma once

#include <string>

#include "apiserver/admission.h"
#include "apiserver/registry.h"

namespace knarr::apiserver {

struct AdmissionConfig {
  std::string serviceClusterIpRange;
};

// Adds the plugins in upstream's order. They look things up in the registry's caches.
void addAdmissionPlugins(AdmissionChain& chain, Registry& registry, AdmissionConfig config);

}  // namespace knarr::apiserver
