// Answers: objects, lists, tables, watch frames and errors in the form the client asked for.
#pragma once

#include <memory>
#include <string>

#include "apiserver/metrics.h"
#include "apiserver/negotiation.h"
#include "apiserver/registry.h"
#include "wire/http.h"

namespace knarr::apiserver {

// One HTTP request on its way through the server.
struct HttpCall {
  std::shared_ptr<wire::ServerExchange> exchange;
  ContextPtr context;
  Negotiated negotiated;
  bool negotiationDone = false;
  std::string auditId;
  RequestLabels labels;  // filled when the request is understood
  int code = 200;        // of the answer
};
using HttpCallPtr = std::shared_ptr<HttpCall>;

// metav1.Status of an error as JSON, without newline.
std::string statusJson(const Error& error);
// metav1.Status of success.
std::string successStatusJson(const schema::ResourceInfo& info, std::string_view name, std::string_view uid);

Task<void> respondError(HttpCallPtr call, Error error);
// `json` is a Status; it is sent as JSON, or as protobuf to clients that take nothing else.
Task<void> respondStatusJson(HttpCallPtr call, int code, std::string json);
Task<void> respondText(HttpCallPtr call, int code, std::string text, std::string contentType = "text/plain; charset=utf-8");
Task<void> respondJson(HttpCallPtr call, int code, std::string json);
// An object in the negotiated form, transformed when asked.
Task<void> respondObject(HttpCallPtr call, int code, Ref<> object, const std::string& includeObject, int64_t now);
Task<void> respondList(HttpCallPtr call, const ServedResource& resource, ListResult list, const std::string& includeObject,
                       int64_t now);
// Streams events until the watch ends or the client goes away.
Task<void> respondWatch(HttpCallPtr call, const ServedResource& resource, std::unique_ptr<RegistryWatch> watch,
                        std::string includeObject, env::Env environment);

// A Table of some objects of one kind. Columns are left out after the first event of a watch.
std::string tableJson(const schema::TypeInfo& type, std::span<const Ref<>> items, std::string_view metaVersion,
                      std::string_view resourceVersion, std::string_view continueToken, std::optional<int64_t> remaining,
                      const std::string& includeObject, bool withColumns, int64_t now);
std::string partialObjectMetadataJson(const Ref<>& object, std::string_view metaVersion, bool withTypeMeta);

}  // namespace knarr::apiserver
