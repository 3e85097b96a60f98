// Compaction of the store: what was superseded is forgotten some minutes later, as upstream's apiserver asks of etcd.
//
// Servers of one store take turns through the key "compact_rev_key": whoever writes it first in an interval compacts, the
// others learn of it and wait for the next. History lives between one and two intervals, longer where next to nothing is
// written: then forgetting it would cost more of the disk than keeping it costs memory.
// Source: k8s.io/apiserver/pkg/storage/etcd3/compact.go; --etcd-compaction-interval.
#pragma once

#include <string_view>

#include "async/async.h"
#include "env/env.h"
#include "store/store.h"

namespace knarr::apiserver {

inline constexpr std::string_view kCompactRevisionKey = "compact_rev_key";
// Fewer new revisions than this are left alone for kCompactionIdleIntervals intervals.
inline constexpr int64_t kCompactionRevisionsMin = 100;
inline constexpr int kCompactionIdleIntervals = 12;

struct CompactionState {
  int64_t previousRevision = 0;   // of the store one interval ago; 0 before the first
  int64_t compactedRevision = 0;  // of our last compaction, or the winner's
  int idleIntervals = 0;
  int64_t keyRevision = 0;  // modRevision of the key as last seen; 0 = it was absent
};
// Called once an interval with the newest revision: the revision to compact to, 0 for none.
int64_t decideCompaction(CompactionState& state, int64_t newest);

// Compacts every `interval` until stop; an interval of zero or less compacts never. What fails is logged and tried again.
async::Task<void> runCompactor(env::Env environment, store::Store& store, env::Duration interval, async::StopToken stop);

}  // namespace knarr::apiserver
