// ServiceAllocator: cluster addresses, node ports and health check ports of Services.
//
// Upstream allocates in the registry (pkg/registry/core/service/storage); here it stands with the other steps that fill an object
// in. What is taken is what the Services in the cache have; what was just handed out and is not in the cache yet is remembered.
#pragma once

#include <memory>
#include <string>

#include "apiserver/admission.h"
#include "apiserver/registry.h"

namespace knarr::apiserver {

// `range` is the CIDR of the addresses; a malformed one refuses every Service.
std::unique_ptr<AdmissionPlugin> makeServiceAllocator(Registry& registry, const std::string& range);

}  // namespace knarr::apiserver
