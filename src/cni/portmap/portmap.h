// portmap: forwards ports of the host to a pod, after the plugin that connected the pod.
//
// Table cni_hostport of each family, as the reference plugin lays it out: prerouting and output
// send what goes to a local address through hostports_all to hostip_hostports (mappings with a host
// address) and hostports (without); masquerading lets a pod reach itself, and the host its pods
// through 127.0.0.1. Rules carry the container's id as comment. Upstream counterpart:
// containernetworking/plugins plugins/meta/portmap (nftables backend).
#pragma once

#include "cni/plugin/plugin.h"

namespace knarr::cni {

struct PortMapping {
  int hostPort = 0, containerPort = 0;
  std::string protocol;      // "tcp", "udp" or "sctp"
  std::optional<Ip> hostIp;  // nothing: every local address
};
struct PortmapConfig {
  std::vector<PortMapping> mappings;
  bool snat = true;
  bool masqueradeAll = false;
};
Outcome<PortmapConfig> readPortmapConfig(const Request& request);

// The nft script that adds the rules of one family for the pod's address; "" when no mapping is of
// that family. Pure.
std::string portmapScript(const PortmapConfig& config, const Ip& pod, const std::string& comment);

Outcome<AddResult> addPortmap(const Request& request);
Outcome<void> removePortmap(const Request& request);
Outcome<void> checkPortmap(const Request& request);

}  // namespace knarr::cni
