// Store: the MVCC contract under the API server. Bytes only; nothing here knows a Kubernetes type.
//
// Semantics are etcd v3's: one revision per committed transaction, starting at 1 for an empty store
// (the first write gets 2); reads at any revision that is not compacted; watches from a revision
// without gaps. A write is answered after it is durable, and readers and watchers see it only then;
// revisions are given in the order of commit() calls. Everything belongs to the loop of the Env
// that the store was opened with and is not thread safe. Tasks and watches of a store end before
// the store does. Source: etcd API v3 (etcdserverpb.KV, Watch, Lease), behaviour of etcd 3.5.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::store {

using Value = std::shared_ptr<const std::string>;

struct KeyValue {
  std::string key;
  Value value;                 // never null, except when a query asked for keys only
  int64_t createRevision = 0;  // revision of the put that created the key
  int64_t modRevision = 0;     // revision of its last put
  int64_t version = 0;         // 1 after creation, plus 1 per put
};

struct GetResult {
  std::optional<KeyValue> kv;
  int64_t revision = 0;  // of the whole store when the read happened ("header revision")
};

// Keys in [begin, end), in byte order. `end` empty: exactly the key `begin`. prefixRange() makes
// one from a prefix.
struct KeyRange {
  std::string begin;
  std::string end;
  bool contains(std::string_view key) const { return end.empty() ? key == begin : key >= begin && key < end; }
};
// Every key that starts with `prefix`; all keys for "".
KeyRange prefixRange(std::string_view prefix);

struct RangeQuery {
  KeyRange range;
  int64_t revision = 0;  // 0 = the newest
  size_t limit = 0;      // 0 = all
  bool keysOnly = false;
  bool countOnly = false;
};
struct RangeResult {
  std::vector<KeyValue> kvs;
  bool more = false;     // the limit cut the result
  int64_t count = 0;     // keys in the range at the revision, beyond the limit too
  int64_t revision = 0;  // header revision; a later page reads at this one
};

// One guarded write.
struct Txn {
  enum Kind : uint8_t { Put, Delete } kind = Put;
  std::string key;
  Value value;  // of a Put
  // The modRevision the key must have; 0 = the key must not exist; nothing = no guard.
  std::optional<int64_t> guardRevision;
  // Of a Put: the key is deleted this long after the commit; 0 = never. A later Put replaces it.
  int64_t ttlSeconds = 0;

  static Txn create(std::string key, Value value, int64_t ttlSeconds = 0) {
    return {Put, std::move(key), std::move(value), 0, ttlSeconds};
  }
  static Txn update(std::string key, Value value, int64_t guardRevision, int64_t ttlSeconds = 0) {
    return {Put, std::move(key), std::move(value), guardRevision, ttlSeconds};
  }
  static Txn remove(std::string key, std::optional<int64_t> guardRevision) {
    return {Delete, std::move(key), nullptr, guardRevision, 0};
  }
};
struct TxnResult {
  bool succeeded = false;  // the guard held
  int64_t revision = 0;    // header revision: of this write when it succeeded and changed something
  // Succeeded put: the key as written. Succeeded delete: the key as it was before (nothing when it
  // was absent; such a delete takes no revision). Failed guard: the key as it is (nothing when it
  // is absent).
  std::optional<KeyValue> kv;
};

struct Event {
  enum Type : uint8_t { Put, Delete } type = Put;
  // Delete: key and modRevision (the revision of the deletion) only; the value is null.
  KeyValue kv;
  // Before the event; nothing on creation, and where compaction took it.
  std::optional<KeyValue> previous;
  int64_t revision() const { return kv.modRevision; }
  bool isCreate() const { return type == Put && kv.createRevision == kv.modRevision; }
};

// A cursor over the committed revisions. A slow reader holds no queue of its own: it reads the
// history that every watch shares, and fails with Expired once compaction (asked for, or forced by
// StoreOptions::historyBytesMax) overtakes it. Destroying a watch cancels it.
class Watch {
 public:
  virtual ~Watch() = default;
  // Waits for the next events, in order of revision, at most 1000 per batch, without gap or
  // repetition. Errors: Expired (see isCompacted); ServiceUnavailable once the store is closed. One
  // caller at a time.
  virtual async::Task<Result<std::vector<Event>>> next() = 0;
  // Every event up to and including this revision has been returned by next().
  virtual int64_t progressRevision() const = 0;
};

struct WatchQuery {
  KeyRange range;
  int64_t fromRevision = 0;  // the first revision of interest; 0 = the one after the newest
};

class Store {
 public:
  virtual ~Store() = default;

  // Errors of reads: Expired when `revision` is compacted (isCompacted, compactRevisionOf); Invalid
  // when it is newer than the store's. An absent key is not an error.
  virtual async::Task<Result<GetResult>> get(std::string key, int64_t revision = 0) = 0;
  virtual async::Task<Result<RangeResult>> range(RangeQuery query) = 0;

  // Waits while the write queue is full. Errors: RequestEntityTooLarge (key or value over
  // StoreOptions' bounds), Invalid (empty key), ServiceUnavailable (closed), InternalError (the
  // disk failed; the write did not happen unless the message says that it is not known). Dropping
  // the task does not take the write back.
  virtual async::Task<Result<TxnResult>> commit(Txn txn) = 0;

  virtual std::unique_ptr<Watch> watch(WatchQuery query) = 0;

  // Forgets what was superseded at or before `revision`; reads and watches from `revision` on still
  // work. Compacting at or below the compacted revision fails with Expired, above the newest with
  // Invalid, as etcd answers.
  virtual async::Task<Result<void>> compact(int64_t revision) = 0;

  virtual async::Task<Result<int64_t>> currentRevision() = 0;
  virtual async::Task<Result<int64_t>> compactRevision() = 0;

  // Bytes of live values, superseded ones that history still holds, and of the file when there is
  // one.
  struct Usage {
    int64_t keys = 0;
    int64_t liveBytes = 0;
    int64_t historyBytes = 0;
  };
  virtual Usage usage() const = 0;

  // Answers what was committed so far, fails everything later and every watch with
  // ServiceUnavailable, and lets go of the file.
  virtual async::Task<void> close() = 0;
};

struct StoreOptions {
  size_t keyBytesMax = 4096;
  // etcd's --max-request-bytes.
  size_t valueBytesMax = 1536 * 1024;
  // Writers wait beyond this many queued writes (memory: itemsMax times the typical 1 KiB, 8 MiB).
  size_t queuedWritesMax = 8192;
  size_t queuedBytesMax = size_t{64} << 20;
  // Most writes that share one fsync. Twice as many make an answer wait twice as long behind a full
  // batch.
  size_t batchWritesMax = 1024;
  size_t batchBytesMax = size_t{8} << 20;
  // Superseded values kept for old readers and slow watchers. Past it the oldest half of the
  // history is compacted.
  int64_t historyBytesMax = int64_t{256} << 20;
  // The SQLite engine's way to the disk, by the name of a registered VFS; "" is the system's. Tests put a faulty disk here.
  std::string sqliteVfs;
  // Pages of 1 KiB in SQLite's log before they are moved into the file. Twice as many make moving them take twice as long.
  int sqliteLogPagesMax = 4000;
};

// Everything in memory; nothing survives. commitDelay (simulation): time that each group commit
// takes, as a disk would.
std::unique_ptr<Store> makeMemoryStore(env::Env environment, StoreOptions options = {}, env::Duration commitDelay = {});

// The embedded default: SQLite in WAL mode with synchronous=FULL. Blocks while it reads the file
// (call it at start-up). Errors: Conflict (another process holds the file), InternalError (corrupt
// or not ours; the message says what to do).
Result<std::unique_ptr<Store>> openSqliteStore(env::Env environment, std::string path, StoreOptions options = {});

// The error etcd gives for a revision that is gone, carrying the compact revision.
Error compactedError(int64_t compactRevision);
bool isCompacted(const Error& error);
// 0 when the error is not a compaction error.
int64_t compactRevisionOf(const Error& error);

}  // namespace knarr::store
