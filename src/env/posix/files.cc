#include "env/posix/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <memory>

#include "env/posix/loop.h"

namespace knarr::env::posix {
namespace {

// A tree deeper than this is not one that Knarr made; each level costs an open descriptor while it
// is removed.
constexpr int kRemoveDepthMax = 256;

Result<void> writeAll(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return failErrno("write " + path, errno);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

std::pair<std::string, std::string> splitPath(const std::string& path) {
  std::string_view whole = path;
  while (whole.size() > 1 && whole.ends_with('/')) whole.remove_suffix(1);
  size_t slash = whole.rfind('/');
  if (slash == std::string_view::npos) return {".", std::string(whole)};
  return {slash == 0 ? "/" : std::string(whole.substr(0, slash)), std::string(whole.substr(slash + 1))};
}

Result<void> syncDirectoryOf(const std::string& path) {
  std::string directory = splitPath(path).first;
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return failErrno("sync directory " + directory, errno);
  return {};
}

// Opens a directory below `parent` without following links or crossing into another mount.
Fd openDirectoryBelow(int parent, const char* name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  return Fd(static_cast<int>(::syscall(SYS_openat2, parent, name, &how, sizeof how)));
}

Result<std::vector<std::string>> namesIn(int directory, const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> stream(nullptr, ::closedir);
  // fdopendir takes its descriptor over, so it gets its own.
  Fd own(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) return failErrno("list " + path, errno);
  stream.reset(::fdopendir(own.get()));
  if (!stream) return failErrno("list " + path, errno);
  own.release();
  std::vector<std::string> names;
  errno = 0;
  while (dirent* entry = ::readdir(stream.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return failErrno("list " + path, errno);
  return names;
}

Result<void> removeBelow(int parent, const std::string& name, const std::string& path, int depth) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return failErrno("remove " + path, errno);
  if (depth > kRemoveDepthMax) return fail(Reason::Invalid, "remove " + path + ": nested deeper than 256 directories");
  Fd directory = openDirectoryBelow(parent, name.c_str());
  if (!directory) {
    if (errno == ENOENT) return {};
    if (errno == EXDEV) return fail(Reason::Conflict, "remove " + path + ": it is a mount point; unmount it first");
    return failErrno("remove " + path, errno);
  }
  for (const std::string& child : TRY(namesIn(directory.get(), path)))
    if (auto removed = removeBelow(directory.get(), child, path + "/" + child, depth + 1); !removed) return removed;
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return failErrno("remove " + path, errno);
  return {};
}

}  // namespace

Result<std::string> PosixFiles::readFile(const std::string& path, size_t bytesMax) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return failErrno("read " + path, errno);
  std::string bytes;
  struct stat status{};
  if (::fstat(fd.get(), &status) == 0 && status.st_size > 0)
    bytes.reserve(std::min(static_cast<size_t>(status.st_size) + 1, bytesMax + 1));
  while (true) {
    // Files of /proc and /sys have no size; they are read until they end.
    size_t have = bytes.size();
    bytes.resize(std::max(have + 4096, bytes.capacity()));
    ssize_t got = ::read(fd.get(), bytes.data() + have, bytes.size() - have);
    int errorNumber = errno;
    bytes.resize(have + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errorNumber == EINTR) continue;
    if (got < 0) return failErrno("read " + path, errorNumber);
    if (bytes.size() > bytesMax) {
      return fail(Reason::RequestEntityTooLarge,
                  "read " + path + ": larger than the " + std::to_string(bytesMax) + " bytes expected here");
    }
    if (got == 0) return bytes;
  }
}

Result<void> PosixFiles::writeFileAtomically(const std::string& path, std::string_view bytes, uint32_t mode) {
  static std::atomic<uint64_t> serial{0};
  auto [directory, name] = splitPath(path);
  std::string aside = directory + "/." + name + ".knarr-" + std::to_string(::getpid()) + "-" + std::to_string(++serial);
  Fd fd(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return failErrno("write " + path, errno);
  Result<void> written = writeAll(fd.get(), path, bytes);
  if (written && (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0)) written = failErrno("write " + path, errno);
  if (written && ::rename(aside.c_str(), path.c_str()) != 0) written = failErrno("replace " + path, errno);
  if (!written) {
    ::unlink(aside.c_str());
    return written;
  }
  return syncDirectoryOf(path);
}

Result<void> PosixFiles::appendFile(const std::string& path, std::string_view bytes, uint32_t mode) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, mode));
  if (!fd) return failErrno("append to " + path, errno);
  return writeAll(fd.get(), path, bytes);
}

Result<void> PosixFiles::syncFile(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::fdatasync(fd.get()) != 0) return failErrno("sync " + path, errno);
  return syncDirectoryOf(path);
}

Result<void> PosixFiles::makeDirectories(const std::string& path, uint32_t mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    std::string prefix = path.substr(0, slash);
    if (::mkdir(prefix.c_str(), mode) != 0 && errno != EEXIST) return failErrno("make directory " + prefix, errno);
    if (slash == std::string::npos) break;
  }
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return failErrno("make directory " + path, errno);
  if (!S_ISDIR(status.st_mode)) return failErrno("make directory " + path, ENOTDIR);
  return {};
}

Result<std::vector<std::string>> PosixFiles::listDirectory(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return failErrno("list " + path, errno);
  std::vector<std::string> names = TRY(namesIn(fd.get(), path));
  std::ranges::sort(names);
  return names;
}

Result<FileStatus> PosixFiles::status(const std::string& path, bool followLinks) {
  struct stat raw{};
  if ((followLinks ? ::stat(path.c_str(), &raw) : ::lstat(path.c_str(), &raw)) != 0) return failErrno("status of " + path, errno);
  FileStatus status;
  status.type = S_ISREG(raw.st_mode)                           ? FileStatus::Regular
                : S_ISDIR(raw.st_mode)                         ? FileStatus::Directory
                : S_ISLNK(raw.st_mode)                         ? FileStatus::Symlink
                : S_ISSOCK(raw.st_mode)                        ? FileStatus::Socket
                : S_ISCHR(raw.st_mode) || S_ISBLK(raw.st_mode) ? FileStatus::Device
                                                               : FileStatus::Other;
  status.sizeBytes = static_cast<uint64_t>(raw.st_size);
  status.mode = raw.st_mode & 07777;
  status.inode = raw.st_ino;
  status.modifiedUnixNanos = int64_t{raw.st_mtim.tv_sec} * 1'000'000'000 + raw.st_mtim.tv_nsec;
  return status;
}

Result<void> PosixFiles::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failErrno("rename " + from + " to " + to, errno);
  return {};
}

Result<FileSystemSize> PosixFiles::fileSystemSize(const std::string& path) {
  struct statvfs status{};
  if (::statvfs(path.c_str(), &status) != 0) return failErrno("look at the file system of " + path, errno);
  return FileSystemSize{status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize, status.f_files, status.f_ffree};
}

Result<void> PosixFiles::removeFile(const std::string& path) {
  if (::remove(path.c_str()) != 0) return failErrno("remove " + path, errno);
  return {};
}

Result<void> PosixFiles::removeTree(const std::string& path) {
  auto [directory, name] = splitPath(path);
  if (name.empty() || name == "." || name == "..")
    return fail(Reason::Invalid, "remove " + path + ": the path must name a file or directory");
  Fd parent(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent && errno == ENOENT) return {};
  if (!parent) return failErrno("remove " + path, errno);
  return removeBelow(parent.get(), name, path, 0);
}

Result<void> PosixFiles::symlink(const std::string& target, const std::string& path) {
  if (::symlink(target.c_str(), path.c_str()) != 0) return failErrno("link " + path, errno);
  return {};
}

Result<std::string> PosixFiles::readLink(const std::string& path) {
  std::string target(PATH_MAX, '\0');
  ssize_t got = ::readlink(path.c_str(), target.data(), target.size());
  if (got < 0) return failErrno("read link " + path, errno);
  target.resize(static_cast<size_t>(got));
  return target;
}

Result<void> PosixFiles::setMode(const std::string& path, uint32_t mode) {
  if (::chmod(path.c_str(), mode) != 0) return failErrno("set mode of " + path, errno);
  return {};
}

Result<void> PosixFiles::setOwner(const std::string& path, int64_t uid, int64_t gid) {
  if (::lchown(path.c_str(), static_cast<uid_t>(uid), static_cast<gid_t>(gid)) != 0)
    return failErrno("set owner of " + path, errno);
  return {};
}

}  // namespace knarr::env::posix
