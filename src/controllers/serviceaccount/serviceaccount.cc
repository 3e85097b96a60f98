#include "controllers/serviceaccount/serviceaccount.h"

namespace knarr::controllers {
namespace {

using corev1::ConfigMap;
using corev1::Namespace;
using corev1::ServiceAccount;

constexpr std::string_view kRootCaName = "kube-root-ca.crt";
constexpr std::string_view kDescription =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal "
    "service IP "
    "or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

// Keeps one object per namespace: a sync of a namespace makes or mends it.
class PerNamespaceController : public Controller {
 public:
  PerNamespaceController(ControllerContext context, client::Informer& owned, std::string ownedName)
      : context_(context),
        namespaces_(context.informers.informer<Namespace>()),
        owned_(owned),
        ownedName_(std::move(ownedName)),
        queue_(std::make_shared<client::WorkQueue>(context.env, ownedName_)) {
    namespaces_.addHandler({[this](const Ref<>& ns) { queue_->add(client::keyOf(ns)); },
                            [this](const Ref<>&, const Ref<>& ns) { queue_->add(client::keyOf(ns)); },
                            {}});
    auto changed = [this](const Ref<>& object) {
      const metav1::ObjectMeta& metadata = schema::metadataOf(object);
      if (metadata.name == ownedName_) queue_->add(std::string(metadata.namespace_));
    };
    owned_.addHandler({{}, [changed](const Ref<>&, const Ref<>& object) { changed(object); }, changed});
  }

  Task<void> run(StopToken stop) override {
    return runController(&context_, queue_, 1, [this](std::string key) { return sync(std::move(key)); }, nullptr, stop);
  }

 protected:
  virtual Task<Result<void>> ensure(std::string nameSpace, Ref<> have) = 0;

  Task<Result<void>> sync(std::string nameSpace) {
    Ref<Namespace> ns(namespaces_.get(nameSpace));
    if (!ns || ns->metadata.deletionTimestamp || ns->status.phase == "Terminating") co_return Result<void>();
    Result<void> done = co_await ensure(nameSpace, owned_.get(nameSpace, ownedName_));
    if (!done && (isAlreadyExists(done.error()) || isNamespaceTerminating(done.error()))) co_return Result<void>();
    co_return done;
  }

  ControllerContext context_;
  client::Informer& namespaces_;
  client::Informer& owned_;
  std::string ownedName_;
  std::shared_ptr<client::WorkQueue> queue_;
};

class ServiceAccountsController : public PerNamespaceController {
 public:
  explicit ServiceAccountsController(ControllerContext context)
      : PerNamespaceController(context, context.informers.informer<ServiceAccount>(), "default") {}
  std::string_view name() const override { return "service-account-controller"; }

 protected:
  Task<Result<void>> ensure(std::string nameSpace, Ref<> have) override {
    if (have) co_return Result<void>();
    Mut<ServiceAccount> account = schema::newObject<ServiceAccount>();
    account->metadata.name = "default";
    account->metadata.namespace_ = account.str(nameSpace);
    CO_TRY(co_await client::create<ServiceAccount>(context_.client, nameSpace, std::move(account)));
    co_return Result<void>();
  }
};

class RootCaCertPublisher : public PerNamespaceController {
 public:
  RootCaCertPublisher(ControllerContext context, std::string rootCaPem)
      : PerNamespaceController(context, context.informers.informer<ConfigMap>(), std::string(kRootCaName)),
        rootCaPem_(std::move(rootCaPem)) {}
  std::string_view name() const override { return "root-ca-cert-publisher"; }

 protected:
  Task<Result<void>> ensure(std::string nameSpace, Ref<> have) override {
    if (!have) {
      Mut<ConfigMap> map = schema::newObject<ConfigMap>();
      map->metadata.name = kRootCaName;
      map->metadata.namespace_ = map.str(nameSpace);
      schema::set(map->metadata.annotations, map.arena(), "kubernetes.io/description", kDescription);
      schema::set(map->data, map.arena(), "ca.crt", rootCaPem_);
      CO_TRY(co_await client::create<ConfigMap>(context_.client, nameSpace, std::move(map)));
      co_return Result<void>();
    }
    Ref<ConfigMap> current(have);
    bool right = current->data.size() == 1 && schema::valueOf(current->data, "ca.crt") == rootCaPem_ &&
                 schema::valueOf(current->metadata.annotations, "kubernetes.io/description") == kDescription;
    if (right) co_return Result<void>();
    Mut<ConfigMap> next = schema::edit(current);
    next->data.clear();
    schema::set(next->data, next.arena(), "ca.crt", rootCaPem_);
    schema::set(next->metadata.annotations, next.arena(), "kubernetes.io/description", kDescription);
    CO_TRY(co_await client::update<ConfigMap>(context_.client, std::move(next)));
    co_return Result<void>();
  }

 private:
  std::string rootCaPem_;
};

}  // namespace

std::unique_ptr<Controller> makeServiceAccountsController(ControllerContext context) {
  return std::make_unique<ServiceAccountsController>(context);
}
std::unique_ptr<Controller> makeRootCaCertPublisher(ControllerContext context, std::string rootCaPem) {
  return std::make_unique<RootCaCertPublisher>(context, std::move(rootCaPem));
}

}  // namespace knarr::controllers
