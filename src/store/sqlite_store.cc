// The embedded engine: a table of revisions in SQLite. One connection, used by one pool thread at a
// time.
//
//   meta(name TEXT PRIMARY KEY, value INTEGER)      compactRevision
//   revisions(rev INTEGER PRIMARY KEY, key BLOB, createRev INTEGER, version INTEGER, value BLOB,
//   expires INTEGER)
//                                                   value NULL: the key was deleted at rev; expires
//                                                   NULL: never
// Source of the settings: https://www.sqlite.org/wal.html, pragma.html (locking_mode, synchronous).
#include <fmt/format.h>
#include <sqlite3.h>

#include "base/log.h"
#include "store/group_commit_store.h"

namespace knarr::store {
namespace {

constexpr int kApplicationId = 0x4b4e4152;  // "KNAR"
constexpr int kSchemaVersion = 1;
constexpr int kPageBytes = 1024;
// A page in the log comes with a header. Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
constexpr int kLogPageBytes = kPageBytes + 24;
// The allocation unit of usual file systems.
constexpr int64_t kBlockBytes = 4096;

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// The error of the last call, with what the reader of the log can do about it.
Error sqliteError(sqlite3* database, const std::string& path, std::string_view what) {
  int code = sqlite3_errcode(database) & 0xff;
  std::string cause = sqlite3_errmsg(database);
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) {
    return Error(Reason::Conflict, fmt::format("store file {} is held by another process: stop that one, or "
                                               "choose another data directory",
                                               path));
  }
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
    return Error(Reason::InternalError,
                 fmt::format("store file {} is damaged ({}: {}): restore it from a backup, or move it away to "
                             "start with an empty cluster",
                             path, what, cause));
  }
  if (code == SQLITE_FULL) {
    return Error(Reason::InternalError,
                 fmt::format("no space left on the disk of store file {}: the write did not happen", path));
  }
  return Error(Reason::InternalError, fmt::format("store file {}: {}: {}", path, what, cause));
}

class SqliteLog {
 public:
  static Result<std::unique_ptr<SqliteLog>> open(std::string path, const StoreOptions& options);

  Result<void> load(MvccIndex& index, std::vector<Record>& expiring);
  Result<void> write(const Batch& batch);
  bool poisoned() const { return poisoned_; }

 private:
  explicit SqliteLog(std::string path) : path_(std::move(path)) {}
  Result<void> execute(const char* sql);
  Result<int64_t> queryInt(const char* sql);
  Result<std::string> queryText(const char* sql);
  Result<Statement> prepare(const char* sql);
  Result<void> step(sqlite3_stmt* statement, std::string_view what);
  Result<void> prepareFile(int logPagesMax);
  void reserveLog(int64_t bytes);
  Result<void> writeRows(const Batch& batch);
  Error error(std::string_view what) { return sqliteError(database_.get(), path_, what); }

  std::string path_;
  Database database_;
  Statement begin_, commit_, insert_, remove_, setCompact_;
  bool poisoned_ = false;
};

Result<void> SqliteLog::execute(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    return std::unexpected(error(sql));
  }
  return {};
}

Result<Statement> SqliteLog::prepare(const char* sql) {
  sqlite3_stmt* raw = nullptr;
  int code = sqlite3_prepare_v3(database_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error(sql));
  return Statement(raw);
}

Result<int64_t> SqliteLog::queryInt(const char* sql) {
  Statement statement = TRY(prepare(sql));
  int code = sqlite3_step(statement.get());
  if (code == SQLITE_DONE) return 0;
  if (code != SQLITE_ROW) return std::unexpected(error(sql));
  return sqlite3_column_int64(statement.get(), 0);
}

Result<std::string> SqliteLog::queryText(const char* sql) {
  Statement statement = TRY(prepare(sql));
  if (sqlite3_step(statement.get()) != SQLITE_ROW) return std::unexpected(error(sql));
  const unsigned char* text = sqlite3_column_text(statement.get(), 0);
  return std::string(text ? reinterpret_cast<const char*>(text) : "");
}

Result<void> SqliteLog::step(sqlite3_stmt* statement, std::string_view what) {
  int code = sqlite3_step(statement);
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement);
    return {};
  }
  Error failure = error(what);
  sqlite3_reset(statement);
  return std::unexpected(std::move(failure));
}

Result<std::unique_ptr<SqliteLog>> SqliteLog::open(std::string path, const StoreOptions& options) {
  std::unique_ptr<SqliteLog> log(new SqliteLog(std::move(path)));
  sqlite3* raw = nullptr;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  int code = sqlite3_open_v2(log->path_.c_str(), &raw, flags, options.sqliteVfs.empty() ? nullptr : options.sqliteVfs.c_str());
  log->database_.reset(raw);
  if (code != SQLITE_OK) return std::unexpected(log->error("open"));
  TRY(log->prepareFile(options.sqliteLogPagesMax));
  return log;
}

// Exclusive locking keeps a second process out, and the WAL's index in our memory instead of a
// shared file.
Result<void> SqliteLog::prepareFile(int logPagesMax) {
  // A write of an idle cluster is one small row. With small pages it costs the disk a quarter of what SQLite's usual 4 KiB
  // cost, and many writers are no slower for it (bench/store_bench.cc). Only a new file heeds it.
  TRY(execute(fmt::format("PRAGMA page_size={}", kPageBytes).c_str()));
  TRY(execute("PRAGMA locking_mode=EXCLUSIVE"));
  if (TRY(queryText("PRAGMA journal_mode=WAL")) != "wal") {
    return fail(Reason::InternalError,
                fmt::format("store file {}: its file system does not support SQLite's write-ahead log", path_));
  }
  TRY(execute("PRAGMA synchronous=FULL"));
  TRY(execute("PRAGMA cache_size=-16384"));
  TRY(execute(fmt::format("PRAGMA wal_autocheckpoint={}", logPagesMax).c_str()));
  int64_t application = TRY(queryInt("PRAGMA application_id"));
  int64_t tables = TRY(queryInt("SELECT count(*) FROM sqlite_master"));
  if (application != kApplicationId && (application != 0 || tables != 0)) {
    return fail(Reason::InternalError,
                fmt::format("{} is a SQLite database of another program: choose another store file", path_));
  }
  int64_t version = TRY(queryInt("PRAGMA user_version"));
  if (version > kSchemaVersion) {
    return fail(Reason::InternalError,
                fmt::format("store file {} has format {}, this program knows up to {}: use a newer program", path_, version,
                            kSchemaVersion));
  }
  if (std::string check = TRY(queryText("PRAGMA quick_check(1)")); check != "ok") {
    return fail(Reason::InternalError,
                fmt::format("store file {} is damaged ({}): restore it from a backup, or move it away to start "
                            "with an empty cluster",
                            path_, check));
  }
  if (version == 0) {
    TRY(execute(fmt::format("BEGIN IMMEDIATE; PRAGMA application_id={}; PRAGMA user_version={};"
                            "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
                            "CREATE TABLE revisions(rev INTEGER PRIMARY KEY, key BLOB NOT NULL, createRev INTEGER "
                            "NOT NULL,"
                            " version INTEGER NOT NULL, value BLOB, expires INTEGER); COMMIT",
                            kApplicationId, kSchemaVersion)
                    .c_str()));
  }
  begin_ = TRY(prepare("BEGIN IMMEDIATE"));
  commit_ = TRY(prepare("COMMIT"));
  insert_ = TRY(prepare("INSERT INTO revisions VALUES(?,?,?,?,?,?)"));
  remove_ = TRY(prepare("DELETE FROM revisions WHERE rev=?"));
  setCompact_ = TRY(prepare("INSERT OR REPLACE INTO meta VALUES('compactRevision',?)"));
  reserveLog(int64_t{logPagesMax} * kLogPageBytes);
  return {};
}

// Gives the log its room on the disk at once, by a byte in every block. A write into blocks that are there changes no size and
// no map of free blocks, so a sync has less to write. Without success (a full disk) the log grows as it is used.
// A clean close still removes the log: one that stays would be replayed over a backup that somebody puts in the file's place.
void SqliteLog::reserveLog(int64_t bytes) {
  sqlite3_file* log = nullptr;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&log));
  if (log == nullptr || log->pMethods == nullptr) return;
  sqlite3_int64 size = 0;
  if (log->pMethods->xFileSize(log, &size) != SQLITE_OK) return;
  for (int64_t end = (size / kBlockBytes + 1) * kBlockBytes; end <= bytes; end += kBlockBytes)
    if (log->pMethods->xWrite(log, "", 1, end - 1) != SQLITE_OK) return;
}

Result<void> SqliteLog::load(MvccIndex& index, std::vector<Record>& expiring) {
  index.restoreCompactRevision(TRY(queryInt("SELECT value FROM meta WHERE name='compactRevision'")));
  Statement rows = TRY(prepare("SELECT rev, key, createRev, version, value, expires FROM revisions ORDER BY rev"));
  while (true) {
    int code = sqlite3_step(rows.get());
    if (code == SQLITE_DONE) break;
    if (code != SQLITE_ROW) return std::unexpected(error("read revisions"));
    auto blob = [&](int column) {
      const void* bytes = sqlite3_column_blob(rows.get(), column);
      auto size = static_cast<size_t>(sqlite3_column_bytes(rows.get(), column));
      return std::string(static_cast<const char*>(bytes), bytes == nullptr ? 0 : size);
    };
    Record record;
    record.revision = sqlite3_column_int64(rows.get(), 0);
    record.key = blob(1);
    record.createRevision = sqlite3_column_int64(rows.get(), 2);
    record.version = sqlite3_column_int64(rows.get(), 3);
    if (sqlite3_column_type(rows.get(), 4) != SQLITE_NULL) {
      record.value = std::make_shared<const std::string>(blob(4));
    }
    record.expiresUnixNanos = sqlite3_column_int64(rows.get(), 5);
    if (Result<void> restored = index.restore(record); !restored) {
      return fail(Reason::InternalError,
                  fmt::format("store file {} is damaged ({}): restore it from a backup, or move it away to start "
                              "with an empty cluster",
                              path_, restored.error().message()));
    }
    if (record.expiresUnixNanos != 0) {
      record.value.reset();
      expiring.push_back(std::move(record));
    }
  }
  return {};
}

Result<void> SqliteLog::writeRows(const Batch& batch) {
  for (const Record& record : batch.records) {
    sqlite3_bind_int64(insert_.get(), 1, record.revision);
    sqlite3_bind_blob64(insert_.get(), 2, record.key.data(), record.key.size(), SQLITE_STATIC);
    sqlite3_bind_int64(insert_.get(), 3, record.createRevision);
    sqlite3_bind_int64(insert_.get(), 4, record.version);
    if (!record.value) {
      sqlite3_bind_null(insert_.get(), 5);
    } else if (record.value->empty()) {
      sqlite3_bind_zeroblob(insert_.get(), 5, 0);  // a null pointer would bind NULL
    } else {
      sqlite3_bind_blob64(insert_.get(), 5, record.value->data(), record.value->size(), SQLITE_STATIC);
    }
    if (record.expiresUnixNanos == 0) {
      sqlite3_bind_null(insert_.get(), 6);
    } else {
      sqlite3_bind_int64(insert_.get(), 6, record.expiresUnixNanos);
    }
    TRY(step(insert_.get(), "write a revision"));
  }
  for (int64_t revision : batch.removedRevisions) {
    sqlite3_bind_int64(remove_.get(), 1, revision);
    TRY(step(remove_.get(), "remove a revision"));
  }
  if (batch.compactRevision != 0) {
    sqlite3_bind_int64(setCompact_.get(), 1, batch.compactRevision);
    TRY(step(setCompact_.get(), "write the compact revision"));
  }
  return {};
}

Result<void> SqliteLog::write(const Batch& batch) {
  Result<void> done = step(begin_.get(), "begin");
  if (done) done = writeRows(batch);
  if (done) {
    done = step(commit_.get(), "commit");
    // After a failed sync the pages may or may not be on the disk. Source: PostgreSQL's fsync
    // findings of 2018.
    if (!done && (sqlite3_errcode(database_.get()) & 0xff) != SQLITE_FULL) {
      poisoned_ = true;
      done.error().withContext("it is not known whether the last writes are on the disk");
    }
  }
  if (!done && sqlite3_get_autocommit(database_.get()) == 0) {
    sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  return done;
}

class SqliteDurability : public Durability {
 public:
  SqliteDurability(env::Env environment, std::shared_ptr<SqliteLog> log) : env_(environment), log_(std::move(log)) {}

  async::Task<Result<void>> persist(std::shared_ptr<const Batch> batch) override {
    std::shared_ptr<SqliteLog> log = log_;
    std::move_only_function<Result<void>()> work = [log, batch] { return log->write(*batch); };
    Result<void> done = co_await async::runBlocking<Result<void>>(env_.executor, std::move(work));
    poisoned_ = log->poisoned();
    if (!done) logError("store", "{}", done.error().describe());
    co_return done;
  }
  bool poisoned() const override { return poisoned_; }
  // Closing checkpoints the write-ahead log into the file.
  async::Task<void> close() override {
    std::shared_ptr<SqliteLog> log = std::move(log_);
    std::move_only_function<bool()> work = [log = std::move(log)]() mutable {
      log.reset();
      return true;
    };
    co_await async::runBlocking<bool>(env_.executor, std::move(work));
  }

 private:
  env::Env env_;
  std::shared_ptr<SqliteLog> log_;
  bool poisoned_ = false;
};

}  // namespace

Result<std::unique_ptr<Store>> openSqliteStore(env::Env environment, std::string path, StoreOptions options) {
  std::shared_ptr<SqliteLog> log = TRY(SqliteLog::open(path, options));
  MvccIndex index;
  std::vector<Record> expiring;
  TRY(log->load(index, expiring));
  // A later write replaced the time to live of some.
  std::erase_if(expiring, [&](const Record& record) {
    std::optional<KeyValue> current = index.latest(record.key);
    return !current || current->modRevision != record.revision;
  });
  auto durability = std::make_unique<SqliteDurability>(environment, std::move(log));
  auto store = std::make_unique<GroupCommitStore>(environment, options, std::move(index), std::move(durability));
  for (const Record& record : expiring) store->restoreExpiry(record);
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace knarr::store
