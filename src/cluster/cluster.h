// A whole cluster on this machine: making it, running it, removing it.
//
//   up      checks the machine, starts `knarr server` in the background, prints a line per step, ends when a node is Ready
//   server  the cluster itself, in the foreground: API server, controllers, scheduler, kubelet, containerd as a child
//   down    stops all of it and removes everything that up made
//
// Both up and down may be repeated, and survive being killed. Paths and ports come from one configuration, so that several
// clusters (a test's and a user's) live side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "async/async.h"
#include "env/env.h"

namespace knarr::env {
class PosixEnv;
}

namespace knarr::cluster {

struct ClusterConfig {
  std::string name = "knarr";  // of the context in kubeconfigs
  std::string nodeName;        // "" takes the host's name
  std::string nodeIp;          // "" takes the first address that is not loopback
  std::string dataDirectory = "/var/lib/knarr";
  std::string runDirectory = "/run/knarr";
  std::string configDirectory = "/etc/knarr";
  std::string logDirectory = "/var/log/knarr";
  std::string kubeletRootDirectory = "/var/lib/kubelet";
  std::string podLogsDirectory = "/var/log/pods";
  std::string containerLogsDirectory = "/var/log/containers";
  std::string cniConfigDirectory = "/etc/cni/net.d";
  std::string cniBinDirectory = "/opt/cni/bin";
  std::string cniStateDirectory = "/var/lib/cni/networks";
  // Where the programs and images that belong to Knarr are; "" is the folder that holds the program.
  std::string assetsDirectory;
  std::string userKubeconfig;  // merged into; "" merges nowhere
  std::string bridgeName = "knarr0";
  std::string podSubnet = "10.244.0.0/24";
  std::string serviceSubnet = "10.96.0.0/12";
  std::string clusterDomain = "cluster.local";
  std::string bindAddress = "0.0.0.0";
  int apiPort = 6443;
  int kubeletPort = 10250;
  int dnsPort = 10053;  // of the cluster's name server, on nodeIp
  std::string containerdPath = "/usr/bin/containerd";
  std::string runcPath = "/usr/sbin/runc";

  // Where pods' cgroups are ("" is the root, as upstream's default): two clusters on one host do not share classes.
  std::string cgroupRoot() const { return name == ClusterConfig().name ? "" : "/knarr-" + name; }
  std::string adminKubeconfig() const { return configDirectory + "/admin.kubeconfig"; }
  std::string containerdSocket() const { return runDirectory + "/containerd.sock"; }
  std::string pidFile() const { return runDirectory + "/knarr.pid"; }
  std::string containerdPidFile() const { return runDirectory + "/containerd.pid"; }
  std::string reportSocket() const { return runDirectory + "/up.sock"; }
  std::string logFile() const { return logDirectory + "/knarr.log"; }
};

// One line of progress; an empty text ends nothing and is not printed.
using Progress = std::function<void(std::string line)>;

// Makes the cluster. `program` is the path of this executable, `flags` repeat the configuration for `knarr server`.
async::Task<Result<void>> up(env::Env environment, ClusterConfig config, std::string program, std::vector<std::string> flags,
                             Progress progress);
// Removes what up made. Absent things are no errors.
async::Task<Result<void>> down(env::Env environment, ClusterConfig config, Progress progress);
// Runs the cluster until stop. `report` tells each step ("API server is ready") and is called once with "ready".
async::Task<Result<void>> runServer(env::Env environment, ClusterConfig config, Progress report, async::StopToken stop);

// Invalid when the subnets are no IPv4 prefixes, overlap, or hold the node's own address; says which flag to change. An
// overlap would leave nodes without pod addresses, or send the host's own traffic to Services.
Result<void> checkAddresses(const ClusterConfig& config);
// What is missing on this machine, in words that say what to do; empty when nothing is.
Result<void> checkMachine(env::Env environment, const ClusterConfig& config);

}  // namespace knarr::cluster
