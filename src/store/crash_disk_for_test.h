// CrashDisk: a disk under SQLite that lives in memory and fails as disks and machines do.
//
// It is a VFS of SQLite (https://www.sqlite.org/vfs.html). Each operation that a program would ask of the kernel (open,
// write, truncate, sync, delete) is counted. From a chosen operation on all of them fail, as nothing gets done any more by
// a process that was killed there; the operation itself may be half done. Then restart() makes the disk what the next
// process finds: after a kill everything that was written, after a power loss only what was synced for certain, and of the
// rest each sector old or new as the seed chooses.
// Rooms that test over a durable store may use it too. Belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace knarr::store {

class CrashDisk {
 public:
  enum Crash : uint8_t { Kill, PowerLoss };

  explicit CrashDisk(uint64_t seed);
  CrashDisk(const CrashDisk&) = delete;
  ~CrashDisk();

  // For StoreOptions::sqliteVfs.
  const std::string& vfsName() const;
  // Operations since the disk was made.
  uint64_t operations() const;
  // Operation number `operation` (from 0) is cut in the middle and all later ones fail.
  void dieAt(uint64_t operation);
  bool dead() const;
  // Kills now what uses the disk; its later operations fail.
  void die();
  // What the next process finds. Files that the former one left open do nothing any more.
  void restart(Crash crash);

  struct Disk;

 private:
  std::unique_ptr<Disk> disk_;
};

}  // namespace knarr::store
