// What this host calls itself and where it can be reached.
#pragma once

#include <string>
#include <string_view>

#include "env/env.h"

namespace knarr::cluster {

// The host's name, lower case, as a node name.
std::string hostName(env::Env environment);
// The IPv4 address that the host uses towards the world: one in a network of the interface of the default route (the one of
// least metric). Without such, the first address that is neither loopback nor begins with podPrefix ("10.244.0.", our own
// bridge); "127.0.0.1" when there is none. Bridges of other software on the host come and go, so the route is asked first.
// Source: proc(5), /proc/net/route and /proc/net/fib_trie; the kubelet's choice without --node-ip.
std::string hostAddress(env::Env environment, const std::string& podPrefix);
// The same from the texts of both files.
std::string chooseHostAddress(std::string_view routes, std::string_view trie, const std::string& podPrefix);

}  // namespace knarr::cluster
