#include "apiserver/authenticator.h"

#include <fmt/format.h>

#include "api/meta_v1.h"
#include "base/strings.h"
#include "wire/pki.h"

namespace knarr::apiserver {
namespace {

constexpr std::string_view kTokenProtocolPrefix = "base64url.bearer.authorization.k8s.io.";

// The token of an Authorization header or of a WebSocket's subprotocols; "" when there is none.
Result<std::string> bearerToken(const wire::Request& request) {
  auto parts = split(request.headers.get("Authorization"), ' ');
  if (parts.size() == 2 && equalsIgnoreCase(parts[0], "bearer") && !parts[1].empty()) return std::string(parts[1]);
  for (std::string_view value : request.headers.all("Sec-WebSocket-Protocol"))
    for (std::string_view protocol : split(value, ',')) {
      protocol = trim(protocol);
      if (!protocol.starts_with(kTokenProtocolPrefix)) continue;
      auto token = base64UrlDecode(protocol.substr(kTokenProtocolPrefix.size()));
      if (!token) return fail(Reason::Unauthorized, "Unauthorized");
      return *token;
    }
  return std::string();
}

UserInfo userOfCertificate(const wire::TlsPeer& peer) {
  UserInfo user;
  user.name = peer.commonName;
  user.groups = peer.organizations;
  user.uid = peer.uid;
  if (!peer.chainDer.empty())
    user.extra["authentication.kubernetes.io/credential-id"] = {"X509SHA256=" + toHex(wire::sha256(peer.chainDer.front()))};
  return user;
}

}  // namespace

Result<UserInfo> Authenticator::authenticate(const wire::Request& request) const {
  if (request.tlsPeer && !request.tlsPeer->verified) return fail(Reason::Unauthorized, "Unauthorized");
  if (request.tlsPeer && !request.tlsPeer->commonName.empty()) {
    UserInfo user = userOfCertificate(*request.tlsPeer);
    user.groups.emplace_back(kGroupAuthenticated);
    return user;
  }
  std::string token = TRY(bearerToken(request));
  if (!token.empty()) {
    auto user = authenticateToken(token, {});
    if (!user) return fail(Reason::Unauthorized, "Unauthorized");
    user->groups.emplace_back(kGroupAuthenticated);
    return user;
  }
  UserInfo anonymous;
  anonymous.name = kUserAnonymous;
  anonymous.groups = {std::string(kGroupUnauthenticated)};
  return anonymous;
}

// A token lives as long as its service account and the object it is bound to.
// Source: pkg/serviceaccount/claims.go, Validate.
Result<UserInfo> Authenticator::authenticateToken(std::string_view token, std::vector<std::string> audiences) const {
  if (!tokens_) return fail(Reason::Unauthorized, "invalid bearer token");
  if (audiences.empty()) audiences.push_back(tokens_->issuer());
  TokenClaims claims = TRY(tokens_->verify(token, audiences));
  auto exists = [&](std::string_view resource, const std::string& key, std::string_view uid) {
    const ServedResource* served = registry_.find("", "v1", resource);
    Ref<> object = served ? served->cache->get(key) : Ref<>();
    return object && schema::metadataOf(object).uid == uid;
  };
  if (!exists("serviceaccounts", fmt::format("{}/{}", claims.nameSpace, claims.serviceAccountName), claims.serviceAccountUid))
    return fail(Reason::Unauthorized, "service account has been deleted");
  if (claims.bound.kind == "Pod" && !exists("pods", fmt::format("{}/{}", claims.nameSpace, claims.bound.name), claims.bound.uid))
    return fail(Reason::Unauthorized, "the pod the token is bound to has been deleted");
  if (claims.bound.kind == "Secret" &&
      !exists("secrets", fmt::format("{}/{}", claims.nameSpace, claims.bound.name), claims.bound.uid))
    return fail(Reason::Unauthorized, "the secret the token is bound to has been deleted");
  if (claims.bound.kind == "Node" && !exists("nodes", claims.bound.name, claims.bound.uid))
    return fail(Reason::Unauthorized, "the node the token is bound to has been deleted");
  return ServiceAccountTokens::userOf(claims);
}

}  // namespace knarr::apiserver
