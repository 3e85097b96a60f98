#include "tests/sim/sim_server.h"

namespace knarr::sim {

using async::Task;
using client::Client;
using client::ResourceInfo;
using schema::Mut;
using schema::Ref;
using Object = Result<Ref<>>;

namespace {

const char* const kStorePath = "/state.db";

Error gone() { return Error(Reason::ServiceUnavailable, "the connection to the server is gone"); }

template <class R>
R goneAs() {
  return R(std::unexpected(gone()));
}

}  // namespace

template <class R>
Task<void> SimServer::serve(Incarnation* life, uint64_t id, Task<R> task, async::Promise<R> answer) {
  R result = co_await std::move(task);
  life->pending.erase(id);
  answer.set(std::move(result));
}

template <class R>
Task<R> SimServer::request(SimServer* server, apiserver::UserInfo user, std::move_only_function<Task<R>(Client&)> call) {
  if (!server->up()) co_return goneAs<R>();
  Incarnation* life = server->incarnation_.get();
  async::Promise<R> answer(server->sim_.env().executor);
  uint64_t id = ++server->lastId_;
  life->pending[id] = [answer] { answer.set(goneAs<R>()); };
  life->gate->spawn(serve<R>(life, id, call(server->innerClient(user)), answer));
  co_return co_await answer.get();
}

// A watch held by a client; the server's end lives in the incarnation that opened it.
class SimServer::RemoteWatch : public client::Watch {
 public:
  using Events = Result<std::vector<client::WatchEvent>>;
  RemoteWatch(SimServer* server, apiserver::UserInfo user, uint64_t id) : server_(server), user_(std::move(user)), id_(id) {}
  ~RemoteWatch() override {
    if (server_->up()) server_->incarnation_->watches.erase(id_);
  }
  Task<Events> next() override {
    return request<Events>(server_, user_,
                           [server = server_, id = id_](Client&) { return nextOf(server->incarnation_.get(), id); });
  }

 private:
  // A task of that life: the server may be on its way down when it runs.
  static Task<Events> nextOf(Incarnation* life, uint64_t id) {
    auto found = life->watches.find(id);
    if (found == life->watches.end()) co_return std::unexpected(gone());
    std::shared_ptr<client::Watch> watch = found->second;
    co_return co_await watch->next();
  }
  SimServer* server_;
  apiserver::UserInfo user_;
  uint64_t id_;
};

class SimServer::Session : public Client {
 public:
  Session(SimServer* server, apiserver::UserInfo user) : server_(server), user_(std::move(user)) {}

  Task<Object> get(const ResourceInfo& resource, std::string ns, std::string name, client::GetOptions options) override {
    return ask<Object>([&resource, ns, name, options](Client& client) { return client.get(resource, ns, name, options); });
  }
  Task<Result<client::ObjectList>> list(const ResourceInfo& resource, std::string ns, client::ListOptions options) override {
    return ask<Result<client::ObjectList>>(
        [&resource, ns, options](Client& client) { return client.list(resource, ns, options); });
  }
  Task<Result<std::unique_ptr<client::Watch>>> watch(const ResourceInfo& resource, std::string ns,
                                                     client::ListOptions options) override {
    using Opened = Result<std::unique_ptr<client::Watch>>;
    return ask<Opened>([server = server_, user = user_, &resource, ns, options](Client& client) {
      return openWatch(server, server->incarnation_.get(), user, client.watch(resource, ns, options));
    });
  }
  Task<Object> create(const ResourceInfo& resource, std::string ns, std::string name, Mut<> object,
                      client::WriteOptions options) override {
    return ask<Object>([&resource, ns, name, object = std::move(object), options](Client& client) mutable {
      return client.create(resource, ns, name, std::move(object), options);
    });
  }
  Task<Object> update(const ResourceInfo& resource, std::string ns, std::string name, Mut<> object,
                      client::WriteOptions options) override {
    return ask<Object>([&resource, ns, name, object = std::move(object), options](Client& client) mutable {
      return client.update(resource, ns, name, std::move(object), options);
    });
  }
  Task<Object> patch(const ResourceInfo& resource, std::string ns, std::string name, client::PatchType type, std::string body,
                     client::WriteOptions options) override {
    return ask<Object>([&resource, ns, name, type, body, options](Client& client) {
      return client.patch(resource, ns, name, type, body, options);
    });
  }
  Task<Object> remove(const ResourceInfo& resource, std::string ns, std::string name, client::DeleteOptions options) override {
    return ask<Object>([&resource, ns, name, options](Client& client) { return client.remove(resource, ns, name, options); });
  }
  Task<Result<void>> removeCollection(const ResourceInfo& resource, std::string ns, client::DeleteOptions options,
                                      client::ListOptions selection) override {
    return ask<Result<void>>([&resource, ns, options, selection](Client& client) {
      return client.removeCollection(resource, ns, options, selection);
    });
  }

 private:
  template <class R>
  Task<R> ask(std::move_only_function<Task<R>(Client&)> call) {
    return request<R>(server_, user_, std::move(call));
  }
  static Task<Result<std::unique_ptr<client::Watch>>> openWatch(SimServer* server, Incarnation* life, apiserver::UserInfo user,
                                                                Task<Result<std::unique_ptr<client::Watch>>> open) {
    auto inner = co_await std::move(open);
    if (!inner) co_return std::unexpected(inner.error());
    uint64_t id = ++server->lastId_;
    life->watches[id] = std::move(*inner);
    co_return std::make_unique<RemoteWatch>(server, std::move(user), id);
  }

  SimServer* server_;
  apiserver::UserInfo user_;
};

SimServer::SimServer(env::SimEnv& sim, uint64_t seed, apiserver::ApiServerConfig config)
    : sim_(sim), config_(std::move(config)), disk_(seed) {}

SimServer::~SimServer() {
  if (up()) crash(store::CrashDisk::Kill);
}

Task<Result<void>> SimServer::start() {
  store::StoreOptions options;
  options.sqliteVfs = disk_.vfsName();
  auto life = std::make_unique<Incarnation>();
  life->store = CO_TRY(store::openSqliteStore(sim_.env(), kStorePath, options));
  life->server = std::make_unique<apiserver::ApiServer>(sim_.env(), *life->store, config_);
  life->gate = std::make_unique<async::Gate>(sim_.env().executor);
  CO_TRY(co_await life->server->start());
  incarnation_ = std::move(life);
  co_return Result<void>();
}

void SimServer::crash(store::CrashDisk::Crash kind) {
  sim_.trace("crash server");
  disk_.die();
  std::unique_ptr<Incarnation> life = std::move(incarnation_);
  auto pending = std::move(life->pending);
  life.reset();
  for (auto& [id, tell] : pending) tell();
  disk_.restart(kind);
}

Task<void> SimServer::stop() {
  std::unique_ptr<Incarnation> life = std::move(incarnation_);
  co_await life->server->stop(std::chrono::seconds(0));
  co_await life->store->close();
  for (auto& [id, tell] : life->pending) tell();
}

std::unique_ptr<Client> SimServer::clientFor(apiserver::UserInfo user) {
  return std::make_unique<Session>(this, std::move(user));
}

Client& SimServer::innerClient(const apiserver::UserInfo& user) {
  auto& client = incarnation_->clients[user.name];
  if (!client) client = incarnation_->server->clientFor(user);
  return *client;
}

}  // namespace knarr::sim
