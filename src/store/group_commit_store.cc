#include "store/group_commit_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/log.h"

namespace knarr::store {
namespace {

constexpr size_t kWatchBatchMax = 1000;
// History events let go per group commit: a few milliseconds of the loop, one bounded statement
// list on disk.
constexpr size_t kCleanEventsPerBatch = 4096;
constexpr size_t kExpiriesPerBatch = 1000;
// A key whose expiry could not be written (disk full) is tried again after this.
constexpr int64_t kExpiryRetryNanos = 10'000'000'000;

Error closedError() { return Error(Reason::ServiceUnavailable, "the store is closed"); }

size_t sizeOf(const Txn& txn) { return txn.key.size() + (txn.value ? txn.value->size() : 0); }

Unexpected refuse(const Error& error) { return Unexpected(error); }

}  // namespace

// The state that the committer, the tasks and the watches share.
struct GroupCommitStore::Core {
  struct Pending {
    Txn txn;
    std::optional<async::Promise<Result<TxnResult>>> answer;  // nothing: an expiry
  };
  struct WatchState {
    explicit WatchState(env::Executor& executor) : wake(executor) {}
    KeyRange range;
    int64_t next = 0;      // the first revision that was not looked at
    bool pending = false;  // an event at or after `next` may match
    async::Event wake;
  };
  // A batch while it is decided.
  struct Draft {
    std::shared_ptr<Batch> batch = std::make_shared<Batch>();
    std::vector<std::pair<Pending, Result<TxnResult>>> answers;
    std::map<std::string, size_t, std::less<>> written;  // key to its last index in batch->records
  };

  Core(env::Env environment, StoreOptions opts, MvccIndex idx, std::unique_ptr<Durability> d)
      : env(environment),
        options(opts),
        index(std::move(idx)),
        durability(std::move(d)),
        work(env.executor),
        space(env.executor),
        cleaned(env.executor) {
    removedRevisions = index.takeRestoredGarbage();
  }
  ~Core() {
    if (expiryTimer) env.executor.cancelTimer(*expiryTimer);
  }

  env::Env env;
  StoreOptions options;
  MvccIndex index;
  std::unique_ptr<Durability> durability;
  std::deque<Pending> queue;
  async::Event work;     // the queue or the cleaning has something, or the store closes
  async::Event space;    // the queue became shorter
  async::Event cleaned;  // the compact revision is durable
  int64_t durableCompactRevision = 0;
  std::optional<Error> compactFailure;    // of the last batch that carried a compact revision
  std::vector<int64_t> removedRevisions;  // to be told to the disk with the next batch
  size_t queuedBytes = 0;
  bool failing = false;  // the last batch was not persisted: cleaning waits for the next write
  std::vector<WatchState*> watches;
  std::set<std::pair<int64_t, std::string>> expiries;
  std::optional<env::TimerId> expiryTimer;
  bool closing = false;
  std::weak_ptr<Core> self;

  std::optional<KeyValue> latestIn(const Draft& draft, const std::string& key) const;
  void decide(Draft& draft, Pending pending);
  Draft takeBatch();
  void publish(const Draft& draft);
  void publishToWatches(const Event& event);
  void noteExpiry(const Record& record);
  void forgetExpiry(const std::string& key, int64_t when);
  void armExpiryTimer();
  void expireDue();
  void forceCompaction();
  void answer(Draft& draft, const Result<void>& persisted);
  void giveBack(const Draft& draft, const Error& error);
  bool idle() const;
};

std::optional<KeyValue> GroupCommitStore::Core::latestIn(const Draft& draft, const std::string& key) const {
  auto own = draft.written.find(key);
  if (own == draft.written.end()) return index.latest(key);
  const Record& record = draft.batch->records[own->second];
  if (!record.value) return std::nullopt;
  return KeyValue{key, record.value, record.createRevision, record.revision, record.version};
}

void GroupCommitStore::Core::decide(Draft& draft, Pending pending) {
  int64_t newest = index.revision() + static_cast<int64_t>(draft.batch->records.size());
  const Txn& txn = pending.txn;
  std::optional<KeyValue> current = latestIn(draft, txn.key);
  TxnResult result;
  result.revision = newest;
  if (txn.guardRevision && *txn.guardRevision != (current ? current->modRevision : 0)) {
    result.kv = std::move(current);
    draft.answers.emplace_back(std::move(pending), std::move(result));
    return;
  }
  result.succeeded = true;
  if (txn.kind == Txn::Delete && !current) {
    draft.answers.emplace_back(std::move(pending), std::move(result));
    return;
  }
  Record record;
  record.revision = result.revision = newest + 1;
  record.key = txn.key;
  if (txn.kind == Txn::Put) {
    record.value = txn.value;
    record.createRevision = current ? current->createRevision : record.revision;
    record.version = current ? current->version + 1 : 1;
    if (txn.ttlSeconds > 0) {
      record.expiresUnixNanos = env.clock.unixNanos() + txn.ttlSeconds * 1'000'000'000;
    }
    result.kv = KeyValue{txn.key, txn.value, record.createRevision, record.revision, record.version};
  } else {
    result.kv = std::move(current);
  }
  draft.written[txn.key] = draft.batch->records.size();
  draft.batch->records.push_back(std::move(record));
  draft.answers.emplace_back(std::move(pending), std::move(result));
}

GroupCommitStore::Core::Draft GroupCommitStore::Core::takeBatch() {
  Draft draft;
  size_t bytes = 0;
  while (!queue.empty() && draft.answers.size() < options.batchWritesMax && bytes < options.batchBytesMax) {
    Pending pending = std::move(queue.front());
    queue.pop_front();
    queuedBytes -= sizeOf(pending.txn);
    bytes += sizeOf(pending.txn);
    decide(draft, std::move(pending));
  }
  space.notifyAll();
  draft.batch->removedRevisions = std::exchange(removedRevisions, {});
  if (durableCompactRevision < index.compactRevision()) {
    draft.batch->compactRevision = index.compactRevision();
  }
  if (index.needsCleaning()) {
    std::vector<int64_t> removed = index.cleanStep(kCleanEventsPerBatch);
    auto& all = draft.batch->removedRevisions;
    all.insert(all.end(), removed.begin(), removed.end());
  }
  return draft;
}

void GroupCommitStore::Core::publishToWatches(const Event& event) {
  for (WatchState* watch : watches) {
    if (watch->pending || event.revision() < watch->next) continue;
    if (watch->range.contains(event.kv.key)) {
      watch->next = event.revision();
      watch->pending = true;
      watch->wake.notifyAll();
    } else {
      watch->next = event.revision() + 1;
    }
  }
}

void GroupCommitStore::Core::publish(const Draft& draft) {
  for (const Record& record : draft.batch->records) {
    int64_t previousExpires = 0;
    index.apply(record, &previousExpires);
    if (previousExpires != 0) forgetExpiry(record.key, previousExpires);
    if (record.expiresUnixNanos != 0) noteExpiry(record);
    publishToWatches(index.event(record.revision));
  }
  if (draft.batch->compactRevision != 0) {
    durableCompactRevision = draft.batch->compactRevision;
    compactFailure.reset();
    cleaned.notifyAll();
  }
  forceCompaction();
}

void GroupCommitStore::Core::noteExpiry(const Record& record) { expiries.emplace(record.expiresUnixNanos, record.key); }

void GroupCommitStore::Core::forgetExpiry(const std::string& key, int64_t when) { expiries.erase({when, key}); }

void GroupCommitStore::Core::armExpiryTimer() {
  if (expiries.empty() || closing || expiryTimer) return;
  int64_t wait = std::max<int64_t>(0, expiries.begin()->first - env.clock.unixNanos());
  // Looking again every hour at the latest keeps a wall clock that jumps forward from holding keys
  // back.
  wait = std::min<int64_t>(wait, int64_t{3600} * 1'000'000'000);
  expiryTimer = env.executor.at(env.clock.now() + std::chrono::nanoseconds(wait), [weak = self] {
    auto core = weak.lock();
    if (!core) return;
    core->expiryTimer.reset();
    core->expireDue();
    core->armExpiryTimer();
  });
}

// Due keys are deleted through the queue like any write, guarded by the version that carried the
// time to live.
void GroupCommitStore::Core::expireDue() {
  if (closing) return;
  int64_t now = env.clock.unixNanos();
  for (size_t n = 0; n < kExpiriesPerBatch && !expiries.empty(); ++n) {
    auto first = expiries.begin();
    if (first->first > now) break;
    std::string key = first->second;
    expiries.erase(first);
    std::optional<KeyValue> current = index.latest(key);
    if (!current) continue;
    queuedBytes += key.size();
    queue.push_back({Txn::remove(std::move(key), current->modRevision), std::nullopt});
  }
  work.notifyAll();
}

void GroupCommitStore::Core::forceCompaction() {
  if (index.usage().historyBytes <= options.historyBytesMax || index.needsCleaning()) return;
  int64_t target = index.middleOfHistory();
  if (target <= index.compactRevision()) return;
  logWarning("store", "history exceeds its bound, compacting bytes={} bound={} revision={}", index.usage().historyBytes,
             options.historyBytesMax, target);
  if (index.compact(target)) work.notifyAll();
}

void GroupCommitStore::Core::answer(Draft& draft, const Result<void>& persisted) {
  for (auto& [pending, result] : draft.answers) {
    if (pending.answer) {
      pending.answer->set(persisted ? std::move(result) : refuse(persisted.error()));
    } else if (!persisted) {
      expiries.emplace(env.clock.unixNanos() + kExpiryRetryNanos, pending.txn.key);
    }
  }
}

// What a failed batch would have cleaned is told to the disk with the next one. Whoever waits for a compaction hears of the
// failure, also when he asked while the batch was under way: nothing is tried again before the next write.
void GroupCommitStore::Core::giveBack(const Draft& draft, const Error& error) {
  const auto& removed = draft.batch->removedRevisions;
  removedRevisions.insert(removedRevisions.end(), removed.begin(), removed.end());
  if (durableCompactRevision < index.compactRevision()) compactFailure = error;
  cleaned.notifyAll();
}

bool GroupCommitStore::Core::idle() const {
  if (!queue.empty()) return false;
  return failing || (!index.needsCleaning() && removedRevisions.empty() && durableCompactRevision >= index.compactRevision());
}

async::Task<void> GroupCommitStore::runCommitter(std::shared_ptr<Core> core) {
  while (true) {
    if (core->idle()) {
      if (core->closing) break;
      co_await core->work.wait();
      continue;
    }
    Core::Draft draft = core->takeBatch();
    Result<void> persisted;
    if (core->durability->poisoned()) {
      persisted = fail(Reason::InternalError, "the store stopped after a failure of its disk; restart it once the cause is gone");
    } else if (!draft.batch->empty()) {
      persisted = co_await core->durability->persist(draft.batch);
    }
    core->failing = !persisted;
    if (persisted) {
      core->publish(draft);
    } else {
      core->giveBack(draft, persisted.error());
    }
    core->answer(draft, persisted);
    core->armExpiryTimer();
  }
  co_await core->durability->close();
}

class GroupCommitStore::WatchCursor : public Watch {
 public:
  WatchCursor(std::shared_ptr<Core> core, WatchQuery query)
      : core_(std::move(core)), state_(std::make_shared<Core::WatchState>(core_->env.executor)) {
    state_->range = std::move(query.range);
    int64_t newest = core_->index.revision();
    state_->next = query.fromRevision <= 0 ? newest + 1 : query.fromRevision;
    state_->pending = state_->next <= newest;
    core_->watches.push_back(state_.get());
  }
  ~WatchCursor() override { std::erase(core_->watches, state_.get()); }

  async::Task<Result<std::vector<Event>>> next() override { return nextEvents(core_, state_); }
  int64_t progressRevision() const override { return state_->next - 1; }

 private:
  static async::Task<Result<std::vector<Event>>> nextEvents(std::shared_ptr<Core> core, std::shared_ptr<Core::WatchState> state) {
    while (true) {
      if (core->closing) co_return refuse(closedError());
      // next == newest + 1 is always readable, also when everything was compacted.
      if (state->next < core->index.compactRevision()) {
        co_return refuse(compactedError(core->index.compactRevision()));
      }
      std::vector<Event> events = take(*core, *state);
      if (!events.empty()) co_return events;
      co_await state->wake.wait();
    }
  }

  static std::vector<Event> take(Core& core, Core::WatchState& state) {
    std::vector<Event> events;
    if (!state.pending) return events;
    state.next = std::max<int64_t>(state.next, 2);  // revision 1 is the empty store
    for (; state.next <= core.index.revision() && events.size() < kWatchBatchMax; ++state.next) {
      const Event& event = core.index.event(state.next);
      if (state.range.contains(event.kv.key)) events.push_back(event);
    }
    state.pending = state.next <= core.index.revision();
    return events;
  }

  std::shared_ptr<Core> core_;
  std::shared_ptr<Core::WatchState> state_;
};

GroupCommitStore::GroupCommitStore(env::Env environment, StoreOptions options, MvccIndex index,
                                   std::unique_ptr<Durability> durability)
    : core_(std::make_shared<Core>(environment, options, std::move(index), std::move(durability))),
      gate_(std::make_unique<async::Gate>(environment.executor)) {
  core_->self = core_;
  core_->durableCompactRevision = core_->index.compactRevision();
  gate_->spawn(runCommitter(core_));
}

GroupCommitStore::~GroupCommitStore() = default;

void GroupCommitStore::restoreExpiry(const Record& record) {
  core_->noteExpiry(record);
  core_->armExpiryTimer();
}

async::Task<Result<GetResult>> GroupCommitStore::get(std::string key, int64_t revision) {
  if (core_->closing) co_return refuse(closedError());
  co_return core_->index.get(key, revision);
}

async::Task<Result<RangeResult>> GroupCommitStore::range(RangeQuery query) {
  if (core_->closing) co_return refuse(closedError());
  co_return core_->index.range(query);
}

async::Task<Result<TxnResult>> GroupCommitStore::commit(Txn txn) {
  std::shared_ptr<Core> core = core_;
  if (txn.key.empty()) co_return fail(Reason::Invalid, "the store takes no empty key");
  if (txn.key.size() > core->options.keyBytesMax) {
    co_return fail(Reason::RequestEntityTooLarge,
                   fmt::format("a key of {} bytes is over the store's bound of {}", txn.key.size(), core->options.keyBytesMax));
  }
  if (txn.kind == Txn::Put) {
    ASSERT(txn.value != nullptr);
    if (txn.value->size() > core->options.valueBytesMax) {
      co_return fail(Reason::RequestEntityTooLarge,
                     fmt::format("etcdserver: request is too large: {} bytes for key {}, the bound is {}", txn.value->size(),
                                 txn.key, core->options.valueBytesMax));
    }
  }
  auto full = [&] {
    return core->queue.size() >= core->options.queuedWritesMax || core->queuedBytes >= core->options.queuedBytesMax;
  };
  while (!core->closing && full()) co_await core->space.wait();
  if (core->closing) co_return refuse(closedError());
  core->queuedBytes += sizeOf(txn);
  async::Promise<Result<TxnResult>> answer(core->env.executor);
  core->queue.push_back({std::move(txn), answer});
  core->work.notifyAll();
  co_return co_await answer.get();
}

std::unique_ptr<Watch> GroupCommitStore::watch(WatchQuery query) {
  return std::make_unique<WatchCursor>(core_, std::move(query));
}

async::Task<Result<void>> GroupCommitStore::compact(int64_t revision) {
  std::shared_ptr<Core> core = core_;
  if (core->closing) co_return refuse(closedError());
  CO_TRY(core->index.compact(revision));
  core->compactFailure.reset();
  core->failing = false;
  core->work.notifyAll();
  while (core->durableCompactRevision < revision && !core->compactFailure) {
    co_await core->cleaned.wait();
  }
  if (core->durableCompactRevision < revision) co_return refuse(*core->compactFailure);
  co_return Result<void>();
}

async::Task<Result<int64_t>> GroupCommitStore::currentRevision() {
  if (core_->closing) co_return refuse(closedError());
  co_return core_->index.revision();
}

async::Task<Result<int64_t>> GroupCommitStore::compactRevision() {
  if (core_->closing) co_return refuse(closedError());
  co_return core_->index.compactRevision();
}

Store::Usage GroupCommitStore::usage() const { return core_->index.usage(); }

async::Task<void> GroupCommitStore::close() {
  std::shared_ptr<Core> core = core_;
  core->closing = true;
  if (core->expiryTimer) core->env.executor.cancelTimer(*core->expiryTimer);
  core->expiryTimer.reset();
  core->work.notifyAll();
  core->space.notifyAll();
  for (Core::WatchState* watch : core->watches) watch->wake.notifyAll();
  co_await gate_->close();
}

}  // namespace knarr::store
