#include "apiserver/api.h"

#include <fmt/format.h>

#include "api/autoscaling_v1.h"
#include "api/meta_v1.h"
#include "apimachinery/labels.h"
#include "apiserver/conversion/conversion.h"
#include "apiserver/defaulting.h"
#include "apiserver/patching.h"
#include "apiserver/registry_write.h"
#include "base/strings.h"
#include "schema/layout.h"

namespace knarr::apiserver {
namespace {

Unexpected notServed() { return Unexpected(Error(Reason::NotFound, "the server could not find the requested resource")); }
Unexpected methodNotAllowed() {
  return Unexpected(Error(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource"));
}

// Where "spec.replicas" stands in an object; null when the kind has none.
schema::Opt<int32_t>* replicasOf(const schema::TypeInfo& type, void* root) {
  const schema::FieldInfo* spec = findField(type, "spec");
  if (!spec || spec->kind != schema::Kind::Message || spec->shape != schema::Shape::Value) return nullptr;
  const schema::FieldInfo* replicas = findField(*spec->message, "replicas");
  if (!replicas || replicas->kind != schema::Kind::Int32 || replicas->shape != schema::Shape::Pointer) return nullptr;
  return &schema::as<schema::Opt<int32_t>>(schema::at(schema::at(root, *spec), *replicas));
}

// The selector of a workload as text; label selectors and plain maps both occur.
Result<std::string> selectorText(const schema::TypeInfo& type, const void* root) {
  const schema::FieldInfo* spec = findField(type, "spec");
  const schema::FieldInfo* selector = spec ? findField(*spec->message, "selector") : nullptr;
  if (!selector) return std::string();
  const void* member = schema::at(schema::at(root, *spec), *selector);
  if (selector->shape == schema::Shape::Map)
    return apimachinery::LabelSelector::fromMap(schema::as<schema::StringMap>(member)).str();
  const auto* labels = static_cast<const metav1::LabelSelector*>(schema::pointerValue(member, *selector));
  return TRY(apimachinery::LabelSelector::from(labels)).str();
}

// An object as it is stored, with the defaults of that version.
Result<Mut<>> toStored(const ServedResource& resource, Mut<> object) {
  if (&object.type() == &resource.cache->type()) return object;
  object = TRY(convertTo(resource.cache->type(), std::move(object)));
  setDefaults(object);
  return object;
}

// A list's items in the version that was asked for.
Result<ListResult> asServed(const ServedResource& resource, ListResult list) {
  for (Ref<>& item : list.items) item = TRY(convertTo(*resource.info->type, std::move(item)));
  return list;
}

// A watch of stored objects, seen through another version.
class ConvertingWatch : public RegistryWatch {
 public:
  ConvertingWatch(const schema::TypeInfo& type, std::unique_ptr<RegistryWatch> stored)
      : type_(type), stored_(std::move(stored)) {}
  Task<Result<std::vector<WatchEvent>>> next(async::StopToken stop) override {
    std::vector<WatchEvent> events = CO_TRY(co_await stored_->next(std::move(stop)));
    for (WatchEvent& event : events)
      if (event.object) event.object = CO_TRY(convertTo(type_, std::move(event.object)));
    co_return events;
  }

 private:
  const schema::TypeInfo& type_;
  std::unique_ptr<RegistryWatch> stored_;
};

// Patches are looked at after admission, which says so.
void dedupOwners(Mut<>& object, bool isPatch, std::vector<std::string>& warnings) {
  std::vector<std::string> gone = dedupOwnerReferences(schema::metadataOf(object));
  if (gone.empty()) return;
  warnings.push_back(fmt::format(
      ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in 1.20+, and may reject such "
      "requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
      isPatch ? " after mutating admission happens" : "", join(gone, ", ")));
}

}  // namespace

Result<Mut<>> scaleOf(const Ref<>& object) {
  schema::Opt<int32_t>* replicas = replicasOf(object.type(), const_cast<void*>(object.root()));
  if (!replicas) return notServed();
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  Mut<autoscalingv1::Scale> scale = schema::newObject<autoscalingv1::Scale>();
  scale->metadata.name = scale.str(metadata.name);
  scale->metadata.namespace_ = scale.str(metadata.namespace_);
  scale->metadata.uid = scale.str(metadata.uid);
  scale->metadata.resourceVersion = scale.str(metadata.resourceVersion);
  scale->metadata.creationTimestamp = metadata.creationTimestamp;
  scale->spec.replicas = replicas->valueOr(0);
  scale->status.replicas = static_cast<int32_t>(parseInt(fieldText(object.type(), object.root(), "status.replicas")).value_or(0));
  scale->status.selector = scale.str(TRY(selectorText(object.type(), object.root())));
  return Mut<>(std::move(scale));
}

Result<Mut<>> withScale(const Ref<>& object, const schema::Object& scaleObject) {
  const auto& scale = *static_cast<const autoscalingv1::Scale*>(scaleObject.root());
  Mut<> next = schema::edit(object);
  schema::Opt<int32_t>* replicas = replicasOf(next.type(), next.root());
  if (!replicas) return notServed();
  if (scale.spec.replicas < 0)
    return Unexpected(apimachinery::invalidStatus(
        "autoscaling", "Scale", scale.metadata.name,
        {apimachinery::invalidError(apimachinery::FieldPath("spec").child("replicas"), int64_t{scale.spec.replicas},
                                    "must be greater than or equal to 0")}));
  *replicas = scale.spec.replicas;
  schema::metadataOf(next).resourceVersion = next.str(scale.metadata.resourceVersion);
  return next;
}

const ServedResource* Api::served(const schema::ResourceInfo& info) const {
  // A binding is made as an object of its own or below its pod; it is kept as neither.
  if (info.group.empty() && info.resource == "bindings") return registry_.find("", info.version, "pods");
  return registry_.find(info.group, info.version, info.resource);
}

Task<Result<Ref<>>> Api::get(ContextPtr, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                             client::GetOptions options) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  Ref<> object =
      CO_TRY(co_await registry_.get(*resource, std::move(nameSpace), std::move(name), std::move(options.resourceVersion)));
  if (info.subresource == "scale") co_return CO_TRY(scaleOf(object)).publish();
  co_return convertTo(*info.type, std::move(object));
}

Task<Result<ListResult>> Api::list(ContextPtr, const schema::ResourceInfo& info, std::string nameSpace,
                                   client::ListOptions options) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  Selection selection = CO_TRY(registry_.select(*resource, std::move(nameSpace), options.labelSelector, options.fieldSelector));
  ListResult listed = CO_TRY(co_await registry_.list(*resource, std::move(selection), std::move(options)));
  co_return asServed(*resource, std::move(listed));
}

Task<Result<std::unique_ptr<RegistryWatch>>> Api::watch(ContextPtr, const schema::ResourceInfo& info, std::string nameSpace,
                                                        client::ListOptions options) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  Selection selection = CO_TRY(registry_.select(*resource, std::move(nameSpace), options.labelSelector, options.fieldSelector));
  auto watch = CO_TRY(co_await registry_.watch(*resource, std::move(selection), std::move(options)));
  if (resource->info->type == &resource->cache->type()) co_return watch;
  co_return std::make_unique<ConvertingWatch>(*resource->info->type, std::move(watch));
}

Task<Result<Ref<>>> Api::create(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                                Mut<> object, client::WriteOptions options) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  if (info.resource == "bindings") {
    name = schema::metadataOf(object).name;
    co_return co_await createBinding(context, *resource, std::move(nameSpace), std::move(name), std::move(object),
                                     std::move(options));
  }
  if (info.subresource.empty()) {
    dedupOwners(object, false, context->warnings);
    object = CO_TRY(trackCreate(*resource, std::move(object), fieldManagerOf(*context, options), registry_.env()));
    object = CO_TRY(toStored(*resource, std::move(object)));
    Ref<> made =
        CO_TRY(co_await registry_.create(context, *resource, std::move(nameSpace), std::move(object), std::move(options)));
    co_return convertTo(*info.type, std::move(made));
  }
  if (info.subresource == "binding")
    co_return co_await createBinding(context, *resource, std::move(nameSpace), std::move(name), std::move(object),
                                     std::move(options));
  if (info.subresource == "eviction")
    co_return co_await createEviction(context, *resource, std::move(nameSpace), std::move(name), std::move(object),
                                      std::move(options));
  if (info.subresource == "token")
    co_return co_await createToken(context, *resource, std::move(nameSpace), std::move(name), std::move(object),
                                   std::move(options));
  co_return methodNotAllowed();
}

Task<Result<Ref<>>> Api::update(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                                Mut<> object, client::WriteOptions options, bool* created) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  if (info.subresource == "scale")
    co_return co_await updateScale(context, *resource, std::move(nameSpace), std::move(name), std::move(object),
                                   std::move(options));
  CO_TRY(checkUpdateTarget(*resource, nameSpace, name, object));
  std::string manager = fieldManagerOf(*context, options);
  env::Env environment = registry_.env();
  dedupOwners(object, false, context->warnings);
  auto wanted = std::make_shared<Ref<>>(std::move(object).publish());
  std::string subresource(info.subresource);
  Registry::Transform transform = [wanted, resource, manager, environment, subresource](const Ref<>& old) -> Result<Mut<>> {
    Mut<> next = schema::edit(*wanted);
    if (!old) {
      next = TRY(trackCreate(*resource, std::move(next), manager, environment));
    } else {
      Ref<> before = TRY(convertTo(next.type(), old));
      next = TRY(trackUpdate(*resource, subresource, std::move(next), before, manager, environment));
    }
    return toStored(*resource, std::move(next));
  };
  bool allowCreate = resource->strategy->allowCreateOnUpdate && info.subresource.empty();
  Ref<> updated = CO_TRY(co_await registry_.update(context, *resource, subresource, std::move(nameSpace), std::move(name),
                                                   transform, std::move(options), allowCreate, created));
  co_return convertTo(*info.type, std::move(updated));
}

Task<Result<Ref<>>> Api::updateScale(ContextPtr context, const ServedResource& resource, std::string nameSpace, std::string name,
                                     Mut<> scale, client::WriteOptions options) {
  auto wanted = std::make_shared<Mut<>>(std::move(scale));
  std::string manager = fieldManagerOf(*context, options);
  env::Env environment = registry_.env();
  const ServedResource* served = &resource;
  Registry::Transform transform = [wanted, served, manager, environment](const Ref<>& old) -> Result<Mut<>> {
    Mut<> next = TRY(withScale(old, wanted->object()));
    return trackUpdate(*served, "scale", std::move(next), old, manager, environment);
  };
  Ref<> updated = CO_TRY(co_await registry_.update(context, resource, "scale", std::move(nameSpace), std::move(name), transform,
                                                   std::move(options), false, nullptr));
  co_return CO_TRY(scaleOf(updated)).publish();
}

Task<Result<Ref<>>> Api::patch(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                               client::PatchType type, std::string body, client::WriteOptions options, bool* created) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  auto request = std::make_shared<PatchRequest>();
  request->resource = resource;
  request->subresource = info.subresource;
  request->nameSpace = nameSpace;
  request->name = name;
  request->type = type;
  request->body = std::move(body);
  request->options = options;
  request->manager = fieldManagerOf(*context, options);
  CO_TRY(preparePatch(*request));
  env::Env environment = registry_.env();
  Registry::Transform transform = [request, environment, context](const Ref<>& old) -> Result<Mut<>> {
    const ServedResource& resource = *request->resource;
    Ref<> before = old ? TRY(convertTo(*resource.info->type, old)) : Ref<>();
    Mut<> next = TRY(applyPatch(*request, before, environment, context->warnings));
    if (request->subresource != "scale") dedupOwners(next, true, context->warnings);
    return toStored(resource, std::move(next));
  };
  Ref<> updated = CO_TRY(co_await registry_.update(context, *resource, request->subresource, std::move(nameSpace),
                                                   std::move(name), transform, std::move(options),
                                                   type == client::PatchType::Apply && info.subresource.empty(), created));
  if (info.subresource == "scale") co_return CO_TRY(scaleOf(updated)).publish();
  co_return convertTo(*info.type, std::move(updated));
}

Task<Result<Registry::Deleted>> Api::remove(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace,
                                            std::string name, client::DeleteOptions options) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  if (!info.subresource.empty()) co_return methodNotAllowed();
  Registry::Deleted deleted =
      CO_TRY(co_await registry_.remove(context, *resource, std::move(nameSpace), std::move(name), std::move(options)));
  deleted.object = CO_TRY(convertTo(*info.type, std::move(deleted.object)));
  co_return deleted;
}

Task<Result<ListResult>> Api::removeCollection(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace,
                                               client::DeleteOptions options, client::ListOptions selection) {
  const ServedResource* resource = served(info);
  if (!resource) co_return notServed();
  Selection selected =
      CO_TRY(registry_.select(*resource, std::move(nameSpace), selection.labelSelector, selection.fieldSelector));
  ListResult removed = CO_TRY(
      co_await registry_.removeCollection(context, *resource, std::move(selected), std::move(options), std::move(selection)));
  co_return asServed(*resource, std::move(removed));
}

}  // namespace knarr::apiserver
