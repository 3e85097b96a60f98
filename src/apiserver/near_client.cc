#include "apiserver/near_client.h"

#include <fmt/format.h>

#include "apiserver/defaulting.h"

namespace knarr::apiserver {
namespace {

class NearWatch : public client::Watch {
 public:
  explicit NearWatch(std::unique_ptr<RegistryWatch> watch) : watch_(std::move(watch)) {}
  Task<Result<std::vector<client::WatchEvent>>> next() override {
    std::vector<WatchEvent> events = CO_TRY(co_await watch_->next(async::StopToken()));
    std::vector<client::WatchEvent> out;
    out.reserve(events.size());
    for (WatchEvent& event : events)
      out.push_back({static_cast<client::WatchEvent::Type>(event.type), std::move(event.object),
                     fmt::format("{}", event.revision), event.initialEventsEnd});
    co_return out;
  }

 private:
  std::unique_ptr<RegistryWatch> watch_;
};

class NearClient : public client::Client {
 public:
  NearClient(Api& api, const Authorizer& authorizer, UserInfo user, std::string userAgent)
      : api_(api), authorizer_(authorizer), user_(std::move(user)), userAgent_(std::move(userAgent)) {}

  Task<Result<Ref<>>> get(const schema::ResourceInfo& resource, std::string nameSpace, std::string name,
                          client::GetOptions options) override {
    CO_TRY(allow("get", resource, nameSpace, name));
    co_return co_await api_.get(context(), resource, std::move(nameSpace), std::move(name), std::move(options));
  }
  Task<Result<client::ObjectList>> list(const schema::ResourceInfo& resource, std::string nameSpace,
                                        client::ListOptions options) override {
    CO_TRY(allow("list", resource, nameSpace, ""));
    ListResult list = CO_TRY(co_await api_.list(context(), resource, std::move(nameSpace), std::move(options)));
    co_return client::ObjectList{fmt::format("{}", list.revision), std::move(list.continueToken), list.remainingItemCount,
                                 std::move(list.items)};
  }
  Task<Result<std::unique_ptr<client::Watch>>> watch(const schema::ResourceInfo& resource, std::string nameSpace,
                                                     client::ListOptions options) override {
    CO_TRY(allow("watch", resource, nameSpace, ""));
    auto watch = CO_TRY(co_await api_.watch(context(), resource, std::move(nameSpace), std::move(options)));
    co_return std::make_unique<NearWatch>(std::move(watch));
  }
  Task<Result<Ref<>>> create(const schema::ResourceInfo& resource, std::string nameSpace, std::string name, Mut<> object,
                             client::WriteOptions options) override {
    CO_TRY(allow("create", resource, nameSpace, name));
    setDefaults(object);
    co_return co_await api_.create(context(), resource, std::move(nameSpace), std::move(name), std::move(object),
                                   std::move(options));
  }
  Task<Result<Ref<>>> update(const schema::ResourceInfo& resource, std::string nameSpace, std::string name, Mut<> object,
                             client::WriteOptions options) override {
    CO_TRY(allow("update", resource, nameSpace, name));
    setDefaults(object);
    ContextPtr writer = writing(resource, nameSpace, name);
    co_return co_await api_.update(std::move(writer), resource, std::move(nameSpace), std::move(name), std::move(object),
                                   std::move(options), nullptr);
  }
  Task<Result<Ref<>>> patch(const schema::ResourceInfo& resource, std::string nameSpace, std::string name, client::PatchType type,
                            std::string body, client::WriteOptions options) override {
    CO_TRY(allow("patch", resource, nameSpace, name));
    ContextPtr writer = writing(resource, nameSpace, name);
    co_return co_await api_.patch(std::move(writer), resource, std::move(nameSpace), std::move(name), type, std::move(body),
                                  std::move(options), nullptr);
  }
  Task<Result<Ref<>>> remove(const schema::ResourceInfo& resource, std::string nameSpace, std::string name,
                             client::DeleteOptions options) override {
    CO_TRY(allow("delete", resource, nameSpace, name));
    Registry::Deleted deleted =
        CO_TRY(co_await api_.remove(context(), resource, std::move(nameSpace), std::move(name), std::move(options)));
    co_return std::move(deleted.object);
  }
  Task<Result<void>> removeCollection(const schema::ResourceInfo& resource, std::string nameSpace, client::DeleteOptions options,
                                      client::ListOptions selection) override {
    CO_TRY(allow("deletecollection", resource, nameSpace, ""));
    CO_TRY(co_await api_.removeCollection(context(), resource, std::move(nameSpace), std::move(options), std::move(selection)));
    co_return Result<void>();
  }

 private:
  ContextPtr context() const {
    auto context = std::make_shared<RequestContext>();
    context->user = user_;
    context->userAgent = userAgent_;
    return context;
  }
  // An update that may turn out to be a creation.
  ContextPtr writing(const schema::ResourceInfo& resource, std::string nameSpace, std::string name) const {
    ContextPtr out = context();
    out->mayCreate = [this, info = &resource, nameSpace = std::move(nameSpace), name = std::move(name)] {
      return allow("create", *info, nameSpace, name);
    };
    return out;
  }
  Result<void> allow(std::string_view verb, const schema::ResourceInfo& resource, const std::string& nameSpace,
                     const std::string& name) const {
    AuthorizationAttributes attributes;
    attributes.verb = verb;
    attributes.apiGroup = resource.group;
    attributes.apiVersion = resource.version;
    attributes.resource = resource.resource;
    attributes.subresource = resource.subresource;
    attributes.nameSpace = resource.namespaced ? nameSpace : resource.resource == "namespaces" ? name : "";
    attributes.name = name;
    return authorizer_.check(user_, attributes);
  }

  Api& api_;
  const Authorizer& authorizer_;
  UserInfo user_;
  std::string userAgent_;
};

}  // namespace

std::unique_ptr<client::Client> makeNearClient(Api& api, const Authorizer& authorizer, UserInfo user, std::string userAgent) {
  user.groups.emplace_back(kGroupAuthenticated);
  return std::make_unique<NearClient>(api, authorizer, std::move(user), std::move(userAgent));
}

}  // namespace knarr::apiserver
