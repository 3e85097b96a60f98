// The Deployment controller: rolls a template out through ReplicaSets.
//
// Upstream counterpart: pkg/controller/deployment (sync.go, rolling.go, recreate.go, progress.go, util/deployment_util.go).
#pragma once

#include <memory>
#include <optional>

#include "api/apps_v1.h"
#include "controllers/frame/frame.h"

namespace knarr::controllers {

std::unique_ptr<Controller> makeDeploymentController(ControllerContext context);

inline constexpr std::string_view kRevisionAnnotation = "deployment.kubernetes.io/revision";
inline constexpr std::string_view kRevisionHistoryAnnotation = "deployment.kubernetes.io/revision-history";
inline constexpr std::string_view kDesiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas";
inline constexpr std::string_view kMaxReplicasAnnotation = "deployment.kubernetes.io/max-replicas";
inline constexpr std::string_view kRollbackAnnotation = "deprecated.deployment.rollback.to";
inline constexpr std::string_view kPodTemplateHashLabel = "pod-template-hash";

// ---- decisions

// maxSurge rounded up and maxUnavailable rounded down, in pods; never both zero for a rolling update.
struct RollingBounds {
  int surge = 0;
  int unavailable = 0;
};
RollingBounds rollingBounds(const appsv1::Deployment& deployment);
// An IntOrString of `total`; a malformed one is 0.
int scaledValue(const schema::IntOrString& value, int total, bool roundUp);

using ReplicaSets = std::vector<Ref<appsv1::ReplicaSet>>;
// Whether two templates are the same but for the label that names their hash.
bool equalIgnoreHash(const corev1::PodTemplateSpec& a, const corev1::PodTemplateSpec& b);
// The ReplicaSet that runs the Deployment's template, the oldest of several; null when there is none.
Ref<appsv1::ReplicaSet> findNewReplicaSet(const appsv1::Deployment& deployment, const ReplicaSets& all);
// The hash in the name of a ReplicaSet for this template.
std::string podTemplateHash(const corev1::PodTemplateSpec& podTemplate, std::optional<int32_t> collisionCount);

struct ScaleStep {
  Ref<appsv1::ReplicaSet> replicaSet;
  int32_t replicas = 0;
};
// The next sizes of one step of a rolling update: first the new ReplicaSet grows, then the old ones shrink. Empty when
// nothing changes now. newReplicaSet is in `all` or null.
std::vector<ScaleStep> decideRollingStep(const appsv1::Deployment& deployment, const ReplicaSets& all,
                                         const Ref<appsv1::ReplicaSet>& newReplicaSet);
// Sizes after spec.replicas changed (or while paused): shares in proportion to what each has.
std::vector<ScaleStep> decideProportionalScale(const appsv1::Deployment& deployment, const ReplicaSets& all,
                                               const Ref<appsv1::ReplicaSet>& newReplicaSet);
// Whether spec.replicas changed since the ReplicaSets were last scaled.
bool isScalingEvent(const appsv1::Deployment& deployment, const ReplicaSets& all);
// Old, empty ReplicaSets beyond the history limit, oldest revision first.
ReplicaSets decideCleanup(const appsv1::Deployment& deployment, const ReplicaSets& old);

// The status that the ReplicaSets make, with the condition Available: all that a paused or resized Deployment tells.
Mut<appsv1::Deployment> calculateDeploymentStatus(const Ref<appsv1::Deployment>& deployment, const ReplicaSets& all,
                                                  const Ref<appsv1::ReplicaSet>& newReplicaSet, int64_t nowUnixSeconds);
// The same with the conditions of a roll-out, Progressing and ReplicaFailure.
Mut<appsv1::Deployment> calculateRolloutStatus(const Ref<appsv1::Deployment>& deployment, const ReplicaSets& all,
                                               const Ref<appsv1::ReplicaSet>& newReplicaSet, int64_t nowUnixSeconds);
// Whether a roll-out may take only so long.
bool hasProgressDeadline(const appsv1::Deployment& deployment);
bool isComplete(const appsv1::Deployment& deployment, const appsv1::DeploymentStatus& status);
const appsv1::DeploymentCondition* deploymentCondition(const appsv1::DeploymentStatus& status, std::string_view type);
// Replaces the condition of that type when status or reason changes.
void setDeploymentCondition(Mut<appsv1::Deployment>& deployment, std::string_view type, std::string_view status,
                            std::string_view reason, std::string_view message, int64_t nowUnixSeconds);
int64_t revisionOf(const metav1::ObjectMeta& metadata);
// Annotations that belong to the controller and are copied neither to a ReplicaSet nor back.
bool isOwnAnnotation(std::string_view key);

// What a Deployment that asks for a roll-back becomes, and the event that tells so.
struct Rollback {
  Mut<appsv1::Deployment> next;
  std::string_view eventType, reason;
  std::string message;
};
// The revision in the annotation, 0 for the last one before this; nothing when none, or no number, is there.
std::optional<int64_t> rollbackRevision(const appsv1::Deployment& deployment);
// `all` are its ReplicaSets, the new one included.
Rollback decideRollback(const Ref<appsv1::Deployment>& deployment, const ReplicaSets& all, int64_t revision);

}  // namespace knarr::controllers
