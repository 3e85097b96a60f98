#include "store/mvcc_index.h"

#include <fmt/format.h>

#include "base/assert.h"
#include "base/strings.h"

namespace knarr::store {
namespace {

constexpr std::string_view kCompactCause = "CompactRevision";
// What an event costs besides its values: two keys, counters and the deque's slot.
constexpr int64_t kEventOverheadBytes = 256;

int64_t sizeOf(const Value& value) { return value ? static_cast<int64_t>(value->size()) : 0; }

}  // namespace

Error compactedError(int64_t compactRevision) {
  return Error(Reason::Expired, "required revision has been compacted")
      .withCause({std::string(kCompactCause), std::to_string(compactRevision), ""});
}

int64_t compactRevisionOf(const Error& error) {
  if (error.reason() != Reason::Expired) return 0;
  for (const Cause& cause : error.causes()) {
    if (cause.reason == kCompactCause) return parseInt(cause.message).value_or(0);
  }
  return 0;
}

bool isCompacted(const Error& error) { return compactRevisionOf(error) != 0; }

KeyRange prefixRange(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (end.empty()) return {std::string(prefix), std::string(64, '\xff')};
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return {std::string(prefix), std::move(end)};
}

const MvccIndex::Version* MvccIndex::versionAt(const Versions& versions, int64_t revision) {
  for (size_t i = versions.size(); i > 0; --i) {
    const Version& version = versions[i - 1];
    if (version.modRevision <= revision) return version.value ? &version : nullptr;
  }
  return nullptr;
}

void MvccIndex::apply(const Record& record, int64_t* previousExpires) {
  ASSERT(record.revision > revision_);
  Event event;
  event.type = record.value ? Event::Put : Event::Delete;
  event.kv = {record.key, record.value, record.createRevision, record.revision, record.version};
  Versions& versions = keys_[record.key];
  if (!versions.empty() && versions.back().value) {
    const Version& old = versions.back();
    event.previous = KeyValue{record.key, old.value, old.createRevision, old.modRevision, old.version};
    if (previousExpires != nullptr) *previousExpires = old.expiresUnixNanos;
    usage_.historyBytes += sizeOf(old.value);
    usage_.liveBytes -= sizeOf(old.value);
    --usage_.keys;
  }
  if (record.value) {
    ++usage_.keys;
    usage_.liveBytes += sizeOf(record.value);
  }
  versions.push_back({record.revision, record.createRevision, record.version, record.value, record.expiresUnixNanos});
  revision_ = record.revision;
  if (record.revision < compactRevision_) return;  // while rebuilding: before the history
  if (history_.empty()) historyFirst_ = record.revision;
  history_.push_back(std::move(event));
  usage_.historyBytes += kEventOverheadBytes;
}

void MvccIndex::restoreCompactRevision(int64_t revision) {
  ASSERT(revision_ == 1);
  compactRevision_ = cleanedRevision_ = revision;
}

Result<void> MvccIndex::restore(const Record& record) {
  int64_t firstKept = std::max<int64_t>(compactRevision_, 2);
  // The newest record is never superseded, so a gap at or after the compact revision is a lost
  // write.
  bool gap = record.revision <= revision_ || (record.revision > firstKept && record.revision != revision_ + 1);
  if (gap) {
    return fail(Reason::InternalError,
                fmt::format("revision {} follows {}: records between are missing", record.revision, revision_));
  }
  if (record.revision > compactRevision_) {
    apply(record);
    return {};
  }
  // Only the newest version at the compact revision is readable; what an interrupted compaction
  // left is garbage.
  if (auto old = keys_.find(record.key); old != keys_.end()) {
    for (const Version& version : old->second) {
      restoredGarbage_.push_back(version.modRevision);
      if (!version.value) continue;
      --usage_.keys;
      usage_.liveBytes -= sizeOf(version.value);
    }
    keys_.erase(old);
  }
  if (!record.value && record.revision < compactRevision_) {
    restoredGarbage_.push_back(record.revision);
    revision_ = record.revision;
    return {};
  }
  apply(record);
  return {};
}

std::optional<KeyValue> MvccIndex::latest(const std::string& key) const {
  auto found = keys_.find(key);
  if (found == keys_.end()) return std::nullopt;
  const Version* version = versionAt(found->second, revision_);
  if (version == nullptr) return std::nullopt;
  return KeyValue{key, version->value, version->createRevision, version->modRevision, version->version};
}

Result<void> MvccIndex::checkReadable(int64_t revision) const {
  if (revision < 0) return fail(Reason::Invalid, fmt::format("revision {} is negative", revision));
  if (revision > revision_) {
    return fail(Reason::Invalid, fmt::format("required revision {} is a future revision, the newest is {}", revision, revision_));
  }
  if (revision != 0 && revision < compactRevision_) {
    return std::unexpected(compactedError(compactRevision_));
  }
  return {};
}

Result<GetResult> MvccIndex::get(const std::string& key, int64_t revision) const {
  TRY(checkReadable(revision));
  GetResult result;
  result.revision = revision_;
  auto found = keys_.find(key);
  if (found == keys_.end()) return result;
  const Version* version = versionAt(found->second, revision == 0 ? revision_ : revision);
  if (version != nullptr) {
    result.kv = KeyValue{key, version->value, version->createRevision, version->modRevision, version->version};
  }
  return result;
}

Result<RangeResult> MvccIndex::range(const RangeQuery& query) const {
  TRY(checkReadable(query.revision));
  RangeResult result;
  result.revision = revision_;
  int64_t at = query.revision == 0 ? revision_ : query.revision;
  for (auto it = keys_.lower_bound(query.range.begin); it != keys_.end() && query.range.contains(it->first); ++it) {
    const Version* version = versionAt(it->second, at);
    if (version == nullptr) continue;
    ++result.count;
    if (query.countOnly) continue;
    if (query.limit != 0 && result.kvs.size() >= query.limit) {
      result.more = true;
      continue;
    }
    result.kvs.push_back(
        {it->first, query.keysOnly ? nullptr : version->value, version->createRevision, version->modRevision, version->version});
  }
  return result;
}

const Event& MvccIndex::event(int64_t revision) const {
  ASSERT(revision >= historyFirst_ && revision <= revision_);
  return history_[static_cast<size_t>(revision - historyFirst_)];
}

Result<void> MvccIndex::compact(int64_t revision) {
  if (revision > revision_) {
    return fail(Reason::Invalid, fmt::format("required revision {} is a future revision, the newest is {}", revision, revision_));
  }
  if (revision <= compactRevision_) return std::unexpected(compactedError(compactRevision_));
  compactRevision_ = revision;
  return {};
}

void MvccIndex::forget(const std::string& key, int64_t modRevision, std::vector<int64_t>& removed) {
  auto found = keys_.find(key);
  if (found == keys_.end()) return;
  Versions& versions = found->second;
  for (auto it = versions.begin(); it != versions.end() && it->modRevision <= modRevision; ++it) {
    if (it->modRevision != modRevision) continue;
    removed.push_back(modRevision);
    versions.erase(it);
    break;
  }
  if (versions.empty()) keys_.erase(found);
}

// The event of the compact revision itself stays in the history (a watch may start there), and so
// does its tombstone; what it replaced goes.
std::vector<int64_t> MvccIndex::cleanStep(size_t eventsMax) {
  std::vector<int64_t> removed;
  for (size_t i = 0; i < eventsMax && needsCleaning(); ++i) {
    if (history_.empty()) {
      cleanedRevision_ = compactRevision_;
      break;
    }
    const Event& event = history_.front();
    int64_t revision = historyFirst_;
    if (event.previous && revision > cleanedRevision_) {
      usage_.historyBytes -= sizeOf(event.previous->value);
      forget(event.kv.key, event.previous->modRevision, removed);
    }
    if (revision == compactRevision_) {
      cleanedRevision_ = revision;
      break;
    }
    if (event.type == Event::Delete) forget(event.kv.key, revision, removed);
    cleanedRevision_ = revision;
    usage_.historyBytes -= kEventOverheadBytes;
    history_.pop_front();
    ++historyFirst_;
  }
  return removed;
}

int64_t MvccIndex::middleOfHistory() const { return historyFirst_ + static_cast<int64_t>(history_.size() / 2); }

}  // namespace knarr::store
