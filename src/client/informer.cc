#include "client/informer.h"

#include <fmt/format.h>

#include "base/log.h"

namespace knarr::client {
namespace {

constexpr int64_t kListPage = 500;
// Between attempts when the server does not answer. Source: client-go reflector, backoff 800 ms to 30 s.
constexpr env::Duration kRetryFirst = std::chrono::milliseconds(800);
constexpr env::Duration kRetryMax = std::chrono::seconds(30);

}  // namespace

std::string keyOf(std::string_view nameSpace, std::string_view name) {
  return nameSpace.empty() ? std::string(name) : fmt::format("{}/{}", nameSpace, name);
}
std::string keyOf(const Ref<>& object) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(object);
  return keyOf(metadata.namespace_, metadata.name);
}
NamespacedName splitKey(std::string_view key) {
  size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {"", std::string(key)};
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

Informer::Informer(env::Env environment, Client& client, const ResourceInfo& resource, std::string nameSpace,
                   ListOptions selection)
    : env_(environment),
      client_(client),
      resource_(resource),
      namespace_(std::move(nameSpace)),
      selection_(std::move(selection)),
      synced_(environment.executor) {}
Informer::~Informer() = default;

void Informer::addHandler(EventHandler handler) {
  if (handler.onAdd)
    for (const auto& [key, object] : objects_) handler.onAdd(object);
  handlers_.push_back(std::move(handler));
}

void Informer::addIndex(std::string name, IndexFunction function) {
  indices_[std::move(name)] = Index{std::move(function), {}};
  for (const auto& [key, object] : objects_) indexObject(key, object, true);
}

async::Task<void> Informer::waitForSync() { co_await synced_.wait(); }

Ref<> Informer::get(std::string_view key) const {
  auto found = objects_.find(key);
  return found == objects_.end() ? Ref<>() : found->second;
}

std::vector<Ref<>> Informer::list(std::string_view nameSpace) const {
  std::vector<Ref<>> out;
  std::string prefix = nameSpace.empty() ? "" : std::string(nameSpace) + "/";
  for (auto at = objects_.lower_bound(prefix); at != objects_.end() && at->first.starts_with(prefix); ++at)
    out.push_back(at->second);
  return out;
}

std::vector<Ref<>> Informer::list(std::string_view nameSpace, const apimachinery::LabelSelector& selector) const {
  std::vector<Ref<>> out = list(nameSpace);
  std::erase_if(out, [&](const Ref<>& object) { return !selector.matches(schema::metadataOf(object).labels); });
  return out;
}

std::vector<Ref<>> Informer::byIndex(const std::string& index, std::string_view value) const {
  std::vector<Ref<>> out;
  auto found = indices_.find(index);
  ASSERT(found != indices_.end());
  auto objects = found->second.byValue.find(value);
  if (objects == found->second.byValue.end()) return out;
  for (const auto& [key, object] : objects->second) out.push_back(object);
  return out;
}

void Informer::indexObject(const std::string& key, const Ref<>& object, bool insert) {
  for (auto& [name, index] : indices_)
    for (const std::string& value : index.function(object)) {
      if (insert) {
        index.byValue[value][key] = object;
        continue;
      }
      auto at = index.byValue.find(value);
      if (at == index.byValue.end()) continue;
      at->second.erase(key);
      if (at->second.empty()) index.byValue.erase(at);
    }
}

void Informer::upsert(Ref<> object) {
  std::string key = keyOf(object);
  auto [at, fresh] = objects_.try_emplace(key, object);
  if (fresh) {
    indexObject(key, object, true);
    for (auto& handler : handlers_)
      if (handler.onAdd) handler.onAdd(object);
    return;
  }
  Ref<> before = at->second;
  if (before == object) return;
  // Another object of the same name: the deletion of the first one was missed.
  if (schema::metadataOf(before).uid != schema::metadataOf(object).uid) {
    erase(key);
    upsert(std::move(object));
    return;
  }
  indexObject(key, before, false);
  at->second = object;
  indexObject(key, object, true);
  for (auto& handler : handlers_)
    if (handler.onUpdate) handler.onUpdate(before, object);
}

void Informer::erase(const std::string& key) {
  auto at = objects_.find(key);
  if (at == objects_.end()) return;
  Ref<> last = at->second;
  indexObject(key, last, false);
  objects_.erase(at);
  for (auto& handler : handlers_)
    if (handler.onDelete) handler.onDelete(last);
}

void Informer::replaceAll(std::vector<Ref<>> items) {
  std::map<std::string, bool, std::less<>> present;
  for (const Ref<>& item : items) present.emplace(keyOf(item), true);
  std::vector<std::string> gone;
  for (const auto& [key, object] : objects_)
    if (!present.contains(key)) gone.push_back(key);
  for (const std::string& key : gone) erase(key);
  for (Ref<>& item : items) {
    Ref<> have = get(keyOf(item));
    bool same = have && schema::metadataOf(have).resourceVersion == schema::metadataOf(item).resourceVersion;
    if (!same) upsert(std::move(item));
  }
}

async::Task<Result<void>> Informer::listAndReplace() {
  std::vector<Ref<>> items;
  ListOptions options = selection_;
  options.limit = kListPage;
  for (;;) {
    ObjectList page = CO_TRY(co_await client_.list(resource_, namespace_, options));
    for (Ref<>& item : page.items) items.push_back(std::move(item));
    resourceVersion_ = page.resourceVersion;
    if (page.continueToken.empty()) break;
    options.continueToken = page.continueToken;
  }
  replaceAll(std::move(items));
  synced_.set();
  co_return Result<void>();
}

async::Task<Result<void>> Informer::watchUntilEnd(StopToken stop) {
  ListOptions options = selection_;
  options.resourceVersion = resourceVersion_;
  options.allowWatchBookmarks = true;
  std::unique_ptr<Watch> watch = CO_TRY(co_await client_.watch(resource_, namespace_, options));
  while (!stop.stopRequested()) {
    std::vector<WatchEvent> events = CO_TRY(co_await watch->next());
    if (events.empty()) break;
    for (WatchEvent& event : events) {
      if (event.type == WatchEvent::Added || event.type == WatchEvent::Modified) upsert(event.object);
      if (event.type == WatchEvent::Deleted) erase(keyOf(event.object));
      if (!event.resourceVersion.empty()) resourceVersion_ = event.resourceVersion;
    }
  }
  co_return Result<void>();
}

async::Task<void> Informer::run(StopToken stop) {
  async::Event stopped(env_.executor);
  auto registration = stop.onStop([&stopped] { stopped.set(); });
  // A watch of something quiet has nothing to wake it; its frames end with the gate.
  async::Gate gate(env_.executor);
  gate.spawn(follow(stop));
  co_await stopped.wait();
}

async::Task<void> Informer::follow(StopToken stop) {
  env::Duration retry = kRetryFirst;
  bool needList = true;
  while (!stop.stopRequested()) {
    Result<void> done;
    if (needList) {
      done = co_await listAndReplace();
      needList = !done.has_value();
    } else {
      done = co_await watchUntilEnd(stop);
      if (!done && (done.error().reason() == Reason::Expired || done.error().reason() == Reason::Gone)) {
        needList = true;
        continue;
      }
    }
    if (stop.stopRequested()) co_return;
    if (done) {
      retry = kRetryFirst;
      continue;
    }
    logWarning("client", "cannot follow {}, will try again: {}", resource_.resource, done.error().describe());
    env::Duration jitter(static_cast<int64_t>(static_cast<double>(retry.count()) * env_.random.unit()));
    co_await async::sleepFor(env_, retry + jitter, stop);
    retry = std::min(retry * 2, kRetryMax);
  }
}

struct InformerFactory::Entry {
  Entry(env::Env environment, Client& client, const ResourceInfo& resource, std::string ns, ListOptions options)
      : informer(environment, client, resource, ns, options), nameSpace(std::move(ns)), selection(std::move(options)) {}
  Informer informer;
  std::string nameSpace;
  ListOptions selection;
  bool started = false;
};

InformerFactory::InformerFactory(env::Env environment, Client& client) : env_(environment), client_(client) {}
InformerFactory::~InformerFactory() = default;

Informer& InformerFactory::informer(const ResourceInfo& resource, std::string nameSpace, ListOptions selection) {
  for (auto& entry : entries_)
    if (&entry->informer.resource() == &resource && entry->nameSpace == nameSpace &&
        entry->selection.labelSelector == selection.labelSelector && entry->selection.fieldSelector == selection.fieldSelector)
      return entry->informer;
  entries_.push_back(std::make_unique<Entry>(env_, client_, resource, std::move(nameSpace), std::move(selection)));
  return entries_.back()->informer;
}

void InformerFactory::start(async::Gate& gate, StopToken stop) {
  for (auto& entry : entries_) {
    if (entry->started) continue;
    entry->started = true;
    gate.spawn(entry->informer.run(stop));
  }
}

async::Task<void> InformerFactory::signalSync(InformerFactory* self, async::Event* synced) {
  for (size_t i = 0; i < self->entries_.size(); ++i) co_await self->entries_[i]->informer.waitForSync();
  synced->set();
}

async::Task<bool> InformerFactory::waitForSync(StopToken stop) {
  async::Event ended(env_.executor);
  auto registration = stop.onStop([&ended] { ended.set(); });
  async::Gate gate(env_.executor);
  gate.spawn(signalSync(this, &ended));
  co_await ended.wait();
  co_return !stop.stopRequested();
}

}  // namespace knarr::client
