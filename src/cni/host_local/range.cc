#include "cni/host_local/range.h"

#include "base/strings.h"

namespace knarr::cni {
namespace {

Outcome<Ip> optionalIp(const Json& json, const char* name, Ip fallback) {
  if (json.at(name).isNull() || json.at(name).string().empty()) return fallback;
  auto ip = parseIp(json.at(name).string());
  if (!ip) {
    return refuse(kInvalidNetworkConfig, std::string("invalid ") + name + " " + jsonString(json.at(name).string()));
  }
  return *ip;
}

Outcome<Range> readRange(const Json& json) {
  auto subnet = parseSubnet(json.at("subnet").string());
  if (!subnet) {
    return refuse(kInvalidNetworkConfig, "invalid range subnet " + jsonString(json.at("subnet").string()));
  }
  if (subnet->ip.bits() - subnet->prefix < 2) {
    return refuse(kInvalidNetworkConfig, "Network " + subnet->text() + " too small to allocate from");
  }
  if (subnet->network() != subnet->ip) {
    return refuse(kInvalidNetworkConfig, "Network has host bits set. For a subnet mask of length " +
                                             std::to_string(subnet->prefix) + " the network address is " +
                                             subnet->network().text());
  }
  bool v6 = subnet->ip.v6;
  Ip first{v6, subnet->ip.value + 1};
  Ip last{v6, subnet->last().value - (v6 ? 0 : 1)};
  Range range;
  range.subnet = *subnet;
  range.gateway = TRY(optionalIp(json, "gateway", first));
  range.start = TRY(optionalIp(json, "rangeStart", first));
  range.end = TRY(optionalIp(json, "rangeEnd", last));
  for (const Ip& ip : {range.start, range.end}) {
    if (!subnet->contains(ip)) {
      return refuse(kInvalidNetworkConfig, "range address " + ip.text() + " not in network " + subnet->text());
    }
  }
  if (range.start.value > range.end.value) {
    return refuse(kInvalidNetworkConfig, "RangeStart " + range.start.text() + " is after RangeEnd " + range.end.text());
  }
  return range;
}

Outcome<RangeSet> readRangeSet(const Json& json) {
  RangeSet set;
  for (const Json& item : json.items) {
    Range range = TRY(readRange(item));
    for (const Range& other : set) {
      if (other.start.v6 != range.start.v6) {
        return refuse(kInvalidNetworkConfig, "mixed address families");
      }
      if (other.contains(range.start) || range.contains(other.start)) {
        return refuse(kInvalidNetworkConfig, "subnets " + rangeSetText({range}) + " and " + rangeSetText({other}) + " overlap");
      }
    }
    set.push_back(range);
  }
  if (set.empty()) return refuse(kInvalidNetworkConfig, "empty range set");
  return set;
}

Outcome<void> readRequested(const Request& request, HostLocalConfig& config) {
  auto add = [&](std::string_view text) -> Outcome<void> {
    if (text.empty()) return {};
    auto ip = parseIp(text.substr(0, text.find('/')));
    if (!ip) return refuse(kInvalidNetworkConfig, "invalid requested IP " + jsonString(text));
    config.requested.push_back(*ip);
    return {};
  };
  const Json& runtime = request.config.at("runtimeConfig").at("ips");
  const Json& args = request.config.at("args").at("cni").at("ips");
  if (auto own = request.args.find("IP"); own != request.args.end()) {
    for (std::string_view ip : split(own->second, ',')) TRY(add(ip));
  }
  for (const Json& ip : args.items) TRY(add(ip.string()));
  for (const Json& ip : runtime.items) TRY(add(ip.string()));
  return {};
}

}  // namespace

std::string rangeSetText(const RangeSet& set) {
  std::string out;
  for (const Range& range : set) {
    out += (out.empty() ? "" : ",") + range.start.text() + "-" + range.end.text();
  }
  return out;
}

Outcome<HostLocalConfig> readHostLocalConfig(const Request& request) {
  const Json& ipam = request.config.at("ipam");
  if (ipam.type != Json::Object) return refuse(kInvalidNetworkConfig, "IPAM config missing 'ipam' key");
  HostLocalConfig config;
  for (const Json& set : request.config.at("runtimeConfig").at("ipRanges").items) {
    config.sets.push_back(TRY(readRangeSet(set)));
  }
  if (!ipam.at("subnet").isNull()) config.sets.push_back({TRY(readRange(ipam))});
  for (const Json& set : ipam.at("ranges").items) config.sets.push_back(TRY(readRangeSet(set)));
  if (config.sets.empty()) return refuse(kInvalidNetworkConfig, "no IP ranges specified");
  for (size_t i = 0; i < config.sets.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      for (const Range& a : config.sets[i]) {
        for (const Range& b : config.sets[j]) {
          if (!a.contains(b.start) && !b.contains(a.start)) continue;
          return refuse(kInvalidNetworkConfig, "range set " + std::to_string(j) + " overlaps with " + std::to_string(i));
        }
      }
    }
  }
  config.routes = TRY(parseRoutes(ipam.at("routes")));
  config.resolvConf = ipam.at("resolvConf").string();
  std::string_view directory = ipam.at("dataDir").string();
  config.dataDirectory = std::string(directory.empty() ? "/var/lib/cni/networks" : directory) + "/" + request.network;
  TRY(readRequested(request, config));
  return config;
}

}  // namespace knarr::cni
