// testserver: the program of the test image. It serves, calls, burns and fails on demand, so that tests and examples need no
// other image.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "env/posix/posix.h"
#include "roles.h"

namespace {

using namespace knarr;
using namespace knarr::testserver;

constexpr std::string_view kUsage = R"(testserver plays the parts that tests and examples need.

  testserver serve [--http PORT]... [--tcp PORT]... [--udp PORT]... [--grpc-health PORT] [--service NAME]...
                   [--dns PORT] [--record NAME=IPV4]... [--message TEXT]
  testserver frontend --port PORT --api URL [--message TEXT]
  testserver api --port PORT --store URL [--token-file FILE]
  testserver store --port PORT --directory DIR [--token-file FILE]
  testserver load URL [--seconds N] [--interval-ms N]
  testserver exit CODE [--after SECONDS]
  testserver memory MIB [--seconds N]
  testserver cpu MILLICPU [--seconds N]
)";

int complain(const Error& error) {
  fmt::print(stderr, "testserver: {}\n", error.describe());
  return 2;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 2; i < argc; ++i) {
    std::string word = argv[i];
    if (!word.starts_with("--")) {
      options.rest.push_back(word);
      continue;
    }
    size_t equals = word.find('=');
    std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::string value = equals != std::string::npos ? word.substr(equals + 1) : i + 1 < argc ? argv[++i] : "";
    options.named[name].push_back(value);
  }
  return options;
}

Result<void> serveAll(env::Env environment, async::Gate& gate, const Options& options) {
  auto each = [&](const std::string& name, auto serve) -> Result<void> {
    if (!options.has(name)) return {};
    for (const std::string& text : options.named.at(name)) {
      auto port = parseInt(text);
      if (!port || *port < 1 || *port > 65535)
        return fail(Reason::Invalid, fmt::format("--{} wants a port, not {}", name, quote(text)));
      TRY(serve(static_cast<int>(*port)));
    }
    return {};
  };
  TRY(each("http", [&](int port) { return serveHttp(environment, gate, options, port); }));
  TRY(each("tcp", [&](int port) { return serveTcpEcho(environment, gate, port); }));
  TRY(each("udp", [&](int port) { return serveUdpEcho(environment, gate, port); }));
  TRY(each("dns", [&](int port) { return serveDns(environment, gate, options, port); }));
  return each("grpc-health", [&](int port) { return serveGrpcHealth(environment, gate, options, port); });
}

Result<void> serveRole(const std::string& role, env::Env environment, async::Gate& gate, const Options& options) {
  if (role == "serve") return serveAll(environment, gate, options);
  int port = static_cast<int>(TRY(options.number("port", 8080, 1, 65535)));
  if (role == "frontend") return serveFrontend(environment, gate, options, port);
  if (role == "api") return serveApi(environment, gate, options, port);
  if (role == "store") return serveStore(environment, gate, options, port);
  return fail(Reason::Invalid, fmt::format("unknown command {}; testserver --help lists them", quote(role)));
}

async::Task<void> loadInto(env::Env environment, Options options, int* exitCode, env::PosixEnv* posix) {
  *exitCode = co_await runLoad(environment, std::move(options));
  posix->stop();
}

int onLoop(const std::string& role, const Options& options) {
  auto posix = env::makePosixEnv();
  int exitCode = 0;
  // As process 1 of a container it gets no default action for signals.
  for (int signalNumber : {SIGTERM, SIGINT}) posix->onSignal(signalNumber, [&posix] { posix->stop(); });
  async::Gate gate(posix->env().executor);
  if (role == "load") {
    gate.spawn(loadInto(posix->env(), options, &exitCode, posix.get()));
  } else if (auto served = serveRole(role, posix->env(), gate, options); !served) {
    return complain(served.error());
  }
  posix->run();
  return exitCode;
}

Result<int> burn(const std::string& role, const Options& options) {
  auto amount = options.rest.empty() ? std::nullopt : parseInt(options.rest[0]);
  if (!amount || *amount < 0 || *amount > 1'000'000) return fail(Reason::Invalid, role + " wants a number");
  int64_t seconds = TRY(options.number("seconds", 0, 0, 1'000'000));
  if (role == "memory") return burnMemory(*amount, seconds);
  if (role == "cpu") return burnCpu(*amount, seconds);
  if (int64_t after = TRY(options.number("after", 0, 0, 1'000'000)); after > 0) burnMemory(0, after);
  return static_cast<int>(*amount & 0xff);
}

}  // namespace

int main(int argc, char** argv) {
  std::string role = argc > 1 ? argv[1] : "--help";
  if (role == "--help") {
    fmt::print("{}", kUsage);
    return argc > 1 ? 0 : 2;
  }
  Options options = parse(argc, argv);
  if (role != "memory" && role != "cpu" && role != "exit") return onLoop(role, options);
  auto code = burn(role, options);
  return code ? *code : complain(code.error());
}
