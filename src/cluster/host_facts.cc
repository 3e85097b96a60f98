#include "cluster/host_facts.h"

#include "base/strings.h"

namespace knarr::cluster {

std::string hostName(env::Env environment) {
  auto text = environment.files.readFile("/proc/sys/kernel/hostname", 4096);
  std::string name = text ? toLower(trim(*text)) : std::string();
  return name.empty() ? "localhost" : name;
}

// Lines of the trie come in pairs: "|-- 192.0.2.2" and, below, "/32 host LOCAL".
std::string hostAddress(env::Env environment, const std::string& podPrefix) {
  auto text = environment.files.readFile("/proc/net/fib_trie", 1 << 20);
  if (!text) return "127.0.0.1";
  std::string candidate;
  for (std::string_view line : split(*text, '\n')) {
    line = trim(line);
    size_t dash = line.find("-- ");
    if (dash != std::string_view::npos) candidate = std::string(trim(line.substr(dash + 3)));
    bool local = line == "/32 host LOCAL";
    if (local && !candidate.starts_with("127.") && (podPrefix.empty() || !candidate.starts_with(podPrefix))) return candidate;
  }
  return "127.0.0.1";
}

}  // namespace knarr::cluster
