#include "controllers/replicaset/replicaset.h"

#include <fmt/format.h>

#include "base/log.h"

namespace knarr::controllers {
namespace {

using appsv1::ReplicaSet;
using corev1::Pod;

constexpr int kWorkers = 5;  // --concurrent-replicaset-syncs

class ReplicaSetController : public Controller {
 public:
  explicit ReplicaSetController(ControllerContext context)
      : context_(context),
        replicaSets_(context.informers.informer<ReplicaSet>()),
        pods_(context.informers.informer<Pod>()),
        queue_(std::make_shared<client::WorkQueue>(context.env, "replicaset")),
        expectations_(context.env.clock),
        recorder_(context.env, context.client, "replicaset-controller", "") {
    addControllerUidIndex(pods_);
    addControllerUidIndex(replicaSets_);
    replicaSets_.addHandler({[this](const Ref<>& rs) { queue_->add(client::keyOf(rs)); },
                             [this](const Ref<>& before, const Ref<>& rs) {
                               // Another object under the same name owes nothing of what the former one expected.
                               if (schema::metadataOf(before).uid != schema::metadataOf(rs).uid)
                                 expectations_.forget(client::keyOf(rs));
                               queue_->add(client::keyOf(rs));
                             },
                             [this](const Ref<>& rs) {
                               expectations_.forget(client::keyOf(rs));
                               queue_->add(client::keyOf(rs));
                             }});
    pods_.addHandler({[this](const Ref<>& pod) { podAdded(pod); },
                      [this](const Ref<>& before, const Ref<>& pod) { podUpdated(before, pod); },
                      [this](const Ref<>& pod) { podDeleted(pod); }});
  }

  std::string_view name() const override { return "replicaset-controller"; }

  Task<void> run(StopToken stop) override {
    return runController(&context_, queue_, kWorkers, [this](std::string key) { return sync(std::move(key)); }, &recorder_, stop);
  }

 private:
  // The key of the ReplicaSet that controls a pod, "" when none of ours does.
  std::string ownerKey(const Ref<>& pod) const {
    const metav1::ObjectMeta& metadata = schema::metadataOf(pod);
    const metav1::OwnerReference* owner = controllerOf(metadata);
    if (!owner || owner->kind != "ReplicaSet") return "";
    Ref<> rs = replicaSets_.get(metadata.namespace_, owner->name);
    return rs && schema::metadataOf(rs).uid == owner->uid ? client::keyOf(rs) : "";
  }

  void podAdded(const Ref<>& object) {
    Ref<Pod> pod(object);
    if (pod->metadata.deletionTimestamp) {
      podDeleted(object);
      return;
    }
    std::string owner = ownerKey(object);
    if (!owner.empty()) {
      expectations_.creationObserved(owner);
      queue_->add(owner);
      return;
    }
    if (!controllerOf(pod->metadata)) queueMatching(*pod);
  }

  // An orphan may be adopted by any ReplicaSet that selects it.
  void queueMatching(const Pod& pod) {
    for (const Ref<ReplicaSet>& rs : client::Lister<ReplicaSet>(replicaSets_).list(pod.metadata.namespace_)) {
      auto selector = apimachinery::LabelSelector::from(rs->spec.selector);
      if (selector && !selector->empty() && selector->matches(pod.metadata.labels)) queue_->add(client::keyOf(rs));
    }
  }

  void podUpdated(const Ref<>& beforeObject, const Ref<>& object) {
    Ref<Pod> before(beforeObject), pod(object);
    if (pod->metadata.deletionTimestamp && !before->metadata.deletionTimestamp) {
      podDeleted(object);
      return;
    }
    std::string oldOwner = ownerKey(beforeObject), owner = ownerKey(object);
    if (!oldOwner.empty() && oldOwner != owner) queue_->add(oldOwner);
    if (owner.empty()) {
      if (!controllerOf(pod->metadata)) queueMatching(*pod);
      return;
    }
    queue_->add(owner);
    Ref<ReplicaSet> rs(replicaSets_.get(owner));
    if (!isPodReady(*before) && isPodReady(*pod) && rs->spec.minReadySeconds > 0)
      queue_->addAfter(owner, std::chrono::seconds(rs->spec.minReadySeconds + 1));
  }

  void podDeleted(const Ref<>& pod) {
    std::string owner = ownerKey(pod);
    if (owner.empty()) return;
    expectations_.deletionObserved(owner, client::keyOf(pod));
    queue_->add(owner);
  }

  Task<Result<void>> sync(std::string key) {
    Ref<ReplicaSet> rs(replicaSets_.get(key));
    if (!rs) {
      expectations_.forget(key);
      co_return Result<void>();
    }
    bool mayChange = expectations_.satisfied(key);
    auto selector = apimachinery::LabelSelector::from(rs->spec.selector);
    if (!selector) {
      logWarning("replicaset", "{}: {}", key, selector.error().message());
      co_return Result<void>();
    }
    // Pods that ended are neither adopted nor released.
    std::vector<Ref<>> candidates = pods_.byIndex(kControllerUidIndex, rs->metadata.uid);
    std::erase_if(candidates, [&](const Ref<>& pod) {
      return !isPodActive(*Ref<Pod>(pod)) && !selector->matches(schema::metadataOf(pod).labels);
    });
    for (Ref<>& orphan : pods_.byIndex(kControllerUidIndex, ""))
      if (schema::metadataOf(orphan).namespace_ == rs->metadata.namespace_ && isPodActive(*Ref<Pod>(orphan)))
        candidates.push_back(orphan);
    std::vector<Ref<>> mine =
        CO_TRY(co_await claimObjects(&context_.client, &client::resourceOf<Pod>(), rs, std::move(candidates), *selector));
    std::vector<Ref<Pod>> claimed, active;
    for (Ref<>& object : mine) {
      claimed.emplace_back(object);
      if (isPodActive(*claimed.back())) active.push_back(claimed.back());
    }
    Result<void> changed;
    std::string failureReason;
    if (mayChange && !rs->metadata.deletionTimestamp) {
      ReplicaSetPlan plan = decideReplicas(*rs, active, relatedPods(*rs), context_.env.clock.unixSeconds());
      failureReason = plan.create > 0 ? "FailedCreate" : "FailedDelete";
      changed = co_await apply(key, rs, std::move(plan));
    }
    Ref<ReplicaSet> updated = CO_TRY(co_await writeStatus(rs, claimed, failureReason, changed ? "" : changed.error().message()));
    bool waiting = updated->spec.minReadySeconds > 0 && updated->status.readyReplicas != updated->status.availableReplicas;
    if (waiting)
      queue_->addAfter(key, std::chrono::seconds(secondsUntilAvailable(*updated, active, context_.env.clock.unixSeconds())));
    co_return changed;
  }

  // Active pods per node of all ReplicaSets that the owner of this one controls.
  std::map<std::string, int> relatedPods(const ReplicaSet& rs) const {
    std::map<std::string, int> perNode;
    const metav1::OwnerReference* owner = controllerOf(rs.metadata);
    std::vector<schema::Str> siblings{rs.metadata.uid};
    std::vector<Ref<>> owned;
    if (owner) {
      siblings.clear();
      owned = replicaSets_.byIndex(kControllerUidIndex, owner->uid);
      for (const Ref<>& sibling : owned) siblings.push_back(schema::metadataOf(sibling).uid);
    }
    for (schema::Str sibling : siblings)
      for (const Ref<>& object : pods_.byIndex(kControllerUidIndex, sibling)) {
        Ref<Pod> pod(object);
        if (isPodActive(*pod)) ++perNode[std::string(pod->spec.nodeName)];
      }
    return perNode;
  }

  Task<Result<void>> apply(std::string key, Ref<ReplicaSet> rs, ReplicaSetPlan plan) {
    if (plan.create > 0) co_return co_await createPods(std::move(key), rs, plan.create);
    if (plan.remove.empty()) co_return Result<void>();
    std::vector<std::string> keys;
    for (const Ref<Pod>& pod : plan.remove) keys.push_back(client::keyOf(pod));
    expectations_.expectDeletions(key, keys);
    auto failure = std::make_shared<Result<void>>();
    async::Gate gate(context_.env.executor);
    for (const Ref<Pod>& pod : plan.remove) gate.spawn(deletePod(key, rs, pod, failure));
    co_await gate.close();
    co_return *failure;
  }

  Task<void> deletePod(std::string key, Ref<ReplicaSet> rs, Ref<Pod> pod, std::shared_ptr<Result<void>> failure) {
    std::string podKey = client::keyOf(pod), name(pod->metadata.name);
    auto gone = co_await client::remove<Pod>(context_.client, std::string(pod->metadata.namespace_), name);
    if (gone) {
      recorder_.event(rs, "Normal", "SuccessfulDelete", fmt::format("Deleted pod: {}", name));
      co_return;
    }
    expectations_.deletionObserved(key, podKey);
    if (isNotFound(gone.error())) co_return;
    recorder_.event(rs, "Warning", "FailedDelete", fmt::format("Error deleting: {}", gone.error().message()));
    *failure = fail(gone.error().reason(), fmt::format("unable to delete pods: {}", gone.error().message()));
  }

  // Batches of 1, 2, 4, ... so that a refusal costs one request and not hundreds.
  Task<Result<void>> createPods(std::string key, Ref<ReplicaSet> rs, int count) {
    expectations_.expectCreations(key, count);
    auto failure = std::make_shared<Result<void>>();
    int made = 0;
    for (int batch = 1; made < count && *failure; batch = std::min(2 * batch, count - made)) {
      batch = std::min(batch, count - made);
      async::Gate gate(context_.env.executor);
      for (int i = 0; i < batch; ++i) gate.spawn(createPod(key, rs, failure));
      co_await gate.close();
      made += batch;
    }
    for (int skipped = made; skipped < count; ++skipped) expectations_.creationObserved(key);
    if (!*failure && isNamespaceTerminating(failure->error())) co_return Result<void>();
    co_return *failure;
  }

  Task<void> createPod(std::string key, Ref<ReplicaSet> rs, std::shared_ptr<Result<void>> failure) {
    auto made = co_await client::create<Pod>(context_.client, std::string(rs->metadata.namespace_),
                                             podFromTemplate(rs->spec.template_, rs));
    if (made) {
      recorder_.event(rs, "Normal", "SuccessfulCreate", fmt::format("Created pod: {}", (*made)->metadata.name));
      co_return;
    }
    expectations_.creationObserved(key);
    if (!isNamespaceTerminating(made.error()))
      recorder_.event(rs, "Warning", "FailedCreate", fmt::format("Error creating: {}", made.error().message()));
    *failure = Unexpected(std::move(made).error());
  }

  Task<Result<Ref<ReplicaSet>>> writeStatus(Ref<ReplicaSet> rs, std::vector<Ref<Pod>> claimed, std::string reason,
                                            std::string failure) {
    Mut<ReplicaSet> next = calculateStatus(rs, claimed, reason, failure, context_.env.clock.unixSeconds());
    if (schema::equal(next->status, rs->status)) co_return rs;
    Mut<ReplicaSet> again = schema::newObject<ReplicaSet>();
    schema::deepCopy(schema::typeInfoOf<appsv1::ReplicaSetStatus>(), &again->status, &next->status, again.arena());
    auto written = co_await client::updateStatus<ReplicaSet>(context_.client, std::move(next));
    if (written || isNotFound(written.error())) co_return written;
    // Once more on the object as it is now. Source: replica_set_utils.go, updateReplicaSetStatus.
    auto live = CO_TRY(
        co_await client::get<ReplicaSet>(context_.client, std::string(rs->metadata.namespace_), std::string(rs->metadata.name)));
    if (live->metadata.uid != rs->metadata.uid) co_return written;
    Mut<ReplicaSet> retry = schema::edit(live);
    schema::deepCopy(schema::typeInfoOf<appsv1::ReplicaSetStatus>(), &retry->status, &again->status, retry.arena());
    co_return co_await client::updateStatus<ReplicaSet>(context_.client, std::move(retry));
  }

  ControllerContext context_;
  client::Informer& replicaSets_;
  client::Informer& pods_;
  std::shared_ptr<client::WorkQueue> queue_;
  Expectations expectations_;
  client::EventRecorder recorder_;
};

}  // namespace

std::unique_ptr<Controller> makeReplicaSetController(ControllerContext context) {
  return std::make_unique<ReplicaSetController>(context);
}

}  // namespace knarr::controllers
