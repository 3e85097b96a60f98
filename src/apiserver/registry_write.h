// The steps every write goes through, as plain functions on objects (no I/O, no clock of their own).
#pragma once

#include "apiserver/registry.h"

namespace knarr::apiserver {

// Whether the resource has a status subresource, so that its main resource leaves status alone.
bool hasStatus(const ServedResource& resource);

struct WriteMoment {
  int64_t unixSeconds = 0;
  std::string uid;         // for a created object
  std::string nameSuffix;  // for generateName
};

// Sets system fields, clears status, runs the strategy's preparation and all validation.
// Source: registry/rest/create.go BeforeCreate.
Result<void> beforeCreate(const ServedResource& resource, std::string_view nameSpace, Mut<>& object, const WriteContext& context);
// System metadata and name of a new object, before admission.
Result<void> fillSystemFields(const ServedResource& resource, std::string_view nameSpace, Mut<>& object,
                              const WriteMoment& moment);
// Keeps what an update may not change, keeps the other half (spec or status), raises the generation, validates.
// Source: registry/rest/update.go BeforeUpdate.
Result<void> beforeUpdate(const ServedResource& resource, std::string_view subresource, Mut<>& object, const Ref<>& old,
                          const WriteContext& context);
// What must be equal between URL and object.
Result<void> checkNameAndNamespace(const ServedResource& resource, std::string_view nameSpace, std::string_view name,
                                   Mut<>& object);
// Takes away owner references that say again, in every field, what one before says. The uids of what went.
// Source: k8s.io/apiserver/pkg/endpoints/handlers/rest.go, dedupOwnerReferences.
std::vector<std::string> dedupOwnerReferences(metav1::ObjectMeta& metadata);
// metadata rules common to all kinds.
apimachinery::FieldErrors validateObjectMeta(const ServedResource& resource, const Mut<>& object);
apimachinery::FieldErrors validateObjectMetaUpdate(const metav1::ObjectMeta& now, const metav1::ObjectMeta& old);

// What a delete turns an object into. Source: registry/rest/delete.go, registry/generic/registry/store.go.
struct DeletePlan {
  enum Kind : uint8_t { Nothing, Mark, Remove } kind = Remove;
  // With Mark: the finalizers and deletion fields that the object gets.
  std::vector<std::string> finalizers;
  bool finalizersChanged = false;
  bool setTimestamp = false;
  int64_t deletionUnixSeconds = 0;
  std::optional<int64_t> graceSeconds;
};
DeletePlan decideDelete(const ServedResource& resource, const Ref<>& object, const client::DeleteOptions& options,
                        int64_t nowUnixSeconds);

// Whether the object can leave the store: terminating, no grace left, no finalizers.
bool readyForRemoval(const ServedResource& resource, const metav1::ObjectMeta& metadata);

}  // namespace knarr::apiserver
