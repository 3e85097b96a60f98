// Client: how every component speaks to the API server, near (the same process, no sockets and no encoding) or far (HTTP).
//
// A ResourceInfo (schema/type_info.h) names what is spoken to; subresources are ResourceInfos of their own ("pods/status").
// Calls answer with published objects that may be shared with the server's cache: read them, never write them. A failed
// call carries the Error the server gave (reason, code, causes). Every call honours the client's identity: authentication,
// authorization and admission run near as they do far.
// Upstream counterpart: k8s.io/client-go/dynamic and kubernetes/typed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/async.h"
#include "async/task.h"
#include "base/result.h"
#include "schema/object.h"
#include "schema/type_info.h"

namespace knarr::client {

using async::StopToken;
using async::Task;
using schema::Mut;
using schema::Ref;
using schema::ResourceInfo;

// metav1.GetOptions. resourceVersion "" reads the newest state, "0" any cached state.
struct GetOptions {
  std::string resourceVersion;
};

// metav1.ListOptions. Selectors in their text form; "" selects all.
struct ListOptions {
  std::string labelSelector;
  std::string fieldSelector;
  std::string resourceVersion;
  std::string resourceVersionMatch;
  int64_t limit = 0;
  std::string continueToken;
  bool allowWatchBookmarks = false;
  std::optional<bool> sendInitialEvents;
  int64_t timeoutSeconds = 0;
};

// metav1.CreateOptions, UpdateOptions and PatchOptions.
struct WriteOptions {
  bool dryRun = false;
  std::string fieldManager;
  std::string fieldValidation;  // "", "Ignore", "Warn", "Strict"
  bool force = false;           // apply only
};

// metav1.DeleteOptions.
struct DeleteOptions {
  std::optional<int64_t> gracePeriodSeconds;
  std::string propagationPolicy;  // "", "Orphan", "Background", "Foreground"
  std::string preconditionUid;
  std::string preconditionResourceVersion;
  bool dryRun = false;
};

enum class PatchType : uint8_t { Json, Merge, StrategicMerge, Apply };

struct ObjectList {
  std::string resourceVersion;
  std::string continueToken;
  std::optional<int64_t> remainingItemCount;
  std::vector<Ref<>> items;
};

struct WatchEvent {
  enum Type : uint8_t { Added, Modified, Deleted, Bookmark } type = Added;
  Ref<> object;                   // null in a bookmark
  std::string resourceVersion;    // of the object or the bookmark
  bool initialEventsEnd = false;  // the bookmark that ends sendInitialEvents
};

// A running watch. Destroying it stops it.
class Watch {
 public:
  virtual ~Watch() = default;
  // At least one event, in order; an empty vector when the server ended the watch (open a new one from the last seen
  // resourceVersion); reason Expired or Gone when that version is no longer kept (list again).
  virtual Task<Result<std::vector<WatchEvent>>> next() = 0;
};

class Client {
 public:
  virtual ~Client() = default;
  // `nameSpace` is "" for cluster-scoped resources and for lists and watches over all namespaces.
  virtual Task<Result<Ref<>>> get(const ResourceInfo& resource, std::string nameSpace, std::string name,
                                  GetOptions options = {}) = 0;
  virtual Task<Result<ObjectList>> list(const ResourceInfo& resource, std::string nameSpace, ListOptions options = {}) = 0;
  virtual Task<Result<std::unique_ptr<Watch>>> watch(const ResourceInfo& resource, std::string nameSpace,
                                                     ListOptions options) = 0;
  // For a subresource (pods/binding, serviceaccounts/token) `name` is the parent's; otherwise "".
  virtual Task<Result<Ref<>>> create(const ResourceInfo& resource, std::string nameSpace, std::string name, Mut<> object,
                                     WriteOptions options = {}) = 0;
  // Conflict when the object carries a resourceVersion that is not the newest.
  virtual Task<Result<Ref<>>> update(const ResourceInfo& resource, std::string nameSpace, std::string name, Mut<> object,
                                     WriteOptions options = {}) = 0;
  virtual Task<Result<Ref<>>> patch(const ResourceInfo& resource, std::string nameSpace, std::string name, PatchType type,
                                    std::string body, WriteOptions options = {}) = 0;
  // Answers with the object as it stands after the call (terminating), or with what was deleted.
  virtual Task<Result<Ref<>>> remove(const ResourceInfo& resource, std::string nameSpace, std::string name,
                                     DeleteOptions options = {}) = 0;
  virtual Task<Result<void>> removeCollection(const ResourceInfo& resource, std::string nameSpace, DeleteOptions options,
                                              ListOptions selection) = 0;
};

// The resource that serves kind T, or one of its subresources; the vocabulary has it, or it is our bug.
template <class T>
const ResourceInfo& resourceOf(std::string_view subresource = "") {
  const schema::TypeInfo& type = schema::typeInfoOf<T>();
  const ResourceInfo* resource = schema::findResourceOfKind(type.group, type.version, type.kind);
  ASSERT(resource != nullptr);
  if (subresource.empty()) return *resource;
  const ResourceInfo* sub = schema::findResource(resource->group, resource->version, resource->resource, subresource);
  ASSERT(sub != nullptr);
  return *sub;
}

// Typed forms: Ref<corev1::Pod> pod = CO_TRY(co_await client::get<corev1::Pod>(client, "default", "web")).
template <class T>
Task<Result<Ref<T>>> get(Client& client, std::string nameSpace, std::string name, GetOptions options = {}) {
  auto object = co_await client.get(resourceOf<T>(), std::move(nameSpace), std::move(name), std::move(options));
  if (!object) co_return std::unexpected(std::move(object).error());
  co_return Ref<T>(std::move(*object));
}
template <class T>
Task<Result<Ref<T>>> create(Client& client, std::string nameSpace, Mut<T> object, WriteOptions options = {}) {
  auto made = co_await client.create(resourceOf<T>(), std::move(nameSpace), "", std::move(object), std::move(options));
  if (!made) co_return std::unexpected(std::move(made).error());
  co_return Ref<T>(std::move(*made));
}
// The name is the object's own.
template <class T>
Task<Result<Ref<T>>> update(Client& client, Mut<T> object, WriteOptions options = {}) {
  std::string nameSpace(object->metadata.namespace_), name(object->metadata.name);
  auto made =
      co_await client.update(resourceOf<T>(), std::move(nameSpace), std::move(name), std::move(object), std::move(options));
  if (!made) co_return std::unexpected(std::move(made).error());
  co_return Ref<T>(std::move(*made));
}
template <class T>
Task<Result<Ref<T>>> updateStatus(Client& client, Mut<T> object, WriteOptions options = {}) {
  std::string nameSpace(object->metadata.namespace_), name(object->metadata.name);
  auto made = co_await client.update(resourceOf<T>("status"), std::move(nameSpace), std::move(name), std::move(object),
                                     std::move(options));
  if (!made) co_return std::unexpected(std::move(made).error());
  co_return Ref<T>(std::move(*made));
}
template <class T>
Task<Result<Ref<T>>> patch(Client& client, std::string nameSpace, std::string name, PatchType type, std::string body,
                           WriteOptions options = {}) {
  auto made =
      co_await client.patch(resourceOf<T>(), std::move(nameSpace), std::move(name), type, std::move(body), std::move(options));
  if (!made) co_return std::unexpected(std::move(made).error());
  co_return Ref<T>(std::move(*made));
}
template <class T>
Task<Result<void>> remove(Client& client, std::string nameSpace, std::string name, DeleteOptions options = {}) {
  auto gone = co_await client.remove(resourceOf<T>(), std::move(nameSpace), std::move(name), std::move(options));
  if (!gone) co_return std::unexpected(std::move(gone).error());
  co_return Result<void>();
}

}  // namespace knarr::client
