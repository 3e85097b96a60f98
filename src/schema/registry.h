// The generated list of all types and resources. Private to the room; type_info.h has the look-ups.
#pragma once

#include <span>

#include "schema/type_info.h"

namespace knarr::schema::tables {

struct Registry {
  std::span<const TypeInfo* const> types;        // by package, then as declared
  std::span<const TypeInfo* const> typesByKind;  // root kinds, ascending (group, version, kind)
  std::span<const ResourceInfo> resources;       // by package, then as declared
};

extern const Registry kRegistry;

}  // namespace knarr::schema::tables
