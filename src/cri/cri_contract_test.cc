// One suite for both runtimes: the one in memory, and a private containerd with our own images and
// CNI plugins (root only).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cri/cri.h"
#include "cri/fake.h"
#include "cri/private_containerd_for_test.h"
#include "env/posix/posix.h"

namespace knarr::cri {
namespace {

using namespace std::chrono_literals;
using async::Task;

constexpr const char* kImage = "docker.io/library/busybox:1.36";

class CriContract : public testing::TestWithParam<const char*> {
 protected:
  CriContract() : real_(env::makePosixEnv()) {}
  bool isFake() const { return GetParam() == std::string("fake"); }

  void run(Task<void> (*body)(env::Env, RuntimeClient*, bool fake)) {
    PrivateContainerd daemon(real_.get(), KNARR_BUILD_DIR);
    std::unique_ptr<RuntimeClient> runtime;
    if (isFake()) {
      auto fake = std::make_unique<FakeRuntime>(real_->env());
      fake->addImage(kImage);
      fake->delays = {1ms, 1ms, 0ms, 1ms};
      fake->offersEvents = true;
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
  static Task<void> prepareAndRun(env::PosixEnv* real, PrivateContainerd* daemon, RuntimeClient* runtime,
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
  auto* namespaces = config.linux_->securityContext->namespaceOptions = arena.make<v1::NamespaceOption>();
  namespaces->pid = kNamespaceContainer;
}

Task<Result<std::string>> makeContainer(RuntimeClient* runtime, std::string sandbox, std::string name, std::string command) {
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

Task<void> tellNext(EventStream* events, async::Promise<Result<RuntimeEvent>> into) { into.set(co_await events->next()); }

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

  Result<std::string> id = co_await makeContainer(runtime, sandbox, "main", "echo $COLOR; sleep 1000");
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

  auto stopped = co_await runtime->stopContainer(*id, 1);
  EXPECT_TRUE(stopped) << (stopped ? "" : stopped.error().describe());
  auto after = co_await runtime->containerStatus(*id, false);
  EXPECT_TRUE(after && (*after)->status->state == kContainerExited);
  EXPECT_GT((*after)->status->finishedAt, 0);

  // Both tell of the exit, and the state follows.
  auto events = co_await runtime->containerEvents();
  EXPECT_TRUE(events) << (events ? "" : events.error().describe());
  Result<std::string> heard = co_await makeContainer(runtime, sandbox, "heard", "sleep 1000");
  EXPECT_TRUE(heard && events);
  if (!heard || !events) co_return;
  EXPECT_TRUE(co_await runtime->startContainer(*heard));
  async::Gate gate(env.executor);
  async::Promise<Result<RuntimeEvent>> told(env.executor);
  gate.spawn(tellNext(events->get(), told));
  co_await async::sleepFor(env, fake ? 1ms : 300ms);  // until the runtime has taken the subscription
  EXPECT_TRUE(co_await runtime->stopContainer(*heard, 1));
  Result<RuntimeEvent> event = co_await told.get();
  EXPECT_TRUE(event) << (event ? "" : event.error().describe());
  if (event) {
    EXPECT_EQ(event->kind, RuntimeEvent::Exited);
    EXPECT_EQ(event->id, *heard);
  }
  events->reset();

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
