#include "cni/bridge/bridge.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "cni/bridge/masquerade.h"
#include "cni/plugin/link.h"

namespace knarr::cni {
namespace {

constexpr int kNameAttempts = 10;
constexpr int kPodInterface = 2;  // index of the pod's end in the result
constexpr int kPortUpMsMax = 2550;

std::string vethName() {
  uint32_t random = 0;
  // Blocks only before the kernel's generator is seeded, which no pod precedes.
  if (getrandom(&random, sizeof random, 0) != sizeof random) return "veth0";
  std::array<char, 16> name;
  std::snprintf(name.data(), name.size(), "veth%08x", random);
  return name.data();
}

// Switches one bridge, not all of the host. Absent without the module br_netfilter; then only neighbours that speak through a
// Service miss it.
void callNetfilter(const std::string& bridge, bool v6) {
  std::string path = "/sys/class/net/" + bridge + "/bridge/" + (v6 ? "nf_call_ip6tables" : "nf_call_iptables");
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, "1", 1);
  close(fd);
}

// The bridge exists, is one, and is up.
Outcome<Link> ensureBridge(Netlink& host, const BridgeConfig& config) {
  auto link = TRY(host.link(config.bridge));
  if (!link) {
    Outcome<void> created = host.createBridge(config.bridge, config.mtu);
    // Another pod's ADD may have been first.
    if (!created && created.error().details != "EEXIST") return std::unexpected(created.error());
    link = TRY(host.link(config.bridge));
  }
  if (!link || link->kind != "bridge") {
    return refuse(kInternal, jsonString(config.bridge) + " already exists but is not a bridge");
  }
  // A router takes no routes from advertisements of its pods. Absent without IPv6.
  (void)writeSysctl("net/ipv6/conf/" + config.bridge + "/accept_ra", "0");
  if (config.bridgeNfCall)
    for (bool v6 : {false, true}) callNetfilter(config.bridge, v6);
  TRY(host.setFlags(link->index, IFF_UP | (config.promiscMode ? IFF_PROMISC : 0), 0));
  return *link;
}

struct VethPair {
  Link host, pod;
};

Outcome<VethPair> createPair(Netlink& host, Netlink& inside, const Namespace& hostNamespace, const Request& request,
                             const BridgeConfig& config) {
  if (TRY(inside.link(request.ifName))) {
    return refuse(kInternal, "container veth name provided (" + request.ifName + ") already exists");
  }
  for (int attempt = 1;; ++attempt) {
    std::string name = vethName();
    Outcome<void> created = inside.createVeth(request.ifName, name, hostNamespace.fd(), config.mtu, config.mac);
    if (!created && created.error().details == "EEXIST" && attempt < kNameAttempts) continue;
    if (!created) return std::unexpected(created.error());
    auto hostEnd = TRY(host.link(name));
    auto podEnd = TRY(inside.link(request.ifName));
    if (!hostEnd || !podEnd) return refuse(kInternal, "the veth pair " + name + " vanished after it was made");
    return VethPair{*hostEnd, *podEnd};
  }
}

Ip gatewayOf(const IpConfig& ip) {
  if (ip.gateway) return *ip.gateway;
  Ip first = ip.address.network();
  first.value += 1;
  return first;
}

Outcome<void> ensureGatewayAddress(Netlink& host, const Link& bridge, const BridgeConfig& config, const Subnet& wanted) {
  for (const Address& address : TRY(host.addresses(bridge.index))) {
    const Subnet& present = address.address;
    if (present.ip == wanted.ip && present.prefix == wanted.prefix) return {};
    if (present.ip.v6 != wanted.ip.v6) continue;
    if (present.ip.v6 && !present.contains(wanted.ip) && !wanted.contains(present.ip)) continue;
    if (!config.forceAddress) {
      return refuse(kInternal, jsonString(config.bridge) + " already has an IP address different from " + wanted.text());
    }
    TRY(host.removeAddress(bridge.index, present));
  }
  Outcome<void> added = host.addAddress(bridge.index, wanted);
  if (!added && added.error().details != "EEXIST") return added;
  // A bridge without a fixed address takes the lowest of its ports', and pods' ARP entries would go
  // stale.
  auto now = TRY(host.linkByIndex(bridge.index));
  if (now) TRY(host.setMac(bridge.index, now->mac));
  return {};
}

Outcome<void> setUpGateway(Netlink& host, const Link& bridge, const BridgeConfig& config, AddResult& result) {
  for (IpConfig& ip : result.ips) {
    Ip gateway = gatewayOf(ip);
    TRY(ensureGatewayAddress(host, bridge, config, {gateway, ip.address.prefix}));
    TRY(writeSysctl(gateway.v6 ? "net/ipv6/conf/all/forwarding" : "net/ipv4/ip_forward", "1"));
    ip.gateway = gateway;
    if (!config.isDefaultGateway) continue;
    bool hasDefault = false;
    for (const Route& route : result.routes) {
      hasDefault |= route.destination.prefix == 0 && route.destination.ip.v6 == gateway.v6;
    }
    if (!hasDefault) {
      Route route;
      route.destination.ip.v6 = gateway.v6;
      route.gateway = gateway;
      result.routes.push_back(route);
    }
  }
  return {};
}

// Runs in the pod's namespace.
Outcome<void> configurePod(Netlink& inside, const Link& pod, const AddResult& result) {
  bool v6 = false;
  for (const IpConfig& ip : result.ips) v6 |= ip.address.ip.v6;
  if (v6) {
    std::string base = "net/ipv6/conf/" + pod.name + "/";
    TRY(writeSysctl("net/ipv6/conf/lo/disable_ipv6", "0"));
    TRY(writeSysctl(base + "disable_ipv6", "0"));
    TRY(writeSysctl(base + "keep_addr_on_down", "1"));
    TRY(writeSysctl(base + "accept_dad", "0"));
  }
  (void)writeSysctl("net/ipv4/conf/" + pod.name + "/arp_notify", "1");
  for (const IpConfig& ip : result.ips) TRY(inside.addAddress(pod.index, ip.address));
  TRY(inside.setFlags(pod.index, IFF_UP, 0));
  for (Route route : result.routes) {
    for (const IpConfig& ip : result.ips) {
      if (!route.gateway && ip.address.ip.v6 == route.destination.ip.v6) route.gateway = ip.gateway;
    }
    TRY(inside.addRoute(pod.index, route));
  }
  return {};
}

// The bridge forwards from a port once the kernel reports it up, which follows the pod's end with a
// small delay.
Outcome<void> waitForPort(Netlink& host, int index) {
  for (int ms = 0;; ++ms) {
    auto port = TRY(host.linkByIndex(index));
    if (port && port->operState == 6 /* IF_OPER_UP, RFC 2863 */) return {};
    if (ms >= kPortUpMsMax) return refuse(kInternal, "bridge port in error state: down");
    timespec step{0, 1'000'000};
    nanosleep(&step, nullptr);
  }
}

Outcome<AddResult> delegatedAddresses(const Request& request, const BridgeConfig& config) {
  std::string output = TRY(delegate(request, config.ipamType, "ADD"));
  std::string error;
  auto json = parseJson(output, error);
  if (!json) return refuse(kDecodingFailure, "the IPAM plugin's result: " + error);
  AddResult result = TRY(parseResult(*json));
  if (result.ips.empty()) return refuse(kInternal, "IPAM plugin returned missing IP config");
  for (IpConfig& ip : result.ips) ip.interface = kPodInterface;
  return result;
}

Outcome<void> connect(const Request& request, const BridgeConfig& config, AddResult& result) {
  Namespace hostNamespace = TRY(Namespace::open("/proc/self/ns/net"));
  Namespace podNamespace = TRY(Namespace::open(request.netns));
  Netlink host = TRY(Netlink::open());
  Link bridge = TRY(ensureBridge(host, config));
  auto insideNamespace = TRY(podNamespace.enter());
  Netlink inside = TRY(Netlink::open());
  VethPair pair = TRY(createPair(host, inside, hostNamespace, request, config));
  {
    auto back = TRY(hostNamespace.enter());
    (void)writeSysctl("net/ipv6/conf/" + pair.host.name + "/accept_ra", "0");
    TRY(host.setMaster(pair.host.index, bridge.index));
    if (config.hairpinMode) TRY(host.setHairpin(pair.host.index));
    TRY(host.setFlags(pair.host.index, IFF_UP, 0));
    if (config.isGateway) TRY(setUpGateway(host, bridge, config, result));
  }
  TRY(configurePod(inside, pair.pod, result));
  TRY(waitForPort(host, pair.host.index));
  auto bridgeNow = TRY(host.linkByIndex(bridge.index));
  result.interfaces = {{config.bridge, bridgeNow ? bridgeNow->mac : bridge.mac, "", bridge.mtu},
                       {pair.host.name, pair.host.mac, "", pair.host.mtu},
                       {request.ifName, pair.pod.mac, request.netns, pair.pod.mtu}};
  return {};
}

// Takes back what a failed ADD left.
void rollBack(const Request& request, const BridgeConfig& config) {
  if (auto pod = Namespace::open(request.netns)) {
    auto entered = pod->enter();
    auto inside = Netlink::open();
    if (entered && inside) {
      auto link = inside->link(request.ifName);
      if (link && *link && (*link)->kind == "veth") (void)inside->removeLink((*link)->index);
    }
  }
  if (!config.ipamType.empty()) (void)delegate(request, config.ipamType, "DEL");
  if (config.ipMasq) (void)removeMasquerade(masqueradeComment(request));
}

bool present(const Json& json) {
  return (json.type == Json::Bool && json.boolean) || json.integer().value_or(0) != 0 || !json.items.empty();
}

}  // namespace

Outcome<BridgeConfig> readBridgeConfig(const Request& request) {
  const Json& json = request.config;
  BridgeConfig config;
  if (!json.at("bridge").string().empty()) config.bridge = json.at("bridge").string();
  config.isDefaultGateway = json.at("isDefaultGateway").boolean;
  config.isGateway = json.at("isGateway").boolean || config.isDefaultGateway;
  config.forceAddress = json.at("forceAddress").boolean;
  config.ipMasq = json.at("ipMasq").boolean;
  config.hairpinMode = json.at("hairpinMode").boolean;
  config.bridgeNfCall = json.at("bridgeNfCall").boolean;
  config.promiscMode = json.at("promiscMode").boolean;
  config.ipamType = json.at("ipam").at("type").string();
  config.dns = parseDns(json.at("dns"));
  int64_t mtu = json.at("mtu").integer().value_or(0);
  if (mtu < 0 || mtu > 65535) return refuse(kInvalidNetworkConfig, "invalid mtu " + std::to_string(mtu));
  config.mtu = static_cast<int>(mtu);
  if (config.hairpinMode && config.promiscMode) {
    return refuse(kInvalidNetworkConfig, "cannot set hairpin mode and promiscuous mode at the same time");
  }
  for (const char* option : {"vlan", "vlanTrunk", "macspoofchk", "portIsolation", "disableContainerInterface"}) {
    if (present(json.at(option))) {
      return refuse(2 /* unsupported field */, std::string("this bridge plugin does not support the option ") + option,
                    "remove it from the network configuration or use the reference plugin");
    }
  }
  if (auto mac = request.args.find("MAC"); mac != request.args.end()) config.mac = mac->second;
  if (std::string_view mac = json.at("args").at("cni").at("mac").string(); !mac.empty()) config.mac = mac;
  if (std::string_view mac = json.at("runtimeConfig").at("mac").string(); !mac.empty()) config.mac = mac;
  return config;
}

Outcome<AddResult> addBridge(const Request& request) {
  BridgeConfig config = TRY(readBridgeConfig(request));
  AddResult result;
  if (!config.ipamType.empty()) {
    auto addresses = delegatedAddresses(request, config);
    if (!addresses) {
      (void)delegate(request, config.ipamType, "DEL");
      return addresses;
    }
    result = std::move(*addresses);
  }
  Outcome<void> done = connect(request, config, result);
  if (done && config.ipMasq && !result.ips.empty()) {
    done = addMasquerade(result.ips, masqueradeComment(request));
  }
  if (!done) {
    // An interface that was there before is not ours to remove.
    if (done.error().message.find("already exists") == std::string::npos) {
      rollBack(request, config);
    } else if (!config.ipamType.empty()) {
      (void)delegate(request, config.ipamType, "DEL");
    }
    return std::unexpected(done.error());
  }
  if (!config.dns.empty()) result.dns = config.dns;
  return result;
}

Outcome<void> removeBridge(const Request& request) {
  BridgeConfig config = TRY(readBridgeConfig(request));
  if (!request.netns.empty()) {
    auto pod = Namespace::open(request.netns);
    if (!pod && pod.error().code != kUnknownContainer) return std::unexpected(pod.error());
    if (pod) {
      auto inside = TRY(pod->enter());
      Netlink netlink = TRY(Netlink::open());
      auto link = TRY(netlink.link(request.ifName));
      if (link) {
        Outcome<void> removed = netlink.removeLink(link->index);
        if (!removed && removed.error().details != "ENODEV") return removed;
      }
    }
  }
  if (!config.ipamType.empty()) TRY(delegate(request, config.ipamType, "DEL"));
  if (config.ipMasq) TRY(removeMasquerade(masqueradeComment(request)));
  return {};
}

Outcome<void> checkBridge(const Request& request) {
  BridgeConfig config = TRY(readBridgeConfig(request));
  if (!config.ipamType.empty()) TRY(delegate(request, config.ipamType, "CHECK"));
  const Json& previous = request.config.at("prevResult");
  if (previous.isNull()) return refuse(kInvalidNetworkConfig, "Required prevResult missing");
  AddResult expected = TRY(parseResult(previous));
  Netlink host = TRY(Netlink::open());
  auto bridge = TRY(host.link(config.bridge));
  if (!bridge || bridge->kind != "bridge") {
    return refuse(kInternal, "bridge " + jsonString(config.bridge) + " is not there or is not a bridge");
  }
  Namespace podNamespace = TRY(Namespace::open(request.netns));
  auto inside = TRY(podNamespace.enter());
  Netlink netlink = TRY(Netlink::open());
  auto pod = TRY(netlink.link(request.ifName));
  if (!pod || pod->kind != "veth") {
    return refuse(kInternal, "container interface " + request.ifName + " is not there or is not a veth");
  }
  auto port = TRY(host.linkByIndex(pod->peerIndex));
  if (!port || port->master != bridge->index) {
    return refuse(kInternal, "interface " + request.ifName + " is not connected to bridge " + config.bridge);
  }
  for (const Interface& interface : expected.interfaces) {
    if (interface.name != request.ifName || interface.sandbox.empty()) continue;
    if (!interface.mac.empty() && interface.mac != pod->mac) {
      return refuse(kInternal,
                    "interface " + request.ifName + " has the MAC address " + pod->mac + ", expected " + interface.mac);
    }
  }
  std::vector<Address> addresses = TRY(netlink.addresses(pod->index));
  for (const IpConfig& ip : expected.ips) {
    bool found = false;
    for (const Address& address : addresses) {
      found |= address.address.ip == ip.address.ip && address.address.prefix == ip.address.prefix;
    }
    if (!found) {
      return refuse(kInternal, "Failed to match addr " + ip.address.text() + " on interface " + request.ifName);
    }
  }
  std::vector<RouteEntry> routes = TRY(netlink.routes(pod->index));
  for (const Route& route : expected.routes) {
    bool found = false;
    for (const RouteEntry& entry : routes) {
      found |= entry.destination.ip == route.destination.ip && entry.destination.prefix == route.destination.prefix;
    }
    if (!found) {
      return refuse(kInternal, "Expected Route " + route.destination.text() + " not found in routing table");
    }
  }
  return {};
}

Outcome<void> statusBridge(const Request& request) {
  BridgeConfig config = TRY(readBridgeConfig(request));
  if (!config.ipamType.empty()) TRY(delegate(request, config.ipamType, "STATUS"));
  return {};
}

}  // namespace knarr::cni
