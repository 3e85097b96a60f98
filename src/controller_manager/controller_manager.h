// The controller manager: the explicit list of controllers, and one run of all of them.
//
// Upstream counterpart: cmd/kube-controller-manager/app/controllermanager.go.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "controllers/frame/frame.h"
#include "controllers/node_ipam/node_ipam.h"

namespace knarr::controller_manager {

struct ControllerManagerConfig {
  std::string rootCaPem;  // published to every namespace
  // What the API server serves ("v1", "apps/v1"); the garbage and namespace controllers follow all of it.
  std::vector<std::string> servedGroupVersions;
  // How long a node may be silent before it counts as lost (--node-monitor-grace-period).
  env::Duration nodeMonitorGracePeriod = std::chrono::seconds(50);
  // Pod addresses for nodes; without cluster CIDRs no node gets any (--allocate-node-cidrs=false).
  controllers::NodeIpamConfig nodeIpam = {};
};

// A client with the identity of one controller ("deployment-controller" is system:serviceaccount:kube-system:...).
using ClientFor = std::function<std::unique_ptr<client::Client>(const std::string& controller)>;

// Runs all controllers until stop. `informers` serves them all; it is started here.
async::Task<void> runControllers(env::Env environment, ControllerManagerConfig config, client::InformerFactory& informers,
                                 ClientFor clientFor, async::StopToken stop);

}  // namespace knarr::controller_manager
