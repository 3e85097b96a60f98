#include "apiserver/authorizer.h"

#include <fmt/format.h>

#include "api/rbac_v1.h"
#include "base/strings.h"

namespace knarr::apiserver {
namespace {

template <class List>
bool hasWord(const List& list, std::string_view word) {
  for (schema::Str one : list)
    if (one == "*" || one == word) return true;
  return false;
}

bool resourceMatches(const rbacv1::PolicyRule& rule, const std::string& combined, std::string_view subresource) {
  for (schema::Str one : rule.resources) {
    if (one == "*" || one == combined) return true;
    // "*/scale" is the subresource of every resource.
    if (!subresource.empty() && one.size() == subresource.size() + 2 && one.starts_with("*/") && one.substr(2) == subresource)
      return true;
  }
  return false;
}

bool urlMatches(const rbacv1::PolicyRule& rule, std::string_view path) {
  for (schema::Str one : rule.nonResourceURLs) {
    if (one == "*" || one == path) return true;
    if (one.ends_with('*') && path.starts_with(one.substr(0, one.find_last_not_of('*') + 1))) return true;
  }
  return false;
}

bool ruleAllows(const rbacv1::PolicyRule& rule, const AuthorizationAttributes& attributes, const std::string& combined) {
  if (!hasWord(rule.verbs, attributes.verb)) return false;
  if (!attributes.isResourceRequest) return urlMatches(rule, attributes.path);
  if (!hasWord(rule.apiGroups, attributes.apiGroup) || !resourceMatches(rule, combined, attributes.subresource)) return false;
  if (rule.resourceNames.empty()) return true;
  for (schema::Str name : rule.resourceNames)
    if (name == attributes.name) return true;
  return false;
}

bool subjectIs(const rbacv1::Subject& subject, const UserInfo& user, std::string_view bindingNamespace) {
  if (subject.kind == "User") return subject.name == user.name;
  if (subject.kind == "Group") return user.inGroup(subject.name);
  if (subject.kind != "ServiceAccount") return false;
  std::string_view nameSpace = subject.namespace_.empty() ? bindingNamespace : subject.namespace_;
  return !nameSpace.empty() && user.name == fmt::format("system:serviceaccount:{}:{}", nameSpace, subject.name);
}

template <class Binding>
bool bindsUser(const Binding& binding, const UserInfo& user) {
  for (const rbacv1::Subject& subject : binding.subjects)
    if (subjectIs(subject, user, binding.metadata.namespace_)) return true;
  return false;
}

constexpr std::string_view kGroup = "rbac.authorization.k8s.io";

}  // namespace

AuthorizationAttributes attributesOf(const RequestInfo& info) {
  AuthorizationAttributes attributes;
  attributes.verb = info.verb;
  attributes.isResourceRequest = info.isResourceRequest;
  attributes.apiGroup = info.apiGroup;
  attributes.apiVersion = info.apiVersion;
  attributes.resource = info.resource;
  attributes.subresource = info.subresource;
  attributes.nameSpace = info.nameSpace;
  attributes.name = info.name;
  attributes.path = info.path;
  return attributes;
}

template <class Visit>
bool Authorizer::visitRules(const UserInfo& user, const std::string& nameSpace, Visit visit) const {
  const ServedResource* clusterRoles = registry_.find(kGroup, "v1", "clusterroles");
  const ServedResource* clusterBindings = registry_.find(kGroup, "v1", "clusterrolebindings");
  const ServedResource* roles = registry_.find(kGroup, "v1", "roles");
  const ServedResource* bindings = registry_.find(kGroup, "v1", "rolebindings");
  if (!clusterRoles || !clusterBindings || !roles || !bindings) return false;
  auto visitRole = [&](const auto& rules, const std::string& why) {
    for (const rbacv1::PolicyRule& rule : rules)
      if (visit(rule, why)) return true;
    return false;
  };
  // The Node authorizer: every kubelet has the rules of system:node without a binding.
  // Source: plugin/pkg/auth/authorizer/node/node_authorizer.go.
  if (user.inGroup("system:nodes") && user.name.starts_with("system:node:")) {
    Ref<> role = clusterRoles->cache->get("system:node");
    if (role && visitRole(Ref<rbacv1::ClusterRole>(role)->rules, "node")) return true;
  }
  for (const auto& [key, object] : clusterBindings->cache->objects()) {
    Ref<rbacv1::ClusterRoleBinding> binding(object);
    if (!bindsUser(*binding, user)) continue;
    Ref<> role = clusterRoles->cache->get(binding->roleRef.name);
    std::string why =
        fmt::format("RBAC: allowed by ClusterRoleBinding {} of ClusterRole {}", quote(key), quote(binding->roleRef.name));
    if (role && visitRole(Ref<rbacv1::ClusterRole>(role)->rules, why)) return true;
  }
  if (nameSpace.empty()) return false;
  std::string prefix = nameSpace + "/";
  const auto& objects = bindings->cache->objects();
  for (auto at = objects.lower_bound(prefix); at != objects.end() && at->first.starts_with(prefix); ++at) {
    Ref<rbacv1::RoleBinding> binding(at->second);
    if (!bindsUser(*binding, user)) continue;
    bool cluster = binding->roleRef.kind == "ClusterRole";
    Ref<> role = cluster ? clusterRoles->cache->get(binding->roleRef.name)
                         : roles->cache->get(prefix + std::string(binding->roleRef.name));
    if (!role) continue;
    std::string why = fmt::format("RBAC: allowed by RoleBinding {} of {} {}", quote(at->first), binding->roleRef.kind,
                                  quote(binding->roleRef.name));
    if (cluster ? visitRole(Ref<rbacv1::ClusterRole>(role)->rules, why) : visitRole(Ref<rbacv1::Role>(role)->rules, why))
      return true;
  }
  return false;
}

Decision Authorizer::authorize(const UserInfo& user, const AuthorizationAttributes& attributes) const {
  if (user.inGroup(kGroupMasters)) return {true, ""};
  std::string combined =
      attributes.subresource.empty() ? attributes.resource : fmt::format("{}/{}", attributes.resource, attributes.subresource);
  Decision decision;
  decision.allowed = visitRules(user, attributes.nameSpace, [&](const rbacv1::PolicyRule& rule, const std::string& why) {
    if (!ruleAllows(rule, attributes, combined)) return false;
    decision.reason = why;
    return true;
  });
  return decision;
}

std::vector<rbacv1::PolicyRule> Authorizer::rulesOf(const UserInfo& user, const std::string& nameSpace) const {
  std::vector<rbacv1::PolicyRule> rules;
  visitRules(user, nameSpace, [&](const rbacv1::PolicyRule& rule, const std::string&) {
    rules.push_back(rule);
    return false;
  });
  return rules;
}

Result<void> Authorizer::check(const UserInfo& user, const AuthorizationAttributes& attributes) const {
  Decision decision = authorize(user, attributes);
  if (decision.allowed) return {};
  if (!attributes.isResourceRequest) {
    return fail(Reason::Forbidden,
                fmt::format("forbidden: User {} cannot {} path {}", quote(user.name), attributes.verb, quote(attributes.path)));
  }
  std::string combined =
      attributes.subresource.empty() ? attributes.resource : fmt::format("{}/{}", attributes.resource, attributes.subresource);
  std::string where =
      attributes.nameSpace.empty() ? "at the cluster scope" : fmt::format("in the namespace {}", quote(attributes.nameSpace));
  std::string groupResourceText =
      attributes.apiGroup.empty() ? attributes.resource : fmt::format("{}.{}", attributes.resource, attributes.apiGroup);
  std::string what =
      attributes.name.empty() ? groupResourceText : fmt::format("{} {}", groupResourceText, quote(attributes.name));
  Error error(Reason::Forbidden,
              fmt::format("{} is forbidden: User {} cannot {} resource {} in API group {} {}", what, quote(user.name),
                          attributes.verb, quote(combined), quote(attributes.apiGroup), where));
  error.withDetails({attributes.apiGroup, attributes.resource, attributes.name, "", 0});
  return Unexpected(std::move(error));
}

}  // namespace knarr::apiserver
