// The node IPAM controller: gives each node its part of the cluster's pod addresses.
//
// Upstream counterpart: pkg/controller/nodeipam (RangeAllocator).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "controllers/frame/frame.h"

namespace knarr::controllers {

struct NodeIpamConfig {
  std::vector<IpPrefix> clusterCidrs;  // --cluster-cidr: one, or one of each family
  std::vector<IpPrefix> serviceCidrs;  // parts of the range that overlap these are not given out
  int nodeMaskV4 = 24;                 // --node-cidr-mask-size-ipv4; a longer cluster range gives its own length
  int nodeMaskV6 = 64;                 // --node-cidr-mask-size-ipv6, likewise
};

// More than two ranges, or two of one family, are Invalid.
Result<void> validateNodeIpam(const NodeIpamConfig& config);
// `config` is valid.
std::unique_ptr<Controller> makeNodeIpamController(ControllerContext context, NodeIpamConfig config);

}  // namespace knarr::controllers
