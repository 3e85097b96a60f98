// bridge: connects a pod to a bridge of the host with a veth pair.
// Upstream counterpart: containernetworking/plugins plugins/main/bridge.
#pragma once

#include "cni/plugin/plugin.h"

namespace knarr::cni {

struct BridgeConfig {
  std::string bridge = "cni0";
  bool isGateway = false;
  bool isDefaultGateway = false;
  bool forceAddress = false;
  bool ipMasq = false;
  int mtu = 0;
  bool hairpinMode = false;
  // Frames between two ports pass the IP packet filter, so that the answer of a pod to its neighbour finds the connection that a
  // Service rewrote. Ours alone: upstream's plugin knows no such key and the host is switched as a whole.
  bool bridgeNfCall = false;
  bool promiscMode = false;
  std::string ipamType;  // "": layer 2 only
  std::string mac;       // of the pod's end; "": the kernel's choice
  Dns dns;
};
// Refuses what contradicts itself, and the options of upstream's plugin that this one does not
// have.
Outcome<BridgeConfig> readBridgeConfig(const Request& request);

Outcome<AddResult> addBridge(const Request& request);
Outcome<void> removeBridge(const Request& request);
Outcome<void> checkBridge(const Request& request);
Outcome<void> statusBridge(const Request& request);

}  // namespace knarr::cni
