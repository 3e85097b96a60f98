#include "scheduler/scheduler.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "base/log.h"
#include "client/event_recorder.h"
#include "scheduler/framework.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/scheduling_queue.h"

namespace knarr::scheduler {

using async::StopToken;
using async::Task;
using corev1::Node;
using corev1::Pod;
using schema::Mut;

namespace {
// Source: pkg/scheduler/schedule_one.go, truncateMessage: the longest note of an event.
constexpr size_t kNoteBytesMax = 1024;
std::string shortened(const std::string& note) {
  return note.size() <= kNoteBytesMax ? note : note.substr(0, kNoteBytesMax - 4) + " ...";
}
}  // namespace

class Scheduler::Impl {
 public:
  Impl(env::Env environment, client::Client& client, client::InformerFactory& informers, SchedulerConfig config)
      : env_(environment),
        client_(client),
        config_(std::move(config)),
        informers_(informers),
        pods_(informers.informer<Pod>()),
        framework_(defaultPlugins()),
        queue_(environment, framework_.queueSort(), config_.backOffInitial, config_.backOffMax),
        recorder_(environment, client, config_.schedulerName, ""),
        gate_(environment.executor) {
    informers.informer<Node>().addHandler({[this](const schema::Ref<>& node) { nodeAdded(schema::Ref<Node>(node)); },
                                           [this](const schema::Ref<>& before, const schema::Ref<>& node) {
                                             nodeChanged(schema::Ref<Node>(before), schema::Ref<Node>(node));
                                           },
                                           [this](const schema::Ref<>& node) { nodeGone(schema::Ref<Node>(node)); }});
    pods_.addHandler({[this](const schema::Ref<>& pod) { podChanged(nullptr, schema::Ref<Pod>(pod)); },
                      [this](const schema::Ref<>& before, const schema::Ref<>& pod) {
                        podChanged(schema::Ref<Pod>(before), schema::Ref<Pod>(pod));
                      },
                      [this](const schema::Ref<>& pod) { podGone(schema::Ref<Pod>(pod)); }});
  }

  Task<void> run(StopToken stop) {
    auto registration = stop.onStop([this] { queue_.close(); });
    gate_.spawn(recorder_.run(stop));
    // Before the nodes are known every pod would be called unschedulable.
    bool synced = co_await informers_.waitForSync(stop);
    while (synced) {
      auto key = co_await queue_.pop();
      if (!key) break;
      co_await scheduleOne(std::move(*key));
    }
    co_await gate_.close();
  }

 private:
  bool isOurs(const Pod& pod) const { return pod.spec.schedulerName == config_.schedulerName; }
  static bool isDone(const Pod& pod) { return pod.status.phase == "Succeeded" || pod.status.phase == "Failed"; }

  // Pods that wait in the pool are tried again when a plugin that refused them says that the event may help.
  void moveOn(const ClusterEvent& event) {
    if (!framework_.isInteresting(event)) return;
    queue_.moveIf([&](const std::string& key, PluginSet rejectedBy) {
      schema::Ref<Pod> pod(pods_.get(key));
      return pod && framework_.isWorthRequeuing(*pod, rejectedBy, event);
    });
  }
  void moveOnGone(const Pod& pod) { moveOn({.resource = EventResource::kAssignedPod, .action = kDelete, .podBefore = &pod}); }

  void nodeAdded(const schema::Ref<Node>& node) {
    cache_.setNode(node);
    moveOn({.resource = EventResource::kNode, .action = kAdd, .node = &*node});
  }
  void nodeChanged(const schema::Ref<Node>& before, const schema::Ref<Node>& node) {
    cache_.setNode(node);
    for (ActionType action : nodeUpdateActions(*before, *node))
      moveOn({.resource = EventResource::kNode, .action = action, .nodeBefore = &*before, .node = &*node});
  }
  void nodeGone(const schema::Ref<Node>& node) {
    moveOn({.resource = EventResource::kNode, .action = kDelete, .nodeBefore = &*node});
    cache_.removeNode(std::string(node->metadata.name));
  }

  void podChanged(schema::Ref<Pod> before, schema::Ref<Pod> pod) {
    if (pod->spec.nodeName.empty()) return unassignedPodChanged(before, pod);
    std::string uid(pod->metadata.uid);
    assumed_.erase(uid);
    queue_.remove(client::keyOf(pod));
    if (isDone(*pod)) {
      // It takes no room any more, as if it were gone.
      if (cache_.removePod(uid)) moveOnGone(*pod);
      return;
    }
    cache_.addPod(pod, std::string(pod->spec.nodeName));
    if (!before || before->spec.nodeName.empty())
      return moveOn({.resource = EventResource::kAssignedPod, .action = kAdd, .pod = &*pod});
    for (ActionType action : podUpdateActions(*before, *pod))
      moveOn({.resource = EventResource::kAssignedPod, .action = action, .podBefore = &*before, .pod = &*pod});
  }

  void unassignedPodChanged(const schema::Ref<Pod>& before, const schema::Ref<Pod>& pod) {
    if (!isOurs(*pod) || assumed_.contains(std::string(pod->metadata.uid))) return;
    std::string key = client::keyOf(pod);
    if (isDone(*pod)) return queue_.remove(key);
    if (framework_.preEnqueue(*pod)) return;
    if (!before || !queue_.contains(key)) return queue_.add(key, pod->spec.priority.valueOr(0));
    for (ActionType action : podUpdateActions(*before, *pod)) {
      ClusterEvent event{.resource = EventResource::kUnscheduledPod, .action = action, .podBefore = &*before, .pod = &*pod};
      queue_.moveIf(
          key, [&](const std::string&, PluginSet rejectedBy) { return framework_.isWorthRequeuing(*pod, rejectedBy, event); });
    }
  }

  // The last known object may be from before its binding: the room is found by uid.
  void podGone(const schema::Ref<Pod>& pod) {
    std::string uid(pod->metadata.uid);
    queue_.remove(client::keyOf(pod));
    assumed_.erase(uid);
    const schema::Ref<Pod>* placed = cache_.findPod(uid);
    if (!placed) return;
    schema::Ref<Pod> held = *placed;
    cache_.removePod(uid);
    moveOnGone(*held);
  }

  Task<void> scheduleOne(std::string key) {
    schema::Ref<Pod> pod(pods_.get(key));
    if (!pod || !pod->spec.nodeName.empty() || assumed_.contains(std::string(pod->metadata.uid))) co_return;
    if (pod->metadata.deletionTimestamp) {
      recorder_.event(pod, "Warning", "FailedScheduling", fmt::format("skip schedule deleting pod: {}", key));
      co_return;
    }
    Decision decision =
        framework_.schedulePod(*pod, cache_, [this](size_t n) { return static_cast<size_t>(env_.random.below(n)); });
    if (decision.node.empty()) {
      queue_.addUnschedulable(key, pod->spec.priority.valueOr(0), decision.rejectedBy);
      co_await reportFailure(this, pod, std::move(decision.message), "Unschedulable");
      co_return;
    }
    if (auto refused = framework_.reserve(*pod, decision.node)) {
      queue_.addBackOff(key, pod->spec.priority.valueOr(0));
      co_await reportFailure(this, pod, fmt::format("0/1 nodes are available: 1 {}.", *refused), "Unschedulable");
      co_return;
    }
    // Assumed before the write is answered, so that the next pod sees the room taken.
    Mut<Pod> assumed = schema::edit(pod);
    assumed->spec.nodeName = assumed.str(decision.node);
    cache_.addPod(std::move(assumed).publish(), decision.node);
    assumed_.insert(std::string(pod->metadata.uid));
    gate_.spawn(bind(this, pod, decision.node));
  }

  static Task<void> bind(Impl* self, schema::Ref<Pod> pod, std::string node) {
    std::string key = client::keyOf(pod), uid(pod->metadata.uid);
    auto bound = co_await self->framework_.bind(&self->client_, pod, node);
    if (bound) {
      self->queue_.remove(key);
      self->recorder_.event(pod, "Normal", "Scheduled", fmt::format("Successfully assigned {} to {}", key, node));
      co_return;
    }
    self->framework_.unreserve(*pod, node);
    // Assumed no more: the watch has told meanwhile where the pod is, or that it is gone.
    if (self->assumed_.erase(uid) == 0) co_return;
    if (const schema::Ref<Pod>* placed = self->cache_.findPod(uid)) {
      schema::Ref<Pod> held = *placed;
      self->cache_.removePod(uid);
      self->moveOnGone(*held);
    }
    schema::Ref<Pod> now(self->pods_.get(key));
    if (isNotFound(bound.error()) || !now || now->metadata.uid != uid) co_return;
    logWarning("scheduler", "binding {} to {} failed: {}", key, node, bound.error().describe());
    self->queue_.addBackOff(key, now->spec.priority.valueOr(0));
    co_await reportFailure(self, now, fmt::format("binding rejected: {}", bound.error().message()), "SchedulerError");
  }

  // The event, and the condition when it says something new. Source: schedule_one.go, handleSchedulingFailure.
  static Task<void> reportFailure(Impl* self, schema::Ref<Pod> pod, std::string message, std::string reason) {
    self->recorder_.event(pod, "Warning", "FailedScheduling", shortened(message));
    Mut<Pod> next = schema::edit(pod);
    corev1::PodCondition* condition = nullptr;
    for (auto& one : next->status.conditions)
      if (one.type == "PodScheduled") condition = &one;
    if (condition && condition->status == "False" && condition->reason == reason && condition->message == message) co_return;
    if (!condition) condition = &next->status.conditions.append(next.arena());
    if (condition->status != "False") condition->lastTransitionTime = schema::Time::fromUnix(self->env_.clock.unixSeconds());
    condition->type = "PodScheduled";
    condition->status = "False";
    condition->reason = next.str(reason);
    condition->message = next.str(message);
    condition->observedGeneration = pod->metadata.generation;
    auto updated = co_await client::updateStatus<Pod>(self->client_, std::move(next));
    if (!updated && !isNotFound(updated.error()) && !isConflict(updated.error()))
      logWarning("scheduler", "writing the condition of {}: {}", client::keyOf(pod), updated.error().describe());
  }

  env::Env env_;
  client::Client& client_;
  SchedulerConfig config_;
  client::InformerFactory& informers_;
  client::Informer& pods_;
  Framework framework_;
  SchedulingQueue queue_;
  client::EventRecorder recorder_;
  async::Gate gate_;
  Cache cache_;
  std::set<std::string> assumed_;  // uids of pods whose binding is under way
};

Scheduler::Scheduler(env::Env environment, client::Client& client, client::InformerFactory& informers, SchedulerConfig config)
    : impl_(std::make_unique<Impl>(environment, client, informers, std::move(config))) {}
Scheduler::~Scheduler() = default;
Task<void> Scheduler::run(StopToken stop) { return impl_->run(std::move(stop)); }

}  // namespace knarr::scheduler
