#include "cluster/node_network.h"

#include <fmt/format.h>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/rbac_v1.h"
#include "base/log.h"
#include "cluster/containerd.h"

namespace knarr::cluster {
namespace {

using client::Client;
using corev1::Service;
using discoveryv1::EndpointSlice;
using schema::Mut;
using schema::Ref;

constexpr std::string_view kNamespace = "kube-system";
constexpr std::string_view kDnsService = "kube-dns";
constexpr std::string_view kDnsRole = "system:coredns";
constexpr std::string_view kDnsAccount = "coredns";

template <class T>
async::Task<Result<void>> createIfMissing(Client& client, Mut<T> object) {
  std::string nameSpace(object->metadata.namespace_);
  auto made = co_await client::create<T>(client, std::move(nameSpace), std::move(object));
  if (!made && !isAlreadyExists(made.error())) co_return Unexpected(std::move(made).error());
  co_return Result<void>();
}

void addWords(schema::List<schema::Str>& to, Arena& arena, std::initializer_list<schema::Str> words) {
  for (schema::Str word : words) to.append(arena, word);
}

// Source of the rules: cluster/addons/dns/coredns.
Mut<rbacv1::ClusterRole> dnsRole() {
  auto role = schema::newObject<rbacv1::ClusterRole>();
  Arena& arena = role.arena();
  role->metadata.name = kDnsRole;
  schema::set(role->metadata.labels, arena, "kubernetes.io/bootstrapping", "rbac-defaults");
  auto& core = role->rules.append(arena);
  addWords(core.apiGroups, arena, {""});
  addWords(core.resources, arena, {"endpoints", "services", "pods", "namespaces"});
  addWords(core.verbs, arena, {"list", "watch"});
  auto& slices = role->rules.append(arena);
  addWords(slices.apiGroups, arena, {"discovery.k8s.io"});
  addWords(slices.resources, arena, {"endpointslices"});
  addWords(slices.verbs, arena, {"list", "watch"});
  return role;
}

Mut<rbacv1::ClusterRoleBinding> dnsRoleBinding() {
  auto binding = schema::newObject<rbacv1::ClusterRoleBinding>();
  Arena& arena = binding.arena();
  binding->metadata.name = kDnsRole;
  schema::set(binding->metadata.labels, arena, "kubernetes.io/bootstrapping", "rbac-defaults");
  binding->roleRef = {"rbac.authorization.k8s.io", "ClusterRole", kDnsRole};
  auto& subject = binding->subjects.append(arena);
  subject.kind = "ServiceAccount";
  subject.name = kDnsAccount;
  subject.namespace_ = kNamespace;
  return binding;
}

Mut<Service> dnsService(const std::string& address) {
  auto service = schema::newObject<Service>();
  Arena& arena = service.arena();
  service->metadata.name = kDnsService;
  service->metadata.namespace_ = kNamespace;
  for (auto [key, value] : {std::pair("k8s-app", "kube-dns"), std::pair("kubernetes.io/cluster-service", "true"),
                            std::pair("kubernetes.io/name", "CoreDNS")})
    schema::set(service->metadata.labels, arena, key, value);
  service->spec.clusterIP = service.str(address);
  for (auto [name, protocol] : {std::pair("dns", "UDP"), std::pair("dns-tcp", "TCP")}) {
    auto& port = service->spec.ports.append(arena);
    port.name = name;
    port.protocol = protocol;
    port.port = 53;
    port.targetPort.intValue = 53;
  }
  return service;
}

void fillDnsSlice(Mut<EndpointSlice>& slice, const ClusterConfig& config) {
  Arena& arena = slice.arena();
  slice->endpoints.clear();
  auto& endpoint = slice->endpoints.append(arena);
  endpoint.addresses.append(arena) = slice.str(config.nodeIp);
  endpoint.conditions.ready = true;
  endpoint.nodeName = slice.str(config.nodeName);
  slice->ports.clear();
  for (auto [name, protocol] : {std::pair("dns", "UDP"), std::pair("dns-tcp", "TCP")}) {
    auto& port = slice->ports.append(arena);
    port.name = schema::Str(name);
    port.protocol = schema::Str(protocol);
    port.port = config.dnsPort;
  }
}

// The slice has no controller: the name server is no pod.
async::Task<Result<void>> ensureDnsSlice(Client& client, ClusterConfig config) {
  auto have = co_await client::get<EndpointSlice>(client, std::string(kNamespace), std::string(kDnsService));
  if (!have && !isNotFound(have.error())) co_return Unexpected(std::move(have).error());
  Mut<EndpointSlice> slice = have ? schema::edit(*have) : schema::newObject<EndpointSlice>();
  fillDnsSlice(slice, config);
  if (have) {
    if (schema::equal(*slice, **have)) co_return Result<void>();
    CO_TRY(co_await client::update<EndpointSlice>(client, std::move(slice)));
    co_return Result<void>();
  }
  slice->metadata.name = kDnsService;
  slice->metadata.namespace_ = kNamespace;
  schema::set(slice->metadata.labels, slice.arena(), "kubernetes.io/service-name", kDnsService);
  schema::set(slice->metadata.labels, slice.arena(), "endpointslice.kubernetes.io/managed-by", "knarr");
  slice->addressType = config.nodeIp.find(':') == std::string::npos ? "IPv4" : "IPv6";
  co_return co_await createIfMissing(client, std::move(slice));
}

}  // namespace

Result<IpAddress> serviceAddress(const ClusterConfig& config, unsigned offset) {
  auto subnet = IpPrefix::parse(config.serviceSubnet);
  if (!subnet) return fail(Reason::Invalid, fmt::format("the service subnet {} is no CIDR", config.serviceSubnet));
  IpAddress out = subnet->address;
  out.value += offset;
  if (!subnet->contains(out) || subnet->address.bits() - subnet->length < 4)
    return fail(Reason::Invalid,
                fmt::format("the service subnet {} is too small: it needs at least 16 addresses", config.serviceSubnet));
  return out;
}

async::Task<Result<void>> ensureDnsObjects(Client& client, ClusterConfig config) {
  std::string address = CO_TRY(serviceAddress(config, kDnsServiceOffset)).text();
  CO_TRY(co_await createIfMissing(client, dnsRole()));
  CO_TRY(co_await createIfMissing(client, dnsRoleBinding()));
  auto account = schema::newObject<corev1::ServiceAccount>();
  account->metadata.name = kDnsAccount;
  account->metadata.namespace_ = kNamespace;
  CO_TRY(co_await createIfMissing(client, std::move(account)));
  // Somebody's own name server may stand behind a Service of this name; it is not touched.
  auto have = co_await client::get<Service>(client, std::string(kNamespace), std::string(kDnsService));
  if (!have && !isNotFound(have.error())) co_return Unexpected(std::move(have).error());
  if (have && !(*have)->spec.selector.empty()) co_return Result<void>();
  if (!have) CO_TRY(co_await createIfMissing(client, dnsService(address)));
  co_return co_await ensureDnsSlice(client, config);
}

async::Task<void> ensureBridgeNetfilter(env::Env environment) {
  const std::string settings = "/proc/sys/net/bridge";
  if (environment.files.status(settings)) co_return;
  env::ProcessSpec spec;
  for (const char* path : {"/sbin/modprobe", "/usr/sbin/modprobe"})
    if (spec.argv.empty() && environment.files.status(path)) spec.argv = {path, "br_netfilter"};
  if (!spec.argv.empty()) (void)co_await async::runProcess(environment, std::move(spec));
  if (!environment.files.status(settings)) {
    logWarning("cluster",
               "the kernel module br_netfilter is missing: pods of this node may not reach each other through a Service");
    co_return;
  }
  for (const char* name : {"bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"})
    (void)environment.files.appendFile(settings + "/" + name, "0\n");
}

void followPodRange(env::Env environment, const ClusterConfig& config, client::Informer& nodes) {
  auto written = std::make_shared<std::string>();
  auto look = [environment, config, written](const Ref<>& object) {
    Ref<corev1::Node> node(object);
    if (node->metadata.name != config.nodeName || node->spec.podCIDR.empty() || node->spec.podCIDR == *written) return;
    *written = node->spec.podCIDR;
    auto done = writeCniNetwork(environment, config, *written);
    if (!done) logError("cluster", "the network configuration of pods could not be written: {}", done.error().describe());
  };
  nodes.addHandler({look, [look](const Ref<>&, const Ref<>& node) { look(node); }, {}});
}

kube_proxy::RuleConfig proxyRules(const ClusterConfig& config) {
  kube_proxy::RuleConfig out;
  out.table = kube_proxy::tableNameOf(config.name);
  if (auto pods = IpPrefix::parse(config.podSubnet)) out.podCidrs = {*pods};
  if (auto services = IpPrefix::parse(config.serviceSubnet)) out.serviceCidrs = {*services};
  if (auto node = IpAddress::parse(config.nodeIp)) out.nodePortAddresses = {*node};
  out.nodeName = config.nodeName;
  return out;
}

Result<std::unique_ptr<NodeNetwork>> NodeNetwork::make(env::Env environment, const ClusterConfig& config,
                                                       std::unique_ptr<Client> proxyClient, std::unique_ptr<Client> dnsClient) {
  std::unique_ptr<NodeNetwork> out(new NodeNetwork(environment, std::move(proxyClient), std::move(dnsClient)));
  kube_proxy::KubeProxyConfig proxyConfig;
  proxyConfig.rules = proxyRules(config);
  out->kernel_ = kube_proxy::makeNftRuleKernel(environment, proxyConfig.rules);
  out->proxy_ = std::make_unique<kube_proxy::KubeProxy>(environment, *out->proxyClient_, *out->kernel_, proxyConfig);
  dns::DnsConfig dnsConfig;
  dnsConfig.listen = {fmt::format("{}:{}", config.nodeIp, config.dnsPort)};
  dnsConfig.clusterDomain = config.clusterDomain;
  dnsConfig.serviceIp = TRY(serviceAddress(config, kDnsServiceOffset));
  out->dns_ = std::make_unique<dns::DnsServer>(environment, *out->dnsClient_, dnsConfig);
  TRY(out->dns_->listen());
  return out;
}

async::Task<void> NodeNetwork::run(async::StopToken stop) {
  async::Gate gate(env_.executor);
  gate.spawn(proxy_->run(stop));
  gate.spawn(dns_->run(stop));
  co_await gate.close();
}

}  // namespace knarr::cluster
