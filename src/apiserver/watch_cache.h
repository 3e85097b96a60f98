// The watch cache: every stored object, decoded once, and the recent events of every resource.
//
// One pump follows the whole store and applies each event to the cache of its resource, so all caches stand at one
// revision. Readers wait until the cache has reached the revision that the store had when they asked, and then share the
// cached pointer. Watchers read from a bounded ring of events per resource; one that falls behind the ring, or whose own
// queue is full, ends and the client opens a new watch. Everything belongs to one event loop.
// Upstream counterpart: k8s.io/apiserver/pkg/storage/cacher.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "async/async.h"
#include "schema/object.h"
#include "store/store.h"

namespace knarr::apiserver {

using async::Task;
using schema::Mut;
using schema::Ref;

struct CacheEvent {
  enum Type : uint8_t { Put, Delete } type = Put;
  int64_t revision = 0;
  std::string key;          // "namespace/name" or "name"
  Ref<> object;             // the new state; for Delete the last state with the revision of the deletion
  Ref<> previous;           // null on creation
  env::Instant recorded{};  // when it was applied
};

class ResourceCache;

// A reader of one resource's events. The ring is shared; a cursor holds only its place in it.
class CacheCursor {
 public:
  CacheCursor(ResourceCache& cache, int64_t afterRevision);
  ~CacheCursor();
  CacheCursor(const CacheCursor&) = delete;
  // The events after the last seen one that are there now, at most `most`. Expired when the ring no longer has them.
  Result<std::vector<CacheEvent>> take(size_t most);
  // Calls back inside the apply of each new event until the returned listener is destroyed.
  class Listener {
   public:
    Listener(ResourceCache& cache, std::function<void()> changed);
    ~Listener();
    Listener(const Listener&) = delete;

   private:
    ResourceCache* cache_;
    uint64_t id_;
  };
  Listener onChange(std::function<void()> changed) { return Listener(*cache_, std::move(changed)); }
  // All events up to here have been taken.
  int64_t revision() const { return revision_; }

 private:
  ResourceCache* cache_;
  int64_t revision_;
};

class ResourceCache {
 public:
  // prefix: "/registry/pods/".
  ResourceCache(std::string prefix, const schema::TypeInfo& type);

  const std::string& prefix() const { return prefix_; }
  const schema::TypeInfo& type() const { return *type_; }
  const std::map<std::string, Ref<>, std::less<>>& objects() const { return objects_; }
  Ref<> get(std::string_view key) const;
  // The newest revision applied to any cache.
  int64_t revision() const { return *hubRevision_; }
  // Watches can start after this revision.
  int64_t oldestWatchable() const { return droppedThrough_; }
  size_t watchers() const { return watchers_; }

  size_t ringEvents() const { return ring_.size(); }

  // The ring keeps its last kRingEventsMin events however old they are, and more only while they are fresh and within both
  // bounds. Source: cacher/watch_cache.go (defaultLowerBoundCapacity, defaultUpperBoundCapacity, DefaultEventFreshDuration).
  static constexpr size_t kRingEventsMin = 100;
  static constexpr size_t kRingEventsMax = 100 * 1024;
  static constexpr size_t kRingBytesMax = size_t{32} * 1024 * 1024;  // of the objects that its events hold
  static constexpr env::Duration kEventFresh = std::chrono::seconds(75);

 private:
  friend class CacheHub;
  friend class CacheCursor;
  void apply(CacheEvent event);
  // Drops the events that the ring need not keep any more.
  void trim(env::Instant now);

  std::string prefix_;
  const schema::TypeInfo* type_;
  std::map<std::string, Ref<>, std::less<>> objects_;
  std::deque<CacheEvent> ring_;
  size_t ringBytes_ = 0;
  int64_t droppedThrough_ = 0;
  const int64_t* hubRevision_ = nullptr;
  std::map<uint64_t, std::function<void()>> listeners_;
  uint64_t nextListener_ = 0;
  size_t watchers_ = 0;
};

class CacheHub {
 public:
  CacheHub(env::Env environment, store::Store& store);
  ~CacheHub();
  // Before start. The reference stays valid as long as the hub; a prefix that is there already is shared.
  ResourceCache& add(std::string prefix, const schema::TypeInfo& type);
  // Loads everything and starts the pump. An undecodable object fails the start and is named.
  Task<Result<void>> start(async::Gate& gate, async::StopToken stop);

  int64_t revision() const { return revision_; }
  // Waits until the caches stand at `revision` or later; Timeout after three seconds ("Too large resource version").
  Task<Result<void>> waitFor(int64_t revision);
  // Waits until the caches show everything that was acknowledged before the call.
  Task<Result<void>> waitFresh();

  // A writer hands over the object whose encoding it committed, so that the pump need not decode it again.
  void handOver(const store::Value& value, Ref<> object);

 private:
  Task<void> pump(async::StopToken stop);
  Result<void> applyBatch(const std::vector<store::Event>& events);
  Result<Ref<>> decode(const ResourceCache& cache, const store::KeyValue& kv);
  ResourceCache* cacheOf(std::string_view key, std::string_view& rest);
  Task<Result<void>> load();

  env::Env env_;
  store::Store& store_;
  std::map<std::string, std::unique_ptr<ResourceCache>, std::less<>> caches_;  // by prefix
  std::unordered_map<const std::string*, Ref<>> handedOver_;
  int64_t revision_ = 0;
  async::Event advanced_;
};

// The resourceVersion of an object, 0 when it has none.
int64_t revisionOf(const Ref<>& object);

}  // namespace knarr::apiserver
