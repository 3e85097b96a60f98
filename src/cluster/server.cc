// The cluster in one process: who is given what, in which order.
#include "kubelet/server/server.h"

#include <fmt/format.h>

#include "apiserver/apiserver.h"
#include "base/log.h"
#include "base/strings.h"
#include "cluster/certificates.h"
#include "cluster/cluster.h"
#include "cluster/cni_install.h"
#include "cluster/containerd.h"
#include "cluster/node_network.h"
#include "controller_manager/controller_manager.h"
#include "cri/cri.h"
#include "kubelet/kubelet.h"
#include "scheduler/scheduler.h"
#include "store/store.h"

namespace knarr::cluster {
namespace {

using apiserver::ApiServer;
using apiserver::UserInfo;
using async::StopToken;
using async::Task;

// The kubelet and the controller that watches over it are one process here: a silence of the one says nothing that the other
// could act on, and every renewal of the lease is a write that must reach the disk. So it is renewed every 60 s instead of
// every 10 s; the grace period keeps upstream's proportion to it.
constexpr int32_t kNodeLeaseDurationSeconds = 240;
constexpr env::Duration kNodeMonitorGracePeriod = std::chrono::seconds(300);

// What the fields that all controllers write are managed under.
constexpr const char* kManager = "kube-controller-manager";

// How long requests may take to end when the server stops.
constexpr env::Duration kShutdownGrace = std::chrono::seconds(2);

UserInfo component(std::string name, std::vector<std::string> groups = {}) {
  return {std::move(name), "", std::move(groups), {}};
}

apiserver::ApiServerConfig apiServerConfig(const ClusterConfig& config, const Certificates& certificates) {
  apiserver::ApiServerConfig out;
  out.tls.certificatePem = certificates.apiServer.certificatePem;
  out.tls.privateKeyPem = certificates.apiServer.privateKeyPem;
  out.tls.clientCaPem = certificates.authority.certificatePem;
  out.serviceAccountKeyPem = certificates.serviceAccountKeyPem;
  out.serviceAccountIssuer = fmt::format("https://kubernetes.default.svc.{}", config.clusterDomain);
  out.advertiseAddress = config.nodeIp;
  out.securePort = config.apiPort;
  out.serviceClusterIpRange = config.serviceSubnet;
  out.kubeletClient.caPem = certificates.authority.certificatePem;
  out.kubeletClient.certificatePem = certificates.kubeletClient.certificatePem;
  out.kubeletClient.privateKeyPem = certificates.kubeletClient.privateKeyPem;
  out.servedGroupVersions = apiserver::defaultServedGroupVersions();
  return out;
}

kubelet::KubeletConfig kubeletConfig(env::Env environment, const ClusterConfig& config, const std::string& dnsAddress) {
  kubelet::KubeletConfig out;
  out.cgroupRoot = config.cgroupRoot();
  out.pinnedImages = loadedImages(environment, config);
  out.nodeName = config.nodeName;
  out.nodeIps = {config.nodeIp};
  out.rootDirectory = config.kubeletRootDirectory;
  out.podLogsDirectory = config.podLogsDirectory;
  out.containerLogsDirectory = config.containerLogsDirectory;
  out.clusterDomain = config.clusterDomain;
  out.clusterDns = {dnsAddress};
  out.kubeletPort = config.kubeletPort;
  out.nodeLeaseDurationSeconds = kNodeLeaseDurationSeconds;
  return out;
}

Result<controllers::NodeIpamConfig> nodeIpamConfig(const ClusterConfig& config) {
  controllers::NodeIpamConfig out;
  auto pods = IpPrefix::parse(config.podSubnet), services = IpPrefix::parse(config.serviceSubnet);
  if (!pods) return fail(Reason::Invalid, fmt::format("the pod subnet {} is no CIDR", config.podSubnet));
  out.clusterCidrs = {*pods};
  if (services) out.serviceCidrs = {*services};
  return out;
}

kubelet::KubeletServerConfig kubeletServerConfig(const ClusterConfig& config, const Certificates& certificates) {
  kubelet::KubeletServerConfig out;
  out.address = fmt::format("{}:{}", config.bindAddress, config.kubeletPort);
  out.tls.certificatePem = certificates.kubeletServer.certificatePem;
  out.tls.privateKeyPem = certificates.kubeletServer.privateKeyPem;
  out.tls.clientCaPem = certificates.authority.certificatePem;
  return out;
}

// Calls `ready` once the node's Ready condition is True.
Task<void> watchNodeReady(client::Client* client, std::string node, std::function<void()> ready, StopToken stop) {
  client::ListOptions options;
  options.fieldSelector = "metadata.name=" + node;
  auto watch = co_await client->watch(client::resourceOf<corev1::Node>(), "", options);
  if (!watch) co_return;
  while (!stop.stopRequested()) {
    auto events = co_await (*watch)->next();
    if (!events || events->empty()) co_return;
    for (const client::WatchEvent& event : *events) {
      if (!event.object) continue;
      for (const auto& condition : schema::Ref<corev1::Node>(event.object)->status.conditions)
        if (condition.type == "Ready" && condition.status == "True") {
          ready();
          co_return;
        }
    }
  }
}

Task<void> runKubelet(kubelet::Kubelet* kubelet, StopToken stop) {
  auto ended = co_await kubelet->run(stop);
  if (!ended) logError("kubelet", "{}", ended.error().describe());
}

Task<Result<void>> prepareNode(env::Env environment, ClusterConfig config, Progress report) {
  CO_TRY(installCniPlugins(environment, config));
  co_await ensureBridgeNetfilter(environment);
  CO_TRY(co_await ensureContainerd(environment, config));
  report("containerd answers");
  CO_TRY(co_await importImages(environment, config));
  report("images are loaded");
  co_return Result<void>();
}

Task<void> prepareNodeInto(env::Env environment, ClusterConfig config, Progress report, async::Promise<Result<void>> done) {
  done.set(co_await prepareNode(environment, config, report));
}

}  // namespace

async::Task<Result<void>> runServer(env::Env environment, ClusterConfig config, Progress report, StopToken stop) {
  CO_TRY(checkAddresses(config));
  for (const std::string& directory : {config.dataDirectory, config.runDirectory, config.configDirectory, config.logDirectory})
    CO_TRY(environment.files.makeDirectories(directory));
  Certificates certificates = CO_TRY(ensureCertificates(environment, config));
  CO_TRY(environment.files.writeFileAtomically(
      config.adminKubeconfig(), kubeconfigText(config, certificates, certificates.admin, config.name + "-admin"), 0600));
  std::string dnsAddress = CO_TRY(serviceAddress(config, kDnsServiceOffset)).text();
  std::unique_ptr<store::Store> store = CO_TRY(store::openSqliteStore(environment, config.dataDirectory + "/state.db"));

  // The node's half takes longest and needs nothing of the API: it begins now.
  async::Gate gate(environment.executor);
  async::Promise<Result<void>> nodePrepared(environment.executor);
  gate.spawn(prepareNodeInto(environment, config, report, nodePrepared));

  ApiServer server(environment, *store, apiServerConfig(config, certificates));
  CO_TRY(co_await server.start());
  CO_TRY(server.listen(fmt::format("{}:{}", config.bindAddress, config.apiPort)));
  report("the API server is ready");

  auto managerClient =
      server.clientFor(component("system:kube-controller-manager", {std::string(apiserver::kGroupMasters)}), kManager);
  client::InformerFactory informers(environment, *managerClient);
  CO_TRY(co_await ensureDnsObjects(*managerClient, config));
  auto network =
      CO_TRY(NodeNetwork::make(environment, config, server.clientFor(component("system:kube-proxy"), "kube-proxy"),
                               server.clientFor(component("system:serviceaccount:kube-system:coredns",
                                                          {"system:serviceaccounts", "system:serviceaccounts:kube-system"}),
                                                "coredns")));
  async::Gate networkGate(environment.executor);
  networkGate.spawn(network->run(stop));
  auto schedulerClient = server.clientFor(component("system:kube-scheduler"), "kube-scheduler");
  scheduler::Scheduler scheduler(environment, *schedulerClient, informers, {});
  controller_manager::ControllerManagerConfig managerConfig{certificates.authority.certificatePem,
                                                            apiserver::defaultServedGroupVersions()};
  managerConfig.nodeMonitorGracePeriod = kNodeMonitorGracePeriod;
  managerConfig.nodeIpam = CO_TRY(nodeIpamConfig(config));
  followPodRange(environment, config, informers.informer<corev1::Node>());
  gate.spawn(controller_manager::runControllers(
      environment, managerConfig, informers,
      [&server](const std::string& name) {
        return server.clientFor(component("system:serviceaccount:kube-system:" + name,
                                          {"system:serviceaccounts", "system:serviceaccounts:kube-system"}),
                                kManager);
      },
      stop));
  gate.spawn(scheduler.run(stop));

  CO_TRY(co_await nodePrepared.get());
  auto kubeletClient = server.clientFor(component("system:node:" + config.nodeName, {"system:nodes"}), "kubelet");
  auto runtime = cri::makeRuntimeClient(environment, {"unix:" + config.containerdSocket()});
  kubelet::Kubelet kubelet(kubeletConfig(environment, config, dnsAddress), {environment, *kubeletClient, *runtime});
  kubelet::KubeletServer kubeletServer(environment, kubelet, kubeletServerConfig(config, certificates));
  CO_TRY(kubeletServer.listen());
  gate.spawn(runKubelet(&kubelet, stop));
  gate.spawn(watchNodeReady(
      managerClient.get(), config.nodeName,
      [report, node = config.nodeName] {
        report(fmt::format("node {} is Ready", node));
        report("ready");
      },
      stop));

  async::Event stopping(environment.executor);
  auto registration = stop.onStop([&stopping] { stopping.set(); });
  co_await stopping.wait();
  co_await networkGate.close();
  co_await kubeletServer.shutdown(kShutdownGrace);
  co_await server.stop(kShutdownGrace);
  co_await store->close();
  co_return Result<void>();
}

}  // namespace knarr::cluster
