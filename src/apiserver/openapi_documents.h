// /openapi/v3: the index and a document per group and version, built when first asked for.
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

 private:
  struct Document {
    std::shared_ptr<const std::string> json;
    std::string hash;
  };
  // Null for a group and version that is not served.
  const Document* document(const std::string& path);
  std::string index();

  const Discovery& discovery_;
  std::map<std::string, Document> documents_;
};

}  // namespace knarr::apiserver
