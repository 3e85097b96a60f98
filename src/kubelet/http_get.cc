#include "kubelet/http_get.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "kubelet/container_back_off.h"
#include "wire/grpc.h"
#include "wire/http.h"

namespace knarr::kubelet {

using async::Task;

namespace {

constexpr size_t kBodyBytesMax = 10 * 1024;  // Source: pkg/probe/http maxRespBodyLength
// Source: grpc-go, backoff.DefaultConfig.BaseDelay; the longer delays after it lie beyond the usual timeouts.
constexpr env::Duration kGrpcConnectEvery = std::chrono::seconds(1);

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

// What Go's net package says of a connect that failed.
std::string dialText(std::string_view address, const Error& error) {
  if (error.reason() == Reason::Timeout) return fmt::format("dial tcp {}: i/o timeout", address);
  std::string_view why = error.message();
  std::string prefix = fmt::format("connect to {}: ", address);
  if (why.starts_with(prefix)) why.remove_prefix(prefix.size());
  return fmt::format("dial tcp {}: connect: {}", address, toLower(why));
}

// "10.0.0.1" of "10.0.0.1:80", "fd00::1" of "[fd00::1]:80".
std::string_view hostnameOf(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(1, authority.find(']') - 1);
  return authority.substr(0, authority.rfind(':'));
}

// "host:port" of "host" or "host:port"; "" when it is neither.
std::string withPort(std::string_view authority, int32_t port) {
  size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == std::string_view::npos) return "";
  size_t colon = authority.find(':', bracket);
  size_t hostEnd = std::min(colon, authority.size());
  if (bracket > 0 && hostEnd != bracket + 1) return "";
  std::string_view given = authority.substr(std::min(hostEnd + 1, authority.size()));
  std::optional<int64_t> number = given.empty() ? port : parseInt(given);
  if (!number || *number < 1 || *number > 65535) return "";
  return fmt::format("{}:{}", authority.substr(0, hostEnd), *number);
}

// Without "." and ".." segments. Source: RFC 3986, section 5.2.4.
std::string withoutDotSegments(std::string_view path) {
  std::vector<std::string_view> kept;
  bool directory = false;
  for (size_t at = 1; at <= path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string_view segment = path.substr(at, end - at);
    directory = segment == "." || segment == "..";
    if (segment == ".." && !kept.empty()) kept.pop_back();
    if (!directory) kept.push_back(segment);
    at = end + 1;
  }
  std::string out;
  for (std::string_view segment : kept) out.append("/").append(segment);
  return directory || out.empty() ? out + "/" : out;
}

struct Target {
  bool https = false;
  std::string authority, path;  // authority "" when the reference has none
};

std::optional<Target> targetOf(const HttpGetRequest& request, std::string_view location) {
  Target target{request.https, "", ""};
  location = location.substr(0, location.find('#'));
  size_t scheme = location.find("://");
  if (scheme != std::string_view::npos && scheme < location.find_first_of("/?")) {
    std::string name = toLower(location.substr(0, scheme));
    if (name != "http" && name != "https") return std::nullopt;
    target.https = name == "https";
    location.remove_prefix(scheme + 1);
  }
  if (location.starts_with("//")) {
    location.remove_prefix(2);
    size_t end = std::min(location.find_first_of("/?"), location.size());
    target.authority = location.substr(0, end);
    location.remove_prefix(end);
    if (location.empty() || location.starts_with('?')) target.path = "/";
  }
  std::string_view base = std::string_view(request.path).substr(0, request.path.find('?'));
  size_t query = std::min(location.find('?'), location.size());
  std::string_view path = location.substr(0, query);
  if (path.starts_with('/')) {
    target.path = withoutDotSegments(path);
  } else if (!path.empty()) {
    target.path = withoutDotSegments(std::string(base.substr(0, base.rfind('/') + 1)).append(path));
  } else if (target.path.empty()) {
    target.path = base;
  }
  target.path.append(location.substr(query));
  return target;
}

Result<wire::HttpClientOptions> optionsFor(env::Env environment, const HttpGetRequest& request, env::Duration timeout) {
  wire::HttpClientOptions options;
  options.address = request.address;
  options.authority = request.host;
  options.protocol = wire::ClientProtocol::Http1;
  options.connectTimeout = timeout;
  if (request.https) {
    wire::TlsClientConfig tls;
    tls.insecureSkipVerify = true;
    options.tls = TRY(wire::TlsClientContext::make(environment.clock, tls));
  }
  return options;
}

struct Exchange {
  HttpGetAnswer answer;
  std::string location;
};

Task<Result<Exchange>> exchange(env::Env environment, HttpGetRequest request, env::Duration timeout, async::StopToken stop) {
  wire::HttpClientOptions options = CO_TRY(optionsFor(environment, request, timeout));
  wire::ClientRequest get;
  get.target = request.path;
  auto given = [&request](std::string_view name) {
    return std::ranges::any_of(request.headers, [name](const auto& header) { return equalsIgnoreCase(header.first, name); });
  };
  if (!given("User-Agent")) get.headers.add("User-Agent", request.userAgent);
  if (!given("Accept")) get.headers.add("Accept", "*/*");
  get.headers.add("Connection", "close");
  for (const auto& [name, value] : request.headers)
    if (!value.empty() || !equalsIgnoreCase(name, "Accept")) get.headers.add(name, value);
  wire::HttpClient client(environment, options);
  auto response = co_await client.send(std::move(get), stop);
  if (!response) {
    const Error& error = response.error();
    if (error.message().starts_with("connect to ")) co_return fail(error.reason(), dialText(request.address, error));
    co_return Unexpected(error);
  }
  Exchange done;
  done.answer.status = (*response)->status();
  done.location = (*response)->headers().get("Location");
  // A body that is too long or breaks off does not change what the status says.
  Result<std::string> body = co_await (*response)->readAll(kBodyBytesMax);
  if (!body && stop.stopRequested()) co_return Unexpected(std::move(body).error());
  if (body) done.answer.body = std::move(*body);
  co_return done;
}

}  // namespace

HttpGetRequest httpGetRequest(const corev1::HTTPGetAction& get, std::string_view podIp, int32_t port,
                              std::string_view userAgent) {
  HttpGetRequest request;
  std::string host(get.host.empty() ? podIp : std::string_view(get.host));
  request.address = fmt::format(fmt::runtime(host.find(':') == std::string::npos ? "{}:{}" : "[{}]:{}"), host, port);
  request.host = request.address;
  request.path = get.path.starts_with('/') ? std::string(get.path) : "/" + std::string(get.path);
  request.userAgent = userAgent;
  request.https = get.scheme == "HTTPS";
  for (const corev1::HTTPHeader& header : get.httpHeaders) {
    if (equalsIgnoreCase(header.name, "Host"))
      request.host = header.value;
    else
      request.headers.emplace_back(header.name, header.value);
  }
  return request;
}

std::optional<HttpGetRequest> redirected(const HttpGetRequest& request, int status, std::string_view location) {
  bool leads = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  if (!leads || location.empty()) return std::nullopt;
  std::optional<Target> target = targetOf(request, location);
  if (!target) return std::nullopt;
  HttpGetRequest next = request;
  next.https = target->https;
  next.path = target->path;
  if (target->authority.empty()) return next;
  std::string address = withPort(target->authority, target->https ? 443 : 80);
  if (address.empty() || hostnameOf(address) != hostnameOf(request.address)) return std::nullopt;
  next.address = request.address.substr(0, request.address.rfind(':')) + address.substr(address.rfind(':'));
  next.host = target->authority;
  return next;
}

Task<Result<HttpGetAnswer>> httpGet(env::Env environment, HttpGetRequest request, env::Duration timeout) {
  constexpr int kRequestsMax = 10;
  async::StopSource stop;
  Deadline deadline(environment, timeout, stop);
  for (int i = 0; i < kRequestsMax; ++i) {
    Result<Exchange> done = co_await exchange(environment, request, timeout, stop.token());
    if (!done && (stop.stopRequested() || done.error().reason() == Reason::Timeout))
      co_return fail(Reason::Timeout, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    if (!done) co_return Unexpected(std::move(done).error());
    std::optional<HttpGetRequest> next = redirected(request, done->answer.status, done->location);
    if (!next) co_return std::move(done->answer);
    request = std::move(*next);
  }
  co_return fail(Reason::Invalid, fmt::format("stopped after {} redirects", kRequestsMax));
}

Task<Result<void>> tcpConnect(env::Env environment, std::string address, env::Duration timeout) {
  auto connected = co_await async::connect(environment, address, timeout);
  if (!connected) co_return fail(connected.error().reason(), dialText(address, connected.error()));
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
  // Connecting is looked at on its own: it is tried every second until the time is over, and its failure has another message.
  env::Instant end = environment.clock.now() + timeout;
  Result<void> connected = co_await tcpConnect(environment, address, timeout);
  while (!connected && environment.clock.now() + kGrpcConnectEvery < end) {
    co_await async::sleepFor(environment, kGrpcConnectEvery);
    connected = co_await tcpConnect(environment, address, end - environment.clock.now());
  }
  if (!connected)
    co_return fail(Reason::Timeout, fmt::format("timeout: failed to connect service \"{}\" within {}: context deadline exceeded",
                                                address, durationText(timeout)));
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
