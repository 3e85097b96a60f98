// Child processes on the loop: started with clone, awaited through a pidfd.
#pragma once

#include <map>

#include "env/env.h"
#include "env/posix/loop.h"

namespace knarr::env::posix {

class PosixProcesses final : public Processes {
 public:
  explicit PosixProcesses(Loop& loop) : loop_(loop) {}
  PosixProcesses(const PosixProcesses&) = delete;
  // Children go on living; their ends are no longer reported.
  ~PosixProcesses() override;
  Result<int> spawn(ProcessSpec spec, std::move_only_function<void(ProcessExit)> exited) override;
  Result<void> kill(int processId, int signalNumber) override;
  bool alive(int processId) override;

 private:
  struct Child;
  void onExit(int processId);
  void feed(Child& child);
  static void collect(Child& child, bool error);
  void endWatches(Child& child);

  Loop& loop_;
  std::map<int, std::shared_ptr<Child>> children_;
};

}  // namespace knarr::env::posix
