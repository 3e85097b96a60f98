// Discovery: what this server serves, in the legacy documents and the aggregated one.
//
// Source: k8s.io/apiserver/pkg/endpoints/discovery and discovery/aggregated; the order of groups is that of
// pkg/controlplane/apiserver/aggregator.go (apiserver-service priorities).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/registry.h"

namespace knarr::apiserver {

class Discovery {
 public:
  // Built from what the registry serves and the resources that have no storage (reviews).
  explicit Discovery(const std::vector<const schema::ResourceInfo*>& resources);

  // /api, /apis, /apis/G, /api/v1, /apis/G/V as JSON; "" for an unknown group or version.
  std::string apiVersions(std::string_view serverAddress) const;
  std::string apiGroupList() const;
  std::string apiGroup(std::string_view group) const;
  std::string apiResourceList(std::string_view group, std::string_view version) const;
  // The aggregated documents; core alone at /api, the rest at /apis.
  const std::string& aggregatedCore() const { return aggregatedCore_; }
  const std::string& aggregatedGroups() const { return aggregatedGroups_; }
  bool serves(std::string_view group, std::string_view version) const;
  // Groups with their versions, preferred first, in the order of discovery. The core group is "".
  struct Group {
    std::string name;
    std::vector<std::string> versions;
  };
  const std::vector<Group>& groups() const { return groups_; }
  std::vector<const schema::ResourceInfo*> resourcesOf(std::string_view group, std::string_view version) const;

 private:
  std::string groupJson(const Group& group, bool typeMeta) const;
  std::string aggregated(bool core) const;

  std::vector<const schema::ResourceInfo*> resources_;
  std::vector<Group> groups_;
  std::string aggregatedCore_, aggregatedGroups_;
};

}  // namespace knarr::apiserver
