#include "store/crash_disk_for_test.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "base/assert.h"

namespace knarr::store {
namespace {

constexpr size_t kSector = 512;
constexpr int kPathMax = 512;

// SplitMix64: a run is a function of its seed.
uint64_t nextRandom(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

struct FileState {
  std::string bytes;                           // as the running process sees them
  std::string durable;                         // as of the last sync
  size_t dirtyBegin = SIZE_MAX, dirtyEnd = 0;  // where the two differ
  bool named = false;                          // the name is durable

  void touch(size_t begin, size_t end) {
    dirtyBegin = std::min(dirtyBegin, begin);
    dirtyEnd = std::max(dirtyEnd, end);
  }
  void sync() {
    durable.resize(bytes.size(), '\0');
    size_t end = std::min(dirtyEnd, bytes.size());
    if (dirtyBegin < end) std::memcpy(durable.data() + dirtyBegin, bytes.data() + dirtyBegin, end - dirtyBegin);
    dirtyBegin = SIZE_MAX;
    dirtyEnd = 0;
  }
};

}  // namespace

struct CrashDisk::Disk {
  sqlite3_vfs vfs{};
  std::string name;
  uint64_t random = 0;
  uint64_t operations = 0;
  uint64_t diesAt = UINT64_MAX;
  // Of processes: a file that an earlier one opened does nothing any more.
  uint64_t generation = 0;
  // A name whose deletion may not have reached the disk keeps its state in `unlinked`.
  std::map<std::string, std::shared_ptr<FileState>, std::less<>> files, unlinked;

  bool dead() const { return operations > diesAt; }
  // False when the process is dead; sets `cut` for the operation in which it dies.
  bool begin(bool* cut) {
    if (dead()) return false;
    *cut = operations++ == diesAt;
    return true;
  }
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : nextRandom(random) % bound; }
  void losePower();
};

namespace {

using Disk = CrashDisk::Disk;

struct OpenFile {
  sqlite3_file base;
  Disk* disk;
  uint64_t generation;
  std::shared_ptr<FileState>* state;
};
OpenFile* of(sqlite3_file* file) { return reinterpret_cast<OpenFile*>(file); }
bool alive(sqlite3_file* file) { return !of(file)->disk->dead() && of(file)->generation == of(file)->disk->generation; }
FileState& stateOf(sqlite3_file* file) { return **of(file)->state; }
Disk& diskOf(sqlite3_vfs* vfs) { return *static_cast<Disk*>(vfs->pAppData); }

void put(std::string& bytes, const char* from, size_t count, size_t at) {
  if (bytes.size() < at + count) bytes.resize(at + count, '\0');
  std::memcpy(bytes.data() + at, from, count);
}

int closeFile(sqlite3_file* file) {
  delete of(file)->state;
  of(file)->state = nullptr;
  return SQLITE_OK;
}

int readFile(sqlite3_file* file, void* into, int count, sqlite3_int64 at) {
  if (!alive(file)) return SQLITE_IOERR_READ;
  const std::string& bytes = stateOf(file).bytes;
  auto offset = static_cast<size_t>(at), wanted = static_cast<size_t>(count);
  size_t have = offset >= bytes.size() ? 0 : std::min(wanted, bytes.size() - offset);
  std::memcpy(into, bytes.data() + std::min(offset, bytes.size()), have);
  std::memset(static_cast<char*>(into) + have, 0, wanted - have);
  return have == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

int writeFile(sqlite3_file* file, const void* from, int count, sqlite3_int64 at) {
  Disk& disk = *of(file)->disk;
  bool cut = false;
  if (!alive(file) || !disk.begin(&cut)) return SQLITE_IOERR_WRITE;
  auto size = static_cast<size_t>(count);
  if (cut) size = disk.below(size + 1);
  FileState& state = stateOf(file);
  put(state.bytes, static_cast<const char*>(from), size, static_cast<size_t>(at));
  state.touch(static_cast<size_t>(at), static_cast<size_t>(at) + size);
  return cut ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

int truncateFile(sqlite3_file* file, sqlite3_int64 size) {
  bool cut = false;
  if (!alive(file) || !of(file)->disk->begin(&cut)) return SQLITE_IOERR_TRUNCATE;
  FileState& state = stateOf(file);
  state.touch(std::min(static_cast<size_t>(size), state.bytes.size()), state.bytes.size());
  if (!cut) state.bytes.resize(static_cast<size_t>(size));
  return cut ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

// A sync that is cut may have done its work or not; losePower decides that sector by sector.
int syncFile(sqlite3_file* file, int) {
  bool cut = false;
  if (!alive(file) || !of(file)->disk->begin(&cut)) return SQLITE_IOERR_FSYNC;
  if (cut) return SQLITE_IOERR_FSYNC;
  FileState& state = stateOf(file);
  state.sync();
  // SQLite's own VFS syncs the directory with the first sync of a new file, and so what was deleted in it before.
  if (!state.named) of(file)->disk->unlinked.clear();
  state.named = true;
  return SQLITE_OK;
}

int fileSize(sqlite3_file* file, sqlite3_int64* size) {
  if (!alive(file)) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(stateOf(file).bytes.size());
  return SQLITE_OK;
}

// One process has the disk, so locks always succeed.
int lockFile(sqlite3_file*, int) { return SQLITE_OK; }
int checkReservedLock(sqlite3_file*, int* held) { return *held = 0, SQLITE_OK; }
int fileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int sectorSize(sqlite3_file*) { return kSector; }
int deviceCharacteristics(sqlite3_file*) { return 0; }

const sqlite3_io_methods kMethods{
    1,        closeFile,         readFile,    writeFile,  truncateFile,          syncFile, fileSize, lockFile,
    lockFile, checkReservedLock, fileControl, sectorSize, deviceCharacteristics, nullptr,  nullptr,  nullptr,
    nullptr,  nullptr,           nullptr};

int openFile(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* outFlags) {
  Disk& disk = diskOf(vfs);
  file->pMethods = nullptr;
  bool cut = false;
  auto found = name == nullptr ? disk.files.end() : disk.files.find(std::string_view(name));
  std::shared_ptr<FileState> state;
  if (found != disk.files.end()) {
    if (disk.dead()) return SQLITE_CANTOPEN;
    state = found->second;
  } else {
    if ((flags & SQLITE_OPEN_CREATE) == 0 || !disk.begin(&cut)) return SQLITE_CANTOPEN;
    state = std::make_shared<FileState>();
    if (name != nullptr) disk.files[name] = state;
    if (cut) return SQLITE_CANTOPEN;
  }
  OpenFile* out = of(file);
  out->disk = &disk;
  out->generation = disk.generation;
  out->state = new std::shared_ptr<FileState>(state);
  out->base.pMethods = &kMethods;
  if (outFlags) *outFlags = flags;
  return SQLITE_OK;
}

int deleteFile(sqlite3_vfs* vfs, const char* name, int syncDirectory) {
  Disk& disk = diskOf(vfs);
  auto found = disk.files.find(std::string_view(name));
  if (found == disk.files.end()) return SQLITE_IOERR_DELETE_NOENT;
  bool cut = false;
  if (!disk.begin(&cut)) return SQLITE_IOERR_DELETE;
  if (found->second->named && (syncDirectory == 0 || cut)) disk.unlinked[name] = found->second;
  disk.files.erase(found);
  return cut ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

int accessFile(sqlite3_vfs* vfs, const char* name, int, int* result) {
  *result = diskOf(vfs).files.contains(std::string_view(name)) ? 1 : 0;
  return SQLITE_OK;
}

int fullPath(sqlite3_vfs*, const char* name, int size, char* out) {
  if (std::strlen(name) >= static_cast<size_t>(size)) return SQLITE_CANTOPEN;
  std::strcpy(out, name);
  return SQLITE_OK;
}

int randomness(sqlite3_vfs* vfs, int count, char* out) {
  for (int i = 0; i < count; ++i) out[i] = static_cast<char>(nextRandom(diskOf(vfs).random));
  return count;
}
int sleepVfs(sqlite3_vfs*, int) { return 0; }
int currentTime(sqlite3_vfs*, double* days) { return *days = 2461041.5, SQLITE_OK; }
int lastError(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

// Of what was written since the last sync any sector may be there or not, whatever the order of the writes was.
void CrashDisk::Disk::losePower() {
  for (auto& [path, state] : unlinked)
    if (!files.contains(path) && below(2) == 0) files[path] = state;
  std::erase_if(files, [this](const auto& entry) { return !entry.second->named && below(2) == 0; });
  for (auto& [path, state] : files) {
    std::string found = state->durable;
    if (below(2) == 0) found.resize(state->bytes.size(), '\0');
    for (size_t at = state->dirtyBegin / kSector * kSector; at < std::min(found.size(), state->bytes.size()); at += kSector) {
      if (below(2) == 0) continue;
      size_t count = std::min(kSector, std::min(found.size(), state->bytes.size()) - at);
      std::memcpy(found.data() + at, state->bytes.data() + at, count);
    }
    state->bytes = std::move(found);
  }
}

CrashDisk::CrashDisk(uint64_t seed) : disk_(std::make_unique<Disk>()) {
  static std::atomic<uint64_t> last{0};
  disk_->name = fmt::format("knarr-crash-disk-{}", ++last);
  disk_->random = seed;
  sqlite3_vfs& vfs = disk_->vfs;
  vfs.iVersion = 1;
  vfs.szOsFile = sizeof(OpenFile);
  vfs.mxPathname = kPathMax;
  vfs.zName = disk_->name.c_str();
  vfs.pAppData = disk_.get();
  vfs.xOpen = openFile;
  vfs.xDelete = deleteFile;
  vfs.xAccess = accessFile;
  vfs.xFullPathname = fullPath;
  vfs.xRandomness = randomness;
  vfs.xSleep = sleepVfs;
  vfs.xCurrentTime = currentTime;
  vfs.xGetLastError = lastError;
  ASSERT(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}

CrashDisk::~CrashDisk() { sqlite3_vfs_unregister(&disk_->vfs); }

const std::string& CrashDisk::vfsName() const { return disk_->name; }
uint64_t CrashDisk::operations() const { return disk_->operations; }
void CrashDisk::dieAt(uint64_t operation) { disk_->diesAt = operation; }
bool CrashDisk::dead() const { return disk_->dead(); }
void CrashDisk::die() {
  disk_->diesAt = std::min(disk_->diesAt, disk_->operations);
  disk_->operations = std::max(disk_->operations, disk_->diesAt + 1);
}

void CrashDisk::restart(Crash crash) {
  if (crash == PowerLoss) disk_->losePower();
  disk_->unlinked.clear();
  for (auto& [path, state] : disk_->files) {
    state->durable = state->bytes;
    state->sync();
    state->named = true;
  }
  disk_->diesAt = UINT64_MAX;
  ++disk_->generation;
}

}  // namespace knarr::store
