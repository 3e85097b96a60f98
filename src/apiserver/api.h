// Api: every operation of the API on decoded objects, subresources included.
//
// It stands between the callers (HTTP handlers, near clients), who have authenticated and authorized, and the registry. A
// ResourceInfo names what is meant; one with a subresource goes to that subresource's own code. NotFound with "the server
// could not find the requested resource" when this server does not serve it.
// Upstream counterpart: the rest.Storage implementations under pkg/registry.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "apiserver/registry.h"
#include "apiserver/service_account_tokens.h"

namespace knarr::apiserver {

class Api {
 public:
  Api(Registry& registry, ServiceAccountTokens* tokens) : registry_(registry), tokens_(tokens) {}

  Registry& registry() { return registry_; }
  // The served resource a ResourceInfo or one of its subresources belongs to; null when it is not served.
  const ServedResource* served(const schema::ResourceInfo& info) const;

  Task<Result<Ref<>>> get(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                          client::GetOptions options);
  Task<Result<ListResult>> list(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace,
                                client::ListOptions options);
  Task<Result<std::unique_ptr<RegistryWatch>>> watch(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace,
                                                     client::ListOptions options);
  // `name` is the parent's for subresources.
  Task<Result<Ref<>>> create(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                             Mut<> object, client::WriteOptions options);
  Task<Result<Ref<>>> update(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                             Mut<> object, client::WriteOptions options, bool* created);
  Task<Result<Ref<>>> patch(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace, std::string name,
                            client::PatchType type, std::string body, client::WriteOptions options, bool* created);
  Task<Result<Registry::Deleted>> remove(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace,
                                         std::string name, client::DeleteOptions options);
  Task<Result<ListResult>> removeCollection(ContextPtr context, const schema::ResourceInfo& info, std::string nameSpace,
                                            client::DeleteOptions options, client::ListOptions selection);

 private:
  Task<Result<Ref<>>> createBinding(ContextPtr context, const ServedResource& pods, std::string nameSpace, std::string name,
                                    Mut<> object, client::WriteOptions options);
  Task<Result<Ref<>>> createEviction(ContextPtr context, const ServedResource& pods, std::string nameSpace, std::string name,
                                     Mut<> object, client::WriteOptions options);
  Task<Result<void>> askBudget(ContextPtr context, Ref<> pod, bool dryRun);
  Task<Result<Ref<>>> createToken(ContextPtr context, const ServedResource& accounts, std::string nameSpace, std::string name,
                                  Mut<> object, client::WriteOptions options);
  Task<Result<Ref<>>> updateScale(ContextPtr context, const ServedResource& resource, std::string nameSpace, std::string name,
                                  Mut<> scale, client::WriteOptions options);

  Registry& registry_;
  ServiceAccountTokens* tokens_;
};

// The Scale of an object with spec.replicas. Source: pkg/registry/apps/<kind>/storage, scaleFrom....
Result<Mut<>> scaleOf(const Ref<>& object);
// Puts spec.replicas of a Scale into an object.
Result<Mut<>> withScale(const Ref<>& object, const schema::Object& scale);

}  // namespace knarr::apiserver
