// The health ports of Services: a load balancer asks each node whether it has endpoints of a Service with externalTrafficPolicy
// Local.
//
// Upstream counterpart: pkg/proxy/healthcheck/service_health.go.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "env/env.h"
#include "kube_proxy/service_ports.h"
#include "wire/http.h"

namespace knarr::kube_proxy {

struct HealthCheck {
  int port = 0;       // 0: the Service has none
  int endpoints = 0;  // ready ones on this node, by address
};
// What a Service wants checked, from all of its endpoints. Only a load balancer with externalTrafficPolicy Local does.
HealthCheck healthCheckOf(const corev1::Service& service, const std::map<PortName, std::vector<Endpoint>>& endpoints);

struct HealthAnswer {
  int status = 0;
  wire::Headers headers;
  std::string body;
};
// `service` is "namespace/name".
HealthAnswer healthAnswer(const std::string& service, int endpoints, bool proxyHealthy);

// The servers, one for each Service with a port.
class HealthChecks {
 public:
  // `addresses` are the node's, on which node ports are served; none: all.
  HealthChecks(env::Env environment, std::vector<IpAddress> addresses, bool v6);
  struct Failure {
    std::string service;
    int port = 0;
    Error error;
  };
  // What is served from now on, by Service. A port that cannot be had is told, and tried again by the next call.
  std::vector<Failure> follow(const std::map<std::string, HealthCheck>& checks);
  // The proxy's rules are, or are not, what they should be.
  void setHealthy(bool healthy) { *healthy_ = healthy; }

 private:
  struct Server {
    int port = 0;
    std::shared_ptr<int> endpoints;
    std::unique_ptr<wire::HttpServer> http;
  };
  Result<Server> open(const std::string& service, const HealthCheck& check) const;

  env::Env env_;
  std::vector<std::string> hosts_;
  std::shared_ptr<bool> healthy_ = std::make_shared<bool>(true);
  std::map<std::string, Server> servers_;
};

}  // namespace knarr::kube_proxy
