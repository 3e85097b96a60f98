#include "env/sim/sim.h"

#include "base/log.h"
#include "env/sim/scheduler.h"
#include "env/sim/sim_files.h"
#include "env/sim/sim_network.h"
#include "env/sim/sim_processes.h"

namespace knarr::env {
namespace {

// 2026-01-01T00:00:00Z.
constexpr int64_t kStartUnixNanos = int64_t{1767225600} * 1'000'000'000;

}  // namespace

namespace sim {
namespace {

class SimClock final : public Clock {
 public:
  explicit SimClock(const Scheduler& scheduler) : scheduler_(scheduler), start_(scheduler.now()) {}
  Instant now() const override { return scheduler_.now(); }
  int64_t unixNanos() const override { return kStartUnixNanos + (scheduler_.now() - start_ + skew).count(); }
  Duration skew{0};

 private:
  const Scheduler& scheduler_;
  const Instant start_;
};

class Host final : public SimHost {
 public:
  Host(Scheduler& scheduler, SimRandom& faultRandom, uint64_t seed, Fabric& fabric, std::string name, std::string ip,
       int& lastProcessId)
      : scheduler_(scheduler),
        fabric_(fabric),
        name_(std::move(name)),
        ip_(std::move(ip)),
        clock_(scheduler),
        random_(seed),
        network_(fabric, name_, ip_),
        files_(clock_, faultRandom, fabric.faults()),
        processes_(scheduler, lastProcessId) {
    addAddress(ip_);
  }
  Env env() override { return {clock_, scheduler_, random_, network_, files_, processes_}; }
  const std::string& name() const override { return name_; }
  const std::string& address() const override { return ip_; }
  void addAddress(std::string ip) override { fabric_.hostByIp[std::move(ip)] = name_; }
  void removeAddress(std::string_view ip) override {
    auto found = fabric_.hostByIp.find(ip);
    if (found != fabric_.hostByIp.end() && found->second == name_) fabric_.hostByIp.erase(found);
  }
  void setProcessHandler(SimProcessHandler handler) override { processes_.setHandler(std::move(handler)); }
  void setClockSkew(Duration skew) override { clock_.skew = skew; }
  void crash() override {
    processes_.crash();
    network_.crash();
    files_.crash();
  }

 private:
  Scheduler& scheduler_;
  Fabric& fabric_;
  std::string name_;
  std::string ip_;
  SimClock clock_;
  SimRandom random_;
  SimNetwork network_;
  SimFiles files_;
  SimProcesses processes_;
};

}  // namespace
}  // namespace sim

class SimEnv::Impl {
 public:
  explicit Impl(uint64_t seed)
      : seed_(seed), faultRandom_(seed ^ 0x6661'756c'7473'2121), scheduler_(seed), fabric_(scheduler_, faultRandom_, faults_) {
    clock_ = std::make_unique<sim::SimClock>(scheduler_);
  }
  sim::Host& host(std::string_view name) {
    auto found = hosts_.find(name);
    if (found == hosts_.end()) {
      size_t n = hosts_.size() + 1;
      std::string ip = "10.64." + std::to_string(n / 250) + "." + std::to_string(n % 250 + 1);
      found = hosts_
                  .emplace(std::string(name), std::make_unique<sim::Host>(scheduler_, faultRandom_, seed_ * 31 + n, fabric_,
                                                                          std::string(name), std::move(ip), lastProcessId_))
                  .first;
    }
    return *found->second;
  }

  // Random streams and tables come first: what is destroyed with the scheduler's callbacks may
  // still use them.
  uint64_t seed_;
  SimFaults faults_;
  sim::SimRandom faultRandom_;
  int lastProcessId_ = 100;
  // The hosts outlive the callbacks that the scheduler still holds, and so does the fabric's table;
  // see ~Impl.
  std::map<std::string, std::unique_ptr<sim::Host>, std::less<>> hosts_;
  sim::Scheduler scheduler_;
  sim::Fabric fabric_;
  std::unique_ptr<sim::SimClock> clock_;

  ~Impl() {
    scheduler_.dropAll();
    hosts_.clear();
  }
};

SimEnv::SimEnv(uint64_t seed) : impl_(std::make_unique<Impl>(seed)) {
  setLogClock([clock = impl_->clock_.get()] { return clock->unixNanos() / 1000; });
}
SimEnv::~SimEnv() { setLogClock({}); }

Env SimEnv::env() { return impl_->host("main").env(); }
SimHost& SimEnv::host(std::string_view name) { return impl_->host(name); }
SimFaults& SimEnv::faults() { return impl_->faults_; }
void SimEnv::partition(std::string_view hostA, std::string_view hostB, bool on) {
  impl_->fabric_.setPartition(std::string(hostA), std::string(hostB), on);
}
void SimEnv::setName(std::string name, std::vector<std::string> addresses) {
  impl_->fabric_.names[std::move(name)] = std::move(addresses);
}

bool SimEnv::runUntil(const std::function<bool()>& predicate, Duration max) {
  Instant limit = impl_->scheduler_.now() + max;
  while (!predicate())
    if (!impl_->scheduler_.step(limit)) return predicate();
  return true;
}

void SimEnv::runFor(Duration duration) {
  Instant limit = impl_->scheduler_.now() + duration;
  while (impl_->scheduler_.step(limit)) {
  }
  impl_->scheduler_.advanceTo(limit);
}

void SimEnv::trace(std::string_view label) { impl_->scheduler_.trace(label); }
uint64_t SimEnv::traceHash() const { return impl_->scheduler_.traceHash(); }
uint64_t SimEnv::steps() const { return impl_->scheduler_.steps(); }

}  // namespace knarr::env
