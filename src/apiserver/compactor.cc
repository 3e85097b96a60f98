#include "apiserver/compactor.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

// What the key tells of the last compaction, whoever made it.
void learn(CompactionState* state, const std::optional<store::KeyValue>& key) {
  state->keyRevision = key ? key->modRevision : 0;
  if (key && key->value) state->compactedRevision = parseInt(*key->value).value_or(0);
}

async::Task<Result<void>> compactOnce(store::Store& store, CompactionState* state) {
  int64_t newest = CO_TRY(co_await store.currentRevision());
  int64_t target = decideCompaction(*state, newest);
  if (target == 0) co_return Result<void>();
  store::Txn txn;
  txn.key = kCompactRevisionKey;
  txn.value = std::make_shared<const std::string>(fmt::format("{}", target));
  txn.guardRevision = state->keyRevision;
  store::TxnResult turn = CO_TRY(co_await store.commit(std::move(txn)));
  if (!turn.succeeded) {
    // Another server compacts in this interval.
    learn(state, turn.kv);
    co_return Result<void>();
  }
  state->keyRevision = turn.revision;
  auto done = co_await store.compact(target);
  if (!done && !store::isCompacted(done.error())) co_return std::unexpected(std::move(done).error());
  state->compactedRevision = target;
  logDebug("apiserver", "the store is compacted revision={}", target);
  co_return Result<void>();
}

}  // namespace

int64_t decideCompaction(CompactionState& state, int64_t newest) {
  int64_t target = std::exchange(state.previousRevision, newest);
  if (target <= state.compactedRevision || target == 0) return 0;
  bool little = target - state.compactedRevision < kCompactionRevisionsMin;
  if (little && ++state.idleIntervals < kCompactionIdleIntervals) return 0;
  state.idleIntervals = 0;
  return target;
}

async::Task<void> runCompactor(env::Env environment, store::Store& store, env::Duration interval, async::StopToken stop) {
  if (interval <= env::Duration::zero()) co_return;
  CompactionState state;
  // A store that was compacted before this server started is compacted again as soon as one that never was.
  if (auto before = co_await store.get(std::string(kCompactRevisionKey))) learn(&state, before->kv);
  while (!stop.stopRequested()) {
    co_await async::sleepFor(environment, interval, stop);
    if (stop.stopRequested()) co_return;
    auto done = co_await compactOnce(store, &state);
    if (!done && !stop.stopRequested())
      logWarning("apiserver", "compacting the store failed, next try in {} s: {}",
                 std::chrono::duration_cast<std::chrono::seconds>(interval).count(), done.error().describe());
  }
}

}  // namespace knarr::apiserver
