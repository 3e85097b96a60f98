#include "apiserver/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/meta_v1.h"
#include "apiserver/registry_write.h"
#include "apiserver/served_resources.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {
namespace {

constexpr int kGenerateNameAttempts = 8;  // Source: registry store.go, maxNameGenerationCreateAttempts.
constexpr size_t kNameSuffixLength = 5;
// A writer that keeps losing the race gives up; each loss means that another writer got on.
constexpr int kUpdateAttemptsMax = 100;

std::string keyFor(const ServedResource& resource, std::string_view nameSpace, std::string_view name) {
  return resource.info->namespaced ? fmt::format("{}/{}", nameSpace, name) : std::string(name);
}

Result<void> checkKeySegment(std::string_view what, std::string_view text) {
  for (const std::string& message : apimachinery::isPathSegmentName(text))
    return fail(Reason::BadRequest, fmt::format("{} parameter invalid: {}: {}", what, quote(text), message));
  return {};
}

// More than an answer's headers carry is not collected.
constexpr size_t kWarningsMax = 4096;

// What the kind has to say about the object; an update that is tried again says it once.
void addWarnings(const ServedResource& resource, const Mut<>& object, const Ref<>& old, std::vector<std::string>& to) {
  if (!resource.strategy->warnings) return;
  for (std::string& text : resource.strategy->warnings(object, old))
    if (to.size() < kWarningsMax && std::find(to.begin(), to.end(), text) == to.end()) to.push_back(std::move(text));
}

}  // namespace

Registry::Registry(env::Env environment, store::Store& store, AdmissionChain& admission)
    : env_(environment), store_(store), admission_(admission), hub_(environment, store) {}
Registry::~Registry() = default;

void Registry::serve(const schema::ResourceInfo& info) {
  auto served = std::make_unique<ServedResource>();
  served->info = &info;
  served->strategy = &strategyOf(info);
  std::string_view prefix = served->strategy->storagePrefix.empty() ? info.resource : served->strategy->storagePrefix;
  served->cache = &hub_.add(fmt::format("/registry/{}/", prefix), storageTypeOf(info));
  byPath_[fmt::format("{}/{}/{}", info.group, info.version, info.resource)] = served.get();
  resources_.push_back(std::move(served));
}

Task<Result<void>> Registry::start(async::Gate& gate, async::StopToken stop) { return hub_.start(gate, std::move(stop)); }

const ServedResource* Registry::find(std::string_view group, std::string_view version, std::string_view resource) const {
  auto found = byPath_.find(fmt::format("{}/{}/{}", group, version, resource));
  return found == byPath_.end() ? nullptr : found->second;
}

std::string Registry::storeKey(const ServedResource& resource, std::string_view key) const {
  return fmt::format("{}{}", resource.cache->prefix(), key);
}

Result<void> Registry::checkNamespaceStays(const ServedResource& resource, std::string_view nameSpace,
                                           std::string_view name) const {
  const ServedResource* namespaces = find("", "v1", "namespaces");
  if (!resource.info->namespaced || !namespaces) return {};
  Ref<> found = namespaces->cache->get(nameSpace);
  if (!found) return Unexpected(notFoundError(*namespaces->info, nameSpace));
  if (!schema::metadataOf(found).deletionTimestamp) return {};
  return Unexpected(namespaceTerminatingError(*resource.info, name, nameSpace));
}

Task<Result<Ref<>>> Registry::get(const ServedResource& resource, std::string nameSpace, std::string name,
                                  std::string resourceVersion) {
  if (resourceVersion.empty()) {
    CO_TRY(co_await hub_.waitFresh());
  } else if (resourceVersion != "0") {
    auto revision = parseUint(resourceVersion);
    if (!revision)
      co_return Unexpected(
          Error(Reason::Unknown, fmt::format("resourceVersion: Invalid value: {}: strconv.ParseUint: parsing {}: "
                                             "invalid syntax",
                                             quote(resourceVersion), quote(resourceVersion))));
    CO_TRY(co_await hub_.waitFor(static_cast<int64_t>(*revision)));
  }
  Ref<> object = resource.cache->get(keyFor(resource, nameSpace, name));
  if (!object) co_return Unexpected(notFoundError(*resource.info, name));
  co_return object;
}

// Encodes and commits one object. On success the object carries its revision and is handed to the cache. *conflict tells
// that the guard did not hold.
Task<Result<Ref<>>> Registry::commitPut(const ServedResource& resource, std::string key, Mut<> object,
                                        std::optional<int64_t> guard, bool* conflict) {
  *conflict = false;
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  metadata.resourceVersion = {};
  auto bytes = std::make_shared<const std::string>(codec::encodeProtobuf(object.object()));
  store::Txn txn{store::Txn::Put, storeKey(resource, key), bytes, guard, resource.strategy->ttlSeconds};
  store::TxnResult result = CO_TRY(co_await store_.commit(std::move(txn)));
  if (!result.succeeded) {
    *conflict = true;
    co_return Ref<>();
  }
  schema::metadataOf(object).resourceVersion = object.str(fmt::format("{}", result.revision));
  Ref<> published = std::move(object).publish();
  hub_.handOver(bytes, published);
  co_return published;
}

Task<Result<Ref<>>> Registry::create(ContextPtr context, const ServedResource& resource, std::string nameSpace, Mut<> object,
                                     client::WriteOptions options) {
  bool generated = schema::metadataOf(object).name.empty() && !schema::metadataOf(object).generateName.empty();
  for (int attempt = 1;; ++attempt) {
    WriteMoment moment{env_.clock.unixSeconds(), env::randomUuid(env_.random),
                       env::randomNameSuffix(env_.random, kNameSuffixLength)};
    if (generated) schema::metadataOf(object).name = {};
    CO_TRY(fillSystemFields(resource, nameSpace, object, moment));
    AdmissionAttributes attributes{
        Operation::Create, resource.info, "", nameSpace, std::string(schema::metadataOf(object).name), &object, {},
        &context->user,    options.dryRun};
    CO_TRY(co_await admission_.admit(attributes));
    CO_TRY(beforeCreate(resource, nameSpace, object, WriteContext{&context->user, moment.unixSeconds}));
    addWarnings(resource, object, {}, context->warnings);
    CO_TRY(co_await admission_.validate(attributes));
    std::string name(schema::metadataOf(object).name);
    std::string key = keyFor(resource, nameSpace, name);
    if (options.dryRun) {
      CO_TRY(co_await hub_.waitFresh());
      if (!resource.cache->get(key)) co_return std::move(object).publish();
    } else {
      bool conflict = false;
      // The object is kept for another try only when its name was made up here.
      Mut<> copy;
      if (generated && attempt < kGenerateNameAttempts) {
        copy = Mut<>(object.type());
        schema::deepCopy(object.type(), copy.root(), object.root(), copy.arena());
      }
      CO_TRY(checkNamespaceStays(resource, nameSpace, name));
      Ref<> made = CO_TRY(co_await commitPut(resource, key, std::move(object), 0, &conflict));
      if (!conflict) co_return made;
      object = std::move(copy);
    }
    if (generated && attempt < kGenerateNameAttempts && object) continue;
    std::string message = fmt::format("{} {} already exists", groupResource(*resource.info), quote(name));
    ErrorDetails details{std::string(resource.info->group), std::string(resource.info->resource), name, "", 0};
    if (generated) {
      message += ", the server was not able to generate a unique name for the object";
      details.retryAfterSeconds = 1;
    } else if (Ref<> existing = resource.cache->get(key); existing && schema::metadataOf(existing).deletionTimestamp) {
      message = "object is being deleted: " + message;
    }
    co_return Unexpected(Error(Reason::AlreadyExists, std::move(message)).withDetails(std::move(details)));
  }
}

Task<Result<Ref<>>> Registry::update(ContextPtr context, const ServedResource& resource, std::string subresource,
                                     std::string nameSpace, std::string name, Transform transform, client::WriteOptions options,
                                     bool allowCreate, bool* created) {
  std::string key = keyFor(resource, nameSpace, name);
  if (created) *created = false;
  for (int attempt = 0; attempt < kUpdateAttemptsMax; ++attempt) {
    CO_TRY(co_await hub_.waitFresh());
    Ref<> old = resource.cache->get(key);
    if (!old) {
      if (!allowCreate) co_return Unexpected(notFoundError(*resource.info, name));
      if (context->mayCreate) CO_TRY(context->mayCreate());
      Mut<> fresh = CO_TRY(transform(Ref<>()));
      schema::metadataOf(fresh).resourceVersion = {};
      auto made = co_await create(context, resource, nameSpace, std::move(fresh), options);
      if (!made && isAlreadyExists(made.error())) continue;
      if (made && created) *created = true;
      co_return made;
    }
    Mut<> next = CO_TRY(transform(old));
    const metav1::ObjectMeta& before = schema::metadataOf(old);
    schema::Str asked = schema::metadataOf(next).resourceVersion;
    if (asked.empty() || asked == "0") {
      if (!resource.strategy->allowUnconditionalUpdate)
        co_return Unexpected(
            apimachinery::invalidStatus("", groupResource(*resource.info), name,
                                        {apimachinery::invalidError(apimachinery::FieldPath("metadata").child("resourceVersion"),
                                                                    int64_t{0}, "must be specified for an update")}));
    } else if (asked != before.resourceVersion) {
      co_return Unexpected(conflictError(
          *resource.info, name, "the object has been modified; please apply your changes to the latest version and try again"));
    }
    schema::Str uid = schema::metadataOf(next).uid;
    if (!uid.empty() && uid != before.uid)
      co_return Unexpected(conflictError(
          *resource.info, name,
          fmt::format(
              "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
              "UID in precondition: {}, UID in object meta: {}",
              storeKey(resource, key), uid, before.uid)));
    AdmissionAttributes attributes{Operation::Update, resource.info, subresource, nameSpace, name, &next, old,
                                   &context->user,    options.dryRun};
    CO_TRY(co_await admission_.admit(attributes));
    CO_TRY(beforeUpdate(resource, subresource, next, old, WriteContext{&context->user, env_.clock.unixSeconds()}));
    if (subresource.empty()) addWarnings(resource, next, old, context->warnings);
    CO_TRY(co_await admission_.validate(attributes));
    // A write that changes nothing is not made.
    schema::metadataOf(next).resourceVersion = next.str(before.resourceVersion);
    if (schema::deepEqual(next.type(), next.root(), old.root())) co_return old;
    int64_t guard = revisionOf(old);
    const metav1::ObjectMeta& after = schema::metadataOf(next);
    if (options.dryRun) co_return std::move(next).publish();
    if (readyForRemoval(resource, after) &&
        (!resource.strategy->mayBeRemoved || resource.strategy->mayBeRemoved(next.object()))) {
      // The last finalizer went: the update is the deletion.
      store::TxnResult gone = CO_TRY(co_await store_.commit(store::Txn::remove(storeKey(resource, key), guard)));
      if (!gone.succeeded) continue;
      schema::metadataOf(next).resourceVersion = next.str(fmt::format("{}", gone.revision));
      co_return std::move(next).publish();
    }
    bool conflict = false;
    Ref<> made = CO_TRY(co_await commitPut(resource, key, std::move(next), guard, &conflict));
    if (!conflict) co_return made;
  }
  co_return Unexpected(Error(
      Reason::Conflict, fmt::format("{} {} is being changed too often; try again", groupResource(*resource.info), quote(name))));
}

Task<Result<Registry::Deleted>> Registry::remove(ContextPtr context, const ServedResource& resource, std::string nameSpace,
                                                 std::string name, client::DeleteOptions options) {
  for (int attempt = 0; attempt < kUpdateAttemptsMax; ++attempt) {
    bool conflict = false;
    Deleted deleted = CO_TRY(co_await removeOnce(context, resource, nameSpace, name, options, &conflict));
    if (!conflict) co_return deleted;
  }
  co_return Unexpected(conflictError(*resource.info, name, "the object is being changed too often; try again"));
}

Task<Result<Registry::Deleted>> Registry::removeOnce(ContextPtr context, const ServedResource& resource, std::string nameSpace,
                                                     std::string name, client::DeleteOptions options, bool* conflict) {
  CO_TRY(co_await hub_.waitFresh());
  std::string key = keyFor(resource, nameSpace, name);
  Ref<> object = resource.cache->get(key);
  if (!object) co_return Unexpected(notFoundError(*resource.info, name));
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  if (!options.preconditionUid.empty() && options.preconditionUid != metadata.uid)
    co_return Unexpected(conflictError(*resource.info, name,
                                       fmt::format("the UID in the precondition ({}) does not match the UID in record ({}). The "
                                                   "object might have been deleted and then recreated",
                                                   options.preconditionUid, metadata.uid)));
  if (!options.preconditionResourceVersion.empty() && options.preconditionResourceVersion != metadata.resourceVersion)
    co_return Unexpected(conflictError(
        *resource.info, name,
        fmt::format("the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({}). "
                    "The object might have been modified",
                    options.preconditionResourceVersion, metadata.resourceVersion)));
  AdmissionAttributes attributes{Operation::Delete, resource.info, "", nameSpace, name, nullptr, object,
                                 &context->user,    options.dryRun};
  CO_TRY(co_await admission_.admit(attributes));
  CO_TRY(co_await admission_.validate(attributes));
  DeletePlan plan = decideDelete(resource, object, options, env_.clock.unixSeconds());
  if (plan.kind == DeletePlan::Nothing || options.dryRun) co_return Deleted{object, plan.kind == DeletePlan::Remove};
  int64_t guard = revisionOf(object);
  if (plan.kind == DeletePlan::Remove) {
    store::TxnResult gone = CO_TRY(co_await store_.commit(store::Txn::remove(storeKey(resource, key), guard)));
    *conflict = !gone.succeeded;
    co_return Deleted{object, true};
  }
  Mut<> next = schema::edit(object);
  metav1::ObjectMeta& marked = schema::metadataOf(next);
  marked.finalizers.clear();
  for (const std::string& finalizer : plan.finalizers) marked.finalizers.append(next.arena()) = next.str(finalizer);
  if (plan.setTimestamp) {
    bool first = !marked.deletionTimestamp;
    marked.deletionTimestamp = schema::Time::fromUnix(plan.deletionUnixSeconds);
    // Namespaces have none. Source: pkg/registry/core/namespace/storage/storage.go, Delete.
    if (!resource.strategy->mayBeRemoved) marked.deletionGracePeriodSeconds = *plan.graceSeconds;
    if (first && marked.generation > 0) ++marked.generation;
    if (resource.strategy->mayBeRemoved && resource.strategy->prepareForStatusUpdate)
      resource.strategy->prepareForStatusUpdate(next, object, WriteContext{&context->user, env_.clock.unixSeconds()});
  }
  Ref<> made = CO_TRY(co_await commitPut(resource, key, std::move(next), guard, conflict));
  co_return Deleted{made, false};
}

Task<Result<ListResult>> Registry::removeCollection(ContextPtr context, const ServedResource& resource, Selection selection,
                                                    client::DeleteOptions options, client::ListOptions listOptions) {
  ListResult listed = CO_TRY(co_await list(resource, std::move(selection), std::move(listOptions)));
  for (size_t i = 0; i < listed.items.size(); ++i) {
    const metav1::ObjectMeta& metadata = schema::metadataOf(listed.items[i]);
    auto gone = co_await remove(context, resource, std::string(metadata.namespace_), std::string(metadata.name), options);
    if (!gone && !isNotFound(gone.error())) co_return Unexpected(std::move(gone).error());
  }
  co_return listed;
}

Result<Selection> Registry::select(const ServedResource& resource, std::string nameSpace, const std::string& labelSelector,
                                   const std::string& fieldSelector) const {
  Selection selection;
  selection.nameSpace = std::move(nameSpace);
  selection.labels = TRY(apimachinery::LabelSelector::parse(labelSelector));
  auto fields = TRY(apimachinery::FieldSelector::parse(fieldSelector));
  if (!selection.nameSpace.empty()) TRY(checkKeySegment("Namespace", selection.nameSpace));
  for (const auto& term : fields.terms) {
    if (term.field == "metadata.name" && term.equal && selection.name.empty()) {
      selection.name = term.value;
      continue;
    }
    std::string_view path, otherwise;
    if (term.field == "metadata.name" || (term.field == "metadata.namespace" && resource.info->namespaced)) path = term.field;
    for (const auto& field : resource.strategy->selectableFields)
      if (field.name == term.field) path = field.path, otherwise = field.otherwise;
    if (path.empty())
      return fail(
          Reason::BadRequest,
          resource.strategy->selectableFields.empty()
              ? fmt::format("{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", quote(term.field))
              : fmt::format("field label not supported: {}", term.field));
    selection.fields.push_back({std::string(path), std::string(otherwise), term.value, term.equal});
  }
  return selection;
}

bool Selection::matches(const Ref<>& object) const {
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  if (!nameSpace.empty() && metadata.namespace_ != nameSpace) return false;
  if (!name.empty() && metadata.name != name) return false;
  if (!labels.matches(metadata.labels)) return false;
  for (const FieldTerm& term : fields) {
    std::string text = fieldText(object.type(), object.root(), term.path);
    if (text.empty() && !term.otherwise.empty()) text = fieldText(object.type(), object.root(), term.otherwise);
    if ((text == term.value) != term.equal) return false;
  }
  return true;
}

}  // namespace knarr::apiserver
