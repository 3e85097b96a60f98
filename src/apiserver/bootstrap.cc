#include "apiserver/bootstrap.h"

#include <fmt/format.h>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/rbac_v1.h"
#include "api/scheduling_v1.h"
#include "apiserver/ip_range.h"
#include "base/assert.h"
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

async::Task<Result<void>> makeKubernetesService(Client& client, BootstrapConfig config) {
  auto service = schema::newObject<corev1::Service>();
  service->metadata.name = "kubernetes";
  service->metadata.namespace_ = "default";
  schema::set(service->metadata.labels, service.arena(), "component", "apiserver");
  schema::set(service->metadata.labels, service.arena(), "provider", "kubernetes");
  auto range = CO_TRY(IpRange::parse(config.serviceClusterIpRange));
  service->spec.clusterIP = service.str(range.at(1));
  service->spec.type = "ClusterIP";
  service->spec.sessionAffinity = "None";
  service->spec.ipFamilyPolicy = schema::Str("SingleStack");
  auto& port = service->spec.ports.append(service.arena());
  port.name = "https";
  port.port = 443;
  port.protocol = "TCP";
  port.targetPort = {false, config.securePort, {}};
  CO_TRY(co_await createIfMissing(client, std::move(service)));

  auto slice = schema::newObject<discoveryv1::EndpointSlice>();
  slice->metadata.name = "kubernetes";
  slice->metadata.namespace_ = "default";
  schema::set(slice->metadata.labels, slice.arena(), "kubernetes.io/service-name", "kubernetes");
  slice->addressType = config.advertiseAddress.find(':') == std::string::npos ? "IPv4" : "IPv6";
  auto& endpoint = slice->endpoints.append(slice.arena());
  endpoint.addresses.append(slice.arena()) = slice.str(config.advertiseAddress);
  endpoint.conditions.ready = true;
  auto& slicePort = slice->ports.append(slice.arena());
  slicePort.name = schema::Str("https");
  slicePort.port = config.securePort;
  slicePort.protocol = schema::Str("TCP");
  CO_TRY(co_await createIfMissing(client, std::move(slice)));

  auto endpoints = schema::newObject<corev1::Endpoints>();
  endpoints->metadata.name = "kubernetes";
  endpoints->metadata.namespace_ = "default";
  schema::set(endpoints->metadata.labels, endpoints.arena(), "endpointslice.kubernetes.io/skip-mirror", "true");
  auto& subset = endpoints->subsets.append(endpoints.arena());
  subset.addresses.append(endpoints.arena()).ip = endpoints.str(config.advertiseAddress);
  auto& endpointPort = subset.ports.append(endpoints.arena());
  endpointPort.name = "https";
  endpointPort.port = config.securePort;
  endpointPort.protocol = "TCP";
  co_return co_await createIfMissing(client, std::move(endpoints));
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
  CO_TRY(co_await makeKubernetesService(client, config));
  co_return Result<void>();
}

}  // namespace knarr::apiserver
