#include "apiserver/openapi_documents.h"

#include <fmt/format.h>

#include "apimachinery/openapi/openapi.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "wire/pki.h"

namespace knarr::apiserver {
namespace {

std::string pathOf(std::string_view group, std::string_view version) {
  return group.empty() ? fmt::format("api/{}", version) : fmt::format("apis/{}/{}", group, version);
}

}  // namespace

const OpenApiDocuments::Document* OpenApiDocuments::document(const std::string& path) {
  if (auto found = documents_.find(path); found != documents_.end()) return &found->second;
  for (const Discovery::Group& group : discovery_.groups())
    for (const std::string& version : group.versions) {
      if (pathOf(group.name, version) != path) continue;
      std::string json = apimachinery::openApiV3Document(group.name, version);
      Document document{std::make_shared<const std::string>(json), toHex(wire::sha256(json))};
      return &documents_.emplace(path, std::move(document)).first->second;
    }
  return nullptr;
}

std::string OpenApiDocuments::index() {
  std::string paths;
  for (const Discovery::Group& group : discovery_.groups())
    for (const std::string& version : group.versions) {
      std::string path = pathOf(group.name, version);
      const Document* found = document(path);
      paths += fmt::format("{}{}:{{\"serverRelativeURL\":{}}}", paths.empty() ? "" : ",", codec::quoteJson(path),
                           codec::quoteJson(fmt::format("/openapi/v3/{}?hash={}", path, found->hash)));
    }
  return fmt::format("{{\"paths\":{{{}}}}}", paths);
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
    hash = toHex(wire::sha256(json));
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
