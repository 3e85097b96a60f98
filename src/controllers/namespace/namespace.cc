#include "controllers/namespace/namespace.h"

#include <fmt/format.h>

#include <map>

#include "base/log.h"
#include "base/strings.h"

namespace knarr::controllers {
namespace {

using corev1::Namespace;

constexpr int kWorkers = 10;  // --concurrent-namespace-syncs
// How long something with a finalizer is given before the next look. Source: namespaced_resources_deleter.go.
constexpr int64_t kFinalizerEstimateSeconds = 15;

// What one round of deletion found.
struct Remaining {
  std::map<std::string, int> resources;  // "pods." to count
  std::map<std::string, int> finalizers;
  std::vector<std::string> errors;
  int64_t estimateSeconds = 0;
  bool anything() const { return !resources.empty(); }
};

std::string counted(const std::map<std::string, int>& counts, std::string_view what) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) parts.push_back(fmt::format("{} {} {} resource instances", name, what, count));
  return join(parts, ", ");
}

void setCondition(Mut<Namespace>& ns, std::string_view type, bool on, std::string_view onReason, std::string onMessage,
                  std::string_view offReason, std::string_view offMessage, int64_t now) {
  corev1::NamespaceCondition fresh{};
  fresh.type = ns.str(type);
  fresh.status = on ? "True" : "False";
  fresh.reason = ns.str(on ? onReason : offReason);
  fresh.message = ns.str(on ? std::string_view(onMessage) : offMessage);
  fresh.lastTransitionTime = schema::Time::fromUnix(now);
  for (auto& condition : ns->status.conditions)
    if (condition.type == type) {
      if (condition.status == fresh.status) fresh.lastTransitionTime = condition.lastTransitionTime;
      condition = fresh;
      return;
    }
  ns->status.conditions.append(ns.arena(), fresh);
}

void setConditions(Mut<Namespace>& ns, const Remaining& remaining, int64_t now) {
  setCondition(ns, "NamespaceDeletionDiscoveryFailure", false, "", "", "ResourcesDiscovered",
               "All resources successfully discovered", now);
  setCondition(ns, "NamespaceDeletionGroupVersionParsingFailure", false, "", "", "ParsedGroupVersions",
               "All legacy kube types successfully parsed", now);
  setCondition(
      ns, "NamespaceDeletionContentFailure", !remaining.errors.empty(), "ContentDeletionFailed",
      fmt::format("Failed to delete all resource types, {} remaining: {}", remaining.errors.size(), join(remaining.errors, ", ")),
      "ContentDeleted", "All content successfully deleted, may be waiting on finalization", now);
  setCondition(ns, "NamespaceContentRemaining", remaining.anything(), "SomeResourcesRemain",
               "Some resources are remaining: " + counted(remaining.resources, "has"), "ContentRemoved",
               "All content successfully removed", now);
  setCondition(ns, "NamespaceFinalizersRemaining", !remaining.finalizers.empty(), "SomeFinalizersRemain",
               "Some content in the namespace has finalizers remaining: " + counted(remaining.finalizers, "in"),
               "ContentHasNoFinalizers", "All content-preserving finalizers finished", now);
}

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
    auto registration = stop.onStop([this] { queue_->shutDown(); });
    co_await client::runWorkers(context_.env, queue_, kWorkers, [this](std::string key) { return sync(std::move(key)); });
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
    Remaining remaining = co_await deleteContent(key);
    Mut<Namespace> next = schema::edit(ns);
    setConditions(next, remaining, context_.env.clock.unixSeconds());
    if (!schema::equal(next->status, ns->status))
      ns = CO_TRY(co_await client::updateStatus<Namespace>(context_.client, std::move(next)));
    if (!remaining.errors.empty()) co_return fail(Reason::InternalError, join(remaining.errors, "; "));
    if (remaining.anything()) {
      queue_->addAfter(key, std::chrono::seconds(remaining.estimateSeconds / 2 + 1));
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
  Task<Remaining> deleteContent(std::string nameSpace) {
    Remaining remaining;
    for (size_t i = 0; i < resources_.size(); ++i)
      if (isPods(*resources_[i])) co_await deleteAllOf(resources_[i], nameSpace, &remaining);
    if (remaining.anything()) co_return remaining;
    for (size_t i = 0; i < resources_.size(); ++i)
      if (!isPods(*resources_[i])) co_await deleteAllOf(resources_[i], nameSpace, &remaining);
    co_return remaining;
  }

  static bool isPods(const client::ResourceInfo& resource) { return resource.group.empty() && resource.resource == "pods"; }

  Task<void> deleteAllOf(const client::ResourceInfo* resource, std::string nameSpace, Remaining* remaining) {
    client::DeleteOptions options;
    options.propagationPolicy = "Background";
    auto removed = co_await context_.client.removeCollection(*resource, nameSpace, options, {});
    if (!removed) {
      remaining->errors.push_back(removed.error().message());
      co_return;
    }
    auto left = co_await context_.client.list(*resource, nameSpace);
    if (!left) {
      remaining->errors.push_back(left.error().message());
      co_return;
    }
    if (left->items.empty()) co_return;
    remaining->resources[fmt::format("{}.{}", resource->resource, resource->group)] = static_cast<int>(left->items.size());
    for (const Ref<>& item : left->items) {
      const metav1::ObjectMeta& metadata = schema::metadataOf(item);
      for (schema::Str finalizer : metadata.finalizers) {
        ++remaining->finalizers[std::string(finalizer)];
        remaining->estimateSeconds = std::max(remaining->estimateSeconds, kFinalizerEstimateSeconds);
      }
      remaining->estimateSeconds = std::max(remaining->estimateSeconds, metadata.deletionGracePeriodSeconds.valueOr(0));
    }
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
