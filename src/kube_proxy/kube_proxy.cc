#include "kube_proxy/kube_proxy.h"

#include <fmt/format.h>

#include "async/scoped_timer.h"
#include "base/log.h"
#include "base/strings.h"
#include "client/event_recorder.h"
#include "client/informer.h"
#include "kube_proxy/conntrack.h"
#include "kube_proxy/health_check.h"

namespace knarr::kube_proxy {
namespace {

using async::StopToken;
using async::Task;
using corev1::Node;
using corev1::Service;
using discoveryv1::EndpointSlice;

const std::string kServiceIndex = "service";

client::ListOptions selecting(std::string labels, std::string fields = "") {
  client::ListOptions out;
  out.labelSelector = std::move(labels);
  out.fieldSelector = std::move(fields);
  return out;
}

std::string serviceKeyOf(const Ref<>& slice) {
  const metav1::ObjectMeta& metadata = schema::metadataOf(slice);
  schema::Str service = schema::valueOf(metadata.labels, "kubernetes.io/service-name");
  return service.empty() ? "" : client::keyOf(metadata.namespace_, service);
}

}  // namespace

class KubeProxy::Impl {
 public:
  Impl(env::Env environment, client::Client& client, RuleKernel& kernel, KubeProxyConfig config)
      : env_(environment),
        kernel_(kernel),
        config_(std::move(config)),
        informers_(environment, client),
        services_(informers_.informer(client::resourceOf<Service>(), "", selecting("!service.kubernetes.io/service-proxy-name"))),
        slices_(informers_.informer(client::resourceOf<EndpointSlice>(), "", selecting("!service.kubernetes.io/headless"))),
        nodes_(informers_.informer(client::resourceOf<Node>(), "", selecting("", "metadata.name=" + config_.rules.nodeName))),
        state_(config_.rules),
        health_(environment, config_.rules.nodePortAddresses, config_.rules.v6),
        recorder_(environment, client, "kube-proxy", config_.rules.nodeName),
        wake_(environment.executor) {
    slices_.addIndex(kServiceIndex, [](const Ref<>& slice) -> std::vector<std::string> { return {serviceKeyOf(slice)}; });
    services_.addHandler({[this](const Ref<>& service) { touch(client::keyOf(service)); },
                          [this](const Ref<>&, const Ref<>& service) { touch(client::keyOf(service)); },
                          [this](const Ref<>& service) { touch(client::keyOf(service)); }});
    slices_.addHandler({[this](const Ref<>& slice) { touchSlice(slice); },
                        [this](const Ref<>& before, const Ref<>& slice) {
                          touchSlice(before);
                          touchSlice(slice);
                        },
                        [this](const Ref<>& slice) { touchSlice(slice); }});
    nodes_.addHandler({[this](const Ref<>& node) { nodeChanged(Ref<Node>(node)); },
                       [this](const Ref<>&, const Ref<>& node) { nodeChanged(Ref<Node>(node)); },
                       {}});
  }

  Task<void> run(StopToken stop) {
    auto registration = stop.onStop([this] { wake_.notifyAll(); });
    async::Gate gate(env_.executor);
    gate.spawn(recorder_.run(stop));
    informers_.start(gate, stop);
    if (co_await informers_.waitForSync(stop)) co_await loop(stop);
    co_await gate.close();
  }

 private:
  void touch(const std::string& service) {
    dirty_.insert(service);
    wake_.notifyAll();
  }
  void touchSlice(const Ref<>& slice) {
    std::string service = serviceKeyOf(slice);
    if (service.empty()) return;
    sliceTouched_.insert(service);
    touch(service);
  }
  void nodeChanged(const Ref<Node>& node) {
    std::string zone(schema::valueOf(node->metadata.labels, "topology.kubernetes.io/zone"));
    if (zone == zone_) return;
    zone_ = std::move(zone);
    for (const Ref<>& service : services_.list()) touch(client::keyOf(service));
  }

  Task<void> loop(StopToken stop) {
    while (!stop.stopRequested()) {
      bool due = full_ || state_.hasStaleChains() || env_.clock.now() >= nextFull_;
      if (dirty_.empty() && !due) {
        async::ScopedTimer timer(env_.executor, nextFull_, [this] { wake_.notifyAll(); });
        co_await wake_.wait();
        continue;
      }
      bool done = co_await sync();
      env::Duration pause = done ? config_.minSyncPeriod : std::min(config_.syncPeriod, retryPause());
      if (!co_await async::sleepFor(env_, pause, stop)) break;
    }
  }

  // Failures in a row wait longer, from the least period up to syncPeriod.
  env::Duration retryPause() const { return config_.minSyncPeriod * (1 << std::min(failures_, 10)); }

  // The table that is there, made right: its remembered clients outlive a restart. Nothing when there is none, or an unlike one.
  Task<std::optional<RuleTransaction>> repairOfTable() {
    auto listed = co_await kernel_.list();
    if (!listed && !isNotFound(listed.error())) logWarning("kube-proxy", "reading the rules: {}", listed.error().describe());
    if (!listed || listed->layout != layoutOf(config_.rules)) co_return std::nullopt;
    co_return state_.repair(*listed);
  }

  // One transaction. False when it failed; the next one then replaces the table.
  Task<bool> sync() {
    std::set<std::string> dirty = std::exchange(dirty_, {});
    bool udp = false;
    for (const std::string& key : dirty) udp = refresh(key) || udp;
    bool whole = full_ || env_.clock.now() >= nextFull_;
    std::optional<RuleTransaction> repair;
    if (whole && failures_ == 0) repair = co_await repairOfTable();
    bool replaced = whole && !repair;
    RuleTransaction transaction = repair ? std::move(*repair) : whole ? state_.whole() : state_.changes();
    if (!transaction.empty()) {
      auto applied = co_await kernel_.apply(std::move(transaction));
      if (!applied) {
        full_ = true;
        ++failures_;
        health_.setHealthy(false);
        logError("kube-proxy", "the rules of services could not be changed: {}", applied.error().describe());
        co_return false;
      }
    }
    if (whole) nextFull_ = env_.clock.now() + config_.fullSyncPeriod;
    full_ = false;
    failures_ = 0;
    health_.setHealthy(true);
    followHealthChecks();
    state_.commit(replaced);
    if (udp) co_await forgetStaleFlows();
    co_return true;
  }

  void followHealthChecks() {
    for (const HealthChecks::Failure& failure : health_.follow(healthChecks_)) {
      Ref<> service = services_.get(failure.service);
      std::string message = fmt::format("node {} failed to start healthcheck \"{}\" on port {}: {}", config_.rules.nodeName,
                                        failure.service, failure.port, failure.error.message());
      logWarning("kube-proxy", "{}", message);
      if (service) recorder_.event(service, "Warning", "FailedToStartServiceHealthcheck", std::move(message));
    }
  }

  // Computes what a Service contributes. True when endpoints of a UDP port changed.
  bool refresh(const std::string& key) {
    bool v6 = config_.rules.v6;
    bool hadUdp = udpServices_.contains(key);
    Ref<Service> service(services_.get(key));
    std::vector<ServicePort> ports;
    if (service) ports = servicePortsOf(*service, v6);
    std::vector<Ref<EndpointSlice>> slices;
    for (const Ref<>& slice : slices_.byIndex(kServiceIndex, key)) slices.emplace_back(slice);
    auto endpoints = endpointsOf(key, slices, v6, config_.rules.nodeName);
    state_.put(key, fragmentOf(ports, endpoints, config_.rules, zone_));
    HealthCheck check = service && !ports.empty() ? healthCheckOf(*service, endpoints) : HealthCheck();
    if (check.port != 0)
      healthChecks_[key] = check;
    else
      healthChecks_.erase(key);
    bool hasUdp = std::any_of(ports.begin(), ports.end(), [](const ServicePort& port) { return port.name.protocol == "udp"; });
    if (hasUdp)
      udpServices_.insert(key);
    else
      udpServices_.erase(key);
    return sliceTouched_.erase(key) > 0 && (hadUdp || hasUdp);
  }

  Task<void> forgetStaleFlows() {
    auto frontends = std::make_shared<UdpFrontends>();
    for (const std::string& key : udpServices_) {
      Ref<Service> service(services_.get(key));
      if (!service) continue;
      std::vector<Ref<EndpointSlice>> slices;
      for (const Ref<>& slice : slices_.byIndex(kServiceIndex, key)) slices.emplace_back(slice);
      auto endpoints = endpointsOf(key, slices, config_.rules.v6, config_.rules.nodeName);
      for (const ServicePort& port : servicePortsOf(*service, config_.rules.v6)) frontends->add(port, endpoints[port.name]);
    }
    if (frontends->empty()) co_return;
    auto removed = co_await kernel_.forgetUdpFlows([frontends](const UdpFlow& flow) { return frontends->isStale(flow); });
    if (!removed)
      logWarning("kube-proxy", "stale UDP connections stay: {}", removed.error().describe());
    else if (*removed > 0)
      logInfo("kube-proxy", "{} stale UDP connections are forgotten", *removed);
  }

  env::Env env_;
  RuleKernel& kernel_;
  KubeProxyConfig config_;
  client::InformerFactory informers_;
  client::Informer& services_;
  client::Informer& slices_;
  client::Informer& nodes_;
  RuleState state_;
  std::map<std::string, HealthCheck> healthChecks_;  // by Service, of those that have a port
  HealthChecks health_;
  client::EventRecorder recorder_;
  async::Event wake_;
  std::string zone_;
  std::set<std::string> dirty_;
  std::set<std::string> sliceTouched_;  // of dirty_, those whose slices changed
  std::set<std::string> udpServices_;
  bool full_ = true;
  int failures_ = 0;
  env::Instant nextFull_{};
};

KubeProxy::KubeProxy(env::Env environment, client::Client& client, RuleKernel& kernel, KubeProxyConfig config)
    : impl_(std::make_unique<Impl>(environment, client, kernel, std::move(config))) {}
KubeProxy::~KubeProxy() = default;
async::Task<void> KubeProxy::run(StopToken stop) { return impl_->run(std::move(stop)); }

std::string tableNameOf(std::string_view clusterName) {
  std::string name;
  for (char c : clusterName.substr(0, 64)) name += std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ? c : '_';
  // A name begins with a letter.
  if (name.empty() || !std::isalpha(static_cast<unsigned char>(name[0]))) name.insert(0, "c");
  return name + "-proxy";
}

}  // namespace knarr::kube_proxy
