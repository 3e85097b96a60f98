// Who sent a request: client certificates, bearer tokens, or nobody (system:anonymous).
//
// Upstream counterpart: pkg/kubeapiserver/authenticator/config.go.
#pragma once

#include <memory>

#include "apiserver/registry.h"
#include "apiserver/service_account_tokens.h"
#include "apiserver/user.h"
#include "wire/http.h"

namespace knarr::apiserver {

class Authenticator {
 public:
  // tokens may be null: then no bearer token is known. The registry tells whether a token's objects still exist.
  Authenticator(Registry& registry, const ServiceAccountTokens* tokens) : registry_(registry), tokens_(tokens) {}
  // Unauthorized when credentials were sent and none of them is good.
  Result<UserInfo> authenticate(const wire::Request& request) const;
  // A token by itself, for TokenReview. An empty audience list means the server's own.
  Result<UserInfo> authenticateToken(std::string_view token, std::vector<std::string> audiences) const;

 private:
  Registry& registry_;
  const ServiceAccountTokens* tokens_;
};

}  // namespace knarr::apiserver
