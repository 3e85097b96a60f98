// A gate keeps the outermost frames of its tasks by id. A frame that ends removes itself; the
// frames that remain when the gate dies are destroyed, which destroys everything they own and
// cancels everything they wait for.
#include <map>

#include "async/async.h"

namespace knarr::async {
namespace {

// The outermost frame of a spawned task.
struct Spawned {
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;
  Handle handle;
};

}  // namespace

struct Gate::State {
  explicit State(env::Executor& e) : executor(e), empty(e) {}
  env::Executor& executor;
  std::map<uint64_t, std::coroutine_handle<>> frames;
  uint64_t lastId = 0;
  bool closed = false;
  Event empty;
};

namespace {

struct Leave {
  bool await_ready() noexcept { return false; }
  void await_suspend(Spawned::Handle self) noexcept;
  void await_resume() noexcept {}
};

struct Spawned::promise_type {
  std::function<void()> forget;  // takes the frame out of its gate
  std::function<void()> onEnd;   // after the frame is gone
  Spawned get_return_object() noexcept { return {Handle::from_promise(*this)}; }
  std::suspend_always initial_suspend() noexcept { return {}; }
  Leave final_suspend() noexcept { return {}; }
  void return_void() noexcept {}
  void unhandled_exception() noexcept { std::abort(); }
};

void Leave::await_suspend(Spawned::Handle self) noexcept {
  // `this` lives in the frame that is destroyed here.
  std::function<void()> onEnd = std::move(self.promise().onEnd);
  // Forgotten first: the frame may hold the last reference to the owner of its own gate.
  self.promise().forget();
  self.destroy();
  onEnd();
}

Spawned runSpawned(Task<void> task) { co_await task; }

}  // namespace

Gate::Gate(env::Executor& executor) : state_(std::make_shared<State>(executor)) {}

Gate::~Gate() {
  state_->closed = true;
  auto frames = std::move(state_->frames);
  state_->frames.clear();
  for (auto& [id, frame] : frames) frame.destroy();
}

void Gate::spawn(Task<void> task) {
  if (state_->closed) return;
  Spawned spawned = runSpawned(std::move(task));
  uint64_t id = ++state_->lastId;
  state_->frames.emplace(id, spawned.handle);
  spawned.handle.promise().forget = [weak = std::weak_ptr(state_), id] {
    if (auto state = weak.lock()) state->frames.erase(id);
  };
  spawned.handle.promise().onEnd = [weak = std::weak_ptr(state_)] {
    auto state = weak.lock();
    if (state && state->closed && state->frames.empty()) state->empty.set();
  };
  state_->executor.post([weak = std::weak_ptr(state_), id] {
    auto state = weak.lock();
    if (!state) return;
    auto found = state->frames.find(id);
    if (found == state->frames.end()) return;
    auto frame = found->second;
    state.reset();  // the task may destroy its gate's owner only after it ended; do not keep the
                    // state alive for it
    frame.resume();
  });
}

size_t Gate::running() const { return state_->frames.size(); }

namespace {
Task<void> waitUntilEmpty(std::shared_ptr<void> keep, Event* empty) {
  co_await empty->wait();
  (void)keep;
}
}  // namespace

Task<void> Gate::close() {
  state_->closed = true;
  if (state_->frames.empty()) state_->empty.set();
  return waitUntilEmpty(state_, &state_->empty);
}

}  // namespace knarr::async
