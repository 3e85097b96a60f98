// What the proxy reads out of Services and EndpointSlices: ports with all their addresses, and the endpoints behind each.
//
// One family at a time. Plain data and plain functions. Source: behaviour of pkg/proxy/serviceport.go, endpoint.go, topology.go.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "base/ip.h"
#include "schema/object.h"

namespace knarr::kube_proxy {

using schema::Ref;

// Names one port of one Service: "default/web:http" and its protocol ("tcp", "udp", "sctp").
struct PortName {
  std::string service;  // "namespace/name"
  std::string port;     // may be ""
  std::string protocol;
  friend auto operator<=>(const PortName&, const PortName&) = default;
  std::string text() const { return port.empty() ? service : service + ":" + port; }
};

struct ServicePort {
  PortName name;
  IpAddress clusterIp;
  int port = 0;
  int nodePort = 0;  // 0: none
  std::vector<IpAddress> externalIps;
  std::vector<IpAddress> loadBalancerIps;  // of ipMode VIP
  std::vector<IpPrefix> sourceRanges;      // empty: everybody may use loadBalancerIps
  int affinitySeconds = 0;                 // 0: none
  bool internalLocal = false;              // internalTrafficPolicy Local
  bool externalLocal = false;              // externalTrafficPolicy Local, where it applies

  bool externallyAccessible() const { return nodePort != 0 || !externalIps.empty() || !loadBalancerIps.empty(); }
  bool usesClusterEndpoints() const { return !internalLocal || externallyAccessible(); }
  bool usesLocalEndpoints() const { return internalLocal || (externalLocal && externallyAccessible()); }
};

struct Endpoint {
  IpAddress ip;
  int port = 0;
  bool local = false;
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  std::set<std::string> zones = {};  // hints
  std::set<std::string> nodes = {};
  std::string text() const;  // "ip:port", the order of lists
};

// The ports of a Service in one family; none when the proxy has nothing to do for it.
std::vector<ServicePort> servicePortsOf(const corev1::Service& service, bool v6);
// All endpoints of a Service by port name, in the order of their text. Slices of other families are left out; of endpoints that
// two slices name alike one that is not terminating is kept.
std::map<PortName, std::vector<Endpoint>> endpointsOf(const std::string& service,
                                                      const std::vector<Ref<discoveryv1::EndpointSlice>>& slices, bool v6,
                                                      std::string_view nodeName);

struct Chosen {
  std::vector<Endpoint> cluster;    // for destinations with policy Cluster
  std::vector<Endpoint> local;      // for destinations with policy Local
  std::vector<Endpoint> reachable;  // either
  bool any = false;                 // whether the Service has a usable endpoint anywhere
};
// Which endpoints a port uses on this node: hints, terminating endpoints when nothing else is left.
Chosen chooseEndpoints(const std::vector<Endpoint>& endpoints, const ServicePort& port, std::string_view nodeName,
                       std::string_view zone);

}  // namespace knarr::kube_proxy
