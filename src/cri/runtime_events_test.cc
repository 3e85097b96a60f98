#include "cri/runtime_events.h"

#include <gtest/gtest.h>

#include "api/containerd_events_v1.h"
#include "codec/codec.h"

namespace knarr::cri {
namespace {

namespace events = containerdeventsv1;

template <class T>
std::string bytesOf(const Mut<T>& object) {
  return codec::encodeProtobufValue(object.type(), object.root());
}

std::string taskDelete(std::string_view container, std::string_view id) {
  auto task = schema::newObject<events::TaskDelete>();
  task->containerId = task.str(container);
  task->id = task.str(id);
  return bytesOf(task);
}

std::string envelope(std::string_view nameSpace, std::string_view topic, const std::string& payload) {
  auto outer = schema::newObject<events::Envelope>();
  outer->namespace_ = outer.str(nameSpace);
  outer->topic = outer.str(topic);
  outer->event = outer.arena().make<events::Any>();
  outer->event->value.bytes = outer.str(payload);
  return bytesOf(outer);
}

// "exited ID POD", "oom ID POD", "nothing", "error".
std::string textOf(const Result<std::optional<RuntimeEvent>>& event) {
  if (!event) return "error";
  if (!*event) return "nothing";
  return ((*event)->kind == RuntimeEvent::Exited ? "exited " : "oom ") + (*event)->id + " " + (*event)->podUid;
}

TEST(RuntimeEvents, ofContainerd) {
  struct Case {
    const char* name;
    std::string bytes, want;
  };
  const Case kCases[] = {
      {"a task ended", envelope("k8s.io", "/tasks/delete", taskDelete("c1", "c1")), "exited c1 "},
      {"as older ones tell it", envelope("k8s.io", "/tasks/delete", taskDelete("c1", "")), "exited c1 "},
      {"an exec ended", envelope("k8s.io", "/tasks/delete", taskDelete("c1", "e1")), "nothing"},
      {"another namespace", envelope("moby", "/tasks/delete", taskDelete("c1", "c1")), "nothing"},
      {"another topic", envelope("k8s.io", "/tasks/start", taskDelete("c1", "c1")), "nothing"},
      {"out of memory", envelope("k8s.io", "/tasks/oom", taskDelete("c1", "")), "oom c1 "},
      {"no container", envelope("k8s.io", "/tasks/oom", ""), "nothing"},
      {"empty", "", "nothing"},
      {"cut short", envelope("k8s.io", "/tasks/oom", taskDelete("c1", "")).substr(0, 18), "error"},
      {"a payload that is none", envelope("k8s.io", "/tasks/oom", "\x0a\x7f"), "error"},
      // As containerd 1.6 sends it: a timestamp first, and fields of the task that are passed over.
      {"with times and codes",
       std::string("\x0a\x06\x08\x80\x80\x80\x80\x06") +
           envelope("k8s.io", "/tasks/delete", taskDelete("c1", "") + "\x10\x07\x18\x03"),
       "exited c1 "},
  };
  for (const Case& one : kCases) EXPECT_EQ(textOf(eventOfContainerd(one.bytes)), one.want) << one.name;
}

TEST(RuntimeEvents, ofTheCri) {
  auto response = [](int32_t type, bool pod) {
    auto message = schema::newObject<v1::ContainerEventResponse>();
    message->containerId = "c1";
    message->containerEventType = type;
    if (pod) {
      message->podSandboxStatus = message.arena().make<v1::PodSandboxStatus>();
      message->podSandboxStatus->metadata = message.arena().make<v1::PodSandboxMetadata>();
      message->podSandboxStatus->metadata->uid = "u1";
    }
    return bytesOf(message);
  };
  EXPECT_EQ(textOf(eventOfCri(response(kContainerStoppedEvent, true))), "exited c1 u1");
  EXPECT_EQ(textOf(eventOfCri(response(kContainerDeletedEvent, false))), "exited c1 ");
  EXPECT_EQ(textOf(eventOfCri(response(kContainerStartedEvent, true))), "nothing");
  EXPECT_EQ(textOf(eventOfCri("\x0a\x7f")), "error");
}

TEST(RuntimeEvents, subscribesToCrisNamespaceOnly) {
  auto request = codec::decodeProtobuf(schema::typeInfoOf<events::SubscribeRequest>(), containerdSubscribeRequest());
  ASSERT_TRUE(request);
  const auto& filters = static_cast<const events::SubscribeRequest*>(request->root())->filters;
  ASSERT_EQ(filters.size(), 2U);
  EXPECT_EQ(filters[0], "namespace==k8s.io,topic==\"/tasks/delete\"");
  EXPECT_EQ(filters[1], "namespace==k8s.io,topic==\"/tasks/oom\"");
}

}  // namespace
}  // namespace knarr::cri
