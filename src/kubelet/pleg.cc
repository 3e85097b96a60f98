#include "kubelet/pleg.h"

#include <algorithm>

#include "async/scoped_timer.h"

namespace knarr::kubelet {

using async::Task;

namespace {

constexpr auto kUnhealthyAfter = std::chrono::minutes(3);  // Source: relistThreshold
// Upstream's evented PLEG relists every 300 s; ten seconds bound how long a lost event goes unnoticed.
constexpr env::Duration kRelistPeriodWithEvents = std::chrono::seconds(10);
constexpr env::Duration kStreamRetry = std::chrono::seconds(1);

// containerd tells its CRI plugin and us of an exit at the same time. The plugin writes the new state to disk, which takes
// some milliseconds; on a loaded machine more.
constexpr env::Duration kFirstLookAgain = std::chrono::milliseconds(5);
constexpr env::Duration kAwaitMax = std::chrono::seconds(2);
// Why a container ended ("OOMKilled") may be told after its end; the pod is looked at again this long after.
constexpr env::Duration kOutOfMemoryDelay = std::chrono::milliseconds(300);
constexpr size_t kAwaitedMax = 1000;

}  // namespace

std::vector<std::string> changedPods(const RuntimeSummary& before, const RuntimeSummary& after) {
  std::vector<std::string> changed;
  for (const auto& [uid, pod] : after.pods) {
    auto known = before.pods.find(uid);
    if (known == before.pods.end() || known->second.states != pod.states) changed.push_back(uid);
  }
  for (const auto& [uid, pod] : before.pods)
    if (!after.pods.contains(uid)) changed.push_back(uid);
  return changed;
}

void AwaitedEvents::add(const cri::RuntimeEvent& event, env::Instant now) {
  if (awaited_.size() >= kAwaitedMax) return;
  bool exited = event.kind == cri::RuntimeEvent::Exited;
  awaited_[{event.id, event.kind}] = {event.kind, now, exited ? now : now + kOutOfMemoryDelay, kFirstLookAgain};
}

std::vector<std::string> AwaitedEvents::settle(const RuntimeSummary& summary, env::Instant now) {
  std::vector<std::string> wake;
  for (auto entry = awaited_.begin(); entry != awaited_.end();) {
    const std::string& id = entry->first.first;
    Awaited& awaited = entry->second;
    bool exited = awaited.kind == cri::RuntimeEvent::Exited;
    bool done = exited && !summary.running.contains(id);
    if (!done && awaited.due <= now) {
      if (!exited) {
        for (const auto& [uid, pod] : summary.pods)
          if (pod.states.contains(id)) wake.push_back(uid);
      }
      done = !exited || now - awaited.since > kAwaitMax;
      awaited.due = now + awaited.backOff;
      awaited.backOff *= 2;
    }
    entry = done ? awaited_.erase(entry) : std::next(entry);
  }
  return wake;
}

std::optional<env::Instant> AwaitedEvents::due() const {
  std::optional<env::Instant> first;
  for (const auto& [key, awaited] : awaited_)
    if (!first || awaited.due < *first) first = awaited.due;
  return first;
}

Pleg::Pleg(env::Env environment, cri::RuntimeClient& runtime, env::Duration relistPeriod,
           std::function<void(const std::string&)> wake, std::function<void(bool)> setHealthy)
    : env_(environment),
      runtime_(runtime),
      relistPeriod_(relistPeriod),
      wake_(std::move(wake)),
      setHealthy_(std::move(setHealthy)),
      changed_(environment.executor) {}

// A stream counts once it has been open for a period without an error: a runtime without events says so at once, one with
// events says nothing until there is one. The relist at the end of that period sees what happened before it was open.
env::Instant Pleg::nextRelist() const {
  env::Instant now = env_.clock.now();
  bool eventsWork = streamOpenSince_ && now - *streamOpenSince_ >= relistPeriod_;
  return now + (eventsWork ? std::max(relistPeriod_, kRelistPeriodWithEvents) : relistPeriod_);
}

Task<void> Pleg::relist(async::StopToken stop) {
  env::Instant lastSuccess = env_.clock.now();
  auto registration = stop.onStop([this] { changed_.notifyAll(); });
  while (!stop.stopRequested()) {
    env::Instant began = env_.clock.now();
    Result<RuntimeSummary> summary = co_await summarizeRuntime(runtime_);
    if (summary) {
      lastSuccess = env_.clock.now();
      for (const std::string& uid : changedPods(summary_, *summary)) wake_(uid);
      summary_ = std::move(*summary);
      listed_ = true;
      // What was told while the lists were read may not be in them.
      for (const std::string& uid : awaited_.settle(summary_, began)) wake_(uid);
    }
    setHealthy_(env_.clock.now() - lastSuccess < kUnhealthyAfter);
    env::Instant next = nextRelist();
    bool streamed = streamOpenSince_.has_value();
    auto due = [&] {
      // After a failure events wait for the next period as everything does.
      std::optional<env::Instant> event = summary ? awaited_.due() : std::nullopt;
      return event ? std::min(next, *event) : next;
    };
    while (!stop.stopRequested() && env_.clock.now() < due() && streamed == streamOpenSince_.has_value()) {
      async::ScopedTimer timer(env_.executor, due(), [this] { changed_.notifyAll(); });
      co_await changed_.wait();
    }
  }
}

void Pleg::onEvent(const cri::RuntimeEvent& event) {
  if (!event.podUid.empty()) wake_(event.podUid);
  bool toAwait = event.podUid.empty() || event.kind == cri::RuntimeEvent::OutOfMemory;
  if (!toAwait) return;
  awaited_.add(event, env_.clock.now());
  changed_.notifyAll();
}

namespace {
using Told = async::Promise<Result<cri::RuntimeEvent>>;
Task<void> tellNext(cri::EventStream* events, Told into) { into.set(co_await events->next()); }
}  // namespace

Task<void> Pleg::followEvents(async::StopToken stop) {
  while (!stop.stopRequested()) {
    auto stream = co_await runtime_.containerEvents();
    if (!stream && stream.error().reason() == Reason::MethodNotAllowed) co_return;  // the relist does it alone
    if (stream) streamOpenSince_ = env_.clock.now();
    while (stream && !stop.stopRequested()) {
      Told told(env_.executor);
      async::Gate gate(env_.executor);  // dropped with the call when the kubelet stops
      gate.spawn(tellNext(stream->get(), told));
      auto registration = stop.onStop([told] { told.set(fail(Reason::ServiceUnavailable, "the kubelet stops")); });
      Result<cri::RuntimeEvent> event = co_await told.get();
      if (event) {
        onEvent(*event);
        continue;
      }
      streamOpenSince_.reset();
      changed_.notifyAll();
      if (event.error().reason() == Reason::MethodNotAllowed) co_return;
      break;
    }
    co_await async::sleepFor(env_, kStreamRetry, stop);
  }
}

}  // namespace knarr::kubelet
