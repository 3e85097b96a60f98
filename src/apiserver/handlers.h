// The REST verbs over HTTP: options from the query, objects from the body, answers in the negotiated form.
//
// Source: k8s.io/apiserver/pkg/endpoints/handlers/{get,create,update,patch,delete,watch}.go.
#pragma once

#include "apiserver/api.h"
#include "apiserver/request_info.h"
#include "apiserver/responses.h"

namespace knarr::apiserver {

// One body may have this many bytes. Source: k8s.io/apiserver, DefaultMaxRequestBodyBytes.
inline constexpr size_t kRequestBodyBytesMax = 3 * 1024 * 1024;

// Answers a resource request that authentication and authorization let through. `served` is the parent of a subresource.
Task<void> handleResource(HttpCallPtr call, Api* api, RequestInfo info, Query query, const ServedResource* served,
                          const schema::ResourceInfo* resource, env::Env environment);

// The whole body; RequestEntityTooLarge beyond kRequestBodyBytesMax.
Task<Result<std::string>> readRequestBody(HttpCallPtr call);

// Decodes a request body as `type`: JSON, YAML or protobuf by the content type; defaults apiVersion and kind from the URL;
// sets defaults. fieldValidation "Strict" fails on unknown fields, "" and "Warn" add warnings to the context.
Result<Mut<>> decodeBody(const schema::TypeInfo& type, std::string_view contentType, const std::string& body,
                         const std::string& fieldValidation, std::vector<std::string>& warnings);

}  // namespace knarr::apiserver
