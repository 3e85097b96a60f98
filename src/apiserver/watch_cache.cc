#include "apiserver/watch_cache.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "async/scoped_timer.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {
namespace {
constexpr std::string_view kRegistryPrefix = "/registry/";
constexpr size_t kLoadPage = 10000;
// How long a reader waits for the cache to reach a revision. Source: cacher blockTimeout.
constexpr env::Duration kBlockTimeout = std::chrono::seconds(3);
}  // namespace

int64_t revisionOf(const Ref<>& object) { return parseInt(schema::metadataOf(object).resourceVersion).value_or(0); }

CacheCursor::CacheCursor(ResourceCache& cache, int64_t afterRevision) : cache_(&cache), revision_(afterRevision) {
  ++cache_->watchers_;
}
CacheCursor::~CacheCursor() { --cache_->watchers_; }

Result<std::vector<CacheEvent>> CacheCursor::take(size_t most) {
  if (revision_ < cache_->droppedThrough_)
    return fail(Reason::Expired, fmt::format("too old resource version: {} ({})", revision_, cache_->droppedThrough_));
  auto first = std::upper_bound(cache_->ring_.begin(), cache_->ring_.end(), revision_,
                                [](int64_t revision, const CacheEvent& event) { return revision < event.revision; });
  std::vector<CacheEvent> events;
  for (; first != cache_->ring_.end() && events.size() < most; ++first) events.push_back(*first);
  revision_ = std::max(revision_, first == cache_->ring_.end() ? cache_->revision() : events.back().revision);
  return events;
}

CacheCursor::Listener::Listener(ResourceCache& cache, std::function<void()> changed)
    : cache_(&cache), id_(cache.nextListener_++) {
  cache.listeners_.emplace(id_, std::move(changed));
}
CacheCursor::Listener::~Listener() { cache_->listeners_.erase(id_); }

ResourceCache::ResourceCache(std::string prefix, const schema::TypeInfo& type) : prefix_(std::move(prefix)), type_(&type) {}

Ref<> ResourceCache::get(std::string_view key) const {
  auto found = objects_.find(key);
  return found == objects_.end() ? Ref<>() : found->second;
}

void ResourceCache::apply(CacheEvent event) {
  auto at = objects_.find(event.key);
  if (at != objects_.end()) event.previous = at->second;
  if (event.type == CacheEvent::Put) {
    if (at != objects_.end())
      at->second = event.object;
    else
      objects_.emplace(event.key, event.object);
  } else {
    if (at == objects_.end()) return;
    Mut<> last = schema::edit(at->second);
    schema::metadataOf(last).resourceVersion = last.str(fmt::format("{}", event.revision));
    event.object = std::move(last).publish();
    objects_.erase(at);
  }
  ringBytes_ += event.object.object().bytesResident();
  env::Instant now = event.recorded;
  ring_.push_back(std::move(event));
  trim(now);
  for (auto& [id, changed] : listeners_) changed();
}

void ResourceCache::trim(env::Instant now) {
  while (ring_.size() > kRingEventsMin) {
    const CacheEvent& oldest = ring_.front();
    bool fresh = now - oldest.recorded < kEventFresh;
    if (fresh && ring_.size() <= kRingEventsMax && ringBytes_ <= kRingBytesMax) return;
    droppedThrough_ = oldest.revision;
    ringBytes_ -= oldest.object.object().bytesResident();
    ring_.pop_front();
  }
}

CacheHub::CacheHub(env::Env environment, store::Store& store)
    : env_(environment), store_(store), advanced_(environment.executor) {}
CacheHub::~CacheHub() = default;

ResourceCache& CacheHub::add(std::string prefix, const schema::TypeInfo& type) {
  if (auto have = caches_.find(prefix); have != caches_.end()) {
    ASSERT(&have->second->type() == &type);
    return *have->second;
  }
  auto cache = std::make_unique<ResourceCache>(prefix, type);
  cache->hubRevision_ = &revision_;
  return *caches_.emplace(std::move(prefix), std::move(cache)).first->second;
}

// Prefixes do not nest, so the cache of a key is the last prefix that sorts before it.
ResourceCache* CacheHub::cacheOf(std::string_view key, std::string_view& rest) {
  auto after = caches_.upper_bound(key);
  if (after == caches_.begin()) return nullptr;
  ResourceCache& cache = *std::prev(after)->second;
  if (!key.starts_with(cache.prefix())) return nullptr;
  rest = key.substr(cache.prefix().size());
  return &cache;
}

Result<Ref<>> CacheHub::decode(const ResourceCache& cache, const store::KeyValue& kv) {
  if (auto found = handedOver_.find(kv.value.get()); found != handedOver_.end()) {
    Ref<> object = std::move(found->second);
    handedOver_.erase(found);
    return object;
  }
  auto decoded = codec::decodeProtobuf(cache.type(), *kv.value);
  if (!decoded)
    return Unexpected(std::move(decoded).error().withContext(fmt::format("decoding {} at revision {}", kv.key, kv.modRevision)));
  schema::metadataOf(*decoded).resourceVersion = decoded->str(fmt::format("{}", kv.modRevision));
  return std::move(*decoded).publish();
}

void CacheHub::handOver(const store::Value& value, Ref<> object) {
  // The pump may have seen the event first and decoded it; then nobody comes for this one.
  if (revisionOf(object) > revision_) handedOver_.emplace(value.get(), std::move(object));
}

Task<Result<void>> CacheHub::load() {
  store::RangeQuery query;
  query.range = store::prefixRange(kRegistryPrefix);
  query.limit = kLoadPage;
  for (;;) {
    store::RangeResult page = CO_TRY(co_await store_.range(query));
    if (query.revision == 0) query.revision = page.revision;
    for (const store::KeyValue& kv : page.kvs) {
      std::string_view rest;
      ResourceCache* cache = cacheOf(kv.key, rest);
      if (cache == nullptr) continue;
      Ref<> object = CO_TRY(decode(*cache, kv));
      cache->objects_.emplace(std::string(rest), std::move(object));
    }
    if (!page.more) break;
    query.range.begin = page.kvs.back().key + '\0';
  }
  revision_ = query.revision;
  for (auto& [prefix, cache] : caches_) cache->droppedThrough_ = revision_;
  co_return Result<void>();
}

Task<Result<void>> CacheHub::start(async::Gate& gate, async::StopToken stop) {
  CO_TRY(co_await load());
  gate.spawn(pump(stop));
  co_return Result<void>();
}

Result<void> CacheHub::applyBatch(const std::vector<store::Event>& events) {
  env::Instant now = env_.clock.now();
  for (const store::Event& event : events) {
    std::string_view rest;
    ResourceCache* cache = cacheOf(event.kv.key, rest);
    if (cache != nullptr) {
      CacheEvent change;
      change.revision = event.revision();
      change.recorded = now;
      change.key = rest;
      change.type = event.type == store::Event::Put ? CacheEvent::Put : CacheEvent::Delete;
      if (event.type == store::Event::Put) change.object = TRY(decode(*cache, event.kv));
      revision_ = event.revision();
      cache->apply(std::move(change));
    }
    revision_ = event.revision();
  }
  // A burst of events is forgotten when it is old, though its own resource has no news.
  for (auto& [prefix, cache] : caches_) cache->trim(now);
  return {};
}

Task<void> CacheHub::pump(async::StopToken stop) {
  store::WatchQuery query{store::prefixRange(""), revision_ + 1};
  std::shared_ptr<store::Watch> watch = store_.watch(query);
  while (!stop.stopRequested()) {
    auto events = co_await watch->next();
    if (!events) {
      if (!stop.stopRequested()) logError("apiserver", "the watch cache lost its store: {}", events.error().describe());
      co_return;
    }
    if (auto applied = applyBatch(*events); !applied) {
      logError("apiserver", "the watch cache cannot go on: {}", applied.error().describe());
      co_return;
    }
    if (handedOver_.size() > 4096) handedOver_.clear();  // only an optimisation; the pump decodes what is missing
    advanced_.notifyAll();
  }
}

Task<Result<void>> CacheHub::waitFor(int64_t revision) {
  if (revision_ >= revision) co_return Result<void>();
  // The timer wakes everybody; each looks at its own deadline.
  env::Instant deadline = env_.clock.now() + kBlockTimeout;
  async::ScopedTimer timer(env_.executor, deadline, [this] { advanced_.notifyAll(); });
  while (revision_ < revision && env_.clock.now() < deadline) co_await advanced_.wait();
  if (revision_ >= revision) co_return Result<void>();
  Error error(Reason::Timeout, fmt::format("Timeout: Too large resource version: {}, current: {}", revision, revision_));
  error.withCause({"ResourceVersionTooLarge", "Too large resource version", ""});
  ErrorDetails details;
  details.retryAfterSeconds = 1;
  error.withDetails(details);
  co_return std::unexpected(std::move(error));
}

Task<Result<void>> CacheHub::waitFresh() {
  int64_t current = CO_TRY(co_await store_.currentRevision());
  co_return co_await waitFor(current);
}

}  // namespace knarr::apiserver
