#include "cni/bridge/masquerade.h"

#include "cni/plugin/nft.h"

namespace knarr::cni {
namespace {

constexpr const char* kTable = "inet cni_plugins_masquerade";

}  // namespace

std::string masqueradeComment(const Request& request) {
  return hashText(request.network) + "-" + hashText(request.ifName + ":" + request.containerId);
}

std::string masqueradeScript(const std::vector<IpConfig>& ips, const std::string& comment) {
  std::string table = kTable;
  std::string script = "add table " + table + "\n" +              //
                       "add chain " + table + " masq_checks\n" +  //
                       "add chain " + table + " postrouting { type nat hook postrouting priority srcnat ; }\n" + "flush chain " +
                       table + " postrouting\n" +                                            //
                       "add rule " + table + " postrouting ip daddr 224.0.0.0/4 return\n" +  //
                       "add rule " + table + " postrouting ip6 daddr ff00::/8 return\n" +    //
                       "add rule " + table + " postrouting goto masq_checks\n";
  for (const IpConfig& ip : ips) {
    std::string family = ip.address.ip.v6 ? "ip6" : "ip";
    Subnet subnet{ip.address.network(), ip.address.prefix};
    script += "add rule " + table + " masq_checks " + family + " saddr " + ip.address.ip.text() + " " + family +
              " daddr != " + subnet.text() + " masquerade comment \"" + comment + "\"\n";
  }
  return script;
}

Outcome<void> addMasquerade(const std::vector<IpConfig>& ips, const std::string& comment) {
  return runNftScript("could not add masquerade rules (ipMasq)", masqueradeScript(ips, comment));
}

Outcome<void> removeMasquerade(const std::string& comment) {
  std::string script = deletionScript({"inet", "cni_plugins_masquerade", "masq_checks"}, comment);
  if (script.empty()) return {};
  return runNftScript("could not remove masquerade rules", script);
}

}  // namespace knarr::cni
