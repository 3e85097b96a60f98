// The ReplicaSet controller: keeps as many pods as spec.replicas says.
//
// Upstream counterpart: pkg/controller/replicaset/replica_set.go.
#pragma once

#include <memory>

#include "api/apps_v1.h"
#include "controllers/frame/frame.h"

namespace knarr::controllers {

std::unique_ptr<Controller> makeReplicaSetController(ControllerContext context);

// ---- decisions

struct ReplicaSetPlan {
  int create = 0;
  std::vector<Ref<corev1::Pod>> remove;
};
// What to change so that `active` pods become spec.replicas, at most 500 at a time. `related` counts active pods per node of
// all ReplicaSets of the same owner.
ReplicaSetPlan decideReplicas(const appsv1::ReplicaSet& rs, const std::vector<Ref<corev1::Pod>>& active,
                              const std::map<std::string, int>& relatedPerNode, int64_t nowUnixSeconds);
// The status that the claimed pods make. `failure` is the error of the last change, "" for none.
Mut<appsv1::ReplicaSet> calculateStatus(const Ref<appsv1::ReplicaSet>& rs, const std::vector<Ref<corev1::Pod>>& claimed,
                                        const std::string& failureReason, const std::string& failure, int64_t nowUnixSeconds);
// When the next of the pods that are ready will have been so for minReadySeconds; at least 1.
int64_t secondsUntilAvailable(const appsv1::ReplicaSet& rs, const std::vector<Ref<corev1::Pod>>& active, int64_t nowUnixSeconds);

}  // namespace knarr::controllers
