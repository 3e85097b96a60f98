#include "controllers/garbagecollector/garbagecollector.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/strings.h"
#include "controllers/garbagecollector/graph.h"

namespace knarr::controllers {
namespace {

constexpr int kWorkers = 20;  // --concurrent-gc-syncs
constexpr size_t kAbsentMax = 500;

class GarbageCollector : public Controller {
 public:
  GarbageCollector(ControllerContext context, const std::vector<const client::ResourceInfo*>& resources)
      : context_(context),
        queue_(std::make_shared<client::WorkQueue>(context.env, "garbage-collector")),
        absent_(kAbsentMax),
        recorder_(context.env, context.client, "garbage-collector-controller", "") {
    for (const client::ResourceInfo* resource : resources) {
      client::Informer& informer = context.informers.informer(*resource);
      auto upsert = [this, resource](const Ref<>& object) {
        enqueue(graph_.upsert(*resource, object));
        reportForeignOwners(std::string(schema::metadataOf(object).uid));
      };
      informer.addHandler({upsert, [upsert](const Ref<>&, const Ref<>& object) { upsert(object); },
                           [this](const Ref<>& object) {
                             std::string uid(schema::metadataOf(object).uid);
                             forgetObject(uid);
                           }});
    }
  }

  std::string_view name() const override { return "generic-garbage-collector"; }

  Task<void> run(StopToken stop) override {
    return runController(
        &context_, queue_, kWorkers, [this](std::string uid) { return attemptToDelete(std::move(uid)); }, &recorder_, stop);
  }

 private:
  enum class Owner : uint8_t { Solid, Dangling, Waiting, Misplaced };

  void enqueue(const OwnerGraph::Affected& uids) {
    for (const std::string& uid : uids) queue_->add(uid);
  }
  // The object is gone; what it owned is looked at.
  void forgetObject(const std::string& uid) {
    if (const GraphNode* node = graph_.find(uid); node && !node->dependents.empty()) absent_.add(coordinatesOf(node->identity));
    enqueue(graph_.remove(uid));
  }
  // Nobody in another namespace owns an object; its user is told. Source: graph_builder.go, reportInvalidNamespaceOwnerRef.
  void reportForeignOwners(const std::string& uid) {
    const GraphNode* node = graph_.find(uid);
    for (const ObjectIdentity& owner : foreignOwners(graph_, *node))
      recorder_.event(node->object, "Warning", "OwnerRefInvalidNamespace",
                      fmt::format("ownerRef {} does not exist in namespace \"{}\"", coordinatesOf(owner), owner.nameSpace));
  }

  Task<Result<void>> attemptToDelete(std::string uid) {
    const GraphNode* found = graph_.find(uid);
    if (!found || found->isVirtual()) co_return Result<void>();
    if (found->beingDeleted() && found->hasFinalizer("orphan")) co_return co_await orphanDependents(uid);
    if (found->deletingDependents()) co_return co_await finishForeground(uid);
    if (found->beingDeleted() || found->owners.empty()) co_return Result<void>();
    ObjectIdentity item = found->identity;
    Ref<> live = CO_TRY(co_await liveObject(item));
    if (!live) co_return Result<void>();
    std::vector<std::string> solid, gone;
    bool waiting = false;
    const auto& owners = schema::metadataOf(live).ownerReferences;
    for (size_t i = 0; i < owners.size(); ++i) {
      metav1::OwnerReference owner = owners[i];
      Owner state = CO_TRY(co_await classify(item, owner));
      // A cluster-scoped object cannot be owned by something inside a namespace; nothing is done about it.
      if (state == Owner::Misplaced) co_return Result<void>();
      if (state == Owner::Solid)
        solid.emplace_back(owner.uid);
      else
        gone.emplace_back(owner.uid);
      waiting = waiting || state == Owner::Waiting;
    }
    if (owners.empty()) co_return Result<void>();
    if (!solid.empty()) {
      if (gone.empty()) co_return Result<void>();
      co_return co_await dropOwners(live, item, std::move(gone));
    }
    const GraphNode* node = graph_.find(uid);
    bool foreground = waiting && node && !node->dependents.empty();
    // Its own dependents wait for theirs: were they a circle, each would wait for the other.
    if (foreground && anyDeletesDependents(graph_, *node)) {
      std::string patch = unblockingPatch(schema::metadataOf(live));
      if (!patch.empty()) {
        live = CO_TRY(
            co_await context_.client.patch(*item.resource, item.nameSpace, item.name, client::PatchType::StrategicMerge, patch));
      }
    }
    co_return co_await removeItem(live, item, foreground);
  }

  // The object as it is now; null when it is gone or another has its name.
  Task<Result<Ref<>>> liveObject(ObjectIdentity item) {
    auto live = co_await context_.client.get(*item.resource, item.nameSpace, item.name);
    if (!live && !isNotFound(live.error())) co_return live;
    if (live && schema::metadataOf(*live).uid == item.uid) co_return live;
    forgetObject(item.uid);
    co_return Ref<>();
  }

  Task<Result<Owner>> classify(ObjectIdentity item, metav1::OwnerReference owner) {
    std::string uid(owner.uid), name(owner.name), apiVersion(owner.apiVersion), kind(owner.kind);
    size_t slash = apiVersion.find('/');
    const client::ResourceInfo* resource = slash == std::string::npos
                                               ? schema::findResourceOfKind("", apiVersion, kind)
                                               : schema::findResourceOfKind(std::string_view(apiVersion).substr(0, slash),
                                                                            std::string_view(apiVersion).substr(slash + 1), kind);
    if (!resource) co_return fail(Reason::InternalError, fmt::format("unable to get REST mapping for {}/{}.", apiVersion, kind));
    if (resource->namespaced && item.nameSpace.empty()) co_return Owner::Misplaced;
    std::string nameSpace = resource->namespaced ? item.nameSpace : "";
    // Remembered with all coordinates: a reference that names the wrong object says nothing about the right one.
    std::string coordinates = coordinatesOf({resource, apiVersion, kind, nameSpace, name, uid});
    if (absent_.contains(coordinates)) co_return Owner::Dangling;
    auto live = co_await context_.client.get(*resource, nameSpace, name);
    if (!live && !isNotFound(live.error())) co_return Unexpected(std::move(live).error());
    if (!live || schema::metadataOf(*live).uid != uid) {
      absent_.add(coordinates);
      co_return Owner::Dangling;
    }
    const metav1::ObjectMeta& metadata = schema::metadataOf(*live);
    bool foreground = false;
    for (schema::Str finalizer : metadata.finalizers) foreground = foreground || finalizer == "foregroundDeletion";
    co_return metadata.deletionTimestamp&& foreground ? Owner::Waiting : Owner::Solid;
  }

  static std::string withoutOwners(std::string_view uid, const std::vector<std::string>& owners) {
    std::vector<std::string> parts;
    for (const std::string& owner : owners) parts.push_back(fmt::format("{{\"$patch\":\"delete\",\"uid\":\"{}\"}}", owner));
    return fmt::format("{{\"metadata\":{{\"ownerReferences\":[{}],\"uid\":\"{}\"}}}}", join(parts, ","), uid);
  }

  Task<Result<void>> dropOwners(Ref<>, ObjectIdentity item, std::vector<std::string> owners) {
    auto patched = co_await context_.client.patch(*item.resource, item.nameSpace, item.name, client::PatchType::StrategicMerge,
                                                  withoutOwners(item.uid, owners));
    if (!patched && !isNotFound(patched.error())) co_return Unexpected(std::move(patched).error());
    co_return Result<void>();
  }

  Task<Result<void>> removeItem(Ref<> live, ObjectIdentity item, bool foreground) {
    client::DeleteOptions options;
    options.preconditionUid = item.uid;
    options.preconditionResourceVersion = schema::metadataOf(live).resourceVersion;
    options.propagationPolicy = foreground ? "Foreground" : "Background";
    for (schema::Str finalizer : schema::metadataOf(live).finalizers) {
      if (finalizer == "orphan") options.propagationPolicy = "Orphan";
      if (finalizer == "foregroundDeletion") options.propagationPolicy = "Foreground";
    }
    logInfo("garbagecollector", "deleting {} {}/{}: its owners are gone", item.kind, item.nameSpace, item.name);
    auto gone = co_await context_.client.remove(*item.resource, item.nameSpace, item.name, options);
    if (!gone && !isNotFound(gone.error())) co_return Unexpected(std::move(gone).error());
    co_return Result<void>();
  }

  Task<Result<void>> removeFinalizer(ObjectIdentity item, std::string finalizer) {
    Ref<> live = CO_TRY(co_await liveObject(item));
    if (!live) co_return Result<void>();
    Mut<> next = schema::edit(live);
    auto& finalizers = schema::metadataOf(next).finalizers;
    bool had = false;
    for (size_t i = 0; i < finalizers.size(); ++i)
      if (finalizers[i] == finalizer) {
        finalizers.eraseAt(i);
        had = true;
        break;
      }
    if (!had) co_return Result<void>();
    auto updated = co_await context_.client.update(*item.resource, item.nameSpace, item.name, std::move(next));
    if (!updated && !isNotFound(updated.error())) co_return Unexpected(std::move(updated).error());
    co_return Result<void>();
  }

  // An owner deleted in the foreground goes when nothing blocks it any more.
  Task<Result<void>> finishForeground(std::string uid) {
    const GraphNode* owner = graph_.find(uid);
    std::vector<std::string> blocking = blockingDependents(graph_, *owner);
    if (blocking.empty()) co_return co_await removeFinalizer(owner->identity, "foregroundDeletion");
    for (const std::string& dependent : blocking) {
      const GraphNode* node = graph_.find(dependent);
      if (node && !node->deletingDependents() && !node->beingDeleted()) queue_->add(dependent);
    }
    co_return Result<void>();
  }

  Task<Result<void>> orphanDependents(std::string uid) {
    const GraphNode* owner = graph_.find(uid);
    ObjectIdentity identity = owner->identity;
    std::vector<std::string> dependents(owner->dependents.begin(), owner->dependents.end());
    for (size_t i = 0; i < dependents.size(); ++i) {
      const GraphNode* dependent = graph_.find(dependents[i]);
      if (!dependent || dependent->isVirtual()) continue;
      CO_TRY(co_await dropOwners(dependent->object, dependent->identity, {uid}));
    }
    co_return co_await removeFinalizer(identity, "orphan");
  }

  ControllerContext context_;
  std::shared_ptr<client::WorkQueue> queue_;
  OwnerGraph graph_;
  AbsentOwners absent_;
  client::EventRecorder recorder_;
};

}  // namespace

std::unique_ptr<Controller> makeGarbageCollector(ControllerContext context, std::vector<const client::ResourceInfo*> resources) {
  return std::make_unique<GarbageCollector>(context, resources);
}

}  // namespace knarr::controllers
