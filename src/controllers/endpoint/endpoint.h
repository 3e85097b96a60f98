// The Endpoints controller: the older form of a Service's addresses, one object per Service, at most 1000 addresses.
//
// Upstream counterpart: pkg/controller/endpoint/endpoints_controller.go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

std::unique_ptr<Controller> makeEndpointController(ControllerContext context);

// ---- decisions

// The Endpoints a Service should have; null when `current` (which may be null) says the same already. `triggerTime` is RFC 3339,
// "" for none.
Mut<corev1::Endpoints> decideEndpoints(const Ref<corev1::Service>& service, const std::vector<Ref<corev1::Pod>>& pods,
                                       const Ref<corev1::Endpoints>& current, const std::string& triggerTime);

}  // namespace knarr::controllers
