// Load on a running API server over HTTPS: durable creates with 1 and 16 connections, and events to watchers.
//
//   api_bench 127.0.0.1:6443 KUBECONFIG_PEM_DIRECTORY SERVER_PID
// The directory holds ca.pem and admin.pem as `knarr up` writes them (etc/knarr/pki). Everything is made in a namespace of
// its own and removed at the end. CPU seconds are the server's, from /proc/PID/stat.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "async/async.h"
#include "base/strings.h"
#include "env/posix/posix.h"
#include "wire/http.h"

namespace {

using namespace knarr;
using async::Task;

struct Options {
  std::string address, directory;
  int serverPid = 0;
};

struct Bench {
  env::PosixEnv* loop;
  Options options;
  std::shared_ptr<wire::TlsClientContext> tls;
  int failures = 0;

  std::unique_ptr<wire::HttpClient> client(wire::ClientProtocol protocol, size_t connections) const {
    wire::HttpClientOptions o;
    o.address = options.address;
    o.tls = tls;
    o.protocol = protocol;
    o.connectionsMax = connections;
    return std::make_unique<wire::HttpClient>(loop->env(), o);
  }
  double cpuSeconds() const {
    auto text = loop->env().files.readFile(fmt::format("/proc/{}/stat", options.serverPid));
    if (!text) return 0;
    auto words = split(std::string_view(*text).substr(text->rfind(')') + 2), ' ');
    if (words.size() < 13) return 0;
    return static_cast<double>(parseInt(words[11]).value_or(0) + parseInt(words[12]).value_or(0)) /
           static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
};

double seconds(env::Duration d) { return std::chrono::duration<double>(d).count(); }

Task<int> send(wire::HttpClient* client, std::string method, std::string target, std::string body) {
  wire::ClientRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers.add("Content-Type", "application/json");
  if (!body.empty()) request.body = wire::makeBytes(std::move(body));
  auto response = co_await client->send(std::move(request));
  if (!response) {
    std::fprintf(stderr, "%s\n", response.error().describe().c_str());
    co_return 0;
  }
  auto text = co_await (*response)->readAll(8 << 20);
  co_return text ? (*response)->status() : 0;
}

std::string configMap(const std::string& name) {
  return fmt::format(R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{}"}},"data":{{"text":"{}"}}}})", name,
                     std::string(900, 'x'));
}

Task<void> createMany(Bench* bench, wire::HttpClient* client, std::string prefix, int count) {
  for (int i = 0; i < count; ++i) {
    int status = co_await send(client, "POST", "/api/v1/namespaces/bench/configmaps", configMap(fmt::format("{}-{}", prefix, i)));
    if (status != 201) ++bench->failures;
  }
}

Task<void> measureCreates(Bench* bench, int connections, int each, std::string round) {
  env::Env environment = bench->loop->env();
  std::vector<std::unique_ptr<wire::HttpClient>> clients;
  for (int i = 0; i < connections; ++i) clients.push_back(bench->client(wire::ClientProtocol::Http1, 1));
  for (auto& client : clients) co_await send(client.get(), "GET", "/version", "");
  double cpu = bench->cpuSeconds();
  env::Instant start = environment.clock.now();
  async::Gate gate(environment.executor);
  for (int i = 0; i < connections; ++i)
    gate.spawn(createMany(bench, clients[static_cast<size_t>(i)].get(), fmt::format("{}-{}-{}", round, connections, i), each));
  co_await gate.close();
  double wall = seconds(environment.clock.now() - start);
  int total = connections * each;
  std::printf("durable creates of 1 KB, %2d connections: %6.0f /s  (%d in %.2f s, server CPU %.0f us each)\n", connections,
              total / wall, total, wall, (bench->cpuSeconds() - cpu) * 1e6 / total);
}

struct WatchCount {
  int events = 0;
  int wanted = 0;
  async::Event* enough = nullptr;
};

Task<void> watchOne(wire::HttpClient* client, std::shared_ptr<WatchCount> count, async::StopToken stop) {
  wire::ClientRequest request;
  request.target =
      "/api/v1/namespaces/bench/"
      "configmaps?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
  auto response = co_await client->send(std::move(request), stop);
  if (!response) co_return;
  for (;;) {
    auto chunk = co_await (*response)->readChunk();
    if (!chunk || !*chunk) co_return;
    count->events += static_cast<int>(std::count((*chunk)->begin(), (*chunk)->end(), '\n'));
    if (count->events >= count->wanted) count->enough->set();
  }
}

Task<void> measureWatch(Bench* bench, int watchers, int creates) {
  env::Env environment = bench->loop->env();
  auto reader = bench->client(wire::ClientProtocol::Automatic, 4);
  auto writer = bench->client(wire::ClientProtocol::Automatic, 4);
  async::Event enough(environment.executor);
  auto count = std::make_shared<WatchCount>(WatchCount{0, watchers * creates, &enough});
  async::StopSource stop;
  async::Gate gate(environment.executor);
  for (int i = 0; i < watchers; ++i) gate.spawn(watchOne(reader.get(), count, stop.token()));
  co_await async::sleepFor(environment, std::chrono::milliseconds(300));
  double cpu = bench->cpuSeconds();
  env::Instant start = environment.clock.now();
  async::Gate writers(environment.executor);
  for (int i = 0; i < 16; ++i) writers.spawn(createMany(bench, writer.get(), fmt::format("watch-{}", i), creates / 16));
  co_await writers.close();
  env::TimerId timer = environment.executor.at(environment.clock.now() + std::chrono::seconds(20), [&enough] { enough.set(); });
  co_await enough.wait();
  environment.executor.cancelTimer(timer);
  double wall = seconds(environment.clock.now() - start);
  std::printf("watch events, %d watchers, %d creates: %.0f events/s  (%d of %d seen in %.2f s, server CPU %.2f s)\n", watchers,
              creates, count->events / wall, count->events, count->wanted, wall, bench->cpuSeconds() - cpu);
  stop.requestStop();
  co_await gate.close();
}

Task<void> runAll(Bench* bench) {
  auto admin = bench->client(wire::ClientProtocol::Automatic, 1);
  co_await send(admin.get(), "POST", "/api/v1/namespaces",
                R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bench"}})");
  for (const char* round : {"a", "b", "c"}) {
    co_await measureCreates(bench, 1, 400, round);
    co_await measureCreates(bench, 16, 200, round);
  }
  co_await measureWatch(bench, 100, 320);
  co_await send(admin.get(), "DELETE", "/api/v1/namespaces/bench", "");
  if (bench->failures) std::printf("FAILED requests: %d\n", bench->failures);
  bench->loop->stop();
}

std::string readOrExit(env::Env environment, const std::string& path) {
  auto text = environment.files.readFile(path);
  if (text) return *text;
  std::fprintf(stderr, "error: %s\n", text.error().describe().c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: api_bench HOST:PORT PKI_DIRECTORY SERVER_PID\n");
    return 2;
  }
  auto loop = env::makePosixEnv();
  Bench bench{loop.get(), {argv[1], argv[2], static_cast<int>(parseInt(argv[3]).value_or(0))}, nullptr};
  std::string ca = readOrExit(loop->env(), bench.options.directory + "/ca.pem");
  std::string admin = readOrExit(loop->env(), bench.options.directory + "/admin.pem");
  size_t key = admin.find("-----BEGIN PRIVATE KEY-----"), caKey = ca.find("-----BEGIN PRIVATE KEY-----");
  wire::TlsClientConfig config;
  config.caPem = ca.substr(0, caKey);
  config.certificatePem = admin.substr(0, key);
  config.privateKeyPem = admin.substr(key);
  auto tls = wire::TlsClientContext::make(loop->env().clock, config);
  if (!tls) {
    std::fprintf(stderr, "error: %s\n", tls.error().describe().c_str());
    return 1;
  }
  bench.tls = *tls;
  async::Gate gate(loop->env().executor);
  gate.spawn(runAll(&bench));
  loop->run();
  return bench.failures ? 1 : 0;
}
