#include "client/far.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "base/strings.h"
#include "client/watch_frames.h"
#include "codec/codec.h"
#include "schema/layout.h"
#include "wire/http.h"

namespace knarr::client {
namespace {

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";
constexpr size_t kAnswerBytesMax = size_t{512} << 20;
constexpr size_t kStatusBytesMax = size_t{1} << 20;

// A query string in the making: "?a=b&c=d".
class QueryWriter {
 public:
  void add(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    text_ += fmt::format("{}{}={}", text_.empty() ? "?" : "&", name, percentEncode(value));
  }
  void add(std::string_view name, int64_t value) {
    if (value != 0) add(name, fmt::format("{}", value));
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

QueryWriter listQuery(const ListOptions& options) {
  QueryWriter query;
  query.add("labelSelector", options.labelSelector);
  query.add("fieldSelector", options.fieldSelector);
  query.add("resourceVersion", options.resourceVersion);
  query.add("resourceVersionMatch", options.resourceVersionMatch);
  query.add("limit", options.limit);
  query.add("continue", options.continueToken);
  query.add("timeoutSeconds", options.timeoutSeconds);
  if (options.allowWatchBookmarks) query.add("allowWatchBookmarks", "true");
  if (options.sendInitialEvents) query.add("sendInitialEvents", *options.sendInitialEvents ? "true" : "false");
  return query;
}

QueryWriter writeQuery(const WriteOptions& options) {
  QueryWriter query;
  if (options.dryRun) query.add("dryRun", "All");
  query.add("fieldManager", options.fieldManager);
  query.add("fieldValidation", options.fieldValidation);
  if (options.force) query.add("force", "true");
  return query;
}

std::string deleteBody(const DeleteOptions& options) {
  Mut<metav1::DeleteOptions> body = schema::newObject<metav1::DeleteOptions>();
  if (options.gracePeriodSeconds) body->gracePeriodSeconds = *options.gracePeriodSeconds;
  if (!options.propagationPolicy.empty()) body->propagationPolicy = body.str(options.propagationPolicy);
  if (!options.preconditionUid.empty() || !options.preconditionResourceVersion.empty()) {
    body->preconditions = body.arena().make<metav1::Preconditions>();
    if (!options.preconditionUid.empty()) body->preconditions->uid = body.str(options.preconditionUid);
    if (!options.preconditionResourceVersion.empty())
      body->preconditions->resourceVersion = body.str(options.preconditionResourceVersion);
  }
  if (options.dryRun) body->dryRun.append(body.arena()) = "All";
  return codec::encodeProtobuf(body.object());
}

std::string_view patchContentType(PatchType type) {
  switch (type) {
    case PatchType::Json:
      return "application/json-patch+json";
    case PatchType::Merge:
      return "application/merge-patch+json";
    case PatchType::StrategicMerge:
      return "application/strategic-merge-patch+json";
    case PatchType::Apply:
      return "application/apply-patch+yaml";
  }
  return "";
}

bool isStatus(std::string_view bytes) {
  if (!codec::hasProtobufEnvelope(bytes)) return false;
  auto envelope = codec::openProtobufEnvelope(bytes);
  return envelope && envelope->typeMeta.kind == "Status";
}

}  // namespace

static Error errorOfStatus(const metav1::Status& status, int httpCode) {
  Error error(reasonFromName(status.reason), std::string(status.message));
  error.withCode(status.code != 0 ? status.code : httpCode);
  if (!status.details) return error;
  error.withDetails({std::string(status.details->group), std::string(status.details->kind), std::string(status.details->name),
                     std::string(status.details->uid), status.details->retryAfterSeconds});
  for (const auto& cause : status.details->causes)
    error.withCause({std::string(cause.reason), std::string(cause.message), std::string(cause.field)});
  return error;
}

namespace {

// What a refusal says: a Status in either form, or plain text.
Error errorOfAnswer(const std::string& bytes, int httpCode) {
  const schema::TypeInfo& type = schema::typeInfoOf<metav1::Status>();
  if (isStatus(bytes)) {
    if (auto status = codec::decodeProtobuf(type, bytes))
      return errorOfStatus(*static_cast<const metav1::Status*>(status->root()), httpCode);
  } else if (bytes.starts_with('{')) {
    if (auto status = codec::decodeJson(type, bytes))
      return errorOfStatus(*static_cast<const metav1::Status*>(status->object.root()), httpCode);
  }
  return Error(Reason::Unknown,
               fmt::format("the server answered {}: {}", httpCode, trim(std::string_view(bytes).substr(0, 1024))))
      .withCode(httpCode);
}

Result<Ref<>> decodeAnswer(const ResourceInfo& resource, const std::string& bytes) {
  if (isStatus(bytes)) return Ref<>();  // a deletion or a binding that answers with success alone
  if (!resource.type) return fail(Reason::InternalError, fmt::format("{} has no type to decode", resource.resource));
  return TRY(codec::decodeProtobuf(*resource.type, bytes)).publish();
}

class FarWatch : public Watch {
 public:
  FarWatch(const schema::TypeInfo& type, std::unique_ptr<wire::ClientResponse> response)
      : type_(type), response_(std::move(response)) {}

  Task<Result<std::vector<WatchEvent>>> next() override {
    std::vector<WatchEvent> events;
    for (;;) {
      while (auto frame = CO_TRY(frames_.next())) events.push_back(CO_TRY(eventOf(*frame)));
      if (!events.empty()) co_return events;
      auto chunk = CO_TRY(co_await response_->readChunk());
      if (!chunk) co_return events;
      frames_.append(*chunk);
    }
  }

 private:
  Result<WatchEvent> eventOf(const WatchFrame& frame) const {
    if (frame.type == "ERROR") return Unexpected(errorOfAnswer(frame.object, 500));
    WatchEvent event;
    Mut<> object = TRY(codec::decodeProtobuf(type_, frame.object));
    const metav1::ObjectMeta& metadata = schema::metadataOf(object);
    event.resourceVersion = metadata.resourceVersion;
    if (frame.type == "BOOKMARK") {
      event.type = WatchEvent::Bookmark;
      event.initialEventsEnd = schema::valueOf(metadata.annotations, "k8s.io/initial-events-end") == "true";
      return event;
    }
    event.type = frame.type == "ADDED"      ? WatchEvent::Added
                 : frame.type == "MODIFIED" ? WatchEvent::Modified
                                            : WatchEvent::Deleted;
    event.object = std::move(object).publish();
    return event;
  }

  const schema::TypeInfo& type_;
  std::unique_ptr<wire::ClientResponse> response_;
  WatchFrames frames_;
};

class FarClient : public Client {
 public:
  FarClient(env::Env environment, FarClientOptions options) : options_(std::move(options)) {
    wire::HttpClientOptions http;
    http.address = options_.address;
    http.tls = options_.tls;
    http.serverName = options_.serverName;
    http_ = std::make_unique<wire::HttpClient>(environment, http);
  }

  Task<Result<Ref<>>> get(const ResourceInfo& resource, std::string nameSpace, std::string name, GetOptions options) override {
    QueryWriter query;
    query.add("resourceVersion", options.resourceVersion);
    co_return decodeAnswer(resource, CO_TRY(co_await call("GET", pathOf(resource, nameSpace, name) + query.str(), "", "")));
  }

  Task<Result<ObjectList>> list(const ResourceInfo& resource, std::string nameSpace, ListOptions options) override {
    if (!resource.listType) co_return fail(Reason::MethodNotAllowed, fmt::format("{} cannot be listed", resource.resource));
    std::string bytes = CO_TRY(co_await call("GET", pathOf(resource, nameSpace, "") + listQuery(options).str(), "", ""));
    Mut<> decoded = CO_TRY(codec::decodeProtobuf(*resource.listType, bytes));
    const metav1::ListMeta* metadata = schema::listMetadataOf(decoded.object());
    ObjectList out{std::string(metadata->resourceVersion), std::string(metadata->continue_), std::nullopt, {}};
    if (metadata->remainingItemCount) out.remainingItemCount = *metadata->remainingItemCount;
    const schema::FieldInfo& field = resource.listType->fields[static_cast<size_t>(resource.listType->itemsField)];
    const auto& items = schema::as<schema::AnyList>(schema::at(decoded.root(), field));
    for (uint32_t i = 0; i < items.size; ++i) {
      Mut<> item(*field.message);
      schema::deepCopy(*field.message, item.root(), items.data + i * schema::valueSize(field), item.arena());
      out.items.push_back(std::move(item).publish());
    }
    co_return out;
  }

  Task<Result<std::unique_ptr<Watch>>> watch(const ResourceInfo& resource, std::string nameSpace, ListOptions options) override {
    if (!resource.type) co_return fail(Reason::MethodNotAllowed, fmt::format("{} cannot be watched", resource.resource));
    QueryWriter query = listQuery(options);
    query.add("watch", "true");
    auto response = CO_TRY(co_await send("GET", pathOf(resource, nameSpace, "") + query.str(), "", "", true));
    co_return std::make_unique<FarWatch>(*resource.type, std::move(response));
  }

  Task<Result<Ref<>>> create(const ResourceInfo& resource, std::string nameSpace, std::string name, Mut<> object,
                             WriteOptions options) override {
    std::string path = pathOf(resource, nameSpace, name) + writeQuery(options).str();
    co_return decodeAnswer(resource,
                           CO_TRY(co_await call("POST", path, std::string(kProtobuf), codec::encodeProtobuf(object.object()))));
  }
  Task<Result<Ref<>>> update(const ResourceInfo& resource, std::string nameSpace, std::string name, Mut<> object,
                             WriteOptions options) override {
    std::string path = pathOf(resource, nameSpace, name) + writeQuery(options).str();
    co_return decodeAnswer(resource,
                           CO_TRY(co_await call("PUT", path, std::string(kProtobuf), codec::encodeProtobuf(object.object()))));
  }
  Task<Result<Ref<>>> patch(const ResourceInfo& resource, std::string nameSpace, std::string name, PatchType type,
                            std::string body, WriteOptions options) override {
    // An apply names its manager or is refused; the others fall back to the user agent.
    if (type == PatchType::Apply && options.fieldManager.empty()) options.fieldManager = options_.userAgent;
    std::string path = pathOf(resource, nameSpace, name) + writeQuery(options).str();
    co_return decodeAnswer(resource, CO_TRY(co_await call("PATCH", path, std::string(patchContentType(type)), std::move(body))));
  }
  Task<Result<Ref<>>> remove(const ResourceInfo& resource, std::string nameSpace, std::string name,
                             DeleteOptions options) override {
    std::string path = pathOf(resource, nameSpace, name);
    co_return decodeAnswer(resource, CO_TRY(co_await call("DELETE", path, std::string(kProtobuf), deleteBody(options))));
  }
  Task<Result<void>> removeCollection(const ResourceInfo& resource, std::string nameSpace, DeleteOptions options,
                                      ListOptions selection) override {
    std::string path = pathOf(resource, nameSpace, "") + listQuery(selection).str();
    CO_TRY(co_await call("DELETE", path, std::string(kProtobuf), deleteBody(options)));
    co_return Result<void>();
  }

 private:
  // A response with a good status; anything else is the error the server gave.
  Task<Result<std::unique_ptr<wire::ClientResponse>>> send(std::string method, std::string target, std::string contentType,
                                                           std::string body, bool isWatch) {
    wire::ClientRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers.add("Accept", isWatch ? std::string(kProtobuf) + ";stream=watch" : std::string(kProtobuf));
    request.headers.add("User-Agent", options_.userAgent);
    if (!contentType.empty()) request.headers.add("Content-Type", std::move(contentType));
    if (!options_.bearerToken.empty() && options_.tls) request.headers.add("Authorization", "Bearer " + options_.bearerToken);
    if (!body.empty()) request.body = wire::makeBytes(std::move(body));
    auto response = CO_TRY(co_await http_->send(std::move(request)));
    int code = response->status();
    if (code >= 200 && code < 300) co_return response;
    std::string refusal = CO_TRY(co_await response->readAll(kStatusBytesMax));
    co_return Unexpected(errorOfAnswer(refusal, code));
  }

  Task<Result<std::string>> call(std::string method, std::string target, std::string contentType, std::string body) {
    auto response = CO_TRY(co_await send(std::move(method), std::move(target), std::move(contentType), std::move(body), false));
    co_return co_await response->readAll(kAnswerBytesMax);
  }

  FarClientOptions options_;
  std::unique_ptr<wire::HttpClient> http_;
};

}  // namespace

std::string pathOf(const ResourceInfo& resource, const std::string& nameSpace, const std::string& name) {
  std::string path = resource.group.empty() ? fmt::format("/api/{}", resource.version)
                                            : fmt::format("/apis/{}/{}", resource.group, resource.version);
  if (resource.namespaced && !nameSpace.empty()) path += "/namespaces/" + percentEncode(nameSpace);
  path += fmt::format("/{}", resource.resource);
  if (!name.empty()) path += "/" + percentEncode(name);
  if (!resource.subresource.empty()) path += fmt::format("/{}", resource.subresource);
  return path;
}

std::unique_ptr<Client> makeFarClient(env::Env environment, FarClientOptions options) {
  return std::make_unique<FarClient>(environment, std::move(options));
}

}  // namespace knarr::client
