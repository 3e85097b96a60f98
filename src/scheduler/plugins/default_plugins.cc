#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {

std::vector<ProfilePlugin> defaultPlugins() {
  std::vector<ProfilePlugin> out;
  out.push_back({makeSchedulingGates()});
  out.push_back({makePrioritySort()});
  out.push_back({makeNodeUnschedulable()});
  out.push_back({makeNodeName()});
  out.push_back({makeTaintToleration(), 3});
  out.push_back({makeNodeAffinity(), 2});
  out.push_back({makeNodePorts()});
  out.push_back({makeNodeResourcesFit(), 1});
  out.push_back({makeNodeResourcesBalancedAllocation(), 1});
  out.push_back({makeImageLocality(), 1});
  out.push_back({makeDefaultBinder()});
  return out;
}

}  // namespace knarr::scheduler
