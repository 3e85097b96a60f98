// kubelet: the node agent. It registers the node, and makes the runtime hold what pods with its
// node name ask for.
//
// Everything it touches comes through its dependencies: API objects through the client, containers
// through the runtime's contract, time and files through the environment; so the same code runs in
// the simulator. Upstream counterpart: pkg/kubelet (v1.36).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/async.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::client {
class Client;
}
namespace knarr::cri {
class RuntimeClient;
}

namespace knarr::kubelet {

// What the node is made of. Source of the fields: Node.status.nodeInfo and capacity.
struct MachineInfo {
  int64_t cpuMilli = 0;
  int64_t memoryBytes = 0;
  int64_t ephemeralStorageBytes = 0;  // 0: not known, not reported
  std::string machineId, systemUuid, bootId, kernelVersion, osImage, architecture;
};

struct KubeletConfig {
  std::string nodeName;
  // First is the primary one: InternalIP of the node, podIP of pods on the host's network.
  std::vector<std::string> nodeIps;
  std::map<std::string, std::string> nodeLabels;
  bool registerNode = true;
  int64_t maxPods = 110;

  std::string rootDirectory = "/var/lib/kubelet";
  std::string podLogsDirectory = "/var/log/pods";
  std::string containerLogsDirectory = "/var/log/containers";

  std::vector<std::string> clusterDns;
  std::string clusterDomain = "cluster.local";
  std::string resolverConfig = "/etc/resolv.conf";

  // Pods' containers are put under <cgroupRoot>/kubepods/<qos>/pod<uid>, made by the runtime (cgroupfs driver).
  // False: the runtime's own place, for hosts where the kubelet may not use the tree.
  bool cgroupsPerQos = true;
  std::string cgroupRoot;  // "" is the root of the hierarchies, or "/name"

  // Images that image garbage collection leaves alone, because no registry has them.
  std::set<std::string, std::less<>> pinnedImages;

  env::Duration syncFrequency = std::chrono::minutes(1);
  env::Duration nodeStatusUpdateFrequency = std::chrono::seconds(10);
  env::Duration nodeStatusReportFrequency = std::chrono::minutes(5);
  int32_t nodeLeaseDurationSeconds = 40;  // renewed every quarter of it
  env::Duration plegRelistPeriod = std::chrono::seconds(1);
  env::Duration maxContainerRestartPeriod = std::chrono::minutes(5);

  int32_t kubeletPort = 10250;  // Node.status.daemonEndpoints
  // Nothing: read from this host.
  std::optional<MachineInfo> machine;
};

struct KubeletDependencies {
  env::Env env;
  client::Client& client;  // with the identity system:node:NAME
  cri::RuntimeClient& runtime;
};

// kubectl logs. Source: core/v1 PodLogOptions.
struct LogOptions {
  bool follow = false;
  bool previous = false;
  bool timestamps = false;
  std::optional<int64_t> sinceUnixNanos;
  std::optional<int64_t> tailLines;
  std::optional<int64_t> limitBytes;
};
// Receives pieces of output; false ends the reading (the client went away).
using LogSink = std::function<async::Task<bool>(std::string piece)>;

struct ExecOptions {
  std::vector<std::string> command;
  bool standardInput = false, standardOutput = true, standardError = true, tty = false;
};

// Removes what a kubelet with this cgroupRoot made in cgroups, and the root itself unless it is "". Absent is fine; an error
// names a cgroup that still holds processes. No kubelet may run with it.
Result<void> removeCgroups(env::Files& files, const std::string& cgroupRoot);

class Kubelet {
 public:
  Kubelet(KubeletConfig config, KubeletDependencies dependencies);
  ~Kubelet();
  Kubelet(const Kubelet&) = delete;

  // Runs until stop; pods keep running. Errors: what the machine or the configuration lacks to
  // begin.
  async::Task<Result<void>> run(async::StopToken stop);

  // ---- what the kubelet's server answers with; NotFound names the pod or container that is not
  // here.
  async::Task<Result<void>> containerLogs(std::string nameSpace, std::string pod, std::string container, LogOptions options,
                                          LogSink sink);
  // URLs of the runtime's streaming server.
  async::Task<Result<std::string>> execUrl(std::string nameSpace, std::string pod, std::string container, ExecOptions options);
  // tty must be what hasTerminal says, and a terminal has no standardError of its own.
  async::Task<Result<std::string>> attachUrl(std::string nameSpace, std::string pod, std::string container, ExecOptions options);
  // Whether the container was given a terminal when it was made; false for one that the pod does not have.
  Result<bool> hasTerminal(std::string_view nameSpace, std::string_view pod, std::string_view container) const;
  // `ports`: those that the old WebSocket protocol fixes at its beginning; empty for SPDY.
  async::Task<Result<std::string>> portForwardUrl(std::string nameSpace, std::string pod, std::vector<int32_t> ports = {});
  // A v1 PodList of the node's pods with their statuses as last published, as JSON.
  std::string podsJson() const;
  // A Summary of stats/v1alpha1 as JSON; metrics as Prometheus text. A runtime that does not answer shows in either: the
  // first is an InternalError, the second says so.
  async::Task<Result<std::string>> statsSummary(bool onlyCpuAndMemory);
  async::Task<std::string> resourceMetrics();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace knarr::kubelet
