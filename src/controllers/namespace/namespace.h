// The namespace controller: empties a namespace that is being deleted, then lets it go.
//
// Upstream counterpart: pkg/controller/namespace.
#pragma once

#include <memory>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

// `resources` are the namespaced resources that can be deleted; pods among them go first and alone.
std::unique_ptr<Controller> makeNamespaceController(ControllerContext context,
                                                    std::vector<const client::ResourceInfo*> resources);

}  // namespace knarr::controllers
