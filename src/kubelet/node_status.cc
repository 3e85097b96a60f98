#include "kubelet/node_status.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/scoped_timer.h"
#include "base/log.h"
#include "schema/quantity.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Node;
using corev1::NodeCondition;
using schema::Amount;
using schema::Mut;
using schema::QuantityFormat;
using schema::Ref;
using schema::Time;

namespace {

constexpr std::string_view kVersion = "v1.36.3";
constexpr env::Duration kFastStatusUpdatePeriod = std::chrono::milliseconds(100);
constexpr std::string_view kLeaseNamespace = "kube-node-lease";
constexpr size_t kImagesMax = 50;  // Source: nodeStatusMaxImages
constexpr auto kRuntimeStatusPeriod = std::chrono::seconds(5);
// Kept for the node when memory or disk run out. Source: the defaults of evictionHard.
constexpr int64_t kEvictionMemoryBytes = int64_t{100} << 20;
constexpr int64_t kEvictionDiskPercent = 10;

void setQuantity(schema::Map<schema::Quantity>& map, Arena& arena, std::string_view name, const Amount& amount) {
  map.at(arena, name) = schema::quantityOf(arena, amount);
}

void setCapacity(Mut<Node>& node, const NodeFacts& facts) {
  Arena& arena = node.arena();
  const MachineInfo& machine = *facts.machine;
  auto fill = [&](schema::Map<schema::Quantity>& map, int64_t memory, int64_t disk) {
    setQuantity(map, arena, "cpu", Amount::fromMilli(machine.cpuMilli));
    setQuantity(map, arena, "memory", Amount::fromInt64(memory, QuantityFormat::BinarySI));
    setQuantity(map, arena, "pods", Amount::fromInt64(facts.config->maxPods));
    if (machine.ephemeralStorageBytes > 0) {
      setQuantity(map, arena, "ephemeral-storage", Amount::fromInt64(disk, QuantityFormat::BinarySI));
    }
  };
  fill(node->status.capacity, machine.memoryBytes, machine.ephemeralStorageBytes);
  fill(node->status.allocatable, std::max<int64_t>(0, machine.memoryBytes - kEvictionMemoryBytes),
       machine.ephemeralStorageBytes / 100 * (100 - kEvictionDiskPercent));
}

void setNodeCondition(Mut<Node>& node, schema::Str type, bool value, std::string_view reason, std::string_view message,
                      int64_t now) {
  NodeCondition* condition = nullptr;
  for (NodeCondition& present : node->status.conditions) {
    if (present.type == type) condition = &present;
  }
  if (condition == nullptr) {
    condition = &node->status.conditions.append(node.arena());
    condition->type = type;
  }
  schema::Str status = value ? schema::Str("True") : schema::Str("False");
  if (condition->status != status) condition->lastTransitionTime = Time::fromUnix(now);
  condition->status = status;
  condition->lastHeartbeatTime = Time::fromUnix(now);
  condition->reason = node.str(reason);
  condition->message = node.str(message);
}

std::string joinErrors(const std::vector<std::string>& errors) {
  if (errors.size() == 1) return errors[0];
  return fmt::format("[{}]", fmt::join(errors, ", "));
}

void setConditions(Mut<Node>& node, const NodeFacts& facts) {
  int64_t now = facts.nowUnixSeconds;
  const Pressure& pressure = facts.pressure;
  setNodeCondition(
      node, "MemoryPressure", pressure.memory, pressure.memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
      pressure.memory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available", now);
  setNodeCondition(node, "DiskPressure", pressure.disk, pressure.disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
                   pressure.disk ? "kubelet has disk pressure" : "kubelet has no disk pressure", now);
  setNodeCondition(node, "PIDPressure", pressure.pid, pressure.pid ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
                   pressure.pid ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available", now);
  if (facts.notReady.empty()) {
    setNodeCondition(node, "Ready", true, "KubeletReady", "kubelet is posting ready status", now);
  } else {
    setNodeCondition(node, "Ready", false, "KubeletNotReady", joinErrors(facts.notReady), now);
  }
}

void setLabels(Mut<Node>& node, const NodeFacts& facts) {
  Arena& arena = node.arena();
  schema::StringMap& labels = node->metadata.labels;
  schema::set(labels, arena, "kubernetes.io/hostname", facts.config->nodeName);
  for (std::string_view prefix : {"", "beta."}) {
    schema::set(labels, arena, fmt::format("{}kubernetes.io/os", prefix), "linux");
    schema::set(labels, arena, fmt::format("{}kubernetes.io/arch", prefix), facts.machine->architecture);
  }
  for (const auto& [key, value] : facts.config->nodeLabels) schema::set(labels, arena, key, value);
}

}  // namespace

void setNodeStatus(Mut<Node>& node, const NodeFacts& facts) {
  setLabels(node, facts);
  schema::set(node->metadata.annotations, node.arena(), "volumes.kubernetes.io/controller-managed-attach-detach", "true");
  setCapacity(node, facts);
  setConditions(node, facts);
  corev1::NodeStatus& status = node->status;
  Arena& arena = node.arena();
  status.addresses = {};
  for (const std::string& ip : facts.config->nodeIps) {
    corev1::NodeAddress& address = status.addresses.append(arena);
    address.type = "InternalIP";
    address.address = node.str(ip);
  }
  corev1::NodeAddress& host = status.addresses.append(arena);
  host.type = "Hostname";
  host.address = node.str(facts.config->nodeName);
  status.daemonEndpoints.kubeletEndpoint.port = facts.config->kubeletPort;
  // Sorted. Source: k8s.io/component-helpers/nodedeclaredfeatures; only what this kubelet does.
  status.declaredFeatures = {};
  status.declaredFeatures.append(node.arena(), "ExtendWebSocketsToKubelet");
  corev1::NodeSystemInfo& info = status.nodeInfo;
  const MachineInfo& machine = *facts.machine;
  info.machineID = node.str(machine.machineId);
  info.systemUUID = node.str(machine.systemUuid);
  info.bootID = node.str(machine.bootId);
  info.kernelVersion = node.str(machine.kernelVersion);
  info.osImage = node.str(machine.osImage);
  info.containerRuntimeVersion = node.str(fmt::format("{}://{}", facts.runtimeName, facts.runtimeVersion));
  info.kubeletVersion = kVersion;
  info.kubeProxyVersion = {};
  info.operatingSystem = "linux";
  info.architecture = node.str(machine.architecture);
  status.images = {};
  for (const NodeImage& image : facts.images) {
    corev1::ContainerImage& item = status.images.append(arena);
    for (const std::string& name : image.names) item.names.append(arena, node.str(name));
    item.sizeBytes = image.sizeBytes;
  }
}

bool sameNodeStatus(const Node& a, const Node& b) {
  if (a.status.conditions.size() != b.status.conditions.size()) return false;
  Arena arena;
  Node* left = schema::copyInto(arena, a);
  Node* right = schema::copyInto(arena, b);
  for (NodeCondition& condition : left->status.conditions) condition.lastHeartbeatTime = {};
  for (NodeCondition& condition : right->status.conditions) condition.lastHeartbeatTime = {};
  return schema::equal(left->status, right->status);
}

NodeAgent::NodeAgent(env::Env environment, const KubeletConfig& config, const MachineInfo& machine, client::Client& client,
                     cri::RuntimeClient& runtime, client::EventRecorder& recorder)
    : env_(environment),
      config_(config),
      machine_(machine),
      client_(client),
      runtime_(runtime),
      recorder_(recorder),
      changed_(environment.executor) {}

void NodeAgent::setPlegHealthy(bool healthy) {
  if (plegHealthy_ == healthy) return;
  plegHealthy_ = healthy;
  changed_.notifyAll();
}

NodeFacts NodeAgent::facts() const {
  NodeFacts facts;
  facts.config = &config_;
  facts.machine = &machine_;
  facts.runtimeName = runtimeName_;
  facts.runtimeVersion = runtimeVersion_;
  facts.images = images_;
  facts.pressure = pressure_;
  facts.nowUnixSeconds = env_.clock.unixSeconds();
  if (!runtimeError_.empty()) facts.notReady.push_back(runtimeError_);
  if (!plegHealthy_) facts.notReady.push_back("PLEG is not healthy: the runtime cannot list its containers");
  if (!networkError_.empty()) facts.notReady.push_back("container runtime network not ready: " + networkError_);
  return facts;
}

Task<bool> NodeAgent::registerNode() {
  Mut<Node> node = schema::newObject<Node>();
  node->metadata.name = node.str(config_.nodeName);
  setNodeStatus(node, facts());
  Result<Ref<Node>> made = co_await client::create(client_, "", std::move(node));
  if (made) {
    logInfo("kubelet", "registered node name={}", config_.nodeName);
    node_ = *made;
    co_return true;
  }
  if (!isAlreadyExists(made.error()) && made.error().reason() != Reason::Forbidden) {
    logWarning("kubelet", "cannot register the node name={} error={}", config_.nodeName, made.error().describe());
    co_return false;
  }
  Result<Ref<Node>> present = co_await client::get<Node>(client_, "", config_.nodeName);
  if (!present) {
    logWarning("kubelet", "cannot read the node name={} error={}", config_.nodeName, present.error().describe());
    co_return false;
  }
  node_ = *present;
  Mut<Node> wanted = schema::edit(node_);
  setLabels(wanted, facts());
  schema::set(wanted->metadata.annotations, wanted.arena(), "volumes.kubernetes.io/controller-managed-attach-detach", "true");
  if (schema::equal(wanted->metadata, node_->metadata)) co_return true;
  Result<Ref<Node>> updated = co_await client::update(client_, std::move(wanted));
  if (!updated) {
    logWarning("kubelet", "cannot update the node's labels name={} error={}", config_.nodeName, updated.error().describe());
    co_return false;
  }
  node_ = *updated;
  co_return true;
}

Task<void> NodeAgent::run(async::StopToken stop) {
  async::Gate gate(env_.executor);
  gate.spawn(watchRuntime(stop));
  env::Duration wait = std::chrono::milliseconds(100);
  bool registered = false;
  while (!stop.stopRequested() && !registered) {
    if (config_.registerNode) {
      registered = co_await registerNode();
    } else {
      Result<Ref<Node>> present = co_await client::get<Node>(client_, "", config_.nodeName);
      registered = present.has_value();
      if (present) node_ = *present;
    }
    if (registered) break;
    co_await async::sleepFor(env_, wait, stop);
    wait = std::min<env::Duration>(wait * 2, std::chrono::seconds(7));
  }
  if (registered && !stop.stopRequested()) {
    recorder_.event(node_, "Normal", "Starting", "Starting kubelet.");
    gate.spawn(keepStatus(stop));
    gate.spawn(keepLease(stop));
  }
  co_await gate.close();
}

Task<void> NodeAgent::watchRuntime(async::StopToken stop) {
  while (!stop.stopRequested()) {
    std::string runtimeError, networkError;
    if (runtimeName_.empty()) {
      auto version = co_await runtime_.version();
      if (version) {
        runtimeName_ = (*version)->runtimeName;
        runtimeVersion_ = (*version)->runtimeVersion;
      }
    }
    auto status = co_await runtime_.status(false);
    if (!status || (*status)->status == nullptr) {
      runtimeError = fmt::format("container runtime is down: {}", status ? "it gives no status" : status.error().message());
      networkError = "network state unknown";
    } else {
      for (const auto& condition : (*status)->status->conditions) {
        if (condition.status) continue;
        std::string text = fmt::format("{}=false reason:{} message:{}", condition.type, condition.reason, condition.message);
        if (condition.type == cri::kNetworkReady) networkError = text;
        if (condition.type == cri::kRuntimeReady) runtimeError = "container runtime not ready: " + text;
      }
    }
    if (runtimeError != runtimeError_ || networkError != networkError_ || !runtimeKnown_) {
      runtimeKnown_ = true;
      runtimeError_ = runtimeError;
      networkError_ = networkError;
      changed_.notifyAll();
    }
    env::Duration wait = kRuntimeStatusPeriod;
    // A start waits for the runtime and its network; afterwards the pace is calm.
    if (!runtimeError_.empty() || !networkError_.empty()) wait = std::chrono::milliseconds(200);
    co_await async::sleepFor(env_, wait, stop);
  }
}

Task<std::vector<NodeImage>> NodeAgent::listImages() {
  auto answer = co_await runtime_.listImages(schema::newObject<runtimev1::ListImagesRequest>());
  if (!answer) co_return images_;
  std::vector<NodeImage> images;
  for (const runtimev1::Image& image : (*answer)->images) {
    NodeImage item;
    for (schema::Str name : image.repoDigests) item.names.emplace_back(name);
    for (schema::Str name : image.repoTags) item.names.emplace_back(name);
    item.sizeBytes = static_cast<int64_t>(image.size);
    if (!item.names.empty()) images.push_back(std::move(item));
  }
  std::sort(images.begin(), images.end(), [](const auto& a, const auto& b) {
    return a.sizeBytes != b.sizeBytes ? a.sizeBytes > b.sizeBytes : a.names < b.names;
  });
  if (images.size() > kImagesMax) images.resize(kImagesMax);
  co_return images;
}

namespace {

// The event that goes with a condition's change. Source: pkg/kubelet/nodestatus/setters.go.
std::string_view eventOf(const NodeCondition& condition) {
  bool value = condition.status == "True";
  if (condition.type == "Ready") return value ? "NodeReady" : "NodeNotReady";
  if (condition.type == "MemoryPressure") return value ? "NodeHasInsufficientMemory" : "NodeHasSufficientMemory";
  if (condition.type == "DiskPressure") return value ? "NodeHasDiskPressure" : "NodeHasNoDiskPressure";
  if (condition.type == "PIDPressure") return value ? "NodeHasInsufficientPID" : "NodeHasSufficientPID";
  return "";
}

}  // namespace

void NodeAgent::recordChanges(const Node& before, const Ref<Node>& after) {
  for (const NodeCondition& condition : after->status.conditions) {
    std::string reason(eventOf(condition));
    for (const NodeCondition& old : before.status.conditions) {
      if (reason.empty() || old.type != condition.type || old.status == condition.status) continue;
      recorder_.event(after, "Normal", reason, fmt::format("Node {} status is now: {}", config_.nodeName, reason));
    }
  }
}

void NodeAgent::warn(const std::string& reason, const std::string& message) {
  if (node_) recorder_.event(node_, "Warning", reason, message);
}

Task<void> NodeAgent::observePressure() {
  env::Files& files = env_.files;
  std::move_only_function<NodeObservation()> work = [&files, root = config_.rootDirectory,
                                                     images = imagePath_ ? imagePath_() : std::string()] {
    return observeNode(files, root, images);
  };
  NodeObservation seen = co_await async::runBlocking<NodeObservation>(env_.executor, std::move(work));
  pressure_ = hold_.update(pressureOf(seen), env_.clock.now());
}

Task<Result<void>> NodeAgent::updateStatus() {
  co_await observePressure();
  images_ = co_await listImages();
  for (int attempt = 0;; ++attempt) {
    constexpr int kAttempts = 5;  // Source: nodeStatusUpdateRetry
    Ref<Node> base = node_;
    Mut<Node> next = schema::edit(base);
    setNodeStatus(next, facts());
    bool due = env_.clock.now() - lastReport_ >= config_.nodeStatusReportFrequency;
    if (sameNodeStatus(*base, *next) && !due) co_return Result<void>();
    Result<Ref<Node>> written = co_await client::updateStatus(client_, std::move(next));
    if (written) {
      recordChanges(*base, *written);
      node_ = *written;
      lastReport_ = env_.clock.now();
      co_return Result<void>();
    }
    if (isNotFound(written.error())) {
      co_await registerNode();  // somebody deleted the node
      co_return Unexpected(std::move(written).error());
    }
    if (!isConflict(written.error()) || attempt + 1 >= kAttempts) co_return Unexpected(std::move(written).error());
    Result<Ref<Node>> again = co_await client::get<Node>(client_, "", config_.nodeName);
    if (!again) co_return Unexpected(std::move(again).error());
    node_ = *again;
  }
}

// The runtime may make its network's configuration from the pod CIDR.
Task<void> NodeAgent::announcePodCidr() {
  if (!node_ || node_->spec.podCIDR.empty()) co_return;
  std::string cidrs;
  for (schema::Str cidr : node_->spec.podCIDRs) cidrs += (cidrs.empty() ? "" : ",") + std::string(cidr);
  if (cidrs.empty()) cidrs = node_->spec.podCIDR;
  if (cidrs == announcedPodCidr_) co_return;
  auto request = schema::newObject<runtimev1::UpdateRuntimeConfigRequest>();
  request->runtimeConfig = request.arena().make<runtimev1::RuntimeConfig>();
  request->runtimeConfig->networkConfig = request.arena().make<runtimev1::NetworkConfig>();
  request->runtimeConfig->networkConfig->podCidr = request.str(cidrs);
  auto answer = co_await runtime_.updateRuntimeConfig(std::move(request));
  if (answer) announcedPodCidr_ = cidrs;
}

Task<void> NodeAgent::keepStatus(async::StopToken stop) {
  auto registration = stop.onStop([this] { changed_.notifyAll(); });
  bool everReady = false;
  while (!stop.stopRequested()) {
    Result<void> updated = co_await updateStatus();
    if (!updated) logWarning("kubelet", "cannot update the node's status error={}", updated.error().describe());
    // The node's spec is read with the same pace; its writer is another component.
    if (Result<Ref<Node>> now = co_await client::get<Node>(client_, "", config_.nodeName, {"0"}); now) node_ = *now;
    co_await announcePodCidr();
    // Until the node is ready for the first time it looks again soon, so that a runtime that is
    // just starting costs no whole period. Source: kubelet.go, fastStatusUpdateOnce.
    for (const auto& condition : node_->status.conditions) everReady |= condition.type == "Ready" && condition.status == "True";
    env::Duration period = config_.nodeStatusUpdateFrequency;
    if (!everReady) period = std::min(period, kFastStatusUpdatePeriod);
    async::ScopedTimer timer(env_.executor, env_.clock.now() + period, [this] { changed_.notifyAll(); });
    if (!stop.stopRequested()) co_await changed_.wait();
  }
}

Task<Result<void>> NodeAgent::renewLease() {
  int64_t nowMicros = env_.clock.unixNanos() / 1000;
  if (!lease_) {
    auto present = co_await client::get<coordinationv1::Lease>(client_, std::string(kLeaseNamespace), config_.nodeName);
    if (present) lease_ = *present;
    if (!present && !isNotFound(present.error())) co_return Unexpected(std::move(present).error());
  }
  Mut<coordinationv1::Lease> lease = lease_ ? schema::edit(lease_) : schema::newObject<coordinationv1::Lease>();
  if (!lease_) {
    lease->metadata.name = lease.str(config_.nodeName);
    lease->metadata.namespace_ = kLeaseNamespace;
    auto& owner = lease->metadata.ownerReferences.append(lease.arena());
    owner.apiVersion = "v1";
    owner.kind = "Node";
    owner.name = lease.str(config_.nodeName);
    owner.uid = lease.str(node_->metadata.uid);
  }
  lease->spec.holderIdentity = lease.str(config_.nodeName);
  lease->spec.leaseDurationSeconds = config_.nodeLeaseDurationSeconds;
  lease->spec.renewTime = schema::MicroTime::fromUnixMicros(nowMicros);
  bool creates = !lease_;
  Result<Ref<coordinationv1::Lease>> written =
      creates ? co_await client::create(client_, std::string(kLeaseNamespace), std::move(lease))
              : co_await client::update(client_, std::move(lease));
  if (written) {
    lease_ = *written;
    co_return Result<void>();
  }
  lease_ = nullptr;  // read it anew
  co_return Unexpected(std::move(written).error());
}

Task<void> NodeAgent::keepLease(async::StopToken stop) {
  env::Duration period = std::chrono::seconds(config_.nodeLeaseDurationSeconds) / 4;
  while (!stop.stopRequested()) {
    env::Duration wait = period;
    Result<void> renewed = co_await renewLease();
    if (!renewed) {
      logWarning("kubelet", "cannot renew the node's lease error={}", renewed.error().describe());
      wait = std::chrono::milliseconds(200) + env::Duration(static_cast<int64_t>(env_.random.unit() * 1e9));
    }
    co_await async::sleepFor(env_, wait, stop);
  }
}

}  // namespace knarr::kubelet
