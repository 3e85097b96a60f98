#include "async/async.h"

#include <csignal>
#include <map>

namespace knarr::async {

// ---- Event

Event::~Event() {
  // Their frames outlive this event and stay suspended until they are destroyed.
  for (Waiter* waiter = first_; waiter;) {
    Waiter* next = waiter->next;
    waiter->event = nullptr;
    waiter->previous = waiter->next = nullptr;
    waiter = next;
  }
}

void Event::notifyAll() {
  while (first_) wake(*first_);
}

void Event::set() {
  set_ = true;
  notifyAll();
}

void Event::wake(Waiter& waiter) {
  first_ = waiter.next;
  if (first_) {
    first_->previous = nullptr;
  } else {
    last_ = nullptr;
  }
  waiter.event = nullptr;
  waiter.previous = waiter.next = nullptr;
  waiter.alive = std::make_shared<Waiter*>(&waiter);
  executor_.post([self = waiter.alive] {
    if (*self) (*self)->handle.resume();
  });
}

void Event::Waiter::await_suspend(std::coroutine_handle<> h) {
  handle = h;
  previous = event->last_;
  (previous ? previous->next : event->first_) = this;
  event->last_ = this;
}

Event::Waiter::~Waiter() {
  if (alive) *alive = nullptr;
  if (!event || !handle) return;
  (previous ? previous->next : event->first_) = next;
  (next ? next->previous : event->last_) = previous;
}

// ---- stop

struct StopSource::State {
  bool requested = false;
  uint64_t lastId = 0;
  std::map<uint64_t, std::function<void()>> callbacks;
};

StopSource::StopSource() : state_(std::make_shared<State>()) {}
StopSource::~StopSource() = default;

void StopSource::requestStop() {
  std::shared_ptr<State> state = state_;  // a callback may destroy this source
  if (state->requested) return;
  state->requested = true;
  while (!state->callbacks.empty()) {
    auto node = state->callbacks.extract(state->callbacks.begin());
    node.mapped()();
  }
}
bool StopSource::stopRequested() const { return state_->requested; }
StopToken StopSource::token() const {
  StopToken token;
  token.state_ = state_;
  return token;
}

bool StopToken::stopRequested() const { return state_ && state_->requested; }

StopToken::Registration StopToken::onStop(std::function<void()> callback) const {
  Registration registration;
  if (!state_) return registration;
  if (state_->requested) {
    callback();
    return registration;
  }
  registration.state_ = state_;
  registration.id_ = ++state_->lastId;
  state_->callbacks.emplace(registration.id_, std::move(callback));
  return registration;
}

StopToken::Registration::Registration(Registration&& other) noexcept
    : state_(std::move(other.state_)), id_(std::exchange(other.id_, 0)) {}
StopToken::Registration& StopToken::Registration::operator=(Registration&& other) noexcept {
  std::swap(state_, other.state_);
  std::swap(id_, other.id_);
  return *this;
}
StopToken::Registration::~Registration() {
  if (auto state = state_.lock()) state->callbacks.erase(id_);
}

// ---- timers and the world

namespace {

struct TimerGuard {
  env::Executor& executor;
  env::TimerId timer;
  ~TimerGuard() { executor.cancelTimer(timer); }
};

struct ChildGuard {
  env::Processes& processes;
  int processId;
  bool exited = false;
  ~ChildGuard() {
    // A child that is gone already needs no signal.
    if (!exited) (void)processes.kill(processId, SIGKILL);
  }
};

}  // namespace

Task<bool> sleepFor(env::Env environment, env::Duration duration, StopToken stop) {
  if (stop.stopRequested()) co_return false;
  Event woken(environment.executor);
  bool elapsed = false;
  TimerGuard timer{environment.executor, environment.executor.at(environment.clock.now() + duration, [&] {
                     elapsed = true;
                     woken.set();
                   })};
  StopToken::Registration registration = stop.onStop([&] { woken.set(); });
  co_await woken.wait();
  co_return elapsed;
}

Task<Result<std::unique_ptr<env::Stream>>> connect(env::Env environment, std::string address, env::Duration timeout) {
  Promise<Result<std::unique_ptr<env::Stream>>> connected(environment.executor);
  environment.network.connect(address, timeout,
                              [connected](Result<std::unique_ptr<env::Stream>> stream) { connected.set(std::move(stream)); });
  co_return co_await connected.get();
}

Task<Result<env::ProcessExit>> runProcess(env::Env environment, env::ProcessSpec spec, StopToken stop) {
  std::string program = spec.argv.empty() ? std::string() : spec.argv.front();
  if (stop.stopRequested()) co_return fail(Reason::Timeout, program + ": stopped before it started");
  Promise<env::ProcessExit> exited(environment.executor);
  int processId =
      CO_TRY(environment.processes.spawn(std::move(spec), [exited](env::ProcessExit exit) { exited.set(std::move(exit)); }));
  ChildGuard guard{environment.processes, processId};
  StopToken::Registration registration = stop.onStop([&] { (void)environment.processes.kill(processId, SIGKILL); });
  env::ProcessExit exit = co_await exited.get();
  guard.exited = true;
  if (stop.stopRequested()) co_return fail(Reason::Timeout, program + ": killed because its caller stopped waiting");
  co_return exit;
}

}  // namespace knarr::async
