// The gRPC client against a real server: containerd, started for the test with roots of its own.
// Skipped without it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "env/posix/posix.h"
#include "wire/grpc.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

constexpr const char* kContainerd = "/usr/bin/containerd";

struct Found {
  Result<std::string> version = fail(Reason::Unknown, "never answered");
  Result<std::string> unknown = std::string();
  bool streamEnded = false;
};

Task<void> ask(env::PosixEnv* real, std::string address, Found* found) {
  env::Env e = real->env();
  GrpcClientOptions options;
  options.address = address;
  GrpcClient client(e, options);
  for (int i = 0; i < 300; ++i) {
    found->version = co_await client.unary("/containerd.services.version.v1.Version/Version", "", 5s);
    if (found->version) break;
    co_await async::sleepFor(e,
                             50ms);  // the daemon is starting; its socket is the only sign of life
  }
  if (found->version) {
    found->unknown = co_await client.unary("/no.such.Service/Method", "", 5s);
    async::StopSource stop;
    auto events = std::move(*co_await client.serverStream("/containerd.services.events.v1.Events/Subscribe", "", stop.token()));
    co_await async::sleepFor(e, 1ms);
    stop.requestStop();
    auto message = co_await events->receive();
    found->streamEnded = !message && message.error().reason() == Reason::Timeout;
  }
  real->stop();
}

TEST(GrpcContainerd, speaksToARealServer) {
  auto real = env::makePosixEnv();
  env::Env e = real->env();
  if (!e.files.status(kContainerd) || ::geteuid() != 0) GTEST_SKIP() << "needs root and " << kContainerd;
  std::string directory = "/tmp/knarr-grpc-" + std::to_string(::getpid());
  ASSERT_TRUE(e.files.makeDirectories(directory));
  ASSERT_TRUE(e.files.writeFileAtomically(directory + "/config.toml",
                                          "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"));
  env::ProcessSpec spec;
  spec.argv = {kContainerd,          "--config",  directory + "/config.toml", "--root", directory + "/root", "--state",
               directory + "/state", "--address", directory + "/c.sock"};
  spec.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  spec.outputPath = directory + "/log";
  bool exited = false;
  auto daemon = e.processes.spawn(spec, [&](env::ProcessExit) {
    exited = true;
    real->stop();
  });
  ASSERT_TRUE(daemon) << daemon.error().message();
  Found found;
  {
    async::Gate gate(e.executor);
    gate.spawn(ask(real.get(), "unix://" + directory + "/c.sock", &found));
    real->run();
  }
  if (!exited) {
    ASSERT_TRUE(e.processes.kill(*daemon, SIGTERM));
    real->run();
  }
  ASSERT_TRUE(found.version) << found.version.error().describe();
  EXPECT_NE(found.version->find("."), std::string::npos);
  ASSERT_FALSE(found.unknown);
  EXPECT_EQ(found.unknown.error().reason(), Reason::MethodNotAllowed);
  EXPECT_TRUE(found.streamEnded);
  EXPECT_TRUE(e.files.removeTree(directory));
}

}  // namespace
}  // namespace knarr::wire
