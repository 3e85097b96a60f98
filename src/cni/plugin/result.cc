// The result of ADD: to and from JSON.
#include "cni/plugin/plugin.h"

namespace knarr::cni {
namespace {

std::vector<std::string> strings(const Json& json) {
  std::vector<std::string> out;
  for (const Json& item : json.items) out.emplace_back(item.string());
  return out;
}

int number(const Json& json) { return static_cast<int>(json.integer().value_or(0)); }

// Members of an object, four spaces per level as Go's MarshalIndent of the reference writes.
class ObjectText {
 public:
  explicit ObjectText(int level) : level_(level) {}
  void put(std::string_view name, const std::string& value) {
    body_ += body_.empty() ? "\n" : ",\n";
    body_ += std::string(static_cast<size_t>(level_ + 1) * 4, ' ') + jsonString(name) + ": " + value;
  }
  void putText(std::string_view name, const std::string& text) {
    if (!text.empty()) put(name, jsonString(text));
  }
  void putNumber(std::string_view name, int value) {
    if (value != 0) put(name, std::to_string(value));
  }
  void putStrings(std::string_view name, const std::vector<std::string>& items) {
    if (items.empty()) return;
    std::string out;
    for (const std::string& item : items) out += (out.empty() ? "" : ", ") + jsonString(item);
    put(name, "[" + out + "]");
  }
  std::string finish() const {
    if (body_.empty()) return "{}";
    return "{" + body_ + "\n" + std::string(static_cast<size_t>(level_) * 4, ' ') + "}";
  }

 private:
  int level_;
  std::string body_;
};

template <class T, class Write>
std::string list(const std::vector<T>& items, Write write) {
  std::string out;
  for (const T& item : items) out += (out.empty() ? "\n        " : ",\n        ") + write(item);
  return "[" + out + "\n    ]";
}

}  // namespace

Dns parseDns(const Json& json) {
  return {strings(json.at("nameservers")), strings(json.at("search")), strings(json.at("options")),
          std::string(json.at("domain").string())};
}

Outcome<std::vector<Route>> parseRoutes(const Json& json) {
  std::vector<Route> routes;
  for (const Json& item : json.items) {
    auto destination = parseSubnet(item.at("dst").string());
    if (!destination) {
      return refuse(kInvalidNetworkConfig,
                    "invalid route destination " + jsonString(item.at("dst").string()) + ": expected CIDR notation");
    }
    Route route;
    route.destination = *destination;
    route.destination.ip = destination->network();
    if (std::string_view gateway = item.at("gw").string(); !gateway.empty()) {
      route.gateway = parseIp(gateway);
      if (!route.gateway) {
        return refuse(kInvalidNetworkConfig, "invalid route gateway " + jsonString(gateway));
      }
    }
    route.mtu = number(item.at("mtu"));
    route.advmss = number(item.at("advmss"));
    route.priority = number(item.at("priority"));
    if (item.at("table").integer()) route.table = number(item.at("table"));
    if (item.at("scope").integer()) route.scope = number(item.at("scope"));
    routes.push_back(route);
  }
  return routes;
}

Outcome<AddResult> parseResult(const Json& json) {
  AddResult result;
  for (const Json& item : json.at("interfaces").items) {
    result.interfaces.push_back({std::string(item.at("name").string()), std::string(item.at("mac").string()),
                                 std::string(item.at("sandbox").string()), number(item.at("mtu"))});
  }
  for (const Json& item : json.at("ips").items) {
    auto address = parseSubnet(item.at("address").string());
    if (!address) {
      return refuse(kDecodingFailure, "result has the invalid address " + jsonString(item.at("address").string()));
    }
    IpConfig ip;
    ip.address = *address;
    if (std::string_view gateway = item.at("gateway").string(); !gateway.empty()) {
      ip.gateway = parseIp(gateway);
    }
    ip.interface = static_cast<int>(item.at("interface").integer().value_or(-1));
    result.ips.push_back(ip);
  }
  result.routes = TRY(parseRoutes(json.at("routes")));
  result.dns = parseDns(json.at("dns"));
  return result;
}

std::string writeResult(const AddResult& result, const std::string& cniVersion) {
  bool oldAddresses = cniVersion < "1.0.0";  // they name the family beside each address
  ObjectText out(0);
  out.putText("cniVersion", cniVersion);
  if (!result.interfaces.empty()) {
    out.put("interfaces", list(result.interfaces, [&](const Interface& interface) {
              ObjectText text(2);
              text.putText("name", interface.name);
              text.putText("mac", interface.mac);
              if (cniVersion >= "1.1.0") text.putNumber("mtu", interface.mtu);
              text.putText("sandbox", interface.sandbox);
              return text.finish();
            }));
  }
  if (!result.ips.empty()) {
    out.put("ips", list(result.ips, [&](const IpConfig& ip) {
              ObjectText text(2);
              if (oldAddresses) text.putText("version", ip.address.ip.v6 ? "6" : "4");
              if (ip.interface >= 0) text.put("interface", std::to_string(ip.interface));
              text.putText("address", ip.address.text());
              if (ip.gateway) text.putText("gateway", ip.gateway->text());
              return text.finish();
            }));
  }
  if (!result.routes.empty()) {
    out.put("routes", list(result.routes, [&](const Route& route) {
              ObjectText text(2);
              text.putText("dst", route.destination.text());
              if (route.gateway) text.putText("gw", route.gateway->text());
              if (cniVersion >= "1.1.0") {
                text.putNumber("mtu", route.mtu);
                text.putNumber("advmss", route.advmss);
                text.putNumber("priority", route.priority);
                if (route.table) text.put("table", std::to_string(*route.table));
                if (route.scope) text.put("scope", std::to_string(*route.scope));
              }
              return text.finish();
            }));
  }
  ObjectText dns(1);
  dns.putStrings("nameservers", result.dns.nameservers);
  dns.putText("domain", result.dns.domain);
  dns.putStrings("search", result.dns.search);
  dns.putStrings("options", result.dns.options);
  out.put("dns", dns.finish());
  return out.finish();
}

}  // namespace knarr::cni
