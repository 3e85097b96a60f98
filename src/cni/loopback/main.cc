// loopback: sets lo of a pod up. Upstream counterpart: containernetworking/plugins
// plugins/main/loopback.
#include <net/if.h>

#include "cni/plugin/link.h"
#include "cni/plugin/plugin.h"

namespace knarr::cni {
namespace {

Outcome<AddResult> add(const Request& request) {
  Namespace pod = TRY(Namespace::open(request.netns));
  auto inside = TRY(pod.enter());
  Netlink netlink = TRY(Netlink::open());
  auto lo = TRY(netlink.link("lo"));
  if (!lo) return refuse(kInternal, "the network namespace has no link lo");
  TRY(netlink.setFlags(lo->index, IFF_UP, 0));
  if (!request.config.at("prevResult").isNull()) return parseResult(request.config.at("prevResult"));
  AddResult result;
  result.interfaces.push_back({"lo", lo->mac, request.netns, 0});
  for (const Address& address : TRY(netlink.addresses(lo->index))) {
    bool loopback = address.address.ip.v6 ? address.address.ip.value == 1 : (address.address.ip.value >> 24) == 127;
    if (!loopback) {
      return refuse(kInternal, "loopback interface found with non-loopback address " + jsonString(address.address.text()));
    }
    result.ips.push_back({address.address, std::nullopt, 0});
  }
  return result;
}

Outcome<void> remove(const Request& request) {
  if (request.netns.empty()) return {};
  auto pod = Namespace::open(request.netns);
  if (!pod && pod.error().code == kUnknownContainer) return {};
  if (!pod) return std::unexpected(pod.error());
  auto inside = TRY(pod->enter());
  Netlink netlink = TRY(Netlink::open());
  auto lo = TRY(netlink.link("lo"));
  if (lo) TRY(netlink.setFlags(lo->index, 0, IFF_UP));
  return {};
}

Outcome<void> check(const Request& request) {
  Namespace pod = TRY(Namespace::open(request.netns));
  auto inside = TRY(pod.enter());
  Netlink netlink = TRY(Netlink::open());
  auto lo = TRY(netlink.link("lo"));
  if (!lo || (lo->flags & IFF_UP) == 0) return refuse(kInternal, "loopback interface is down");
  return {};
}

Outcome<void> status(const Request&) { return {}; }

}  // namespace
}  // namespace knarr::cni

int main() {
  using namespace knarr::cni;
  return runPlugin({"loopback", add, remove, check, status});
}
