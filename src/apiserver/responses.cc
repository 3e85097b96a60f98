#include "apiserver/responses.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/meta_v1.h"
#include "apiserver/conversion/conversion.h"
#include "apiserver/served_resources.h"
#include "apiserver/tables/tables.h"
#include "apiserver/web_socket_feed.h"
#include "base/log.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {
namespace {

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

// All warnings while they are short; else as much as fits of the beginning of each.
// Source: k8s.io/apiserver/pkg/endpoints/filters/warning.go.
constexpr size_t kWarningRunesMax = 4096, kWarningRunesEachMax = 256;

size_t runesOf(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string_view firstRunes(std::string_view text, size_t most) {
  size_t runes = 0, at = 0;
  for (; at < text.size(); ++at)
    if ((text[at] & 0xc0) != 0x80 && runes++ == most) break;
  return text.substr(0, at);
}

bool fitsHeader(std::string_view text) {
  return isValidUtf8(text) && std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

void addWarningHeaders(wire::Headers& headers, const std::vector<std::string>& warnings) {
  size_t total = 0, written = 0;
  for (const std::string& text : warnings) total += runesOf(text);
  for (std::string_view text : warnings) {
    if (!fitsHeader(text)) continue;
    if (total > kWarningRunesMax) text = firstRunes(text, kWarningRunesEachMax);
    headers.add("Warning", fmt::format("299 - {}", quote(text)));
    written += runesOf(text);
    if (written >= kWarningRunesMax) return;
  }
}

wire::Headers commonHeaders(const HttpCall& call, std::string contentType) {
  wire::Headers headers;
  headers.add("Audit-Id", call.auditId);
  headers.add("Cache-Control", "no-cache, private");
  headers.add("Content-Type", std::move(contentType));
  addWarningHeaders(headers, call.context->warnings);
  return headers;
}

Task<void> send(HttpCallPtr call, int code, std::string contentType, std::string body) {
  call->code = code;
  auto sent = co_await call->exchange->respond(code, commonHeaders(*call, std::move(contentType)), std::move(body));
  if (!sent) logDebug("apiserver", "a response was not sent: {}", sent.error().describe());
}

// The bytes of one object in one form, without a trailing newline for protobuf.
std::string encodeObject(const HttpCall& call, const Ref<>& object) {
  switch (call.negotiated.mediaType) {
    case MediaType::Json:
      return (call.negotiated.pretty ? codec::encodeJsonPretty(object.object()) : *codec::encodedJson(object)) + "\n";
    case MediaType::Yaml:
      return codec::encodeYaml(object.object());
    case MediaType::Protobuf:
      return *codec::encodedProtobuf(object);
  }
  return "";
}

std::string asYamlIfAsked(const HttpCall& call, std::string json) {
  if (call.negotiated.mediaType != MediaType::Yaml) return json + "\n";
  auto yaml = codec::jsonToYaml(json);
  return yaml ? *yaml : json + "\n";
}

const schema::TypeInfo& printedType(const schema::TypeInfo& type) {
  const schema::ResourceInfo* resource = schema::findResourceOfKind(type.group, type.version, type.kind);
  return resource && hasStorage(*resource) ? storageTypeOf(*resource) : type;
}

std::string columnsJson(const TablePrinter& printer) {
  std::string out = "[";
  for (const TableColumn& column : printer.columns) {
    if (out.size() > 1) out += ',';
    out += fmt::format("{{\"name\":{},\"type\":{},\"format\":{},\"description\":{},\"priority\":{}}}",
                       codec::quoteJson(column.name), codec::quoteJson(column.type), codec::quoteJson(column.format),
                       codec::quoteJson(wordsOfColumn(column.name)), column.priority);
  }
  return out + "]";
}

std::string rowJson(const TablePrinter& printer, const Ref<>& object, const Ref<>& printed, std::string_view metaVersion,
                    const std::string& includeObject, int64_t now) {
  std::string row = "{\"cells\":[" + join(printer.cells(printed, now), ",") + "]";
  if (printer.conditions)
    if (std::string conditions = printer.conditions(printed); !conditions.empty()) row += ",\"conditions\":" + conditions;
  if (includeObject == "None")
    row += ",\"object\":null";
  else if (includeObject == "Object")
    row += ",\"object\":" + *codec::encodedJson(object);
  else
    row += ",\"object\":" + partialObjectMetadataJson(object, metaVersion, true);
  return row + "}";
}

}  // namespace

std::string statusJson(const Error& error) {
  Mut<metav1::Status> status = schema::newObject<metav1::Status>();
  status->status = "Failure";
  status->message = status.str(error.message());
  status->reason = reasonName(error.reason());
  status->code = error.code();
  status->metadata.continue_ = status.str(error.details().continueToken);
  const ErrorDetails& from = error.details();
  bool bare = from.group.empty() && from.kind.empty() && from.name.empty() && from.uid.empty() && from.retryAfterSeconds == 0;
  if (!bare || !error.causes().empty()) {
    auto* details = status.arena().make<metav1::StatusDetails>();
    details->name = status.str(from.name);
    details->group = status.str(from.group);
    details->kind = status.str(from.kind);
    details->uid = status.str(from.uid);
    details->retryAfterSeconds = from.retryAfterSeconds;
    for (const Cause& cause : error.causes()) {
      auto& to = details->causes.append(status.arena());
      to.reason = status.str(cause.reason);
      to.message = status.str(cause.message);
      to.field = status.str(cause.field);
    }
    status->details = details;
  }
  return codec::encodeJson(status.object());
}

std::string successStatusJson(const schema::ResourceInfo& info, std::string_view name, std::string_view uid) {
  Mut<metav1::Status> status = schema::newObject<metav1::Status>();
  status->status = "Success";
  auto* details = status.arena().make<metav1::StatusDetails>();
  details->name = status.str(name);
  details->group = info.group;
  details->kind = info.resource;
  details->uid = status.str(uid);
  status->details = details;
  return codec::encodeJson(status.object());
}

Task<void> respondStatusJson(HttpCallPtr call, int code, std::string json) {
  if (call->negotiationDone && call->negotiated.mediaType == MediaType::Protobuf) {
    auto status = codec::decodeJson(schema::typeInfoOf<metav1::Status>(), json);
    if (status) {
      co_await send(call, code, std::string(kProtobuf), codec::encodeProtobuf(status->object.object()));
      co_return;
    }
  }
  co_await send(call, code, "application/json", json + "\n");
}

Task<void> respondError(HttpCallPtr call, Error error) {
  call->code = error.code();
  if (error.code() >= 500)
    logWarning("apiserver", "{} {}: {}", call->exchange->request().method, call->exchange->request().target, error.describe());
  wire::Headers headers = commonHeaders(*call, "application/json");
  if (error.details().retryAfterSeconds > 0) headers.add("Retry-After", fmt::format("{}", error.details().retryAfterSeconds));
  if (error.reason() == Reason::Forbidden) headers.add("X-Content-Type-Options", "nosniff");
  std::string json = statusJson(error);
  std::string body = json + "\n";
  if (call->negotiationDone && call->negotiated.mediaType == MediaType::Protobuf) {
    if (auto status = codec::decodeJson(schema::typeInfoOf<metav1::Status>(), json)) {
      body = codec::encodeProtobuf(status->object.object());
      headers.set("Content-Type", std::string(kProtobuf));
    }
  }
  auto sent = co_await call->exchange->respond(error.code(), std::move(headers), std::move(body));
  if (!sent) logDebug("apiserver", "an error response was not sent: {}", sent.error().describe());
}

Task<void> respondText(HttpCallPtr call, int code, std::string text, std::string contentType) {
  call->code = code;
  wire::Headers headers = commonHeaders(*call, std::move(contentType));
  headers.add("X-Content-Type-Options", "nosniff");
  auto sent = co_await call->exchange->respond(code, std::move(headers), std::move(text));
  if (!sent) logDebug("apiserver", "a response was not sent: {}", sent.error().describe());
}

Task<void> respondJson(HttpCallPtr call, int code, std::string json) {
  std::string body = asYamlIfAsked(*call, std::move(json));
  bool yaml = call->negotiated.mediaType == MediaType::Yaml;
  co_await send(call, code, yaml ? "application/yaml" : "application/json", std::move(body));
}

std::string partialObjectMetadataJson(const Ref<>& object, std::string_view metaVersion, bool withTypeMeta) {
  std::string metadata = codec::encodeJsonValue(schema::typeInfoOf<metav1::ObjectMeta>(), schema::metadataOf(object.object()));
  if (!withTypeMeta) return "{\"metadata\":" + metadata + "}";
  return fmt::format("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/{}\",\"metadata\":{}}}", metaVersion,
                     metadata);
}

std::string tableJson(const schema::TypeInfo& type, std::span<const Ref<>> items, std::string_view metaVersion,
                      std::string_view resourceVersion, std::string_view continueToken, std::optional<int64_t> remaining,
                      const std::string& includeObject, bool withColumns, int64_t now) {
  // Printers know the version that a kind is stored in.
  const schema::TypeInfo& printed = printedType(type);
  const TablePrinter& printer = tablePrinterOf(printed);
  std::string out = fmt::format("{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{}\",\"metadata\":{{\"resourceVersion\":{}",
                                metaVersion, codec::quoteJson(resourceVersion));
  if (!continueToken.empty()) out += fmt::format(",\"continue\":{}", codec::quoteJson(continueToken));
  if (remaining) out += fmt::format(",\"remainingItemCount\":{}", *remaining);
  out += fmt::format("}},\"columnDefinitions\":{},\"rows\":[", withColumns ? columnsJson(printer) : "null");
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += ',';
    auto stored = convertTo(printed, items[i]);
    out += rowJson(printer, items[i], stored ? *stored : items[i], metaVersion, includeObject, now);
  }
  return out + "]}";
}

Task<void> respondObject(HttpCallPtr call, int code, Ref<> object, const std::string& includeObject, int64_t now) {
  const Negotiated& form = call->negotiated;
  bool transformable = schema::metadataOf(object.object()) != nullptr;
  if (form.transform == Transform::Table && transformable) {
    const metav1::ObjectMeta& metadata = schema::metadataOf(object);
    std::string table = tableJson(object.type(), {&object, 1}, form.transformVersion, metadata.resourceVersion, "", std::nullopt,
                                  includeObject, true, now);
    co_await respondJson(call, code, std::move(table));
    co_return;
  }
  if (form.transform == Transform::PartialObjectMetadata && transformable) {
    std::string json = partialObjectMetadataJson(object, form.transformVersion, true);
    if (form.mediaType == MediaType::Protobuf) {
      auto partial = codec::decodeJson(schema::typeInfoOf<metav1::PartialObjectMetadata>(), json);
      if (partial) co_await send(call, code, std::string(kProtobuf), codec::encodeProtobuf(partial->object.object()));
      co_return;
    }
    co_await respondJson(call, code, std::move(json));
    co_return;
  }
  if (form.transform == Transform::PartialObjectMetadataList) {
    co_await respondError(
        call, Error(Reason::NotAcceptable, fmt::format("you requested PartialObjectMetadataList, but the requested object "
                                                       "is not a list ({})",
                                                       object.type().kind)));
    co_return;
  }
  std::string body = encodeObject(*call, object);
  co_await send(call, code, std::string(mediaTypeName(form.mediaType)), std::move(body));
}

Task<void> respondList(HttpCallPtr call, const ServedResource& resource, ListResult list, const std::string& includeObject,
                       int64_t now) {
  const Negotiated& form = call->negotiated;
  std::string revision = fmt::format("{}", list.revision);
  if (form.transform == Transform::Table) {
    co_await respondJson(call, 200,
                         tableJson(*resource.info->type, list.items, form.transformVersion, revision, list.continueToken,
                                   list.remainingItemCount, includeObject, true, now));
    co_return;
  }
  codec::ListHead head;
  head.apiVersion = codec::apiVersionOf(*resource.info->type);
  head.kind = fmt::format("{}List", resource.info->kind);
  head.resourceVersion = revision;
  head.continueToken = list.continueToken;
  head.remainingItemCount = list.remainingItemCount.value_or(-1);
  std::string body;
  auto sink = [&body](std::string_view piece) { body += piece; };
  if (form.transform == Transform::PartialObjectMetadataList) {
    body = fmt::format(
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/{}\",\"metadata\":{{\"resourceVersion\":{}",
        form.transformVersion, codec::quoteJson(revision));
    if (!list.continueToken.empty()) body += fmt::format(",\"continue\":{}", codec::quoteJson(list.continueToken));
    if (list.remainingItemCount) body += fmt::format(",\"remainingItemCount\":{}", *list.remainingItemCount);
    body += "},\"items\":[";
    for (size_t i = 0; i < list.items.size(); ++i)
      body += (i ? "," : "") + partialObjectMetadataJson(list.items[i], form.transformVersion, false);
    body += "]}";
    if (form.mediaType == MediaType::Protobuf) {
      auto partial = codec::decodeJson(schema::typeInfoOf<metav1::PartialObjectMetadataList>(), body);
      if (partial) co_await send(call, 200, std::string(kProtobuf), codec::encodeProtobuf(partial->object.object()));
      co_return;
    }
    co_await respondJson(call, 200, std::move(body));
    co_return;
  }
  if (form.mediaType == MediaType::Protobuf) {
    codec::writeProtobufList(head, list.items, sink);
    co_await send(call, 200, std::string(kProtobuf), std::move(body));
    co_return;
  }
  codec::writeJsonList(head, list.items, sink);
  co_await respondJson(call, 200, std::move(body));
}

namespace {

std::string_view eventTypeName(WatchEvent::Type type) {
  switch (type) {
    case WatchEvent::Added:
      return "ADDED";
    case WatchEvent::Modified:
      return "MODIFIED";
    case WatchEvent::Deleted:
      return "DELETED";
    case WatchEvent::Bookmark:
      return "BOOKMARK";
  }
  return "";
}

Ref<> bookmarkObject(const schema::TypeInfo& type, const WatchEvent& event) {
  Mut<> bookmark(type, 256);
  metav1::ObjectMeta& metadata = schema::metadataOf(bookmark);
  metadata.resourceVersion = bookmark.str(fmt::format("{}", event.revision));
  if (event.initialEventsEnd) schema::set(metadata.annotations, bookmark.arena(), "k8s.io/initial-events-end", "true");
  return std::move(bookmark).publish();
}

// A protobuf watch frame: four bytes of length, then WatchEvent{1 type, 2 object{1 raw}}.
std::string protobufFrame(std::string_view type, std::string_view object) {
  auto varint = [](size_t n) {
    std::string out;
    for (; n >= 0x80; n >>= 7) out += static_cast<char>((n & 0x7f) | 0x80);
    return out + static_cast<char>(n);
  };
  std::string raw = "\x0a" + varint(object.size());
  raw += object;
  std::string message = "\x0a" + varint(type.size());
  message += type;
  message += "\x12" + varint(raw.size());
  message += raw;
  std::string frame;
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(message.size() >> shift & 0xff);
  return frame + message;
}

std::string watchFrame(const HttpCall& call, const schema::TypeInfo& type, const WatchEvent& event,
                       const std::string& includeObject, bool first, int64_t now) {
  Ref<> object = event.object ? event.object : bookmarkObject(type, event);
  std::string_view name = eventTypeName(event.type);
  const Negotiated& form = call.negotiated;
  if (form.mediaType == MediaType::Protobuf) {
    if (form.transform == Transform::PartialObjectMetadata) {
      auto partial = codec::decodeJson(schema::typeInfoOf<metav1::PartialObjectMetadata>(),
                                       partialObjectMetadataJson(object, form.transformVersion, true));
      return protobufFrame(name, partial ? codec::encodeProtobuf(partial->object.object()) : std::string());
    }
    return protobufFrame(name, *codec::encodedProtobuf(object));
  }
  std::string json;
  if (form.transform == Transform::Table)
    json = tableJson(type, {&object, 1}, form.transformVersion, schema::metadataOf(object).resourceVersion, "", std::nullopt,
                     includeObject, first, now);
  else if (form.transform == Transform::PartialObjectMetadata)
    json = partialObjectMetadataJson(object, form.transformVersion, true);
  else
    return fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", name, *codec::encodedJson(object));
  return fmt::format("{{\"type\":\"{}\",\"object\":{}}}\n", name, json);
}

std::string errorFrame(const HttpCall& call, const Error& error) {
  std::string json = statusJson(error);
  if (call.negotiated.mediaType == MediaType::Protobuf)
    if (auto status = codec::decodeJson(schema::typeInfoOf<metav1::Status>(), json))
      return protobufFrame("ERROR", codec::encodeProtobuf(status->object.object()));
  return fmt::format("{{\"type\":\"ERROR\",\"object\":{}}}\n", json);
}

// Each event is a message: text for JSON; for protobuf the frame without its length, which the message has itself.
Task<void> feedWatch(HttpCallPtr call, const schema::TypeInfo& type, std::unique_ptr<RegistryWatch> watch,
                     std::string includeObject, env::Env environment, std::unique_ptr<WebSocketFeed> feed) {
  constexpr size_t kLengthBytes = 4;
  bool protobuf = call->negotiated.mediaType == MediaType::Protobuf;
  auto opcode = protobuf ? wire::WebSocketMessage::Binary : wire::WebSocketMessage::Text;
  async::StopToken gone = feed->gone();
  bool first = true;
  while (!gone.stopRequested()) {
    auto events = co_await watch->next(gone);
    if (gone.stopRequested()) break;
    if (!events) {
      co_await feed->send(opcode, errorFrame(*call, events.error()).substr(protobuf ? kLengthBytes : 0));
      break;
    }
    if (events->empty()) break;
    for (const WatchEvent& event : *events) {
      std::string frame = watchFrame(*call, type, event, includeObject, first, environment.clock.unixSeconds());
      first = false;
      if (!co_await feed->send(opcode, frame.substr(protobuf ? kLengthBytes : 0))) co_return;
    }
  }
  co_await feed->finish();
}

}  // namespace

Task<void> respondWatch(HttpCallPtr call, const ServedResource& resource, std::unique_ptr<RegistryWatch> watch,
                        std::string includeObject, env::Env environment) {
  if (wire::isWebSocketRequest(call->exchange->request())) {
    auto feed = co_await WebSocketFeed::accept(environment, call->exchange, watchSubprotocols(call->exchange->request()));
    if (!feed) co_return co_await respondError(call, feed.error());
    co_return co_await feedWatch(call, *resource.info->type, std::move(watch), std::move(includeObject), environment,
                                 std::move(*feed));
  }
  bool protobuf = call->negotiated.mediaType == MediaType::Protobuf;
  auto started = call->exchange->startResponse(
      200, commonHeaders(*call, protobuf ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/json"));
  if (!started) co_return;
  async::StopToken gone = call->exchange->clientGone();
  bool first = true;
  while (!gone.stopRequested()) {
    auto events = co_await watch->next(gone);
    if (gone.stopRequested()) co_return;
    if (!events) {
      co_await call->exchange->write(errorFrame(*call, events.error()));
      break;
    }
    if (events->empty()) break;
    std::string frames;
    for (const WatchEvent& event : *events) {
      frames += watchFrame(*call, *resource.info->type, event, includeObject, first, environment.clock.unixSeconds());
      first = false;
    }
    auto written = co_await call->exchange->write(std::move(frames));
    if (!written) co_return;
  }
  co_await call->exchange->finish();
}

}  // namespace knarr::apiserver
