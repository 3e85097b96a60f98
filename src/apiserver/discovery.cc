#include "apiserver/discovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "apiserver/served_resources.h"
#include "base/strings.h"
#include "codec/codec.h"

namespace knarr::apiserver {
namespace {

// groupPriorityMinimum of the built-in groups. Source: pkg/controlplane/apiserver/aggregator.go.
struct GroupPriority {
  std::string_view group;
  int priority;
};
constexpr GroupPriority kPriorities[] = {{"", 18000},
                                         {"apiregistration.k8s.io", 20000},
                                         {"events.k8s.io", 17750},
                                         {"apps", 17800},
                                         {"authentication.k8s.io", 17700},
                                         {"authorization.k8s.io", 17600},
                                         {"autoscaling", 17500},
                                         {"batch", 17400},
                                         {"certificates.k8s.io", 17300},
                                         {"networking.k8s.io", 17200},
                                         {"policy", 17100},
                                         {"rbac.authorization.k8s.io", 17000},
                                         {"storage.k8s.io", 16800},
                                         {"apiextensions.k8s.io", 16700},
                                         {"admissionregistration.k8s.io", 16700},
                                         {"scheduling.k8s.io", 16600},
                                         {"coordination.k8s.io", 16500},
                                         {"node.k8s.io", 16300},
                                         {"discovery.k8s.io", 16200},
                                         {"resource.k8s.io", 16200},
                                         {"flowcontrol.apiserver.k8s.io", 16100},
                                         {"internal.apiserver.k8s.io", 16000},
                                         {"storagemigration.k8s.io", 15800}};

int priorityOf(std::string_view group) {
  for (const GroupPriority& row : kPriorities)
    if (row.group == group) return row.priority;
  return 1000;
}

std::string jsonList(std::span<const std::string_view> words) {
  std::vector<std::string> sorted(words.begin(), words.end());
  std::vector<std::string> quoted;
  for (const std::string& word : sorted) quoted.push_back(codec::quoteJson(word));
  return "[" + join(quoted, ",") + "]";
}

std::string pathName(const schema::ResourceInfo& info) {
  return info.subresource.empty() ? std::string(info.resource) : fmt::format("{}/{}", info.resource, info.subresource);
}

std::string apiResource(const schema::ResourceInfo& info) {
  std::string out = fmt::format("{{\"name\":{},\"singularName\":{},\"namespaced\":{}", codec::quoteJson(pathName(info)),
                                codec::quoteJson(info.subresource.empty() ? info.singular : ""), info.namespaced);
  if (!info.kindGroup.empty()) out += fmt::format(",\"group\":{}", codec::quoteJson(info.kindGroup));
  if (!info.kindVersion.empty()) out += fmt::format(",\"version\":{}", codec::quoteJson(info.kindVersion));
  out += fmt::format(",\"kind\":{},\"verbs\":{}", codec::quoteJson(info.kind), jsonList(info.verbs));
  if (!info.shortNames.empty()) out += ",\"shortNames\":" + jsonList(info.shortNames);
  if (!info.categories.empty()) out += ",\"categories\":" + jsonList(info.categories);
  if (!info.storageVersionHash.empty())
    out += fmt::format(",\"storageVersionHash\":{}", codec::quoteJson(info.storageVersionHash));
  return out + "}";
}

std::string responseKind(const schema::ResourceInfo& info) {
  bool other = !info.kindVersion.empty();
  return fmt::format("{{\"group\":{},\"version\":{},\"kind\":{}}}", codec::quoteJson(other ? info.kindGroup : info.group),
                     codec::quoteJson(other ? info.kindVersion : info.version), codec::quoteJson(info.kind));
}

// One resource of the aggregated document with its subresources.
std::string aggregatedResource(const schema::ResourceInfo& info, const std::vector<const schema::ResourceInfo*>& all) {
  std::string out = fmt::format("{{\"resource\":{},\"responseKind\":{},\"scope\":\"{}\",\"singularResource\":{},\"verbs\":{}",
                                codec::quoteJson(info.resource), responseKind(info), info.namespaced ? "Namespaced" : "Cluster",
                                codec::quoteJson(info.singular), jsonList(info.verbs));
  if (!info.shortNames.empty()) out += ",\"shortNames\":" + jsonList(info.shortNames);
  if (!info.categories.empty()) out += ",\"categories\":" + jsonList(info.categories);
  std::string subresources;
  for (const schema::ResourceInfo* sub : all) {
    if (sub->resource != info.resource || sub->subresource.empty()) continue;
    if (!subresources.empty()) subresources += ',';
    subresources += fmt::format("{{\"subresource\":{},\"responseKind\":{},\"verbs\":{}}}", codec::quoteJson(sub->subresource),
                                responseKind(*sub), jsonList(sub->verbs));
  }
  if (!subresources.empty()) out += ",\"subresources\":[" + subresources + "]";
  return out + "}";
}

}  // namespace

Discovery::Discovery(const std::vector<const schema::ResourceInfo*>& resources) : resources_(resources) {
  std::sort(resources_.begin(), resources_.end(), [](const auto* a, const auto* b) { return pathName(*a) < pathName(*b); });
  for (const schema::ResourceInfo* info : resources_) {
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& g) { return g.name == info->group; });
    if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{std::string(info->group), {}});
    if (std::find(group->versions.begin(), group->versions.end(), info->version) == group->versions.end())
      group->versions.emplace_back(info->version);
  }
  std::sort(groups_.begin(), groups_.end(), [](const Group& a, const Group& b) {
    int pa = priorityOf(a.name), pb = priorityOf(b.name);
    return pa != pb ? pa > pb : a.name < b.name;
  });
  for (Group& group : groups_)
    std::sort(group.versions.begin(), group.versions.end(),
              [](const std::string& a, const std::string& b) { return versionRank(a) > versionRank(b); });
  aggregatedCore_ = aggregated(true);
  aggregatedGroups_ = aggregated(false);
}

bool Discovery::serves(std::string_view group, std::string_view version) const {
  for (const Group& one : groups_)
    if (one.name == group)
      return version.empty() || std::find(one.versions.begin(), one.versions.end(), version) != one.versions.end();
  return false;
}

std::vector<const schema::ResourceInfo*> Discovery::resourcesOf(std::string_view group, std::string_view version) const {
  std::vector<const schema::ResourceInfo*> out;
  for (const schema::ResourceInfo* info : resources_)
    if (info->group == group && info->version == version) out.push_back(info);
  return out;
}

std::string Discovery::apiVersions(std::string_view serverAddress) const {
  return fmt::format(
      "{{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{{\"clientCIDR\":\"0.0.0.0/"
      "0\",\"serverAddress\":{}}}]}}",
      codec::quoteJson(serverAddress));
}

std::string Discovery::groupJson(const Group& group, bool typeMeta) const {
  std::string versions;
  for (const std::string& version : group.versions) {
    if (!versions.empty()) versions += ',';
    versions += fmt::format("{{\"groupVersion\":{},\"version\":{}}}", codec::quoteJson(groupVersionName(group.name, version)),
                            codec::quoteJson(version));
  }
  const std::string& preferred = group.versions.front();
  return fmt::format("{{{}\"name\":{},\"versions\":[{}],\"preferredVersion\":{{\"groupVersion\":{},\"version\":{}}}}}",
                     typeMeta ? "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," : "", codec::quoteJson(group.name), versions,
                     codec::quoteJson(groupVersionName(group.name, preferred)), codec::quoteJson(preferred));
}

std::string Discovery::apiGroupList() const {
  std::string groups;
  for (const Group& group : groups_) {
    if (group.name.empty()) continue;
    if (!groups.empty()) groups += ',';
    groups += groupJson(group, false);
  }
  return fmt::format("{{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[{}]}}", groups);
}

std::string Discovery::apiGroup(std::string_view name) const {
  for (const Group& group : groups_)
    if (group.name == name && !name.empty()) return groupJson(group, true);
  return "";
}

std::string Discovery::apiResourceList(std::string_view group, std::string_view version) const {
  if (!serves(group, version)) return "";
  std::string resources;
  for (const schema::ResourceInfo* info : resourcesOf(group, version)) {
    if (!resources.empty()) resources += ',';
    resources += apiResource(*info);
  }
  return fmt::format("{{\"kind\":\"APIResourceList\",{}\"groupVersion\":{},\"resources\":[{}]}}",
                     group.empty() ? "" : "\"apiVersion\":\"v1\",", codec::quoteJson(groupVersionName(group, version)),
                     resources);
}

std::string Discovery::aggregated(bool core) const {
  std::string items;
  for (const Group& group : groups_) {
    if (group.name.empty() != core) continue;
    std::string versions;
    for (const std::string& version : group.versions) {
      std::string resources;
      auto all = resourcesOf(group.name, version);
      for (const schema::ResourceInfo* info : all) {
        if (!info->subresource.empty()) continue;
        if (!resources.empty()) resources += ',';
        resources += aggregatedResource(*info, all);
      }
      if (!versions.empty()) versions += ',';
      versions +=
          fmt::format("{{\"version\":{},\"resources\":[{}],\"freshness\":\"Current\"}}", codec::quoteJson(version), resources);
    }
    if (!items.empty()) items += ',';
    items += group.name.empty()
                 ? fmt::format("{{\"metadata\":{{}},\"versions\":[{}]}}", versions)
                 : fmt::format("{{\"metadata\":{{\"name\":{}}},\"versions\":[{}]}}", codec::quoteJson(group.name), versions);
  }
  return fmt::format(
      "{{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2\",\"metadata\":{{}},\"items\":[{}]}}", items);
}

}  // namespace knarr::apiserver
