#include "cluster/host_facts.h"

#include <arpa/inet.h>

#include <charconv>
#include <optional>
#include <vector>

#include "base/strings.h"

namespace knarr::cluster {

std::string hostName(env::Env environment) {
  auto text = environment.files.readFile("/proc/sys/kernel/hostname", 4096);
  std::string name = text ? toLower(trim(*text)) : std::string();
  return name.empty() ? "localhost" : name;
}

namespace {

// IPv4 addresses and masks as numbers in the host's order.
struct Network {
  uint32_t address = 0, mask = 0;
};

std::optional<uint32_t> parseAddress(std::string_view text) {
  auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t address = 0;
  for (std::string_view part : parts) {
    auto value = parseUint(part);
    if (!value || *value > 255) return std::nullopt;
    address = address << 8 | static_cast<uint32_t>(*value);
  }
  return address;
}

// /proc/net/route writes addresses as hexadecimal numbers of the machine's byte order.
std::optional<uint32_t> parseHexAddress(std::string_view text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return ntohl(value);
}

struct Route {
  std::string_view interface;
  Network network;
  uint64_t metric = 0;
};
std::vector<Route> parseRoutes(std::string_view text) {
  std::vector<Route> routes;
  for (std::string_view line : split(text, '\n')) {
    std::vector<std::string_view> words;
    for (std::string_view word : split(line, '\t')) words.push_back(trim(word));
    if (words.size() < 8) continue;
    auto destination = parseHexAddress(words[1]), mask = parseHexAddress(words[7]);
    if (destination && mask) routes.push_back({words[0], {*destination, *mask}, parseUint(words[6]).value_or(0)});
  }
  return routes;
}

// Networks that the interface of the default route reaches directly.
std::vector<Network> defaultNetworks(const std::vector<Route>& routes) {
  const Route* best = nullptr;
  for (const Route& route : routes)
    if (route.network.mask == 0 && (!best || route.metric < best->metric)) best = &route;
  std::vector<Network> networks;
  for (const Route& route : routes)
    if (best && route.network.mask != 0 && route.interface == best->interface) networks.push_back(route.network);
  return networks;
}

// Lines of the trie come in pairs: "|-- 192.0.2.2" and, below, "/32 host LOCAL".
std::vector<std::string> localAddresses(std::string_view trie) {
  std::vector<std::string> addresses;
  std::string candidate;
  for (std::string_view line : split(trie, '\n')) {
    line = trim(line);
    size_t dash = line.find("-- ");
    if (dash != std::string_view::npos) candidate = std::string(trim(line.substr(dash + 3)));
    if (line == "/32 host LOCAL" && parseAddress(candidate) && !candidate.starts_with("127.")) addresses.push_back(candidate);
  }
  return addresses;
}

}  // namespace

std::string chooseHostAddress(std::string_view routes, std::string_view trie, const std::string& podPrefix) {
  std::vector<std::string> addresses = localAddresses(trie);
  for (const Network& network : defaultNetworks(parseRoutes(routes)))
    for (const std::string& address : addresses) {
      auto number = parseAddress(address);
      if (number && (*number & network.mask) == network.address) return address;
    }
  for (const std::string& address : addresses)
    if (podPrefix.empty() || !address.starts_with(podPrefix)) return address;
  return "127.0.0.1";
}

std::string hostAddress(env::Env environment, const std::string& podPrefix) {
  auto routes = environment.files.readFile("/proc/net/route", 1 << 20),
       trie = environment.files.readFile("/proc/net/fib_trie", 1 << 20);
  return chooseHostAddress(routes.value_or(""), trie.value_or(""), podPrefix);
}

}  // namespace knarr::cluster
