// Prober: runs the startup, liveness and readiness probes of running containers and remembers the
// results.
//
// One task per probe. A result that changes wakes the pod's worker; the worker reads results here
// and decides. Upstream counterpart: pkg/kubelet/prober.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "api/core_v1.h"
#include "client/event_recorder.h"
#include "contracts/cri/cri.h"
#include "kubelet/runtime_pod.h"

namespace knarr::kubelet {

enum class ProbeKind : uint8_t { Startup, Liveness, Readiness };

class Prober {
 public:
  Prober(env::Env environment, cri::RuntimeClient& runtime, client::EventRecorder& recorder,
         std::function<void(const std::string& podUid)> changed);
  ~Prober();

  // Begins the probes of the pod's containers; those that run go on.
  void addPod(const schema::Ref<corev1::Pod>& pod);
  // What the runtime holds now: which container instance is to be probed.
  void updatePod(const std::string& podUid, const RuntimePod& runtime);
  // A pod that terminates is probed for readiness only.
  void stopLivenessAndStartup(const std::string& podUid);
  void removePod(const std::string& podUid);

  // Of the running instance. A container without a probe of the kind is fine.
  bool ready(const schema::Ref<corev1::Pod>& pod, std::string_view container) const;
  bool started(const schema::Ref<corev1::Pod>& pod, std::string_view container) const;
  bool livenessFailed(const std::string& podUid, std::string_view container) const;
  bool startupFailed(const std::string& podUid, std::string_view container) const;
  // After the instance was killed for a failure.
  async::Task<void> close();

 private:
  struct Worker;
  static async::Task<void> run(Prober* prober, std::shared_ptr<Worker> worker);
  // Unknown: the probe could not be made.
  enum class Outcome : uint8_t { Success, Warning, Failure, Unknown };  // a warning counts as success
  async::Task<Outcome> probeOnce(std::shared_ptr<Worker> worker, std::string* output);
  const Worker* find(const std::string& podUid, std::string_view container, ProbeKind kind) const;

  env::Env env_;
  cri::RuntimeClient& runtime_;
  client::EventRecorder& recorder_;
  std::function<void(const std::string&)> changed_;
  const int64_t startedAtNanos_;                            // of this kubelet
  std::map<std::string, std::shared_ptr<Worker>> workers_;  // "uid/container/kind"
  async::Gate gate_;
};

}  // namespace knarr::kubelet
