#include "apiserver/handlers.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "apiserver/defaulting.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {
namespace {

Result<int64_t> queryInt(const Query& query, std::string_view name) {
  if (!query.has(name)) return int64_t{0};
  std::string text = query.get(name);
  auto value = parseInt(text.starts_with('+') ? std::string_view(text).substr(1) : std::string_view(text));
  if (value) return *value;
  std::string_view digits = text;
  if (digits.starts_with('-') || digits.starts_with('+')) digits.remove_prefix(1);
  bool number = !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  return fail(Reason::BadRequest,
              fmt::format("strconv.ParseInt: parsing {}: {}", quote(text), number ? "value out of range" : "invalid syntax"));
}

Error invalidOptions(std::string_view kind, apimachinery::FieldErrors errors) {
  return apimachinery::invalidStatus("meta.k8s.io", kind, "", errors);
}

// Source: AM/apis/meta/internalversion/validation/validation.go.
apimachinery::FieldErrors validateListOptions(const client::ListOptions& options, bool isWatch) {
  using namespace apimachinery;
  FieldErrors errors;
  FieldPath match("resourceVersionMatch");
  if (options.sendInitialEvents && !isWatch) {
    errors.push_back(forbiddenError(FieldPath("sendInitialEvents"), "sendInitialEvents is forbidden for list"));
    return errors;
  }
  if (isWatch && options.sendInitialEvents) {
    if (options.resourceVersionMatch.empty())
      errors.push_back(forbiddenError(match, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    else if (options.resourceVersionMatch != "NotOlderThan")
      errors.push_back(notSupportedError(match, options.resourceVersionMatch, {"NotOlderThan"}));
    return errors;
  }
  if (options.resourceVersionMatch.empty()) return errors;
  if (isWatch) {
    errors.push_back(forbiddenError(match, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
    return errors;
  }
  if (options.resourceVersion.empty())
    errors.push_back(forbiddenError(match, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
  if (!options.continueToken.empty())
    errors.push_back(forbiddenError(match, "resourceVersionMatch is forbidden when continue is provided"));
  if (options.resourceVersionMatch != "Exact" && options.resourceVersionMatch != "NotOlderThan")
    errors.push_back(notSupportedError(match, options.resourceVersionMatch, {"Exact", "NotOlderThan", ""}));
  if (options.resourceVersionMatch == "Exact" && options.resourceVersion == "0")
    errors.push_back(forbiddenError(match, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
  return errors;
}

Result<client::ListOptions> listOptionsOf(const Query& query, bool isWatch) {
  client::ListOptions options;
  options.labelSelector = query.get("labelSelector");
  options.fieldSelector = query.get("fieldSelector");
  options.resourceVersion = query.get("resourceVersion");
  options.resourceVersionMatch = query.get("resourceVersionMatch");
  options.limit = TRY(queryInt(query, "limit"));
  options.continueToken = query.get("continue");
  options.allowWatchBookmarks = query.flag("allowWatchBookmarks");
  if (query.has("sendInitialEvents")) options.sendInitialEvents = query.flag("sendInitialEvents");
  options.timeoutSeconds = TRY(queryInt(query, "timeoutSeconds"));
  auto errors = validateListOptions(options, isWatch);
  if (!errors.empty()) return Unexpected(invalidOptions("ListOptions", std::move(errors)));
  return options;
}

constexpr size_t kFieldManagerBytesMax = 128;

// Whether nothing is to be stored. Whoever asks for a dry run in words we do not know gets an error and no write.
bool readDryRun(const std::vector<std::string>& values, apimachinery::FieldErrors& errors) {
  std::vector<std::string> quoted;
  bool known = true;
  for (const std::string& one : values) {
    known = known && one == "All";
    quoted.push_back(codec::quoteJson(one));
  }
  if (!known)
    errors.push_back({apimachinery::FieldError::NotSupported, "dryRun",
                      fmt::format("Unsupported value: [{}]: supported values: \"All\"", join(quoted, ","))});
  return known && !values.empty();
}

struct Unprintable {
  uint32_t character;
  size_t position;  // in bytes
};

// The first character that Go's unicode.IsPrint refuses among those that can hide in a name: controls, blanks other than the
// space, marks of direction and width.
std::optional<Unprintable> firstUnprintable(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    auto lead = static_cast<uint8_t>(text[i]);
    size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t c = length == 1 ? lead : lead & (0x7fU >> length);
    for (size_t k = 1; k < length; ++k) c = c << 6 | (i + k < text.size() ? static_cast<uint8_t>(text[i + k]) & 0x3fU : 0);
    bool blank = c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
                 (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff;
    if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || blank) return Unprintable{c, i};
    i += length;
  }
  return std::nullopt;
}

Result<client::WriteOptions> writeOptionsOf(const Query& query, std::string_view kind, bool isApply) {
  using namespace apimachinery;
  client::WriteOptions options;
  FieldErrors errors;
  options.fieldManager = query.get("fieldManager");
  options.fieldValidation = query.get("fieldValidation");
  options.force = query.flag("force");
  options.dryRun = readDryRun(query.all("dryRun"), errors);
  if (options.fieldManager.size() > kFieldManagerBytesMax)
    errors.push_back(tooLongError(FieldPath("fieldManager"), static_cast<int64_t>(kFieldManagerBytesMax)));
  if (auto at = firstUnprintable(options.fieldManager))
    errors.push_back(invalidError(FieldPath("fieldManager"), options.fieldManager,
                                  fmt::format("invalid character U+{:04X} (at position {})", at->character, at->position)));
  if (kind == "PatchOptions") {
    if (isApply && options.fieldManager.empty())
      errors.push_back(requiredError(FieldPath("fieldManager"), "is required for apply patch"));
    if (!isApply && query.has("force"))
      errors.push_back(forbiddenError(FieldPath("force"), "may not be specified for non-apply patch"));
  }
  std::string_view validation = options.fieldValidation;
  if (!validation.empty() && validation != "Ignore" && validation != "Strict" && validation != "Warn")
    errors.push_back(notSupportedError(FieldPath("fieldValidation"), validation, {"", "Ignore", "Strict", "Warn"}));
  if (!errors.empty()) return Unexpected(invalidOptions(kind, std::move(errors)));
  return options;
}

Result<client::DeleteOptions> deleteOptionsOf(const Query& query, std::string_view contentType, const std::string& body) {
  using namespace apimachinery;
  client::DeleteOptions options;
  FieldErrors errors;
  std::string orphanDependents;
  if (!body.empty()) {
    std::vector<std::string> ignored;
    Mut<metav1::DeleteOptions> decoded(
        TRY(decodeBody(schema::typeInfoOf<metav1::DeleteOptions>(), contentType, body, "Ignore", ignored)));
    if (decoded->gracePeriodSeconds) options.gracePeriodSeconds = *decoded->gracePeriodSeconds;
    options.propagationPolicy = decoded->propagationPolicy.valueOr("");
    if (decoded->orphanDependents) orphanDependents = *decoded->orphanDependents ? "true" : "false";
    if (decoded->preconditions) {
      options.preconditionUid = decoded->preconditions->uid.valueOr("");
      options.preconditionResourceVersion = decoded->preconditions->resourceVersion.valueOr("");
    }
    std::vector<std::string> dryRun;
    for (schema::Str one : decoded->dryRun) dryRun.emplace_back(one);
    options.dryRun = readDryRun(dryRun, errors);
  } else {
    if (query.has("gracePeriodSeconds")) options.gracePeriodSeconds = TRY(queryInt(query, "gracePeriodSeconds"));
    options.propagationPolicy = query.get("propagationPolicy");
    if (query.has("orphanDependents")) orphanDependents = query.flag("orphanDependents") ? "true" : "false";
    options.preconditionUid = query.get("uid");
    options.preconditionResourceVersion = query.get("resourceVersion");
    options.dryRun = readDryRun(query.all("dryRun"), errors);
  }
  FieldPath path("propagationPolicy");
  const std::string& policy = options.propagationPolicy;
  if (!orphanDependents.empty() && !policy.empty())
    errors.push_back(invalidError(path, policy, "orphanDependents and deletionPropagation cannot be both set"));
  if (!policy.empty() && policy != "Foreground" && policy != "Background" && policy != "Orphan")
    errors.push_back(notSupportedError(path, policy, {"Foreground", "Background", "Orphan", "nil"}));
  if (!errors.empty()) return Unexpected(invalidOptions("DeleteOptions", std::move(errors)));
  if (orphanDependents == "true") options.propagationPolicy = "Orphan";
  if (orphanDependents == "false") options.propagationPolicy = "Background";
  return options;
}

Result<client::PatchType> patchTypeOf(std::string_view contentType) {
  std::string media = toLower(trim(split(contentType, ';')[0]));
  if (media == "application/json-patch+json") return client::PatchType::Json;
  if (media == "application/merge-patch+json") return client::PatchType::Merge;
  if (media == "application/strategic-merge-patch+json") return client::PatchType::StrategicMerge;
  if (media == "application/apply-patch+yaml") return client::PatchType::Apply;
  return fail(Reason::UnsupportedMediaType, "415: Unsupported Media Type");
}

struct RestCall {
  HttpCallPtr call;
  Api* api;
  RequestInfo info;
  Query query;
  const ServedResource* served;
  const schema::ResourceInfo* resource;
  env::Env environment;
  const wire::Request& request() const { return call->exchange->request(); }
  std::string includeObject() const { return query.get("includeObject"); }
};
using RestCallPtr = std::shared_ptr<RestCall>;

// Requests for one resource version's worth of answers; each returns the error it could not send.
Task<Result<void>> handleGet(RestCallPtr rest) {
  client::GetOptions options{rest->query.get("resourceVersion")};
  Ref<> object =
      CO_TRY(co_await rest->api->get(rest->call->context, *rest->resource, rest->info.nameSpace, rest->info.name, options));
  co_await respondObject(rest->call, 200, object, rest->includeObject(), rest->environment.clock.unixSeconds());
  co_return Result<void>();
}

Task<Result<void>> handleList(RestCallPtr rest) {
  client::ListOptions options = CO_TRY(listOptionsOf(rest->query, false));
  ListResult list = CO_TRY(co_await rest->api->list(rest->call->context, *rest->resource, rest->info.nameSpace, options));
  co_await respondList(rest->call, *rest->served, std::move(list), rest->includeObject(), rest->environment.clock.unixSeconds());
  co_return Result<void>();
}

Task<Result<void>> handleWatch(RestCallPtr rest) {
  client::ListOptions options = CO_TRY(listOptionsOf(rest->query, true));
  auto watch = CO_TRY(co_await rest->api->watch(rest->call->context, *rest->resource, rest->info.nameSpace, options));
  co_await respondWatch(rest->call, *rest->served, std::move(watch), rest->includeObject(), rest->environment);
  co_return Result<void>();
}

// The body's object. Subresource bodies (Binding, Eviction, Scale, TokenRequest) have types of their own.
Result<Mut<>> decodeObject(const RestCall& rest, const std::string& body, const std::string& fieldValidation) {
  const schema::TypeInfo* type = rest.resource->type;
  if (!type) return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
  return decodeBody(*type, rest.request().headers.get("Content-Type"), body, fieldValidation, rest.call->context->warnings);
}

Task<Result<void>> handleCreate(RestCallPtr rest) {
  client::WriteOptions options = CO_TRY(writeOptionsOf(rest->query, "CreateOptions", false));
  CO_TRY(contentTypeOf(rest->request().headers.get("Content-Type")));
  std::string body = CO_TRY(co_await readRequestBody(rest->call));
  Mut<> object = CO_TRY(decodeObject(*rest, body, options.fieldValidation));
  Ref<> made = CO_TRY(co_await rest->api->create(rest->call->context, *rest->resource, rest->info.nameSpace, rest->info.name,
                                                 std::move(object), options));
  if (!made) {
    co_await respondStatusJson(rest->call, 201,
                               "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"code\":201}");
    co_return Result<void>();
  }
  co_await respondObject(rest->call, 201, made, rest->includeObject(), rest->environment.clock.unixSeconds());
  co_return Result<void>();
}

Task<Result<void>> handleUpdate(RestCallPtr rest) {
  client::WriteOptions options = CO_TRY(writeOptionsOf(rest->query, "UpdateOptions", false));
  CO_TRY(contentTypeOf(rest->request().headers.get("Content-Type")));
  std::string body = CO_TRY(co_await readRequestBody(rest->call));
  Mut<> object = CO_TRY(decodeObject(*rest, body, options.fieldValidation));
  bool created = false;
  Ref<> made = CO_TRY(co_await rest->api->update(rest->call->context, *rest->resource, rest->info.nameSpace, rest->info.name,
                                                 std::move(object), options, &created));
  co_await respondObject(rest->call, created ? 201 : 200, made, rest->includeObject(), rest->environment.clock.unixSeconds());
  co_return Result<void>();
}

Task<Result<void>> handlePatch(RestCallPtr rest) {
  client::PatchType type = CO_TRY(patchTypeOf(rest->request().headers.get("Content-Type")));
  client::WriteOptions options = CO_TRY(writeOptionsOf(rest->query, "PatchOptions", type == client::PatchType::Apply));
  std::string body = CO_TRY(co_await readRequestBody(rest->call));
  bool created = false;
  Ref<> made = CO_TRY(co_await rest->api->patch(rest->call->context, *rest->resource, rest->info.nameSpace, rest->info.name, type,
                                                std::move(body), options, &created));
  co_await respondObject(rest->call, created ? 201 : 200, made, rest->includeObject(), rest->environment.clock.unixSeconds());
  co_return Result<void>();
}

// Jobs leave their pods behind unless told otherwise. Source: pkg/registry/batch/job/storage.
void warnOfOrphans(const RestCall& rest, const client::DeleteOptions& options) {
  if (rest.resource->group == "batch" && rest.resource->resource == "jobs" && options.propagationPolicy.empty())
    rest.call->context->warnings.emplace_back(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
        "propagationPolicy=Orphan to suppress this warning");
}

Task<Result<void>> handleDelete(RestCallPtr rest) {
  std::string body = CO_TRY(co_await readRequestBody(rest->call));
  client::DeleteOptions options = CO_TRY(deleteOptionsOf(rest->query, rest->request().headers.get("Content-Type"), body));
  warnOfOrphans(*rest, options);
  Registry::Deleted deleted =
      CO_TRY(co_await rest->api->remove(rest->call->context, *rest->resource, rest->info.nameSpace, rest->info.name, options));
  if (deleted.removed && !rest->served->strategy->returnDeletedObject && !rest->resource->deleteReturnsObject) {
    co_await respondStatusJson(rest->call, 200,
                               successStatusJson(*rest->resource, rest->info.name, schema::metadataOf(deleted.object).uid));
    co_return Result<void>();
  }
  co_await respondObject(rest->call, 200, deleted.object, rest->includeObject(), rest->environment.clock.unixSeconds());
  co_return Result<void>();
}

Task<Result<void>> handleDeleteCollection(RestCallPtr rest) {
  std::string body = CO_TRY(co_await readRequestBody(rest->call));
  client::DeleteOptions options = CO_TRY(deleteOptionsOf(rest->query, rest->request().headers.get("Content-Type"), body));
  options.preconditionResourceVersion.clear();
  warnOfOrphans(*rest, options);
  client::ListOptions selection = CO_TRY(listOptionsOf(rest->query, false));
  ListResult list = CO_TRY(
      co_await rest->api->removeCollection(rest->call->context, *rest->resource, rest->info.nameSpace, options, selection));
  co_await respondList(rest->call, *rest->served, std::move(list), rest->includeObject(), rest->environment.clock.unixSeconds());
  co_return Result<void>();
}

// Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go, asTable.
Result<void> checkIncludeObject(const RestCall& rest) {
  std::string asked = rest.includeObject();
  if (rest.call->negotiated.transform != Transform::Table || asked.empty() || asked == "Metadata" || asked == "Object" ||
      asked == "None")
    return {};
  return fail(Reason::BadRequest,
              fmt::format("Unable to convert to Table as requested: includeObject: Invalid value: {}: must be "
                          "'Metadata', 'Object', 'None', or empty",
                          quote(asked)));
}

// What a use of the resource is answered with besides; nothing for most.
// Source: k8s.io/api/core/v1/zz_generated.prerelease-lifecycle.go; apiserver/pkg/endpoints/deprecation.
std::string_view deprecationOf(const schema::ResourceInfo& resource) {
  if (resource.group.empty() && resource.resource == "endpoints")
    return "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
  return {};
}

Task<Result<void>> dispatch(RestCallPtr rest) {
  const std::string& verb = rest->info.verb;
  const std::string& method = rest->request().method;
  bool listed = false;
  for (std::string_view allowed : rest->resource->verbs) listed = listed || allowed == verb;
  if (!listed || method == "HEAD")
    co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
  // Items have a name, collections have none; only list and watch span namespaces. Source: endpoints/installer.go.
  bool onItem = verb == "get" || verb == "update" || verb == "patch" || verb == "delete" ||
                (verb == "create" && !rest->resource->subresource.empty());
  bool onCollection = verb == "deletecollection" || (verb == "create" && rest->resource->subresource.empty());
  bool misplaced = (onItem && rest->info.name.empty()) || (onCollection && !rest->info.name.empty()) ||
                   ((onItem || onCollection) && rest->resource->namespaced && rest->info.nameSpace.empty());
  if (misplaced) co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
  CO_TRY(checkIncludeObject(*rest));
  if (std::string_view text = deprecationOf(*rest->resource); !text.empty()) rest->call->context->warnings.emplace_back(text);
  if (verb == "get") co_return co_await handleGet(rest);
  if (verb == "list") co_return co_await handleList(rest);
  if (verb == "watch") co_return co_await handleWatch(rest);
  if (verb == "create") co_return co_await handleCreate(rest);
  if (verb == "update") co_return co_await handleUpdate(rest);
  if (verb == "patch") co_return co_await handlePatch(rest);
  if (verb == "delete") co_return co_await handleDelete(rest);
  if (verb == "deletecollection") co_return co_await handleDeleteCollection(rest);
  co_return fail(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource");
}

}  // namespace

Task<Result<std::string>> readRequestBody(HttpCallPtr call) {
  auto body = co_await call->exchange->readBody(kRequestBodyBytesMax);
  if (!body && body.error().reason() == Reason::RequestEntityTooLarge)
    co_return fail(Reason::RequestEntityTooLarge, fmt::format("Request entity too large: limit is {}", kRequestBodyBytesMax));
  co_return body;
}

namespace {

// A body says what it is, or takes it from the URL. Source: endpoints/handlers/rest.go, transformDecodeError; the converter of
// apimachinery/pkg/conversion.
Result<void> checkTypeMeta(const schema::TypeInfo& type, const codec::TypeMeta& meta) {
  std::string expected = codec::apiVersionOf(type);
  std::string apiVersion = meta.apiVersion.empty() ? expected : meta.apiVersion;
  std::string kind(meta.kind.empty() ? type.kind : std::string_view(meta.kind));
  // metav1 options are accepted in every group and version.
  bool anyGroup = type.name.starts_with("meta/");
  if (kind == type.kind && (anyGroup || apiVersion == expected)) return {};
  size_t slash = apiVersion.find('/');
  std::string group = slash == std::string::npos ? "" : apiVersion.substr(0, slash);
  std::string version = slash == std::string::npos ? apiVersion : apiVersion.substr(slash + 1);
  auto cannotBeHandled = [&](std::string why) {
    return fail(Reason::BadRequest,
                fmt::format("{} in version {} cannot be handled as a {}: {}", kind, quote(version), type.kind, why));
  };
  if (!schema::findType(group, version, kind))
    return cannotBeHandled(fmt::format("no kind {} is registered for version {} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                                       quote(kind), quote(apiVersion)));
  if (kind == type.kind && group == type.group)
    return fail(Reason::BadRequest, fmt::format("the API version in the data ({}) does not match the expected API version ({})",
                                                apiVersion, expected));
  // Go's package of the internal type: the first word of the group.
  std::string_view into = anyGroup ? "v1" : type.group.empty() ? "core" : type.group.substr(0, type.group.find('.'));
  return cannotBeHandled(fmt::format("converting ({}.{}) to ({}.{}): unknown conversion", version, kind, into, type.kind));
}

}  // namespace

Result<Mut<>> decodeBody(const schema::TypeInfo& type, std::string_view contentType, const std::string& body,
                         const std::string& fieldValidation, std::vector<std::string>& warnings) {
  MediaType media = TRY(contentTypeOf(contentType));
  codec::TypeMeta meta;
  std::string json;
  std::vector<std::string> yamlDuplicates;
  auto unrecognized = [&](const Error& error) {
    std::string head = body.empty()            ? "<empty>"
                       : body.starts_with('{') ? body.substr(0, 30)
                                               : toHex(std::string_view(body).substr(0, 30));
    if (body.size() > 30) head += " ...";
    return fail(Reason::BadRequest, fmt::format("the object provided is unrecognized (must be of type {}): {} ({})", type.kind,
                                                error.message(), head));
  };
  if (media == MediaType::Protobuf) {
    if (!codec::hasProtobufEnvelope(body))
      return unrecognized(
          Error(Reason::BadRequest, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
    auto envelope = codec::openProtobufEnvelope(body);
    if (!envelope) return unrecognized(envelope.error());
    meta = envelope->typeMeta;
  } else {
    if (media == MediaType::Yaml) {
      auto converted = codec::yamlToJson(body, &yamlDuplicates);
      if (!converted) return unrecognized(converted.error());
      json = std::move(*converted);
    }
    auto peeked = codec::peekTypeMeta(media == MediaType::Yaml ? json : body);
    if (!peeked) return unrecognized(peeked.error());
    meta = std::move(*peeked);
  }
  TRY(checkTypeMeta(type, meta));
  Mut<> object;
  std::vector<std::string> strictErrors = std::move(yamlDuplicates);
  auto cannotBeHandled = [&](std::string_view why) {
    return fail(Reason::BadRequest,
                fmt::format("{} in version {} cannot be handled as a {}: {}", type.kind, quote(type.version), type.kind, why));
  };
  if (media == MediaType::Protobuf) {
    auto decoded = codec::decodeProtobuf(type, body);
    if (!decoded) return cannotBeHandled(decoded.error().message());
    object = std::move(*decoded);
  } else {
    codec::DecodeOptions options;
    options.strict = fieldValidation != "Ignore";
    auto decoded = codec::decodeJson(type, media == MediaType::Yaml ? json : body, options);
    if (!decoded) return cannotBeHandled(decoded.error().message());
    object = std::move(decoded->object);
    strictErrors.insert(strictErrors.end(), decoded->strictErrors.begin(), decoded->strictErrors.end());
  }
  if (fieldValidation == "Strict" && !strictErrors.empty())
    return cannotBeHandled("strict decoding error: " + join(strictErrors, ", "));
  if (fieldValidation != "Ignore") warnings.insert(warnings.end(), strictErrors.begin(), strictErrors.end());
  setDefaults(object);
  return object;
}

Task<void> handleResource(HttpCallPtr call, Api* api, RequestInfo info, Query query, const ServedResource* served,
                          const schema::ResourceInfo* resource, env::Env environment) {
  bool listRoute = info.verb == "watch" || info.verb == "list";
  // Actions in the shape of subresources have no table.
  bool hasTable = info.subresource != "binding" && info.subresource != "eviction" && info.subresource != "token";
  auto negotiated = negotiate(call->exchange->request().headers.get("Accept"), info.verb == "watch", listRoute, hasTable);
  if (!negotiated) {
    co_await respondError(call, std::move(negotiated).error());
    co_return;
  }
  call->negotiated = *negotiated;
  call->negotiated.pretty =
      call->negotiated.pretty || wantsPretty(query.get("pretty"), query.has("pretty"), call->context->userAgent);
  call->negotiationDone = true;
  auto rest = std::make_shared<RestCall>(RestCall{call, api, std::move(info), std::move(query), served, resource, environment});
  auto done = co_await dispatch(rest);
  if (!done && !call->exchange->responseStarted()) co_await respondError(call, std::move(done).error());
}

}  // namespace knarr::apiserver
