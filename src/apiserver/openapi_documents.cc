#include "apiserver/openapi_documents.h"

#include <fmt/format.h>

#include "apimachinery/openapi/openapi.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "wire/pki.h"

namespace knarr::apiserver {

namespace openapi = apimachinery::openapi;

namespace {
constexpr std::string_view kServerVersion = "v1.36.3";
}

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
