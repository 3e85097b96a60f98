// AtomicWriter: replaces the content of a volume directory in one step, so that a container sees
// all of the old files or all of the new ones.
//
//   TARGET/..2026_11_23_21_12_29.1234567890/...   the files
//   TARGET/..data -> ..2026_...                   swapped by rename
//   TARGET/NAME   -> ..data/NAME                  one link per first path element
// Upstream counterpart: pkg/volume/util/atomic_writer.go.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "env/env.h"

namespace knarr::kubelet {

struct FileProjection {
  std::string bytes;
  uint32_t mode = 0644;
  bool operator==(const FileProjection&) const = default;
};
using Payload = std::map<std::string, FileProjection>;  // by relative path

// Refuses absolute paths, "..", and first elements that begin with "..".
Result<void> checkPayloadPath(std::string_view path);

// Writes only when something changed. `group` >= 0 owns the files (fsGroup). Blocks; call it on the
// pool.
Result<void> writePayload(env::Files& files, const std::string& target, const Payload& payload, int64_t nowUnixSeconds,
                          uint64_t random, int64_t group);

}  // namespace knarr::kubelet
