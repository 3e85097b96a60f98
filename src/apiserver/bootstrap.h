// The objects of a fresh cluster: namespaces, RBAC, the kubernetes Service and ServiceCIDR, priority classes.
//
// Run at every start; what exists is completed, never reduced. The endpoints of the kubernetes Service are always this server's:
// one server makes a cluster. Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy,
// pkg/controlplane/controller/{systemnamespaces,kubernetesservice,defaultservicecidr},
// pkg/controlplane/reconcilers, pkg/registry/scheduling/rest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "client/client.h"

namespace knarr::apiserver {

struct BootstrapConfig {
  std::string serviceClusterIpRange;
  std::string advertiseAddress;
  int securePort = 6443;
  bool priorityClasses = true;  // whether priority classes are served
  bool serviceCidrs = true;     // whether ServiceCIDRs are served
  int64_t nowUnixSeconds = 0;
};

async::Task<Result<void>> makeBootstrapObjects(client::Client& client, BootstrapConfig config);

// The RBAC objects of a policy text (api/rbac_bootstrap.policy says its form). A malformed text is our bug.
std::vector<schema::Ref<>> parseBootstrapPolicy(std::string_view text);
// The text compiled into this program.
std::string_view bootstrapPolicyText();

}  // namespace knarr::apiserver
