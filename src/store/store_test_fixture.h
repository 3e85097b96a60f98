// What the store's tests share: an environment that runs one task to its end, and the two engines
// by name.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "async/async.h"
#include "env/posix/posix.h"
#include "env/sim/sim.h"
#include "store/store.h"

namespace knarr::store {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/knarr-store-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryDirectory() {
    for (const char* file : {"/store.db", "/store.db-wal", "/store.db-shm"}) {
      unlink((path_ + file).c_str());
    }
    rmdir(path_.c_str());
  }
  std::string file() const { return path_ + "/store.db"; }

 private:
  std::string path_;
};

// Runs one task in the simulated world: time passes at once, and files of the SQLite engine are real.
class Loop {
 public:
  Loop() : sim_(1) {}
  env::Env env() { return sim_.env(); }
  void run(async::Task<void> task) {
    async::Gate gate(env().executor);
    bool done = false;
    gate.spawn(finish(std::move(task), &done));
    EXPECT_TRUE(sim_.runUntil([&] { return done; }, std::chrono::hours(24))) << "the task never ends";
  }

 private:
  static async::Task<void> finish(async::Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  env::SimEnv sim_;
};

// The same in the real world, for what only real threads and processes show.
class RealLoop {
 public:
  RealLoop() : posix_(env::makePosixEnv()) {}
  env::Env env() { return posix_->env(); }
  void run(async::Task<void> task) {
    async::Gate gate(env().executor);
    gate.spawn(stopAfter(posix_.get(), std::move(task)));
    posix_->run();
  }

 private:
  static async::Task<void> stopAfter(env::PosixEnv* posix, async::Task<void> task) {
    co_await std::move(task);
    posix->stop();
  }
  std::unique_ptr<env::PosixEnv> posix_;
};

inline Value bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

}  // namespace knarr::store
