#include "apiserver/conversion/moves.h"

namespace knarr::apiserver {

using codec::Value;

namespace {

// What a v1beta1 request holds itself and a v1 request holds in `exactly`.
constexpr std::string_view kExactFields[] = {"deviceClassName", "selectors",   "allocationMode", "count",
                                             "adminAccess",     "tolerations", "capacity"};
// What a v1beta1 device holds in `basic` and a v1 device holds itself.
constexpr std::string_view kBasicFields[] = {"attributes",
                                             "capacity",
                                             "consumesCounters",
                                             "nodeName",
                                             "nodeSelector",
                                             "allNodes",
                                             "taints",
                                             "bindsToNode",
                                             "bindingConditions",
                                             "bindingFailureConditions",
                                             "allowMultipleAllocations",
                                             "nodeAllocatableResourceMappings"};

Value* at(Value& object, std::initializer_list<std::string_view> path) {
  Value* value = &object;
  for (std::string_view name : path)
    if (value) value = value->find(name);
  return value;
}

Value* requestsOf(std::string_view kind, Value& object) {
  Value* found = kind == "ResourceClaim"           ? at(object, {"spec", "devices", "requests"})
                 : kind == "ResourceClaimTemplate" ? at(object, {"spec", "spec", "devices", "requests"})
                                                   : nullptr;
  return found && found->isArray() ? found : nullptr;
}

Value* devicesOf(std::string_view kind, Value& object) {
  Value* found = kind == "ResourceSlice" ? at(object, {"spec", "devices"}) : nullptr;
  return found && found->isArray() ? found : nullptr;
}

}  // namespace

void resourceToV1beta1(std::string_view kind, Value& object, Arena& arena) {
  if (Value* requests = requestsOf(kind, object))
    for (Value& request : requests->items()) {
      Value* exactly = request.find("exactly");
      if (!exactly) continue;
      Value from = *exactly;
      request.erase("exactly");
      for (std::string_view field : kExactFields) moveMember(from, field, request, arena, field);
    }
  if (Value* devices = devicesOf(kind, object))
    for (Value& device : devices->items()) {
      Value basic = Value::emptyObject();
      for (std::string_view field : kBasicFields) moveMember(device, field, basic, arena, field);
      device.set(arena, "basic", basic);
    }
}

void resourceFromV1beta1(std::string_view kind, Value& object, Arena& arena) {
  if (Value* requests = requestsOf(kind, object))
    for (Value& request : requests->items()) {
      const Value* deviceClass = request.find("deviceClassName");
      if (!deviceClass || deviceClass->stringOr().empty()) {
        // A request of alternatives; the empty class name is all that v1beta1 says of an exact one.
        request.erase("deviceClassName");
        continue;
      }
      Value exactly = Value::emptyObject();
      for (std::string_view field : kExactFields) moveMember(request, field, exactly, arena, field);
      request.set(arena, "exactly", exactly);
    }
  if (Value* devices = devicesOf(kind, object))
    for (Value& device : devices->items()) {
      Value* basic = device.find("basic");
      if (!basic) continue;
      Value from = *basic;
      device.erase("basic");
      for (std::string_view field : kBasicFields) moveMember(from, field, device, arena, field);
    }
}

}  // namespace knarr::apiserver
