// RequestInfo: what a method and a URL mean to the API, before anything is looked up.
//
// Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::apiserver {

// A query string, decoded; the first value of a name wins where one is asked for.
class Query {
 public:
  // BadRequest on a malformed escape; at most 1000 parameters.
  static Result<Query> parse(std::string_view text);
  bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
  // "" when absent.
  std::string get(std::string_view name) const;
  const std::vector<std::string>& all(std::string_view name) const;
  // Absent is false; "0" and "false" in any case are false; everything else, empty included, is true.
  bool flag(std::string_view name) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

struct RequestInfo {
  bool isResourceRequest = false;
  std::string path;
  std::string verb;  // get, list, watch, create, update, patch, delete, deletecollection; the method for other paths
  std::string apiPrefix, apiGroup, apiVersion;
  std::string nameSpace, resource, subresource, name;
  std::vector<std::string> parts;  // of the path, from the resource on
};

// `path` without the query, percent-decoded. Errors: InternalError where upstream answers 500.
Result<RequestInfo> resolveRequestInfo(std::string_view method, std::string_view path, const Query& query);

}  // namespace knarr::apiserver
