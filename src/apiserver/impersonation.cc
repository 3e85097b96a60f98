#include "apiserver/impersonation.h"

#include "base/strings.h"

namespace knarr::apiserver {
namespace {

constexpr std::string_view kExtraPrefix = "impersonate-extra-";
constexpr std::string_view kServiceAccountPrefix = "system:serviceaccount:";
constexpr std::string_view kAuthenticationGroup = "authentication.k8s.io";

UserInfo askedUser(const wire::Headers& headers) {
  UserInfo asked;
  asked.name = headers.get("Impersonate-User");
  asked.uid = headers.get("Impersonate-Uid");
  for (std::string_view group : headers.all("Impersonate-Group")) asked.groups.emplace_back(group);
  for (const auto& [name, value] : headers.fields()) {
    std::string lower = toLower(name);
    if (!lower.starts_with(kExtraPrefix)) continue;
    std::string key = lower.substr(kExtraPrefix.size());
    asked.extra[percentDecode(key, false).value_or(key)].push_back(value);
  }
  return asked;
}

// The namespace and name of a service account's user name; nothing for any other user.
std::vector<std::string> serviceAccountOf(std::string_view user) {
  std::vector<std::string> parts;
  if (!user.starts_with(kServiceAccountPrefix)) return parts;
  for (std::string_view part : split(user.substr(kServiceAccountPrefix.size()), ':')) parts.emplace_back(part);
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) parts.clear();
  return parts;
}

}  // namespace

Result<UserInfo> impersonatedUser(const wire::Headers& headers, const UserInfo& user, const Authorizer& authorizer) {
  UserInfo asked = askedUser(headers);
  if (asked.name.empty()) {
    if (asked.groups.empty() && asked.uid.empty() && asked.extra.empty()) return user;
    return fail(Reason::BadRequest, "requested impersonation of groups, uid or extra without impersonating a user name");
  }
  auto check = [&](std::string_view group, std::string_view resource, std::string_view subresource, std::string_view nameSpace,
                   std::string_view name) {
    AuthorizationAttributes attributes;
    attributes.verb = "impersonate";
    attributes.apiGroup = group;
    attributes.apiVersion = "v1";
    attributes.resource = resource;
    attributes.subresource = subresource;
    attributes.nameSpace = nameSpace;
    attributes.name = name;
    return authorizer.check(user, attributes);
  };
  std::vector<std::string> account = serviceAccountOf(asked.name);
  if (account.empty())
    TRY(check("", "users", "", "", asked.name));
  else
    TRY(check("", "serviceaccounts", "", account[0], account[1]));
  for (const std::string& group : asked.groups) TRY(check("", "groups", "", "", group));
  for (const auto& [key, values] : asked.extra)
    for (const std::string& value : values) TRY(check(kAuthenticationGroup, "userextras", key, "", value));
  if (!asked.uid.empty()) TRY(check(kAuthenticationGroup, "uids", "", "", asked.uid));

  if (asked.groups.empty() && !account.empty()) asked.groups = {"system:serviceaccounts", "system:serviceaccounts:" + account[0]};
  std::string_view added = asked.name == kUserAnonymous ? kGroupUnauthenticated : kGroupAuthenticated;
  if (!asked.inGroup(kGroupAuthenticated) && !asked.inGroup(kGroupUnauthenticated)) asked.groups.emplace_back(added);
  return asked;
}

}  // namespace knarr::apiserver
