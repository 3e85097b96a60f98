// Informer: a local, indexed copy of one resource, kept current by list and watch, with handlers.
//
// Objects are shared constants. Handlers run on the loop, must not block and must not keep references into the store;
// their place is to put keys into a WorkQueue. A lost watch is reopened from the last version; an expired one relists and
// delivers the differences (a missed deletion arrives as onDelete with the last known object).
// Upstream counterpart: k8s.io/client-go/tools/cache (reflector, shared informer, thread safe store).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/meta_v1.h"
#include "apimachinery/labels.h"
#include "client/client.h"

namespace knarr::client {

// "namespace/name", or "name" for cluster-scoped objects.
std::string keyOf(const Ref<>& object);
std::string keyOf(std::string_view nameSpace, std::string_view name);
struct NamespacedName {
  std::string nameSpace;
  std::string name;
};
NamespacedName splitKey(std::string_view key);

struct EventHandler {
  std::function<void(const Ref<>& object)> onAdd;
  std::function<void(const Ref<>& before, const Ref<>& after)> onUpdate;
  std::function<void(const Ref<>& lastKnown)> onDelete;
};
// The values an object is found under in an index.
using IndexFunction = std::function<std::vector<std::string>(const Ref<>& object)>;

class Informer {
 public:
  Informer(env::Env environment, Client& client, const ResourceInfo& resource, std::string nameSpace, ListOptions selection);
  Informer(const Informer&) = delete;
  ~Informer();

  const ResourceInfo& resource() const { return resource_; }
  // Handlers added late get onAdd for what is there.
  void addHandler(EventHandler handler);
  // Before start.
  void addIndex(std::string name, IndexFunction function);

  bool hasSynced() const { return synced_.isSet(); }
  async::Task<void> waitForSync();

  // Null when absent.
  Ref<> get(std::string_view key) const;
  Ref<> get(std::string_view nameSpace, std::string_view name) const { return get(keyOf(nameSpace, name)); }
  // In key order. nameSpace "" lists all.
  std::vector<Ref<>> list(std::string_view nameSpace = "") const;
  std::vector<Ref<>> list(std::string_view nameSpace, const apimachinery::LabelSelector& selector) const;
  std::vector<Ref<>> byIndex(const std::string& index, std::string_view value) const;
  size_t size() const { return objects_.size(); }
  // The newest version seen.
  const std::string& resourceVersion() const { return resourceVersion_; }

  // Lists and watches until stop. Run it in a Gate.
  async::Task<void> run(StopToken stop);

 private:
  async::Task<void> follow(StopToken stop);
  async::Task<Result<void>> listAndReplace();
  async::Task<Result<void>> watchUntilEnd(StopToken stop);
  void replaceAll(std::vector<Ref<>> items);
  void upsert(Ref<> object);
  void erase(const std::string& key);
  void indexObject(const std::string& key, const Ref<>& object, bool insert);

  env::Env env_;
  Client& client_;
  const ResourceInfo& resource_;
  std::string namespace_;
  ListOptions selection_;
  std::vector<EventHandler> handlers_;
  std::map<std::string, Ref<>, std::less<>> objects_;
  struct Index {
    IndexFunction function;
    std::map<std::string, std::map<std::string, Ref<>, std::less<>>, std::less<>> byValue;
  };
  std::map<std::string, Index> indices_;
  std::string resourceVersion_;
  async::Event synced_;
};

// A typed view of an informer.
template <class T>
class Lister {
 public:
  explicit Lister(const Informer& informer) : informer_(&informer) {}
  Ref<T> get(std::string_view nameSpace, std::string_view name) const { return Ref<T>(informer_->get(nameSpace, name)); }
  Ref<T> get(std::string_view key) const { return Ref<T>(informer_->get(key)); }
  std::vector<Ref<T>> list(std::string_view nameSpace = "") const { return typed(informer_->list(nameSpace)); }
  std::vector<Ref<T>> list(std::string_view nameSpace, const apimachinery::LabelSelector& selector) const {
    return typed(informer_->list(nameSpace, selector));
  }
  std::vector<Ref<T>> byIndex(const std::string& index, std::string_view value) const {
    return typed(informer_->byIndex(index, value));
  }

 private:
  static std::vector<Ref<T>> typed(std::vector<Ref<>> objects) {
    std::vector<Ref<T>> out;
    out.reserve(objects.size());
    for (Ref<>& object : objects) out.emplace_back(std::move(object));
    return out;
  }
  const Informer* informer_;
};

// One informer per resource and selection, shared by the components of one process that have one identity.
class InformerFactory {
 public:
  InformerFactory(env::Env environment, Client& client);
  ~InformerFactory();
  Informer& informer(const ResourceInfo& resource, std::string nameSpace = "", ListOptions selection = {});
  template <class T>
  Informer& informer() {
    return informer(resourceOf<T>());
  }
  // Starts those that do not run yet.
  void start(async::Gate& gate, StopToken stop);
  // Until all informers have their first list; false when stop came first.
  async::Task<bool> waitForSync(StopToken stop = {});

 private:
  struct Entry;
  static async::Task<void> signalSync(InformerFactory* self, async::Event* synced);
  env::Env env_;
  Client& client_;
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace knarr::client
