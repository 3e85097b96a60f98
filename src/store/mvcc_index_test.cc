#include "store/mvcc_index.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace knarr::store {
namespace {

Value bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

TEST(PrefixRange, endsAfterTheLastKeyOfThePrefix) {
  EXPECT_EQ(prefixRange("/a/").end, "/a0");
  EXPECT_EQ(prefixRange("a\xff").end, "b");
  EXPECT_TRUE(prefixRange("").contains("\xfe"));
  EXPECT_FALSE(prefixRange("/a/").contains("/a"));
}

// Against a model that keeps a whole map per revision.
TEST(MvccIndex, readsAsAModelDoesAtEveryRevision) {
  std::mt19937 random(1);  // fixed seed: the test is the same each time
  using State = std::map<std::string, std::string>;
  std::map<int64_t, State> states{{1, {}}};
  std::vector<Record> disk;
  MvccIndex index;
  for (int64_t revision = 2; revision < 600; ++revision) {
    std::string key(1, static_cast<char>('a' + random() % 8));
    State state = states[revision - 1];
    std::optional<KeyValue> old = index.latest(key);
    Record record{revision, key, 0, 0, nullptr, 0};
    if (!old || random() % 3 != 0) {
      record.value = bytes(std::to_string(revision));
      record.createRevision = old ? old->createRevision : revision;
      record.version = old ? old->version + 1 : 1;
      state[key] = *record.value;
    } else {
      state.erase(key);
    }
    states[revision] = state;
    index.apply(record);
    disk.push_back(record);
    if (random() % 50 == 0 && revision > index.compactRevision() + 3) {
      ASSERT_TRUE(index.compact(revision - 3));
      // Half of the cleaning stays undone, as after a crash.
      std::vector<int64_t> removed = index.cleanStep(5);
      std::erase_if(disk,
                    [&](const Record& r) { return std::find(removed.begin(), removed.end(), r.revision) != removed.end(); });
    }
  }
  MvccIndex reopened;
  reopened.restoreCompactRevision(index.compactRevision());
  for (const Record& record : disk) ASSERT_TRUE(reopened.restore(record));
  while (index.needsCleaning()) index.cleanStep(7);
  for (const MvccIndex* each : std::initializer_list<const MvccIndex*>{&index, &reopened}) {
    ASSERT_EQ(each->revision(), 599);
    for (int64_t revision = each->compactRevision(); revision <= each->revision(); ++revision) {
      RangeResult all = each->range({prefixRange(""), revision}).value();
      State got;
      for (const KeyValue& kv : all.kvs) got[kv.key] = *kv.value;
      EXPECT_EQ(got, states[revision]) << "at revision " << revision;
    }
    EXPECT_TRUE(isCompacted(each->get("a", each->compactRevision() - 1).error()));
    EXPECT_EQ(each->usage().keys, static_cast<int64_t>(states[599].size()));
    for (int64_t revision = each->compactRevision(); revision <= each->revision(); ++revision) {
      EXPECT_EQ(each->event(revision).revision(), revision);
    }
  }
  EXPECT_EQ(index.usage().liveBytes, reopened.usage().liveBytes);
  EXPECT_FALSE(reopened.takeRestoredGarbage().empty());
}

TEST(MvccIndex, aMissingRecordIsFoundWhenRebuilding) {
  MvccIndex index;
  ASSERT_TRUE(index.restore({2, "a", 2, 1, bytes("1"), 0}));
  EXPECT_FALSE(index.restore({4, "b", 4, 1, bytes("1"), 0}));
  MvccIndex compacted;
  compacted.restoreCompactRevision(5);
  EXPECT_TRUE(compacted.restore({2, "a", 2, 1, bytes("1"), 0}));
  EXPECT_TRUE(compacted.restore({5, "b", 5, 1, bytes("1"), 0}));
  EXPECT_FALSE(compacted.restore({7, "c", 7, 1, bytes("1"), 0}));
}

}  // namespace
}  // namespace knarr::store
