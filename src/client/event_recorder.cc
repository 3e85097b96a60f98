#include "client/event_recorder.h"

#include <fmt/format.h>

#include "api/core_v1.h"
#include "base/log.h"
#include "base/strings.h"
#include "client/event_correlator.h"
#include "codec/codec.h"
#include "schema/layout.h"

namespace knarr::client {
namespace {

constexpr size_t kPendingMax = 1000;
constexpr size_t kRememberedMax = 4096;
constexpr env::Duration kFoldWindow = std::chrono::minutes(10);
constexpr size_t kMessageBytesMax = 1024;

}  // namespace

struct EventRecorder::Pending {
  EventIdentity identity;
  Mut<corev1::Event> event;
};

struct EventRecorder::State {
  State(env::Env environment, Client& c, std::string comp, std::string h)
      : env(environment), client(c), component(std::move(comp)), host(std::move(h)), queue(environment.executor, kPendingMax) {}
  struct Remembered {
    std::string nameSpace, name;
    int32_t count = 1;
    env::Instant until;
  };
  env::Env env;
  Client& client;
  std::string component, host;
  async::Queue<std::shared_ptr<Pending>> queue;
  EventCorrelator correlator;
  std::map<std::string, Remembered> remembered;  // by the correlator's key
  int64_t lastNameNanos = 0;
};

EventRecorder::EventRecorder(env::Env environment, Client& client, std::string component, std::string host)
    : state_(std::make_unique<State>(environment, client, std::move(component), std::move(host))) {}
EventRecorder::~EventRecorder() = default;

void EventRecorder::event(const Ref<>& about, std::string_view type, std::string_view reason, std::string message) {
  eventAbout(about, "", type, reason, std::move(message));
}

void EventRecorder::eventAbout(const Ref<>& about, std::string fieldPath, std::string_view type, std::string_view reason,
                               std::string message) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(about);
  if (message.size() > kMessageBytesMax) message.resize(kMessageBytesMax);
  auto pending = std::make_shared<Pending>();
  pending->identity = {fmt::format("{}/{}/{}/{}", about.type().kind, metadata.namespace_, metadata.name, metadata.uid),
                       fmt::format("{}/{}", type, reason), fieldPath, message};
  pending->event = schema::newObject<corev1::Event>();
  Mut<corev1::Event>& event = pending->event;
  int64_t now = state_->env.clock.unixNanos();
  // The name holds the moment; two events of one moment need two names.
  state_->lastNameNanos = std::max(now, state_->lastNameNanos + 1);
  std::string nameSpace(metadata.namespace_.empty() ? "default" : metadata.namespace_);
  event->metadata.namespace_ = event.str(nameSpace);
  event->metadata.name = event.str(fmt::format("{}.{:x}", metadata.name, static_cast<uint64_t>(state_->lastNameNanos)));
  event->involvedObject.kind = about.type().kind;
  event->involvedObject.apiVersion = event.str(codec::apiVersionOf(about.type()));
  event->involvedObject.namespace_ = event.str(metadata.namespace_);
  event->involvedObject.name = event.str(metadata.name);
  event->involvedObject.uid = event.str(metadata.uid);
  event->involvedObject.resourceVersion = event.str(metadata.resourceVersion);
  event->involvedObject.fieldPath = event.str(fieldPath);
  event->type = event.str(type);
  event->reason = event.str(reason);
  event->message = event.str(message);
  event->source.component = event.str(state_->component);
  event->source.host = event.str(state_->host);
  event->reportingComponent = event.str(state_->component);
  event->reportingInstance = event.str(state_->host);
  event->count = 1;
  event->firstTimestamp = schema::Time::fromUnix(now / 1'000'000'000);
  event->lastTimestamp = event->firstTimestamp;
  if (!state_->queue.tryPush(std::move(pending)))
    logWarning("client", "events of {} are dropped: {} wait already", state_->component, kPendingMax);
}

namespace {

// By a patch: who may write events may not always read them. Source: record/events_cache.go, getPatch.
async::Task<Result<void>> raiseCount(Client* client, std::string nameSpace, std::string name, int32_t count, schema::Time last,
                                     std::string message) {
  std::string body = fmt::format(R"({{"count":{},"lastTimestamp":"{}","message":{}}})", count, formatRfc3339(last.unixSeconds()),
                                 codec::quoteJson(message));
  CO_TRY(
      co_await patch<corev1::Event>(*client, std::move(nameSpace), std::move(name), PatchType::StrategicMerge, std::move(body)));
  co_return Result<void>();
}

}  // namespace

async::Task<void> EventRecorder::run(StopToken stop) {
  auto registration = stop.onStop([this] { state_->queue.close(); });
  for (;;) {
    auto pending = co_await state_->queue.pop();
    if (!pending) co_return;
    Mut<corev1::Event>& event = (*pending)->event;
    env::Instant now = state_->env.clock.now();
    EventCorrelator::Verdict verdict = state_->correlator.judge((*pending)->identity, now);
    if (verdict.combined) event->message = event.str(fmt::format("(combined from similar events): {}", event->message));
    auto known = state_->remembered.find(verdict.key);
    if (known != state_->remembered.end() && known->second.until > now) {
      known->second.until = now + kFoldWindow;
      int32_t count = ++known->second.count;
      if (verdict.drop) continue;
      auto raised = co_await raiseCount(&state_->client, known->second.nameSpace, known->second.name, count, event->lastTimestamp,
                                        std::string(event->message));
      if (raised) continue;
      // Gone meanwhile: told anew.
    }
    if (verdict.drop) continue;
    std::string nameSpace(event->metadata.namespace_), name(event->metadata.name);
    auto made = co_await create<corev1::Event>(state_->client, nameSpace, std::move(event));
    if (!made) {
      // A namespace that is going takes no events; that is no news.
      if (made.error().reason() != Reason::Forbidden && !isNotFound(made.error()))
        logWarning("client", "an event of {} was not written: {}", state_->component, made.error().describe());
      continue;
    }
    if (state_->remembered.size() >= kRememberedMax) state_->remembered.clear();
    state_->remembered[verdict.key] = State::Remembered{nameSpace, name, 1, now + kFoldWindow};
  }
}

}  // namespace knarr::client
