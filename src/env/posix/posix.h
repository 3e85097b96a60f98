// The real world: one epoll loop, kernel sockets, files and processes, and a small thread pool for
// blocking work.
//
// One PosixEnv is one event loop. Build it, give env() to the rooms, call run() on the thread that
// owns the loop. Everything reachable from env() is called on that thread, except
// Executor::postFromThread and stop().
#pragma once

#include <functional>
#include <memory>

#include "env/env.h"

namespace knarr::env {

class PosixEnv {
 public:
  virtual ~PosixEnv() = default;
  // Borrowed parts; valid as long as this PosixEnv.
  virtual Env env() = 0;
  // Runs callbacks until stop(). May be called again after it returned.
  virtual void run() = 0;
  // From any thread and from signal handlers. A stop before run makes that run return at once.
  virtual void stop() = 0;
  // Runs `callback` on the loop each time the process receives `signalNumber`, which is blocked in
  // the calling thread from now on (call it before other threads start). Children get default
  // signals.
  virtual void onSignal(int signalNumber, std::function<void()> callback) = 0;
};

// Ignores SIGPIPE for the whole process and gives the logger a clock.
std::unique_ptr<PosixEnv> makePosixEnv();

// Lets go of the pages of program files and libraries that a process (or we ourselves) has in memory: most of them were needed
// for starting only, and the kernel reads back what is used again. Needs the rights to trace the process; an error changes
// nothing. Source: process_madvise(2), MADV_PAGEOUT.
Result<void> releaseFilePages(int processId);

}  // namespace knarr::env
