// Strategy: what is special about one resource. Everything else is the generic registry's.
//
// Upstream counterpart: pkg/registry/<group>/<resource>/strategy.go.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "apimachinery/validation.h"
#include "apiserver/user.h"
#include "schema/object.h"

namespace knarr::apiserver {

using schema::Mut;
using schema::Ref;

enum class GarbageCollectionPolicy : uint8_t { DeleteDependents, OrphanDependents, Unsupported };

// What raises metadata.generation.
enum class Generation : uint8_t {
  Never,
  OnCreate,           // 1, and never raised
  Spec,               // the spec
  SpecOrAnnotations,  // the spec or the annotations
  OutsideMetadata,    // anything but metadata and status
};

// Who writes and when.
struct WriteContext {
  const UserInfo* user = nullptr;
  int64_t nowUnixSeconds = 0;
};

struct Strategy {
  using Prepare = void (*)(Mut<>& object, const WriteContext& context);
  using PrepareUpdate = void (*)(Mut<>& object, const Ref<>& old, const WriteContext& context);
  using Validate = apimachinery::FieldErrors (*)(const Mut<>& object);
  using ValidateUpdate = apimachinery::FieldErrors (*)(const Mut<>& object, const Ref<>& old);
  // Runs after the generic part (status cleared, generation 1).
  Prepare prepareForCreate = nullptr;
  // Runs after the generic part (status kept) and before the generation is raised.
  PrepareUpdate prepareForUpdate = nullptr;
  // Runs after the spec was restored.
  PrepareUpdate prepareForStatusUpdate = nullptr;
  Validate validate = nullptr;
  Validate validateCreate = nullptr;  // besides, on create only
  ValidateUpdate validateUpdate = nullptr;
  ValidateUpdate validateStatusUpdate = nullptr;
  // What a valid object says that its writer should know of; `old` is null when it is new. Not asked about subresources.
  std::vector<std::string> (*warnings)(const Mut<>& object, const Ref<>& old) = nullptr;
  // Subresources that write the object and are neither status nor scale: what each may change, and its rules.
  struct Subresource {
    std::string_view name;
    PrepareUpdate prepare;
    ValidateUpdate validate;
  };
  std::vector<Subresource> subresources;
  // The rule for metadata.name; a DNS subdomain when null.
  std::vector<std::string> (*validateName)(std::string_view name) = nullptr;
  // Fields that selectors may name besides metadata.name and metadata.namespace: selector name, path in the object, and the
  // path of what counts when nothing is there.
  struct SelectableField {
    std::string_view name;
    std::string_view path;
    std::string_view otherwise = {};
  };
  std::vector<SelectableField> selectableFields;
  Generation generation = Generation::Never;
  // A new object keeps the status that came with it (nodes).
  bool keepsStatusOnCreate = false;
  // A status update leaves labels, annotations, finalizers and owners alone.
  bool statusKeepsMetadata = false;
  bool allowUnconditionalUpdate = true;
  bool allowCreateOnUpdate = false;
  // DELETE answers with the object instead of a Status.
  bool returnDeletedObject = false;
  GarbageCollectionPolicy garbageCollection = GarbageCollectionPolicy::DeleteDependents;
  // Seconds a delete leaves the object terminating; null: none. Only pods have it.
  int64_t (*gracePeriodSeconds)(const Ref<>& object, std::optional<int64_t> asked) = nullptr;
  // A namespace goes only when its spec.finalizers are empty.
  bool (*mayBeRemoved)(const schema::Object& object) = nullptr;
  // Of objects with a limited life (events); 0 for all others.
  int64_t ttlSeconds = 0;
  // The part of the key under /registry/; the resource's name when empty.
  std::string_view storagePrefix;
};

// The strategy of a resource; a plain one for resources without a peculiarity.
const Strategy& strategyOf(const schema::ResourceInfo& resource);

// The text of a field that a path names ("spec.nodeName", "spec.hostNetwork"); "" when absent. Walks the type tables.
std::string fieldText(const schema::TypeInfo& type, const void* value, std::string_view path);
// The field called `json` directly in `type` (looking into inlined structs); null when there is none.
const schema::FieldInfo* findField(const schema::TypeInfo& type, std::string_view json);

}  // namespace knarr::apiserver
