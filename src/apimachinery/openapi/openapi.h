// OpenAPI documents of the API, made from TypeInfo and ResourceInfo: v2 for the whole server, v3
// per group and version.
//
// kubectl reads v3 for create, apply and explain: it looks for a PATCH operation with the kind's
// x-kubernetes-group-version-kind and a fieldValidation parameter, and takes patch and list keys
// from the schemas. Source: k8s.io/kube-openapi/pkg/{builder,builder3}, the published
// api/openapi-spec of upstream.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/value.h"
#include "schema/type_info.h"

namespace knarr::apimachinery::openapi {

// A schema that has no TypeInfo (custom resources): its definition name ("com.example.v1.Boat") and
// its v3 form.
struct NamedSchema {
  std::string_view name;
  codec::Value schema;
};

// What one document of v3 describes. Custom resources bring their schemas in `schemas`; a schema
// there wins over the TypeInfo of the same OpenAPI name.
struct GroupVersion {
  std::string_view group;
  std::string_view version;
  std::vector<const schema::ResourceInfo*> resources;
  std::vector<NamedSchema> schemas;
  bool custom = false;  // custom resources: no protobuf, no strategic merge patch
};

// The built-in resources of a group and version.
GroupVersion builtInGroupVersion(std::string_view group, std::string_view version);

// JSON text of /openapi/v3/apis/GROUP/VERSION (api/VERSION for the core group).
std::string documentV3(const GroupVersion& groupVersion, std::string_view serverVersion);
// JSON text of /openapi/v2: all given group versions in one document.
std::string documentV2(std::span<const GroupVersion> groupVersions, std::string_view serverVersion);
// The same as protobuf, in the messages of gnostic's package openapi.v2. kubectl asks for it to check what v3 cannot tell it:
// files of kind List, and everything before its version 1.29.
std::string documentV2Protobuf(std::span<const GroupVersion> groupVersions, std::string_view serverVersion);

// "api/v1" or "apis/apps/v1".
std::string pathOf(std::string_view group, std::string_view version);
// The `hash` of a document: upper-case hex SHA-512 of its bytes; in quotes it is also its ETag.
std::string hashOf(std::string_view document);
// JSON text of /openapi/v3 for (path, hash) pairs:
// {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=H"}}}
std::string indexV3(std::span<const std::pair<std::string, std::string>> pathsAndHashes);

}  // namespace knarr::apimachinery::openapi
