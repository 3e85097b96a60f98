// Waiting: gates, cancellation, timers, events, bounded queues, and the bridge from callbacks to
// tasks.
//
// Everything here belongs to one event loop (env::Executor) and is not thread safe. A waiter is
// resumed from the loop, never from inside the call that woke it, so a caller's state does not
// change under its feet.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "async/task.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::async {

// One-shot or repeated wake-up of any number of waiters.
class Event {
 public:
  explicit Event(env::Executor& executor) : executor_(executor) {}
  Event(const Event&) = delete;
  ~Event();
  // Wakes all present waiters; later waiters wait for the next notify unless set.
  void notifyAll();
  // Stays signalled: present and future waiters pass.
  void set();
  void reset() { set_ = false; }
  bool isSet() const { return set_; }

  struct Waiter;  // intrusive list node living in the awaiting frame
  struct Waiter {
    Event* event;
    Waiter* previous = nullptr;
    Waiter* next = nullptr;
    std::coroutine_handle<> handle;
    std::shared_ptr<Waiter*> alive;  // null inside once the frame is gone, for a resume already posted
    explicit Waiter(Event* e) : event(e) {}
    Waiter(const Waiter&) = delete;
    ~Waiter();
    bool await_ready() const noexcept { return event->set_; }
    void await_suspend(std::coroutine_handle<> h);
    void await_resume() noexcept {}
  };
  // co_await event.wait()
  Waiter wait() { return Waiter(this); }

 private:
  friend struct Waiter;
  void wake(Waiter& waiter);
  env::Executor& executor_;
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
  bool set_ = false;
};

// A request to stop, seen by everything that holds the token. The source may be destroyed before
// its tokens.
class StopToken;
class StopSource {
 public:
  StopSource();
  ~StopSource();
  void requestStop();
  bool stopRequested() const;
  StopToken token() const;

 private:
  friend class StopToken;
  struct State;
  std::shared_ptr<State> state_;
};
class StopToken {
 public:
  StopToken() = default;  // never stops
  bool stopRequested() const;
  // Runs `callback` inside requestStop (at once when already requested) until the registration is
  // destroyed.
  class Registration {
   public:
    Registration() = default;
    Registration(Registration&&) noexcept;
    Registration& operator=(Registration&&) noexcept;
    ~Registration();

   private:
    friend class StopToken;
    std::weak_ptr<StopSource::State> state_;
    uint64_t id_ = 0;
  };
  Registration onStop(std::function<void()> callback) const;

 private:
  friend class StopSource;
  std::shared_ptr<StopSource::State> state_;
};

// Owns spawned tasks. close() waits until all of them have ended; destroying a gate destroys the
// frames that remain.
class Gate {
 public:
  explicit Gate(env::Executor& executor);
  Gate(const Gate&) = delete;
  ~Gate();
  // Starts the task from the loop. After close began the task is dropped unstarted.
  void spawn(Task<void> task);
  size_t running() const;
  // No more spawns; waits for the running tasks. Whoever closes has asked them to stop.
  Task<void> close();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Waits for `duration`; false when `stop` came first.
Task<bool> sleepFor(env::Env environment, env::Duration duration, StopToken stop = {});
// Runs blocking work on the pool and returns its value.
template <class T>
Task<T> runBlocking(env::Executor& executor, std::move_only_function<T()> work);
// What `task` gives; nothing when `stop` came first, which destroys the task and so cancels what it waits for.
template <class T>
Task<std::optional<T>> untilStopped(env::Executor& executor, Task<T> task, StopToken stop);
// Connects a stream.
Task<Result<std::unique_ptr<env::Stream>>> connect(env::Env environment, std::string address, env::Duration timeout);
// Runs a child to its end. On stop the child is killed with SIGKILL and the error reason is
// Timeout.
Task<Result<env::ProcessExit>> runProcess(env::Env environment, env::ProcessSpec spec, StopToken stop = {});

// A value that arrives once, from a callback to a task. set() after the first is ignored.
template <class T>
class Promise {
 public:
  explicit Promise(env::Executor& executor) : state_(std::make_shared<State>(executor)) {}
  void set(T value) const {
    if (state_->value) return;
    state_->value.emplace(std::move(value));
    state_->ready.set();
  }
  bool isSet() const { return state_->value.has_value(); }
  // One awaiter takes the value.
  Task<T> get() const { return getFrom(state_); }

 private:
  struct State {
    explicit State(env::Executor& executor) : ready(executor) {}
    Event ready;
    std::optional<T> value;
  };
  static Task<T> getFrom(std::shared_ptr<State> state) {
    co_await state->ready.wait();
    co_return std::move(*state->value);
  }
  std::shared_ptr<State> state_;
};

// A bounded queue. A full queue refuses (tryPush false) or makes the pusher wait (push).
template <class T>
class Queue {
 public:
  Queue(env::Executor& executor, size_t itemsMax) : itemsMax_(itemsMax), changed_(executor) {}
  bool tryPush(T item) {
    if (closed_ || items_.size() >= itemsMax_) return false;
    items_.push_back(std::move(item));
    changed_.notifyAll();
    return true;
  }
  // False when the queue was closed.
  Task<bool> push(T item) {
    while (!closed_ && items_.size() >= itemsMax_) co_await changed_.wait();
    co_return tryPush(std::move(item));
  }
  // Nothing once closed and empty.
  Task<std::optional<T>> pop() {
    while (items_.empty() && !closed_) co_await changed_.wait();
    if (items_.empty()) co_return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    changed_.notifyAll();
    co_return item;
  }
  void close() {
    closed_ = true;
    changed_.notifyAll();
  }
  bool closed() const { return closed_; }
  size_t size() const { return items_.size(); }

 private:
  size_t itemsMax_;
  std::deque<T> items_;
  bool closed_ = false;
  Event changed_;
};

template <class T>
Task<T> runBlocking(env::Executor& executor, std::move_only_function<T()> work) {
  Promise<T> done(executor);
  auto result = std::make_shared<std::optional<T>>();
  auto shared = std::make_shared<std::move_only_function<T()>>(std::move(work));
  executor.block([result, shared] { result->emplace((*shared)()); }, [result, done] { done.set(std::move(**result)); });
  co_return co_await done.get();
}

template <class T>
Task<std::optional<T>> untilStopped(env::Executor& executor, Task<T> task, StopToken stop) {
  struct Run {
    static Task<void> into(Task<T> task, std::shared_ptr<std::optional<T>> result, Event* changed) {
      result->emplace(co_await std::move(task));
      changed->notifyAll();
    }
  };
  auto result = std::make_shared<std::optional<T>>();
  Event changed(executor);
  StopToken::Registration registration = stop.onStop([&changed] { changed.notifyAll(); });
  Gate gate(executor);
  gate.spawn(Run::into(std::move(task), result, &changed));
  while (!*result && !stop.stopRequested()) co_await changed.wait();
  co_return std::move(*result);
}

}  // namespace knarr::async
