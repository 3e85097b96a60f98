// Server-side defaults of every kind this server accepts.
//
// Source: pkg/apis/<group>/<version>/defaults.go and zz_generated.defaults.go. Parents come before their children.
#pragma once

#include "schema/object.h"

namespace knarr::apiserver {

// Declared defaults first, then the kind's own.
void setDefaults(schema::Mut<>& object);

}  // namespace knarr::apiserver
