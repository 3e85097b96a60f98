#include "controllers/endpoint/endpoint.h"

#include <fmt/format.h>

#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "controllers/pod_endpoints/pod_endpoints.h"

namespace knarr::controllers {
namespace {

using corev1::Endpoints;
using corev1::Pod;
using corev1::Service;

// A sync on a cache that is behind is tried again then, unless the cache moves first.
constexpr env::Duration kStaleDelay = std::chrono::seconds(1);
constexpr int kWorkers = 5;  // --concurrent-endpoint-syncs
// Leader election used to keep its record in an Endpoints object.
constexpr std::string_view kLeaderAnnotation = "control-plane.alpha.kubernetes.io/leader";

class EndpointController : public Controller {
 public:
  explicit EndpointController(ControllerContext context)
      : context_(context),
        services_(context.informers.informer<Service>()),
        pods_(context.informers.informer<Pod>()),
        endpoints_(context.informers.informer<Endpoints>()),
        queue_(std::make_shared<client::WorkQueue>(context.env, "endpoint")),
        recorder_(context.env, context.client, "endpoint-controller", "") {
    services_.addHandler({[this](const Ref<>& service) { queue_->add(client::keyOf(service)); },
                          [this](const Ref<>&, const Ref<>& service) { queue_->add(client::keyOf(service)); },
                          [this](const Ref<>& service) { queue_->add(client::keyOf(service)); }});
    pods_.addHandler({[this](const Ref<>& pod) { podChanged(nullptr, pod); },
                      [this](const Ref<>& before, const Ref<>& pod) { podChanged(before, pod); },
                      [this](const Ref<>& pod) { podChanged(pod, nullptr); }});
    endpoints_.addHandler({[this](const Ref<>& endpoints) { cacheMoved(endpoints); },
                           [this](const Ref<>&, const Ref<>& endpoints) { cacheMoved(endpoints); },
                           [this](const Ref<>& endpoints) { queue_->add(client::keyOf(endpoints)); }});
  }

  std::string_view name() const override { return "endpoints-controller"; }

  Task<void> run(StopToken stop) override {
    // Leftovers of Services that went while nobody looked.
    for (const Ref<>& endpoints : endpoints_.list())
      if (!schema::metadataOf(endpoints).annotations.contains(kLeaderAnnotation)) queue_->add(client::keyOf(endpoints));
    co_await runController(
        &context_, queue_, kWorkers, [this](std::string key) { return sync(std::move(key)); }, &recorder_, stop);
  }

 private:
  void podChanged(const Ref<>& before, const Ref<>& after) {
    for (const std::string& key : servicesToSync(services_, Ref<Pod>(before), Ref<Pod>(after))) queue_->add(key);
  }

  // A sync that found the cache behind its own write goes on as soon as the cache has moved.
  void cacheMoved(const Ref<>& endpoints) {
    if (stale_.erase(client::keyOf(endpoints)) != 0) queue_->add(client::keyOf(endpoints));
  }

  Task<Result<void>> removeLeftover(client::NamespacedName key) {
    Ref<> leftover = endpoints_.get(key.nameSpace, key.name);
    if (!leftover || schema::metadataOf(leftover).annotations.contains(kLeaderAnnotation)) co_return Result<void>();
    auto gone = co_await client::remove<Endpoints>(context_.client, key.nameSpace, key.name);
    if (!gone && !isNotFound(gone.error())) co_return gone;
    co_return Result<void>();
  }

  Task<Result<void>> sync(std::string key) {
    Ref<Service> service(services_.get(key));
    if (!service) {
      times_.forget(key);
      written_.erase(key);
      stale_.erase(key);
      co_return co_await removeLeftover(client::splitKey(key));
    }
    if (service->spec.type == "ExternalName" || service->spec.selector.empty()) co_return Result<void>();
    Ref<Endpoints> current(endpoints_.get(key));
    uint64_t version = current ? parseUint(current->metadata.resourceVersion).value_or(0) : 0;
    if (auto written = written_.find(key); current && written != written_.end() && version < written->second) {
      // No failure: counted as one, a burst of pod events would earn the key a back-off of minutes.
      stale_.insert(key);
      queue_->addAfter(key, kStaleDelay);
      co_return Result<void>();
    }
    stale_.erase(key);
    std::vector<Ref<Pod>> pods = podsSelected(pods_, *service);
    Mut<Endpoints> next = decideEndpoints(service, pods, current, times_.computeLastChange(key, *service, pods));
    if (!next) co_return Result<void>();
    Result<Ref<Endpoints>> done =
        current ? co_await client::update<Endpoints>(context_.client, std::move(next))
                : co_await client::create<Endpoints>(context_.client, std::string(service->metadata.namespace_), std::move(next));
    if (done) {
      written_[key] = parseUint((*done)->metadata.resourceVersion).value_or(0);
      co_return Result<void>();
    }
    if (isNamespaceTerminating(done.error())) co_return Result<void>();
    if (current)
      recorder_.event(current, "Warning", "FailedToUpdateEndpoint",
                      fmt::format("Failed to update endpoint {}: {}", key, done.error().message()));
    else
      recorder_.event(service, "Warning", "FailedToCreateEndpoint",
                      fmt::format("Failed to create endpoint for service {}: {}", key, done.error().message()));
    co_return Unexpected(std::move(done).error());
  }

  ControllerContext context_;
  client::Informer& services_;
  client::Informer& pods_;
  client::Informer& endpoints_;
  std::shared_ptr<client::WorkQueue> queue_;
  client::EventRecorder recorder_;
  TriggerTimeTracker times_;
  std::map<std::string, uint64_t> written_;  // newest version written, by Service
  std::set<std::string> stale_;              // keys whose last sync found the cache behind written_
};

}  // namespace

std::unique_ptr<Controller> makeEndpointController(ControllerContext context) {
  return std::make_unique<EndpointController>(context);
}

}  // namespace knarr::controllers
