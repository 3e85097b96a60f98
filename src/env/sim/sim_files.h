// An in-memory file system that knows which bytes would survive a power loss.
#pragma once

#include <map>

#include "env/env.h"
#include "env/sim/scheduler.h"

namespace knarr::env::sim {

class SimFiles final : public Files {
 public:
  SimFiles(const Clock& clock, SimRandom& random, const SimFaults& faults);
  Result<std::string> readFile(const std::string& path, size_t bytesMax) override;
  Result<void> writeFileAtomically(const std::string& path, std::string_view bytes, uint32_t mode) override;
  Result<void> appendFile(const std::string& path, std::string_view bytes, uint32_t mode) override;
  Result<void> syncFile(const std::string& path) override;
  Result<void> makeDirectories(const std::string& path, uint32_t mode) override;
  Result<std::vector<std::string>> listDirectory(const std::string& path) override;
  Result<FileStatus> status(const std::string& path, bool followLinks) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<FileSystemSize> fileSystemSize(const std::string& path) override;
  Result<void> removeFile(const std::string& path) override;
  Result<void> removeTree(const std::string& path) override;
  Result<void> symlink(const std::string& target, const std::string& path) override;
  Result<std::string> readLink(const std::string& path) override;
  Result<void> setMode(const std::string& path, uint32_t mode) override;
  Result<void> setOwner(const std::string& path, int64_t uid, int64_t gid) override;

  void crash();

 private:
  struct Node {
    FileStatus::Type type = FileStatus::Regular;
    std::string bytes;  // or the link's target
    size_t durableBytes = 0;
    bool durable = true;  // the name itself
    uint32_t mode = 0644;
    uint64_t inode = 0;
    int64_t modifiedUnixNanos = 0;
  };
  // The path with links followed, of its directory always and of its last name on request. NotFound
  // when a directory of it is absent; the last name may be.
  Result<std::string> resolve(const std::string& path, bool followLast, int linksLeft) const;
  Result<Node*> nodeAt(const std::string& path, bool followLast, std::string_view what);
  Result<void> mayWrite(const std::string& path);
  Node& makeNode(const std::string& resolved, FileStatus::Type type, uint32_t mode);
  std::map<std::string, Node>::iterator firstBelow(const std::string& resolved);

  const Clock& clock_;
  SimRandom& random_;
  const SimFaults& faults_;
  std::map<std::string, Node> nodes_;  // by normal absolute path; "/" is ""
  uint64_t lastInode_ = 1;
};

}  // namespace knarr::env::sim
