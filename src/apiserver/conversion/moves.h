// Pieces of conversion: what moves where, on JSON trees.
#pragma once

#include <string_view>

#include "codec/value.h"

namespace knarr::apiserver {

// Gives a member another name; a missing one stays missing.
void renameMember(codec::Value& object, Arena& arena, std::string_view from, std::string_view to);
// A member of an object, moved to another object under another name.
void moveMember(codec::Value& from, std::string_view name, codec::Value& to, Arena& arena, std::string_view newName);

// Source: pkg/apis/autoscaling/v1/conversion.go.
void horizontalPodAutoscalerToV1(codec::Value& object, Arena& arena);
void horizontalPodAutoscalerFromV1(codec::Value& object, Arena& arena);
// autoscaling/v2 neither shows nor takes the annotations that v1 keeps the rest of v2 in.
void dropAutoscalerAnnotations(codec::Value& object);

// resource.k8s.io/v1beta1: requests without `exactly`, devices with `basic`. Source: pkg/apis/resource/v1beta1/conversion.go.
void resourceToV1beta1(std::string_view kind, codec::Value& object, Arena& arena);
void resourceFromV1beta1(std::string_view kind, codec::Value& object, Arena& arena);

}  // namespace knarr::apiserver
