#include "apiserver/patching.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "apimachinery/patch/managed_fields.h"
#include "apimachinery/patch/patch.h"
#include "apimachinery/patch/struct_compare.h"
#include "apiserver/api.h"
#include "apiserver/defaulting.h"
#include "apiserver/registry_write.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "codec/value.h"
#include "schema/layout.h"

namespace knarr::apiserver {
namespace {

using apimachinery::Manager;
using apimachinery::Managers;
using codec::Value;

constexpr size_t kManagerBytesMax = 128;
constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

Manager managerFor(const schema::TypeInfo& type, std::string name, bool apply, std::string subresource, env::Env environment) {
  return {std::move(name), apply, codec::apiVersionOf(type), std::move(subresource), environment.clock.unixSeconds(), {}};
}

bool isSystemObject(const Ref<>& object) { return schema::metadataOf(object).managedFields.empty(); }

// What a write to this resource (or subresource) never owns. Source: GetResetFields of the strategies.
void dropResetFields(apimachinery::FieldSet& set, const std::string& subresource) {
  if (subresource.empty()) set.removeSubtree({"f:status"});
  if (subresource == "status") set.removeSubtree({"f:spec"});
}

Unexpected decodeFailed(std::string_view what, const std::string& json, std::string_view why) {
  (void)what;
  return Unexpected(apimachinery::invalidStatus(
      "", "", "", {apimachinery::invalidError(apimachinery::FieldPath("patch"), json.substr(0, 4096), why)}));
}

// The patched JSON tree back as an object, with defaults and with the strictness asked for.
// `patchErrors`: what is doubtful about the patch itself.
Result<Mut<>> objectFromValue(const PatchRequest& request, const schema::TypeInfo& type, const Value& value,
                              std::vector<std::string> patchErrors, std::vector<std::string>& warnings) {
  std::string json = codec::toJson(value);
  codec::DecodeOptions options;
  const std::string& validation = request.options.fieldValidation;
  options.strict = validation != "Ignore";
  auto decoded = codec::decodeJson(type, json, options);
  if (!decoded) return decodeFailed("patch", json, decoded.error().message());
  patchErrors.insert(patchErrors.end(), decoded->strictErrors.begin(), decoded->strictErrors.end());
  if (!patchErrors.empty() && validation == "Strict")
    return decodeFailed("patch", json, "strict decoding error: " + join(patchErrors, ", "));
  if (options.strict) warnings.insert(warnings.end(), patchErrors.begin(), patchErrors.end());
  setDefaults(decoded->object);
  return std::move(decoded->object);
}

// Members that no operation of a JSON patch has.
void collectUnknownMembers(const Value& patch, std::vector<std::string>& out) {
  if (!patch.isArray()) return;
  for (size_t i = 0; i < patch.size(); ++i) {
    if (!patch.items()[i].isObject()) continue;
    for (const codec::Member& member : patch.items()[i].members())
      if (member.name != "op" && member.name != "path" && member.name != "from" && member.name != "value")
        out.push_back(fmt::format("unknown field \"[{}].{}\"", i, member.name));
  }
}

// `strictErrors` receives what is doubtful about the patch.
Result<Value> patchValue(const PatchRequest& request, const schema::TypeInfo& type, const Value& document, Arena& arena,
                         std::vector<std::string>& strictErrors) {
  auto patch = codec::parseJsonValue(request.body, arena, &strictErrors);
  if (!patch) return fail(Reason::BadRequest, fmt::format("error decoding patch: {}", patch.error().message()));
  if (request.type == client::PatchType::Json) {
    collectUnknownMembers(*patch, strictErrors);
    for (std::string& one : strictErrors) one = "json patch " + one;
  }
  switch (request.type) {
    case client::PatchType::Json:
      return apimachinery::applyJsonPatch(document, *patch, arena);
    case client::PatchType::Merge:
      return apimachinery::applyMergePatch(document, *patch, arena);
    case client::PatchType::StrategicMerge:
      return apimachinery::applyStrategicMergePatch(type, document, *patch, arena);
    case client::PatchType::Apply:
      break;
  }
  return fail(Reason::InternalError, "an apply is no patch of a document");
}

// Objects of the scale subresource are patched in the form of a Scale.
Result<Mut<>> patchScale(const PatchRequest& request, const Ref<>& old, env::Env environment,
                         std::vector<std::string>& warnings) {
  Mut<> scale = TRY(scaleOf(old));
  Arena arena;
  Value document = TRY(codec::parseJsonValue(codec::encodeJson(scale.object()), arena));
  std::vector<std::string> strictErrors;
  Value patched = TRY(patchValue(request, scale.type(), document, arena, strictErrors));
  Mut<> wanted = TRY(objectFromValue(request, scale.type(), patched, std::move(strictErrors), warnings));
  Mut<> next = TRY(withScale(old, wanted.object()));
  return trackUpdate(*request.resource, "scale", std::move(next), old, request.manager, environment);
}

Result<void> checkPatchedIdentity(const PatchRequest& request, Mut<>& object) {
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  if (metadata.name.empty()) metadata.name = object.str(request.name);
  return checkNameAndNamespace(*request.resource, request.nameSpace, request.name, object);
}

Result<void> checkApplyIdentity(const schema::TypeInfo& type, const Value& config) {
  const Value* apiVersion = config.find("apiVersion");
  const Value* kind = config.find("kind");
  std::string haveVersion(apiVersion ? apiVersion->stringOr() : ""), haveKind(kind ? kind->stringOr() : "");
  if (haveVersion.empty() || haveKind.empty())
    return fail(Reason::BadRequest,
                fmt::format("invalid object type: {}, Kind={}", haveVersion.empty() ? "/" : haveVersion, haveKind));
  if (haveKind != type.kind)
    return fail(Reason::BadRequest, fmt::format("invalid object type: {}, Kind={}", haveVersion, haveKind));
  if (haveVersion != codec::apiVersionOf(type))
    return fail(Reason::BadRequest,
                fmt::format("Incorrect version specified in apply patch. Specified patch version: {}, expected: {}", haveVersion,
                            codec::apiVersionOf(type)));
  if (const Value* metadata = config.find("metadata"))
    if (const Value* managed = metadata->find("managedFields"); managed && !managed->isNull() && managed->size() != 0)
      return fail(Reason::BadRequest, "metadata.managedFields must be nil");
  return {};
}

// The document without what an apply never merges.
void dropIdentity(Value& value) {
  value.erase("apiVersion");
  value.erase("kind");
}

Result<Value> liveValue(const Ref<>& object, Arena& arena) {
  Value value = TRY(codec::parseJsonValue(codec::encodeJson(object.object()), arena));
  dropIdentity(value);
  if (Value* metadata = value.find("metadata")) metadata->erase("managedFields");
  return value;
}

Result<Mut<>> applyServerSide(const PatchRequest& request, const Ref<>& old, env::Env environment,
                              std::vector<std::string>& warnings) {
  const schema::TypeInfo& type = *request.resource->info->type;
  Arena arena;
  std::vector<std::string> duplicates;
  Value config = TRY(codec::parseJsonValue(request.body, arena, &duplicates));
  TRY(checkApplyIdentity(type, config));
  codec::DecodeOptions strict;
  strict.strict = request.options.fieldValidation != "Ignore";
  auto typed = codec::decodeJson(type, request.body, strict);
  if (!typed) return fail(Reason::BadRequest, fmt::format("error decoding YAML: {}", typed.error().message()));
  if (!typed->strictErrors.empty() && request.options.fieldValidation == "Strict")
    return fail(Reason::BadRequest, "error strict decoding YAML: " + join(typed->strictErrors, ", "));
  warnings.insert(warnings.end(), typed->strictErrors.begin(), typed->strictErrors.end());
  dropIdentity(config);
  if (const Value* metadata = config.find("metadata")) {
    const Value* uid = metadata->find("uid");
    if (!old && uid && !uid->stringOr().empty())
      return Unexpected(conflictError(
          *request.resource->info, request.name,
          fmt::format("uid mismatch: the provided object specified uid {}, and no existing object was found", uid->string())));
  }
  Manager applier = managerFor(type, request.manager, true, request.subresource, environment);
  Managers managers;
  Value live = Value::emptyObject();
  if (old) {
    live = TRY(liveValue(old, arena));
    managers = TRY(apimachinery::decodeManagers(schema::metadataOf(old)));
    if (managers.empty()) {
      // An object that nobody tracked: all it has belongs to somebody before the first apply.
      Manager first = managerFor(type, "before-first-apply", false, "", environment);
      first.fields = TRY(apimachinery::toFieldSet(apimachinery::SchemaRef::ofType(type), live));
      apimachinery::stripMetadata(first.fields);
      managers.push_back(std::move(first));
    }
  }
  auto applied = apimachinery::applyConfiguration(type, std::move(managers), live, config, applier, request.options.force, arena);
  if (!applied) {
    if (applied.error().reason() == Reason::Unknown)
      return Unexpected(
          Error(Reason::Unknown, fmt::format("failed to create typed patch object ({}/{}; {}, Kind={}): {}", request.nameSpace,
                                             request.name, codec::apiVersionOf(type), type.kind, applied.error().message())));
    return Unexpected(std::move(applied).error());
  }
  if (old && !applied->changed) return schema::edit(old);
  std::string json = codec::toJson(applied->object);
  auto decoded = codec::decodeJson(type, json);
  if (!decoded) return decodeFailed("apply", json, decoded.error().message());
  Mut<> object = std::move(decoded->object);
  setDefaults(object);
  for (Manager& manager : applied->managers)
    if (manager.sameIdentity(applier)) dropResetFields(manager.fields, request.subresource);
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  apimachinery::encodeManagers(applied->managers, metadata, object.arena());
  if (old && !(config.find("metadata") && config.find("metadata")->find("resourceVersion")))
    metadata.resourceVersion = object.str(schema::metadataOf(old).resourceVersion);
  // kubectl's own annotation follows when client-side apply was used before. Source:
  // managedfields/internal/lastappliedupdater.go.
  if (request.manager == "kubectl" && metadata.annotations.contains(kLastApplied))
    schema::set(metadata.annotations, object.arena(), kLastApplied, request.body + "\n");
  TRY(checkPatchedIdentity(request, object));
  return object;
}

}  // namespace

std::string fieldManagerOf(const RequestContext& context, const client::WriteOptions& options) {
  if (!options.fieldManager.empty()) return options.fieldManager;
  std::string name;
  for (char c : context.userAgent.substr(0, context.userAgent.find('/')))
    if (c >= 0x20 && c < 0x7f && name.size() < kManagerBytesMax) name += c;
  return name.empty() ? "unknown" : name;
}

Result<void> checkUpdateTarget(const ServedResource& resource, const std::string& nameSpace, const std::string& name,
                               Mut<>& object) {
  return checkNameAndNamespace(resource, nameSpace, name, object);
}

Result<Mut<>> trackCreate(const ServedResource& resource, Mut<> object, const std::string& manager, env::Env environment) {
  const schema::TypeInfo& type = object.type();
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  // Entries that came with the object count as long as they can be read; what the object has belongs to its creator.
  Managers managers = apimachinery::decodeManagers(metadata).value_or(Managers());
  metadata.managedFields = {};
  auto comparison = apimachinery::compareStructs(type, nullptr, object.root());
  if (!comparison) return object;  // Tracking never fails a write.
  if (hasStatus(resource)) comparison->added.removeSubtree({"f:status"});
  Manager writer = managerFor(type, manager, false, "", environment);
  apimachinery::encodeManagers(apimachinery::trackChanges(std::move(managers), std::move(*comparison), writer), metadata,
                               object.arena());
  return object;
}

Result<Mut<>> trackUpdate(const ServedResource& resource, const std::string& subresource, Mut<> object, const Ref<>& old,
                          const std::string& manager, env::Env environment) {
  const schema::TypeInfo& type = object.type();
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  const metav1::ObjectMeta& before = schema::metadataOf(old);
  bool reset = metadata.managedFields.size() == 1 && metadata.managedFields[0].manager.empty() &&
               metadata.managedFields[0].operation.empty();
  auto keepOld = [&] {
    schema::copyField(*findField(schema::typeInfoOf<metav1::ObjectMeta>(), "managedFields"), &metadata, &before, object.arena());
  };
  if (reset) {
    metadata.managedFields = {};
    return object;
  }
  if (metadata.managedFields.empty() || !subresource.empty()) keepOld();
  if (metadata.managedFields.empty() && isSystemObject(old)) return object;
  auto managers = apimachinery::decodeManagers(metadata);
  if (!managers) {
    keepOld();
    managers = apimachinery::decodeManagers(before);
    if (!managers) return object;
  }
  // Only what this call may write counts: a PUT does not own the status that it carries along.
  std::vector<std::string_view> unchanged;
  if (subresource.empty() && hasStatus(resource)) unchanged.push_back("status");
  if (subresource == "status") unchanged.push_back("spec");
  auto comparison = apimachinery::compareStructs(type, old.root(), object.root(), unchanged);
  if (!comparison) return object;  // Tracking never fails a write.
  Manager writer = managerFor(type, manager, false, subresource, environment);
  apimachinery::encodeManagers(apimachinery::trackChanges(std::move(*managers), std::move(*comparison), writer), metadata,
                               object.arena());
  return object;
}

Result<void> preparePatch(PatchRequest& request) {
  if (request.type != client::PatchType::Apply) return {};
  std::vector<std::string> duplicates;
  auto json = codec::yamlToJson(request.body, &duplicates);
  if (!json) return fail(Reason::BadRequest, fmt::format("error decoding YAML: {}", json.error().message()));
  if (!duplicates.empty() && request.options.fieldValidation == "Strict")
    return fail(Reason::BadRequest, "error strict decoding YAML: " + join(duplicates, ", "));
  request.body = std::move(*json);
  return {};
}

Result<Mut<>> applyPatch(const PatchRequest& request, const Ref<>& old, env::Env environment,
                         std::vector<std::string>& warnings) {
  if (request.subresource == "scale") return patchScale(request, old, environment, warnings);
  if (request.type == client::PatchType::Apply) return applyServerSide(request, old, environment, warnings);
  const schema::TypeInfo& type = *request.resource->info->type;
  Arena arena;
  Value document = TRY(codec::parseJsonValue(codec::encodeJson(old.object()), arena));
  std::vector<std::string> strictErrors;
  Value patched = TRY(patchValue(request, type, document, arena, strictErrors));
  // A patch that does not speak of the resourceVersion applies to whatever is current; the document carried it in.
  Mut<> object = TRY(objectFromValue(request, type, patched, std::move(strictErrors), warnings));
  TRY(checkPatchedIdentity(request, object));
  return trackUpdate(*request.resource, request.subresource, std::move(object), old, request.manager, environment);
}

}  // namespace knarr::apiserver
