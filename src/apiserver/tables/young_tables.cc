// Columns of kinds that have no v1 yet, and of Scale. Source: pkg/printers/internalversion/printers.go.
#include <fmt/format.h>

#include <map>

#include "api/apiserverinternal_v1alpha1.h"
#include "api/autoscaling_v1.h"
#include "api/certificates_v1beta1.h"
#include "api/coordination_v1beta1.h"
#include "api/resource_v1alpha3.h"
#include "api/resource_v1beta2.h"
#include "api/scheduling_v1alpha2.h"
#include "api/storagemigration_v1beta1.h"
#include "apiserver/tables/cells.h"

namespace knarr::apiserver {
namespace {

using schema::Ref;

const TableColumn kName{"Name", "string", "name"};
const TableColumn kAge{"Age"};

template <class T>
std::string ageOf(const Ref<T>& object, int64_t now) {
  return ageCell(object->metadata.creationTimestamp, now);
}

TableCells trustBundleCells(const Ref<>& object, int64_t) {
  Ref<certificatesv1beta1::ClusterTrustBundle> bundle(object);
  return {textCell(bundle->metadata.name), textCell(bundle->spec.signerName)};
}

TableCells podCertificateCells(const Ref<>& object, int64_t) {
  Ref<certificatesv1beta1::PodCertificateRequest> request(object);
  std::string_view state = "Pending";
  for (const auto& condition : request->status.conditions)
    if (condition.type == "Issued" || condition.type == "Denied" || condition.type == "Failed") state = condition.type;
  return {textCell(request->metadata.name),
          textCell(request->spec.podName),
          textCell(request->spec.serviceAccountName),
          textCell(request->spec.nodeName),
          textCell(request->spec.signerName),
          textCell(state),
          textCell(labelsText(request->spec.unverifiedUserAnnotations))};
}

TableCells leaseCandidateCells(const Ref<>& object, int64_t now) {
  Ref<coordinationv1beta1::LeaseCandidate> candidate(object);
  return {textCell(candidate->metadata.name), textCell(candidate->spec.leaseName), textCell(candidate->spec.binaryVersion),
          textCell(candidate->spec.emulationVersion), ageOf(candidate, now)};
}

TableCells storageVersionCells(const Ref<>& object, int64_t now) {
  Ref<apiserverinternalv1alpha1::StorageVersion> version(object);
  std::string servers;
  for (const auto& server : version->status.storageVersions)
    servers += fmt::format("{}{}={}", servers.empty() ? "" : ",", server.apiServerID, server.encodingVersion);
  return {textCell(version->metadata.name), textCell(version->status.commonEncodingVersion.valueOr("<unset>")),
          textCell(servers.empty() ? "<unset>" : servers), ageOf(version, now)};
}

TableCells migrationCells(const Ref<>& object, int64_t) {
  Ref<storagemigrationv1beta1::StorageVersionMigration> migration(object);
  const auto& resource = migration->spec.resource;
  std::string_view status = "Unknown";
  for (std::string_view type : {"Running", "Succeeded", "Failed"})
    for (const auto& condition : migration->status.conditions)
      if (condition.type == type && condition.status == "True") status = type;
  return {
      textCell(migration->metadata.name),
      textCell(resource.group.empty() ? std::string(resource.resource) : fmt::format("{}.{}", resource.resource, resource.group)),
      textCell(status)};
}

TableCells deviceTaintCells(const Ref<>& object, int64_t now) {
  Ref<resourcev1beta2::DeviceTaintRule> rule(object);
  const auto& taint = rule->spec.taint;
  return {textCell(rule->metadata.name),
          textCell(taint.key),
          textCell(taint.value),
          textCell(taint.effect),
          ageCell(taint.timeAdded.valueOr(schema::Time()), now),
          ageOf(rule, now)};
}

// Sums over the pools of the answer; "-" while there is none.
TableCells poolStatusCells(const Ref<>& object, int64_t now) {
  Ref<resourcev1alpha3::ResourcePoolStatusRequest> request(object);
  const auto* status = request->status;
  std::string state = "Pending", completed = "<none>";
  bool failed = false;
  int64_t total = 0, available = 0, allocated = 0, unavailable = 0, errors = 0, pools = 0;
  if (status != nullptr) {
    for (const auto& pool : status->pools) {
      total += pool.totalDevices.valueOr(0);
      available += pool.availableDevices.valueOr(0);
      allocated += pool.allocatedDevices.valueOr(0);
      unavailable += pool.unavailableDevices.valueOr(0);
      errors += pool.validationError ? 1 : 0;
    }
    auto shown = static_cast<int64_t>(status->pools.size());
    pools = status->poolCount.valueOr(0);
    for (const auto& condition : status->conditions) {
      if (condition.status != "True" || (condition.type != "Complete" && condition.type != "Failed")) continue;
      failed = condition.type == "Failed";
      state = !failed && shown < pools ? fmt::format("Complete ({}/{} pools)", shown, pools) : std::string(condition.type);
      completed = humanDuration(now - condition.lastTransitionTime.unixSeconds());
    }
  }
  auto sum = [&](int64_t value) { return textCell(status == nullptr || failed ? "-" : fmt::format("{}", value)); };
  return {textCell(request->metadata.name),
          textCell(request->spec.driver),
          sum(total),
          sum(available),
          sum(allocated),
          sum(unavailable),
          sum(errors),
          numberCell(pools),
          textCell(state),
          textCell(completed)};
}

TableCells podGroupCells(const Ref<>& object, int64_t now) {
  Ref<schedulingv1alpha2::PodGroup> group(object);
  const auto* reference = group->spec.podGroupTemplateRef;
  std::string_view workload = reference && reference->workload ? std::string_view(reference->workload->workloadName) : "";
  std::string_view status = "Pending";
  for (const auto& condition : group->status.conditions)
    if (condition.type == "PodGroupScheduled") status = condition.status == "True" ? "Scheduled" : "Unschedulable";
  for (const auto& condition : group->status.conditions)
    if (condition.type == "DisruptionTarget" && condition.status == "True") status = condition.reason;
  return {textCell(group->metadata.name), textCell(group->spec.schedulingPolicy.gang ? "Gang" : "Basic"), orNone(workload),
          textCell(status), ageOf(group, now)};
}

TableCells scaleCells(const Ref<>& object, int64_t now) {
  Ref<autoscalingv1::Scale> scale(object);
  return {textCell(scale->metadata.name), numberCell(scale->spec.replicas), numberCell(scale->status.replicas),
          ageOf(scale, now)};
}

}  // namespace

const TablePrinter* youngTablePrinter(std::string_view group, std::string_view kind) {
  static const std::map<std::string, TablePrinter, std::less<>> kPrinters = {
      {"certificates.k8s.io/ClusterTrustBundle", {{kName, {"SignerName"}}, trustBundleCells}},
      {"certificates.k8s.io/PodCertificateRequest",
       {{kName, {"PodName"}, {"ServiceAccountName"}, {"NodeName"}, {"SignerName"}, {"State"}, {"UnverifiedUserAnnotations"}},
        podCertificateCells}},
      {"coordination.k8s.io/LeaseCandidate",
       {{kName, {"LeaseName"}, {"BinaryVersion"}, {"EmulationVersion"}, kAge}, leaseCandidateCells}},
      {"internal.apiserver.k8s.io/StorageVersion",
       {{kName, {"CommonEncodingVersion"}, {"StorageVersions"}, kAge}, storageVersionCells}},
      {"storagemigration.k8s.io/StorageVersionMigration", {{{"Name"}, {"Resource"}, {"Status"}}, migrationCells}},
      {"resource.k8s.io/DeviceTaintRule", {{kName, {"Key"}, {"Value"}, {"Effect"}, {"TimeAdded"}, kAge}, deviceTaintCells}},
      {"resource.k8s.io/ResourcePoolStatusRequest",
       {{kName,
         {"Driver"},
         {"Total"},
         {"Available"},
         {"Allocated"},
         {"Unavailable"},
         {"Errors"},
         {"Pools", "integer"},
         {"Status"},
         {"Completed"}},
        poolStatusCells}},
      {"scheduling.k8s.io/PodGroup", {{kName, {"Policy"}, {"Workload"}, {"Status"}, kAge}, podGroupCells}},
      {"autoscaling/Scale", {{{"Name"}, {"Desired", "integer"}, {"Available", "integer"}, kAge}, scaleCells}},
  };
  auto found = kPrinters.find(fmt::format("{}/{}", group, kind));
  return found == kPrinters.end() ? nullptr : &found->second;
}

}  // namespace knarr::apiserver
