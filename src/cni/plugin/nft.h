// nft(8) for plugins: one transaction per script, rules found again by their comment.
#pragma once

#include "cni/plugin/plugin.h"

namespace knarr::cni {

// Where the program is; "" when it is not installed.
std::string findNft();
// Errors carry what nft says, after `what`.
Outcome<void> runNftScript(const std::string& what, const std::string& script);
// Handles of the rules with this comment in the text that `nft -a list chain` prints; pure.
std::vector<std::string> ruleHandles(std::string_view listing, std::string_view comment);
// "delete rule ..." lines for the rules of a chain with that comment; "" when the chain is not
// there. chain: {"inet", "table", "chain"}.
std::string deletionScript(const std::vector<std::string>& chain, std::string_view comment);
// A hash of 16 hex digits.
std::string hashText(std::string_view text);

}  // namespace knarr::cni
