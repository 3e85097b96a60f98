// Scripted child processes.
#pragma once

#include <map>

#include "env/env.h"
#include "env/sim/sim.h"

namespace knarr::env::sim {

class SimProcesses final : public Processes {
 public:
  SimProcesses(Executor& executor, int& lastId) : executor_(executor), lastId_(lastId) {}
  SimProcesses(const SimProcesses&) = delete;
  ~SimProcesses() override { crash(); }
  Result<int> spawn(ProcessSpec spec, std::move_only_function<void(ProcessExit)> exited) override;
  Result<void> kill(int processId, int signalNumber) override;
  bool alive(int processId) override { return running_.contains(processId); }

  void setHandler(SimProcessHandler handler) { handler_ = std::move(handler); }
  void crash();

 private:
  class Child;
  Executor& executor_;
  int& lastId_;  // shared by the hosts: a process id names one process of the world
  SimProcessHandler handler_;
  std::map<int, std::shared_ptr<Child>> running_;
};

}  // namespace knarr::env::sim
