// The node's own objects: Node and Lease.
// Upstream counterpart: pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus,
// component-helpers/apimachinery/lease.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "client/event_recorder.h"
#include "contracts/cri/cri.h"
#include "kubelet/kubelet.h"
#include "kubelet/node_pressure.h"

namespace knarr::kubelet {

struct NodeImage {
  std::vector<std::string> names;
  int64_t sizeBytes = 0;
};

// What a Node's status is computed from.
struct NodeFacts {
  const KubeletConfig* config = nullptr;
  const MachineInfo* machine = nullptr;
  std::string runtimeName, runtimeVersion;
  std::vector<std::string> notReady;  // why the node cannot run pods; empty: it can
  std::vector<NodeImage> images;
  Pressure pressure;
  int64_t nowUnixSeconds = 0;
};

// Fills status (and the labels that every node carries); pure. Transition times stay where a status
// stays.
void setNodeStatus(schema::Mut<corev1::Node>& node, const NodeFacts& facts);
// Equal but for heartbeat times.
bool sameNodeStatus(const corev1::Node& a, const corev1::Node& b);

class NodeAgent {
 public:
  NodeAgent(env::Env environment, const KubeletConfig& config, const MachineInfo& machine, client::Client& client,
            cri::RuntimeClient& runtime, client::EventRecorder& recorder);

  // Registers the node, then keeps status and lease current until stop.
  async::Task<void> run(async::StopToken stop);
  // "" when pods' networks work.
  const std::string& networkError() const { return networkError_; }
  const std::string& runtimeName() const { return runtimeName_; }
  // The runtime's lists work; false makes the node NotReady.
  void setPlegHealthy(bool healthy);
  // What the node is short of, as last reported.
  const Pressure& pressure() const { return pressure_; }
  // Something to tell about the node; dropped before registration.
  void warn(const std::string& reason, const std::string& message);
  // Where the runtime keeps images; "" while not known.
  void imagePathFrom(std::function<std::string()> source) { imagePath_ = std::move(source); }
  // The node as the API has it; null before registration.
  const schema::Ref<corev1::Node>& node() const { return node_; }

 private:
  async::Task<bool> registerNode();
  async::Task<void> watchRuntime(async::StopToken stop);
  async::Task<void> keepStatus(async::StopToken stop);
  async::Task<void> keepLease(async::StopToken stop);
  async::Task<Result<void>> updateStatus();
  async::Task<Result<void>> renewLease();
  async::Task<std::vector<NodeImage>> listImages();
  async::Task<void> observePressure();
  async::Task<void> announcePodCidr();
  NodeFacts facts() const;
  void recordChanges(const corev1::Node& before, const schema::Ref<corev1::Node>& after);

  env::Env env_;
  const KubeletConfig& config_;
  const MachineInfo& machine_;
  client::Client& client_;
  cri::RuntimeClient& runtime_;
  client::EventRecorder& recorder_;
  schema::Ref<corev1::Node> node_;
  schema::Ref<coordinationv1::Lease> lease_;
  std::string runtimeName_, runtimeVersion_;
  bool runtimeKnown_ = false;
  std::string runtimeError_ = "container runtime status check may not have completed yet";
  std::string networkError_ = "network state unknown";
  bool plegHealthy_ = true;
  std::vector<NodeImage> images_;
  std::string announcedPodCidr_;
  env::Instant lastReport_{};
  std::function<std::string()> imagePath_;
  PressureHold hold_;
  Pressure pressure_;
  async::Event changed_;
};

}  // namespace knarr::kubelet
