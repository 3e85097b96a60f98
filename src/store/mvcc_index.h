// MvccIndex: every key with its versions since the last compaction, and the history of committed
// events.
//
// The part of a store that all engines share: they differ in how a Record becomes durable before it
// is applied here. Reads cost a tree look-up; the history is a deque indexed by revision, which is
// what watches read. Upstream counterpart: etcd server/storage/mvcc (treeIndex, kvstore,
// watchable_store).
#pragma once

#include <absl/container/btree_map.h>
#include <absl/container/inlined_vector.h>

#include <deque>
#include <string>
#include <vector>

#include "store/store.h"

namespace knarr::store {

// One committed write, as it is kept on disk.
struct Record {
  int64_t revision = 0;
  std::string key;
  int64_t createRevision = 0;
  int64_t version = 0;
  Value value;                   // null: the key was deleted
  int64_t expiresUnixNanos = 0;  // 0: never
};

class MvccIndex {
 public:
  // The newest revision; 1 when empty.
  int64_t revision() const { return revision_; }
  int64_t compactRevision() const { return compactRevision_; }

  // Adds the record after the newest. `previousExpires` receives the expiry of the version it
  // replaces, 0 for none.
  void apply(const Record& record, int64_t* previousExpires = nullptr);

  // Rebuilding from disk: the compact revision is set first, then records come in order of
  // revision. Fails when the records from the compact revision on are not one per revision.
  void restoreCompactRevision(int64_t revision);
  Result<void> restore(const Record& record);
  // Revisions met while rebuilding that an interrupted compaction had left on disk.
  std::vector<int64_t> takeRestoredGarbage() { return std::exchange(restoredGarbage_, {}); }

  // The live key as it is now.
  std::optional<KeyValue> latest(const std::string& key) const;
  Result<GetResult> get(const std::string& key, int64_t revision) const;
  Result<RangeResult> range(const RangeQuery& query) const;

  // The event of a revision in [max(compactRevision, 2), revision()].
  const Event& event(int64_t revision) const;

  // Makes reads before `revision` fail from now on. What they held is let go by cleanStep.
  Result<void> compact(int64_t revision);
  bool needsCleaning() const { return cleanedRevision_ < compactRevision_; }
  // Lets go of what at most `eventsMax` events superseded; returns the revisions whose records the
  // disk can forget.
  std::vector<int64_t> cleanStep(size_t eventsMax);
  // A compact revision that frees about half of the history.
  int64_t middleOfHistory() const;

  Store::Usage usage() const { return usage_; }

 private:
  struct Version {
    int64_t modRevision;
    int64_t createRevision;
    int64_t version;
    Value value;  // null: tombstone
    int64_t expiresUnixNanos;
  };
  using Versions = absl::InlinedVector<Version, 1>;

  Result<void> checkReadable(int64_t revision) const;
  // The version visible at `revision`; null when the key does not exist then.
  static const Version* versionAt(const Versions& versions, int64_t revision);
  void forget(const std::string& key, int64_t modRevision, std::vector<int64_t>& removed);

  absl::btree_map<std::string, Versions> keys_;
  std::deque<Event> history_;
  int64_t historyFirst_ = 2;  // revision of history_.front()
  int64_t revision_ = 1;
  int64_t compactRevision_ = 0;
  int64_t cleanedRevision_ = 0;
  std::vector<int64_t> restoredGarbage_;
  Store::Usage usage_;
};

}  // namespace knarr::store
