#include "env/sim/sim_processes.h"

#include <csignal>

namespace knarr::env::sim {

class SimProcesses::Child final : public SimProcess {
 public:
  Child(SimProcesses* owner, int id, ProcessSpec spec, std::move_only_function<void(ProcessExit)> exited)
      : owner_(owner), id_(id), spec_(std::move(spec)), exited_(std::move(exited)) {}
  int id() const override { return id_; }
  const ProcessSpec& spec() const override { return spec_; }
  bool running() const override { return owner_ != nullptr; }
  void onSignal(std::function<void(int)> handler) override { signalHandler_ = std::move(handler); }
  void exit(ProcessExit result) override {
    if (!owner_) return;
    SimProcesses* owner = std::exchange(owner_, nullptr);
    result.standardOutput.resize(std::min(result.standardOutput.size(), spec_.captureBytesMax));
    result.standardError.resize(std::min(result.standardError.size(), spec_.captureBytesMax));
    owner->executor_.post([exited = std::move(exited_), result = std::move(result)]() mutable { exited(std::move(result)); });
    owner->running_.erase(id_);  // may destroy this
  }
  void vanish() {
    owner_ = nullptr;
    exited_ = nullptr;
  }
  void signal(int number) {
    if (number == 0) return;
    if (number != SIGKILL && signalHandler_) {
      auto handler = signalHandler_;
      return handler(number);
    }
    ProcessExit result;
    result.exitCode = 128 + number;
    exit(std::move(result));
  }

 private:
  SimProcesses* owner_;  // null once it ended
  int id_;
  ProcessSpec spec_;
  std::move_only_function<void(ProcessExit)> exited_;
  std::function<void(int)> signalHandler_;
};

Result<int> SimProcesses::spawn(ProcessSpec spec, std::move_only_function<void(ProcessExit)> exited) {
  if (spec.argv.empty()) return fail(Reason::Invalid, "start a process: argv is empty; argv[0] is the program's path");
  if (!handler_) return fail(Reason::NotFound, "start " + spec.argv[0] + ": this simulated host has no programs");
  int id = ++lastId_;
  auto child = std::make_shared<Child>(this, id, std::move(spec), std::move(exited));
  running_[id] = child;
  if (auto started = handler_(child); !started) {
    child->vanish();
    running_.erase(id);
    return std::unexpected(started.error());
  }
  return id;
}

Result<void> SimProcesses::kill(int processId, int signalNumber) {
  auto found = running_.find(processId < 0 ? -processId : processId);
  if (found == running_.end()) return fail(Reason::NotFound, "kill process " + std::to_string(processId) + ": it does not exist");
  std::shared_ptr<Child> child = found->second;
  child->signal(signalNumber);
  return {};
}

void SimProcesses::crash() {
  auto running = std::move(running_);
  running_.clear();
  for (auto& [id, child] : running) child->vanish();
}

}  // namespace knarr::env::sim
