#include "cni/bridge/masquerade.h"

#include <unistd.h>

#include "base/strings.h"

namespace knarr::cni {
namespace {

constexpr const char* kTable = "inet cni_plugins_masquerade";

std::string findNft() {
  for (const char* path : {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return "";
}

std::string hashText(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  uint64_t hash = fnv64a(text);
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += kHex[hash >> shift & 15];
  return out;
}

}  // namespace

std::string masqueradeComment(const Request& request) {
  return hashText(request.network) + "-" + hashText(request.ifName + ":" + request.containerId);
}

std::string masqueradeScript(const std::vector<IpConfig>& ips, const std::string& comment) {
  std::string table = kTable;
  std::string script = "add table " + table + "\n" +              //
                       "add chain " + table + " masq_checks\n" +  //
                       "add chain " + table +
                       " postrouting { type nat hook postrouting priority srcnat ; }\n" +
                       "flush chain " + table + " postrouting\n" +                           //
                       "add rule " + table + " postrouting ip daddr 224.0.0.0/4 return\n" +  //
                       "add rule " + table + " postrouting ip6 daddr ff00::/8 return\n" +    //
                       "add rule " + table + " postrouting goto masq_checks\n";
  for (const IpConfig& ip : ips) {
    std::string family = ip.address.ip.v6 ? "ip6" : "ip";
    Subnet subnet{ip.address.network(), ip.address.prefix};
    script += "add rule " + table + " masq_checks " + family + " saddr " + ip.address.ip.text() +
              " " + family + " daddr != " + subnet.text() + " masquerade comment \"" + comment +
              "\"\n";
  }
  return script;
}

std::vector<std::string> masqueradeHandles(std::string_view listing, std::string_view comment) {
  std::vector<std::string> handles;
  std::string wanted = "comment \"" + std::string(comment) + "\"";
  for (std::string_view line : split(listing, '\n')) {
    size_t handle = line.find("# handle ");
    if (handle == std::string_view::npos || line.find(wanted) == std::string_view::npos) continue;
    handles.emplace_back(trim(line.substr(handle + 9)));
  }
  return handles;
}

Outcome<void> addMasquerade(const std::vector<IpConfig>& ips, const std::string& comment) {
  std::string nft = findNft();
  if (nft.empty()) {
    return refuse(
        kInternal,
        "ipMasq needs the program nft: install the package nftables, or set ipMasq to false");
  }
  ProgramResult result = runProgram({nft, "-f", "-"}, {}, masqueradeScript(ips, comment));
  if (result.exitCode == 0) return {};
  return refuse(kInternal,
                "could not add masquerade rules: " + std::string(trim(result.errorOutput)));
}

Outcome<void> removeMasquerade(const std::string& comment) {
  std::string nft = findNft();
  if (nft.empty()) return {};
  std::string table = kTable;
  ProgramResult list = runProgram(
      {nft, "-a", "list", "chain", "inet", "cni_plugins_masquerade", "masq_checks"}, {}, "");
  if (list.exitCode != 0) return {};
  std::string script;
  for (const std::string& handle : masqueradeHandles(list.output, comment)) {
    script += "delete rule " + table + " masq_checks handle " + handle + "\n";
  }
  if (script.empty()) return {};
  ProgramResult result = runProgram({nft, "-f", "-"}, {}, script);
  if (result.exitCode == 0) return {};
  return refuse(kInternal,
                "could not remove masquerade rules: " + std::string(trim(result.errorOutput)));
}

}  // namespace knarr::cni
