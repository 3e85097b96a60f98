#include "kubelet/cgroups.h"

#include <vector>

namespace knarr::kubelet {
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup";
constexpr int kDepthMax = 8;

// Children first: a cgroup with children cannot be removed.
Result<void> removeBelow(env::Files& files, const std::string& directory, int depth) {
  auto names = files.listDirectory(directory);
  if (!names && isNotFound(names.error())) return {};
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    std::string child = directory + "/" + name;
    auto status = files.status(child, false);
    if (depth < kDepthMax && status && status->type == env::FileStatus::Directory) {
      TRY(removeBelow(files, child, depth + 1));
    }
  }
  Result<void> removed = files.removeFile(directory);
  if (!removed && isNotFound(removed.error())) return {};
  return removed;
}

}  // namespace

Result<void> removeCgroup(env::Files& files, const std::string& path) {
  std::vector<std::string> hierarchies = {kRoot};  // v2 alone
  if (auto names = files.listDirectory(kRoot)) {
    for (const std::string& name : *names) hierarchies.push_back(std::string(kRoot) + "/" + name);
  }
  Result<void> result;
  for (const std::string& hierarchy : hierarchies) {
    if (!files.status(hierarchy + path)) continue;
    if (Result<void> removed = removeBelow(files, hierarchy + path, 0); !removed) result = removed;
  }
  return result;
}

}  // namespace knarr::kubelet
