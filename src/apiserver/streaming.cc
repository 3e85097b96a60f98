#include "apiserver/streaming.h"

#include <fmt/format.h>

#include "api/core_v1.h"
#include "apiserver/web_socket_feed.h"
#include "base/log.h"
#include "base/strings.h"
#include "wire/splice.h"
#include "wire/stream_translator.h"

namespace knarr::apiserver {
namespace {

constexpr size_t kKubeletErrorBytesMax = 50000;
constexpr int32_t kKubeletPort = 10250;

template <class Containers>
void appendNames(const Containers& containers, std::vector<std::string>& names) {
  for (const auto& container : containers) names.emplace_back(container.name);
}

std::string copyParameters(const Query& query, std::initializer_list<std::string_view> names) {
  std::string out;
  for (std::string_view name : names)
    for (const std::string& value : query.all(name))
      out += fmt::format("{}{}={}", out.empty() ? "?" : "&", name, percentEncode(value));
  return out;
}

// What the kubelet is asked for: exec and attach rename their parameters.
std::string kubeletTarget(const RequestInfo& info, const Query& query, const std::string& container) {
  if (info.subresource == "portforward") {
    std::string ports = join(query.all("ports"), ",");
    return fmt::format("/portForward/{}/{}{}", info.nameSpace, info.name, ports.empty() ? "" : "?port=" + percentEncode(ports));
  }
  std::string target = fmt::format("/{}/{}/{}/{}?", info.subresource, info.nameSpace, info.name, container);
  for (const std::string& word : query.all("command")) target += fmt::format("command={}&", percentEncode(word));
  if (query.flag("stdin")) target += "input=1&";
  if (query.flag("stdout")) target += "output=1&";
  if (query.flag("stderr")) target += "error=1&";
  if (query.flag("tty")) target += "tty=1&";
  target.pop_back();
  return target;
}

// Source: k8s.io/apimachinery/pkg/api/errors, NewInternalError.
std::string internalErrorJson(const Error& error) {
  Error wrapped(Reason::InternalError, "Internal error occurred: " + error.message());
  wrapped.withCause({"", error.message(), ""});
  return statusJson(wrapped);
}

// An empty message first, then the log in messages of at most 2048 bytes; for a client that wants text, in base64.
// Source: k8s.io/apiserver/pkg/util/wsstream/stream.go.
// `over` ends the kubelet's answer.
Task<Result<void>> feedLog(env::Env environment, HttpCallPtr call, wire::ClientResponse* answer, async::StopSource* over) {
  constexpr size_t kMessageBytes = 2048;
  constexpr std::string_view kBase64 = "base64.binary.k8s.io";
  std::vector<std::string> protocols{"binary.k8s.io", std::string(kBase64), ""};
  auto feed = CO_TRY(co_await WebSocketFeed::accept(environment, call->exchange, std::move(protocols)));
  bool text = feed->subprotocol() == kBase64;
  auto opcode = text ? wire::WebSocketMessage::Text : wire::WebSocketMessage::Binary;
  auto leave = feed->gone().onStop([over] { over->requestStop(); });
  bool there = co_await feed->send(opcode, "");
  while (there) {
    auto chunk = co_await answer->readChunk();
    if (!chunk || !*chunk) break;
    for (std::string_view rest = **chunk; there && !rest.empty(); rest.remove_prefix(std::min(kMessageBytes, rest.size()))) {
      std::string_view piece = rest.substr(0, kMessageBytes);
      there = co_await feed->send(opcode, text ? base64Encode(piece) : std::string(piece));
    }
  }
  if (there) co_await feed->finish();
  co_return Result<void>();
}

}  // namespace

bool isStreamingSubresource(const RequestInfo& info) {
  if (!info.apiGroup.empty() || info.resource != "pods") return false;
  return info.subresource == "log" || info.subresource == "exec" || info.subresource == "attach" ||
         info.subresource == "portforward";
}

Result<void> checkLogOptions(const Query& query, const std::string& pod) {
  using namespace apimachinery;
  FieldErrors errors;
  auto check = [&](std::string_view name, int64_t least, std::string_view detail) -> Result<void> {
    std::string text = query.get(name);
    if (text.empty()) return {};
    auto value = parseInt(text);
    if (!value) return fail(Reason::BadRequest, fmt::format("strconv.ParseInt: parsing {}: invalid syntax", quote(text)));
    if (*value < least) errors.push_back(invalidError(FieldPath(std::string(name)), *value, detail));
    return {};
  };
  TRY(check("tailLines", 0, "must be greater than or equal to 0"));
  TRY(check("limitBytes", 1, "must be greater than 0"));
  TRY(check("sinceSeconds", 1, "must be greater than 0"));
  if (query.has("sinceTime") && query.has("sinceSeconds"))
    errors.push_back(
        apimachinery::forbiddenError(FieldPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"));
  // Source: the feature gate PodLogsQuerySplitStreams, which is off.
  if (query.has("stream")) errors.push_back(forbiddenError(FieldPath("stream"), "may not be specified"));
  if (errors.empty()) return {};
  return Unexpected(invalidStatus("", "PodLogOptions", pod, errors));
}

Result<std::string> containerOf(const Ref<>& object, const std::string& asked) {
  Ref<corev1::Pod> pod(object);
  if (asked.empty() && pod->spec.containers.size() == 1) return std::string(pod->spec.containers[0].name);
  std::vector<std::string> names;
  appendNames(pod->spec.initContainers, names);
  appendNames(pod->spec.containers, names);
  for (const auto& container : pod->spec.ephemeralContainers) names.emplace_back(container.ephemeralContainerCommon.name);
  if (asked.empty())
    return fail(Reason::BadRequest, fmt::format("a container name must be specified for pod {}, choose one of: [{}]",
                                                pod->metadata.name, join(names, " ")));
  if (std::find(names.begin(), names.end(), asked) == names.end())
    return fail(Reason::BadRequest, fmt::format("container {} is not valid for pod {}", asked, pod->metadata.name));
  return asked;
}

Result<wire::HttpClient*> Streaming::kubeletOf(const std::string& nodeName) {
  const ServedResource* nodes = registry_.find("", "v1", "nodes");
  Ref<> object = nodes ? nodes->cache->get(nodeName) : Ref<>();
  if (!object) return fail(Reason::NotFound, fmt::format("nodes {} not found", quote(nodeName)));
  Ref<corev1::Node> node(object);
  std::string host;
  for (const auto& address : node->status.addresses)
    if (address.type == "InternalIP" && host.empty()) host = address.address;
  if (host.empty()) return fail(Reason::BadRequest, fmt::format("no preferred addresses found for node {}", quote(nodeName)));
  int32_t port = node->status.daemonEndpoints.kubeletEndpoint.port;
  if (port == 0) port = kKubeletPort;
  std::string address =
      host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
  auto& client = kubelets_[address];
  if (!client) {
    wire::HttpClientOptions options;
    options.address = address;
    options.tls = tls_;
    options.serverName = nodeName;
    client = std::make_unique<wire::HttpClient>(env_, options);
  }
  return client.get();
}

bool Streaming::takesWebSockets(const std::string& nodeName) const {
  const ServedResource* nodes = registry_.find("", "v1", "nodes");
  Ref<> object = nodes ? nodes->cache->get(nodeName) : Ref<>();
  if (!object) return false;
  Ref<corev1::Node> node(object);
  for (const auto& feature : node->status.declaredFeatures)
    if (feature == "ExtendWebSocketsToKubelet") return true;
  return false;
}

Task<Result<void>> Streaming::handle(HttpCallPtr call, RequestInfo info, Query query) {
  if (info.subresource == "log") CO_TRY(checkLogOptions(query, info.name));
  const ServedResource* pods = registry_.find("", "v1", "pods");
  Ref<> object = CO_TRY(co_await registry_.get(*pods, info.nameSpace, info.name, ""));
  Ref<corev1::Pod> pod(object);
  if (info.subresource == "log") co_return co_await log(call, std::move(info), std::move(query), object);
  std::string container;
  if (info.subresource != "portforward") {
    container = CO_TRY(containerOf(object, query.get("container")));
    if (!query.flag("stdin") && !query.flag("stdout") && !query.flag("stderr"))
      co_return fail(Reason::BadRequest, "you must specify at least 1 of stdin, stdout, stderr");
  }
  if (pod->spec.nodeName.empty())
    co_return fail(Reason::BadRequest, fmt::format("pod {} does not have a host assigned", info.name));
  if (call->exchange->request().headers.get("Upgrade").empty()) co_return fail(Reason::BadRequest, "Upgrade request required");
  wire::HttpClient* kubelet = CO_TRY(kubeletOf(std::string(pod->spec.nodeName)));
  std::string target = kubeletTarget(info, query, container);
  const wire::Request& request = call->exchange->request();
  bool portForward = info.subresource == "portforward";
  bool translated = portForward ? wire::wantsTunnel(request) : wire::wantsStreamTranslation(request);
  if (!translated || takesWebSockets(std::string(pod->spec.nodeName)))
    co_return co_await wire::forwardUpgrade(env_, call->exchange, kubelet, std::move(target));
  if (portForward) co_return co_await wire::tunnelStreams(env_, call->exchange, kubelet, std::move(target));
  wire::TranslatedStreams streams{query.flag("stdin"), query.flag("stdout"), query.flag("stderr") && !query.flag("tty"),
                                  query.flag("tty")};
  co_return co_await wire::translateStreams(env_, call->exchange, kubelet, std::move(target), streams, internalErrorJson);
}

Task<Result<void>> Streaming::log(HttpCallPtr call, RequestInfo info, Query query, Ref<> object) {
  std::string container = CO_TRY(containerOf(object, query.get("container")));
  std::string nodeName(Ref<corev1::Pod>(object)->spec.nodeName);
  if (nodeName.empty()) {
    co_await respondText(call, 204, "");
    co_return Result<void>();
  }
  wire::HttpClient* kubelet = CO_TRY(kubeletOf(nodeName));
  wire::ClientRequest request;
  request.target = fmt::format(
      "/containerLogs/{}/{}/{}{}", info.nameSpace, info.name, container,
      copyParameters(query, {"follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes"}));
  async::StopSource over;
  auto leave = call->exchange->clientGone().onStop([&over] { over.requestStop(); });
  std::unique_ptr<wire::ClientResponse> answer = CO_TRY(co_await kubelet->send(std::move(request), over.token()));
  if (answer->status() != 200) {
    int status = answer->status();
    std::string text = CO_TRY(co_await answer->readAll(kKubeletErrorBytesMax));
    if (status == 404) co_return fail(Reason::NotFound, std::string(trim(text)));
    co_return fail(status == 400 ? Reason::BadRequest : Reason::InternalError, std::string(trim(text)));
  }
  if (wire::isWebSocketRequest(call->exchange->request())) co_return co_await feedLog(env_, call, answer.get(), &over);
  wire::Headers headers;
  headers.add("Audit-Id", call->auditId);
  headers.add("Cache-Control", "no-cache, private");
  headers.add("Content-Type", "text/plain");
  CO_TRY(call->exchange->startResponse(200, std::move(headers)));
  for (;;) {
    auto chunk = co_await answer->readChunk();
    if (!chunk || !*chunk) break;
    auto written = co_await call->exchange->write(std::move(**chunk));
    if (!written) co_return Result<void>();
  }
  co_await call->exchange->finish();
  co_return Result<void>();
}

}  // namespace knarr::apiserver
