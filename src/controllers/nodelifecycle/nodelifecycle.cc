#include "controllers/nodelifecycle/nodelifecycle.h"

#include <fmt/format.h>

#include "api/coordination_v1.h"
#include "base/log.h"

namespace knarr::controllers {
namespace {

using coordinationv1::Lease;
using corev1::Node;
using corev1::Pod;

const std::string kNodeNameIndex = "spec.nodeName";
constexpr std::string_view kLeaseNamespace = "kube-node-lease";

class NodeLifecycleController : public Controller {
 public:
  NodeLifecycleController(ControllerContext context, NodeLifecycleConfig config)
      : context_(context),
        config_(config),
        nodes_(context.informers.informer<Node>()),
        leases_(context.informers.informer<Lease>()),
        pods_(context.informers.informer<Pod>()),
        taintQueue_(std::make_shared<client::WorkQueue>(context.env, "node-taints")),
        evictionQueue_(std::make_shared<client::WorkQueue>(context.env, "taint-eviction")),
        recorder_(context.env, context.client, "node-controller", "") {
    pods_.addIndex(kNodeNameIndex,
                   [](const Ref<>& pod) -> std::vector<std::string> { return {std::string(Ref<Pod>(pod)->spec.nodeName)}; });
    nodes_.addHandler({[this](const Ref<>& node) { nodeChanged(node); },
                       [this](const Ref<>&, const Ref<>& node) { nodeChanged(node); },
                       [this](const Ref<>& node) { probes_.erase(client::keyOf(node)); }});
    pods_.addHandler({[this](const Ref<>& pod) { evictionQueue_->add(client::keyOf(pod)); },
                      [this](const Ref<>& before, const Ref<>& pod) {
                        if (Ref<Pod>(before)->spec.nodeName != Ref<Pod>(pod)->spec.nodeName)
                          evictionQueue_->add(client::keyOf(pod));
                      },
                      [this](const Ref<>& pod) { dueSince_.erase(client::keyOf(pod)); }});
  }

  std::string_view name() const override { return "node-lifecycle-controller"; }

  Task<void> run(StopToken stop) override {
    auto registration = stop.onStop([this] {
      taintQueue_->shutDown();
      evictionQueue_->shutDown();
    });
    async::Gate gate(context_.env.executor);
    gate.spawn(recorder_.run(stop));
    gate.spawn(client::runWorkers(context_.env, taintQueue_, 8, [this](std::string key) { return syncTaints(std::move(key)); }));
    gate.spawn(client::runWorkers(context_.env, evictionQueue_, 4, [this](std::string key) { return syncPod(std::move(key)); }));
    do {
      updateZones();
      for (const Ref<>& node : nodes_.list()) co_await monitor(Ref<Node>(node));
    } while (co_await async::sleepFor(context_.env, config_.monitorPeriod, stop));
    co_await gate.close();
  }

 private:
  // When something was last heard of a node, by our clock.
  struct Probe {
    env::Instant heard;
    schema::Time heartbeat{};
    schema::MicroTime renewal{};
    bool everReady = false;
  };

  struct Zone {
    ZoneState state = ZoneState::Normal;
    int size = 0;
    env::Instant nextEviction{};
  };

  void nodeChanged(const Ref<>& object) {
    taintQueue_->add(client::keyOf(object));
    for (const Ref<>& pod : pods_.byIndex(kNodeNameIndex, client::keyOf(object))) evictionQueue_->add(client::keyOf(pod));
  }

  static const corev1::NodeCondition* readyCondition(const Node& node) {
    for (const auto& condition : node.status.conditions)
      if (condition.type == "Ready") return &condition;
    return nullptr;
  }

  static bool isReady(const Node& node) {
    const corev1::NodeCondition* ready = readyCondition(node);
    return ready && ready->status == "True";
  }

  // Counts the nodes of each zone anew. A change of a state lets every node of it be looked at again.
  void updateZones() {
    std::map<std::string, std::pair<int, int>> counts;
    for (const Ref<>& object : nodes_.list()) {
      Ref<Node> node(object);
      if (node->metadata.labels.contains("node.kubernetes.io/exclude-disruption")) continue;
      auto& [ready, notReady] = counts[zoneOf(*node)];
      ++(isReady(*node) ? ready : notReady);
    }
    bool allLost = !counts.empty(), changed = false;
    std::erase_if(zones_, [&](const auto& entry) { return !counts.contains(entry.first); });
    for (const auto& [name, count] : counts) {
      Zone& zone = zones_[name];
      ZoneState state = decideZoneState(count.first, count.second);
      changed = changed || state != zone.state;
      zone.state = state;
      zone.size = count.first + count.second;
      allLost = allLost && state == ZoneState::FullDisruption;
    }
    // After such a time silence says nothing: every node gets its whole grace again.
    if (allLost_ && !allLost)
      for (auto& [key, probe] : probes_) probe.heard = context_.env.clock.now();
    changed = changed || allLost != allLost_;
    allLost_ = allLost;
    if (!changed) return;
    for (const Ref<>& node : nodes_.list()) taintQueue_->add(client::keyOf(node));
  }

  // Nodes of a zone get their first NoExecute taint one after the other, so that a failure of many does not move all pods at
  // once.
  Eviction evictionFor(const Node& node) {
    if (!readyCondition(node) || isReady(node)) return Eviction::Keep;
    updateZones();
    if (allLost_) return Eviction::Take;
    for (const auto& taint : node.spec.taints)
      if (taint.effect == "NoExecute" &&
          (taint.key == "node.kubernetes.io/not-ready" || taint.key == "node.kubernetes.io/unreachable"))
        return Eviction::Give;
    Zone& zone = zones_[zoneOf(node)];
    auto interval = evictionInterval(zone.state, zone.size, config_);
    if (!interval) return Eviction::Keep;
    env::Instant now = context_.env.clock.now();
    if (now < zone.nextEviction) {
      taintQueue_->addAfter(std::string(node.metadata.name), zone.nextEviction - now);
      return Eviction::Keep;
    }
    zone.nextEviction = now + *interval;
    return Eviction::Give;
  }

  Task<void> monitor(Ref<Node> node) {
    std::string key = client::keyOf(node);
    env::Instant now = context_.env.clock.now();
    const corev1::NodeCondition* ready = readyCondition(*node);
    Ref<Lease> lease(leases_.get(kLeaseNamespace, key));
    auto [at, fresh] = probes_.try_emplace(key, Probe{now, {}, {}, false});
    Probe& probe = at->second;
    bool heartbeat = ready && ready->status != "Unknown" && probe.heartbeat < ready->lastHeartbeatTime;
    bool renewed = lease && lease->spec.renewTime && probe.renewal < lease->spec.renewTime.value;
    if (heartbeat) probe.heartbeat = ready->lastHeartbeatTime;
    if (renewed) probe.renewal = lease->spec.renewTime.value;
    if (heartbeat || renewed) probe.heard = now;
    env::Duration grace = ready ? config_.monitorGracePeriod : config_.startupGracePeriod;
    if (now - probe.heard <= grace || (ready && ready->status == "Unknown")) co_return;
    logWarning("nodelifecycle", "nothing was heard of node {} for {} s: marking it unknown", key,
               std::chrono::duration_cast<std::chrono::seconds>(now - probe.heard).count());
    bool wasReady = ready && ready->status == "True";
    auto updated = co_await client::updateStatus<Node>(context_.client, markUnknown(node, context_.env.clock.unixSeconds()));
    if (!updated) co_return;  // The next round tries again.
    if (wasReady) {
      recorder_.event(node, "Normal", "NodeNotReady", fmt::format("Node {} status is now: NodeNotReady", key));
      co_await markPodsNotReady(key);
    }
  }

  Task<void> markPodsNotReady(std::string node) {
    std::vector<Ref<>> pods = pods_.byIndex(kNodeNameIndex, node);
    for (size_t i = 0; i < pods.size(); ++i) {
      Mut<Pod> next = schema::edit(Ref<Pod>(pods[i]));
      bool changed = false;
      for (auto& condition : next->status.conditions)
        if (condition.type == "Ready" && condition.status == "True") {
          condition.status = "False";
          condition.lastTransitionTime = schema::Time::fromUnix(context_.env.clock.unixSeconds());
          changed = true;
        }
      if (!changed) continue;
      auto updated = co_await client::updateStatus<Pod>(context_.client, std::move(next));
      if (!updated && !isNotFound(updated.error()))
        logWarning("nodelifecycle", "marking a pod not ready: {}", updated.error().describe());
    }
  }

  Task<Result<void>> syncTaints(std::string key) {
    Ref<Node> node(nodes_.get(key));
    if (!node) co_return Result<void>();
    std::vector<corev1::Taint> wanted = decideTaints(*node, evictionFor(*node));
    Mut<Node> next = schema::edit(node);
    next->spec.taints.clear();
    for (const corev1::Taint& taint : wanted) {
      corev1::Taint& to = next->spec.taints.append(next.arena(), *schema::copyInto(next.arena(), taint));
      if (!to.timeAdded) to.timeAdded = schema::Time::fromUnix(context_.env.clock.unixSeconds());
    }
    if (sameTaints(*node, *next)) co_return Result<void>();
    CO_TRY(co_await client::update<Node>(context_.client, std::move(next)));
    co_return Result<void>();
  }

  static bool sameTaints(const Node& a, const Node& b) {
    if (a.spec.taints.size() != b.spec.taints.size()) return false;
    for (const auto& taint : a.spec.taints) {
      bool found = false;
      for (const auto& other : b.spec.taints)
        found = found || (taint.key == other.key && taint.effect == other.effect && taint.value == other.value);
      if (!found) return false;
    }
    return true;
  }

  Task<Result<void>> syncPod(std::string key) {
    Ref<Pod> pod(pods_.get(key));
    if (!pod || pod->spec.nodeName.empty() || pod->metadata.deletionTimestamp) co_return Result<void>();
    Ref<Node> node(nodes_.get(pod->spec.nodeName));
    std::vector<corev1::Taint> noExecute;
    if (node)
      for (const auto& taint : node->spec.taints)
        if (taint.effect == "NoExecute") noExecute.push_back(taint);
    std::optional<int64_t> seconds = noExecute.empty() ? std::nullopt : secondsUntilEviction(*pod, noExecute);
    if (!seconds) {
      dueSince_.erase(key);
      co_return Result<void>();
    }
    auto [since, fresh] = dueSince_.try_emplace(key, context_.env.clock.now());
    env::Duration left = since->second + std::chrono::seconds(*seconds) - context_.env.clock.now();
    if (left > env::Duration::zero()) {
      evictionQueue_->addAfter(key, left);
      co_return Result<void>();
    }
    recorder_.event(pod, "Normal", "TaintManagerEviction", fmt::format("Marking for deletion Pod {}", key));
    auto marked = co_await client::updateStatus<Pod>(context_.client, markDisrupted(pod, context_.env.clock.unixSeconds()));
    if (!marked && isNotFound(marked.error())) co_return Result<void>();
    if (!marked) co_return Unexpected(std::move(marked).error());
    auto gone =
        co_await client::remove<Pod>(context_.client, std::string(pod->metadata.namespace_), std::string(pod->metadata.name));
    if (!gone && !isNotFound(gone.error())) co_return gone;
    co_return Result<void>();
  }

  ControllerContext context_;
  NodeLifecycleConfig config_;
  client::Informer& nodes_;
  client::Informer& leases_;
  client::Informer& pods_;
  std::shared_ptr<client::WorkQueue> taintQueue_;
  std::shared_ptr<client::WorkQueue> evictionQueue_;
  client::EventRecorder recorder_;
  std::map<std::string, Probe> probes_;
  std::map<std::string, Zone> zones_;
  bool allLost_ = false;  // no node of any zone is ready
  std::map<std::string, env::Instant> dueSince_;
};

}  // namespace

std::unique_ptr<Controller> makeNodeLifecycleController(ControllerContext context, NodeLifecycleConfig config) {
  return std::make_unique<NodeLifecycleController>(context, config);
}

}  // namespace knarr::controllers
