// Lists and watches over HTTPS: revisions and how they match, pages, compaction, bookmarks, tables.
#include <fmt/format.h>

#include "apiserver/compactor.h"
#include "apiserver/http_fixture.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using async::Task;

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const wire::Headers kTable{{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}};

class HttpReadTest : public HttpFixture {
 protected:
  std::string make(const std::string& name) {
    auto made = post(kMaps, fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name));
    EXPECT_EQ(made.status, 201) << made.body;
    return field(made, "metadata.resourceVersion");
  }
  // The names of a list, "a b c".
  static std::string names(const HttpAnswer& list) {
    std::string out;
    for (int i = 0;; ++i) {
      std::string name = field(list, fmt::format("items.{}.metadata.name", i));
      if (name.empty()) return out;
      out += (out.empty() ? "" : " ") + name;
    }
  }
  static Task<void> compactTo(store::Store* store, int64_t revision) {
    auto done = co_await store->compact(revision);
    EXPECT_TRUE(done) << (done ? "" : done.error().describe());
  }
};

// The table of behaviour/api-machinery.md, section 8, on three objects of which the third is newer than N.
TEST_F(HttpReadTest, revisionsAndHowTheyMatch) {
  make("a");
  std::string n = make("b");
  std::string newest = make("c");
  struct Row {
    std::string query, names, revision;  // revision "": any
    bool more;
  };
  for (const Row& row : {
           Row{"", "a b c", newest, false},
           Row{"?limit=2", "a b", newest, true},
           Row{"?resourceVersion=0", "a b c", "", false},
           Row{"?resourceVersion=0&limit=2", "a b c", "", false},
           Row{"?resourceVersion=" + n, "a b c", newest, false},
           Row{"?limit=1&resourceVersion=" + n, "a", n, true},
           Row{"?limit=9&resourceVersion=" + n, "a b", n, false},
           Row{"?resourceVersionMatch=NotOlderThan&limit=2&resourceVersion=0", "a b c", "", false},
           Row{"?resourceVersionMatch=NotOlderThan&limit=2&resourceVersion=" + n, "a b", newest, true},
           Row{"?resourceVersionMatch=Exact&resourceVersion=" + n, "a b", n, false},
           Row{"?resourceVersionMatch=Exact&limit=1&resourceVersion=" + n, "a", n, true},
           Row{"?limit=-3", "a b c", newest, false},
       }) {
    SCOPED_TRACE(row.query);
    auto list = get(kMaps + row.query);
    EXPECT_EQ(names(list), row.names) << list.body;
    if (!row.revision.empty()) EXPECT_EQ(field(list, "metadata.resourceVersion"), row.revision);
    EXPECT_EQ(!field(list, "metadata.continue").empty(), row.more);
    EXPECT_EQ(!field(list, "metadata.remainingItemCount").empty(), row.more);
  }
  // With a selector nobody counts what is left.
  auto selected = get(kMaps + "?limit=1&fieldSelector=metadata.name!%3Db");
  EXPECT_EQ(names(selected), "a");
  EXPECT_EQ(field(selected, "metadata.remainingItemCount"), "");
  EXPECT_NE(field(selected, "metadata.continue"), "");
  expectStatus(get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=999999"), 504, "Timeout",
               fmt::format("Timeout: Too large resource version: 999999, current: {}", newest));
}

TEST_F(HttpReadTest, pagesAfterACompaction) {
  for (const char* name : {"a", "b", "c", "d"}) make(name);
  auto first = get(kMaps + "?limit=2");
  std::string token = field(first, "metadata.continue");
  std::string old = field(first, "metadata.resourceVersion");
  EXPECT_EQ(ask("admin", "DELETE", kMaps + "/c").status, 200);
  std::string newest = make("e");
  run(compactTo(store_.get(), *parseInt(newest)));
  auto gone = get(kMaps + "?limit=2&continue=" + token);
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(field(gone, "reason"), "Expired");
  EXPECT_TRUE(field(gone, "message")
                  .starts_with("The provided continue parameter is too old to display a consistent list result. "
                               "You can start a new list without the continue parameter, or use the continue token"))
      << gone.body;
  auto rest = get(kMaps + "?limit=2&continue=" + field(gone, "metadata.continue"));
  EXPECT_EQ(names(rest), "d e") << rest.body;
  expectStatus(get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=" + old), 410, "Expired",
               "The resourceVersion for the provided list is too old.");
}

TEST_F(HttpReadTest, theServerCompacts) {
  std::string old = make("a");
  for (int i = 0; i < kCompactionRevisionsMin; ++i)
    EXPECT_EQ(patch(kMaps + "/a", "merge-patch+json", fmt::format(R"({{"data":{{"n":"{}"}}}})", i)).status, 200);
  EXPECT_EQ(names(get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=" + old)), "a");
  sim_.runFor(std::chrono::minutes(5));
  EXPECT_EQ(names(get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=" + old)), "a") << "forgotten too early";
  sim_.runFor(std::chrono::minutes(6));
  expectStatus(get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=" + old), 410, "Expired",
               "The resourceVersion for the provided list is too old.");
  EXPECT_EQ(names(get(kMaps)), "a");
}

TEST_F(HttpReadTest, theNextServerCompactsAsSoon) {
  auto fill = [&] {
    std::string old = make("a");
    for (int i = 0; i < kCompactionRevisionsMin; ++i)
      EXPECT_EQ(patch(kMaps + "/a", "merge-patch+json", fmt::format(R"({{"data":{{"n":"{}"}}}})", i)).status, 200);
    return old;
  };
  fill();
  sim_.runFor(std::chrono::minutes(11));
  restart();
  EXPECT_EQ(ask("admin", "DELETE", kMaps + "/a").status, 200);
  std::string old = fill();
  sim_.runFor(std::chrono::minutes(11));
  expectStatus(get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=" + old), 410, "Expired",
               "The resourceVersion for the provided list is too old.");
}

TEST(Compaction, decides) {
  CompactionState state;
  EXPECT_EQ(decideCompaction(state, 500), 0) << "nothing was seen an interval ago";
  EXPECT_EQ(decideCompaction(state, 900), 500);
  state.compactedRevision = 500;
  EXPECT_EQ(decideCompaction(state, 901), 900);
  state.compactedRevision = 900;
  for (int i = 0; i < kCompactionIdleIntervals - 1; ++i) EXPECT_EQ(decideCompaction(state, 902 + i), 0) << i;
  EXPECT_EQ(decideCompaction(state, 950), 902 + kCompactionIdleIntervals - 2) << "now and then, however little there is";
  state.compactedRevision = state.previousRevision;
  EXPECT_EQ(decideCompaction(state, 950), 0);
}

TEST_F(HttpReadTest, bookmarksAndTheEndOfAWatch) {
  std::string from = make("a");
  std::string newest = make("b");
  auto ended = get(kMaps + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=30&resourceVersion=" + from);
  auto lines = split(ended.body, '\n');
  ASSERT_EQ(lines.size(), 3u) << ended.body;
  EXPECT_TRUE(lines[0].starts_with(R"({"type":"ADDED")"));
  EXPECT_EQ(
      lines[1],
      fmt::format(
          R"({{"type":"BOOKMARK","object":{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"resourceVersion":"{}"}}}}}})",
          newest));
  auto minutes = get(kMaps + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=150&resourceVersion=" + from);
  EXPECT_EQ(split(minutes.body, '\n').size(), 5u) << "a minute, two, and before the end\n" << minutes.body;
  auto still = get(kMaps + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion=" + newest);
  EXPECT_EQ(still.body, "") << "no progress, no bookmark";
}

TEST_F(HttpReadTest, whereWatchesBegin) {
  make("a");
  std::string n = field(get(kMaps), "metadata.resourceVersion");
  auto types = [&](const std::string& query) {
    auto answer = get(kMaps + "?watch=1&timeoutSeconds=5&" + query);
    EXPECT_EQ(answer.status, 200) << answer.body;
    std::string out;
    for (std::string_view line : split(answer.body, '\n'))
      if (line.size() > 10) out += line.substr(9, 1);
    return out;
  };
  EXPECT_EQ(types(""), "A");
  EXPECT_EQ(types("resourceVersion=0"), "A");
  EXPECT_EQ(types("resourceVersion=" + n), "");
  EXPECT_EQ(types("sendInitialEvents=false&resourceVersionMatch=NotOlderThan"), "");
  EXPECT_EQ(types("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=" + n), "A");
  EXPECT_EQ(types("allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"), "AB");
  // A state that does not come is an event of the stream.
  auto late = get(kMaps + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=999999");
  EXPECT_EQ(late.status, 200);
  EXPECT_EQ(field(late, "type"), "ERROR");
  EXPECT_EQ(field(late, "object.code"), "504") << late.body;
  // The old spelling.
  auto legacy = get("/api/v1/watch/namespaces/default/configmaps?timeoutSeconds=5");
  EXPECT_EQ(field(legacy, "type"), "ADDED") << legacy.status << legacy.body;
}

TEST_F(HttpReadTest, tablesInPagesAndInWatches) {
  std::string from = make("a");
  for (const char* name : {"b", "c"}) make(name);
  auto first = get(kMaps + "?limit=2", kTable);
  EXPECT_EQ(field(first, "rows.1.cells.0"), "b");
  EXPECT_EQ(field(first, "metadata.remainingItemCount"), "1");
  auto second = get(kMaps + "?limit=2&continue=" + field(first, "metadata.continue"), kTable);
  EXPECT_EQ(field(second, "rows.0.cells.0"), "c") << second.body;
  EXPECT_EQ(field(second, "metadata.continue"), "");
  EXPECT_EQ(field(second, "metadata.resourceVersion"), field(first, "metadata.resourceVersion"));
  auto events = get(kMaps + "?watch=1&timeoutSeconds=5&includeObject=Object&resourceVersion=" + from, kTable);
  auto lines = split(events.body, '\n');
  ASSERT_EQ(lines.size(), 3u) << events.body;
  EXPECT_NE(lines[0].find(R"("columnDefinitions":[{"name":"Name")"), std::string_view::npos) << lines[0];
  EXPECT_NE(lines[0].find(R"("object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"b")"), std::string_view::npos);
  EXPECT_NE(lines[1].find(R"("columnDefinitions":null)"), std::string_view::npos) << "only the first table has headers";
}

}  // namespace
}  // namespace knarr::apiserver
