#include "controller_manager/controller_manager.h"

#include <algorithm>

#include "base/log.h"
#include "controllers/deployment/deployment.h"
#include "controllers/endpoint/endpoint.h"
#include "controllers/endpointslice/endpointslice.h"
#include "controllers/garbagecollector/garbagecollector.h"
#include "controllers/namespace/namespace.h"
#include "controllers/nodelifecycle/nodelifecycle.h"
#include "controllers/podgc/podgc.h"
#include "controllers/replicaset/replicaset.h"
#include "controllers/serviceaccount/serviceaccount.h"

namespace knarr::controller_manager {
namespace {

using controllers::Controller;
using controllers::ControllerContext;

bool hasVerb(const client::ResourceInfo& resource, std::string_view verb) {
  return std::find(resource.verbs.begin(), resource.verbs.end(), verb) != resource.verbs.end();
}

// The groups and versions that this cluster serves; the API server gets the same list.
bool isServed(const client::ResourceInfo& resource, const std::vector<std::string>& groupVersions) {
  std::string gv =
      resource.group.empty() ? std::string(resource.version) : std::string(resource.group) + "/" + std::string(resource.version);
  return std::find(groupVersions.begin(), groupVersions.end(), gv) != groupVersions.end();
}

// Whether a version of the same resource stands before this one in the list: one version is enough, the first is preferred.
bool isServedBefore(const client::ResourceInfo& resource, const std::vector<std::string>& groupVersions) {
  for (const std::string& gv : groupVersions) {
    size_t slash = gv.find('/');
    std::string_view group = slash == std::string::npos ? std::string_view() : std::string_view(gv).substr(0, slash);
    std::string_view version = std::string_view(gv).substr(slash == std::string::npos ? 0 : slash + 1);
    if (group != resource.group) continue;
    if (version == resource.version) return false;
    if (schema::findResource(group, version, resource.resource)) return true;
  }
  return false;
}

std::vector<const client::ResourceInfo*> deletableResources(const std::vector<std::string>& groupVersions, bool namespacedOnly) {
  std::vector<const client::ResourceInfo*> out;
  for (const client::ResourceInfo& resource : schema::allResources()) {
    if (!resource.subresource.empty() || !resource.type || !isServed(resource, groupVersions)) continue;
    if (isServedBefore(resource, groupVersions)) continue;
    if (!hasVerb(resource, "delete") || !hasVerb(resource, "list") || !hasVerb(resource, "watch")) continue;
    if (namespacedOnly ? resource.namespaced && hasVerb(resource, "deletecollection") : resource.resource != "events")
      out.push_back(&resource);
  }
  return out;
}

struct Member {
  std::unique_ptr<client::Client> client;
  std::unique_ptr<Controller> controller;
};

}  // namespace

async::Task<void> runControllers(env::Env environment, ControllerManagerConfig config, client::InformerFactory& informers,
                                 ClientFor clientFor, async::StopToken stop) {
  std::vector<Member> members;
  auto add = [&](const std::string& identity, auto make) {
    Member member;
    member.client = clientFor(identity);
    ControllerContext context{environment, *member.client, informers};
    member.controller = make(context);
    members.push_back(std::move(member));
  };
  add("service-account-controller", [](ControllerContext c) { return controllers::makeServiceAccountsController(c); });
  add("root-ca-cert-publisher", [&](ControllerContext c) { return controllers::makeRootCaCertPublisher(c, config.rootCaPem); });
  add("namespace-controller", [&](ControllerContext c) {
    return controllers::makeNamespaceController(c, deletableResources(config.servedGroupVersions, true));
  });
  add("deployment-controller", [](ControllerContext c) { return controllers::makeDeploymentController(c); });
  add("replicaset-controller", [](ControllerContext c) { return controllers::makeReplicaSetController(c); });
  add("generic-garbage-collector", [&](ControllerContext c) {
    return controllers::makeGarbageCollector(c, deletableResources(config.servedGroupVersions, false));
  });
  controllers::NodeLifecycleConfig nodeLifecycle;
  nodeLifecycle.monitorGracePeriod = config.nodeMonitorGracePeriod;
  add("node-controller", [&](ControllerContext c) { return controllers::makeNodeLifecycleController(c, nodeLifecycle); });
  if (!config.nodeIpam.clusterCidrs.empty())
    add("node-controller", [&](ControllerContext c) { return controllers::makeNodeIpamController(c, config.nodeIpam); });
  add("pod-garbage-collector", [](ControllerContext c) { return controllers::makePodGcController(c, {}); });
  add("endpoint-controller", [](ControllerContext c) { return controllers::makeEndpointController(c); });
  add("endpointslice-controller", [](ControllerContext c) { return controllers::makeEndpointSliceController(c); });
  async::Gate gate(environment.executor);
  informers.start(gate, stop);
  if (co_await informers.waitForSync(stop))
    for (Member& member : members) gate.spawn(member.controller->run(stop));
  co_await gate.close();
}

}  // namespace knarr::controller_manager
