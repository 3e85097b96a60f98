// Columns of the kinds of batch, networking, storage, policy, certificates and the groups that configure the API itself.
// Source: pkg/printers/internalversion/printers.go.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "api/admissionregistration_v1.h"
#include "api/apiregistration_v1.h"
#include "api/autoscaling_v2.h"
#include "api/batch_v1.h"
#include "api/certificates_v1.h"
#include "api/flowcontrol_v1.h"
#include "api/networking_v1.h"
#include "api/node_v1.h"
#include "api/policy_v1.h"
#include "api/resource_v1.h"
#include "api/scheduling_v1.h"
#include "api/storage_v1.h"
#include "apiserver/tables/cells.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using schema::Ref;
using schema::Str;

const TableColumn kName{"Name", "string", "name"};
const TableColumn kAge{"Age"};

std::string boolCell(bool value) { return value ? "true" : "false"; }
std::string orUnset(const schema::Opt<Str>& value) { return textCell(value.valueOr("<unset>")); }

template <class T>
std::string ageOf(const Ref<T>& object, int64_t now) {
  return ageCell(object->metadata.creationTimestamp, now);
}

template <class Conditions>
bool isTrue(const Conditions& conditions, std::string_view type) {
  for (const auto& condition : conditions)
    if (condition.type == type) return condition.status == "True";
  return false;
}

// ---- batch

TableCells jobCells(const Ref<>& object, int64_t now) {
  Ref<batchv1::Job> job(object);
  std::string_view status = "Running";
  const auto& conditions = job->status.conditions;
  if (isTrue(conditions, "Complete"))
    status = "Complete";
  else if (isTrue(conditions, "Failed"))
    status = "Failed";
  else if (job->metadata.deletionTimestamp)
    status = "Terminating";
  else
    for (std::string_view type : {"Suspended", "FailureTarget", "SuccessCriteriaMet"})
      if (status == "Running" && isTrue(conditions, type)) status = type;
  int32_t parallelism = job->spec.parallelism.valueOr(0);
  std::string completions = job->spec.completions ? fmt::format("{}/{}", job->status.succeeded, *job->spec.completions)
                            : parallelism > 1     ? fmt::format("{}/1 of {}", job->status.succeeded, parallelism)
                                                  : fmt::format("{}/1", job->status.succeeded);
  std::string duration;
  if (job->status.startTime) {
    int64_t end = job->status.completionTime ? job->status.completionTime.value.unixSeconds() : now;
    duration = humanDuration(end - job->status.startTime.value.unixSeconds());
  }
  return {textCell(job->metadata.name),
          textCell(status),
          textCell(completions),
          textCell(duration),
          ageOf(job, now),
          containersCell(job->spec.template_.spec),
          imagesCell(job->spec.template_.spec),
          selectorCell(job->spec.selector)};
}

TableCells cronJobCells(const Ref<>& object, int64_t now) {
  Ref<batchv1::CronJob> job(object);
  const auto& pod = job->spec.jobTemplate.spec.template_.spec;
  std::string last =
      job->status.lastScheduleTime ? humanDuration(now - job->status.lastScheduleTime.value.unixSeconds()) : "<none>";
  std::string_view suspend = !job->spec.suspend ? "<unset>" : *job->spec.suspend ? "True" : "False";
  return {textCell(job->metadata.name),
          textCell(job->spec.schedule),
          orNone(job->spec.timeZone.valueOr("")),
          textCell(suspend),
          numberCell(static_cast<int64_t>(job->status.active.size())),
          textCell(last),
          ageOf(job, now),
          containersCell(pod),
          imagesCell(pod),
          selectorCell(job->spec.jobTemplate.spec.selector)};
}

// ---- networking

std::string addressesText(const schema::List<networkingv1::IngressLoadBalancerIngress>& all) {
  std::set<std::string> texts;
  for (const auto& one : all) texts.emplace(one.ip.empty() ? one.hostname : one.ip);
  return join(std::vector<std::string>(texts.begin(), texts.end()), ",");
}

TableCells ingressCells(const Ref<>& object, int64_t now) {
  Ref<networkingv1::Ingress> ingress(object);
  std::vector<std::string> hosts;
  size_t shown = std::min<size_t>(3, ingress->spec.rules.size());
  for (size_t i = 0; i < shown; ++i)
    if (!ingress->spec.rules[i].host.empty()) hosts.emplace_back(ingress->spec.rules[i].host);
  std::string text = hosts.empty() ? "*" : join(hosts, ",");
  if (!hosts.empty() && ingress->spec.rules.size() > 3) text += fmt::format(" + {} more...", ingress->spec.rules.size() - 3);
  return {textCell(ingress->metadata.name),
          orNone(ingress->spec.ingressClassName.valueOr("")),
          textCell(text),
          textCell(addressesText(ingress->status.loadBalancer.ingress)),
          textCell(ingress->spec.tls.empty() ? "80" : "80, 443"),
          ageOf(ingress, now)};
}

std::string markedName(const metav1::ObjectMeta& metadata, std::initializer_list<std::string_view> marks) {
  for (std::string_view mark : marks)
    if (schema::valueOf(metadata.annotations, mark) == "true") return textCell(fmt::format("{} (default)", metadata.name));
  return textCell(metadata.name);
}

TableCells ingressClassCells(const Ref<>& object, int64_t now) {
  Ref<networkingv1::IngressClass> one(object);
  std::string parameters = "<none>";
  if (const auto* p = one->spec.parameters)
    parameters = p->apiGroup.valueOr("").empty() ? fmt::format("{}/{}", p->kind, p->name)
                                                 : fmt::format("{}.{}/{}", p->kind, *p->apiGroup, p->name);
  return {markedName(one->metadata, {"ingressclass.kubernetes.io/is-default-class"}), textCell(one->spec.controller),
          textCell(parameters), ageOf(one, now)};
}

TableCells networkPolicyCells(const Ref<>& object, int64_t now) {
  Ref<networkingv1::NetworkPolicy> policy(object);
  std::string selector = selectorCell(&policy->spec.podSelector);
  return {textCell(policy->metadata.name), selector == "\"\"" ? textCell("<none>") : selector, ageOf(policy, now)};
}

TableCells ipAddressCells(const Ref<>& object, int64_t now) {
  Ref<networkingv1::IPAddress> address(object);
  std::string parent = "<none>";
  if (const auto* ref = address->spec.parentRef) {
    parent = toLower(ref->group.empty() ? std::string(ref->resource) : fmt::format("{}.{}", ref->resource, ref->group));
    if (!ref->namespace_.empty()) parent += fmt::format("/{}", ref->namespace_);
    parent += fmt::format("/{}", ref->name);
  }
  return {textCell(address->metadata.name), textCell(parent), ageOf(address, now)};
}

TableCells serviceCidrCells(const Ref<>& object, int64_t now) {
  Ref<networkingv1::ServiceCIDR> cidr(object);
  std::vector<std::string> all(cidr->spec.cidrs.begin(), cidr->spec.cidrs.end());
  return {textCell(cidr->metadata.name), textCell(join(all, ",")), ageOf(cidr, now)};
}

// ---- storage

TableCells storageClassCells(const Ref<>& object, int64_t now) {
  Ref<storagev1::StorageClass> one(object);
  return {markedName(one->metadata,
                     {"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"}),
          textCell(one->provisioner),
          textCell(one->reclaimPolicy.valueOr("Delete")),
          orUnset(one->volumeBindingMode),
          boolCell(one->allowVolumeExpansion.valueOr(false)),
          ageOf(one, now)};
}

TableCells volumeAttributesClassCells(const Ref<>& object, int64_t now) {
  Ref<storagev1::VolumeAttributesClass> one(object);
  return {textCell(one->metadata.name), textCell(one->driverName), ageOf(one, now)};
}

TableCells volumeAttachmentCells(const Ref<>& object, int64_t now) {
  Ref<storagev1::VolumeAttachment> one(object);
  return {
      textCell(one->metadata.name), textCell(one->spec.attacher),   textCell(one->spec.source.persistentVolumeName.valueOr("")),
      textCell(one->spec.nodeName), boolCell(one->status.attached), ageOf(one, now)};
}

TableCells csiDriverCells(const Ref<>& object, int64_t now) {
  Ref<storagev1::CSIDriver> driver(object);
  std::vector<std::string> audiences, modes(driver->spec.volumeLifecycleModes.begin(), driver->spec.volumeLifecycleModes.end());
  for (const auto& request : driver->spec.tokenRequests) audiences.emplace_back(request.audience);
  return {textCell(driver->metadata.name),
          boolCell(driver->spec.attachRequired.valueOr(true)),
          boolCell(driver->spec.podInfoOnMount.valueOr(false)),
          boolCell(driver->spec.storageCapacity.valueOr(false)),
          textCell(audiences.empty() ? "<unset>" : join(audiences, ",")),
          boolCell(driver->spec.requiresRepublish.valueOr(false)),
          textCell(modes.empty() ? "<none>" : join(modes, ",")),
          ageOf(driver, now)};
}

TableCells csiNodeCells(const Ref<>& object, int64_t now) {
  Ref<storagev1::CSINode> node(object);
  return {textCell(node->metadata.name), numberCell(static_cast<int64_t>(node->spec.drivers.size())), ageOf(node, now)};
}

// ---- policy, autoscaling, scheduling, node

std::string amountText(const schema::Opt<schema::IntOrString>& value) {
  if (!value) return "N/A";
  return value.value.isString ? std::string(value.value.stringValue) : fmt::format("{}", value.value.intValue);
}

TableCells budgetCells(const Ref<>& object, int64_t now) {
  Ref<policyv1::PodDisruptionBudget> budget(object);
  return {textCell(budget->metadata.name), textCell(amountText(budget->spec.minAvailable)),
          textCell(amountText(budget->spec.maxUnavailable)), numberCell(budget->status.disruptionsAllowed), ageOf(budget, now)};
}

std::string quantityText(const schema::Opt<schema::Quantity>& value) {
  return value ? std::string(value.value.text) : "<unknown>";
}

// One metric as current/target. `current` is null until the controller has seen the metric.
std::string resourceMetricText(Str name, const autoscalingv2::MetricTarget& target,
                               const autoscalingv2::MetricValueStatus* current) {
  if (target.averageValue)
    return fmt::format("{}: {}/{}", name, current ? quantityText(current->averageValue) : "<unknown>",
                       target.averageValue.value.text);
  std::string now = current && current->averageUtilization ? fmt::format("{}%", *current->averageUtilization) : "<unknown>";
  std::string wanted = target.averageUtilization ? fmt::format("{}%", *target.averageUtilization) : "<auto>";
  return fmt::format("{}: {}/{}", name, now, wanted);
}

std::string valueMetricText(const autoscalingv2::MetricTarget& target, const autoscalingv2::MetricValueStatus* current) {
  if (target.averageValue && target.type != "Value")
    return fmt::format("{}/{} (avg)", current ? quantityText(current->averageValue) : "<unknown>",
                       target.averageValue.value.text);
  return fmt::format("{}/{}", current ? quantityText(current->value) : "<unknown>", quantityText(target.value));
}

std::string metricText(const autoscalingv2::MetricSpec& metric, const autoscalingv2::MetricStatus* status) {
  if (metric.resource)
    return resourceMetricText(metric.resource->name, metric.resource->target,
                              status && status->resource ? &status->resource->current : nullptr);
  if (metric.containerResource)
    return resourceMetricText(metric.containerResource->name, metric.containerResource->target,
                              status && status->containerResource ? &status->containerResource->current : nullptr);
  if (metric.pods)
    return fmt::format("{}/{}", status && status->pods ? quantityText(status->pods->current.averageValue) : "<unknown>",
                       quantityText(metric.pods->target.averageValue));
  if (metric.object) return valueMetricText(metric.object->target, status && status->object ? &status->object->current : nullptr);
  if (metric.external)
    return valueMetricText(metric.external->target, status && status->external ? &status->external->current : nullptr);
  return "<unknown type>";
}

TableCells autoscalerCells(const Ref<>& object, int64_t now) {
  Ref<autoscalingv2::HorizontalPodAutoscaler> one(object);
  std::vector<std::string> targets;
  size_t shown = std::min<size_t>(2, one->spec.metrics.size());
  for (size_t i = 0; i < shown; ++i)
    targets.push_back(
        metricText(one->spec.metrics[i], i < one->status.currentMetrics.size() ? &one->status.currentMetrics[i] : nullptr));
  std::string text = targets.empty() ? "<none>" : join(targets, ", ");
  if (one->spec.metrics.size() > shown) text += fmt::format(" + {} more...", one->spec.metrics.size() - shown);
  return {textCell(one->metadata.name),
          textCell(fmt::format("{}/{}", one->spec.scaleTargetRef.kind, one->spec.scaleTargetRef.name)),
          textCell(text),
          textCell(one->spec.minReplicas ? fmt::format("{}", *one->spec.minReplicas) : "<unset>"),
          numberCell(one->spec.maxReplicas),
          numberCell(one->status.currentReplicas),
          ageOf(one, now)};
}

TableCells priorityClassCells(const Ref<>& object, int64_t now) {
  Ref<schedulingv1::PriorityClass> one(object);
  return {textCell(one->metadata.name), numberCell(one->value), boolCell(one->globalDefault), ageOf(one, now),
          textCell(one->preemptionPolicy.valueOr(""))};
}

TableCells runtimeClassCells(const Ref<>& object, int64_t now) {
  Ref<nodev1::RuntimeClass> one(object);
  return {textCell(one->metadata.name), textCell(one->handler), ageOf(one, now)};
}

// ---- certificates

TableCells signingRequestCells(const Ref<>& object, int64_t now) {
  Ref<certificatesv1::CertificateSigningRequest> request(object);
  bool approved = false, denied = false, failed = false;
  for (const auto& condition : request->status.conditions) {
    approved = approved || condition.type == "Approved";
    denied = denied || condition.type == "Denied";
    failed = failed || condition.type == "Failed";
  }
  std::string condition = denied ? "Denied" : approved ? "Approved" : "Pending";
  if (failed) condition += ",Failed";
  if (!request->status.certificate.bytes.empty()) condition += ",Issued";
  return {textCell(request->metadata.name),
          ageOf(request, now),
          orNone(request->spec.signerName),
          textCell(request->spec.username),
          textCell(request->spec.expirationSeconds ? humanDuration(*request->spec.expirationSeconds) : "<none>"),
          textCell(condition)};
}

// ---- what configures the API

template <class Configuration>
TableCells webhookCells(const Ref<>& object, int64_t now) {
  Ref<Configuration> configuration(object);
  return {textCell(configuration->metadata.name), numberCell(static_cast<int64_t>(configuration->webhooks.size())),
          ageOf(configuration, now)};
}

std::string paramKindCell(const admissionregistrationv1::ParamKind* kind) {
  return textCell(kind ? fmt::format("{}/{}", kind->apiVersion, kind->kind) : "<unset>");
}

TableCells validatingPolicyCells(const Ref<>& object, int64_t now) {
  Ref<admissionregistrationv1::ValidatingAdmissionPolicy> policy(object);
  return {textCell(policy->metadata.name), numberCell(static_cast<int64_t>(policy->spec.validations.size())),
          paramKindCell(policy->spec.paramKind), ageOf(policy, now)};
}

TableCells mutatingPolicyCells(const Ref<>& object, int64_t now) {
  Ref<admissionregistrationv1::MutatingAdmissionPolicy> policy(object);
  return {textCell(policy->metadata.name), numberCell(static_cast<int64_t>(policy->spec.mutations.size())),
          paramKindCell(policy->spec.paramKind), ageOf(policy, now)};
}

template <class Binding>
TableCells policyBindingCells(const Ref<>& object, int64_t now) {
  Ref<Binding> binding(object);
  std::string param = "<unset>";
  if (const auto* ref = binding->spec.paramRef) {
    if (!ref->name.empty())
      param = fmt::format("{}/{}", ref->namespace_.empty() ? Str("*") : ref->namespace_, ref->name);
    else if (ref->selector)
      param = labelsText(ref->selector->matchLabels);
  }
  return {textCell(binding->metadata.name), textCell(binding->spec.policyName), textCell(param), ageOf(binding, now)};
}

TableCells flowSchemaCells(const Ref<>& object, int64_t now) {
  Ref<flowcontrolv1::FlowSchema> schema(object);
  std::string missing = "?";
  for (const auto& condition : schema->status.conditions)
    if (condition.type == "Dangling") missing = condition.status;
  return {textCell(schema->metadata.name),
          textCell(schema->spec.priorityLevelConfiguration.name),
          numberCell(schema->spec.matchingPrecedence),
          orNone(schema->spec.distinguisherMethod ? schema->spec.distinguisherMethod->type : Str()),
          ageOf(schema, now),
          textCell(missing)};
}

TableCells priorityLevelCells(const Ref<>& object, int64_t now) {
  Ref<flowcontrolv1::PriorityLevelConfiguration> level(object);
  std::string none = textCell("<none>"), shares = none, queues = none, hand = none, length = none;
  if (const auto* limited = level->spec.limited) {
    shares = numberCell(limited->nominalConcurrencyShares.valueOr(0));
    if (const auto* queuing = limited->limitResponse.queuing) {
      queues = numberCell(queuing->queues);
      hand = numberCell(queuing->handSize);
      length = numberCell(queuing->queueLengthLimit);
    }
  }
  return {textCell(level->metadata.name), textCell(level->spec.type), shares, queues, hand, length, ageOf(level, now)};
}

TableCells apiServiceCells(const Ref<>& object, int64_t now) {
  Ref<apiregistrationv1::APIService> service(object);
  std::string where =
      service->spec.service ? fmt::format("{}/{}", service->spec.service->namespace_, service->spec.service->name) : "Local";
  std::string available = "Unknown";
  for (const auto& condition : service->status.conditions)
    if (condition.type == "Available") {
      available = condition.status;
      if (condition.status != "True" && !condition.reason.empty()) available += fmt::format(" ({})", condition.reason);
    }
  return {textCell(service->metadata.name), textCell(where), textCell(available), ageOf(service, now)};
}

TableCells nameAndAge(const Ref<>& object, int64_t now) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  return {textCell(metadata.name), ageCell(metadata.creationTimestamp, now)};
}

TableCells resourceClaimCells(const Ref<>& object, int64_t now) {
  Ref<resourcev1::ResourceClaim> claim(object);
  std::vector<std::string> states;
  bool allocated = claim->status.allocation != nullptr;
  if (claim->metadata.deletionTimestamp) states.emplace_back("deleted");
  if (allocated) states.emplace_back("allocated");
  if (allocated && !claim->status.reservedFor.empty()) states.emplace_back("reserved");
  return {textCell(claim->metadata.name), textCell(states.empty() ? "pending" : join(states, ",")), ageOf(claim, now)};
}

TableCells resourceSliceCells(const Ref<>& object, int64_t now) {
  Ref<resourcev1::ResourceSlice> slice(object);
  return {textCell(slice->metadata.name), textCell(slice->spec.nodeName.valueOr("")), textCell(slice->spec.driver),
          textCell(slice->spec.pool.name), ageOf(slice, now)};
}

using Printers = std::map<std::string, TablePrinter, std::less<>>;

void addWorkloads(Printers& table) {
  const TableColumn containers{"Containers", "string", "", 1}, images{"Images", "string", "", 1},
      selector{"Selector", "string", "", 1};
  table["batch/Job"] = {{kName, {"Status"}, {"Completions"}, {"Duration"}, kAge, containers, images, selector}, jobCells};
  table["batch/CronJob"] = {{kName,
                             {"Schedule"},
                             {"Timezone"},
                             {"Suspend", "boolean"},
                             {"Active", "integer"},
                             {"Last Schedule"},
                             kAge,
                             containers,
                             images,
                             selector},
                            cronJobCells};
  table["policy/PodDisruptionBudget"] = {
      {kName, {"Min Available"}, {"Max Unavailable"}, {"Allowed Disruptions", "integer"}, kAge}, budgetCells};
  table["autoscaling/HorizontalPodAutoscaler"] = {
      {kName, {"Reference"}, {"Targets"}, {"MinPods"}, {"MaxPods"}, {"Replicas"}, kAge}, autoscalerCells};
  table["scheduling.k8s.io/PriorityClass"] = {
      {kName, {"Value", "integer"}, {"Global-Default", "boolean"}, kAge, {"PreemptionPolicy"}}, priorityClassCells};
  table["node.k8s.io/RuntimeClass"] = {{kName, {"Handler"}, kAge}, runtimeClassCells};
  table["resource.k8s.io/ResourceClaim"] = {{kName, {"State"}, kAge}, resourceClaimCells};
  table["resource.k8s.io/ResourceSlice"] = {{kName, {"Node"}, {"Driver"}, {"Pool"}, kAge}, resourceSliceCells};
  for (const char* kind : {"resource.k8s.io/DeviceClass", "resource.k8s.io/ResourceClaimTemplate", "scheduling.k8s.io/Workload"})
    table[kind] = {{kName, kAge}, nameAndAge};
}

void addNetworkAndStorage(Printers& table) {
  table["networking.k8s.io/Ingress"] = {{kName, {"Class"}, {"Hosts"}, {"Address"}, {"Ports"}, kAge}, ingressCells};
  table["networking.k8s.io/IngressClass"] = {{kName, {"Controller"}, {"Parameters"}, kAge}, ingressClassCells};
  table["networking.k8s.io/NetworkPolicy"] = {{kName, {"Pod-Selector"}, kAge}, networkPolicyCells};
  table["networking.k8s.io/IPAddress"] = {{kName, {"ParentRef"}}, ipAddressCells};
  table["networking.k8s.io/ServiceCIDR"] = {{kName, {"CIDRs"}, kAge}, serviceCidrCells};
  table["storage.k8s.io/StorageClass"] = {
      {kName, {"Provisioner"}, {"ReclaimPolicy"}, {"VolumeBindingMode"}, {"AllowVolumeExpansion"}, kAge}, storageClassCells};
  table["storage.k8s.io/VolumeAttributesClass"] = {{kName, {"DriverName"}, kAge}, volumeAttributesClassCells};
  table["storage.k8s.io/VolumeAttachment"] = {
      {kName, {"Attacher", "string", "name"}, {"PV"}, {"Node"}, {"Attached", "boolean"}, kAge}, volumeAttachmentCells};
  table["storage.k8s.io/CSIDriver"] = {{kName,
                                        {"AttachRequired", "boolean"},
                                        {"PodInfoOnMount", "boolean"},
                                        {"StorageCapacity", "boolean"},
                                        {"TokenRequests"},
                                        {"RequiresRepublish", "boolean"},
                                        {"Modes"},
                                        kAge},
                                       csiDriverCells};
  table["storage.k8s.io/CSINode"] = {{kName, {"Drivers", "integer"}, kAge}, csiNodeCells};
}

void addApi(Printers& table) {
  using namespace admissionregistrationv1;
  const std::string group = "admissionregistration.k8s.io/";
  table["certificates.k8s.io/CertificateSigningRequest"] = {
      {kName, kAge, {"SignerName"}, {"Requestor"}, {"RequestedDuration"}, {"Condition"}}, signingRequestCells};
  table[group + "MutatingWebhookConfiguration"] = {{kName, {"Webhooks", "integer"}, kAge},
                                                   webhookCells<MutatingWebhookConfiguration>};
  table[group + "ValidatingWebhookConfiguration"] = {{kName, {"Webhooks", "integer"}, kAge},
                                                     webhookCells<ValidatingWebhookConfiguration>};
  table[group + "ValidatingAdmissionPolicy"] = {{kName, {"Validations", "integer"}, {"ParamKind"}, kAge}, validatingPolicyCells};
  table[group + "MutatingAdmissionPolicy"] = {{kName, {"Mutations", "integer"}, {"ParamKind"}, kAge}, mutatingPolicyCells};
  table[group + "ValidatingAdmissionPolicyBinding"] = {{kName, {"PolicyName"}, {"ParamRef"}, kAge},
                                                       policyBindingCells<ValidatingAdmissionPolicyBinding>};
  table[group + "MutatingAdmissionPolicyBinding"] = {{kName, {"PolicyName"}, {"ParamRef"}, kAge},
                                                     policyBindingCells<MutatingAdmissionPolicyBinding>};
  table["flowcontrol.apiserver.k8s.io/FlowSchema"] = {
      {kName, {"PriorityLevel"}, {"MatchingPrecedence"}, {"DistinguisherMethod"}, kAge, {"MissingPL"}}, flowSchemaCells};
  table["flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration"] = {
      {kName, {"Type"}, {"NominalConcurrencyShares"}, {"Queues"}, {"HandSize"}, {"QueueLengthLimit"}, kAge}, priorityLevelCells};
  table["apiregistration.k8s.io/APIService"] = {{kName, {"Service"}, {"Available"}, kAge}, apiServiceCells};
}

}  // namespace

const TablePrinter* groupTablePrinter(std::string_view group, std::string_view kind) {
  static const Printers kPrinters = [] {
    Printers table;
    addWorkloads(table);
    addNetworkAndStorage(table);
    addApi(table);
    return table;
  }();
  auto found = kPrinters.find(fmt::format("{}/{}", group, kind));
  return found == kPrinters.end() ? nullptr : &found->second;
}

}  // namespace knarr::apiserver
