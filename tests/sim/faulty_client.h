// A client behind a bad network: requests and answers take their time and get lost, watches break
// off.
//
// A request that was sent is served to its end by the server whatever becomes of the one who asked,
// as over a wire. All chance comes from the environment, so a run replays from its seed.
#pragma once

#include "async/async.h"
#include "client/client.h"

namespace knarr::sim {

struct ClientFaults {
  env::Duration delayMin = std::chrono::microseconds(100);
  env::Duration delayMax = std::chrono::milliseconds(3);
  // Chances per occasion, 0 to 1.
  double slow = 0;          // a delay of up to two seconds instead
  double requestLost = 0;   // ServiceUnavailable, nothing happened
  double answerLost = 0;    // Timeout, although it was done; not for the creation of pods, whose names are generated
  double watchEnds = 0;     // per batch, which is lost with it
  double watchExpires = 0;  // per batch: list again
};

class FaultyClient : public client::Client {
 public:
  // `inner` and `server` outlive the requests, this client need not.
  FaultyClient(env::Env environment, const ClientFaults& faults, async::Gate& server, client::Client& inner)
      : env_(environment), faults_(faults), server_(server), inner_(inner) {}

  using Object = Result<schema::Ref<>>;
  using Resource = client::ResourceInfo;
  template <class T>
  using Task = async::Task<T>;

  Task<Object> get(const Resource& resource, std::string ns, std::string name, client::GetOptions options) override {
    return call<Object>(inner_.get(resource, std::move(ns), std::move(name), std::move(options)), false);
  }
  Task<Result<client::ObjectList>> list(const Resource& resource, std::string ns, client::ListOptions options) override {
    return call<Result<client::ObjectList>>(inner_.list(resource, std::move(ns), std::move(options)), false);
  }
  Task<Result<std::unique_ptr<client::Watch>>> watch(const Resource& resource, std::string ns,
                                                     client::ListOptions options) override {
    return openWatch(this, &resource, std::move(ns), std::move(options));
  }
  Task<Object> create(const Resource& resource, std::string ns, std::string name, schema::Mut<> object,
                      client::WriteOptions options) override {
    bool generated = schema::metadataOf(object).name.empty() && name.empty();
    return call<Object>(inner_.create(resource, std::move(ns), std::move(name), std::move(object), std::move(options)),
                        !generated);
  }
  Task<Object> update(const Resource& resource, std::string ns, std::string name, schema::Mut<> object,
                      client::WriteOptions options) override {
    return call<Object>(inner_.update(resource, std::move(ns), std::move(name), std::move(object), std::move(options)), true);
  }
  Task<Object> patch(const Resource& resource, std::string ns, std::string name, client::PatchType type, std::string body,
                     client::WriteOptions options) override {
    return call<Object>(inner_.patch(resource, std::move(ns), std::move(name), type, std::move(body), std::move(options)), true);
  }
  Task<Object> remove(const Resource& resource, std::string ns, std::string name, client::DeleteOptions options) override {
    return call<Object>(inner_.remove(resource, std::move(ns), std::move(name), std::move(options)), true);
  }
  Task<Result<void>> removeCollection(const Resource& resource, std::string ns, client::DeleteOptions options,
                                      client::ListOptions selection) override {
    return call<Result<void>>(inner_.removeCollection(resource, std::move(ns), std::move(options), std::move(selection)), true);
  }

 private:
  class FaultyWatch : public client::Watch {
   public:
    FaultyWatch(env::Env environment, const ClientFaults& faults, std::unique_ptr<client::Watch> inner)
        : env_(environment), faults_(faults), inner_(std::move(inner)) {}
    Task<Result<std::vector<client::WatchEvent>>> next() override {
      auto events = co_await inner_->next();
      co_await async::sleepFor(env_, delay(env_, faults_));
      if (env_.random.unit() < faults_.watchEnds) co_return std::vector<client::WatchEvent>();
      if (env_.random.unit() < faults_.watchExpires) co_return fail(Reason::Expired, "too old resource version");
      co_return events;
    }

   private:
    env::Env env_;
    const ClientFaults& faults_;
    std::unique_ptr<client::Watch> inner_;
  };

  static env::Duration delay(env::Env environment, const ClientFaults& faults) {
    if (environment.random.unit() < faults.slow)
      return env::Duration(static_cast<int64_t>(environment.random.below(2'000'000'000)));
    auto span = static_cast<uint64_t>((faults.delayMax - faults.delayMin).count());
    return faults.delayMin + env::Duration(static_cast<int64_t>(environment.random.below(span + 1)));
  }

  template <class R>
  static Task<void> serve(Task<R> request, async::Promise<R> answer) {
    answer.set(co_await std::move(request));
  }
  template <class R>
  Task<R> call(Task<R> request, bool write) {
    return send<R>(env_, &faults_, &server_, std::move(request), write);
  }
  template <class R>
  static Task<R> send(env::Env environment, const ClientFaults* faults, async::Gate* server, Task<R> request, bool write) {
    co_await async::sleepFor(environment, delay(environment, *faults));
    if (environment.random.unit() < faults->requestLost) co_return fail(Reason::ServiceUnavailable, "the request was lost");
    async::Promise<R> answer(environment.executor);
    server->spawn(serve<R>(std::move(request), answer));
    R result = co_await answer.get();
    co_await async::sleepFor(environment, delay(environment, *faults));
    if (write && environment.random.unit() < faults->answerLost) co_return fail(Reason::Timeout, "the answer was lost");
    co_return result;
  }
  static Task<Result<std::unique_ptr<client::Watch>>> openWatch(FaultyClient* self, const Resource* resource, std::string ns,
                                                                client::ListOptions options) {
    env::Env environment = self->env_;
    const ClientFaults& faults = self->faults_;
    client::Client& inner = self->inner_;
    co_await async::sleepFor(environment, delay(environment, faults));
    if (environment.random.unit() < faults.requestLost) co_return fail(Reason::ServiceUnavailable, "the request was lost");
    auto watch = co_await inner.watch(*resource, std::move(ns), std::move(options));
    if (!watch) co_return std::unexpected(std::move(watch).error());
    co_return std::make_unique<FaultyWatch>(environment, faults, std::move(*watch));
  }

  env::Env env_;
  const ClientFaults& faults_;
  async::Gate& server_;
  client::Client& inner_;
};

}  // namespace knarr::sim
