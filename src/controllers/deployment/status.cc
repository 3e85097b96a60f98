// Status and conditions of a Deployment. Source: pkg/controller/deployment/progress.go and sync.go, calculateStatus.
#include <fmt/format.h>

#include <limits>

#include "controllers/deployment/deployment.h"

namespace knarr::controllers {

using appsv1::Deployment;
using appsv1::DeploymentCondition;
using appsv1::DeploymentStatus;
using appsv1::ReplicaSet;

const DeploymentCondition* deploymentCondition(const DeploymentStatus& status, std::string_view type) {
  for (const DeploymentCondition& condition : status.conditions)
    if (condition.type == type) return &condition;
  return nullptr;
}

bool hasProgressDeadline(const Deployment& d) {
  return d.spec.progressDeadlineSeconds && *d.spec.progressDeadlineSeconds != std::numeric_limits<int32_t>::max();
}

namespace {

void removeCondition(DeploymentStatus& status, std::string_view type) {
  for (size_t i = 0; i < status.conditions.size(); ++i)
    if (status.conditions[i].type == type) {
      status.conditions.eraseAt(i);
      return;
    }
}

bool isProgressing(const DeploymentStatus& before, const DeploymentStatus& now) {
  return now.updatedReplicas > before.updatedReplicas ||
         now.replicas - now.updatedReplicas < before.replicas - before.updatedReplicas ||
         now.readyReplicas > before.readyReplicas || now.availableReplicas > before.availableReplicas;
}

bool timedOut(const Deployment& d, const DeploymentStatus& status, int64_t now) {
  const DeploymentCondition* progressing = deploymentCondition(status, "Progressing");
  if (!progressing || progressing->reason == "NewReplicaSetAvailable") return false;
  if (progressing->reason == "ProgressDeadlineExceeded") return true;
  return progressing->lastUpdateTime.unixSeconds() + *d.spec.progressDeadlineSeconds < now;
}

// "ReplicaSet "x"" or "Deployment "d"" when there is none yet.
std::string subject(const Deployment& d, const Ref<ReplicaSet>& newReplicaSet) {
  return newReplicaSet ? fmt::format("ReplicaSet \"{}\"", newReplicaSet->metadata.name)
                       : fmt::format("Deployment \"{}\"", d.metadata.name);
}

void updateProgressing(const Ref<Deployment>& before, Mut<Deployment>& next, const Ref<ReplicaSet>& newReplicaSet, int64_t now) {
  if (!hasProgressDeadline(*before)) {
    removeCondition(next->status, "Progressing");
    return;
  }
  const DeploymentCondition* current = deploymentCondition(next->status, "Progressing");
  bool settled = next->status.replicas == next->status.updatedReplicas && current && current->reason == "NewReplicaSetAvailable";
  if (settled) return;
  std::string about = subject(*before, newReplicaSet);
  if (isComplete(*before, next->status)) {
    setDeploymentCondition(next, "Progressing", "True", "NewReplicaSetAvailable", about + " has successfully progressed.", now);
  } else if (isProgressing(before->status, next->status)) {
    // Taken away first so that the time of the last update is refreshed even under the same reason.
    schema::Time since = current && current->status == "True" ? current->lastTransitionTime : schema::Time::fromUnix(now);
    removeCondition(next->status, "Progressing");
    setDeploymentCondition(next, "Progressing", "True", "ReplicaSetUpdated", about + " is progressing.", now);
    next->status.conditions.back().lastTransitionTime = since;
  } else if (timedOut(*before, next->status, now)) {
    setDeploymentCondition(next, "Progressing", "False", "ProgressDeadlineExceeded", about + " has timed out progressing.", now);
  }
}

void copyReplicaFailure(Mut<Deployment>& next, const ReplicaSets& all, const Ref<ReplicaSet>& newReplicaSet, int64_t now) {
  const appsv1::ReplicaSetCondition* failure = nullptr;
  auto look = [&](const ReplicaSet& rs) {
    for (const auto& condition : rs.status.conditions)
      if (condition.type == "ReplicaFailure" && !failure) failure = &condition;
  };
  if (newReplicaSet) look(*newReplicaSet);
  for (const auto& rs : all) look(*rs);
  if (failure)
    setDeploymentCondition(next, "ReplicaFailure", failure->status, failure->reason, failure->message, now);
  else
    removeCondition(next->status, "ReplicaFailure");
}

}  // namespace

void setDeploymentCondition(Mut<Deployment>& d, std::string_view type, std::string_view status, std::string_view reason,
                            std::string_view message, int64_t now) {
  DeploymentCondition fresh{};
  fresh.type = d.str(type);
  fresh.status = d.str(status);
  fresh.reason = d.str(reason);
  fresh.message = d.str(message);
  fresh.lastUpdateTime = schema::Time::fromUnix(now);
  fresh.lastTransitionTime = fresh.lastUpdateTime;
  if (const DeploymentCondition* have = deploymentCondition(d->status, type)) {
    if (have->status == status && have->reason == reason) return;
    if (have->status == status) fresh.lastTransitionTime = have->lastTransitionTime;
  }
  removeCondition(d->status, type);
  d->status.conditions.append(d.arena(), fresh);
}

bool isComplete(const Deployment& d, const DeploymentStatus& status) {
  int wanted = d.spec.replicas.valueOr(0);
  return status.updatedReplicas == wanted && status.replicas == wanted && status.availableReplicas == wanted &&
         status.observedGeneration >= d.metadata.generation;
}

Mut<Deployment> calculateDeploymentStatus(const Ref<Deployment>& d, const ReplicaSets& all, const Ref<ReplicaSet>& newReplicaSet,
                                          int64_t now) {
  Mut<Deployment> next = schema::edit(d);
  int32_t replicas = 0, ready = 0, available = 0, wanted = 0, terminating = 0;
  bool terminatingKnown = true;
  for (const auto& rs : all) {
    replicas += rs->status.replicas;
    ready += rs->status.readyReplicas;
    available += rs->status.availableReplicas;
    wanted += rs->spec.replicas.valueOr(0);
    terminating += rs->status.terminatingReplicas.valueOr(0);
    // One that its controller has looked at and that yet tells no number.
    terminatingKnown = terminatingKnown && (rs->status.terminatingReplicas || rs->status.observedGeneration == 0);
  }
  next->status.observedGeneration = d->metadata.generation;
  next->status.replicas = replicas;
  next->status.updatedReplicas = newReplicaSet ? newReplicaSet->status.replicas : 0;
  next->status.readyReplicas = ready;
  next->status.availableReplicas = available;
  next->status.unavailableReplicas = std::max(0, wanted - available);
  next->status.terminatingReplicas.clear();
  if (terminatingKnown) next->status.terminatingReplicas = terminating;
  int least = d->spec.replicas.valueOr(0) - rollingBounds(*d).unavailable;
  if (available >= least)
    setDeploymentCondition(next, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now);
  else
    setDeploymentCondition(next, "Available", "False", "MinimumReplicasUnavailable",
                           "Deployment does not have minimum availability.", now);
  return next;
}

Mut<Deployment> calculateRolloutStatus(const Ref<Deployment>& d, const ReplicaSets& all, const Ref<ReplicaSet>& newReplicaSet,
                                       int64_t now) {
  Mut<Deployment> next = calculateDeploymentStatus(d, all, newReplicaSet, now);
  updateProgressing(d, next, newReplicaSet, now);
  copyReplicaFailure(next, all, newReplicaSet, now);
  return next;
}

}  // namespace knarr::controllers
