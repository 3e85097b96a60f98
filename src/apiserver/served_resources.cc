#include "apiserver/served_resources.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "base/assert.h"

namespace knarr::apiserver {

namespace {

// Groups that another server answers, behind an aggregator.
bool isAggregated(std::string_view group) { return group == "metrics.k8s.io"; }

}  // namespace

std::string groupVersionName(std::string_view group, std::string_view version) {
  return group.empty() ? std::string(version) : fmt::format("{}/{}", group, version);
}

int versionRank(std::string_view version) {
  auto number = [](std::string_view text) {
    int value = 0;
    for (char c : text) {
      if (c < '0' || c > '9') break;
      value = value * 10 + (c - '0');
    }
    return value;
  };
  int major = number(version.substr(1));
  size_t beta = version.find("beta"), alpha = version.find("alpha");
  if (beta != std::string_view::npos) return 1'000'000 + major * 100 + number(version.substr(beta + 4));
  if (alpha != std::string_view::npos) return major * 100 + number(version.substr(alpha + 5));
  return 2'000'000 + major * 100;
}

std::vector<const schema::ResourceInfo*> servedResources(const std::vector<std::string>& groupVersions) {
  if (groupVersions.empty()) return servedResources(defaultServedGroupVersions());
  std::vector<const schema::ResourceInfo*> out;
  for (const schema::ResourceInfo& info : schema::allResources()) {
    std::string gv = groupVersionName(info.group, info.version);
    if (std::find(groupVersions.begin(), groupVersions.end(), gv) != groupVersions.end()) out.push_back(&info);
  }
  return out;
}

bool hasStorage(const schema::ResourceInfo& info) {
  if (!info.subresource.empty() || !info.type || info.type->metadataOffset < 0) return false;
  return std::find(info.verbs.begin(), info.verbs.end(), "watch") != info.verbs.end();
}

const schema::TypeInfo& storageTypeOf(const schema::ResourceInfo& info) {
  if (info.group == "events.k8s.io") return schema::typeInfoOf<corev1::Event>();
  const schema::ResourceInfo* best = nullptr;
  for (const schema::ResourceInfo& other : schema::allResources())
    if (other.group == info.group && other.resource == info.resource && hasStorage(other) &&
        (!best || versionRank(other.version) > versionRank(best->version)))
      best = &other;
  ASSERT(best != nullptr);
  return *best->type;
}

std::vector<std::string> defaultServedGroupVersions() {
  std::vector<std::pair<std::string_view, std::string_view>> found;
  for (const schema::ResourceInfo& info : schema::allResources()) {
    std::pair<std::string_view, std::string_view> one(info.group, info.version);
    if (!isAggregated(info.group) && std::find(found.begin(), found.end(), one) == found.end()) found.push_back(one);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : versionRank(a.second) > versionRank(b.second);
  });
  std::vector<std::string> out;
  for (const auto& [group, version] : found) out.push_back(groupVersionName(group, version));
  return out;
}

}  // namespace knarr::apiserver
