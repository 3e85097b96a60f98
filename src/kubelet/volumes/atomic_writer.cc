#include "kubelet/volumes/atomic_writer.h"

#include <fmt/format.h>

#include <set>

#include "base/strings.h"

namespace knarr::kubelet {
namespace {

constexpr std::string_view kDataLink = "..data";
constexpr std::string_view kNewDataLink = "..data_tmp";

bool sameAsPresent(env::Files& files, const std::string& directory, const Payload& payload) {
  for (const auto& [path, file] : payload) {
    auto present = files.readFile(directory + "/" + path);
    if (!present || *present != file.bytes) return false;
    auto status = files.status(directory + "/" + path);
    if (!status || (status->mode & 07777) != file.mode) return false;
  }
  return true;
}

// Paths of all files below `directory`.
void collect(env::Files& files, const std::string& directory, const std::string& prefix, std::set<std::string>& out) {
  auto names = files.listDirectory(directory);
  if (!names) return;
  for (const std::string& name : *names) {
    auto status = files.status(directory + "/" + name, false);
    if (status && status->type == env::FileStatus::Directory) {
      collect(files, directory + "/" + name, prefix + name + "/", out);
    } else {
      out.insert(prefix + name);
    }
  }
}

Result<void> writeFiles(env::Files& files, const std::string& directory, const Payload& payload, int64_t group) {
  for (const auto& [path, file] : payload) {
    std::string full = directory + "/" + path;
    size_t slash = path.rfind('/');
    if (slash != std::string::npos) TRY(files.makeDirectories(directory + "/" + path.substr(0, slash), 0755));
    // The directory is new, so that appending creates; no sync, a crash makes the kubelet write it
    // again.
    TRY(files.appendFile(full, file.bytes, file.mode));
    TRY(files.setMode(full, file.mode));
    if (group >= 0) TRY(files.setOwner(full, 0, group));
  }
  return {};
}

std::string firstElement(const std::string& path) { return path.substr(0, path.find('/')); }

}  // namespace

Result<void> checkPayloadPath(std::string_view path) {
  auto refuse = [&](std::string_view why) { return fail(Reason::Invalid, fmt::format("invalid path \"{}\": {}", path, why)); };
  if (path.empty()) return refuse("must not be empty");
  if (path.front() == '/') return refuse("must be relative");
  constexpr size_t kPathMax = 4096;
  if (path.size() > kPathMax) return refuse("must be no longer than 4096 characters");
  for (std::string_view element : split(path, '/')) {
    if (element == "..") return refuse("must not contain '..'");
    if (element.empty() || element == ".") return refuse("must not contain empty elements");
  }
  if (path.starts_with("..")) return refuse("must not start with '..'");
  return {};
}

Result<void> writePayload(env::Files& files, const std::string& target, const Payload& payload, int64_t nowUnixSeconds,
                          uint64_t random, int64_t group) {
  for (const auto& [path, file] : payload) TRY(checkPayloadPath(path));
  std::string link = fmt::format("{}/{}", target, kDataLink);
  std::string old;
  if (auto present = files.readLink(link)) old = *present;
  std::set<std::string> oldPaths;
  if (!old.empty()) {
    collect(files, target + "/" + old, "", oldPaths);
    bool samePaths = oldPaths.size() == payload.size();
    for (const auto& [path, file] : payload) samePaths = samePaths && oldPaths.contains(path);
    if (samePaths && sameAsPresent(files, target + "/" + old, payload)) return {};
  }
  CivilTime t = civilFromUnix(nowUnixSeconds);
  std::string fresh = fmt::format("..{:04}_{:02}_{:02}_{:02}_{:02}_{:02}.{}", t.year, t.month, t.day, t.hour, t.minute, t.second,
                                  random % 10'000'000'000);
  TRY(files.makeDirectories(target + "/" + fresh, 0755));
  TRY(writeFiles(files, target + "/" + fresh, payload, group));
  std::string newLink = fmt::format("{}/{}", target, kNewDataLink);
  (void)files.removeFile(newLink);
  TRY(files.symlink(fresh, newLink));
  TRY(files.rename(newLink, link));
  std::set<std::string> visible;
  for (const auto& [path, file] : payload) visible.insert(firstElement(path));
  for (const std::string& name : visible) {
    if (files.readLink(target + "/" + name)) continue;
    TRY(files.symlink(fmt::format("{}/{}", kDataLink, name), target + "/" + name));
  }
  for (const std::string& path : oldPaths) {
    std::string name = firstElement(path);
    if (!visible.contains(name)) (void)files.removeFile(target + "/" + name);
  }
  if (!old.empty()) TRY(files.removeTree(target + "/" + old));
  return {};
}

}  // namespace knarr::kubelet
