// Who asks. Source: k8s.io/apiserver/pkg/authentication/user.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace knarr::apiserver {

struct UserInfo {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;

  bool inGroup(std::string_view group) const { return std::find(groups.begin(), groups.end(), group) != groups.end(); }
};

inline constexpr std::string_view kGroupMasters = "system:masters";
inline constexpr std::string_view kGroupAuthenticated = "system:authenticated";
inline constexpr std::string_view kGroupUnauthenticated = "system:unauthenticated";
inline constexpr std::string_view kUserAnonymous = "system:anonymous";

}  // namespace knarr::apiserver
