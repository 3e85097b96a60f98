// One suite for both runtimes: the one in memory, and a private containerd with our own images and
// CNI plugins (root only).
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "cri/cri.h"
#include "cri/fake.h"
#include "env/posix/posix.h"

namespace knarr::cri {
namespace {

using namespace std::chrono_literals;
using async::Task;

constexpr const char* kContainerd = "/usr/bin/containerd";
constexpr const char* kImage = "docker.io/library/busybox:1.36";

// A containerd of the test's own: root, state, socket, network configuration.
class PrivateContainerd {
 public:
  explicit PrivateContainerd(env::PosixEnv* real) : real_(real), env_(real->env()) {
    directory_ = fmt::format("/tmp/knarr-cri-{}", getpid());
    bridge_ = fmt::format("kcri{}", getpid() % 100000);
  }
  std::string start() {
    if (geteuid() != 0) return "needs root";
    if (!env_.files.status(kContainerd)) return "needs containerd";
    if (!env_.files.status(KNARR_BUILD_DIR "/images/busybox.tar"))
      return "needs the images of the build (target images)";
    bool made = env_.files.makeDirectories(directory_ + "/net").has_value();
    made =
        made && env_.files.writeFileAtomically(directory_ + "/config.toml", config()).has_value();
    made =
        made &&
        env_.files.writeFileAtomically(directory_ + "/net/10-test.conflist", network()).has_value();
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
  std::string endpoint() const { return "unix://" + directory_ + "/c.sock"; }
  // Imports the images of the build once the socket answers.
  Task<Result<void>> import() {
    for (const char* image : {"pause", "busybox"}) {
      std::string tar = fmt::format("{}/images/{}.tar", KNARR_BUILD_DIR, image);
      Result<env::ProcessExit> done = fail(Reason::Unknown, "");
      for (int attempt = 0; attempt < 200; ++attempt) {
        env::ProcessSpec spec;
        spec.argv = {"/usr/bin/ctr", "-a", directory_ + "/c.sock", "-n", "k8s.io", "images",
                     "import",       tar};
        spec.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
        done = co_await async::runProcess(env_, spec);
        if (done && done->exitCode == 0) break;
        co_await async::sleepFor(env_, 50ms);
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
                       directory_, KNARR_BUILD_DIR);
  }
  std::string network() const {
    return fmt::format(
        R"({{"cniVersion":"1.0.0","name":"crinet","plugins":[{{"type":"bridge","bridge":"{}",
 "isDefaultGateway":true,"ipam":{{"type":"host-local","dataDir":"{}/addresses","ranges":[[{{"subnet":"10.199.7.0/24"}}]]}}}}]}})",
        bridge_, directory_);
  }
  env::PosixEnv* real_;
  env::Env env_;
  std::string directory_, bridge_;
  int processId_ = 0;
  bool exited_ = false;
};

class CriContract : public testing::TestWithParam<const char*> {
 protected:
  CriContract() : real_(env::makePosixEnv()) {}
  bool isFake() const { return GetParam() == std::string("fake"); }

  void run(Task<void> (*body)(env::Env, RuntimeClient*, bool fake)) {
    PrivateContainerd daemon(real_.get());
    std::unique_ptr<RuntimeClient> runtime;
    if (isFake()) {
      auto fake = std::make_unique<FakeRuntime>(real_->env());
      fake->addImage(kImage);
      fake->delays = {1ms, 1ms, 0ms, 1ms};
      runtime = std::move(fake);
    } else {
      std::string lacks = daemon.start();
      if (!lacks.empty()) GTEST_SKIP() << lacks;
      runtime = makeRuntimeClient(real_->env(), {daemon.endpoint()});
    }
    {
      async::Gate gate(real_->env().executor);
      gate.spawn(prepareAndRun(real_.get(), isFake() ? nullptr : &daemon, runtime.get(), body));
      real_->run();
    }
    runtime.reset();
    daemon.stop();
  }
  static Task<void> prepareAndRun(env::PosixEnv* real, PrivateContainerd* daemon,
                                  RuntimeClient* runtime,
                                  Task<void> (*body)(env::Env, RuntimeClient*, bool)) {
    Result<void> ready;
    if (daemon != nullptr) ready = co_await daemon->import();
    EXPECT_TRUE(ready) << ready.error().describe();
    if (ready) co_await body(real->env(), runtime, daemon == nullptr);
    real->stop();
  }
  std::unique_ptr<env::PosixEnv> real_;
};

void fillSandbox(v1::PodSandboxConfig& config, Arena& arena) {
  config.metadata = arena.make<v1::PodSandboxMetadata>();
  config.metadata->name = "web";
  config.metadata->uid = "00000000-0000-0000-0000-000000000001";
  config.metadata->namespace_ = "default";
  config.hostname = "web";
  config.logDirectory = "/tmp";
  schema::set(config.labels, arena, "io.kubernetes.pod.uid", config.metadata->uid);
  config.linux_ = arena.make<v1::LinuxPodSandboxConfig>();
  config.linux_->securityContext = arena.make<v1::LinuxSandboxSecurityContext>();
  auto* namespaces = config.linux_->securityContext->namespaceOptions =
      arena.make<v1::NamespaceOption>();
  namespaces->pid = kNamespaceContainer;
}

Task<Result<std::string>> makeContainer(RuntimeClient* runtime, std::string sandbox,
                                        std::string name, std::string command) {
  auto request = schema::newObject<v1::CreateContainerRequest>();
  Arena& arena = request.arena();
  request->podSandboxId = request.str(sandbox);
  request->sandboxConfig = arena.make<v1::PodSandboxConfig>();
  fillSandbox(*request->sandboxConfig, arena);
  auto* config = request->config = arena.make<v1::ContainerConfig>();
  config->metadata = arena.make<v1::ContainerMetadata>();
  config->metadata->name = request.str(name);
  config->image = arena.make<v1::ImageSpec>();
  config->image->image = kImage;
  for (const char* word : {"sh", "-c"}) config->command.append(arena, word);
  config->command.append(arena, request.str(command));
  v1::KeyValue& variable = config->envs.append(arena);
  variable.key = "COLOR";
  variable.value.bytes = "blue";
  schema::set(config->labels, arena, "io.kubernetes.container.name", name);
  config->logPath = request.str(name + ".log");
  auto answer = CO_TRY(co_await runtime->createContainer(std::move(request)));
  co_return std::string(answer->containerId);
}

Task<void> wholeLife(env::Env env, RuntimeClient* runtime, bool fake) {
  auto version = co_await runtime->version();
  EXPECT_TRUE(version) << (version ? "" : version.error().describe());
  if (!version) co_return;
  EXPECT_EQ((*version)->version, "0.1.0");
  bool ready = false;
  for (int i = 0; i < 200 && !ready; ++i) {
    auto status = co_await runtime->status(false);
    ready = status && (*status)->status != nullptr && (*status)->status->conditions.size() == 2;
    for (size_t c = 0; ready && c < 2; ++c) ready = (*status)->status->conditions[c].status;
    if (!ready) co_await async::sleepFor(env, 50ms);
  }
  EXPECT_TRUE(ready) << "runtime and network become ready";

  auto imageQuery = schema::newObject<v1::ImageStatusRequest>();
  imageQuery->image = imageQuery.arena().make<v1::ImageSpec>();
  imageQuery->image->image = kImage;
  auto image = co_await runtime->imageStatus(std::move(imageQuery));
  EXPECT_TRUE(image && (*image)->image != nullptr);
  auto absentQuery = schema::newObject<v1::ImageStatusRequest>();
  absentQuery->image = absentQuery.arena().make<v1::ImageSpec>();
  absentQuery->image->image = "example.com/none:1";
  auto absent = co_await runtime->imageStatus(std::move(absentQuery));
  EXPECT_TRUE(absent && (*absent)->image == nullptr) << "an absent image is no error";

  auto sandboxRequest = schema::newObject<v1::RunPodSandboxRequest>();
  sandboxRequest->config = sandboxRequest.arena().make<v1::PodSandboxConfig>();
  fillSandbox(*sandboxRequest->config, sandboxRequest.arena());
  auto made = co_await runtime->runPodSandbox(std::move(sandboxRequest));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
  if (!made) co_return;
  std::string sandbox((*made)->podSandboxId);
  auto sandboxStatus = co_await runtime->podSandboxStatus(sandbox, false);
  EXPECT_TRUE(sandboxStatus);
  if (!sandboxStatus) co_return;
  EXPECT_EQ((*sandboxStatus)->status->state, kSandboxReady);
  EXPECT_FALSE((*sandboxStatus)->status->network->ip.empty());
  EXPECT_EQ((*sandboxStatus)->status->metadata->name, "web");

  Result<std::string> id =
      co_await makeContainer(runtime, sandbox, "main", "echo $COLOR; sleep 1000");
  EXPECT_TRUE(id) << (id ? "" : id.error().describe());
  if (!id) co_return;
  auto before = co_await runtime->containerStatus(*id, false);
  EXPECT_TRUE(before && (*before)->status->state == kContainerCreated);
  auto started = co_await runtime->startContainer(*id);
  EXPECT_TRUE(started) << (started ? "" : started.error().describe());
  auto running = co_await runtime->containerStatus(*id, false);
  EXPECT_TRUE(running && (*running)->status->state == kContainerRunning);
  EXPECT_GT((*running)->status->startedAt, 0);

  auto query = schema::newObject<v1::ListContainersRequest>();
  query->filter = query.arena().make<v1::ContainerFilter>();
  schema::set(query->filter->labelSelector, query.arena(), "io.kubernetes.container.name", "main");
  auto list = co_await runtime->listContainers(std::move(query));
  EXPECT_TRUE(list && (*list)->containers.size() == 1);
  auto none = schema::newObject<v1::ListContainersRequest>();
  none->filter = none.arena().make<v1::ContainerFilter>();
  schema::set(none->filter->labelSelector, none.arena(), "io.kubernetes.container.name", "other");
  auto empty = co_await runtime->listContainers(std::move(none));
  EXPECT_TRUE(empty && (*empty)->containers.empty());

  auto exec = schema::newObject<v1::ExecSyncRequest>();
  exec->containerId = exec.str(*id);
  exec->timeout = 10;
  for (const char* word : {"sh", "-c", "true"}) exec->cmd.append(exec.arena(), word);
  auto executed = co_await runtime->execSync(std::move(exec));
  EXPECT_TRUE(executed) << (executed ? "" : executed.error().describe());
  if (executed) EXPECT_EQ((*executed)->exitCode, 0);

  auto url = schema::newObject<v1::ExecRequest>();
  url->containerId = url.str(*id);
  url->cmd.append(url.arena(), "true");
  url->stdout = true;
  auto streaming = co_await runtime->exec(std::move(url));
  EXPECT_TRUE(streaming && (*streaming)->url.starts_with("http"));

  auto events = co_await runtime->containerEvents();
  if (events) {
    auto event = co_await (*events)->next();
    EXPECT_FALSE(event) << "neither runtime offers events as it is set up here";
  }

  auto stopped = co_await runtime->stopContainer(*id, 1);
  EXPECT_TRUE(stopped) << (stopped ? "" : stopped.error().describe());
  auto after = co_await runtime->containerStatus(*id, false);
  EXPECT_TRUE(after && (*after)->status->state == kContainerExited);
  EXPECT_GT((*after)->status->finishedAt, 0);

  if (!fake) {
    Result<std::string> exits = co_await makeContainer(runtime, sandbox, "exits", "exit 3");
    EXPECT_TRUE(exits);
    EXPECT_TRUE(co_await runtime->startContainer(*exits));
    int32_t code = -1;
    for (int i = 0; i < 100 && code < 0; ++i) {
      auto status = co_await runtime->containerStatus(*exits, false);
      if (status && (*status)->status->state == kContainerExited) {
        code = (*status)->status->exitCode;
        EXPECT_EQ((*status)->status->reason, "Error");
      }
      co_await async::sleepFor(env, 20ms);
    }
    EXPECT_EQ(code, 3);
  }

  EXPECT_TRUE(co_await runtime->removeContainer(*id));
  auto gone = co_await runtime->containerStatus(*id, false);
  EXPECT_TRUE(!gone && isNotFound(gone.error())) << (gone ? "" : gone.error().describe());
  EXPECT_TRUE(co_await runtime->stopPodSandbox(sandbox));
  EXPECT_TRUE(co_await runtime->stopPodSandbox(sandbox)) << "stopping again is fine";
  EXPECT_TRUE(co_await runtime->removePodSandbox(sandbox));
  auto noSandbox = co_await runtime->podSandboxStatus(sandbox, false);
  EXPECT_TRUE(!noSandbox && isNotFound(noSandbox.error()));
}
TEST_P(CriContract, wholeLifeOfAPod) { run(wholeLife); }

INSTANTIATE_TEST_SUITE_P(Runtimes, CriContract, testing::Values("fake", "containerd"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace knarr::cri
