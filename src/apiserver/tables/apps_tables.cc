#include <fmt/format.h>

#include <map>

#include "api/apps_v1.h"
#include "api/coordination_v1.h"
#include "api/discovery_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/tables/cells.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using schema::Ref;
using Columns = std::vector<TableColumn>;

const TableColumn kName{"Name", "string", "name"};
const TableColumn kContainers{"Containers", "string", "", 1};
const TableColumn kImages{"Images", "string", "", 1};
const TableColumn kSelector{"Selector", "string", "", 1};

TableCells deploymentCells(const Ref<>& object, int64_t now) {
  Ref<appsv1::Deployment> d(object);
  return {textCell(d->metadata.name),
          textCell(fmt::format("{}/{}", d->status.readyReplicas, d->spec.replicas.valueOr(0))),
          numberCell(d->status.updatedReplicas),
          numberCell(d->status.availableReplicas),
          ageCell(d->metadata.creationTimestamp, now),
          containersCell(d->spec.template_.spec),
          imagesCell(d->spec.template_.spec),
          selectorCell(d->spec.selector)};
}

TableCells replicaSetCells(const Ref<>& object, int64_t now) {
  Ref<appsv1::ReplicaSet> rs(object);
  return {textCell(rs->metadata.name),
          numberCell(rs->spec.replicas.valueOr(0)),
          numberCell(rs->status.replicas),
          numberCell(rs->status.readyReplicas),
          ageCell(rs->metadata.creationTimestamp, now),
          containersCell(rs->spec.template_.spec),
          imagesCell(rs->spec.template_.spec),
          selectorCell(rs->spec.selector)};
}

TableCells daemonSetCells(const Ref<>& object, int64_t now) {
  Ref<appsv1::DaemonSet> ds(object);
  return {textCell(ds->metadata.name),
          numberCell(ds->status.desiredNumberScheduled),
          numberCell(ds->status.currentNumberScheduled),
          numberCell(ds->status.numberReady),
          numberCell(ds->status.updatedNumberScheduled),
          numberCell(ds->status.numberAvailable),
          textCell(labelsText(ds->spec.template_.spec.nodeSelector)),
          ageCell(ds->metadata.creationTimestamp, now),
          containersCell(ds->spec.template_.spec),
          imagesCell(ds->spec.template_.spec),
          selectorCell(ds->spec.selector)};
}

TableCells statefulSetCells(const Ref<>& object, int64_t now) {
  Ref<appsv1::StatefulSet> ss(object);
  return {textCell(ss->metadata.name), textCell(fmt::format("{}/{}", ss->status.readyReplicas, ss->spec.replicas.valueOr(0))),
          ageCell(ss->metadata.creationTimestamp, now), containersCell(ss->spec.template_.spec),
          imagesCell(ss->spec.template_.spec)};
}

TableCells controllerRevisionCells(const Ref<>& object, int64_t now) {
  Ref<appsv1::ControllerRevision> revision(object);
  std::string owner = "<none>";
  for (const auto& reference : revision->metadata.ownerReferences)
    if (reference.controller && *reference.controller) {
      std::string_view version = reference.apiVersion;
      size_t slash = version.find('/');
      std::string group(slash == std::string_view::npos ? std::string_view() : version.substr(0, slash));
      owner =
          fmt::format("{}/{}", toLower(group.empty() ? std::string(reference.kind) : fmt::format("{}.{}", reference.kind, group)),
                      reference.name);
    }
  return {textCell(revision->metadata.name), textCell(owner), numberCell(revision->revision),
          ageCell(revision->metadata.creationTimestamp, now)};
}

// The first three joined by ",", then how many more.
std::string firstThree(const std::vector<std::string>& all) {
  if (all.empty()) return "<unset>";
  std::vector<std::string> shown(all.begin(), all.begin() + std::min<ptrdiff_t>(3, std::ssize(all)));
  std::string text = join(shown, ",");
  if (all.size() > 3) text += fmt::format(" + {} more...", all.size() - 3);
  return text;
}

TableCells endpointSliceCells(const Ref<>& object, int64_t now) {
  Ref<discoveryv1::EndpointSlice> slice(object);
  std::vector<std::string> ports, addresses;
  for (const auto& port : slice->ports)
    ports.push_back(port.port                            ? fmt::format("{}", *port.port)
                    : port.name && !(*port.name).empty() ? std::string(*port.name)
                                                         : "*");
  for (const auto& endpoint : slice->endpoints)
    for (schema::Str address : endpoint.addresses) addresses.emplace_back(address);
  return {textCell(slice->metadata.name), textCell(slice->addressType), textCell(firstThree(ports)),
          textCell(firstThree(addresses)), ageCell(slice->metadata.creationTimestamp, now)};
}

TableCells leaseCells(const Ref<>& object, int64_t now) {
  Ref<coordinationv1::Lease> lease(object);
  return {textCell(lease->metadata.name), textCell(lease->spec.holderIdentity.valueOr("")),
          ageCell(lease->metadata.creationTimestamp, now)};
}

template <class Binding>
TableCells bindingCells(const Ref<>& object, int64_t now) {
  Ref<Binding> binding(object);
  std::vector<std::string> users, groups, accounts;
  for (const auto& subject : binding->subjects) {
    if (subject.kind == "User") users.emplace_back(subject.name);
    if (subject.kind == "Group") groups.emplace_back(subject.name);
    if (subject.kind == "ServiceAccount") accounts.push_back(fmt::format("{}/{}", subject.namespace_, subject.name));
  }
  return {textCell(binding->metadata.name),
          textCell(fmt::format("{}/{}", binding->roleRef.kind, binding->roleRef.name)),
          ageCell(binding->metadata.creationTimestamp, now),
          textCell(join(users, ", ")),
          textCell(join(groups, ", ")),
          textCell(join(accounts, ", "))};
}

const Columns kBindingColumns{
    kName, {"Role"}, {"Age"}, {"Users", "string", "", 1}, {"Groups", "string", "", 1}, {"ServiceAccounts", "string", "", 1}};

const std::map<std::string, TablePrinter, std::less<>>& appsPrinters() {
  static const std::map<std::string, TablePrinter, std::less<>> kPrinters{
      {"Deployment",
       {{kName, {"Ready"}, {"Up-to-date"}, {"Available"}, {"Age"}, kContainers, kImages, kSelector}, deploymentCells}},
      {"ReplicaSet",
       {{kName, {"Desired", "integer"}, {"Current", "integer"}, {"Ready", "integer"}, {"Age"}, kContainers, kImages, kSelector},
        replicaSetCells}},
      {"DaemonSet",
       {{kName,
         {"Desired", "integer"},
         {"Current", "integer"},
         {"Ready", "integer"},
         {"Up-to-date", "integer"},
         {"Available", "integer"},
         {"Node Selector"},
         {"Age"},
         kContainers,
         kImages,
         kSelector},
        daemonSetCells}},
      {"StatefulSet", {{kName, {"Ready"}, {"Age"}, kContainers, kImages}, statefulSetCells}},
      {"ControllerRevision", {{kName, {"Controller"}, {"Revision"}, {"Age"}}, controllerRevisionCells}},
  };
  return kPrinters;
}

const std::map<std::string, TablePrinter, std::less<>>& otherPrinters() {
  static const std::map<std::string, TablePrinter, std::less<>> kPrinters{
      {"discovery.k8s.io/EndpointSlice", {{kName, {"AddressType"}, {"Ports"}, {"Endpoints"}, {"Age"}}, endpointSliceCells}},
      {"coordination.k8s.io/Lease", {{kName, {"Holder"}, {"Age"}}, leaseCells}},
      {"rbac.authorization.k8s.io/RoleBinding", {kBindingColumns, bindingCells<rbacv1::RoleBinding>}},
      {"rbac.authorization.k8s.io/ClusterRoleBinding", {kBindingColumns, bindingCells<rbacv1::ClusterRoleBinding>}},
  };
  return kPrinters;
}

}  // namespace

const TablePrinter* appsTablePrinter(std::string_view kind) {
  auto found = appsPrinters().find(kind);
  return found == appsPrinters().end() ? nullptr : &found->second;
}

const TablePrinter* otherTablePrinter(std::string_view group, std::string_view kind) {
  auto found = otherPrinters().find(fmt::format("{}/{}", group, kind));
  return found == otherPrinters().end() ? nullptr : &found->second;
}

}  // namespace knarr::apiserver
