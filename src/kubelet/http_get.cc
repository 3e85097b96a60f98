#include "kubelet/http_get.h"

#include <fmt/format.h>

#include "kubelet/container_back_off.h"
#include "wire/grpc.h"
#include "wire/http.h"

namespace knarr::kubelet {

using async::Task;

namespace {

constexpr size_t kBodyBytesMax = 10 * 1024;  // Source: pkg/probe/http maxRespBodyLength

// Asks `source` to stop at the deadline; disarmed when it goes.
class Deadline {
 public:
  Deadline(env::Env environment, env::Duration after, async::StopSource& source) : env_(environment) {
    timer_ = env_.executor.at(env_.clock.now() + after, [&source] { source.requestStop(); });
  }
  ~Deadline() { env_.executor.cancelTimer(timer_); }

 private:
  env::Env env_;
  env::TimerId timer_ = 0;
};

}  // namespace

Task<Result<HttpGetAnswer>> httpGet(env::Env environment, HttpGetRequest request, env::Duration timeout) {
  wire::HttpClientOptions options;
  options.address = request.address;
  options.authority = request.host;
  options.protocol = wire::ClientProtocol::Http1;
  options.connectTimeout = timeout;
  if (request.https) {
    wire::TlsClientConfig tls;
    tls.insecureSkipVerify = true;
    options.tls = CO_TRY(wire::TlsClientContext::make(environment.clock, tls));
  }
  wire::ClientRequest get;
  get.target = request.path;
  get.headers.add("User-Agent", request.userAgent);
  get.headers.add("Accept", "*/*");
  get.headers.add("Connection", "close");
  for (const auto& [name, value] : request.headers) get.headers.set(name, value);
  async::StopSource stop;
  Deadline deadline(environment, timeout, stop);
  wire::HttpClient client(environment, options);
  std::unique_ptr<wire::ClientResponse> response = CO_TRY(co_await client.send(std::move(get), stop.token()));
  HttpGetAnswer answer;
  answer.status = response->status();
  // A body that is too long or breaks off does not change what the status says.
  Result<std::string> body = co_await response->readAll(kBodyBytesMax);
  if (!body && stop.stopRequested()) co_return Unexpected(std::move(body).error());
  if (body) answer.body = std::move(*body);
  co_return answer;
}

Task<Result<void>> tcpConnect(env::Env environment, std::string address, env::Duration timeout) {
  CO_TRY(co_await async::connect(environment, address, timeout));
  co_return Result<void>();
}

namespace {

// The name of HealthCheckResponse.status, its only field. Source: grpc/health/v1/health.proto.
Result<std::string> servingStatusOf(std::string_view response) {
  constexpr std::string_view kNames[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  if (response.empty()) return std::string(kNames[0]);  // proto3 leaves a zero out
  constexpr char kStatusTag = 0x08;
  if (response.size() == 2 && response[0] == kStatusTag && static_cast<size_t>(response[1]) < std::size(kNames))
    return std::string(kNames[static_cast<size_t>(response[1])]);
  return fail(Reason::InternalError, "error: health rpc probe failed: the answer is no HealthCheckResponse");
}

}  // namespace

Task<Result<void>> grpcHealthCheck(env::Env environment, std::string address, std::string service, env::Duration timeout) {
  // HealthCheckRequest{service = 1}. A longer name would need a longer length; none is that long.
  constexpr size_t kShortLengthMax = 127;
  if (service.size() > kShortLengthMax) co_return fail(Reason::Invalid, "the service name of the probe is too long");
  std::string message;
  if (!service.empty()) message = std::string("\x0a") + static_cast<char>(service.size()) + service;
  // Connecting is looked at on its own: its failure has another message.
  Result<void> connected = co_await tcpConnect(environment, address, timeout);
  if (!connected && connected.error().reason() == Reason::Timeout)
    co_return fail(Reason::Timeout, fmt::format("timeout: failed to connect service \"{}\" within {}: {}", address,
                                                durationText(timeout), connected.error().message()));
  if (!connected)
    co_return fail(Reason::ServiceUnavailable,
                   fmt::format("error: failed to connect service at \"{}\": {}", address, connected.error().message()));
  wire::GrpcClientOptions options;
  options.address = address;
  options.connectTimeout = timeout;
  wire::GrpcClient client(environment, options);
  auto answer = co_await client.unary("/grpc.health.v1.Health/Check", message, timeout, {}, {{"user-agent", "kube-probe/1.36"}});
  if (!answer && answer.error().reason() == Reason::MethodNotAllowed)
    co_return fail(Reason::MethodNotAllowed,
                   fmt::format("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                               answer.error().message()));
  if (!answer && answer.error().reason() == Reason::Timeout)
    co_return fail(Reason::Timeout, fmt::format("timeout: health rpc did not complete within {}", durationText(timeout)));
  if (!answer)
    co_return fail(answer.error().reason(), fmt::format("error: health rpc probe failed: {}", answer.error().message()));
  std::string status = CO_TRY(servingStatusOf(*answer));
  if (status == "SERVING") co_return Result<void>();
  co_return fail(Reason::ServiceUnavailable, fmt::format("service unhealthy (responded with \"{}\")", status));
}

}  // namespace knarr::kubelet
