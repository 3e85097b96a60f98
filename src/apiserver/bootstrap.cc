#include "apiserver/bootstrap.h"

#include <fmt/format.h>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "api/rbac_v1.h"
#include "api/scheduling_v1.h"
#include "apiserver/ip_range.h"
#include "base/assert.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using client::Client;
using schema::Mut;
using schema::Ref;

constexpr std::string_view kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
constexpr std::string_view kBootstrapping = "kubernetes.io/bootstrapping";

void addWords(schema::List<schema::Str>& to, Mut<>& object, std::string_view words) {
  for (std::string_view word : split(words, ',')) to.append(object.arena()) = word == "core" ? schema::Str() : object.str(word);
}

void addRule(schema::List<rbacv1::PolicyRule>& rules, Mut<>& object, const std::vector<std::string_view>& words) {
  auto& rule = rules.append(object.arena());
  for (size_t i = 1; i < words.size(); ++i) {
    size_t equals = words[i].find('=');
    ASSERT(equals != std::string_view::npos);
    std::string_view key = words[i].substr(0, equals), value = words[i].substr(equals + 1);
    if (key == "verbs") addWords(rule.verbs, object, value);
    if (key == "groups") addWords(rule.apiGroups, object, value);
    if (key == "resources") addWords(rule.resources, object, value);
    if (key == "names") addWords(rule.resourceNames, object, value);
    if (key == "urls") addWords(rule.nonResourceURLs, object, value);
  }
}

void addSubject(schema::List<rbacv1::Subject>& subjects, Mut<>& object, std::string_view kind, std::string_view name) {
  auto& subject = subjects.append(object.arena());
  subject.kind = object.str(kind);
  size_t slash = name.find('/');
  if (kind == "ServiceAccount" && slash != std::string_view::npos) {
    subject.namespace_ = object.str(name.substr(0, slash));
    name = name.substr(slash + 1);
  } else {
    subject.apiGroup = "rbac.authorization.k8s.io";
  }
  subject.name = object.str(name);
}

Mut<> newPolicyObject(std::string_view kind) {
  if (kind == "clusterrole") return schema::newObject<rbacv1::ClusterRole>();
  if (kind == "role") return schema::newObject<rbacv1::Role>();
  if (kind == "clusterrolebinding") return schema::newObject<rbacv1::ClusterRoleBinding>();
  ASSERT(kind == "rolebinding");
  return schema::newObject<rbacv1::RoleBinding>();
}

void setLabelWord(schema::StringMap& map, Mut<>& object, std::string_view pair) {
  size_t equals = pair.find('=');
  schema::set(map, object.arena(), pair.substr(0, equals), pair.substr(equals + 1));
}

Mut<> beginPolicyObject(const std::vector<std::string_view>& words) {
  Mut<> object = newPolicyObject(words[0]);
  metav1::ObjectMeta& metadata = schema::metadataOf(object);
  std::string_view name = words[1];
  bool namespaced = words[0] == "role" || words[0] == "rolebinding";
  if (size_t slash = name.find('/'); namespaced && slash != std::string_view::npos) {
    metadata.namespace_ = object.str(name.substr(0, slash));
    name = name.substr(slash + 1);
  }
  metadata.name = object.str(name);
  schema::set(metadata.labels, object.arena(), kBootstrapping, "rbac-defaults");
  schema::set(metadata.annotations, object.arena(), kAutoUpdate, "true");
  for (size_t i = 2; i < words.size(); ++i) {
    if (words[i].starts_with("label=")) setLabelWord(metadata.labels, object, words[i].substr(6));
    if (words[i].starts_with("aggregate=")) {
      auto* role = static_cast<rbacv1::ClusterRole*>(object.root());
      role->aggregationRule = object.arena().make<rbacv1::AggregationRule>();
      auto& selector = role->aggregationRule->clusterRoleSelectors.append(object.arena());
      setLabelWord(selector.matchLabels, object, words[i].substr(10));
    }
  }
  auto setRole = [&](rbacv1::RoleRef& ref, std::string_view kind) {
    ref.apiGroup = "rbac.authorization.k8s.io";
    ref.kind = kind;
    ref.name = object.str(words[2]);
  };
  if (words[0] == "clusterrolebinding") setRole(static_cast<rbacv1::ClusterRoleBinding*>(object.root())->roleRef, "ClusterRole");
  if (words[0] == "rolebinding") setRole(static_cast<rbacv1::RoleBinding*>(object.root())->roleRef, "Role");
  return object;
}

void addPolicyLine(Mut<>& object, std::string_view kind, const std::vector<std::string_view>& words) {
  if (words[0] == "rule") {
    if (kind == "clusterrole")
      addRule(static_cast<rbacv1::ClusterRole*>(object.root())->rules, object, words);
    else
      addRule(static_cast<rbacv1::Role*>(object.root())->rules, object, words);
    return;
  }
  ASSERT(words[0] == "subject" && words.size() == 3);
  if (kind == "clusterrolebinding")
    addSubject(static_cast<rbacv1::ClusterRoleBinding*>(object.root())->subjects, object, words[1], words[2]);
  else
    addSubject(static_cast<rbacv1::RoleBinding*>(object.root())->subjects, object, words[1], words[2]);
}

// The rules of roles with an aggregation rule, from the roles whose labels it selects; upstream's controller does the same
// when roles change.
void fillAggregated(std::vector<Mut<>>& objects) {
  for (Mut<>& object : objects) {
    if (&object.type() != &schema::typeInfoOf<rbacv1::ClusterRole>()) continue;
    auto* role = static_cast<rbacv1::ClusterRole*>(object.root());
    if (!role->aggregationRule) continue;
    for (const auto& selector : role->aggregationRule->clusterRoleSelectors)
      for (Mut<>& other : objects) {
        if (&other.type() != &object.type() || &other == &object) continue;
        const auto* from = static_cast<const rbacv1::ClusterRole*>(other.root());
        bool selected = true;
        for (const auto& [key, value] : selector.matchLabels)
          selected = selected && schema::valueOf(from->metadata.labels, key) == value;
        if (!selected) continue;
        for (const auto& rule : from->rules) role->rules.append(object.arena(), *schema::copyInto(object.arena(), rule));
      }
  }
}

async::Task<Result<void>> createIfMissing(Client& client, Mut<> object) {
  const schema::TypeInfo& type = object.type();
  const schema::ResourceInfo* resource = schema::findResourceOfKind(type.group, type.version, type.kind);
  std::string nameSpace(schema::metadataOf(object).namespace_), name(schema::metadataOf(object).name);
  auto have = co_await client.get(*resource, nameSpace, name);
  if (have || !isNotFound(have.error())) co_return Result<void>();
  auto made = co_await client.create(*resource, nameSpace, "", std::move(object));
  if (!made && !isAlreadyExists(made.error()))
    co_return Unexpected(std::move(made).error().withContext(fmt::format("making {} {}", type.kind, name)));
  co_return Result<void>();
}

async::Task<Result<void>> makeNamespaces(Client& client) {
  for (const char* name : {"kube-system", "kube-public", "kube-node-lease", "default"}) {
    auto ns = schema::newObject<corev1::Namespace>();
    ns->metadata.name = ns.str(name);
    CO_TRY(co_await createIfMissing(client, std::move(ns)));
  }
  co_return Result<void>();
}

// The classes of the cluster's own pods. Source: pkg/apis/scheduling/v1/helpers.go, SystemPriorityClasses.
async::Task<Result<void>> makeSystemPriorityClasses(Client& client) {
  struct SystemClass {
    std::string_view name, description;
    int32_t value;
  };
  constexpr SystemClass kClasses[] = {
      {"system-node-critical", "Used for system critical pods that must not be moved from their current node.", 2000001000},
      {"system-cluster-critical",
       "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.", 2000000000}};
  for (const SystemClass& one : kClasses) {
    auto made = schema::newObject<schedulingv1::PriorityClass>();
    made->metadata.name = one.name;
    made->value = one.value;
    made->description = one.description;
    CO_TRY(co_await createIfMissing(client, std::move(made)));
  }
  co_return Result<void>();
}

constexpr std::string_view kKubernetes = "kubernetes", kDefaultNamespace = "default";
// How often a write is tried again that somebody else got in the way of. Source: client-go/util/retry, DefaultBackoff.
constexpr int kWriteAttempts = 4;

Mut<corev1::Service> kubernetesService(const std::string& clusterIp) {
  auto service = schema::newObject<corev1::Service>();
  schema::set(service->metadata.labels, service.arena(), "component", "apiserver");
  schema::set(service->metadata.labels, service.arena(), "provider", "kubernetes");
  service->spec.clusterIP = service.str(clusterIp);
  service->spec.type = "ClusterIP";
  service->spec.sessionAffinity = "None";
  service->spec.ipFamilyPolicy = schema::Str("SingleStack");
  return service;
}

// What the server's own objects have to say; all else in them stays as it is.
// Source: pkg/controlplane/reconcilers/endpointsadapter.go, pkg/controlplane/controller/kubernetesservice.
void complete(Mut<corev1::Service>& service, const BootstrapConfig& config) {
  service->spec.ports.clear();
  auto& port = service->spec.ports.append(service.arena());
  port.name = "https";
  port.port = 443;
  port.protocol = "TCP";
  port.targetPort = {false, config.securePort, {}};
}

void complete(Mut<corev1::Endpoints>& endpoints, const BootstrapConfig& config) {
  endpoints->metadata.labels.clear();
  schema::set(endpoints->metadata.labels, endpoints.arena(), "endpointslice.kubernetes.io/skip-mirror", "true");
  endpoints->subsets.clear();
  auto& subset = endpoints->subsets.append(endpoints.arena());
  subset.addresses.append(endpoints.arena()).ip = endpoints.str(config.advertiseAddress);
  auto& port = subset.ports.append(endpoints.arena());
  port.name = "https";
  port.port = config.securePort;
  port.protocol = "TCP";
}

std::string_view addressTypeOf(const BootstrapConfig& config) {
  return config.advertiseAddress.find(':') == std::string::npos ? "IPv4" : "IPv6";
}

void complete(Mut<discoveryv1::EndpointSlice>& slice, const BootstrapConfig& config) {
  slice->metadata.labels.clear();
  schema::set(slice->metadata.labels, slice.arena(), "kubernetes.io/service-name", kKubernetes);
  slice->addressType = addressTypeOf(config);
  slice->endpoints.clear();
  auto& endpoint = slice->endpoints.append(slice.arena());
  endpoint.addresses.append(slice.arena()) = slice.str(config.advertiseAddress);
  endpoint.conditions.ready = true;
  slice->ports.clear();
  auto& port = slice->ports.append(slice.arena());
  port.name = schema::Str("https");
  port.port = config.securePort;
  port.protocol = schema::Str("TCP");
}

// Makes default/kubernetes of this kind, or completes the one that is there; writes nothing when it is right.
template <class T>
async::Task<Result<void>> reconcile(Client& client, BootstrapConfig config, Ref<T> fresh) {
  for (int attempt = 1;; ++attempt) {
    auto have = co_await client::get<T>(client, std::string(kDefaultNamespace), std::string(kKubernetes));
    if (!have && !isNotFound(have.error())) co_return Unexpected(std::move(have).error());
    Mut<T> next = schema::edit(have ? *have : fresh);
    next->metadata.name = kKubernetes;
    next->metadata.namespace_ = kDefaultNamespace;
    complete(next, config);
    if (have && schema::deepEqual(next.type(), next.root(), have->operator->())) co_return Result<void>();
    auto written = have ? co_await client::update<T>(client, std::move(next))
                        : co_await client::create<T>(client, std::string(kDefaultNamespace), std::move(next));
    if (written) co_return Result<void>();
    bool lostRace = isConflict(written.error()) || isAlreadyExists(written.error());
    if (!lostRace || attempt == kWriteAttempts)
      co_return Unexpected(
          std::move(written).error().withContext(fmt::format("writing {} default/kubernetes", schema::typeInfoOf<T>().kind)));
  }
}

// Slices of the Service that this server did not make are not right: of another family (a slice cannot change it), of another
// name.
async::Task<Result<void>> removeOtherSlices(Client& client, BootstrapConfig config) {
  client::ListOptions options;
  options.labelSelector = fmt::format("kubernetes.io/service-name={}", kKubernetes);
  auto slices =
      CO_TRY(co_await client.list(client::resourceOf<discoveryv1::EndpointSlice>(), std::string(kDefaultNamespace), options));
  for (size_t i = 0; i < slices.items.size(); ++i) {
    Ref<discoveryv1::EndpointSlice> slice(slices.items[i]);
    if (slice->metadata.name == kKubernetes && slice->addressType == addressTypeOf(config)) continue;
    auto gone = co_await client::remove<discoveryv1::EndpointSlice>(client, std::string(kDefaultNamespace),
                                                                    std::string(slice->metadata.name));
    if (!gone && !isNotFound(gone.error())) co_return gone;
  }
  co_return Result<void>();
}

async::Task<Result<void>> reconcileKubernetesService(Client& client, BootstrapConfig config) {
  auto range = CO_TRY(IpRange::parse(config.serviceClusterIpRange));
  CO_TRY(co_await reconcile<corev1::Service>(client, config, kubernetesService(range.at(1)).publish()));
  CO_TRY(co_await reconcile<corev1::Endpoints>(client, config, schema::newObject<corev1::Endpoints>().publish()));
  CO_TRY(co_await removeOtherSlices(client, config));
  co_return co_await reconcile<discoveryv1::EndpointSlice>(client, config,
                                                           schema::newObject<discoveryv1::EndpointSlice>().publish());
}

// Whether nobody has said yet that the range is ready or is not.
bool lacksReadiness(const networkingv1::ServiceCIDR& cidr) {
  for (const auto& condition : cidr.status.conditions)
    if (condition.type == "Ready" && condition.status != "Unknown") return false;
  return true;
}

// The range of service addresses as an object: it is made when missing and never changed; its first Ready condition is ours.
// Source: pkg/controlplane/controller/defaultservicecidr.
async::Task<Result<void>> makeDefaultServiceCidr(Client& client, BootstrapConfig config) {
  auto prefix = IpPrefix::parse(config.serviceClusterIpRange);
  if (!prefix) co_return fail(Reason::Invalid, fmt::format("{} is no CIDR", quote(config.serviceClusterIpRange)));
  std::string range = prefix->text();
  auto fresh = schema::newObject<networkingv1::ServiceCIDR>();
  fresh->metadata.name = kKubernetes;
  fresh->spec.cidrs.append(fresh.arena()) = fresh.str(range);
  CO_TRY(co_await createIfMissing(client, std::move(fresh)));
  auto have = CO_TRY(co_await client::get<networkingv1::ServiceCIDR>(client, "", std::string(kKubernetes)));
  if (have->metadata.deletionTimestamp) co_return Result<void>();
  if (have->spec.cidrs.size() != 1 || have->spec.cidrs[0] != range) {
    logWarning("apiserver", "the ServiceCIDR kubernetes does not say {}, the range that services get addresses of", range);
    co_return Result<void>();
  }
  if (!lacksReadiness(*have)) co_return Result<void>();
  std::string status = fmt::format(
      R"({{"apiVersion":"networking.k8s.io/v1","kind":"ServiceCIDR","metadata":{{"name":"kubernetes"}},"status":{{"conditions":[)"
      R"({{"type":"Ready","status":"True","reason":"","message":"Kubernetes default Service CIDR is ready",)"
      R"("lastTransitionTime":"{}"}}]}}}})",
      formatRfc3339(config.nowUnixSeconds));
  client::WriteOptions options;
  options.fieldManager = "kubernetes-service-cidr-controller";
  options.force = true;
  CO_TRY(co_await client.patch(client::resourceOf<networkingv1::ServiceCIDR>("status"), "", std::string(kKubernetes),
                               client::PatchType::Apply, std::move(status), options));
  co_return Result<void>();
}

}  // namespace

std::vector<Ref<>> parseBootstrapPolicy(std::string_view text) {
  std::vector<Mut<>> objects;
  std::string_view kind;
  for (std::string_view line : split(text, '\n')) {
    if (line.empty() || line.starts_with('#')) continue;
    std::vector<std::string_view> words;
    for (std::string_view word : split(trim(line), ' '))
      if (!word.empty()) words.push_back(word);
    if (line.starts_with(' ')) {
      ASSERT(!objects.empty());
      addPolicyLine(objects.back(), kind, words);
    } else {
      ASSERT(words.size() >= 2);
      kind = words[0];
      objects.push_back(beginPolicyObject(words));
    }
  }
  fillAggregated(objects);
  std::vector<Ref<>> out;
  for (Mut<>& object : objects) out.push_back(std::move(object).publish());
  return out;
}

async::Task<Result<void>> makeBootstrapObjects(Client& client, BootstrapConfig config) {
  CO_TRY(co_await makeNamespaces(client));
  std::vector<Ref<>> policy = parseBootstrapPolicy(bootstrapPolicyText());
  for (size_t i = 0; i < policy.size(); ++i) CO_TRY(co_await createIfMissing(client, schema::edit(policy[i])));
  if (config.priorityClasses) CO_TRY(co_await makeSystemPriorityClasses(client));
  if (config.serviceCidrs) CO_TRY(co_await makeDefaultServiceCidr(client, config));
  CO_TRY(co_await reconcileKubernetesService(client, config));
  co_return Result<void>();
}

}  // namespace knarr::apiserver
