#include "apiserver/admission/object_plugins.h"

#include <fmt/format.h>

#include "api/certificates_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "api/node_v1.h"
#include "api/storage_v1.h"
#include "apiserver/admission/limit_ranger.h"
#include "base/strings.h"
#include "schema/layout.h"

namespace knarr::apiserver {
namespace {

using schema::Str;

bool is(const AdmissionAttributes& attributes, std::string_view group, std::string_view resource,
        std::string_view subresource = "") {
  return attributes.resource->group == group && attributes.resource->resource == resource &&
         attributes.subresource == subresource;
}

Unexpected refuse(const AdmissionAttributes& attributes, std::string_view why) {
  return Unexpected(forbiddenError(*attributes.resource, attributes.name, why));
}

class LimitRanger : public AdmissionPlugin {
 public:
  explicit LimitRanger(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "LimitRanger"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (attributes.operation != Operation::Create || !is(attributes, "", "pods")) co_return Result<void>();
    auto& pod = *static_cast<corev1::Pod*>(attributes.object->root());
    for (const Ref<corev1::LimitRange>& range : rangesOf(attributes.nameSpace))
      applyLimitDefaults(*range, pod, attributes.object->arena());
    co_return Result<void>();
  }

  // A pod's resources change only through resize; claims may grow.
  Task<Result<void>> validate(const AdmissionAttributes& attributes) override {
    bool pod = (attributes.operation == Operation::Create && is(attributes, "", "pods")) ||
               (attributes.operation == Operation::Update && is(attributes, "", "pods", "resize"));
    bool claim = attributes.operation != Operation::Delete && is(attributes, "", "persistentvolumeclaims");
    if (!pod && !claim) co_return Result<void>();
    if (attributes.oldObject && schema::metadataOf(attributes.oldObject).deletionTimestamp) co_return Result<void>();
    for (const Ref<corev1::LimitRange>& range : rangesOf(attributes.nameSpace)) {
      const void* root = attributes.object->root();
      std::vector<std::string> broken = pod ? limitViolations(*range, *static_cast<const corev1::Pod*>(root))
                                            : limitViolations(*range, *static_cast<const corev1::PersistentVolumeClaim*>(root));
      if (broken.empty()) continue;
      co_return refuse(attributes, broken.size() == 1 ? broken[0] : "[" + join(broken, ", ") + "]");
    }
    co_return Result<void>();
  }

 private:
  std::vector<Ref<corev1::LimitRange>> rangesOf(const std::string& nameSpace) const {
    std::vector<Ref<corev1::LimitRange>> out;
    const ServedResource* ranges = registry_.find("", "v1", "limitranges");
    if (!ranges) return out;
    std::string prefix = nameSpace + "/";
    const auto& objects = ranges->cache->objects();
    for (auto at = objects.lower_bound(prefix); at != objects.end() && at->first.starts_with(prefix); ++at)
      out.emplace_back(at->second);
    return out;
  }

  Registry& registry_;
};

class DefaultStorageClass : public AdmissionPlugin {
 public:
  explicit DefaultStorageClass(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "DefaultStorageClass"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (attributes.operation != Operation::Create || !is(attributes, "", "persistentvolumeclaims")) co_return Result<void>();
    auto& claim = *static_cast<corev1::PersistentVolumeClaim*>(attributes.object->root());
    if (claim.spec.storageClassName || claim.metadata.annotations.contains("volume.beta.kubernetes.io/storage-class"))
      co_return Result<void>();
    const ServedResource* classes = registry_.find("storage.k8s.io", "v1", "storageclasses");
    if (!classes) co_return Result<void>();
    // The newest wins, then the first by name.
    const metav1::ObjectMeta* best = nullptr;
    for (const auto& [key, object] : classes->cache->objects()) {
      const metav1::ObjectMeta& metadata = schema::metadataOf(object);
      bool marked = schema::valueOf(metadata.annotations, "storageclass.kubernetes.io/is-default-class") == "true" ||
                    schema::valueOf(metadata.annotations, "storageclass.beta.kubernetes.io/is-default-class") == "true";
      if (marked && (!best || metadata.creationTimestamp > best->creationTimestamp)) best = &metadata;
    }
    if (best) claim.spec.storageClassName = attributes.object->str(best->name);
    co_return Result<void>();
  }

 private:
  Registry& registry_;
};

class RuntimeClassAdmission : public AdmissionPlugin {
 public:
  explicit RuntimeClassAdmission(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "RuntimeClass"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (attributes.operation != Operation::Create || !is(attributes, "", "pods")) co_return Result<void>();
    auto& pod = *static_cast<corev1::Pod*>(attributes.object->root());
    if (!pod.spec.runtimeClassName || (*pod.spec.runtimeClassName).empty()) co_return Result<void>();
    Ref<nodev1::RuntimeClass> found = CO_TRY(co_await find(attributes, *pod.spec.runtimeClassName));
    Arena& arena = attributes.object->arena();
    if (found->overhead) {
      if (!pod.spec.overhead.empty() && !sameOverhead(pod.spec.overhead, found->overhead->podFixed))
        co_return refuse(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
      for (const auto& [name, quantity] : found->overhead->podFixed)
        pod.spec.overhead.at(arena, name) = {arena.copy(quantity.text)};
    }
    if (!found->scheduling) co_return Result<void>();
    for (const auto& [key, value] : found->scheduling->nodeSelector) {
      const Str* have = pod.spec.nodeSelector.find(key);
      if (have && *have != value)
        co_return refuse(attributes,
                         fmt::format("conflict: runtimeClass.scheduling.nodeSelector[{}] = {}; pod.spec.nodeSelector[{}] = {}",
                                     key, value, key, *have));
      schema::set(pod.spec.nodeSelector, arena, key, value);
    }
    for (const auto& toleration : found->scheduling->tolerations) {
      bool has = false;
      for (const auto& one : pod.spec.tolerations) has = has || schema::equal(one, toleration);
      if (!has) pod.spec.tolerations.append(arena, *schema::copyInto(arena, toleration));
    }
    co_return Result<void>();
  }

  Task<Result<void>> validate(const AdmissionAttributes& attributes) override {
    if (attributes.operation != Operation::Create || !is(attributes, "", "pods")) co_return Result<void>();
    const auto& pod = *static_cast<const corev1::Pod*>(attributes.object->root());
    bool named = pod.spec.runtimeClassName && !(*pod.spec.runtimeClassName).empty();
    if (!pod.spec.overhead.empty() && !named)
      co_return refuse(attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    co_return Result<void>();
  }

 private:
  static bool sameOverhead(const schema::Map<schema::Quantity>& a, const schema::Map<schema::Quantity>& b) {
    if (a.size() != b.size()) return false;
    for (const auto& [name, quantity] : a) {
      const schema::Quantity* other = b.find(name);
      if (!other || other->text != quantity.text) return false;
    }
    return true;
  }

  Task<Result<Ref<nodev1::RuntimeClass>>> find(const AdmissionAttributes& attributes, Str name) {
    const ServedResource* classes = registry_.find("node.k8s.io", "v1", "runtimeclasses");
    Ref<> found = classes ? classes->cache->get(name) : Ref<>();
    if (!found && classes) {
      CO_TRY(co_await registry_.hub().waitFresh());
      found = classes->cache->get(name);
    }
    if (!found) co_return refuse(attributes, fmt::format("pod rejected: RuntimeClass {} not found", quote(name)));
    co_return Ref<nodev1::RuntimeClass>(found);
  }

  Registry& registry_;
};

class DefaultIngressClass : public AdmissionPlugin {
 public:
  explicit DefaultIngressClass(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "DefaultIngressClass"; }

  Task<Result<void>> admit(const AdmissionAttributes& attributes) override {
    if (attributes.operation != Operation::Create || !is(attributes, "networking.k8s.io", "ingresses")) co_return Result<void>();
    auto& ingress = *static_cast<networkingv1::Ingress*>(attributes.object->root());
    if (ingress.spec.ingressClassName || ingress.metadata.annotations.contains("kubernetes.io/ingress.class"))
      co_return Result<void>();
    const ServedResource* classes = registry_.find("networking.k8s.io", "v1", "ingressclasses");
    if (!classes) co_return Result<void>();
    const metav1::ObjectMeta* best = nullptr;
    for (const auto& [key, object] : classes->cache->objects()) {
      const metav1::ObjectMeta& metadata = schema::metadataOf(object);
      if (schema::valueOf(metadata.annotations, "ingressclass.kubernetes.io/is-default-class") != "true") continue;
      if (!best || metadata.creationTimestamp > best->creationTimestamp) best = &metadata;
    }
    if (best) ingress.spec.ingressClassName = attributes.object->str(best->name);
    co_return Result<void>();
  }

 private:
  Registry& registry_;
};

class CertificateAdmission : public AdmissionPlugin {
 public:
  explicit CertificateAdmission(const Authorizer& authorizer) : authorizer_(authorizer) {}
  std::string_view name() const override { return "CertificateSigning"; }

  Task<Result<void>> validate(const AdmissionAttributes& attributes) override {
    if (attributes.operation != Operation::Update || !attributes.oldObject) co_return Result<void>();
    constexpr std::string_view kGroup = "certificates.k8s.io", kResource = "certificatesigningrequests";
    bool approval = is(attributes, kGroup, kResource, "approval"), status = is(attributes, kGroup, kResource, "status");
    if (!approval && !status) co_return Result<void>();
    Ref<certificatesv1::CertificateSigningRequest> old(attributes.oldObject);
    const auto& now = *static_cast<const certificatesv1::CertificateSigningRequest*>(attributes.object->root());
    if (status && schema::equal(now.status, old->status)) co_return Result<void>();
    std::string_view verb = approval ? "approve" : "sign";
    if (!mayUse(*attributes.user, verb, old->spec.signerName))
      co_return refuse(attributes,
                       fmt::format("user not permitted to {} requests with signerName {}", verb, quote(old->spec.signerName)));
    co_return Result<void>();
  }

 private:
  // The right for one signer, or for all of its domain.
  bool mayUse(const UserInfo& user, std::string_view verb, Str signer) const {
    std::string domain(signer.substr(0, signer.find('/')));
    for (const std::string& name : {std::string(signer), domain + "/*"}) {
      AuthorizationAttributes asked;
      asked.verb = verb;
      asked.apiGroup = "certificates.k8s.io";
      asked.apiVersion = "*";
      asked.resource = "signers";
      asked.name = name;
      if (authorizer_.check(user, asked)) return true;
    }
    return false;
  }

  const Authorizer& authorizer_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> makeLimitRanger(Registry& registry) { return std::make_unique<LimitRanger>(registry); }
std::unique_ptr<AdmissionPlugin> makeDefaultStorageClass(Registry& registry) {
  return std::make_unique<DefaultStorageClass>(registry);
}
std::unique_ptr<AdmissionPlugin> makeRuntimeClassAdmission(Registry& registry) {
  return std::make_unique<RuntimeClassAdmission>(registry);
}
std::unique_ptr<AdmissionPlugin> makeDefaultIngressClass(Registry& registry) {
  return std::make_unique<DefaultIngressClass>(registry);
}
std::unique_ptr<AdmissionPlugin> makeCertificateAdmission(const Authorizer& authorizer) {
  return std::make_unique<CertificateAdmission>(authorizer);
}

}  // namespace knarr::apiserver
