#include "scheduler/scheduler.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "base/log.h"
#include "client/event_recorder.h"
#include "scheduler/framework.h"
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
std::string shortened(const std::string& note) { return note.size() <= kNoteBytesMax ? note : note.substr(0, kNoteBytesMax - 4) + " ..."; }
}  // namespace

class Scheduler::Impl {
 public:
  Impl(env::Env environment, client::Client& client, client::InformerFactory& informers, SchedulerConfig config)
      : env_(environment),
        client_(client),
        config_(std::move(config)),
        informers_(informers),
        pods_(informers.informer<Pod>()),
        queue_(environment, config_.backOffInitial, config_.backOffMax),
        recorder_(environment, client, config_.schedulerName, ""),
        gate_(environment.executor) {
    informers.informer<Node>().addHandler({[this](const schema::Ref<>& node) { nodeChanged(node); },
                                           [this](const schema::Ref<>&, const schema::Ref<>& node) { nodeChanged(node); },
                                           [this](const schema::Ref<>& node) { nodeGone(node); }});
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

  void nodeChanged(const schema::Ref<>& node) {
    nodes_[client::keyOf(node)].setNode(schema::Ref<Node>(node));
    queue_.moveAllToActive();
  }
  void nodeGone(const schema::Ref<>& node) {
    auto found = nodes_.find(client::keyOf(node));
    if (found == nodes_.end()) return;
    found->second.setNode(nullptr);
    if (found->second.pods.empty()) nodes_.erase(found);
  }

  // The one place a pod takes room in; a former one is given up.
  void place(const schema::Ref<Pod>& pod, const std::string& node) {
    std::string uid(pod->metadata.uid);
    auto [at, fresh] = placed_.try_emplace(uid, node);
    if (!fresh && at->second != node) {
      giveUpRoom(uid, at->second);
      at->second = node;
    }
    nodes_[node].addPod(pod);
  }
  // Whether it took any room.
  bool unplace(const std::string& uid) {
    auto found = placed_.find(uid);
    if (found == placed_.end()) return false;
    giveUpRoom(uid, found->second);
    placed_.erase(found);
    return true;
  }
  void giveUpRoom(const std::string& uid, const std::string& node) {
    auto found = nodes_.find(node);
    if (found == nodes_.end()) return;
    found->second.removePod(uid);
    if (!found->second.node && found->second.pods.empty()) nodes_.erase(found);
  }

  void podChanged(schema::Ref<Pod> before, schema::Ref<Pod> pod) {
    std::string uid(pod->metadata.uid);
    if (!pod->spec.nodeName.empty()) {
      assumed_.erase(uid);
      queue_.remove(client::keyOf(pod));
      if (isDone(*pod))
        forget(uid);
      else
        place(pod, std::string(pod->spec.nodeName));
      return;
    }
    if (!isOurs(*pod) || pod->metadata.deletionTimestamp || !pod->spec.schedulingGates.empty() || assumed_.contains(uid)) return;
    // A status write of our own is no reason to try again at once.
    if (before && schema::equal(before->spec, pod->spec) && before->metadata.labels.size() == pod->metadata.labels.size()) {
      queue_.keep(client::keyOf(pod), pod->spec.priority.valueOr(0));
      return;
    }
    queue_.add(client::keyOf(pod), pod->spec.priority.valueOr(0));
  }

  void forget(const std::string& uid) {
    if (unplace(uid)) queue_.moveAllToActive();
  }

  // The last known object may be from before its binding: the room is found by uid.
  void podGone(const schema::Ref<Pod>& pod) {
    std::string uid(pod->metadata.uid);
    queue_.remove(client::keyOf(pod));
    assumed_.erase(uid);
    forget(uid);
  }

  Task<void> scheduleOne(std::string key) {
    schema::Ref<Pod> pod(pods_.get(key));
    if (!pod || !pod->spec.nodeName.empty() || pod->metadata.deletionTimestamp) co_return;
    Decision decision = schedulePod(*pod, nodes_, [this](size_t n) { return static_cast<size_t>(env_.random.below(n)); });
    if (decision.node.empty()) {
      co_await reportUnschedulable(pod, decision.message);
      co_return;
    }
    // Assumed before the write is answered, so that the next pod sees the room taken.
    Mut<Pod> assumed = schema::edit(pod);
    assumed->spec.nodeName = assumed.str(decision.node);
    schema::Ref<Pod> placed = std::move(assumed).publish();
    place(placed, decision.node);
    assumed_.insert(std::string(pod->metadata.uid));
    gate_.spawn(bind(this, pod, decision.node));
  }

  static Task<void> bind(Impl* self, schema::Ref<Pod> pod, std::string node) {
    Mut<corev1::Binding> binding = schema::newObject<corev1::Binding>();
    binding->metadata.name = binding.str(pod->metadata.name);
    binding->metadata.namespace_ = binding.str(pod->metadata.namespace_);
    binding->metadata.uid = binding.str(pod->metadata.uid);
    binding->target.kind = "Node";
    binding->target.name = binding.str(node);
    std::string nameSpace(pod->metadata.namespace_), name(pod->metadata.name), uid(pod->metadata.uid);
    auto bound = co_await self->client_.create(client::resourceOf<Pod>("binding"), nameSpace, name, std::move(binding));
    if (bound) {
      self->queue_.forget(client::keyOf(pod));
      self->recorder_.event(pod, "Normal", "Scheduled", fmt::format("Successfully assigned {}/{} to {}", nameSpace, name, node));
      co_return;
    }
    // Assumed no more: the watch has told meanwhile where the pod is, or that it is gone.
    if (self->assumed_.erase(uid) == 0) co_return;
    self->forget(uid);
    if (isNotFound(bound.error())) co_return;
    logWarning("scheduler", "binding {}/{} to {} failed: {}", nameSpace, name, node, bound.error().describe());
    self->recorder_.event(pod, "Warning", "FailedScheduling", fmt::format("binding rejected: {}", bound.error().message()));
    self->queue_.addBackOff(client::keyOf(pod), pod->spec.priority.valueOr(0));
  }

  Task<void> reportUnschedulable(schema::Ref<Pod> pod, std::string message) {
    queue_.addUnschedulable(client::keyOf(pod), pod->spec.priority.valueOr(0));
    recorder_.event(pod, "Warning", "FailedScheduling", shortened(message));
    Mut<Pod> next = schema::edit(pod);
    corev1::PodCondition* condition = nullptr;
    for (auto& one : next->status.conditions)
      if (one.type == "PodScheduled") condition = &one;
    if (condition && condition->status == "False" && condition->reason == "Unschedulable" && condition->message == message) co_return;
    if (!condition) condition = &next->status.conditions.append(next.arena());
    if (condition->status != "False") condition->lastTransitionTime = schema::Time::fromUnix(env_.clock.unixSeconds());
    condition->type = "PodScheduled";
    condition->status = "False";
    condition->reason = "Unschedulable";
    condition->message = next.str(message);
    condition->observedGeneration = pod->metadata.generation;
    auto updated = co_await client::updateStatus<Pod>(client_, std::move(next));
    if (!updated && !isNotFound(updated.error()) && !isConflict(updated.error()))
      logWarning("scheduler", "writing the condition of {}: {}", client::keyOf(pod), updated.error().describe());
  }

  env::Env env_;
  client::Client& client_;
  SchedulerConfig config_;
  client::InformerFactory& informers_;
  client::Informer& pods_;
  SchedulingQueue queue_;
  client::EventRecorder recorder_;
  async::Gate gate_;
  Nodes nodes_;
  std::set<std::string> assumed_;               // uids of pods whose binding is under way
  std::map<std::string, std::string> placed_;  // uid to the node whose room the pod takes
};

Scheduler::Scheduler(env::Env environment, client::Client& client, client::InformerFactory& informers, SchedulerConfig config)
    : impl_(std::make_unique<Impl>(environment, client, informers, std::move(config))) {}
Scheduler::~Scheduler() = default;
Task<void> Scheduler::run(StopToken stop) { return impl_->run(std::move(stop)); }

}  // namespace knarr::scheduler
