#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/strings.h"
#include "env/posix/files.h"
#include "env/posix/posix.h"

namespace knarr::env {
namespace {

constexpr size_t kMapsBytesMax = 16 << 20;

// One line of /proc/PID/maps: a mapping of a file that the process cannot write through. Pages of others are not for reading
// back: they hold what was never in a file.
bool parseFileMapping(std::string_view line, iovec* out) {
  auto words = split(line, ' ');
  if (words.size() < 6 || words[1].size() != 4 || words[1][1] == 'w' || words.back().empty() || words.back()[0] != '/')
    return false;
  size_t dash = words[0].find('-');
  uint64_t begin = 0, end = 0;
  auto first = std::from_chars(words[0].data(), words[0].data() + std::min(dash, words[0].size()), begin, 16);
  if (dash == std::string_view::npos || first.ec != std::errc()) return false;
  auto second = std::from_chars(words[0].data() + dash + 1, words[0].data() + words[0].size(), end, 16);
  if (second.ec != std::errc() || end <= begin) return false;
  *out = {reinterpret_cast<void*>(begin), end - begin};
  return true;
}

}  // namespace

Result<void> releaseFilePages(int processId) {
  int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, processId, 0));
  if (pidfd < 0) return fail(Reason::NotFound, "process " + std::to_string(processId) + ": " + std::strerror(errno));
  posix::PosixFiles files;
  auto maps = files.readFile("/proc/" + std::to_string(processId) + "/maps", kMapsBytesMax);
  int failure = maps ? 0 : ESRCH;
  for (std::string_view line : split(maps.value_or(""), '\n')) {
    iovec mapping;
    if (!parseFileMapping(line, &mapping)) continue;
    if (::syscall(SYS_process_madvise, pidfd, &mapping, size_t{1}, MADV_PAGEOUT, 0U) < 0) failure = errno;
  }
  ::close(pidfd);
  if (failure != 0) return fail(Reason::InternalError, std::string("release file pages: ") + std::strerror(failure));
  return {};
}

}  // namespace knarr::env
