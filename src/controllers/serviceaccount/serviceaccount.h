// Two controllers that furnish every namespace: the service account "default", and the ConfigMap with the cluster's CA.
//
// Upstream counterpart: pkg/controller/serviceaccount/serviceaccounts_controller.go,
// pkg/controller/certificates/rootcacertpublisher.
#pragma once

#include <memory>

#include "controllers/frame/frame.h"

namespace knarr::controllers {

std::unique_ptr<Controller> makeServiceAccountsController(ControllerContext context);
// rootCaPem: the certificates that pods check the API server with.
std::unique_ptr<Controller> makeRootCaCertPublisher(ControllerContext context, std::string rootCaPem);

}  // namespace knarr::controllers
