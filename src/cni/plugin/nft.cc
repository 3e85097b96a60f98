#include "cni/plugin/nft.h"

#include <unistd.h>

#include "base/strings.h"

namespace knarr::cni {

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

Outcome<void> runNftScript(const std::string& what, const std::string& script) {
  std::string nft = findNft();
  if (nft.empty()) return refuse(kInternal, what + ": the program nft is missing: install the package nftables");
  ProgramResult result = runProgram({nft, "-f", "-"}, {}, script);
  if (result.exitCode == 0) return {};
  return refuse(kInternal, what + ": " + std::string(trim(result.errorOutput)));
}

std::vector<std::string> ruleHandles(std::string_view listing, std::string_view comment) {
  std::vector<std::string> handles;
  std::string wanted = "comment \"" + std::string(comment) + "\"";
  for (std::string_view line : split(listing, '\n')) {
    size_t handle = line.find("# handle ");
    if (handle == std::string_view::npos || line.find(wanted) == std::string_view::npos) continue;
    handles.emplace_back(trim(line.substr(handle + 9)));
  }
  return handles;
}

std::string deletionScript(const std::vector<std::string>& chain, std::string_view comment) {
  std::string nft = findNft();
  if (nft.empty()) return "";
  ProgramResult list = runProgram({nft, "-a", "list", "chain", chain[0], chain[1], chain[2]}, {}, "");
  if (list.exitCode != 0) return "";
  std::string script;
  for (const std::string& handle : ruleHandles(list.output, comment)) {
    script += "delete rule " + chain[0] + " " + chain[1] + " " + chain[2] + " handle " + handle + "\n";
  }
  return script;
}

}  // namespace knarr::cni
