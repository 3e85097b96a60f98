#include "apiserver/openapi_documents.h"

#include <fmt/format.h>

#include "apimachinery/openapi/openapi.h"
#include "apiserver/negotiation.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "wire/pki.h"

namespace knarr::apiserver {

namespace openapi = apimachinery::openapi;

namespace {
constexpr std::string_view kServerVersion = "v1.36.3";

// What clients ask for, with the older spelling first, and what the answer is called.
// Source: k8s.io/kube-openapi/pkg/handler/handler.go.
constexpr std::string_view kProtobufV2[] = {"com.github.proto-openapi.spec.v2@v1.0+protobuf",
                                            "com.github.proto-openapi.spec.v2.v1.0+protobuf"};
enum class FormV2 : uint8_t { Json, Protobuf, None };

FormV2 formOf(std::string_view accept) {
  if (accept.empty()) return FormV2::Json;
  for (const AcceptClause& clause : parseAccept(accept)) {
    if (clause.type != "application" && clause.type != "*") continue;
    if (clause.subtype == "json" || clause.subtype == "*") return FormV2::Json;
    for (std::string_view protobuf : kProtobufV2)
      if (clause.subtype == protobuf) return FormV2::Protobuf;
  }
  return FormV2::None;
}
}  // namespace

wire::Bytes OpenApiDocuments::document(const std::string& path) {
  if (wire::Bytes held = inUse_[path].lock()) return held;
  for (const Discovery::Group& group : discovery_.groups())
    for (const std::string& version : group.versions) {
      if (openapi::pathOf(group.name, version) != path) continue;
      wire::Bytes made = wire::makeBytes(openapi::documentV3(openapi::builtInGroupVersion(group.name, version), kServerVersion));
      inUse_[path] = made;
      return made;
    }
  inUse_.erase(path);
  return nullptr;
}

wire::Bytes OpenApiDocuments::documentV2(bool protobuf) {
  std::weak_ptr<const std::string>& held = inUse_[protobuf ? "v2 protobuf" : "v2 json"];
  if (wire::Bytes made = held.lock()) return made;
  std::vector<openapi::GroupVersion> all;
  for (const Discovery::Group& group : discovery_.groups())
    for (const std::string& version : group.versions) all.push_back(openapi::builtInGroupVersion(group.name, version));
  wire::Bytes made =
      wire::makeBytes(protobuf ? openapi::documentV2Protobuf(all, kServerVersion) : openapi::documentV2(all, kServerVersion));
  held = made;
  return made;
}

Task<void> OpenApiDocuments::respondV2(HttpCallPtr call) {
  FormV2 form = formOf(call->exchange->request().headers.get("Accept"));
  if (form == FormV2::None) {
    co_await respondText(call, 406, "");
    co_return;
  }
  bool protobuf = form == FormV2::Protobuf;
  std::string& hash = hashes_[protobuf ? "v2 protobuf" : "v2 json"];
  wire::Bytes body;
  if (hash.empty()) {
    body = documentV2(protobuf);
    hash = openapi::hashOf(*body);
  }
  wire::Headers headers;
  headers.add("Audit-Id", call->auditId);
  headers.add("Vary", "Accept");
  headers.add("Content-Type", protobuf ? fmt::format("application/{}", kProtobufV2[1]) : "application/json");
  std::string etag = fmt::format("\"{}\"", hash);
  headers.add("ETag", etag);
  bool same = call->exchange->request().headers.get("If-None-Match") == etag;
  if (!same && !body) body = documentV2(protobuf);
  co_await call->exchange->respond(same ? 304 : 200, std::move(headers), same ? wire::makeBytes("") : body);
}

std::string OpenApiDocuments::hashAt(const std::string& path) {
  if (auto known = hashes_.find(path); known != hashes_.end()) return known->second;
  wire::Bytes made = document(path);
  return made ? hashes_.emplace(path, openapi::hashOf(*made)).first->second : "";
}

std::string OpenApiDocuments::index() {
  std::vector<std::pair<std::string, std::string>> paths;
  for (const Discovery::Group& group : discovery_.groups())
    for (const std::string& version : group.versions) {
      std::string path = openapi::pathOf(group.name, version);
      paths.emplace_back(path, hashAt(path));
    }
  return openapi::indexV3(paths);
}

Task<void> OpenApiDocuments::respond(HttpCallPtr call, std::string path, Query query) {
  wire::Headers headers;
  headers.add("Audit-Id", call->auditId);
  headers.add("Vary", "Accept");
  headers.add("Content-Type", "application/json");
  wire::Bytes body;
  std::string hash;
  if (path.empty()) {
    std::string json = index();
    hash = openapi::hashOf(json);
    body = wire::makeBytes(std::move(json));
  } else {
    hash = hashAt(path);
    if (hash.empty()) {
      co_await respondText(call, 404, "404 page not found\n");
      co_return;
    }
    if (query.has("hash") && query.get("hash") != hash) {
      headers.add("Location", fmt::format("/openapi/v3/{}?hash={}", path, hash));
      co_await call->exchange->respond(301, std::move(headers), std::string());
      co_return;
    }
    if (query.has("hash")) headers.add("Cache-Control", "public, immutable");
  }
  std::string etag = fmt::format("\"{}\"", hash);
  headers.add("ETag", etag);
  bool same = call->exchange->request().headers.get("If-None-Match") == etag;
  if (!same && !body) body = document(path);
  co_await call->exchange->respond(same ? 304 : 200, std::move(headers), same ? wire::makeBytes("") : body);
}

}  // namespace knarr::apiserver
