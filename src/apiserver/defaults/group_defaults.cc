// Defaults of the groups other than core and apps. Source: pkg/apis/<group>/<version>/defaults.go.
#include <algorithm>
#include <cctype>
#include <map>

#include "api/admissionregistration_v1.h"
#include "api/apiextensions_v1.h"
#include "api/apiregistration_v1.h"
#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "api/batch_v1.h"
#include "api/flowcontrol_v1.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "api/rbac_v1.h"
#include "api/resource_v1.h"
#include "api/scheduling_v1.h"
#include "api/storage_v1.h"
#include "apiserver/defaulting.h"
#include "apiserver/defaults/defaults.h"

namespace knarr::apiserver {

using schema::Mut;
using schema::Str;

namespace {

constexpr int32_t kBackoffLimitDefault = 6;
constexpr int32_t kUnlimited = 2147483647;
constexpr int32_t kWebhookPort = 443;

void jobDefaults(Mut<>& object) {
  auto& job = *static_cast<batchv1::Job*>(object.root());
  Arena& arena = object.arena();
  setPodSpecDefaults(job.spec.template_.spec, arena);
  if (!job.spec.completions && !job.spec.parallelism) job.spec.completions = int32_t{1};
  setIfAbsent(job.spec.parallelism, int32_t{1});
  setIfAbsent(job.spec.backoffLimit, int32_t{job.spec.backoffLimitPerIndex ? kUnlimited : kBackoffLimitDefault});
  if (job.metadata.labels.empty())
    for (const auto& [key, value] : job.spec.template_.metadata.labels) schema::set(job.metadata.labels, arena, key, value);
  setIfAbsent(job.spec.completionMode, Str("NonIndexed"));
  setIfAbsent(job.spec.suspend, false);
  setIfAbsent(job.spec.manualSelector, false);
  setIfAbsent(job.spec.podReplacementPolicy, job.spec.podFailurePolicy ? Str("Failed") : Str("TerminatingOrFailed"));
  if (!job.spec.podFailurePolicy) return;
  for (auto& rule : job.spec.podFailurePolicy->rules)
    for (auto& condition : rule.onPodConditions) setIfEmpty(condition.status, "True");
}

void cronJobDefaults(Mut<>& object) {
  auto& spec = static_cast<batchv1::CronJob*>(object.root())->spec;
  setIfEmpty(spec.concurrencyPolicy, "Allow");
  setIfAbsent(spec.suspend, false);
  setIfAbsent(spec.successfulJobsHistoryLimit, int32_t{3});
  setIfAbsent(spec.failedJobsHistoryLimit, int32_t{1});
  setPodSpecDefaults(spec.jobTemplate.spec.template_.spec, object.arena());
}

void addScalingPolicy(autoscalingv2::HPAScalingRules& rules, Arena& arena, Str type, int32_t value) {
  auto& policy = rules.policies.append(arena);
  policy.type = type;
  policy.value = value;
  policy.periodSeconds = 15;
}

void autoscalerV1Defaults(Mut<>& object) {
  setIfAbsent(static_cast<autoscalingv1::HorizontalPodAutoscaler*>(object.root())->spec.minReplicas, int32_t{1});
}

void autoscalerDefaults(Mut<>& object) {
  auto& spec = static_cast<autoscalingv2::HorizontalPodAutoscaler*>(object.root())->spec;
  Arena& arena = object.arena();
  setIfAbsent(spec.minReplicas, int32_t{1});
  if (spec.metrics.empty()) {
    auto& metric = spec.metrics.append(arena);
    metric.type = "Resource";
    metric.resource = arena.make<autoscalingv2::ResourceMetricSource>();
    metric.resource->name = "cpu";
    metric.resource->target.type = "Utilization";
    metric.resource->target.averageUtilization = int32_t{80};
  }
  if (!spec.behavior) return;
  auto rulesOf = [&](autoscalingv2::HPAScalingRules*& rules) -> autoscalingv2::HPAScalingRules& {
    if (!rules) rules = arena.make<autoscalingv2::HPAScalingRules>();
    setIfAbsent(rules->selectPolicy, Str("Max"));
    return *rules;
  };
  auto& up = rulesOf(spec.behavior->scaleUp);
  setIfAbsent(up.stabilizationWindowSeconds, int32_t{0});
  if (up.policies.empty()) {
    addScalingPolicy(up, arena, "Pods", 4);
    addScalingPolicy(up, arena, "Percent", 100);
  }
  auto& down = rulesOf(spec.behavior->scaleDown);
  if (down.policies.empty()) addScalingPolicy(down, arena, "Percent", 100);
}

void networkPolicyDefaults(Mut<>& object) {
  auto& spec = static_cast<networkingv1::NetworkPolicy*>(object.root())->spec;
  for (auto& rule : spec.ingress)
    for (auto& port : rule.ports) setIfAbsent(port.protocol, Str("TCP"));
  for (auto& rule : spec.egress)
    for (auto& port : rule.ports) setIfAbsent(port.protocol, Str("TCP"));
  if (!spec.policyTypes.empty()) return;
  spec.policyTypes.append(object.arena()) = "Ingress";
  if (!spec.egress.empty()) spec.policyTypes.append(object.arena()) = "Egress";
}

void ingressClassDefaults(Mut<>& object) {
  auto& spec = static_cast<networkingv1::IngressClass*>(object.root())->spec;
  if (spec.parameters) setIfAbsent(spec.parameters->scope, Str("Cluster"));
}

void storageClassDefaults(Mut<>& object) {
  auto& storageClass = *static_cast<storagev1::StorageClass*>(object.root());
  setIfAbsent(storageClass.reclaimPolicy, Str("Delete"));
  setIfAbsent(storageClass.volumeBindingMode, Str("Immediate"));
}

void csiDriverDefaults(Mut<>& object) {
  auto& spec = static_cast<storagev1::CSIDriver*>(object.root())->spec;
  setIfAbsent(spec.attachRequired, true);
  setIfAbsent(spec.podInfoOnMount, false);
  setIfAbsent(spec.storageCapacity, false);
  setIfAbsent(spec.fsGroupPolicy, Str("ReadWriteOnceWithFSType"));
  if (spec.volumeLifecycleModes.empty()) spec.volumeLifecycleModes.append(object.arena()) = "Persistent";
  setIfAbsent(spec.requiresRepublish, false);
  setIfAbsent(spec.seLinuxMount, false);
}

void priorityClassDefaults(Mut<>& object) {
  setIfAbsent(static_cast<schedulingv1::PriorityClass*>(object.root())->preemptionPolicy, Str("PreemptLowerPriority"));
}

template <class Webhook>
void webhookDefaults(Webhook& webhook, Arena& arena) {
  setIfAbsent(webhook.failurePolicy, Str("Fail"));
  setIfAbsent(webhook.matchPolicy, Str("Equivalent"));
  if (!webhook.namespaceSelector) webhook.namespaceSelector = arena.make<metav1::LabelSelector>();
  if (!webhook.objectSelector) webhook.objectSelector = arena.make<metav1::LabelSelector>();
  setIfAbsent(webhook.timeoutSeconds, int32_t{10});
  for (auto& rule : webhook.rules) setIfAbsent(rule.rule.scope, Str("*"));
  if (webhook.clientConfig.service) setIfAbsent(webhook.clientConfig.service->port, kWebhookPort);
}

void validatingWebhookDefaults(Mut<>& object) {
  for (auto& webhook : static_cast<admissionregistrationv1::ValidatingWebhookConfiguration*>(object.root())->webhooks)
    webhookDefaults(webhook, object.arena());
}

void mutatingWebhookDefaults(Mut<>& object) {
  for (auto& webhook : static_cast<admissionregistrationv1::MutatingWebhookConfiguration*>(object.root())->webhooks) {
    webhookDefaults(webhook, object.arena());
    setIfAbsent(webhook.reinvocationPolicy, Str("Never"));
  }
}

void matchResourcesDefaults(admissionregistrationv1::MatchResources* match, Arena& arena) {
  if (!match) return;
  setIfAbsent(match->matchPolicy, Str("Equivalent"));
  if (!match->namespaceSelector) match->namespaceSelector = arena.make<metav1::LabelSelector>();
  if (!match->objectSelector) match->objectSelector = arena.make<metav1::LabelSelector>();
  for (auto* rules : {&match->resourceRules, &match->excludeResourceRules})
    for (auto& rule : *rules) setIfAbsent(rule.ruleWithOperations.rule.scope, Str("*"));
}

template <class Policy>
void policyDefaults(Mut<>& object) {
  auto& spec = static_cast<Policy*>(object.root())->spec;
  setIfAbsent(spec.failurePolicy, Str("Fail"));
  matchResourcesDefaults(spec.matchConstraints, object.arena());
}

template <class Binding>
void policyBindingDefaults(Mut<>& object) {
  matchResourcesDefaults(static_cast<Binding*>(object.root())->spec.matchResources, object.arena());
}

void customResourceDefinitionDefaults(Mut<>& object) {
  auto& definition = *static_cast<apiextensionsv1::CustomResourceDefinition*>(object.root());
  auto& names = definition.spec.names;
  if (names.singular.empty()) {
    std::string singular(names.kind);
    std::transform(singular.begin(), singular.end(), singular.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    names.singular = object.str(singular);
  }
  if (names.listKind.empty() && !names.kind.empty()) names.listKind = object.str(std::string(names.kind) + "List");
  if (!definition.spec.conversion) definition.spec.conversion = object.arena().make<apiextensionsv1::CustomResourceConversion>();
  setIfEmpty(definition.spec.conversion->strategy, "None");
  auto* webhook = definition.spec.conversion->webhook;
  if (webhook && webhook->clientConfig && webhook->clientConfig->service)
    setIfAbsent(webhook->clientConfig->service->port, kWebhookPort);
  if (!definition.status.storedVersions.empty()) return;
  for (const auto& version : definition.spec.versions)
    if (version.storage) definition.status.storedVersions.append(object.arena()) = object.str(version.name);
}

void apiServiceDefaults(Mut<>& object) {
  auto& spec = static_cast<apiregistrationv1::APIService*>(object.root())->spec;
  if (spec.service) setIfAbsent(spec.service->port, kWebhookPort);
}

void flowSchemaDefaults(Mut<>& object) {
  auto& spec = static_cast<flowcontrolv1::FlowSchema*>(object.root())->spec;
  if (spec.matchingPrecedence == 0) spec.matchingPrecedence = 1000;
}

void priorityLevelDefaults(Mut<>& object) {
  auto& spec = static_cast<flowcontrolv1::PriorityLevelConfiguration*>(object.root())->spec;
  if (spec.exempt) {
    setIfAbsent(spec.exempt->nominalConcurrencyShares, int32_t{0});
    setIfAbsent(spec.exempt->lendablePercent, int32_t{0});
  }
  if (!spec.limited) return;
  setIfAbsent(spec.limited->nominalConcurrencyShares, int32_t{30});
  setIfAbsent(spec.limited->lendablePercent, int32_t{0});
  auto* queuing = spec.limited->limitResponse.queuing;
  if (!queuing) return;
  if (queuing->queues == 0) queuing->queues = 64;
  if (queuing->handSize == 0) queuing->handSize = 8;
  if (queuing->queueLengthLimit == 0) queuing->queueLengthLimit = 50;
}

void deviceClaimDefaults(resourcev1::ResourceClaimSpec& spec) {
  auto countDefaults = [](auto& request) {
    setIfEmpty(request.allocationMode, "ExactCount");
    if (request.allocationMode == "ExactCount" && request.count == 0) request.count = 1;
    for (auto& toleration : request.tolerations) setIfEmpty(toleration.operator_, "Equal");
  };
  for (auto& request : spec.devices.requests) {
    if (request.exactly) countDefaults(*request.exactly);
    for (auto& alternative : request.firstAvailable) countDefaults(alternative);
  }
}
void resourceClaimDefaults(Mut<>& object) { deviceClaimDefaults(static_cast<resourcev1::ResourceClaim*>(object.root())->spec); }
void resourceClaimTemplateDefaults(Mut<>& object) {
  deviceClaimDefaults(static_cast<resourcev1::ResourceClaimTemplate*>(object.root())->spec.spec);
}

// By the type's name, so that each version has its own.
const std::map<std::string_view, DefaultsFunction>& table() {
  static const std::map<std::string_view, DefaultsFunction> kTable{
      {"batch/v1.Job", jobDefaults},
      {"batch/v1.CronJob", cronJobDefaults},
      {"autoscaling/v1.HorizontalPodAutoscaler", autoscalerV1Defaults},
      {"autoscaling/v2.HorizontalPodAutoscaler", autoscalerDefaults},
      {"networking/v1.NetworkPolicy", networkPolicyDefaults},
      {"networking/v1.IngressClass", ingressClassDefaults},
      {"storage/v1.StorageClass", storageClassDefaults},
      {"storage/v1.CSIDriver", csiDriverDefaults},
      {"scheduling/v1.PriorityClass", priorityClassDefaults},
      {"admissionregistration/v1.ValidatingWebhookConfiguration", validatingWebhookDefaults},
      {"admissionregistration/v1.MutatingWebhookConfiguration", mutatingWebhookDefaults},
      {"admissionregistration/v1.ValidatingAdmissionPolicy", policyDefaults<admissionregistrationv1::ValidatingAdmissionPolicy>},
      {"admissionregistration/v1.MutatingAdmissionPolicy", policyDefaults<admissionregistrationv1::MutatingAdmissionPolicy>},
      {"admissionregistration/v1.ValidatingAdmissionPolicyBinding",
       policyBindingDefaults<admissionregistrationv1::ValidatingAdmissionPolicyBinding>},
      {"admissionregistration/v1.MutatingAdmissionPolicyBinding",
       policyBindingDefaults<admissionregistrationv1::MutatingAdmissionPolicyBinding>},
      {"apiextensions/v1.CustomResourceDefinition", customResourceDefinitionDefaults},
      {"apiregistration/v1.APIService", apiServiceDefaults},
      {"flowcontrol/v1.FlowSchema", flowSchemaDefaults},
      {"flowcontrol/v1.PriorityLevelConfiguration", priorityLevelDefaults},
      {"resource/v1.ResourceClaim", resourceClaimDefaults},
      {"resource/v1.ResourceClaimTemplate", resourceClaimTemplateDefaults},
  };
  return kTable;
}

}  // namespace

DefaultsFunction groupDefaultsOf(const schema::TypeInfo& type) {
  auto found = table().find(type.name);
  return found == table().end() ? nullptr : found->second;
}

}  // namespace knarr::apiserver
