#include "apiserver/conversion/conversion.h"

#include <fmt/format.h>

#include "apiserver/conversion/moves.h"
#include "codec/codec.h"

namespace knarr::apiserver {

using codec::Value;
using schema::Mut;
using schema::Ref;
using schema::TypeInfo;

void renameMember(Value& object, Arena& arena, std::string_view from, std::string_view to) {
  moveMember(object, from, object, arena, to);
}

void moveMember(Value& from, std::string_view name, Value& to, Arena& arena, std::string_view newName) {
  const Value* member = from.find(name);
  if (!member) return;
  Value value = *member;
  from.erase(name);
  to.set(arena, newName, value);
}

namespace {

// events.k8s.io and core name the same fields differently. Source: pkg/apis/events/v1/conversion.go.
struct Renamed {
  std::string_view core, events;
};
constexpr Renamed kEventFields[] = {{"involvedObject", "regarding"},
                                    {"message", "note"},
                                    {"source", "deprecatedSource"},
                                    {"firstTimestamp", "deprecatedFirstTimestamp"},
                                    {"lastTimestamp", "deprecatedLastTimestamp"},
                                    {"count", "deprecatedCount"},
                                    {"reportingComponent", "reportingController"}};

void convertEvent(const TypeInfo& to, Value& object, Arena& arena) {
  for (const Renamed& field : kEventFields)
    to.group.empty() ? renameMember(object, arena, field.events, field.core)
                     : renameMember(object, arena, field.core, field.events);
}

void moveFields(const TypeInfo& from, const TypeInfo& to, Value& object, Arena& arena) {
  if (to.kind == "Event") return convertEvent(to, object, arena);
  if (to.kind == "HorizontalPodAutoscaler") {
    if (to.version == "v1") return horizontalPodAutoscalerToV1(object, arena);
    if (from.version == "v1") return horizontalPodAutoscalerFromV1(object, arena);
  }
  if (to.group == "resource.k8s.io") {
    if (to.version == "v1beta1") return resourceToV1beta1(to.kind, object, arena);
    if (from.version == "v1beta1") return resourceFromV1beta1(from.kind, object, arena);
  }
}

Result<Mut<>> convert(const TypeInfo& to, const schema::Object& object) {
  const TypeInfo& from = object.type();
  if (from.kind != to.kind)
    return fail(Reason::InternalError, fmt::format("Internal error occurred: {} is no other version of {}", from.name, to.name));
  Arena arena;
  Value value = TRY(codec::valueOf(from, object.root(), arena));
  moveFields(from, to, value, arena);
  Mut<> out(to);
  TRY(codec::decodeValue(to, value, out.root(), out.arena()));
  return out;
}

}  // namespace

Result<Mut<>> convertTo(const TypeInfo& type, Mut<> object) {
  if (&object.type() == &type) return object;
  return convert(type, object.object());
}

Result<Ref<>> convertTo(const TypeInfo& type, Ref<> object) {
  if (&object.type() == &type) return object;
  return TRY(convert(type, object.object())).publish();
}

}  // namespace knarr::apiserver
