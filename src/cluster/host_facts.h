// What this host calls itself and where it can be reached.
#pragma once

#include <string>

#include "env/env.h"

namespace knarr::cluster {

// The host's name, lower case, as a node name.
std::string hostName(env::Env environment);
// The first IPv4 address that is neither loopback nor begins with podPrefix ("10.244.0.", our own bridge); "127.0.0.1" when
// there is none. Source: proc(5), /proc/net/fib_trie.
std::string hostAddress(env::Env environment, const std::string& podPrefix);

}  // namespace knarr::cluster
