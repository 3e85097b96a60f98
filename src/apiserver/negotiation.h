// Content negotiation: which form a client asked for, and which one it sent.
//
// Source: k8s.io/apiserver/pkg/endpoints/handlers/negotiation; behaviour as API clients see it in Accept and Content-Type.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::apiserver {

enum class MediaType : uint8_t { Json, Yaml, Protobuf };
std::string_view mediaTypeName(MediaType type);

enum class Transform : uint8_t { None, Table, PartialObjectMetadata, PartialObjectMetadataList };

struct Negotiated {
  MediaType mediaType = MediaType::Json;
  Transform transform = Transform::None;
  std::string transformVersion = "v1";  // of meta.k8s.io
  bool pretty = false;
};

struct AcceptClause {
  std::string type, subtype;
  std::vector<std::pair<std::string, std::string>> parameters;
  double quality = 1;
  std::string_view parameter(std::string_view name) const;
};
// Sorted by preference; at most 64 clauses are looked at.
std::vector<AcceptClause> parseAccept(std::string_view header);

// The router looks first: a clause, its parameters cut off, must name a type that the route produces; `produced` lists them with
// commas. NotAcceptable otherwise. Source: go-restful, Route.
Result<void> checkProduced(std::string_view accept, std::string_view produced);
// NotAcceptable when nothing fits. `isWatch` leaves out YAML.
// `listRoute`: the path is that of a collection, which is listed and watched. `hasTable`: what the path gives can be shown as a
// Table; reviews and the like cannot.
// Source: k8s.io/apiserver/pkg/endpoints/handlers/rest.go, RequestScope.AllowsMediaTypeTransform.
Result<Negotiated> negotiate(std::string_view accept, bool isWatch, bool listRoute, bool hasTable);
// The form of a request body; empty is JSON. UnsupportedMediaType otherwise.
Result<MediaType> contentTypeOf(std::string_view header);
// Whether the client looks like a person: query parameter pretty, or a browser or curl.
bool wantsPretty(std::string_view prettyParameter, bool hasPretty, std::string_view userAgent);

}  // namespace knarr::apiserver
