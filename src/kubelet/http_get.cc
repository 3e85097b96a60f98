#include "kubelet/http_get.h"

#include <fmt/format.h>

#include "wire/grpc.h"
#include "wire/http.h"

namespace knarr::kubelet {

using async::Task;

namespace {

constexpr size_t kBodyBytesMax = 10 * 1024;  // Source: pkg/probe/http maxRespBodyLength

// Asks `source` to stop at the deadline; disarmed when it goes.
class Deadline {
 public:
  Deadline(env::Env environment, env::Duration after, async::StopSource& source)
      : env_(environment) {
    timer_ = env_.executor.at(env_.clock.now() + after, [&source] { source.requestStop(); });
  }
  ~Deadline() { env_.executor.cancelTimer(timer_); }

 private:
  env::Env env_;
  env::TimerId timer_ = 0;
};

}  // namespace

Task<Result<HttpGetAnswer>> httpGet(env::Env environment, HttpGetRequest request,
                                    env::Duration timeout) {
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
  std::unique_ptr<wire::ClientResponse> response =
      CO_TRY(co_await client.send(std::move(get), stop.token()));
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

Task<Result<void>> grpcHealthCheck(env::Env environment, std::string address, std::string service,
                                   env::Duration timeout) {
  wire::GrpcClientOptions options;
  options.address = address;
  options.connectTimeout = timeout;
  wire::GrpcClient client(environment, options);
  // HealthCheckRequest{service = 1}; a service name is shorter than 128 bytes by validation's
  // bounds or cut here.
  std::string message;
  constexpr size_t kShortLengthMax = 127;
  if (service.size() > kShortLengthMax)
    co_return fail(Reason::Invalid, "the service name of the probe is too long");
  if (!service.empty()) message = std::string("\x0a") + static_cast<char>(service.size()) + service;
  std::string answer =
      CO_TRY(co_await client.unary("/grpc.health.v1.Health/Check", message, timeout));
  // HealthCheckResponse{status = 1}, SERVING = 1. Source: grpc/health/v1/health.proto.
  if (answer == std::string("\x08\x01", 2)) co_return Result<void>();
  co_return fail(Reason::ServiceUnavailable,
                 "service unhealthy (responded with another status than \"SERVING\")");
}

}  // namespace knarr::kubelet
