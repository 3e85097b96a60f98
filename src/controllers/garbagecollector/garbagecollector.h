// The garbage collector: deletes what its owners left behind, in the background, in the foreground, or orphans it.
//
// It watches every resource that can be deleted and keeps a graph of who owns whom.
// Upstream counterpart: pkg/controller/garbagecollector (garbagecollector.go, graph_builder.go).
#pragma once

#include <memory>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

// `resources`: every listable, watchable and deletable resource but events.
std::unique_ptr<Controller> makeGarbageCollector(ControllerContext context, std::vector<const client::ResourceInfo*> resources);

}  // namespace knarr::controllers
