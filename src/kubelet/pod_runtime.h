// PodRuntime: carries out what computePodActions decided, and ends pods.
// Upstream counterpart: pkg/kubelet/kuberuntime/kuberuntime_{manager,container,sandbox}.go
// (SyncPod, killPod).
#pragma once

#include <expected>
#include <map>
#include <string>

#include "client/event_recorder.h"
#include "client/informer.h"
#include "contracts/cri/cri.h"
#include "kubelet/container_back_off.h"
#include "kubelet/container_config.h"
#include "kubelet/image_manager.h"
#include "kubelet/pod_actions.h"
#include "kubelet/volumes/volume_manager.h"

namespace knarr::kubelet {

class TerminationOrder;

struct PodSyncInputs {
  schema::Ref<corev1::Pod> pod;
  RuntimePod runtime;
  PodActions actions;
  MountedVolumes volumes;
  EnvironmentInputs environment;  // podIps are of the sandbox
  bool refreshObjects = false;
  // Asked for when the pod is to end: no image, hook or grace of a container is waited for any longer.
  // Source: pkg/kubelet/pod_workers.go, where a termination cancels the sync's context.
  async::StopToken ending = {};
};

struct PodSyncOutcome {
  bool changed = false;                     // the runtime was told something
  std::optional<Error> error;               // what failed, all of it joined
  std::optional<env::Duration> retryAfter;  // the nearest end of a crash back-off
};

class PodRuntime {
 public:
  PodRuntime(env::Env environment, const KubeletConfig& config, const MachineInfo& machine, cri::RuntimeClient& runtime,
             ImageManager& images, ObjectReader& objects, VolumeManager& volumes, client::EventRecorder& recorder);

  // Calls that make something in the runtime are never cut short.
  async::Task<PodSyncOutcome> syncPod(PodSyncInputs inputs);

  // Ends containers (in parallel, sidecars last, preStop hooks of all first) and sandboxes. `pod` is null
  // for one that is only known to the runtime. Errors: something is still there; try again.
  async::Task<Result<void>> killPod(schema::Ref<corev1::Pod> pod, RuntimePod runtime, int64_t graceSeconds);
  // Removes everything the runtime holds of a pod that is gone, and its logs.
  async::Task<Result<void>> removePod(RuntimePod runtime);
  // Removes dead containers but the newest of each name, and sandboxes that hold nothing any more.
  async::Task<void> trim(RuntimePod runtime);

  // Why the last start of a container failed, by container name.
  const std::map<std::string, StartFailure, std::less<>>& startFailures(std::string_view podUid) const;
  void forgetPod(std::string_view podUid);

 private:
  // An empty reason: the pod is to end.
  using StartOutcome = std::expected<void, StartFailure>;
  struct Start;  // one container start in progress

  async::Task<Result<void>> killStale(const PodSyncInputs* inputs);
  async::Task<Result<std::string>> createSandbox(schema::Ref<corev1::Pod> pod, int64_t attempt, std::vector<std::string>* ips);
  async::Task<void> startOne(PodSyncInputs* inputs, corev1::Container container, std::string fieldPath, std::string sandboxId,
                             std::string targetContainerId, PodSyncOutcome* outcome, bool* failed);
  async::Task<StartOutcome> startContainer(PodSyncInputs* inputs, corev1::Container container, std::string fieldPath,
                                           std::string sandboxId, std::string targetContainerId);
  async::Task<Result<void>> postStart(schema::Ref<corev1::Pod> pod, const corev1::Container* container, std::string fieldPath,
                                      std::string id, std::string podIp);
  std::optional<StartFailure> backOffOf(PodSyncInputs& inputs, const corev1::Container& container, const std::string& fieldPath,
                                        PodSyncOutcome& outcome);
  async::Task<Result<ContainerInputs>> containerInputs(PodSyncInputs* inputs, const corev1::Container* container,
                                                       PresentImage image, std::string sandboxId);
  Result<std::vector<MountInput>> mounts(const PodSyncInputs& inputs, const corev1::Container& container,
                                         const Variables& environment);
  Result<void> addManagedMounts(const PodSyncInputs& inputs, const corev1::Container& container, std::vector<MountInput>& mounts);
  int32_t nextRestartCount(const corev1::Pod& pod, const RuntimePod& runtime, std::string_view container);
  async::Task<Result<void>> runHook(schema::Ref<corev1::Pod> pod, const corev1::Container* container,
                                    const corev1::LifecycleHandler* hook, std::string containerId, std::string podIp,
                                    int64_t limitSeconds);
  async::Task<void> killContainer(schema::Ref<corev1::Pod> pod, ContainerRecord record, std::string podIp, std::string message,
                                  int64_t graceSeconds, std::shared_ptr<std::string> errors,
                                  std::shared_ptr<TerminationOrder> order = nullptr, size_t turn = 0);
  static async::Task<void> killInOrder(PodRuntime* self, schema::Ref<corev1::Pod> pod, ContainerRecord record, std::string podIp,
                                       int64_t graceSeconds, std::shared_ptr<std::string> errors,
                                       std::shared_ptr<TerminationOrder> order, size_t turn);
  SandboxInputs sandboxInputs(const corev1::Pod& pod, int64_t attempt, Error* failure, bool* failed);

  env::Env env_;
  const KubeletConfig& config_;
  const MachineInfo& machine_;
  cri::RuntimeClient& runtime_;
  ImageManager& images_;
  ObjectReader& objects_;
  VolumeManager& volumes_;
  client::EventRecorder& recorder_;
  BackOff crashBackOff_;
  std::map<std::string, std::map<std::string, StartFailure, std::less<>>, std::less<>> failures_;
};

}  // namespace knarr::kubelet
