// Bound service account tokens: made by the token subresource, checked by the authenticator.
//
// Source: pkg/serviceaccount/claims.go, jwt.go; KEP-1205. The claims are upstream's: iss, sub, aud, exp, iat, nbf, jti and
// kubernetes.io{namespace, serviceaccount, pod, node, secret}.
#pragma once

#include <string>
#include <vector>

#include "apiserver/user.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::apiserver {

struct BoundObject {
  std::string kind;  // "Pod", "Secret", "Node" or ""
  std::string name;
  std::string uid;
};

struct TokenClaims {
  std::string nameSpace;
  std::string serviceAccountName;
  std::string serviceAccountUid;
  BoundObject bound;
  std::string nodeName, nodeUid;  // of a token bound to a scheduled pod
  std::vector<std::string> audiences;
  int64_t issuedAt = 0;
  int64_t expires = 0;
  std::string id;
};

class ServiceAccountTokens {
 public:
  // privateKeyPem signs; every key of publicKeyPems verifies. issuer is also the default audience.
  ServiceAccountTokens(env::Env environment, std::string issuer, std::string privateKeyPem,
                       std::vector<std::string> publicKeyPems);

  const std::string& issuer() const { return issuer_; }
  const std::vector<std::string>& publicKeys() const { return publicKeyPems_; }
  Result<std::string> sign(const TokenClaims& claims) const;
  // Checks signature, issuer, times and that the audiences meet. Unauthorized otherwise. Whether the bound objects still
  // exist is the caller's to check.
  Result<TokenClaims> verify(std::string_view token, const std::vector<std::string>& audiences) const;
  // system:serviceaccount:NS:NAME with its groups and extras.
  static UserInfo userOf(const TokenClaims& claims);

 private:
  env::Env env_;
  std::string issuer_;
  std::string privateKeyPem_;
  std::vector<std::string> publicKeyPems_;
  std::string keyId_;
};

}  // namespace knarr::apiserver
