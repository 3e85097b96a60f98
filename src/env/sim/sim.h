// The simulated world: one thread, a virtual clock, and a seed that decides everything that the
// real world leaves open.
//
// A run is a function of (binary, seed, what the test does). Time passes only when nothing is ready
// to run. Hosts share the clock, the loop and the network; each has its own addresses, files and
// processes, and may crash. traceHash() covers every scheduling decision: two runs with one seed
// must agree.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "env/env.h"

namespace knarr::env {

// What goes wrong, and how often. Probabilities are from 0 to 1 per occasion. Change them at any
// time.
struct SimFaults {
  // One-way delay of each piece of a stream, of a connect and of a datagram; uniform between both.
  Duration networkDelayMin = std::chrono::microseconds(50);
  Duration networkDelayMax = std::chrono::milliseconds(1);
  double resetPerDelivery = 0;  // a delivery breaks its connection instead
  double refusePerConnect = 0;  // a connect is refused
  double datagramLoss = 0;
  double shortRead = 0.2;       // a read gives only a part of what is there
  double failPerFileWrite = 0;  // a write, append or sync fails with "No space left on device"
  // A crash keeps a prefix of what was appended but not synced, its last bytes damaged; false:
  // nothing of it.
  bool tornWrites = true;
};

// A simulated child process, driven by the host's process handler.
class SimProcess {
 public:
  virtual ~SimProcess() = default;
  virtual int id() const = 0;
  virtual const ProcessSpec& spec() const = 0;
  // Ends the process; later calls do nothing.
  virtual void exit(ProcessExit result) = 0;
  virtual bool running() const = 0;
  // Called for signals other than SIGKILL; without a handler every signal ends the process with 128
  // + number.
  virtual void onSignal(std::function<void(int signalNumber)> handler) = 0;
};
// Runs inside spawn; keeps the process and calls exit() sooner or later. NotFound and the like
// refuse the start.
using SimProcessHandler = std::function<Result<void>(std::shared_ptr<SimProcess>)>;

class SimHost {
 public:
  virtual ~SimHost() = default;
  virtual Env env() = 0;
  virtual const std::string& name() const = 0;
  // Its first address, "10.64.0.N". 127.0.0.1, ::1 and unix: paths are the host's own; 0.0.0.0 and
  // [::] are all of it.
  virtual const std::string& address() const = 0;
  virtual void addAddress(std::string ip) = 0;
  virtual void removeAddress(std::string_view ip) = 0;
  // Without one, every spawn fails with NotFound.
  virtual void setProcessHandler(SimProcessHandler handler) = 0;
  // Shifts unixNanos() of this host.
  virtual void setClockSkew(Duration skew) = 0;
  // Power loss: processes vanish without report, connections are reset, listeners are gone, files
  // fall back to what was durable. The components' own objects belong to the test, which destroys
  // them before it calls this.
  virtual void crash() = 0;
};

class SimEnv {
 public:
  // The clock starts at 2026-01-01T00:00:00Z.
  explicit SimEnv(uint64_t seed);
  SimEnv(const SimEnv&) = delete;
  ~SimEnv();

  // The host "main", enough for tests without machines.
  Env env();
  // The host of that name, made at its first use.
  SimHost& host(std::string_view name);
  SimFaults& faults();
  // While on, nothing passes between the two hosts: pieces wait, connects time out, datagrams are
  // lost.
  void partition(std::string_view hostA, std::string_view hostB, bool on);
  // What Network::resolve answers for a name; "localhost" is 127.0.0.1 without being told.
  void setName(std::string name, std::vector<std::string> addresses);

  // Runs until the predicate holds (checked before the first and after every callback); false when
  // `max` of virtual time passed, or when nothing can happen any more.
  bool runUntil(const std::function<bool()>& predicate, Duration max);
  void runFor(Duration duration);
  // Mixes a label into the trace.
  void trace(std::string_view label);
  uint64_t traceHash() const;
  // Callbacks run so far.
  uint64_t steps() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace knarr::env
