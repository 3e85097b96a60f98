// Ranges of addresses that host-local hands out, and their checks. Pure.
// Upstream counterpart: containernetworking/plugins
// plugins/ipam/host-local/backend/allocator/{config,range}.go.
#pragma once

#include "cni/plugin/plugin.h"

namespace knarr::cni {

struct Range {
  Subnet subnet;
  Ip start, end, gateway;
  bool contains(const Ip& ip) const { return ip.v6 == start.v6 && ip.value >= start.value && ip.value <= end.value; }
};
using RangeSet = std::vector<Range>;

struct HostLocalConfig {
  std::vector<RangeSet> sets;  // one address is given out of each
  std::vector<Route> routes;
  std::string resolvConf;
  std::string dataDirectory;
  std::vector<Ip> requested;
};
// Reads the "ipam" object with runtimeConfig, args and CNI_ARGS; fills defaults and refuses what
// cannot work.
Outcome<HostLocalConfig> readHostLocalConfig(const Request& request);

std::string rangeSetText(const RangeSet& set);

}  // namespace knarr::cni
