#include "apiserver/negotiation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/strings.h"

namespace knarr::apiserver {
namespace {
constexpr size_t kClausesMax = 64;
constexpr std::string_view kAccepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

AcceptClause parseClause(std::string_view text) {
  AcceptClause clause;
  auto parts = split(text, ';');
  std::string_view media = trim(parts[0]);
  size_t slash = media.find('/');
  clause.type = toLower(media.substr(0, slash));
  clause.subtype = slash == std::string_view::npos ? "" : toLower(media.substr(slash + 1));
  if (clause.type == "*" && clause.subtype.empty()) clause.subtype = "*";
  for (size_t i = 1; i < parts.size(); ++i) {
    std::string_view part = trim(parts[i]);
    size_t equals = part.find('=');
    std::string name = toLower(trim(part.substr(0, equals)));
    std::string value(equals == std::string_view::npos ? std::string_view() : trim(part.substr(equals + 1)));
    if (name == "q") {
      char* end = nullptr;
      clause.quality = std::strtod(value.c_str(), &end);
      if (value.empty() || *end != '\0') clause.quality = 0;
    } else {
      clause.parameters.emplace_back(std::move(name), std::move(value));
    }
  }
  return clause;
}

// What a clause with `as`, `g` and `v` asks for; false when this endpoint cannot give it.
bool transformOf(const AcceptClause& clause, MediaType type, bool hasTable, Negotiated& out) {
  std::string_view as = clause.parameter("as");
  if (as.empty()) return true;
  std::string_view version = clause.parameter("v");
  if (clause.parameter("g") != "meta.k8s.io" || (version != "v1" && version != "v1beta1")) return false;
  if (as == "Table" && hasTable && type != MediaType::Protobuf)
    out.transform = Transform::Table;
  else if (as == "PartialObjectMetadata")
    out.transform = Transform::PartialObjectMetadata;
  else if (as == "PartialObjectMetadataList")
    out.transform = Transform::PartialObjectMetadataList;
  else
    return false;
  out.transformVersion = version;
  return true;
}
}  // namespace

std::string_view mediaTypeName(MediaType type) {
  switch (type) {
    case MediaType::Json:
      return "application/json";
    case MediaType::Yaml:
      return "application/yaml";
    case MediaType::Protobuf:
      return "application/vnd.kubernetes.protobuf";
  }
  return "";
}

std::string_view AcceptClause::parameter(std::string_view name) const {
  for (const auto& [key, value] : parameters)
    if (key == name) return value;
  return {};
}

std::vector<AcceptClause> parseAccept(std::string_view header) {
  std::vector<AcceptClause> clauses;
  for (std::string_view text : split(header, ',')) {
    if (trim(text).empty()) continue;
    if (clauses.size() == kClausesMax) break;
    clauses.push_back(parseClause(text));
  }
  std::stable_sort(clauses.begin(), clauses.end(), [](const AcceptClause& a, const AcceptClause& b) {
    if (a.quality != b.quality) return a.quality > b.quality;
    if ((a.type == "*") != (b.type == "*")) return b.type == "*";
    return a.subtype != "*" && b.subtype == "*";
  });
  return clauses;
}

Result<void> checkProduced(std::string_view accept, std::string_view produced) {
  if (trim(accept).empty()) return {};
  for (std::string_view clause : split(accept, ',')) {
    std::string_view type = trim(split(clause, ';')[0]);
    if (type == "*/*") return {};
    for (std::string_view one : split(produced, ','))
      if (type == trim(one)) return {};
  }
  return fail(Reason::NotAcceptable, fmt::format("406: Not Acceptable\n\nAvailable representations: {}", produced));
}

Result<Negotiated> negotiate(std::string_view accept, bool isWatch, bool listRoute, bool hasTable) {
  Negotiated out;
  if (trim(accept).empty()) return out;
  std::string produced(kAccepted);
  if (listRoute) produced += ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
  TRY(checkProduced(accept, produced));
  constexpr MediaType kTypes[] = {MediaType::Json, MediaType::Yaml, MediaType::Protobuf};
  for (const AcceptClause& clause : parseAccept(accept)) {
    for (MediaType type : kTypes) {
      if (isWatch && type == MediaType::Yaml) continue;
      std::string_view name = mediaTypeName(type);
      bool any = clause.type == "*" && clause.subtype == "*";
      bool anyApplication = clause.type == "application" && clause.subtype == "*";
      if (!any && !anyApplication && (clause.type != "application" || clause.subtype != name.substr(12))) continue;
      std::string_view stream = clause.parameter("stream");
      if (!stream.empty() && (stream != "watch" || !isWatch)) continue;
      Negotiated candidate;
      candidate.mediaType = type;
      candidate.pretty = clause.parameter("pretty") == "1";
      if (transformOf(clause, type, hasTable, candidate)) return candidate;
    }
  }
  return fail(
      Reason::NotAcceptable,
      std::string("only the following media types are accepted: ") +
          (isWatch ? "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch" : std::string(kAccepted)));
}

Result<MediaType> contentTypeOf(std::string_view header) {
  std::string media = toLower(trim(split(header, ';')[0]));
  if (media.empty() || media == "application/json") return MediaType::Json;
  if (media == "application/yaml") return MediaType::Yaml;
  if (media == "application/vnd.kubernetes.protobuf") return MediaType::Protobuf;
  return fail(
      Reason::UnsupportedMediaType,
      std::string("the body of the request was in an unknown format - accepted media types include: ") + std::string(kAccepted));
}

bool wantsPretty(std::string_view prettyParameter, bool hasPretty, std::string_view userAgent) {
  if (hasPretty && !prettyParameter.empty())
    return prettyParameter == "true" || prettyParameter == "1" || prettyParameter == "True" || prettyParameter == "t";
  return userAgent.starts_with("curl") || userAgent.starts_with("Wget") || userAgent.starts_with("Mozilla/5.0");
}

}  // namespace knarr::apiserver
