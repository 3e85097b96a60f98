#include "cni/portmap/portmap.h"

#include <unistd.h>

#include "base/strings.h"
#include "cni/plugin/link.h"
#include "cni/plugin/nft.h"

namespace knarr::cni {
namespace {

constexpr const char* kTable = "cni_hostport";

std::string commentOf(const Request& request) { return hashText(request.network) + "-" + request.containerId.substr(0, 64); }

// The first address of each family that the pod's own interface has.
std::vector<Ip> podAddresses(const Request& request, const AddResult& previous) {
  std::vector<Ip> out;
  for (bool v6 : {false, true}) {
    for (const IpConfig& ip : previous.ips) {
      if (ip.address.ip.v6 != v6) continue;
      if (ip.interface >= 0) {
        auto index = static_cast<size_t>(ip.interface);
        if (index >= previous.interfaces.size()) continue;
        const Interface& interface = previous.interfaces[index];
        if (interface.name != request.ifName || interface.sandbox.empty()) continue;
      }
      out.push_back(ip.address.ip);
      break;
    }
  }
  return out;
}

std::string tableText(const char* family) {
  std::string table = std::string(family) + " " + kTable;
  std::string out = "add table " + table + "\n";
  for (const char* chain : {"hostports", "hostip_hostports", "hostports_all"}) {
    out += "add chain " + table + " " + chain + "\n";
  }
  out += "add chain " + table + " prerouting { type nat hook prerouting priority -100 ; }\n";
  out += "add chain " + table + " output { type nat hook output priority -100 ; }\n";
  out += "add chain " + table + " masquerading { type nat hook postrouting priority 100 ; }\n";
  for (const char* chain : {"hostports_all", "prerouting", "output"}) out += "flush chain " + table + " " + chain + "\n";
  out += "add rule " + table + " hostports_all jump hostip_hostports\n";
  out += "add rule " + table + " hostports_all jump hostports\n";
  out += "add rule " + table + " prerouting fib daddr type local jump hostports_all\n";
  out += "add rule " + table + " output fib daddr type local jump hostports_all\n";
  return out;
}

// Flows of UDP that began before the rules were there would pass them by for as long as they last.
void forgetUdpFlows(const PortmapConfig& config) {
  std::string program;
  for (const char* path : {"/usr/sbin/conntrack", "/sbin/conntrack", "/usr/bin/conntrack"}) {
    if (access(path, X_OK) == 0) program = path;
  }
  if (program.empty()) return;
  for (const PortMapping& mapping : config.mappings) {
    if (mapping.protocol != "udp") continue;
    runProgram({program, "-D", "-p", "udp", "--dport", std::to_string(mapping.hostPort)}, {}, "");
  }
}

std::string removalScript(const std::string& comment) {
  std::string script;
  for (const char* family : {"ip", "ip6"}) {
    for (const char* chain : {"hostports", "hostip_hostports", "masquerading"}) {
      script += deletionScript({family, kTable, chain}, comment);
    }
  }
  return script;
}

Outcome<AddResult> previousResult(const Request& request) {
  const Json& previous = request.config.at("prevResult");
  if (previous.isNull()) return refuse(kInvalidNetworkConfig, "must be called as chained plugin");
  return parseResult(previous);
}

}  // namespace

Outcome<PortmapConfig> readPortmapConfig(const Request& request) {
  PortmapConfig config;
  const Json& json = request.config;
  if (!json.at("snat").isNull()) config.snat = json.at("snat").boolean;
  config.masqueradeAll = json.at("masqAll").boolean;
  for (const char* option : {"conditionsV4", "conditionsV6", "externalSetMarkChain", "markMasqBit"}) {
    if (!json.at(option).isNull()) {
      return refuse(2 /* unsupported field */, std::string("this portmap plugin does not support the option ") + option);
    }
  }
  for (const Json& item : json.at("runtimeConfig").at("portMappings").items) {
    PortMapping mapping;
    int64_t host = item.at("hostPort").integer().value_or(0), container = item.at("containerPort").integer().value_or(0);
    if (host <= 0 || host > 65535) return refuse(kInvalidNetworkConfig, "Invalid host port number: " + std::to_string(host));
    if (container <= 0 || container > 65535) {
      return refuse(kInvalidNetworkConfig, "Invalid container port number: " + std::to_string(container));
    }
    mapping.hostPort = static_cast<int>(host);
    mapping.containerPort = static_cast<int>(container);
    mapping.protocol = toLower(item.at("protocol").string());
    if (mapping.protocol.empty()) mapping.protocol = "tcp";
    if (mapping.protocol != "tcp" && mapping.protocol != "udp" && mapping.protocol != "sctp") {
      return refuse(kInvalidNetworkConfig, "unknown protocol " + jsonString(mapping.protocol));
    }
    if (std::string_view hostIp = item.at("hostIP").string(); !hostIp.empty()) {
      mapping.hostIp = parseIp(hostIp);
      if (!mapping.hostIp) return refuse(kInvalidNetworkConfig, "invalid host IP " + jsonString(hostIp));
    }
    config.mappings.push_back(mapping);
  }
  return config;
}

std::string portmapScript(const PortmapConfig& config, const Ip& pod, const std::string& comment) {
  const char* family = pod.v6 ? "ip6" : "ip";
  std::string table = std::string(family) + " " + kTable;
  std::string target = pod.v6 ? "[" + pod.text() + "]" : pod.text();
  std::string tail = " comment \"" + comment + "\"\n";
  std::string rules;
  for (const PortMapping& mapping : config.mappings) {
    if (mapping.hostIp && mapping.hostIp->v6 != pod.v6) continue;
    bool anyAddress = !mapping.hostIp || mapping.hostIp->value == 0;
    rules += "add rule " + table + (anyAddress ? " hostports " : " hostip_hostports ");
    if (!anyAddress) rules += std::string(family) + " daddr " + mapping.hostIp->text() + " ";
    rules += mapping.protocol + " dport " + std::to_string(mapping.hostPort) + " dnat to " + target + ":" +
             std::to_string(mapping.containerPort) + tail;
  }
  if (rules.empty()) return "";
  if (config.masqueradeAll) {
    rules += "add rule " + table + " masquerading " + family + " daddr " + pod.text() + " masquerade" + tail;
  } else if (config.snat) {
    std::string self = std::string(family) + " saddr ";
    std::string to = std::string(" ") + family + " daddr " + pod.text() + " masquerade" + tail;
    rules += "add rule " + table + " masquerading " + self + pod.text() + to;
    if (!pod.v6) rules += "add rule " + table + " masquerading " + self + "127.0.0.1" + to;
  }
  return tableText(family) + rules;
}

Outcome<AddResult> addPortmap(const Request& request) {
  PortmapConfig config = TRY(readPortmapConfig(request));
  AddResult previous = TRY(previousResult(request));
  if (config.mappings.empty()) return previous;
  std::string comment = commentOf(request);
  for (const Ip& pod : podAddresses(request, previous)) {
    std::string script = portmapScript(config, pod, comment);
    if (script.empty()) continue;
    TRY(runNftScript("could not add port mappings", script));
    if (pod.v6 || !config.snat) continue;
    // 127.0.0.1 may leave the host towards the pod only with this.
    for (const Interface& interface : previous.interfaces) {
      if (!interface.sandbox.empty()) continue;
      (void)writeSysctl("net/ipv4/conf/" + interface.name + "/route_localnet", "1");
      break;
    }
  }
  forgetUdpFlows(config);
  return previous;
}

// The rules are found by their comment; a mapping that ADD refused must not keep a pod from going.
Outcome<void> removePortmap(const Request& request) {
  if (request.config.at("runtimeConfig").at("portMappings").items.empty()) return {};
  std::string script = removalScript(commentOf(request));
  if (script.empty()) return {};
  return runNftScript("could not remove port mappings", script);
}

Outcome<void> checkPortmap(const Request& request) {
  PortmapConfig config = TRY(readPortmapConfig(request));
  AddResult previous = TRY(previousResult(request));
  if (config.mappings.empty() || podAddresses(request, previous).empty()) return {};
  if (removalScript(commentOf(request)).empty()) {
    return refuse(kInternal, "the port mappings of container " + request.containerId + " are not there");
  }
  return {};
}

}  // namespace knarr::cni
