// Whole-file operations on the kernel's file systems.
#pragma once

#include "env/env.h"

namespace knarr::env::posix {

class PosixFiles final : public Files {
 public:
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
};

}  // namespace knarr::env::posix
