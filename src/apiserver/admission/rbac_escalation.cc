#include "apiserver/admission/rbac_escalation.h"

#include <fmt/format.h>

#include "base/strings.h"

namespace knarr::apiserver {
namespace {

using rbacv1::PolicyRule;

constexpr std::string_view kRbacGroup = "rbac.authorization.k8s.io";

bool holds(const schema::List<schema::Str>& list, std::string_view word) {
  for (schema::Str one : list)
    if (one == word || one == "*") return true;
  return false;
}

bool holdsResource(const PolicyRule& rule, std::string_view resource) {
  if (holds(rule.resources, resource)) return true;
  size_t slash = resource.find('/');
  if (slash == std::string_view::npos) return false;
  std::string any = "*" + std::string(resource.substr(slash));
  for (schema::Str one : rule.resources)
    if (one == any) return true;
  return false;
}

bool holdsUrl(const PolicyRule& rule, std::string_view url) {
  for (schema::Str one : rule.nonResourceURLs) {
    if (one == "*" || one == url) return true;
    if (one.ends_with('*') && url.starts_with(one.substr(0, one.size() - 1))) return true;
  }
  return false;
}

// One verb on one resource (or one name of it), or on one path.
struct Right {
  std::string_view group, resource, name, url, verb;
  bool named = false;
};

bool covers(const PolicyRule& rule, const Right& right) {
  if (!holds(rule.verbs, right.verb)) return false;
  if (!right.url.empty()) return holdsUrl(rule, right.url);
  if (!holds(rule.apiGroups, right.group) || !holdsResource(rule, right.resource)) return false;
  if (rule.resourceNames.empty()) return true;
  if (!right.named) return false;
  for (schema::Str name : rule.resourceNames)
    if (name == right.name) return true;
  return false;
}

template <class Visit>
void eachRight(const PolicyRule& rule, Visit visit) {
  for (schema::Str verb : rule.verbs) {
    for (schema::Str url : rule.nonResourceURLs) visit(Right{"", "", "", url, verb});
    for (schema::Str group : rule.apiGroups)
      for (schema::Str resource : rule.resources) {
        if (rule.resourceNames.empty()) visit(Right{group, resource, "", "", verb});
        for (schema::Str name : rule.resourceNames) visit(Right{group, resource, name, "", verb, true});
      }
  }
}

std::string quotedList(const std::vector<std::string_view>& words) {
  std::vector<std::string> quoted;
  for (std::string_view word : words) quoted.push_back(quote(word));
  return "[" + join(quoted, ", ") + "]";
}

class RbacEscalationCheck : public AdmissionPlugin {
 public:
  RbacEscalationCheck(Registry& registry, const Authorizer& authorizer) : registry_(registry), authorizer_(authorizer) {}
  std::string_view name() const override { return "RbacEscalationCheck"; }

  async::Task<Result<void>> validate(const AdmissionAttributes& attributes) override {
    if (attributes.operation == Operation::Delete || attributes.resource->group != kRbacGroup ||
        attributes.user->inGroup(kGroupMasters))
      co_return Result<void>();
    std::string_view resource = attributes.resource->resource;
    if (resource == "roles") co_return checkRole<rbacv1::Role>(attributes);
    if (resource == "clusterroles") co_return checkRole<rbacv1::ClusterRole>(attributes);
    if (resource == "rolebindings") co_return checkBinding<rbacv1::RoleBinding>(attributes);
    if (resource == "clusterrolebindings") co_return checkBinding<rbacv1::ClusterRoleBinding>(attributes);
    co_return Result<void>();
  }

 private:
  bool may(const AdmissionAttributes& attributes, std::string_view verb, std::string_view resource, std::string_view nameSpace,
           std::string_view name) const {
    AuthorizationAttributes asked;
    asked.verb = verb;
    asked.apiGroup = kRbacGroup;
    asked.apiVersion = "v1";
    asked.resource = resource;
    asked.nameSpace = nameSpace;
    asked.name = name;
    return authorizer_.authorize(*attributes.user, asked).allowed;
  }

  Result<void> confirm(const AdmissionAttributes& attributes, const schema::List<PolicyRule>& rules) const {
    auto missing = rulesNotCovered(authorizer_.rulesOf(*attributes.user, attributes.nameSpace), rules);
    if (missing.empty()) return {};
    std::vector<std::string> groups;
    for (const std::string& group : attributes.user->groups) groups.push_back(quote(group));
    return Unexpected(
        forbiddenError(*attributes.resource, attributes.name,
                       fmt::format("user {} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
                                   quote(attributes.user->name), join(groups, " "), join(missing, "\n"))));
  }

  template <class T>
  Result<void> checkRole(const AdmissionAttributes& attributes) const {
    const T& role = *static_cast<const T*>(attributes.object->root());
    if (attributes.oldObject) {
      const T& before = *schema::Ref<T>(attributes.oldObject);
      bool same = before.rules.size() == role.rules.size();
      for (size_t i = 0; same && i < role.rules.size(); ++i) same = schema::equal(before.rules[i], role.rules[i]);
      if (same) return {};
    }
    if (may(attributes, "escalate", attributes.resource->resource, attributes.nameSpace, attributes.name)) return {};
    return confirm(attributes, role.rules);
  }

  template <class T>
  Result<void> checkBinding(const AdmissionAttributes& attributes) const {
    const T& binding = *static_cast<const T*>(attributes.object->root());
    if (attributes.oldObject) {
      const T& before = *schema::Ref<T>(attributes.oldObject);
      bool same = schema::equal(before.roleRef, binding.roleRef) && before.subjects.size() == binding.subjects.size();
      for (size_t i = 0; same && i < binding.subjects.size(); ++i) same = schema::equal(before.subjects[i], binding.subjects[i]);
      if (same) return {};
    }
    bool cluster = binding.roleRef.kind == "ClusterRole";
    std::string_view resource = cluster ? "clusterroles" : "roles";
    if (may(attributes, "bind", resource, attributes.nameSpace, binding.roleRef.name)) return {};
    const ServedResource* served = registry_.find(kRbacGroup, "v1", resource);
    std::string key =
        cluster ? std::string(binding.roleRef.name) : fmt::format("{}/{}", attributes.nameSpace, binding.roleRef.name);
    schema::Ref<> role = served->cache->get(key);
    if (!role) return Unexpected(notFoundError(*served->info, binding.roleRef.name));
    if (cluster) return confirm(attributes, schema::Ref<rbacv1::ClusterRole>(role)->rules);
    return confirm(attributes, schema::Ref<rbacv1::Role>(role)->rules);
  }

  Registry& registry_;
  const Authorizer& authorizer_;
};

}  // namespace

std::vector<std::string> rulesNotCovered(const std::vector<PolicyRule>& held, const schema::List<PolicyRule>& wanted) {
  // Rights that differ in their verb only stand in one text.
  struct Missing {
    Right right;
    std::vector<std::string_view> verbs;
  };
  std::vector<Missing> missing;
  for (const PolicyRule& rule : wanted)
    eachRight(rule, [&](const Right& right) {
      for (const PolicyRule& own : held)
        if (covers(own, right)) return;
      for (Missing& one : missing)
        if (one.right.group == right.group && one.right.resource == right.resource && one.right.name == right.name &&
            one.right.url == right.url && one.right.named == right.named) {
          one.verbs.push_back(right.verb);
          return;
        }
      missing.push_back({right, {right.verb}});
    });
  std::vector<std::string> texts;
  for (const Missing& one : missing) {
    std::string text = one.right.url.empty() ? fmt::format("{{APIGroups:{}, Resources:{}", quotedList({one.right.group}),
                                                           quotedList({one.right.resource}))
                                             : "{NonResourceURLs:" + quotedList({one.right.url});
    if (one.right.named) text += ", ResourceNames:" + quotedList({one.right.name});
    texts.push_back(text + ", Verbs:" + quotedList(one.verbs) + "}");
  }
  std::sort(texts.begin(), texts.end());
  return texts;
}

std::unique_ptr<AdmissionPlugin> makeRbacEscalationCheck(Registry& registry, const Authorizer& authorizer) {
  return std::make_unique<RbacEscalationCheck>(registry, authorizer);
}

}  // namespace knarr::apiserver
