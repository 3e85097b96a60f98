#include "kubelet/volumes/sub_path.h"

#include <fmt/format.h>

#include <deque>
#include <vector>

#include "base/strings.h"

namespace knarr::kubelet {
namespace {

// Source: path_resolution(7), MAXSYMLINKS.
constexpr int kLinksMax = 40;

// Puts the elements of a path before those that are still to go.
void prepend(std::deque<std::string>& left, std::string_view path) {
  std::vector<std::string_view> elements = split(path, '/');
  for (auto it = elements.rbegin(); it != elements.rend(); ++it)
    if (!it->empty() && *it != ".") left.emplace_front(*it);
}

}  // namespace

Result<std::string> resolveSubPath(env::Files& files, const std::string& volume, std::string_view subPath) {
  auto outside = [&] { return fail(Reason::Invalid, fmt::format("subPath {} is not inside the volume", quote(subPath))); };
  std::deque<std::string> left;
  prepend(left, subPath);
  std::vector<std::string> inside;  // elements below the volume
  auto pathOf = [&] {
    std::string path = volume;
    for (const std::string& element : inside) path += "/" + element;
    return path;
  };
  for (int links = 0; !left.empty();) {
    std::string element = std::move(left.front());
    left.pop_front();
    if (element == "..") {
      if (inside.empty()) return outside();
      inside.pop_back();
      continue;
    }
    inside.push_back(element);
    std::string path = pathOf();
    auto status = files.status(path, false);
    if (!status && isNotFound(status.error())) {
      TRY(files.makeDirectories(path, 0750));
      continue;
    }
    if (!status) return Unexpected(status.error());
    if (status->type == env::FileStatus::Symlink) {
      if (++links > kLinksMax) return fail(Reason::Invalid, fmt::format("subPath {} has too many links", quote(subPath)));
      std::string target = TRY(files.readLink(path));
      inside.pop_back();
      if (target.starts_with('/')) {
        // Absolute: fine only when it names something in this very volume.
        if (!target.starts_with(volume + "/")) return outside();
        inside.clear();
        target = target.substr(volume.size() + 1);
      }
      prepend(left, target);
      continue;
    }
    if (!left.empty() && status->type != env::FileStatus::Directory)
      return fail(Reason::Invalid, fmt::format("subPath {} leads through a file", quote(subPath)));
  }
  return pathOf();
}

}  // namespace knarr::kubelet
