#include "cluster/cni_install.h"

#include <fmt/format.h>

namespace knarr::cluster {
namespace {
// Programs of other people may stand in the same folder; only these are ours. The mark tells a file we put there.
constexpr const char* kPlugins[] = {"bridge", "host-local", "loopback", "portmap"};

std::string markPath(const ClusterConfig& config, std::string_view plugin) {
  return fmt::format("{}/cni/{}.installed", config.dataDirectory, plugin);
}
}  // namespace

Result<void> installCniPlugins(env::Env environment, const ClusterConfig& config) {
  env::Files& files = environment.files;
  TRY(files.makeDirectories(config.cniBinDirectory));
  TRY(files.makeDirectories(config.dataDirectory + "/cni"));
  for (const char* plugin : kPlugins) {
    std::string target = fmt::format("{}/{}", config.cniBinDirectory, plugin);
    auto ours = files.readFile(fmt::format("{}/cni/{}", config.assetsDirectory, plugin));
    if (!ours)
      return Unexpected(
          std::move(ours).error().withContext("the CNI plugins belong beside the knarr program (build target cni_bridge, "
                                              "cni_host_local, cni_loopback, cni_portmap)"));
    auto have = files.readFile(target);
    if (have && *have == *ours) continue;
    if (have && !files.status(markPath(config, plugin))) continue;  // somebody else's plugin of that name serves as well
    TRY(files.writeFileAtomically(target, *ours, 0755));
    TRY(files.writeFileAtomically(markPath(config, plugin), target));
  }
  return {};
}

Result<void> removeCniPlugins(env::Env environment, const ClusterConfig& config) {
  for (const char* plugin : kPlugins) {
    if (!environment.files.status(markPath(config, plugin))) continue;
    TRY(environment.files.removeTree(fmt::format("{}/{}", config.cniBinDirectory, plugin)));
  }
  return {};
}

}  // namespace knarr::cluster
