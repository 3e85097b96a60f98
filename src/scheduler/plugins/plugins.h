// The plugins of the default profile: one function each that makes one, and the list of all.
//
// Upstream counterpart: pkg/scheduler/framework/plugins, pkg/scheduler/apis/config/v1/default_plugins.go.
#pragma once

#include <memory>
#include <vector>

#include "scheduler/framework.h"

namespace knarr::scheduler {

std::unique_ptr<Plugin> makeSchedulingGates();
std::unique_ptr<Plugin> makePrioritySort();
std::unique_ptr<Plugin> makeNodeUnschedulable();
std::unique_ptr<Plugin> makeNodeName();
std::unique_ptr<Plugin> makeTaintToleration();
std::unique_ptr<Plugin> makeNodeAffinity();
std::unique_ptr<Plugin> makeNodePorts();
std::unique_ptr<Plugin> makeNodeResourcesFit();
std::unique_ptr<Plugin> makeNodeResourcesBalancedAllocation();
std::unique_ptr<Plugin> makeImageLocality();
std::unique_ptr<Plugin> makeDefaultBinder();

// In upstream's order, with upstream's weights.
std::vector<ProfilePlugin> defaultPlugins();

}  // namespace knarr::scheduler
