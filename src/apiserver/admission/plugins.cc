#include "apiserver/admission/plugins.h"

#include <fmt/format.h>

#include <set>

#include "api/core_v1.h"
#include "api/scheduling_v1.h"
#include "apiserver/admission/object_plugins.h"
#include "apiserver/admission/service_allocator.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using schema::Str;

constexpr int64_t kNotReadySeconds = 300;  // --default-not-ready-toleration-seconds
constexpr std::string_view kTokenMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";

bool is(const AdmissionAttributes& attributes, std::string_view group, std::string_view resource) {
  return attributes.resource->group == group && attributes.resource->resource == resource;
}
bool isPodCreate(const AdmissionAttributes& attributes) {
  return attributes.operation == Operation::Create && is(attributes, "", "pods") && attributes.subresource.empty();
}
bool isPodUpdate(const AdmissionAttributes& attributes) {
  return attributes.operation == Operation::Update && is(attributes, "", "pods") && attributes.subresource.empty();
}

// Nothing is made in a namespace that is not there or is going; three namespaces never go.
// Source: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle.
class NamespaceLifecycle : public AdmissionPlugin {
 public:
  explicit NamespaceLifecycle(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "NamespaceLifecycle"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    const ServedResource* namespaces = registry_.find("", "v1", "namespaces");
    if (attributes.operation == Operation::Delete && is(attributes, "", "namespaces")) {
      if (attributes.name == "default" || attributes.name == "kube-system" || attributes.name == "kube-public")
        co_return Unexpected(forbiddenError(*attributes.resource, attributes.name, "this namespace may not be deleted"));
    }
    if (!attributes.resource->namespaced || !namespaces || attributes.operation == Operation::Delete) co_return Result<void>();
    Ref<> object = namespaces->cache->get(attributes.nameSpace);
    if (!object) {
      CO_TRY(co_await registry_.hub().waitFresh());
      object = namespaces->cache->get(attributes.nameSpace);
    }
    if (!object) co_return Unexpected(notFoundError(*namespaces->info, attributes.nameSpace));
    if (attributes.operation != Operation::Create || Ref<corev1::Namespace>(object)->status.phase != "Terminating")
      co_return Result<void>();
    co_return Unexpected(namespaceTerminatingError(*attributes.resource, attributes.name, attributes.nameSpace));
  }

 private:
  Registry& registry_;
};

// Every pod runs as a service account and gets its token. Source: plugin/pkg/admission/serviceaccount.
class ServiceAccountAdmission : public AdmissionPlugin {
 public:
  explicit ServiceAccountAdmission(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "ServiceAccount"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (!isPodCreate(attributes)) co_return Result<void>();
    auto& pod = *static_cast<corev1::Pod*>(attributes.object->root());
    if (schema::valueOf(pod.metadata.annotations, "kubernetes.io/config.mirror").size() != 0) co_return Result<void>();
    if (pod.spec.serviceAccountName.empty()) pod.spec.serviceAccountName = "default";
    pod.spec.serviceAccount = pod.spec.serviceAccountName;
    const ServedResource* accounts = registry_.find("", "v1", "serviceaccounts");
    std::string key = fmt::format("{}/{}", attributes.nameSpace, pod.spec.serviceAccountName);
    Ref<> found = accounts ? accounts->cache->get(key) : Ref<>();
    if (!found && accounts) {
      CO_TRY(co_await registry_.hub().waitFresh());
      found = accounts->cache->get(key);
    }
    if (!found)
      co_return Unexpected(forbiddenError(*attributes.resource, attributes.name,
                                          fmt::format("error looking up service account {}: serviceaccount {} not found", key,
                                                      quote(pod.spec.serviceAccountName))));
    Ref<corev1::ServiceAccount> account(found);
    bool mount = pod.spec.automountServiceAccountToken ? *pod.spec.automountServiceAccountToken
                                                       : account->automountServiceAccountToken.valueOr(true);
    if (mount) mountToken(*attributes.object, pod);
    if (pod.spec.imagePullSecrets.empty())
      for (const auto& secret : account->imagePullSecrets)
        pod.spec.imagePullSecrets.append(attributes.object->arena()).name = attributes.object->str(secret.name);
    co_return Result<void>();
  }

  // What a node says about a pod of its own names nothing that only the API server could give.
  Task<Result<void>> validate(const AdmissionAttributes& attributes) override {
    if (!isPodCreate(attributes)) co_return Result<void>();
    const auto& pod = *static_cast<const corev1::Pod*>(attributes.object->root());
    if (!pod.metadata.annotations.contains("kubernetes.io/config.mirror")) co_return Result<void>();
    auto refuse = [&](std::string_view why) { return Unexpected(forbiddenError(*attributes.resource, attributes.name, why)); };
    if (!pod.spec.serviceAccountName.empty()) co_return refuse("a mirror pod may not reference service accounts");
    if (namesSecrets(pod.spec)) co_return refuse("a mirror pod may not reference secrets");
    for (const auto& volume : pod.spec.volumes)
      if (volume.volumeSource.projected)
        for (const auto& source : volume.volumeSource.projected->sources)
          if (source.serviceAccountToken) co_return refuse("a mirror pod may not use ServiceAccountToken volume projections");
    co_return Result<void>();
  }

 private:
  static bool namesSecrets(const corev1::PodSpec& spec) {
    bool names = !spec.imagePullSecrets.empty();
    for (const auto* list : {&spec.initContainers, &spec.containers})
      for (const auto& container : *list) {
        for (const auto& source : container.envFrom) names = names || source.secretRef;
        for (const auto& variable : container.env) names = names || (variable.valueFrom && variable.valueFrom->secretKeyRef);
      }
    for (const auto& volume : spec.volumes) {
      names = names || volume.volumeSource.secret;
      if (volume.volumeSource.projected)
        for (const auto& source : volume.volumeSource.projected->sources) names = names || source.secret;
    }
    return names;
  }

  void mountToken(Mut<>& object, corev1::Pod& pod) {
    Arena& arena = object.arena();
    Str volumeName;
    for (const auto& volume : pod.spec.volumes)
      if (volume.name.starts_with("kube-api-access-")) volumeName = volume.name;
    bool needed = false;
    for (auto* list : {&pod.spec.initContainers, &pod.spec.containers})
      for (auto& container : *list) {
        bool has = false;
        for (const auto& mount : container.volumeMounts) has = has || mount.mountPath == kTokenMountPath;
        if (has) continue;
        if (volumeName.empty()) volumeName = object.str("kube-api-access-" + env::randomNameSuffix(registry_.env().random, 5));
        auto& mount = container.volumeMounts.append(arena);
        mount.name = volumeName;
        mount.readOnly = true;
        mount.mountPath = kTokenMountPath;
        needed = true;
      }
    for (const auto& volume : pod.spec.volumes)
      if (volume.name == volumeName) return;
    if (!needed) return;
    auto& volume = pod.spec.volumes.append(arena);
    volume.name = volumeName;
    volume.volumeSource.projected = tokenProjection(arena);
  }

  static corev1::ProjectedVolumeSource* tokenProjection(Arena& arena) {
    auto* projected = arena.make<corev1::ProjectedVolumeSource>();
    projected->defaultMode = int32_t{0644};
    auto* token = arena.make<corev1::ServiceAccountTokenProjection>();
    token->path = "token";
    token->expirationSeconds = int64_t{3607};  // one that upstream can tell from a chosen one
    projected->sources.append(arena).serviceAccountToken = token;
    auto* ca = arena.make<corev1::ConfigMapProjection>();
    ca->localObjectReference.name = "kube-root-ca.crt";
    auto& caItem = ca->items.append(arena);
    caItem.key = "ca.crt";
    caItem.path = "ca.crt";
    projected->sources.append(arena).configMap = ca;
    auto* downward = arena.make<corev1::DownwardAPIProjection>();
    auto& item = downward->items.append(arena);
    item.path = "namespace";
    item.fieldRef = arena.make<corev1::ObjectFieldSelector>();
    item.fieldRef->apiVersion = "v1";
    item.fieldRef->fieldPath = "metadata.namespace";
    projected->sources.append(arena).downwardAPI = downward;
    return projected;
  }

  Registry& registry_;
};

// The priority of a pod's class. Source: plugin/pkg/admission/priority.
class PriorityAdmission : public AdmissionPlugin {
 public:
  explicit PriorityAdmission(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "Priority"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (isPodUpdate(attributes)) keep(*attributes.object, *Ref<corev1::Pod>(attributes.oldObject));
    if (!isPodCreate(attributes)) co_return Result<void>();
    auto& pod = *static_cast<corev1::Pod*>(attributes.object->root());
    int32_t value = 0;
    Str policy = "PreemptLowerPriority";
    const ServedResource* classes = registry_.find("scheduling.k8s.io", "v1", "priorityclasses");
    if (pod.spec.priorityClassName == "system-node-critical" || pod.spec.priorityClassName == "system-cluster-critical") {
      value = pod.spec.priorityClassName == "system-node-critical" ? 2000001000 : 2000000000;
    } else if (!pod.spec.priorityClassName.empty()) {
      Ref<> found = classes ? classes->cache->get(pod.spec.priorityClassName) : Ref<>();
      if (!found)
        co_return Unexpected(forbiddenError(*attributes.resource, attributes.name,
                                            fmt::format("no PriorityClass with name {} was found", pod.spec.priorityClassName)));
      Ref<schedulingv1::PriorityClass> priorityClass(found);
      value = priorityClass->value;
      policy = attributes.object->str(priorityClass->preemptionPolicy.valueOr(policy));
    } else if (classes) {
      for (const auto& [key, object] : classes->cache->objects()) {
        Ref<schedulingv1::PriorityClass> priorityClass(object);
        if (!priorityClass->globalDefault) continue;
        value = priorityClass->value;
        pod.spec.priorityClassName = attributes.object->str(key);
        policy = attributes.object->str(priorityClass->preemptionPolicy.valueOr(policy));
      }
    }
    if (pod.spec.priority && *pod.spec.priority != value)
      co_return Unexpected(
          forbiddenError(*attributes.resource, attributes.name,
                         fmt::format("the integer value of priority ({}) must not be provided in pod spec; priority admission "
                                     "controller computed {} from the given PriorityClass name",
                                     *pod.spec.priority, value)));
    pod.spec.priority = value;
    if (!pod.spec.preemptionPolicy) pod.spec.preemptionPolicy = policy;
    co_return Result<void>();
  }

  // One class at most is the default.
  Task<Result<void>> validate(const AdmissionAttributes& attributes) override {
    if (attributes.operation == Operation::Delete || !is(attributes, "scheduling.k8s.io", "priorityclasses"))
      co_return Result<void>();
    if (!static_cast<const schedulingv1::PriorityClass*>(attributes.object->root())->globalDefault) co_return Result<void>();
    CO_TRY(co_await registry_.hub().waitFresh());
    for (const auto& [key, object] : registry_.find("scheduling.k8s.io", "v1", "priorityclasses")->cache->objects())
      if (Ref<schedulingv1::PriorityClass>(object)->globalDefault && key != attributes.name)
        co_return Unexpected(
            forbiddenError(*attributes.resource, attributes.name,
                           fmt::format("PriorityClass {} is already marked as default. Only one default can exist", key)));
    co_return Result<void>();
  }

 private:
  // A client that sends a pod as it once made it does not know what was set here.
  static void keep(Mut<>& object, const corev1::Pod& old) {
    corev1::PodSpec& spec = static_cast<corev1::Pod*>(object.root())->spec;
    if (!spec.priority) spec.priority = old.spec.priority;
    if (!spec.preemptionPolicy && old.spec.preemptionPolicy) spec.preemptionPolicy = object.str(*old.spec.preemptionPolicy);
  }

  Registry& registry_;
};

// Pods stay five minutes on a node that is lost; an update that leaves these tolerations out gets them again.
// Source: plugin/pkg/admission/defaulttolerationseconds.
class DefaultTolerationSeconds : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "DefaultTolerationSeconds"; }
  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (!isPodCreate(attributes) && !isPodUpdate(attributes)) co_return Result<void>();
    auto& pod = *static_cast<corev1::Pod*>(attributes.object->root());
    for (Str key : {Str("node.kubernetes.io/not-ready"), Str("node.kubernetes.io/unreachable")}) {
      bool tolerated = false;
      for (const auto& toleration : pod.spec.tolerations)
        tolerated = tolerated || ((toleration.key == key || toleration.key.empty()) &&
                                  (toleration.effect == "NoExecute" || toleration.effect.empty()));
      if (tolerated) continue;
      auto& toleration = pod.spec.tolerations.append(attributes.object->arena());
      toleration.key = key;
      toleration.operator_ = "Exists";
      toleration.effect = "NoExecute";
      toleration.tolerationSeconds = kNotReadySeconds;
    }
    co_return Result<void>();
  }
};

// A new node takes no pods until its conditions are known. Source: plugin/pkg/admission/nodetaint.
class TaintNodesByCondition : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "TaintNodesByCondition"; }
  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (attributes.operation != Operation::Create || !is(attributes, "", "nodes") || !attributes.subresource.empty())
      co_return Result<void>();
    auto& node = *static_cast<corev1::Node*>(attributes.object->root());
    for (const auto& taint : node.spec.taints)
      if (taint.key == "node.kubernetes.io/not-ready") co_return Result<void>();
    auto& taint = node.spec.taints.append(attributes.object->arena());
    taint.key = "node.kubernetes.io/not-ready";
    taint.effect = "NoSchedule";
    co_return Result<void>();
  }
};

}  // namespace

void addAdmissionPlugins(AdmissionChain& chain, Registry& registry, AdmissionConfig config) {
  chain.add(std::make_unique<NamespaceLifecycle>(registry));
  chain.add(makeLimitRanger(registry));
  chain.add(std::make_unique<ServiceAccountAdmission>(registry));
  chain.add(std::make_unique<TaintNodesByCondition>());
  chain.add(std::make_unique<PriorityAdmission>(registry));
  chain.add(std::make_unique<DefaultTolerationSeconds>());
  chain.add(makeDefaultStorageClass(registry));
  chain.add(makeRuntimeClassAdmission(registry));
  chain.add(makeDefaultIngressClass(registry));
  chain.add(makeServiceAllocator(registry, config.serviceClusterIpRange));
}

}  // namespace knarr::apiserver
