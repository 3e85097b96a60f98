// A containerd for tests, with root, state, socket, network and addresses of its own.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "async/async.h"
#include "env/posix/posix.h"

namespace knarr::cri {

// A containerd of the test's own: root, state, socket, network configuration.
class PrivateContainerd {
 public:
  PrivateContainerd(env::PosixEnv* real, std::string buildDirectory)
      : real_(real), env_(real->env()), buildDirectory_(std::move(buildDirectory)) {
    directory_ = fmt::format("/tmp/knarr-cri-{}", getpid());
    bridge_ = fmt::format("kcri{}", getpid() % 100000);
  }
  std::string start() {
    if (geteuid() != 0) return "needs root";
    if (!env_.files.status(kContainerd)) return "needs containerd";
    if (!env_.files.status(buildDirectory_ + "/images/busybox.tar")) return "needs the images of the build (target images)";
    bool made = env_.files.makeDirectories(directory_ + "/net").has_value();
    made = made && env_.files.writeFileAtomically(directory_ + "/config.toml", config()).has_value();
    made = made && env_.files.writeFileAtomically(directory_ + "/net/10-test.conflist", network()).has_value();
    if (!made) return "cannot write " + directory_;
    env::ProcessSpec spec;
    spec.argv = {kContainerd, "--config", directory_ + "/config.toml"};
    spec.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    spec.outputPath = directory_ + "/log";
    auto id = env_.processes.spawn(spec, [this](env::ProcessExit) {
      exited_ = true;
      real_->stop();
    });
    if (!id) return id.error().message();
    processId_ = *id;
    return "";
  }
  const std::string& directory() const { return directory_; }
  std::string endpoint() const { return "unix://" + directory_ + "/c.sock"; }
  // Imports the images of the build once the socket answers.
  async::Task<Result<void>> import() {
    for (const char* image : {"pause", "busybox"}) {
      std::string tar = fmt::format("{}/images/{}.tar", buildDirectory_, image);
      Result<env::ProcessExit> done = fail(Reason::Unknown, "");
      for (int attempt = 0; attempt < 200; ++attempt) {
        env::ProcessSpec spec;
        spec.argv = {"/usr/bin/ctr", "-a", directory_ + "/c.sock", "-n", "k8s.io", "images", "import", tar};
        spec.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
        done = co_await async::runProcess(env_, spec);
        if (done && done->exitCode == 0) break;
        co_await async::sleepFor(env_, std::chrono::milliseconds(50));
      }
      if (!done) co_return Unexpected(done.error());
      if (done->exitCode != 0) co_return fail(Reason::InternalError, done->standardError);
    }
    co_return Result<void>();
  }
  void stop() {
    if (processId_ == 0) return;
    if (!exited_) {
      (void)env_.processes.kill(processId_, SIGTERM);
      real_->run();
    }
    env::ProcessSpec spec;
    spec.argv = {"/sbin/ip", "link", "delete", bridge_};
    (void)env_.processes.spawn(spec, [this](env::ProcessExit) { real_->stop(); });
    real_->run();
    (void)env_.files.removeTree(directory_);
  }

 private:
  std::string config() const {
    return fmt::format(R"(version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{0}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{1}/cni"
    conf_dir = "{0}/net"
)",
                       directory_, buildDirectory_);
  }
  std::string network() const {
    return fmt::format(
        R"({{"cniVersion":"1.0.0","name":"crinet","plugins":[{{"type":"bridge","bridge":"{}",
 "isDefaultGateway":true,"ipam":{{"type":"host-local","dataDir":"{}/addresses","ranges":[[{{"subnet":"10.199.7.0/24"}}]]}}}}]}})",
        bridge_, directory_);
  }
  static constexpr const char* kContainerd = "/usr/bin/containerd";
  env::PosixEnv* real_;
  env::Env env_;
  std::string buildDirectory_, directory_, bridge_;
  int processId_ = 0;
  bool exited_ = false;
};

}  // namespace knarr::cri
