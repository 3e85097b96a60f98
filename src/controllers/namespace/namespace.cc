#include "controllers/namespace/namespace.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "controllers/namespace/decide.h"

namespace knarr::controllers {
namespace {

using corev1::Namespace;

constexpr int kWorkers = 10;  // --concurrent-namespace-syncs
class NamespaceController : public Controller {
 public:
  NamespaceController(ControllerContext context, std::vector<const client::ResourceInfo*> resources)
      : context_(context),
        resources_(std::move(resources)),
        namespaces_(context.informers.informer<Namespace>()),
        queue_(std::make_shared<client::WorkQueue>(context.env, "namespace")) {
    auto enqueue = [this](const Ref<>& ns) {
      if (schema::metadataOf(ns).deletionTimestamp) queue_->add(client::keyOf(ns));
    };
    namespaces_.addHandler({enqueue, [enqueue](const Ref<>&, const Ref<>& ns) { enqueue(ns); }, {}});
  }

  std::string_view name() const override { return "namespace-controller"; }

  Task<void> run(StopToken stop) override {
    return runController(&context_, queue_, kWorkers, [this](std::string key) { return sync(std::move(key)); }, nullptr, stop);
  }

 private:
  Task<Result<void>> sync(std::string key) {
    auto live = co_await client::get<Namespace>(context_.client, "", key);
    if (!live && isNotFound(live.error())) co_return Result<void>();
    if (!live) co_return Unexpected(std::move(live).error());
    Ref<Namespace> ns = *live;
    if (!ns->metadata.deletionTimestamp) co_return Result<void>();
    if (ns->status.phase != "Terminating") {
      Mut<Namespace> next = schema::edit(ns);
      next->status.phase = "Terminating";
      ns = CO_TRY(co_await client::updateStatus<Namespace>(context_.client, std::move(next)));
    }
    if (ns->spec.finalizers.empty()) co_return Result<void>();
    Remaining remaining = co_await deleteContent(key, ns->metadata.deletionTimestamp.value.unixSeconds());
    Mut<Namespace> next = schema::edit(ns);
    setConditions(next, remaining, context_.env.clock.unixSeconds());
    bool told = !schema::equal(next->status, ns->status);
    if (told) ns = CO_TRY(co_await client::updateStatus<Namespace>(context_.client, std::move(next)));
    if (!remaining.errors.empty()) co_return fail(Reason::InternalError, join(remaining.errors, "; "));
    if (remaining.estimateSeconds > 0) {
      queue_->addAfter(key, std::chrono::seconds(remaining.estimateSeconds / 2 + 1));
      co_return Result<void>();
    }
    // What was let in before the deletion was known may have been committed after it was looked for. It stands before the write
    // of the conditions, so a round that has nothing new to tell has seen everything.
    if (told) {
      queue_->add(key);
      co_return Result<void>();
    }
    co_return co_await finalize(ns);
  }

  Task<Result<void>> finalize(Ref<Namespace> ns) {
    Mut<Namespace> next = schema::edit(ns);
    auto& finalizers = next->spec.finalizers;
    for (size_t i = 0; i < finalizers.size();)
      if (finalizers[i] == "kubernetes")
        finalizers.eraseAt(i);
      else
        ++i;
    auto done = co_await context_.client.update(client::resourceOf<Namespace>("finalize"), "", std::string(ns->metadata.name),
                                                std::move(next));
    if (!done && !isNotFound(done.error())) co_return Unexpected(std::move(done).error());
    co_return Result<void>();
  }

  // Pods first; while one is left, nothing it may depend on is taken away. Source: KEP-5080.
  Task<Remaining> deleteContent(std::string nameSpace, int64_t deletedAt) {
    Remaining remaining;
    for (size_t i = 0; i < resources_.size(); ++i)
      if (isPods(*resources_[i])) co_await deleteAllOf(resources_[i], nameSpace, deletedAt, &remaining);
    if (remaining.anything()) {
      // Upstream counts contents only in rounds that look at all of them.
      remaining.resources.clear();
      remaining.finalizers.clear();
      co_return remaining;
    }
    for (size_t i = 0; i < resources_.size(); ++i)
      if (!isPods(*resources_[i])) co_await deleteAllOf(resources_[i], nameSpace, deletedAt, &remaining);
    co_return remaining;
  }

  static bool isPods(const client::ResourceInfo& resource) { return resource.group.empty() && resource.resource == "pods"; }

  Task<void> deleteAllOf(const client::ResourceInfo* resource, std::string nameSpace, int64_t deletedAt, Remaining* remaining) {
    int64_t estimate = 0;
    if (isPods(*resource)) {
      auto pods = co_await context_.client.list(*resource, nameSpace);
      if (!pods) co_return remaining->errors.push_back(pods.error().message());
      estimate = estimateGracefulTermination(pods->items, deletedAt, context_.env.clock.unixSeconds());
    }
    client::DeleteOptions options;
    options.propagationPolicy = "Background";
    auto removed = co_await context_.client.removeCollection(*resource, nameSpace, options, {});
    if (!removed) co_return remaining->errors.push_back(removed.error().message());
    auto left = co_await context_.client.list(*resource, nameSpace);
    if (!left) co_return remaining->errors.push_back(left.error().message());
    remaining->add(*resource, nameSpace, left->items, estimate);
  }

  ControllerContext context_;
  std::vector<const client::ResourceInfo*> resources_;
  client::Informer& namespaces_;
  std::shared_ptr<client::WorkQueue> queue_;
};

}  // namespace

std::unique_ptr<Controller> makeNamespaceController(ControllerContext context,
                                                    std::vector<const client::ResourceInfo*> resources) {
  return std::make_unique<NamespaceController>(context, std::move(resources));
}

}  // namespace knarr::controllers
