// Nobody gives rights that he does not have: roles may hold, and bindings may grant, only what their writer may do himself.
//
// The verb "escalate" on a role, "bind" on the role of a binding, and system:masters lift the rule.
// Source: pkg/registry/rbac/escalation_check.go, pkg/registry/rbac/{role,rolebinding,...}/policybased,
// validation/policy_comparator.go.
#pragma once

#include <memory>
#include <vector>

#include "apiserver/admission.h"
#include "apiserver/authorizer.h"

namespace knarr::apiserver {

// Both outlive the plugin.
std::unique_ptr<AdmissionPlugin> makeRbacEscalationCheck(Registry& registry, const Authorizer& authorizer);

// The parts of `wanted` that no rule of `held` covers, one text a rule, in Go's form. Empty when all is covered.
std::vector<std::string> rulesNotCovered(const std::vector<rbacv1::PolicyRule>& held,
                                         const schema::List<rbacv1::PolicyRule>& wanted);

}  // namespace knarr::apiserver
