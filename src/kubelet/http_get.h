// One request to a pod, for probes and lifecycle hooks: HTTP GET, a TCP connect, a gRPC health
// check. Upstream counterpart: pkg/probe/{http,tcp,grpc}.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/core_v1.h"
#include "async/async.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::kubelet {

struct HttpGetRequest {
  std::string address;  // "10.0.0.1:80"
  std::string host;     // the Host header
  std::string path = "/";
  bool https = false;  // certificates are not verified, as upstream
  // Besides Host; they come instead of our own User-Agent and Accept, and an empty Accept means none.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string userAgent;
};
// What a probe or a hook asks. A host that is not named is the pod's own.
// Source: pkg/probe/http/request.go.
HttpGetRequest httpGetRequest(const corev1::HTTPGetAction& get, std::string_view podIp, int32_t port, std::string_view userAgent);

struct HttpGetAnswer {
  int status = 0;
  std::string body;  // at most 10 KiB
};
// Redirects to the same host are followed, up to ten requests; the answer that leads to another host is the answer. `timeout` is
// for all of it. Errors, with upstream's text: Timeout; refused and broken connections; an answer that is not HTTP.
async::Task<Result<HttpGetAnswer>> httpGet(env::Env environment, HttpGetRequest request, env::Duration timeout);

// The request that an answer leads to, or nothing when it leads nowhere or to another host. `location` may be relative.
// Source: pkg/probe/http, RedirectChecker; RFC 9110, section 15.4; RFC 3986, section 5.2.
std::optional<HttpGetRequest> redirected(const HttpGetRequest& request, int status, std::string_view location);

// Connects and closes. Errors have upstream's text: "dial tcp 10.0.0.1:80: connect: connection refused".
async::Task<Result<void>> tcpConnect(env::Env environment, std::string address, env::Duration timeout);

// grpc.health.v1.Health/Check; an error, with upstream's text, unless it answers SERVING. Source: pkg/probe/grpc/grpc.go.
async::Task<Result<void>> grpcHealthCheck(env::Env environment, std::string address, std::string service, env::Duration timeout);

}  // namespace knarr::kubelet
