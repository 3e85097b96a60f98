#include "controllers/endpointslice/endpointslice.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/strings.h"
#include "controllers/pod_endpoints/pod_endpoints.h"

namespace knarr::controllers {
namespace {

using corev1::Node;
using corev1::Pod;
using corev1::Service;
using discoveryv1::EndpointSlice;

constexpr int kWorkers = 5;  // --concurrent-service-endpoint-syncs
// A change of a slice by somebody else is looked at after this. Source: endpointslice_controller.go,
// endpointSliceChangeMinSyncDelay.
constexpr env::Duration kSliceChangeDelay = std::chrono::seconds(1);
const std::string kServiceIndex = "service";

uint64_t versionOf(const Ref<>& object) { return parseUint(schema::metadataOf(object).resourceVersion).value_or(0); }

// The Service a slice belongs to, "" when this controller does not manage the slice.
std::string serviceKeyOf(const Ref<>& slice) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(slice);
  if (schema::valueOf(metadata.labels, kManagedByLabel) != kEndpointSliceManager) return "";
  schema::Str service = schema::valueOf(metadata.labels, kServiceNameLabel);
  return service.empty() ? "" : client::keyOf(metadata.namespace_, service);
}

// What this controller wrote and its cache has not shown yet, per Service. A sync on an older cache would do things twice.
class WrittenSlices {
 public:
  void wrote(const std::string& service, const Ref<>& slice) {
    written_[service][std::string(schema::metadataOf(slice).name)] = versionOf(slice);
  }
  void removed(const std::string& service, const std::string& name) { written_[service][name] = kRemoved; }
  void forget(const std::string& service) { written_.erase(service); }
  // Takes an event's slice; true when the event shows our own write or an older state.
  bool observed(const std::string& service, const Ref<>& slice, bool deleted) {
    auto byName = written_.find(service);
    if (byName == written_.end()) return false;
    auto known = byName->second.find(std::string(schema::metadataOf(slice).name));
    if (known == byName->second.end()) return false;
    if (deleted) {
      bool ours = known->second == kRemoved;
      byName->second.erase(known);
      return ours;
    }
    return versionOf(slice) <= known->second;
  }
  bool isStale(const std::string& service, const std::vector<Ref<EndpointSlice>>& cached) const {
    auto byName = written_.find(service);
    if (byName == written_.end()) return false;
    std::map<std::string, uint64_t> seen;
    for (const auto& slice : cached) seen[std::string(slice->metadata.name)] = versionOf(slice);
    for (const auto& [name, version] : byName->second) {
      auto have = seen.find(name);
      if (version == kRemoved ? have != seen.end() : have == seen.end() || have->second < version) return true;
    }
    return false;
  }

 private:
  static constexpr uint64_t kRemoved = UINT64_MAX;
  std::map<std::string, std::map<std::string, uint64_t>> written_;
};

class EndpointSliceController : public Controller {
 public:
  explicit EndpointSliceController(ControllerContext context)
      : context_(context),
        services_(context.informers.informer<Service>()),
        pods_(context.informers.informer<Pod>()),
        nodes_(context.informers.informer<Node>()),
        slices_(context.informers.informer<EndpointSlice>()),
        queue_(std::make_shared<client::WorkQueue>(context.env, "endpoint_slice")),
        recorder_(context.env, context.client, "endpoint-slice-controller", "") {
    slices_.addIndex(kServiceIndex, [](const Ref<>& slice) -> std::vector<std::string> { return {serviceKeyOf(slice)}; });
    services_.addHandler({[this](const Ref<>& service) { queue_->add(client::keyOf(service)); },
                          [this](const Ref<>&, const Ref<>& service) { queue_->add(client::keyOf(service)); },
                          [this](const Ref<>& service) { queue_->add(client::keyOf(service)); }});
    pods_.addHandler({[this](const Ref<>& pod) { podChanged(nullptr, pod); },
                      [this](const Ref<>& before, const Ref<>& pod) { podChanged(before, pod); },
                      [this](const Ref<>& pod) { podChanged(pod, nullptr); }});
    slices_.addHandler({[this](const Ref<>& slice) { sliceChanged(slice, false); },
                        [this](const Ref<>& before, const Ref<>& slice) {
                          if (serviceKeyOf(before) != serviceKeyOf(slice)) sliceChanged(before, true);
                          sliceChanged(slice, false);
                        },
                        [this](const Ref<>& slice) { sliceChanged(slice, true); }});
  }

  std::string_view name() const override { return "endpointslice-controller"; }

  Task<void> run(StopToken stop) override {
    return runController(&context_, queue_, kWorkers, [this](std::string key) { return sync(std::move(key)); }, &recorder_, stop);
  }

 private:
  void podChanged(const Ref<>& before, const Ref<>& after) {
    for (const std::string& key : servicesToSync(services_, Ref<Pod>(before), Ref<Pod>(after))) queue_->add(key);
  }

  void sliceChanged(const Ref<>& slice, bool deleted) {
    std::string service = serviceKeyOf(slice);
    if (!service.empty() && !written_.observed(service, slice, deleted)) queue_->addAfter(service, kSliceChangeDelay);
    // A sync that found the cache behind its own writes goes on as soon as the cache has moved.
    if (stale_.erase(service) != 0) queue_->add(service);
  }

  Task<Result<void>> sync(std::string key) {
    Ref<Service> service(services_.get(key));
    if (!service) {
      // The slices go with their owner.
      written_.forget(key);
      stale_.erase(key);
      times_.forget(key);
      co_return Result<void>();
    }
    if (service->spec.type == "ExternalName" || service->spec.selector.empty()) co_return Result<void>();
    EndpointSliceInputs inputs;
    inputs.service = service;
    for (const Ref<>& slice : slices_.byIndex(kServiceIndex, key))
      if (!schema::metadataOf(slice).deletionTimestamp) inputs.slices.emplace_back(slice);
    if (written_.isStale(key, inputs.slices)) {
      // No failure: counted as one, a burst of pod events would earn the key a back-off of minutes.
      stale_.insert(key);
      queue_->addAfter(key, kSliceChangeDelay);
      co_return Result<void>();
    }
    stale_.erase(key);
    inputs.pods = podsSelected(pods_, *service);
    for (const Ref<Pod>& pod : inputs.pods)
      if (Ref<Node> node(nodes_.get(pod->spec.nodeName)); node) inputs.nodes.emplace(pod->spec.nodeName, node);
    inputs.triggerTime = times_.computeLastChange(key, *service, inputs.pods);
    EndpointSlicePlan plan = decideEndpointSlices(inputs);
    std::vector<std::string> without = plan.podsWithoutNode;
    Result<void> done = co_await apply(key, service, std::move(plan));
    if (!done) {
      if (isNamespaceTerminating(done.error())) co_return Result<void>();
      recorder_.event(service, "Warning", "FailedToUpdateEndpointSlices",
                      fmt::format("Error updating Endpoint Slices for Service {}: {}", key, done.error().message()));
      co_return done;
    }
    if (!without.empty()) co_return fail(Reason::NotFound, fmt::format("pod {} is on a node that is not known", without.front()));
    co_return Result<void>();
  }

  // Creates, then updates, then deletes, so that no endpoint is missing in between.
  Task<Result<void>> apply(std::string key, Ref<Service> service, EndpointSlicePlan plan) {
    std::string nameSpace(service->metadata.namespace_);
    for (size_t i = 0; i < plan.create.size() && !service->metadata.deletionTimestamp; ++i) {
      auto made = CO_TRY(co_await client::create<EndpointSlice>(context_.client, nameSpace, std::move(plan.create[i])));
      written_.wrote(key, made);
    }
    for (size_t i = 0; i < plan.update.size(); ++i) {
      auto made = CO_TRY(co_await client::update<EndpointSlice>(context_.client, std::move(plan.update[i])));
      written_.wrote(key, made);
    }
    for (size_t i = 0; i < plan.remove.size(); ++i) {
      std::string name(plan.remove[i]->metadata.name);
      auto gone = co_await client::remove<EndpointSlice>(context_.client, nameSpace, name);
      if (!gone && !isNotFound(gone.error())) co_return gone;
      if (gone && slices_.get(nameSpace, name)) written_.removed(key, name);
    }
    co_return Result<void>();
  }

  ControllerContext context_;
  client::Informer& services_;
  client::Informer& pods_;
  client::Informer& nodes_;
  client::Informer& slices_;
  std::shared_ptr<client::WorkQueue> queue_;
  client::EventRecorder recorder_;
  WrittenSlices written_;
  std::set<std::string> stale_;  // Services whose last sync found the cache behind written_
  TriggerTimeTracker times_;
};

}  // namespace

std::unique_ptr<Controller> makeEndpointSliceController(ControllerContext context) {
  return std::make_unique<EndpointSliceController>(context);
}

}  // namespace knarr::controllers
