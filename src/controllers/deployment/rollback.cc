// Going back to the template of a former revision. Source: pkg/controller/deployment/rollback.go.
#include <fmt/format.h>

#include "base/strings.h"
#include "controllers/deployment/deployment.h"

namespace knarr::controllers {

using appsv1::Deployment;
using appsv1::ReplicaSet;

namespace {

// The second highest revision; 0 when there are not two.
int64_t lastRevision(const ReplicaSets& all) {
  int64_t highest = 0, second = 0;
  for (const auto& rs : all) {
    int64_t revision = revisionOf(rs->metadata);
    if (revision >= highest) {
      second = highest;
      highest = revision;
    } else if (revision > second) {
      second = revision;
    }
  }
  return second;
}

// The Deployment's annotations become those of the ReplicaSet; the controller's own stay.
void takeAnnotations(Mut<Deployment>& d, const ReplicaSet& from) {
  schema::StringMap kept{};
  for (const auto& [key, value] : d->metadata.annotations)
    if (isOwnAnnotation(key)) schema::set(kept, d.arena(), key, value);
  for (const auto& [key, value] : from.metadata.annotations)
    if (!isOwnAnnotation(key)) schema::set(kept, d.arena(), key, value);
  d->metadata.annotations = kept;
}

}  // namespace

bool isOwnAnnotation(std::string_view key) {
  return key == "kubectl.kubernetes.io/last-applied-configuration" || key == kRevisionAnnotation ||
         key == kRevisionHistoryAnnotation || key == kDesiredReplicasAnnotation || key == kMaxReplicasAnnotation ||
         key == kRollbackAnnotation;
}

std::optional<int64_t> rollbackRevision(const Deployment& d) {
  const schema::Str* text = d.metadata.annotations.find(kRollbackAnnotation);
  if (!text) return std::nullopt;
  auto revision = parseInt(*text);
  if (!revision) return std::nullopt;
  return *revision;
}

Rollback decideRollback(const Ref<Deployment>& d, const ReplicaSets& all, int64_t revision) {
  Rollback out{schema::edit(d), "Warning", "DeploymentRollbackRevisionNotFound", ""};
  out.next->metadata.annotations.erase(kRollbackAnnotation);
  if (revision == 0) revision = lastRevision(all);
  if (revision == 0) {
    out.message = "Unable to find last revision.";
    return out;
  }
  for (const auto& rs : all) {
    if (revisionOf(rs->metadata) != revision) continue;
    if (equalIgnoreHash(d->spec.template_, rs->spec.template_)) {
      out.reason = "DeploymentRollbackTemplateUnchanged";
      out.message =
          fmt::format("The rollback revision contains the same template as current deployment \"{}\"", d->metadata.name);
      return out;
    }
    out.next->spec.template_ = {};
    schema::deepCopy(schema::typeInfoOf<corev1::PodTemplateSpec>(), &out.next->spec.template_, &rs->spec.template_,
                     out.next.arena());
    out.next->spec.template_.metadata.labels.erase(kPodTemplateHashLabel);
    takeAnnotations(out.next, *rs);
    out.eventType = "Normal";
    out.reason = "DeploymentRollback";
    out.message = fmt::format("Rolled back deployment \"{}\" to revision {}", d->metadata.name, revision);
    return out;
  }
  out.message = "Unable to find the revision to rollback to.";
  return out;
}

}  // namespace knarr::controllers
