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
const OpenApiDocuments::Document* OpenApiDocuments::document(const std::string& path) {
  if (auto found = documents_.find(path); found != documents_.end()) return &found->second;
  for (const Discovery::Group& group : discovery_.groups())
    for (const std::string& version : group.versions) {
      if (openapi::pathOf(group.name, version) != path) continue;
      std::string json = openapi::documentV3(openapi::builtInGroupVersion(group.name, version), kServerVersion);
      std::string hash = openapi::hashOf(json);
      Document document{std::make_shared<const std::string>(std::move(json)), std::move(hash)};
      return &documents_.emplace(path, std::move(document)).first->second;
    }
  return nullptr;
}

std::string OpenApiDocuments::index() {
  std::vector<std::pair<std::string, std::string>> paths;
  for (const Discovery::Group& group : discovery_.groups())
    for (const std::string& version : group.versions) {
      std::string path = openapi::pathOf(group.name, version);
      paths.emplace_back(path, document(path)->hash);
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
    const Document* found = document(path);
    if (!found) {
      co_await respondText(call, 404, "404 page not found\n");
      co_return;
    }
    hash = found->hash;
    body = found->json;
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
  co_await call->exchange->respond(same ? 304 : 200, std::move(headers), same ? wire::makeBytes("") : body);
}

}  // namespace knarr::apiserver
