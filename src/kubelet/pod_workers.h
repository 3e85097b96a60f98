// PodWorkers: one task per pod that brings the runtime to what the pod asks for, and ends it when
// its time has come.
//
// A worker goes one way: sync, terminating, terminated, finished. It is woken by changes of the
// pod, of the runtime (PLEG) and of probes, and looks again every syncFrequency. Every look reads
// the runtime anew: nothing is decided on memory. Upstream counterpart: pkg/kubelet/pod_workers.go,
// kubelet.go (SyncPod, SyncTerminatingPod, SyncTerminatedPod).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "kubelet/cgroups.h"
#include "kubelet/node_pressure.h"
#include "kubelet/pod_runtime.h"
#include "kubelet/prober.h"
#include "kubelet/status_manager.h"

namespace knarr::kubelet {

// What workers ask of the rest of the kubelet.
struct PodWorkerContext {
  env::Env env;
  const KubeletConfig& config;
  const MachineInfo& machine;
  cri::RuntimeClient& runtime;
  PodRuntime& podRuntime;
  VolumeManager& volumes;
  Prober& prober;
  StatusManager& statuses;
  client::EventRecorder& recorder;
  std::function<std::string()> networkError;  // "" when pods' networks work
  std::function<Variables(const corev1::Pod&)> serviceVariables;
  std::function<std::string()> runtimeName;
  std::function<Pressure()> pressure;  // what the node is short of
};

class PodWorkers {
 public:
  explicit PodWorkers(PodWorkerContext context);
  ~PodWorkers();

  // The pod was added or changed in the API.
  void update(const schema::Ref<corev1::Pod>& pod);
  // The API forgot the pod: it ends, and what is left of it goes.
  void remove(const schema::Ref<corev1::Pod>& pod);
  // Something about the pod changed in the runtime or its probes.
  void wake(const std::string& podUid);
  // A pod that only the runtime knows: killed with a grace of 1 s, and removed.
  void killOrphan(const std::string& podUid);
  bool knows(const std::string& podUid) const { return workers_.contains(podUid); }
  size_t size() const { return workers_.size(); }
  // Stops the workers; pods keep running.
  async::Task<void> close();

 private:
  struct Worker;
  struct SyncResult {
    bool terminal = false;
    std::optional<Error> error;
    std::optional<env::Duration> retryAfter;
  };
  static async::Task<void> run(PodWorkers* self, std::shared_ptr<Worker> worker);
  // The runtime's state with the messages of ended containers.
  async::Task<Result<RuntimePod>> look(std::string podUid);
  async::Task<SyncResult> syncPod(std::shared_ptr<Worker> worker);
  async::Task<Result<void>> syncTerminating(std::shared_ptr<Worker> worker);
  async::Task<Result<void>> syncTerminated(std::shared_ptr<Worker> worker);
  async::Task<Result<void>> syncOrphan(std::shared_ptr<Worker> worker);
  schema::Ref<corev1::Pod> publishStatus(const Worker& worker, const RuntimePod& runtime, bool terminal);
  std::optional<env::Duration> untilDeadline(const corev1::Pod& pod) const;
  async::Task<void> applyCgroups(schema::Ref<corev1::Pod> pod);
  EnvironmentInputs environmentInputs(const corev1::Pod& pod, const RuntimePod& runtime) const;
  void requestTermination(Worker& worker);
  // False: the pod was rejected, and its status says why.
  bool admit(Worker& worker, const schema::Ref<corev1::Pod>& pod, const RuntimePod& runtime);
  async::Task<void> waitForWork(std::shared_ptr<Worker> worker, std::optional<env::Duration> limit);
  env::Duration delayAfter(const SyncResult& result);
  std::shared_ptr<Worker> spawn(const std::string& podUid);

  PodWorkerContext context_;
  std::map<std::string, std::shared_ptr<Worker>> workers_;
  std::map<std::string, CgroupLimits> cgroups_;  // as last written, by path
  async::Gate gate_;
  bool closing_ = false;
};

// The grace that a kill of the pod gets: the shortest of what was asked, at least 1 s. Pure.
int64_t effectiveGracePeriod(const corev1::Pod& pod, int64_t stored);

}  // namespace knarr::kubelet
