// May this user do that? RBAC over the cached roles and bindings.
//
// Source: plugin/pkg/auth/authorizer/rbac/rbac.go, pkg/registry/rbac/validation/rule.go.
#pragma once

#include <string>

#include "api/rbac_v1.h"
#include "apiserver/registry.h"
#include "apiserver/request_info.h"
#include "apiserver/user.h"

namespace knarr::apiserver {

struct AuthorizationAttributes {
  std::string verb;
  bool isResourceRequest = true;
  std::string apiGroup, apiVersion, resource, subresource, nameSpace, name;
  std::string path;  // of a request that names no resource
};
AuthorizationAttributes attributesOf(const RequestInfo& info);

struct Decision {
  bool allowed = false;
  std::string reason;
};

class Authorizer {
 public:
  explicit Authorizer(Registry& registry) : registry_(registry) {}
  Decision authorize(const UserInfo& user, const AuthorizationAttributes& attributes) const;
  // Every rule that applies to the user in a namespace. The rules stay valid until the caches change.
  std::vector<rbacv1::PolicyRule> rulesOf(const UserInfo& user, const std::string& nameSpace) const;
  // Forbidden in upstream's words when authorize says no.
  Result<void> check(const UserInfo& user, const AuthorizationAttributes& attributes) const;

 private:
  // Calls visit(rule, why) for each rule until it returns true.
  template <class Visit>
  bool visitRules(const UserInfo& user, const std::string& nameSpace, Visit visit) const;
  Registry& registry_;
};

}  // namespace knarr::apiserver
