// Patches and managed fields of the API server: what a PATCH, and every other write, does to an object before it is stored.
//
// Plain functions over apimachinery/patch; a store conflict runs them again on the newer object.
// Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go and apimachinery/pkg/util/managedfields.
#pragma once

#include <string>
#include <vector>

#include "apiserver/registry.h"

namespace knarr::apiserver {

struct PatchRequest {
  const ServedResource* resource = nullptr;
  std::string subresource;
  std::string nameSpace, name;
  client::PatchType type = client::PatchType::Merge;
  std::string body;  // as sent; preparePatch turns the YAML of an apply into JSON
  client::WriteOptions options;
  std::string manager;
};

// Checks what does not depend on the stored object. BadRequest or Invalid in upstream's words.
Result<void> preparePatch(PatchRequest& request);
// `old` is null when an apply creates.
Result<Mut<>> applyPatch(const PatchRequest& request, const Ref<>& old, env::Env environment, std::vector<std::string>& warnings);

// The manager that a write is recorded under: the option, or the user agent up to its first '/'.
std::string fieldManagerOf(const RequestContext& context, const client::WriteOptions& options);
// Records ownership of fields by a write that is not an apply.
Result<Mut<>> trackCreate(const ServedResource& resource, Mut<> object, const std::string& manager, env::Env environment);
Result<Mut<>> trackUpdate(const ServedResource& resource, const std::string& subresource, Mut<> object, const Ref<>& old,
                          const std::string& manager, env::Env environment);
// Name and namespace of a PUT body must fit the URL.
Result<void> checkUpdateTarget(const ServedResource& resource, const std::string& nameSpace, const std::string& name,
                               Mut<>& object);

}  // namespace knarr::apiserver
