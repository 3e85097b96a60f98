#include "apiserver/request_info.h"

#include <fmt/format.h>

#include "apimachinery/labels.h"
#include "apimachinery/validation.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {
constexpr size_t kQueryParametersMax = 1000;

std::string verbOfMethod(std::string_view method) {
  if (method == "POST") return "create";
  if (method == "GET" || method == "HEAD") return "get";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return "";
}

// A get without a name is a list or a watch; a selector for one name names it.
void resolveCollectionVerb(RequestInfo& info, const Query& query) {
  if (info.verb == "get") {
    info.verb = query.flag("watch") ? "watch" : "list";
    auto selector = apimachinery::FieldSelector::parse(query.get("fieldSelector"));
    const std::string* name = selector ? selector->exactValue("metadata.name") : nullptr;
    if (name && !name->empty() && apimachinery::isPathSegmentName(*name).empty()) info.name = *name;
  } else if (info.verb == "delete") {
    info.verb = "deletecollection";
  }
}

}  // namespace

Result<Query> Query::parse(std::string_view text) {
  Query query;
  if (text.empty()) return query;
  auto pairs = split(text, '&');
  if (pairs.size() > kQueryParametersMax)
    return fail(Reason::BadRequest, fmt::format("too many query parameters: {}, at most {}", pairs.size(), kQueryParametersMax));
  for (std::string_view pair : pairs) {
    if (pair.empty()) continue;
    size_t equals = pair.find('=');
    auto name = percentDecode(pair.substr(0, equals), true);
    auto value = equals == std::string_view::npos ? std::string() : percentDecode(pair.substr(equals + 1), true);
    if (!name || !value) return fail(Reason::BadRequest, fmt::format("invalid URL escape in query parameter {}", quote(pair)));
    query.values_[*name].push_back(*value);
  }
  return query;
}

std::string Query::get(std::string_view name) const {
  auto found = values_.find(name);
  return found == values_.end() ? std::string() : found->second.front();
}

const std::vector<std::string>& Query::all(std::string_view name) const {
  static const std::vector<std::string> kNone;
  auto found = values_.find(name);
  return found == values_.end() ? kNone : found->second;
}

bool Query::flag(std::string_view name) const {
  auto found = values_.find(name);
  if (found == values_.end()) return false;
  const std::string& value = found->second.front();
  return value != "0" && !equalsIgnoreCase(value, "false");
}

Result<RequestInfo> resolveRequestInfo(std::string_view method, std::string_view path, const Query& query) {
  RequestInfo info;
  info.path = path;
  info.verb = toLower(method);
  std::string_view trimmed = path;
  while (trimmed.starts_with('/')) trimmed.remove_prefix(1);
  while (trimmed.ends_with('/')) trimmed.remove_suffix(1);
  std::vector<std::string> parts;
  for (std::string_view part : split(trimmed, '/')) parts.emplace_back(part);
  if (parts.size() < 3 || (parts[0] != "api" && parts[0] != "apis")) return info;
  info.apiPrefix = parts[0];
  size_t at = 1;
  if (parts[0] == "apis") {
    if (parts.size() < 4) return info;
    info.apiGroup = parts[at++];
  }
  info.isResourceRequest = true;
  info.apiVersion = parts[at++];
  bool watchPrefix = false;
  if (parts[at] == "watch" || parts[at] == "proxy") {
    info.verb = parts[at++];
    watchPrefix = true;
    if (at >= parts.size())
      return fail(Reason::InternalError, fmt::format("unable to determine kind and namespace from url, {}", path));
  } else {
    info.verb = verbOfMethod(method);
  }
  if (parts[at] == "namespaces" && at + 1 < parts.size()) {
    info.nameSpace = parts[at + 1];
    bool ofNamespace = at + 2 >= parts.size() || parts[at + 2] == "status" || parts[at + 2] == "finalize";
    if (!ofNamespace) at += 2;
  }
  info.parts.assign(parts.begin() + static_cast<ptrdiff_t>(at), parts.end());
  if (info.parts.size() >= 3 && info.verb != "proxy") info.subresource = info.parts[2];
  if (info.parts.size() >= 2) info.name = info.parts[1];
  info.resource = info.parts[0];
  if (info.name.empty() && !watchPrefix) resolveCollectionVerb(info, query);
  return info;
}

}  // namespace knarr::apiserver
