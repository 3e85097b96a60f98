#include "env/sim/sim_files.h"

#include <cerrno>

#include "base/strings.h"

namespace knarr::env::sim {
namespace {

// Source: Linux, MAXSYMLINKS.
constexpr int kLinksMax = 40;

bool isBelow(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}
std::string directoryOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

SimFiles::SimFiles(const Clock& clock, SimRandom& random, const SimFaults& faults)
    : clock_(clock), random_(random), faults_(faults) {
  makeNode("", FileStatus::Directory, 0755);
  for (const char* directory : {"/etc", "/run", "/tmp", "/var", "/var/lib", "/var/log"})
    makeNode(directory, FileStatus::Directory, 0755);
}

SimFiles::Node& SimFiles::makeNode(const std::string& resolved, FileStatus::Type type, uint32_t mode) {
  Node& node = nodes_[resolved];
  node.type = type;
  node.mode = mode;
  node.inode = ++lastInode_;
  node.modifiedUnixNanos = clock_.unixNanos();
  return node;
}

Result<std::string> SimFiles::resolve(const std::string& path, bool followLast, int linksLeft) const {
  if (!path.starts_with('/')) return fail(Reason::Invalid, path + ": the path is not absolute");
  std::string done;
  std::vector<std::string_view> names = split(path, '/');
  for (size_t i = 0; i < names.size(); ++i) {
    std::string_view name = names[i];
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      done = done.empty() ? done : directoryOf(done);
      continue;
    }
    auto here = nodes_.find(done);
    if (here == nodes_.end()) return failErrno(path, ENOENT);
    if (here->second.type != FileStatus::Directory) return failErrno(path, ENOTDIR);
    std::string next = done + "/" + std::string(name);
    auto found = nodes_.find(next);
    bool last = i + 1 == names.size();
    if (found != nodes_.end() && found->second.type == FileStatus::Symlink && (!last || followLast)) {
      if (linksLeft == 0) return failErrno(path, ELOOP);
      std::string target = found->second.bytes;
      if (!target.starts_with('/')) target = done + "/" + target;
      for (size_t rest = i + 1; rest < names.size(); ++rest) target += "/" + std::string(names[rest]);
      return resolve(target, followLast, linksLeft - 1);
    }
    done = std::move(next);
  }
  return done;
}

Result<SimFiles::Node*> SimFiles::nodeAt(const std::string& path, bool followLast, std::string_view what) {
  std::string resolved = TRY(resolve(path, followLast, kLinksMax));
  auto found = nodes_.find(resolved);
  if (found == nodes_.end()) return failErrno(std::string(what) + " " + path, ENOENT);
  return &found->second;
}

std::map<std::string, SimFiles::Node>::iterator SimFiles::firstBelow(const std::string& resolved) {
  return nodes_.lower_bound(resolved + "/");
}

Result<void> SimFiles::mayWrite(const std::string& path) {
  if (random_.chance(faults_.failPerFileWrite)) return failErrno("write " + path, ENOSPC);
  return {};
}

Result<std::string> SimFiles::readFile(const std::string& path, size_t bytesMax) {
  Node* node = TRY(nodeAt(path, true, "read"));
  if (node->type == FileStatus::Directory) return failErrno("read " + path, EISDIR);
  if (node->bytes.size() > bytesMax) {
    return fail(Reason::RequestEntityTooLarge,
                "read " + path + ": larger than the " + std::to_string(bytesMax) + " bytes expected here");
  }
  return node->bytes;
}

Result<void> SimFiles::writeFileAtomically(const std::string& path, std::string_view bytes, uint32_t mode) {
  TRY(mayWrite(path));
  // As rename does, a link at `path` is replaced, not followed.
  std::string resolved = TRY(resolve(path, false, kLinksMax));
  auto found = nodes_.find(resolved);
  if (found != nodes_.end() && found->second.type == FileStatus::Directory) return failErrno("replace " + path, EISDIR);
  Node& node = makeNode(resolved, FileStatus::Regular, mode);
  node.bytes = bytes;
  node.durableBytes = bytes.size();
  node.durable = true;
  return {};
}

Result<void> SimFiles::appendFile(const std::string& path, std::string_view bytes, uint32_t mode) {
  TRY(mayWrite(path));
  std::string resolved = TRY(resolve(path, true, kLinksMax));
  auto found = nodes_.find(resolved);
  if (found != nodes_.end() && found->second.type == FileStatus::Directory) return failErrno("append to " + path, EISDIR);
  if (found == nodes_.end()) {
    makeNode(resolved, FileStatus::Regular, mode).durable = false;
    found = nodes_.find(resolved);
  }
  found->second.bytes.append(bytes);
  found->second.modifiedUnixNanos = clock_.unixNanos();
  return {};
}

Result<void> SimFiles::syncFile(const std::string& path) {
  TRY(mayWrite(path));
  Node* node = TRY(nodeAt(path, true, "sync"));
  node->durableBytes = node->bytes.size();
  node->durable = true;
  return {};
}

Result<void> SimFiles::makeDirectories(const std::string& path, uint32_t mode) {
  std::string prefix;
  for (std::string_view name : split(path, '/')) {
    if (name.empty()) continue;
    prefix += "/" + std::string(name);
    std::string resolved = TRY(resolve(prefix, true, kLinksMax));
    auto found = nodes_.find(resolved);
    if (found == nodes_.end()) {
      makeNode(resolved, FileStatus::Directory, mode);
    } else if (found->second.type != FileStatus::Directory) {
      return failErrno("make directory " + prefix, ENOTDIR);
    }
  }
  return {};
}

Result<std::vector<std::string>> SimFiles::listDirectory(const std::string& path) {
  std::string resolved = TRY(resolve(path, true, kLinksMax));
  Node* node = TRY(nodeAt(path, true, "list"));
  if (node->type != FileStatus::Directory) return failErrno("list " + path, ENOTDIR);
  std::vector<std::string> names;
  for (auto it = firstBelow(resolved); it != nodes_.end() && isBelow(it->first, resolved); ++it) {
    std::string_view rest = std::string_view(it->first).substr(resolved.size() + 1);
    if (rest.find('/') == std::string_view::npos) names.emplace_back(rest);
  }
  return names;
}

Result<FileStatus> SimFiles::status(const std::string& path, bool followLinks) {
  Node* node = TRY(nodeAt(path, followLinks, "status of"));
  FileStatus status;
  status.type = node->type;
  status.sizeBytes = node->bytes.size();
  status.mode = node->mode;
  status.inode = node->inode;
  status.modifiedUnixNanos = node->modifiedUnixNanos;
  return status;
}

Result<void> SimFiles::rename(const std::string& from, const std::string& to) {
  TRY(mayWrite(to));
  std::string source = TRY(resolve(from, false, kLinksMax));
  std::string target = TRY(resolve(to, false, kLinksMax));
  auto found = nodes_.find(source);
  if (found == nodes_.end()) return failErrno("rename " + from + " to " + to, ENOENT);
  if (source == target) return {};
  if (isBelow(target, source)) return failErrno("rename " + from + " to " + to, EINVAL);
  auto existing = nodes_.find(target);
  if (existing != nodes_.end()) {
    bool sourceIsDirectory = found->second.type == FileStatus::Directory;
    bool targetIsDirectory = existing->second.type == FileStatus::Directory;
    if (targetIsDirectory && !sourceIsDirectory) return failErrno("rename " + from + " to " + to, EISDIR);
    if (!targetIsDirectory && sourceIsDirectory) return failErrno("rename " + from + " to " + to, ENOTDIR);
    auto below = firstBelow(target);
    if (below != nodes_.end() && isBelow(below->first, target)) return failErrno("rename " + from + " to " + to, ENOTEMPTY);
    nodes_.erase(existing);
  }
  std::vector<std::string> moved = {source};
  for (auto it = firstBelow(source); it != nodes_.end() && isBelow(it->first, source); ++it) moved.push_back(it->first);
  for (const std::string& path : moved) {
    auto node = nodes_.extract(path);
    node.key() = target + path.substr(source.size());
    nodes_.insert(std::move(node));
  }
  return {};
}

// One disk of 100 GiB; what the files hold is taken from it.
Result<FileSystemSize> SimFiles::fileSystemSize(const std::string& path) {
  TRY(resolve(path, true, kLinksMax));
  constexpr uint64_t kDiskBytes = uint64_t{100} << 30;
  uint64_t used = 0;
  for (const auto& [name, node] : nodes_) used += node.bytes.size();
  constexpr uint64_t kInodes = 1'000'000;
  return FileSystemSize{kDiskBytes, kDiskBytes - std::min(used, kDiskBytes), kInodes,
                        kInodes - std::min<uint64_t>(nodes_.size(), kInodes)};
}

Result<void> SimFiles::removeFile(const std::string& path) {
  std::string resolved = TRY(resolve(path, false, kLinksMax));
  if (nodes_.find(resolved) == nodes_.end()) return failErrno("remove " + path, ENOENT);
  auto below = firstBelow(resolved);
  if (below != nodes_.end() && isBelow(below->first, resolved)) return failErrno("remove " + path, ENOTEMPTY);
  nodes_.erase(resolved);
  return {};
}

Result<void> SimFiles::removeTree(const std::string& path) {
  auto resolved = resolve(path, false, kLinksMax);
  if (!resolved && isNotFound(resolved.error())) return {};
  if (!resolved) return std::unexpected(resolved.error());
  if (resolved->empty()) return fail(Reason::Invalid, "remove " + path + ": the path must name a file or directory");
  for (auto it = firstBelow(*resolved); it != nodes_.end() && isBelow(it->first, *resolved);) it = nodes_.erase(it);
  nodes_.erase(*resolved);
  return {};
}

Result<void> SimFiles::symlink(const std::string& target, const std::string& path) {
  TRY(mayWrite(path));
  std::string resolved = TRY(resolve(path, false, kLinksMax));
  if (nodes_.find(resolved) != nodes_.end()) return failErrno("link " + path, EEXIST);
  makeNode(resolved, FileStatus::Symlink, 0777).bytes = target;
  nodes_[resolved].durableBytes = target.size();
  return {};
}

Result<std::string> SimFiles::readLink(const std::string& path) {
  Node* node = TRY(nodeAt(path, false, "read link"));
  if (node->type != FileStatus::Symlink) return failErrno("read link " + path, EINVAL);
  return node->bytes;
}

Result<void> SimFiles::setMode(const std::string& path, uint32_t mode) {
  TRY(nodeAt(path, true, "set mode of"))->mode = mode;
  return {};
}

Result<void> SimFiles::setOwner(const std::string& path, int64_t, int64_t) {
  (void)TRY(nodeAt(path, false, "set owner of"));
  return {};
}

void SimFiles::crash() {
  for (auto it = nodes_.begin(); it != nodes_.end();) {
    Node& node = it->second;
    if (node.type != FileStatus::Regular) {
      ++it;
      continue;
    }
    if (!node.durable && (!faults_.tornWrites || random_.below(2) == 0)) {
      it = nodes_.erase(it);
      continue;
    }
    size_t loose = node.bytes.size() - node.durableBytes;
    size_t kept = faults_.tornWrites && loose > 0 ? static_cast<size_t>(random_.below(loose + 1)) : 0;
    node.bytes.resize(node.durableBytes + kept);
    // The kept part's last sectors may hold anything.
    size_t damaged = kept > 0 ? static_cast<size_t>(random_.below(std::min<size_t>(kept, 512) + 1)) : 0;
    for (size_t i = node.bytes.size() - damaged; i < node.bytes.size(); ++i) node.bytes[i] = static_cast<char>(random_.next());
    node.durableBytes = node.bytes.size();
    node.durable = true;
    ++it;
  }
}

}  // namespace knarr::env::sim
