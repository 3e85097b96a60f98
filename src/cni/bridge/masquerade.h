// ipMasq: rules that give a pod's traffic to the outside the node's address.
//
// Table inet cni_plugins_masquerade, as the reference plugins lay it out: chain postrouting (nat,
// srcnat) leaves multicast alone and goes to masq_checks, which has one rule per pod address; a
// rule is found again by its comment. The kernel is told with nft(8), one transaction per call.
// Upstream counterpart: containernetworking/plugins pkg/ip/ipmasq_nftables_linux.go.
#pragma once

#include "cni/plugin/plugin.h"

namespace knarr::cni {

// The nft script that adds the rules; pure.
std::string masqueradeScript(const std::vector<IpConfig>& ips, const std::string& comment);
// At most 128 bytes, nft's bound for comments.
std::string masqueradeComment(const Request& request);

Outcome<void> addMasquerade(const std::vector<IpConfig>& ips, const std::string& comment);
// Absent rules, table or nft are fine.
Outcome<void> removeMasquerade(const std::string& comment);

}  // namespace knarr::cni
