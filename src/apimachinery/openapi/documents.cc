// Whole documents, and the step from v2's operations to v3's.
#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>

#include "apimachinery/openapi/builder.h"
#include "base/strings.h"

namespace knarr::apimachinery::openapi {

using codec::Member;
using codec::Value;

namespace {

constexpr size_t kArenaBytes = size_t{1} << 20;

Value info(ValueMaker& make, std::string_view serverVersion) {
  return make.object({{"title", make.text("Kubernetes")}, {"version", make.text(serverVersion)}});
}
Value securityScheme(ValueMaker& make) {
  return make.object({{"BearerToken", make.object({{"type", make.text("apiKey")},
                                                   {"in", make.text("header")},
                                                   {"name", make.text("authorization")},
                                                   {"description", make.text("Bearer Token authentication")}})}});
}
Value security(ValueMaker& make) { return make.list({make.object({{"BearerToken", Value::emptyArray()}})}); }

// {"in","name","required","schema":{"type","uniqueItems"}}
Value parameterV3(ValueMaker& make, const Value& parameter) {
  Value out = Value::emptyObject(), schema = Value::emptyObject();
  for (const Member& member : parameter.members()) {
    bool ofSchema = member.name == "type" || member.name == "uniqueItems";
    (ofSchema ? schema : out).set(make.arena(), member.name, member.value);
  }
  out.set(make.arena(), "schema", schema);
  return out;
}

// {"application/json": {"schema": ...}, ...}
Value contentOf(ValueMaker& make, const Value& types, const Value& schema) {
  Value out = Value::emptyObject();
  for (const Value& type : types.items()) out.set(make.arena(), type.string(), make.object({{"schema", schema}}));
  return out;
}

Value parametersV3(ValueMaker& make, const Value& parameters, Value* body) {
  Value out = Value::emptyArray();
  for (const Value& parameter : parameters.items()) {
    if (parameter.find("in")->string() != "body")
      out.append(make.arena(), parameterV3(make, parameter));
    else if (body)
      *body = parameter;
  }
  return out;
}

Value operationV3(ValueMaker& make, const Value& operation) {
  Value out = Value::emptyObject();
  for (std::string_view name : {"operationId", "tags", "x-kubernetes-action", "x-kubernetes-group-version-kind"})
    if (const Value* member = operation.find(name)) out.set(make.arena(), name, *member);
  Value body;
  if (const Value* parameters = operation.find("parameters")) {
    Value rest = parametersV3(make, *parameters, &body);
    if (rest.size() != 0) out.set(make.arena(), "parameters", rest);
  }
  if (body.isObject()) {
    Value request = make.object({{"content", contentOf(make, *operation.find("consumes"), *body.find("schema"))}});
    if (const Value* required = body.find("required")) request.set(make.arena(), "required", *required);
    out.set(make.arena(), "requestBody", request);
  }
  Value responses = Value::emptyObject();
  for (const Member& response : operation.find("responses")->members()) {
    Value one = make.object({{"description", *response.value.find("description")}});
    if (const Value* schema = response.value.find("schema"))
      one.set(make.arena(), "content", contentOf(make, *operation.find("produces"), *schema));
    responses.set(make.arena(), response.name, one);
  }
  out.set(make.arena(), "responses", responses);
  return out;
}

Value pathsV3(ValueMaker& make, const Value& paths) {
  Value out = Value::emptyObject();
  for (const Member& path : paths.members()) {
    Value item = Value::emptyObject();
    for (const Member& member : path.value.members())
      item.set(make.arena(), member.name,
               member.name == "parameters" ? parametersV3(make, member.value, nullptr) : operationV3(make, member.value));
    out.set(make.arena(), path.name, item);
  }
  return out;
}

Value valueV2(ValueMaker& make, std::span<const GroupVersion> groupVersions, std::string_view serverVersion) {
  Definitions definitions(Form::V2, make);
  Value paths = Value::emptyObject();
  for (const GroupVersion& groupVersion : groupVersions) {
    definitions.add(groupVersion.schemas);
    Value built = buildPaths(groupVersion, definitions, make);
    for (const Member& path : built.members()) paths.set(make.arena(), path.name, path.value);
  }
  Value schemas = definitions.take();
  return make.object({{"swagger", make.text("2.0")},
                      {"info", info(make, serverVersion)},
                      {"paths", paths},
                      {"definitions", schemas},
                      {"security", security(make)},
                      {"securityDefinitions", securityScheme(make)}});
}

}  // namespace

GroupVersion builtInGroupVersion(std::string_view group, std::string_view version) {
  GroupVersion out{group, version, {}, {}};
  for (const schema::ResourceInfo& resource : schema::allResources())
    if (resource.group == group && resource.version == version) out.resources.push_back(&resource);
  return out;
}

std::string documentV3(const GroupVersion& groupVersion, std::string_view serverVersion) {
  Arena arena(kArenaBytes);
  ValueMaker make(arena);
  Definitions definitions(Form::V3, make);
  definitions.add(groupVersion.schemas);
  Value paths = pathsV3(make, buildPaths(groupVersion, definitions, make));
  Value schemas = definitions.take();
  return codec::toJson(
      make.object({{"openapi", make.text("3.0.0")},
                   {"info", info(make, serverVersion)},
                   {"paths", paths},
                   {"security", security(make)},
                   {"components", make.object({{"schemas", schemas}, {"securitySchemes", securityScheme(make)}})}}));
}

std::string documentV2(std::span<const GroupVersion> groupVersions, std::string_view serverVersion) {
  Arena arena(kArenaBytes);
  ValueMaker make(arena);
  return codec::toJson(valueV2(make, groupVersions, serverVersion));
}

std::string documentV2Protobuf(std::span<const GroupVersion> groupVersions, std::string_view serverVersion) {
  Arena arena(kArenaBytes);
  ValueMaker make(arena);
  return gnosticDocument(valueV2(make, groupVersions, serverVersion));
}

std::string pathOf(std::string_view group, std::string_view version) {
  return group.empty() ? fmt::format("api/{}", version) : fmt::format("apis/{}/{}", group, version);
}

std::string hashOf(std::string_view document) {
  unsigned char digest[SHA512_DIGEST_LENGTH];
  SHA512(reinterpret_cast<const unsigned char*>(document.data()), document.size(), digest);
  std::string hex = toHex({reinterpret_cast<const char*>(digest), sizeof digest});
  std::transform(hex.begin(), hex.end(), hex.begin(),
                 [](char c) { return c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c; });
  return hex;
}

std::string indexV3(std::span<const std::pair<std::string, std::string>> pathsAndHashes) {
  Arena arena;
  ValueMaker make(arena);
  Value paths = Value::emptyObject();
  for (const auto& [path, hash] : pathsAndHashes) {
    Value url = make.text(fmt::format("/openapi/v3/{}?hash={}", path, hash));
    paths.set(arena, path, make.object({{"serverRelativeURL", url}}));
  }
  return codec::toJson(make.object({{"paths", paths}}));
}

}  // namespace knarr::apimachinery::openapi
