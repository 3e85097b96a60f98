// componentstatuses: whether the parts of the control plane answer, asked anew for each request. Nothing is stored.
//
// Source: pkg/registry/core/componentstatus/rest.go.
#pragma once

#include <vector>

#include "apiserver/apiserver.h"
#include "apiserver/request_info.h"
#include "apiserver/responses.h"

namespace knarr::apiserver {

// Answers get and list; MethodNotAllowed for other verbs, NotFound for an unknown component.
Task<void> handleComponentStatuses(HttpCallPtr call, RequestInfo info, std::vector<ApiServerConfig::ComponentProbe> probes);

}  // namespace knarr::apiserver
