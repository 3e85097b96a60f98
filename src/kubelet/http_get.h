// One HTTP GET to a pod, for probes and lifecycle hooks: HTTP/1.1, no redirects, answers bounded.
#pragma once

#include <string>
#include <vector>

#include "async/async.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::kubelet {

struct HttpGetRequest {
  std::string address;  // "10.0.0.1:80", numeric
  std::string host;     // the Host header
  std::string path = "/";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string userAgent;
};
struct HttpGetAnswer {
  int status = 0;
  std::string body;  // at most 10 KiB
};
// Errors: Timeout, refused and broken connections, an answer that is not HTTP.
async::Task<Result<HttpGetAnswer>> httpGet(env::Env environment, HttpGetRequest request,
                                           env::Duration timeout);

// Connects and closes. Source: pkg/probe/tcp.
async::Task<Result<void>> tcpConnect(env::Env environment, std::string address,
                                     env::Duration timeout);

}  // namespace knarr::kubelet
