#include "kube_proxy/health_check.h"

#include <fmt/format.h>

#include <set>

namespace knarr::kube_proxy {
namespace {

async::Task<void> answer(std::shared_ptr<wire::ServerExchange> exchange, HealthAnswer with) {
  // A client that went away needs no answer.
  (void)co_await exchange->respond(with.status, std::move(with.headers), std::move(with.body));
}

}  // namespace

HealthCheck healthCheckOf(const corev1::Service& service, const std::map<PortName, std::vector<Endpoint>>& endpoints) {
  if (service.spec.type != "LoadBalancer" || service.spec.externalTrafficPolicy != "Local" ||
      service.spec.healthCheckNodePort == 0)
    return {};
  std::set<std::string> ready;
  for (const auto& [port, list] : endpoints)
    for (const Endpoint& endpoint : list)
      if (endpoint.local && endpoint.ready) ready.insert(endpoint.ip.text());
  return {service.spec.healthCheckNodePort, static_cast<int>(ready.size())};
}

HealthAnswer healthAnswer(const std::string& service, int endpoints, bool proxyHealthy) {
  size_t slash = service.find('/');
  HealthAnswer out;
  out.status = endpoints > 0 && proxyHealthy ? 200 : 503;
  out.headers.set("Content-Type", "application/json");
  out.headers.set("X-Content-Type-Options", "nosniff");
  out.headers.set("X-Load-Balancing-Endpoint-Weight", fmt::format("{}", endpoints));
  out.body = fmt::format(
      "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n\t}},\n\t\"localEndpoints\": "
      "{},\n\t\"serviceProxyHealthy\": {}\n}}",
      service.substr(0, slash), service.substr(slash + 1), endpoints, proxyHealthy);
  return out;
}

HealthChecks::HealthChecks(env::Env environment, std::vector<IpAddress> addresses, bool v6) : env_(environment) {
  for (const IpAddress& address : addresses)
    if (address.v6 == v6) hosts_.push_back(v6 ? fmt::format("[{}]", address.text()) : address.text());
  if (addresses.empty()) hosts_.push_back(v6 ? "[::]" : "0.0.0.0");
}

Result<HealthChecks::Server> HealthChecks::open(const std::string& service, const HealthCheck& check) const {
  Server out;
  out.port = check.port;
  out.endpoints = std::make_shared<int>(check.endpoints);
  wire::HttpServerOptions options;
  options.connectionsMax = 256;
  options.idleTimeout = std::chrono::seconds(10);
  out.http = std::make_unique<wire::HttpServer>(
      env_, options, [service, endpoints = out.endpoints, healthy = healthy_](std::shared_ptr<wire::ServerExchange> exchange) {
        return answer(std::move(exchange), healthAnswer(service, *endpoints, *healthy));
      });
  for (const std::string& host : hosts_) TRY(out.http->listen(fmt::format("{}:{}", host, check.port)));
  return out;
}

std::vector<HealthChecks::Failure> HealthChecks::follow(const std::map<std::string, HealthCheck>& checks) {
  // Closed first: a port may pass from one Service to another.
  std::erase_if(servers_, [&](const auto& entry) {
    auto wanted = checks.find(entry.first);
    return wanted == checks.end() || wanted->second.port != entry.second.port;
  });
  std::vector<Failure> failures;
  for (const auto& [service, check] : checks) {
    auto have = servers_.find(service);
    if (have != servers_.end()) {
      *have->second.endpoints = check.endpoints;
      continue;
    }
    auto opened = open(service, check);
    if (opened)
      servers_.emplace(service, std::move(*opened));
    else
      failures.push_back({service, check.port, std::move(opened).error()});
  }
  return failures;
}

}  // namespace knarr::kube_proxy
