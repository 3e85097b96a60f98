// The roles that the test server plays; each is a command of the one static program in the image.
//
// Every role runs on the event loop it is given until the process ends, unless it says otherwise.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "async/async.h"
#include "env/env.h"

namespace knarr::testserver {

// `--name value` pairs of a command, and what stood without a name.
struct Options {
  std::map<std::string, std::vector<std::string>> named;
  std::vector<std::string> rest;

  // The last value given, or `otherwise`.
  std::string text(const std::string& name, std::string otherwise = "") const;
  // Invalid when the value is no number in [least, most].
  Result<int64_t> number(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const;
  bool has(const std::string& name) const { return named.contains(name); }
};

// Answers HTTP about itself and the request: /, /hostname, /clientip, /echo, /env, /healthz, /readyz, /delay, /status,
// /exit, /cpu, /memory, /log. PUT /healthz and /readyz with body "ok" or "fail" set what they answer.
Result<void> serveHttp(env::Env environment, async::Gate& gate, const Options& options, int port);
// The tiers of the example application: a page, an API, and a key-value store kept in files.
Result<void> serveFrontend(env::Env environment, async::Gate& gate, const Options& options, int port);
Result<void> serveApi(env::Env environment, async::Gate& gate, const Options& options, int port);
Result<void> serveStore(env::Env environment, async::Gate& gate, const Options& options, int port);
// grpc.health.v1.Health/Check: SERVING for "" and for names given by --service, NOT_FOUND for others.
Result<void> serveGrpcHealth(env::Env environment, async::Gate& gate, const Options& options, int port);

// Sends back what it gets.
Result<void> serveTcpEcho(env::Env environment, async::Gate& gate, int port);
Result<void> serveUdpEcho(env::Env environment, async::Gate& gate, int port);
// Answers A queries for the names of --record NAME=IPV4, NXDOMAIN for others.
Result<void> serveDns(env::Env environment, async::Gate& gate, const Options& options, int port);

// GETs a URL again and again for --seconds, each time over a new connection; then prints how many requests were sent and
// how many failed, and gives the exit code: 0 when none failed.
async::Task<int> runLoad(env::Env environment, Options options);

// Holds memory, or uses a share of a core, for a time (0: for ever), then gives the exit code. These block the caller.
int burnMemory(int64_t mebibytes, int64_t seconds);
int burnCpu(int64_t milliCpu, int64_t seconds);

}  // namespace knarr::testserver
