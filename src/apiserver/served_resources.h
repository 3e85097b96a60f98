// Which resources a server serves, and in which version each is stored.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schema/type_info.h"

namespace knarr::apiserver {

// The resources of the group versions named ("apps/v1"; "v1" is core); the default ones when none is named.
std::vector<const schema::ResourceInfo*> servedResources(const std::vector<std::string>& groupVersions);
// Reviews are answered and forgotten, component statuses are asked for anew; everything else that can be watched is stored.
bool hasStorage(const schema::ResourceInfo& info);
// What objects of a resource are stored as: its most stable version, events in core's. `info` has storage.
const schema::TypeInfo& storageTypeOf(const schema::ResourceInfo& info);
// v2 before v1 before v1beta2 before v1alpha3: the greater the more stable, then the newer.
// Source: apimachinery/pkg/version, CompareKubeAwareVersionStrings.
int versionRank(std::string_view version);
// "apps/v1", "v1".
std::string groupVersionName(std::string_view group, std::string_view version);

}  // namespace knarr::apiserver
