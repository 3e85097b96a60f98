// /openapi/v3: the index and a document per group and version; /openapi/v2: one document of all. Built when asked for.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "apiserver/discovery.h"
#include "apiserver/request_info.h"
#include "apiserver/responses.h"

namespace knarr::apiserver {

class OpenApiDocuments {
 public:
  explicit OpenApiDocuments(const Discovery& discovery) : discovery_(discovery) {}
  // `path` is what follows /openapi/v3/ ("" for the index, "apis/apps/v1").
  Task<void> respond(HttpCallPtr call, std::string path, Query query);
  // /openapi/v2 as JSON, or as the protobuf of gnostic; 406 for a client that takes neither.
  Task<void> respondV2(HttpCallPtr call);

 private:
  // The document at a path; null for a group and version that is not served. It is made when it is asked for and goes when the
  // last answer that holds it is sent: clients keep it under its hash, and all documents together are some megabytes.
  wire::Bytes document(const std::string& path);
  wire::Bytes documentV2(bool protobuf);
  // "" for a group and version that is not served.
  std::string hashAt(const std::string& path);
  std::string index();

  const Discovery& discovery_;
  std::map<std::string, std::string> hashes_;
  std::map<std::string, std::weak_ptr<const std::string>> inUse_;
};

}  // namespace knarr::apiserver
