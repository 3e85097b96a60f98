#include <fmt/format.h>

#include "apiserver/registry.h"
#include "base/strings.h"

namespace knarr::apiserver {

std::string groupResource(const schema::ResourceInfo& resource) {
  return resource.group.empty() ? std::string(resource.resource) : fmt::format("{}.{}", resource.resource, resource.group);
}

namespace {
ErrorDetails detailsOf(const schema::ResourceInfo& resource, std::string_view name) {
  return {std::string(resource.group), std::string(resource.resource), std::string(name), "", 0};
}
}  // namespace

Error notFoundError(const schema::ResourceInfo& resource, std::string_view name) {
  return Error(Reason::NotFound, fmt::format("{} {} not found", groupResource(resource), quote(name)))
      .withDetails(detailsOf(resource, name));
}

Error conflictError(const schema::ResourceInfo& resource, std::string_view name, std::string_view why) {
  return Error(Reason::Conflict,
               fmt::format("Operation cannot be fulfilled on {} {}: {}", groupResource(resource), quote(name), why))
      .withDetails(detailsOf(resource, name));
}

Error forbiddenError(const schema::ResourceInfo& resource, std::string_view name, std::string_view why) {
  std::string what = name.empty() ? groupResource(resource) : fmt::format("{} {}", groupResource(resource), quote(name));
  return Error(Reason::Forbidden, fmt::format("{} is forbidden: {}", what, why)).withDetails(detailsOf(resource, name));
}

// Source: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle.
Error namespaceTerminatingError(const schema::ResourceInfo& resource, std::string_view name, std::string_view nameSpace) {
  Error error = forbiddenError(
      resource, name, fmt::format("unable to create new content in namespace {} because it is being terminated", nameSpace));
  error.withCause({"NamespaceTerminating", fmt::format("namespace {} is being terminated", nameSpace), "metadata.namespace"});
  return error;
}

}  // namespace knarr::apiserver
