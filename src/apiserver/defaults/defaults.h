// Defaults by kind; each function sets what its kind's document leaves out. Shared pieces (pod templates) stand in
// core_defaults.cc.
#pragma once

#include "api/core_v1.h"
#include "schema/object.h"

namespace knarr::apiserver {

using DefaultsFunction = void (*)(schema::Mut<>& object);
// Null when the kind has no defaults of its own.
DefaultsFunction defaultsOf(const schema::TypeInfo& type);
DefaultsFunction coreDefaultsOf(std::string_view kind);
DefaultsFunction workloadDefaultsOf(std::string_view group, std::string_view kind);
DefaultsFunction groupDefaultsOf(const schema::TypeInfo& type);

// Defaults of a pod spec that hold in templates too.
void setPodSpecDefaults(corev1::PodSpec& spec, Arena& arena);

template <class T>
void setIfAbsent(schema::Opt<T>& field, T value) {
  if (!field) field = value;
}
inline void setIfEmpty(schema::Str& field, schema::Str value) {
  if (field.empty()) field = value;
}

}  // namespace knarr::apiserver
