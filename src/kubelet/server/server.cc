#include "kubelet/server/server.h"

#include <fmt/format.h>

#include <map>

#include "api/meta_v1.h"
#include "base/log.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "wire/http.h"
#include "wire/splice.h"
#include "wire/stream_translator.h"

namespace knarr::kubelet {
namespace {

using async::Task;
using Parameters = std::map<std::string, std::vector<std::string>>;

std::shared_ptr<Parameters> parseQuery(std::string_view query) {
  auto out = std::make_shared<Parameters>();
  if (query.empty()) return out;
  for (std::string_view pair : split(query, '&')) {
    size_t equals = pair.find('=');
    auto name = percentDecode(pair.substr(0, equals), true);
    auto value = equals == std::string_view::npos ? std::string() : percentDecode(pair.substr(equals + 1), true);
    if (name && value) (*out)[*name].push_back(*value);
  }
  return out;
}

std::string first(const Parameters& parameters, const std::string& name) {
  auto found = parameters.find(name);
  return found == parameters.end() ? std::string() : found->second.front();
}
bool flag(const Parameters& parameters, const std::string& name) {
  std::string value = first(parameters, name);
  return value == "1" || value == "true";
}

Result<LogOptions> logOptions(const Parameters& parameters, int64_t nowUnixNanos) {
  LogOptions options;
  options.follow = flag(parameters, "follow");
  options.previous = flag(parameters, "previous");
  options.timestamps = flag(parameters, "timestamps");
  auto number = [&](const char* name) -> Result<std::optional<int64_t>> {
    std::string text = first(parameters, name);
    if (text.empty()) return std::optional<int64_t>();
    auto value = parseInt(text);
    if (!value) return fail(Reason::BadRequest, fmt::format("{} is not a number: {}", name, quote(text)));
    return std::optional<int64_t>(*value);
  };
  options.tailLines = TRY(number("tailLines"));
  options.limitBytes = TRY(number("limitBytes"));
  if (auto seconds = TRY(number("sinceSeconds"))) options.sinceUnixNanos = nowUnixNanos - *seconds * 1'000'000'000;
  if (std::string since = first(parameters, "sinceTime"); !since.empty()) {
    auto time = parseRfc3339(since);
    if (!time) return fail(Reason::BadRequest, fmt::format("sinceTime is not an RFC 3339 time: {}", quote(since)));
    options.sinceUnixNanos = time->seconds * 1'000'000'000 + time->nanos;
  }
  return options;
}

// Source: k8s.io/kubelet/pkg/cri/streaming/remotecommand/httpstream.go, NewOptions.
Result<ExecOptions> execOptions(const Parameters& parameters) {
  ExecOptions options;
  if (auto found = parameters.find("command"); found != parameters.end()) options.command = found->second;
  options.standardInput = flag(parameters, "input");
  options.standardOutput = flag(parameters, "output");
  options.tty = flag(parameters, "tty");
  options.standardError = flag(parameters, "error") && !options.tty;
  if (!options.standardInput && !options.standardOutput && !options.standardError)
    return fail(Reason::BadRequest, "you must specify at least 1 of stdin, stdout, stderr");
  return options;
}

// Ports are part of the request only when the old WebSocket protocol is spoken; SPDY names them with each stream.
// Source: k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go, NewV4Options.
Result<std::vector<int32_t>> portsOf(const wire::Request& request, const Parameters& parameters) {
  std::vector<int32_t> ports;
  if (!request.headers.containsToken("Upgrade", "websocket") || wire::wantsTunnel(request)) return ports;
  auto found = parameters.find("port");
  if (found == parameters.end()) return fail(Reason::BadRequest, "query parameter \"port\" is required");
  for (const std::string& value : found->second) {
    if (value.empty()) return fail(Reason::BadRequest, "query parameter \"port\" cannot be empty");
    for (std::string_view text : split(std::string_view(value), ',')) {
      auto port = parseUint(text);
      if (!port || *port > 65535)
        return fail(Reason::BadRequest, fmt::format("unable to parse {} as a port: strconv.ParseUint: parsing {}: {}",
                                                    quote(text), quote(text), port ? "value out of range" : "invalid syntax"));
      if (*port < 1) return fail(Reason::BadRequest, fmt::format("port {} must be > 0", quote(text)));
      ports.push_back(static_cast<int32_t>(*port));
    }
  }
  return ports;
}

// Source: k8s.io/apimachinery/pkg/api/errors, NewInternalError.
std::string statusOf(const Error& error) {
  auto status = schema::newObject<metav1::Status>();
  status->status = "Failure";
  status->reason = "InternalError";
  status->code = 500;
  status->message = status.str("Internal error occurred: " + error.message());
  auto* details = status.arena().make<metav1::StatusDetails>();
  details->causes.append(status.arena()).message = status.str(error.message());
  status->details = details;
  return codec::encodeJson(status.object());
}

// "http://127.0.0.1:39571/exec/TOKEN" apart.
struct StreamingUrl {
  std::string address, target;
};
Result<StreamingUrl> parseUrl(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  size_t slash = url.starts_with(kScheme) ? url.find('/', kScheme.size()) : std::string_view::npos;
  if (slash == std::string_view::npos)
    return fail(Reason::InternalError, fmt::format("the runtime's streaming URL is not understood: {}", url));
  return StreamingUrl{std::string(url.substr(kScheme.size(), slash - kScheme.size())), std::string(url.substr(slash))};
}

}  // namespace

class KubeletServer::Impl {
 public:
  Impl(env::Env environment, Kubelet& kubelet, KubeletServerConfig config)
      : env_(environment), kubelet_(kubelet), config_(std::move(config)) {}

  Result<std::string> listen() {
    wire::HttpServerOptions options;
    options.tls = TRY(wire::TlsServerContext::make(env_.clock, config_.tls));
    server_ = std::make_unique<wire::HttpServer>(
        env_, options, [this](std::shared_ptr<wire::ServerExchange> exchange) { return serve(this, std::move(exchange)); });
    return server_->listen(config_.address);
  }

  Task<void> shutdown(env::Duration grace) {
    if (server_) co_await server_->shutdown(grace);
  }

 private:
  static Task<void> serve(Impl* self, std::shared_ptr<wire::ServerExchange> exchange) {
    Result<void> done = co_await self->route(exchange);
    if (done || exchange->responseStarted()) co_return;
    wire::Headers headers;
    headers.add("Content-Type", "text/plain; charset=utf-8");
    co_await exchange->respond(done.error().code(), std::move(headers), done.error().message() + "\n");
  }

  Task<Result<void>> route(std::shared_ptr<wire::ServerExchange> exchange) {
    const wire::Request& request = exchange->request();
    auto path = percentDecode(request.path(), false);
    if (!path) co_return fail(Reason::BadRequest, "malformed escape in the path");
    if (*path == "/healthz" || *path == "/healthz/ping") {
      co_await exchange->respond(200, {}, std::string("ok"));
      co_return Result<void>();
    }
    if (!request.tlsPeer || !request.tlsPeer->verified) co_return fail(Reason::Unauthorized, "Unauthorized");
    std::vector<std::string> parts;
    for (std::string_view part : split(std::string_view(*path).substr(1), '/')) parts.emplace_back(part);
    auto query = parseQuery(request.query());
    if (parts.size() == 4 && parts[0] == "containerLogs") co_return co_await logs(exchange, std::move(parts), query);
    if (parts.size() == 4 && (parts[0] == "exec" || parts[0] == "attach"))
      co_return co_await stream(exchange, std::move(parts), query);
    if (parts.size() == 3 && parts[0] == "portForward") co_return co_await stream(exchange, std::move(parts), query);
    if (*path == "/pods" || *path == "/pods/")
      co_return co_await exchange->respond(200, contentType("application/json"), kubelet_.podsJson());
    if (*path == "/metrics/resource")
      co_return co_await exchange->respond(200, contentType("text/plain; version=0.0.4; charset=utf-8"),
                                           co_await kubelet_.resourceMetrics());
    if (*path == "/stats/summary") {
      Result<std::string> summary = co_await kubelet_.statsSummary(flag(*query, "only_cpu_and_memory"));
      if (!summary) co_return fail(Reason::InternalError, "Internal Error: " + summary.error().message());
      co_return co_await exchange->respond(200, contentType("application/json"), std::move(*summary));
    }
    co_return fail(Reason::NotFound, "404 page not found");
  }

  static wire::Headers contentType(std::string type) {
    wire::Headers headers;
    headers.add("Content-Type", std::move(type));
    return headers;
  }

  Task<Result<void>> logs(std::shared_ptr<wire::ServerExchange> exchange, std::vector<std::string> parts,
                          std::shared_ptr<Parameters> query) {
    LogOptions options = CO_TRY(logOptions(*query, env_.clock.unixNanos()));
    auto started = std::make_shared<bool>(false);
    auto sink = [exchange, started](std::string piece) { return writePiece(exchange, started, std::move(piece)); };
    CO_TRY(co_await kubelet_.containerLogs(parts[1], parts[2], parts[3], options, sink));
    if (!*started) CO_TRY(startLog(exchange, started));
    co_await exchange->finish();
    co_return Result<void>();
  }

  static Result<void> startLog(const std::shared_ptr<wire::ServerExchange>& exchange, const std::shared_ptr<bool>& started) {
    *started = true;
    wire::Headers headers;
    headers.add("Content-Type", "text/plain; charset=utf-8");
    return exchange->startResponse(200, std::move(headers));
  }

  // False when the reader has gone.
  static Task<bool> writePiece(std::shared_ptr<wire::ServerExchange> exchange, std::shared_ptr<bool> started, std::string piece) {
    if (exchange->clientGone().stopRequested()) co_return false;
    if (!*started && !startLog(exchange, started)) co_return false;
    if (piece.empty()) co_return true;
    auto written = co_await exchange->write(std::move(piece));
    co_return written.has_value();
  }

  Task<Result<void>> stream(std::shared_ptr<wire::ServerExchange> exchange, std::vector<std::string> parts,
                            std::shared_ptr<Parameters> query) {
    std::string url;
    wire::TranslatedStreams streams;
    if (parts[0] == "portForward") {
      url = CO_TRY(co_await kubelet_.portForwardUrl(parts[1], parts[2], CO_TRY(portsOf(exchange->request(), *query))));
    } else {
      ExecOptions options = CO_TRY(execOptions(*query));
      if (parts[0] == "attach") {
        // What the container was made with counts, not what the caller thinks. Source: pkg/kubelet/kubelet_pods.go, GetAttach.
        // Runtimes refuse a standardError beside a terminal; where the streams are ours to make it stays silent instead.
        options.tty = CO_TRY(kubelet_.hasTerminal(parts[1], parts[2], parts[3]));
        if (options.tty && wire::wantsStreamTranslation(exchange->request())) options.standardError = false;
      }
      streams = {options.standardInput, options.standardOutput, options.standardError, options.tty};
      url = CO_TRY(parts[0] == "exec" ? co_await kubelet_.execUrl(parts[1], parts[2], parts[3], options)
                                      : co_await kubelet_.attachUrl(parts[1], parts[2], parts[3], options));
    }
    StreamingUrl target = CO_TRY(parseUrl(url));
    wire::HttpClientOptions options;
    options.address = target.address;
    options.protocol = wire::ClientProtocol::Http1;
    wire::HttpClient runtime(env_, options);
    // Runtimes speak SPDY and the older WebSocket protocols. Source: pkg/kubelet/server/server.go, proxyStream.
    const wire::Request& request = exchange->request();
    if (parts[0] == "portForward" && wire::wantsTunnel(request))
      co_return co_await wire::tunnelStreams(env_, exchange, &runtime, target.target);
    if (parts[0] != "portForward" && wire::wantsStreamTranslation(request))
      co_return co_await wire::translateStreams(env_, exchange, &runtime, target.target, streams, statusOf);
    co_return co_await wire::forwardUpgrade(env_, exchange, &runtime, target.target);
  }

  env::Env env_;
  Kubelet& kubelet_;
  KubeletServerConfig config_;
  std::unique_ptr<wire::HttpServer> server_;
};

KubeletServer::KubeletServer(env::Env environment, Kubelet& kubelet, KubeletServerConfig config)
    : impl_(std::make_unique<Impl>(environment, kubelet, std::move(config))) {}
KubeletServer::~KubeletServer() = default;
Result<std::string> KubeletServer::listen() { return impl_->listen(); }
Task<void> KubeletServer::shutdown(env::Duration grace) { return impl_->shutdown(grace); }

}  // namespace knarr::kubelet
