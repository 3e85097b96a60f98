#include "controllers/deployment/deployment.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/strings.h"

namespace knarr::controllers {
namespace {

using appsv1::Deployment;
using appsv1::ReplicaSet;

constexpr int kWorkers = 5;  // --concurrent-deployment-syncs
constexpr size_t kRevisionHistoryBytesMax = 2000;
constexpr size_t kNameBytesMax = 253;

bool copyAnnotations(const Deployment& from, Mut<ReplicaSet>& to) {
  bool changed = false;
  for (const auto& [key, value] : from.metadata.annotations) {
    if (isOwnAnnotation(key) ||
        (to->metadata.annotations.contains(key) && schema::valueOf(to->metadata.annotations, key) == value))
      continue;
    schema::set(to->metadata.annotations, to.arena(), key, value);
    changed = true;
  }
  return changed;
}

void setReplicasAnnotations(Mut<ReplicaSet>& rs, const Deployment& d) {
  int wanted = d.spec.replicas.valueOr(0);
  schema::set(rs->metadata.annotations, rs.arena(), kDesiredReplicasAnnotation, fmt::format("{}", wanted));
  schema::set(rs->metadata.annotations, rs.arena(), kMaxReplicasAnnotation, fmt::format("{}", wanted + rollingBounds(d).surge));
}

// Raises the revision of a ReplicaSet that is new again (a roll-back), remembering the former one.
bool raiseRevision(Mut<ReplicaSet>& rs, int64_t revision) {
  int64_t current = revisionOf(rs->metadata);
  if (current >= revision) return false;
  if (current > 0) {
    std::string history(schema::valueOf(rs->metadata.annotations, kRevisionHistoryAnnotation));
    history += fmt::format("{}{}", history.empty() ? "" : ",", current);
    while (history.size() > kRevisionHistoryBytesMax && history.find(',') != std::string::npos)
      history.erase(0, history.find(',') + 1);
    schema::set(rs->metadata.annotations, rs.arena(), kRevisionHistoryAnnotation, history);
  }
  schema::set(rs->metadata.annotations, rs.arena(), kRevisionAnnotation, fmt::format("{}", revision));
  return true;
}

class DeploymentController : public Controller {
 public:
  explicit DeploymentController(ControllerContext context)
      : context_(context),
        deployments_(context.informers.informer<Deployment>()),
        replicaSets_(context.informers.informer<ReplicaSet>()),
        pods_(context.informers.informer<corev1::Pod>()),
        queue_(std::make_shared<client::WorkQueue>(context.env, "deployment")),
        recorder_(context.env, context.client, "deployment-controller", "") {
    addControllerUidIndex(replicaSets_);
    addControllerUidIndex(pods_);
    deployments_.addHandler({[this](const Ref<>& d) { queue_->add(client::keyOf(d)); },
                             [this](const Ref<>&, const Ref<>& d) { queue_->add(client::keyOf(d)); },
                             [this](const Ref<>& d) { queue_->add(client::keyOf(d)); }});
    replicaSets_.addHandler({[this](const Ref<>& rs) { replicaSetChanged(rs); },
                             [this](const Ref<>& before, const Ref<>& rs) {
                               replicaSetChanged(before);
                               replicaSetChanged(rs);
                             },
                             [this](const Ref<>& rs) { replicaSetChanged(rs); }});
    pods_.addHandler({{}, {}, [this](const Ref<>& pod) { podDeleted(pod); }});
  }

  std::string_view name() const override { return "deployment-controller"; }

  Task<void> run(StopToken stop) override {
    return runController(&context_, queue_, kWorkers, [this](std::string key) { return sync(std::move(key)); }, &recorder_, stop);
  }

 private:
  void replicaSetChanged(const Ref<>& object) {
    const metav1::ObjectMeta& metadata = schema::metadataOf(object);
    if (const metav1::OwnerReference* owner = controllerOf(metadata)) {
      Ref<> d = owner->kind == "Deployment" ? deployments_.get(metadata.namespace_, owner->name) : Ref<>();
      if (d && schema::metadataOf(d).uid == owner->uid) queue_->add(client::keyOf(d));
      return;
    }
    for (const Ref<Deployment>& d : client::Lister<Deployment>(deployments_).list(metadata.namespace_)) {
      auto selector = apimachinery::LabelSelector::from(d->spec.selector);
      if (selector && !selector->empty() && selector->matches(metadata.labels)) queue_->add(client::keyOf(d));
    }
  }

  // Only a Recreate waits for pods to go.
  void podDeleted(const Ref<>& pod) {
    const metav1::ObjectMeta& metadata = schema::metadataOf(pod);
    const metav1::OwnerReference* owner = controllerOf(metadata);
    Ref<> rs = owner && owner->kind == "ReplicaSet" ? replicaSets_.get(metadata.namespace_, owner->name) : Ref<>();
    if (rs) replicaSetChanged(rs);
  }

  int64_t now() const { return context_.env.clock.unixSeconds(); }

  Task<Result<void>> sync(std::string key) {
    Ref<Deployment> d(deployments_.get(key));
    if (!d) co_return Result<void>();
    auto selector = apimachinery::LabelSelector::from(d->spec.selector);
    if (!selector) co_return Result<void>();
    if (selector->empty()) {
      recorder_.event(d, "Warning", "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.");
      if (d->status.observedGeneration >= d->metadata.generation) co_return Result<void>();
      Mut<Deployment> next = schema::edit(d);
      next->status.observedGeneration = d->metadata.generation;
      CO_TRY(co_await client::updateStatus<Deployment>(context_.client, std::move(next)));
      co_return Result<void>();
    }
    std::vector<Ref<>> candidates = replicaSets_.byIndex(kControllerUidIndex, d->metadata.uid);
    for (Ref<>& orphan : replicaSets_.byIndex(kControllerUidIndex, ""))
      if (schema::metadataOf(orphan).namespace_ == d->metadata.namespace_) candidates.push_back(orphan);
    std::vector<Ref<>> mine =
        CO_TRY(co_await claimObjects(&context_.client, &client::resourceOf<ReplicaSet>(), d, std::move(candidates), *selector));
    ReplicaSets all;
    for (Ref<>& object : mine) all.emplace_back(std::move(object));
    if (d->metadata.deletionTimestamp) co_return co_await writeStatus(d, all, findNewReplicaSet(*d, all), false);
    d = CO_TRY(co_await checkPaused(d));
    if (auto revision = rollbackRevision(*d); revision && !d->spec.paused)
      co_return co_await rollBack(d, std::move(all), *revision);
    if (d->spec.paused || isScalingEvent(*d, all)) {
      Ref<ReplicaSet> newReplicaSet = findNewReplicaSet(*d, all);
      CO_TRY(co_await applySteps(d, decideProportionalScale(*d, all, newReplicaSet), &all));
      if (d->spec.paused) CO_TRY(co_await cleanUp(d, all, newReplicaSet));
      co_return co_await writeStatus(d, all, findNewReplicaSet(*d, all), false);
    }
    if (d->spec.strategy.type == "Recreate") co_return co_await recreate(d, std::move(all));
    co_return co_await rollingUpdate(d, std::move(all));
  }

  Task<Result<void>> rollBack(Ref<Deployment> d, ReplicaSets all, int64_t revision) {
    CO_TRY(co_await ensureNewReplicaSet(&d, &all));
    Rollback rollback = decideRollback(d, all, revision);
    auto updated = co_await client::update<Deployment>(context_.client, std::move(rollback.next));
    if (!updated) co_return Unexpected(std::move(updated).error());
    recorder_.event(d, rollback.eventType, rollback.reason, rollback.message);
    co_return Result<void>();
  }

  Task<Result<Ref<Deployment>>> checkPaused(Ref<Deployment> d) {
    if (!hasProgressDeadline(*d)) co_return d;
    const appsv1::DeploymentCondition* progressing = deploymentCondition(d->status, "Progressing");
    if (progressing && progressing->reason == "ProgressDeadlineExceeded") co_return d;
    bool saysPaused = progressing && progressing->reason == "DeploymentPaused";
    if (d->spec.paused == saysPaused) co_return d;
    Mut<Deployment> next = schema::edit(d);
    if (d->spec.paused)
      setDeploymentCondition(next, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now());
    else
      setDeploymentCondition(next, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now());
    co_return co_await client::updateStatus<Deployment>(context_.client, std::move(next));
  }

  Task<Result<void>> rollingUpdate(Ref<Deployment> d, ReplicaSets all) {
    Ref<ReplicaSet> newReplicaSet = CO_TRY(co_await ensureNewReplicaSet(&d, &all));
    std::vector<ScaleStep> steps = decideRollingStep(*d, all, newReplicaSet);
    bool scaled = !steps.empty();
    CO_TRY(co_await applySteps(d, std::move(steps), &all));
    if (!scaled && isComplete(*d, d->status)) CO_TRY(co_await cleanUp(d, all, newReplicaSet));
    co_return co_await writeStatus(d, all, findNewReplicaSet(*d, all));
  }

  Task<Result<void>> recreate(Ref<Deployment> d, ReplicaSets all) {
    Ref<ReplicaSet> newReplicaSet = findNewReplicaSet(*d, all);
    std::vector<ScaleStep> steps;
    bool oldPods = false;
    for (const auto& rs : all) {
      if (rs == newReplicaSet) continue;
      if (rs->spec.replicas.valueOr(0) > 0) steps.push_back({rs, 0});
      for (const Ref<>& object : pods_.byIndex(kControllerUidIndex, rs->metadata.uid)) {
        schema::Str phase = Ref<corev1::Pod>(object)->status.phase;
        oldPods = oldPods || (phase != "Failed" && phase != "Succeeded");
      }
    }
    if (!steps.empty()) {
      CO_TRY(co_await applySteps(d, std::move(steps), &all));
      co_return co_await writeStatus(d, all, newReplicaSet);
    }
    if (oldPods) co_return co_await writeStatus(d, all, newReplicaSet);
    newReplicaSet = CO_TRY(co_await ensureNewReplicaSet(&d, &all));
    if (newReplicaSet->spec.replicas.valueOr(0) != d->spec.replicas.valueOr(0))
      CO_TRY(co_await applySteps(d, {{newReplicaSet, d->spec.replicas.valueOr(0)}}, &all));
    if (isComplete(*d, d->status)) CO_TRY(co_await cleanUp(d, all, newReplicaSet));
    co_return co_await writeStatus(d, all, findNewReplicaSet(*d, all));
  }

  // The ReplicaSet of the current template, made when there is none; its revision and the Deployment's are brought up.
  Task<Result<Ref<ReplicaSet>>> ensureNewReplicaSet(Ref<Deployment>* d, ReplicaSets* all) {
    int64_t revision = 1;
    Ref<ReplicaSet> found = findNewReplicaSet(**d, *all);
    for (const auto& rs : *all)
      if (rs != found) revision = std::max(revision, revisionOf(rs->metadata) + 1);
    if (!found) co_return co_await createNewReplicaSet(d, all, revision);
    Mut<ReplicaSet> next = schema::edit(found);
    bool changed = copyAnnotations(**d, next);
    changed = raiseRevision(next, revision) || changed;
    if (next->spec.minReadySeconds != (*d)->spec.minReadySeconds) {
      next->spec.minReadySeconds = (*d)->spec.minReadySeconds;
      changed = true;
    }
    if (changed) {
      Ref<ReplicaSet> updated = CO_TRY(co_await client::update<ReplicaSet>(context_.client, std::move(next)));
      std::replace(all->begin(), all->end(), found, updated);
      found = updated;
    }
    CO_TRY(co_await followRevision(d, found, "FoundNewReplicaSet",
                                   fmt::format("Found new replica set \"{}\"", found->metadata.name), false));
    co_return found;
  }

  // Writes the revision of the new ReplicaSet to the Deployment, and a first Progressing condition (or `always`).
  Task<Result<void>> followRevision(Ref<Deployment>* d, Ref<ReplicaSet> rs, std::string reason, std::string message,
                                    bool always) {
    schema::Str revision = schema::valueOf(rs->metadata.annotations, kRevisionAnnotation);
    bool sameRevision = schema::valueOf((*d)->metadata.annotations, kRevisionAnnotation) == revision;
    bool wantsCondition = hasProgressDeadline(**d) && (always || !deploymentCondition((*d)->status, "Progressing"));
    if (sameRevision && !wantsCondition) co_return Result<void>();
    Mut<Deployment> next = schema::edit(*d);
    schema::set(next->metadata.annotations, next.arena(), kRevisionAnnotation, revision);
    if (wantsCondition) setDeploymentCondition(next, "Progressing", "True", reason, message, now());
    *d = CO_TRY(co_await client::updateStatus<Deployment>(context_.client, std::move(next)));
    co_return Result<void>();
  }

  Mut<ReplicaSet> newReplicaSetOf(const Ref<Deployment>& d, const ReplicaSets& all, int64_t revision) const {
    Mut<ReplicaSet> rs = schema::newObject<ReplicaSet>();
    Arena& arena = rs.arena();
    std::optional<int32_t> collisions;
    if (d->status.collisionCount) collisions = *d->status.collisionCount;
    std::string hash = podTemplateHash(d->spec.template_, collisions);
    std::string base(d->metadata.name.substr(0, kNameBytesMax - 1 - hash.size()));
    rs->metadata.name = rs.str(fmt::format("{}-{}", base, hash));
    rs->metadata.namespace_ = rs.str(d->metadata.namespace_);
    schema::deepCopy(schema::typeInfoOf<corev1::PodTemplateSpec>(), &rs->spec.template_, &d->spec.template_, arena);
    schema::set(rs->spec.template_.metadata.labels, arena, kPodTemplateHashLabel, hash);
    rs->spec.selector = schema::copyInto(arena, *d->spec.selector);
    schema::set(rs->spec.selector->matchLabels, arena, kPodTemplateHashLabel, hash);
    for (const auto& [key, value] : rs->spec.template_.metadata.labels) schema::set(rs->metadata.labels, arena, key, value);
    setControllerReference(rs->metadata, arena, d);
    rs->spec.minReadySeconds = d->spec.minReadySeconds;
    copyAnnotations(*d, rs);
    schema::set(rs->metadata.annotations, arena, kRevisionAnnotation, fmt::format("{}", revision));
    setReplicasAnnotations(rs, *d);
    int wanted = d->spec.replicas.valueOr(0), size = wanted;
    if (d->spec.strategy.type == "RollingUpdate") {
      int total = 0, surge = 0;
      for (const auto& other : all) total += other->spec.replicas.valueOr(0);
      if (const auto* rolling = d->spec.strategy.rollingUpdate; rolling && rolling->maxSurge)
        surge = scaledValue(*rolling->maxSurge, wanted, true);
      size = std::max(0, std::min(wanted + surge - total, wanted));
    }
    rs->spec.replicas = size;
    return rs;
  }

  Task<Result<Ref<ReplicaSet>>> createNewReplicaSet(Ref<Deployment>* d, ReplicaSets* all, int64_t revision) {
    Mut<ReplicaSet> wanted = newReplicaSetOf(*d, *all, revision);
    std::string nameSpace(wanted->metadata.namespace_), name(wanted->metadata.name);
    int32_t size = wanted->spec.replicas.valueOr(0);
    auto made = co_await client::create<ReplicaSet>(context_.client, nameSpace, std::move(wanted));
    if (!made && isAlreadyExists(made.error())) {
      Ref<ReplicaSet> have = CO_TRY(co_await client::get<ReplicaSet>(context_.client, nameSpace, name));
      const metav1::OwnerReference* owner = controllerOf(have->metadata);
      if (owner && owner->uid == (*d)->metadata.uid && equalIgnoreHash(have->spec.template_, (*d)->spec.template_)) {
        all->push_back(have);
        co_return have;
      }
      // Another template has the same hash: the count makes the next name differ.
      Mut<Deployment> next = schema::edit(*d);
      next->status.collisionCount = next->status.collisionCount.valueOr(0) + 1;
      CO_TRY(co_await client::updateStatus<Deployment>(context_.client, std::move(next)));
      co_return Unexpected(std::move(made).error());
    }
    if (!made) {
      if (!isNamespaceTerminating(made.error())) {
        std::string message = fmt::format("Failed to create new replica set \"{}\": {}", name, made.error().message());
        recorder_.event(*d, "Warning", "ReplicaSetCreateError", message);
        if (hasProgressDeadline(**d)) {
          Mut<Deployment> next = schema::edit(*d);
          setDeploymentCondition(next, "Progressing", "False", "ReplicaSetCreateError", message, now());
          CO_TRY(co_await client::updateStatus<Deployment>(context_.client, std::move(next)));
        }
      }
      co_return Unexpected(std::move(made).error());
    }
    all->push_back(*made);
    if (size > 0)
      recorder_.event(*d, "Normal", "ScalingReplicaSet", fmt::format("Scaled up replica set {} from 0 to {}", name, size));
    CO_TRY(co_await followRevision(d, *made, "NewReplicaSetCreated", fmt::format("Created new replica set \"{}\"", name), true));
    co_return *made;
  }

  Task<Result<void>> applySteps(Ref<Deployment> d, std::vector<ScaleStep> steps, ReplicaSets* all) {
    for (size_t i = 0; i < steps.size(); ++i) {
      Ref<ReplicaSet> before = steps[i].replicaSet;
      Mut<ReplicaSet> next = schema::edit(before);
      next->spec.replicas = steps[i].replicas;
      setReplicasAnnotations(next, *d);
      if (schema::equal(*next, *before)) continue;
      Ref<ReplicaSet> updated = CO_TRY(co_await client::update<ReplicaSet>(context_.client, std::move(next)));
      std::replace(all->begin(), all->end(), before, updated);
      int from = before->spec.replicas.valueOr(0), to = steps[i].replicas;
      if (from != to)
        recorder_.event(
            d, "Normal", "ScalingReplicaSet",
            fmt::format("Scaled {} replica set {} from {} to {}", to > from ? "up" : "down", before->metadata.name, from, to));
    }
    co_return Result<void>();
  }

  Task<Result<void>> cleanUp(Ref<Deployment> d, ReplicaSets all, Ref<ReplicaSet> newReplicaSet) {
    ReplicaSets old;
    for (const auto& rs : all)
      if (!newReplicaSet || rs->metadata.uid != newReplicaSet->metadata.uid) old.push_back(rs);
    ReplicaSets gone = decideCleanup(*d, old);
    for (size_t i = 0; i < gone.size(); ++i) {
      auto removed = co_await client::remove<ReplicaSet>(context_.client, std::string(gone[i]->metadata.namespace_),
                                                         std::string(gone[i]->metadata.name));
      if (!removed && !isNotFound(removed.error())) co_return removed;
    }
    co_return Result<void>();
  }

  // `rollout`: with the conditions of a roll-out, and a look at its deadline.
  Task<Result<void>> writeStatus(Ref<Deployment> d, ReplicaSets all, Ref<ReplicaSet> newReplicaSet, bool rollout = true) {
    Mut<Deployment> next =
        rollout ? calculateRolloutStatus(d, all, newReplicaSet, now()) : calculateDeploymentStatus(d, all, newReplicaSet, now());
    if (!schema::equal(next->status, d->status)) {
      CO_TRY(co_await client::updateStatus<Deployment>(context_.client, std::move(next)));
      co_return Result<void>();
    }
    // Nothing moved: look again when the deadline has passed. Source: progress.go, requeueStuckDeployment.
    const appsv1::DeploymentCondition* progressing = deploymentCondition(d->status, "Progressing");
    bool waiting = rollout && hasProgressDeadline(*d) && progressing && !isComplete(*d, d->status) &&
                   progressing->reason != "ProgressDeadlineExceeded";
    if (!waiting) co_return Result<void>();
    int64_t left = progressing->lastUpdateTime.unixSeconds() + *d->spec.progressDeadlineSeconds - now();
    if (left < 1)
      queue_->addRateLimited(client::keyOf(d));
    else
      queue_->addAfter(client::keyOf(d), std::chrono::seconds(left + 1));
    co_return Result<void>();
  }

  ControllerContext context_;
  client::Informer& deployments_;
  client::Informer& replicaSets_;
  client::Informer& pods_;
  std::shared_ptr<client::WorkQueue> queue_;
  client::EventRecorder recorder_;
};

}  // namespace

std::unique_ptr<Controller> makeDeploymentController(ControllerContext context) {
  return std::make_unique<DeploymentController>(context);
}

}  // namespace knarr::controllers
