// FakeRuntime: a container runtime in memory, for simulation and tests.
//
// Containers are timers: an image's behaviour says how long its containers run and how they end.
// Every call waits for its delay on the environment's clock first. It outlives the kubelets that
// use it, as a runtime outlives a kubelet's restart.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "async/async.h"
#include "contracts/cri/cri.h"

namespace knarr::cri {

class FakeRuntime : public RuntimeClient {
 public:
  // What containers of an image do.
  struct Behavior {
    std::optional<env::Duration> runFor;  // nothing: until stopped
    int32_t exitCode = 0;                 // at the end of runFor
    // From SIGTERM to the exit with code 0; past the stop's timeout it is killed (137).
    env::Duration stopTakes{};
    std::string startError;  // not empty: StartContainer fails with it
    std::string user;        // "", a number, or a name
  };
  struct Delays {
    env::Duration sandboxStart = std::chrono::milliseconds(50);
    env::Duration containerStart = std::chrono::milliseconds(20);
    env::Duration other = std::chrono::microseconds(500);
    env::Duration pull = std::chrono::milliseconds(200);
  };
  struct Container {
    std::string id, sandboxId;
    Ref<v1::CreateContainerRequest> request;
    int32_t state = kContainerCreated;
    int64_t createdAt = 0, startedAt = 0, finishedAt = 0;  // Unix nanoseconds
    int32_t exitCode = 0;
    std::string reason, message;
    env::TimerId exitTimer = 0;
    const v1::ContainerConfig& config() const { return *request->config; }
  };
  struct Sandbox {
    std::string id, ip;
    Ref<v1::RunPodSandboxRequest> request;
    int32_t state = kSandboxReady;
    int64_t createdAt = 0;
    const v1::PodSandboxConfig& config() const { return *request->config; }
  };

  explicit FakeRuntime(env::Env environment);
  ~FakeRuntime() override;

  // ---- knobs
  Delays delays;
  bool runtimeReady = true;
  bool networkReady = true;
  bool offersEvents = false;
  bool eventsNamePods = false;  // as the CRI's own events do, and containerd's do not
  // Present images, by full name ("docker.io/library/busybox:1.36").
  void addImage(std::string name) { addImage(std::move(name), Behavior()); }
  void addImage(std::string name, Behavior behavior);
  // Images that a pull finds.
  void addRemoteImage(std::string name, Behavior behavior);
  // The next `times` calls of the method ("RunPodSandbox") fail with `error`.
  void failNext(const std::string& method, const Error& error, int times = 1);
  // Runs inside ExecSync and gives the exit code; without one it is 0.
  std::function<int32_t(const v1::ExecSyncRequest&)> onExecSync;

  // ---- what happens from outside
  void exitContainer(const std::string& id, int32_t exitCode, std::string reason = "");
  void stopSandboxFromOutside(const std::string& id);
  void tellOutOfMemory(const std::string& containerId) { announce(RuntimeEvent::OutOfMemory, containerId); }
  // Streams of events end with an error, as when the runtime restarts.
  void breakEventStreams();

  // ---- what tests look at
  const std::map<std::string, Container>& containers() const { return containers_; }
  const std::map<std::string, Sandbox>& sandboxes() const { return sandboxes_; }
  // The newest container of that name in the pod; null when there is none.
  const Container* findContainer(std::string_view podName, std::string_view containerName) const;
  // "RunPodSandbox", "CreateContainer web", in order of arrival.
  const std::vector<std::string>& calls() const { return calls_; }

  Answer<v1::VersionResponse> version() override;
  Answer<v1::StatusResponse> status(bool verbose) override;
  Answer<v1::UpdateRuntimeConfigResponse> updateRuntimeConfig(Mut<v1::UpdateRuntimeConfigRequest> request) override;
  Answer<v1::RunPodSandboxResponse> runPodSandbox(Mut<v1::RunPodSandboxRequest> request) override;
  Answer<v1::StopPodSandboxResponse> stopPodSandbox(std::string id) override;
  Answer<v1::RemovePodSandboxResponse> removePodSandbox(std::string id) override;
  Answer<v1::PodSandboxStatusResponse> podSandboxStatus(std::string id, bool verbose) override;
  Answer<v1::ListPodSandboxResponse> listPodSandbox(Mut<v1::ListPodSandboxRequest> request) override;
  Answer<v1::CreateContainerResponse> createContainer(Mut<v1::CreateContainerRequest> request) override;
  Answer<v1::StartContainerResponse> startContainer(std::string id) override;
  Answer<v1::StopContainerResponse> stopContainer(std::string id, int64_t timeoutSeconds) override;
  Answer<v1::RemoveContainerResponse> removeContainer(std::string id) override;
  Answer<v1::ListContainersResponse> listContainers(Mut<v1::ListContainersRequest> request) override;
  Answer<v1::ContainerStatusResponse> containerStatus(std::string id, bool verbose) override;
  Answer<v1::UpdateContainerResourcesResponse> updateContainerResources(
      Mut<v1::UpdateContainerResourcesRequest> request) override;
  Answer<v1::ReopenContainerLogResponse> reopenContainerLog(std::string id) override;
  Answer<v1::ExecSyncResponse> execSync(Mut<v1::ExecSyncRequest> request) override;
  Answer<v1::ExecResponse> exec(Mut<v1::ExecRequest> request) override;
  Answer<v1::AttachResponse> attach(Mut<v1::AttachRequest> request) override;
  Answer<v1::PortForwardResponse> portForward(Mut<v1::PortForwardRequest> request) override;
  Answer<v1::ListContainerStatsResponse> listContainerStats(Mut<v1::ListContainerStatsRequest> request) override;
  async::Task<Result<std::unique_ptr<EventStream>>> containerEvents() override;
  Answer<v1::ListImagesResponse> listImages(Mut<v1::ListImagesRequest> request) override;
  Answer<v1::ImageStatusResponse> imageStatus(Mut<v1::ImageStatusRequest> request) override;
  Answer<v1::PullImageResponse> pullImage(Mut<v1::PullImageRequest> request) override;
  Answer<v1::RemoveImageResponse> removeImage(Mut<v1::RemoveImageRequest> request) override;
  Answer<v1::ImageFsInfoResponse> imageFsInfo() override;

 private:
  struct EventQueue {
    explicit EventQueue(env::Executor& executor) : ready(executor) {}
    std::deque<RuntimeEvent> events;
    bool broken = false;
    async::Event ready;
  };
  class Events;

  // Records the call, waits, and gives the error that failNext asked for.
  async::Task<Result<void>> enter(std::string method, env::Duration delay, std::string detail = "");
  std::string newId();
  void start(Container& container, const Behavior& behavior);
  void finish(Container& container, int32_t exitCode, std::string reason);
  void announce(RuntimeEvent::Kind kind, const std::string& id);  // of a container or sandbox
  // Present image of that name, default tag and registry added; the key in images_, "" when absent.
  std::string presentImage(std::string_view name) const;
  static std::string fullImageName(std::string_view name);

  env::Env env_;
  uint64_t lastId_ = 0;
  uint32_t lastAddress_ = 1;
  std::map<std::string, Container> containers_;
  std::map<std::string, Sandbox> sandboxes_;
  std::map<std::string, Behavior> images_, remoteImages_;
  std::map<std::string, std::deque<Error>> failures_;
  std::vector<std::string> calls_;
  async::Event changed_;  // some container changed its state
  std::vector<std::weak_ptr<EventQueue>> listeners_;
};

}  // namespace knarr::cri
