#include "cri/runtime_events.h"

#include <fmt/format.h>

#include "api/containerd_events_v1.h"
#include "codec/codec.h"

namespace knarr::cri {
namespace {

namespace events = containerdeventsv1;

// containerd keeps CRI's containers in this namespace. Source: containerd pkg/cri/constants.
constexpr std::string_view kNamespace = "k8s.io";
// Source: containerd runtime/events.go.
constexpr std::string_view kTaskDelete = "/tasks/delete", kTaskOom = "/tasks/oom";

template <class T>
Result<Ref<T>> decode(const std::string& bytes) {
  Mut<> object = TRY(codec::decodeProtobuf(schema::typeInfoOf<T>(), bytes));
  return Ref<T>(std::move(object).publish());
}

}  // namespace

std::string containerdSubscribeRequest() {
  auto request = schema::newObject<events::SubscribeRequest>();
  for (std::string_view topic : {kTaskDelete, kTaskOom})
    request->filters.append(request.arena(), request.str(fmt::format("namespace=={},topic==\"{}\"", kNamespace, topic)));
  return codec::encodeProtobufValue(request.type(), request.root());
}

Result<std::optional<RuntimeEvent>> eventOfContainerd(const std::string& envelope) {
  auto outer = TRY(decode<events::Envelope>(envelope));
  if (outer->namespace_ != kNamespace || outer->event == nullptr) return std::nullopt;
  std::string payload(outer->event->value.bytes);
  RuntimeEvent event;
  if (outer->topic == kTaskDelete) {
    auto task = TRY(decode<events::TaskDelete>(payload));
    if (!task->id.empty() && task->id != task->containerId) return std::nullopt;  // of an exec
    event.id = task->containerId;
  } else if (outer->topic == kTaskOom) {
    event.kind = RuntimeEvent::OutOfMemory;
    event.id = TRY(decode<events::TaskOOM>(payload))->containerId;
  }
  if (event.id.empty()) return std::nullopt;
  return event;
}

Result<std::optional<RuntimeEvent>> eventOfCri(const std::string& response) {
  auto message = TRY(decode<v1::ContainerEventResponse>(response));
  bool ended = message->containerEventType == kContainerStoppedEvent || message->containerEventType == kContainerDeletedEvent;
  if (!ended || message->containerId.empty()) return std::nullopt;
  RuntimeEvent event;
  event.id = message->containerId;
  if (message->podSandboxStatus != nullptr && message->podSandboxStatus->metadata != nullptr)
    event.podUid = message->podSandboxStatus->metadata->uid;
  return event;
}

}  // namespace knarr::cri
