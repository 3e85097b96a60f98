// GroupCommitStore: the Store that both engines are. Writers queue; one committer takes everything
// that waits, decides the guards in order, makes the batch durable with one call, then publishes it
// to the index and the watches and answers.
//
// Invariant: the index holds durable records only. Guards of a batch are decided against the index
// plus the batch's own earlier writes, so a queue of writers to one key costs one fsync, not one
// each.
#pragma once

#include <map>
#include <set>

#include "async/async.h"
#include "store/mvcc_index.h"
#include "store/store.h"

namespace knarr::store {

// What one call makes durable, all or nothing.
struct Batch {
  std::vector<Record> records;
  std::vector<int64_t> removedRevisions;
  int64_t compactRevision = 0;  // 0: unchanged
  bool empty() const { return records.empty() && removedRevisions.empty() && compactRevision == 0; }
};

class Durability {
 public:
  virtual ~Durability() = default;
  // An error with `poisoned()` true afterwards means that the outcome on disk is not known.
  virtual async::Task<Result<void>> persist(std::shared_ptr<const Batch> batch) = 0;
  virtual bool poisoned() const = 0;
  virtual async::Task<void> close() = 0;
};

class GroupCommitStore : public Store {
 public:
  // `index` is what the durability held when it was opened; `expiries` the keys with a time to
  // live.
  GroupCommitStore(env::Env environment, StoreOptions options, MvccIndex index, std::unique_ptr<Durability> durability);
  ~GroupCommitStore() override;

  async::Task<Result<GetResult>> get(std::string key, int64_t revision) override;
  async::Task<Result<RangeResult>> range(RangeQuery query) override;
  async::Task<Result<TxnResult>> commit(Txn txn) override;
  std::unique_ptr<Watch> watch(WatchQuery query) override;
  async::Task<Result<void>> compact(int64_t revision) override;
  async::Task<Result<int64_t>> currentRevision() override;
  async::Task<Result<int64_t>> compactRevision() override;
  Usage usage() const override;
  async::Task<void> close() override;

  // Called once while opening, for each key that expires.
  void restoreExpiry(const Record& record);

 private:
  struct Core;
  class WatchCursor;
  static async::Task<void> runCommitter(std::shared_ptr<Core> core);

  std::shared_ptr<Core> core_;
  std::unique_ptr<async::Gate> gate_;
};

}  // namespace knarr::store
