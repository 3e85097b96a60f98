// Registry: create, get, list, watch, update, patch and delete for every resource, on decoded objects.
//
// The HTTP handlers and the near client meet here; authentication and authorization have happened before, admission
// happens inside. A write is answered after the store made it durable. Objects given out are shared constants.
// Upstream counterpart: k8s.io/apiserver/pkg/registry/generic/registry/store.go and registry/rest.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apimachinery/labels.h"
#include "apiserver/admission.h"
#include "apiserver/strategy.h"
#include "apiserver/user.h"
#include "apiserver/watch_cache.h"
#include "client/client.h"
#include "env/env.h"
#include "schema/object.h"
#include "store/store.h"

namespace knarr::apiserver {

// What a request carries besides its object.
struct RequestContext {
  UserInfo user;
  std::string userAgent;
  // Asked before an update makes an object that is not there: that takes the right to create too. Empty: allowed.
  // Source: k8s.io/apiserver/pkg/endpoints/handlers/update.go, withAuthorization.
  std::function<Result<void>()> mayCreate;
  // Filled on the way: sent as Warning headers.
  std::vector<std::string> warnings;
};
using ContextPtr = std::shared_ptr<RequestContext>;

// One resource in one served version: its description, its strategy, its cache. The versions of a resource share the cache, which
// holds objects in the version they are stored in; the registry works on those, `Api` converts.
struct ServedResource {
  const schema::ResourceInfo* info = nullptr;
  const Strategy* strategy = nullptr;
  ResourceCache* cache = nullptr;
};

struct ListResult {
  int64_t revision = 0;
  std::string continueToken;
  std::optional<int64_t> remainingItemCount;
  std::vector<Ref<>> items;
};

// What a watcher sees. Types after selector transitions.
struct WatchEvent {
  enum Type : uint8_t { Added, Modified, Deleted, Bookmark } type = Added;
  Ref<> object;  // null in a bookmark
  int64_t revision = 0;
  bool initialEventsEnd = false;
};

// A selection of objects of one resource.
struct Selection {
  std::string nameSpace;  // "" for all
  std::string name;       // of a selector for one name; "" for all
  apimachinery::LabelSelector labels;
  struct FieldTerm {
    std::string path;
    std::string otherwise;  // the path of what counts when nothing is there
    std::string value;
    bool equal;
  };
  std::vector<FieldTerm> fields;
  bool matches(const Ref<>& object) const;
  bool selectsAll() const { return labels.empty() && fields.empty() && name.empty(); }
};

class RegistryWatch {
 public:
  // At least one event; an empty vector at the watch's deadline or on stop. Expired when the reader fell behind.
  virtual Task<Result<std::vector<WatchEvent>>> next(async::StopToken stop) = 0;
  virtual ~RegistryWatch() = default;
};

class Registry {
 public:
  Registry(env::Env environment, store::Store& store, AdmissionChain& admission);
  ~Registry();
  // Before start.
  void serve(const schema::ResourceInfo& resource);
  Task<Result<void>> start(async::Gate& gate, async::StopToken stop);

  // Null when the resource is not served. Subresources are found under their parent.
  const ServedResource* find(std::string_view group, std::string_view version, std::string_view resource) const;
  const std::vector<std::unique_ptr<ServedResource>>& resources() const { return resources_; }
  CacheHub& hub() { return hub_; }
  env::Env env() const { return env_; }

  Task<Result<Ref<>>> get(const ServedResource& resource, std::string nameSpace, std::string name, std::string resourceVersion);
  Task<Result<ListResult>> list(const ServedResource& resource, Selection selection, client::ListOptions options);
  Task<Result<std::unique_ptr<RegistryWatch>>> watch(const ServedResource& resource, Selection selection,
                                                     client::ListOptions options);
  Task<Result<Ref<>>> create(ContextPtr context, const ServedResource& resource, std::string nameSpace, Mut<> object,
                             client::WriteOptions options);
  // What an update does to the stored object, under the guard of its revision; may run several times. `old` is null when
  // the object does not exist and the resource may be created by an update.
  using Transform = std::function<Result<Mut<>>(const Ref<>& old)>;
  // created tells whether the update made the object.
  Task<Result<Ref<>>> update(ContextPtr context, const ServedResource& resource, std::string subresource, std::string nameSpace,
                             std::string name, Transform transform, client::WriteOptions options, bool allowCreate,
                             bool* created);
  struct Deleted {
    Ref<> object;
    bool removed = false;  // gone, rather than terminating
  };
  Task<Result<Deleted>> remove(ContextPtr context, const ServedResource& resource, std::string nameSpace, std::string name,
                               client::DeleteOptions options);
  Task<Result<ListResult>> removeCollection(ContextPtr context, const ServedResource& resource, Selection selection,
                                            client::DeleteOptions options, client::ListOptions listOptions);

  // BadRequest in upstream's words for selectors that do not parse or name an unknown field.
  Result<Selection> select(const ServedResource& resource, std::string nameSpace, const std::string& labelSelector,
                           const std::string& fieldSelector) const;

 private:
  struct Write;
  std::string storeKey(const ServedResource& resource, std::string_view key) const;
  // A namespace may begin to go between admission and commit. What passes here and is handed to the store without a wait is
  // there before the namespace's controller, which hears of the deletion from the same caches, looks for what is left.
  Result<void> checkNamespaceStays(const ServedResource& resource, std::string_view nameSpace, std::string_view name) const;
  Task<Result<Ref<>>> commitPut(const ServedResource& resource, std::string key, Mut<> object, std::optional<int64_t> guard,
                                bool* conflict);
  Task<Result<Deleted>> removeOnce(ContextPtr context, const ServedResource& resource, std::string nameSpace, std::string name,
                                   client::DeleteOptions options, bool* conflict);
  Task<Result<ListResult>> listAtRevision(const ServedResource& resource, Selection selection, int64_t revision,
                                          std::string startKey, int64_t limit);

  env::Env env_;
  store::Store& store_;
  AdmissionChain& admission_;
  CacheHub hub_;
  std::vector<std::unique_ptr<ServedResource>> resources_;
  std::map<std::string, ServedResource*, std::less<>> byPath_;  // "group/version/resource"
};

// `pods` or `deployments.apps`.
std::string groupResource(const schema::ResourceInfo& resource);
Error notFoundError(const schema::ResourceInfo& resource, std::string_view name);
Error conflictError(const schema::ResourceInfo& resource, std::string_view name, std::string_view why);
Error forbiddenError(const schema::ResourceInfo& resource, std::string_view name, std::string_view why);
Error namespaceTerminatingError(const schema::ResourceInfo& resource, std::string_view name, std::string_view nameSpace);

}  // namespace knarr::apiserver
