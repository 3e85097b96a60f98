// What relying parties need to check service account tokens by themselves: the issuer's discovery document and its keys.
//
// Source: pkg/serviceaccount/openidmetadata.go, pkg/routes/openidmetadata.go; OpenID Connect Discovery 1.0, section 3; RFC 7517.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::apiserver {

constexpr std::string_view kOpenIdConfigurationPath = "/.well-known/openid-configuration";
constexpr std::string_view kJwksPath = "/openid/v1/jwks";
// Keys change only when the server starts anew, so others may hold the documents for an hour.
constexpr std::string_view kOpenIdCacheControl = "public, max-age=3600";

struct OpenIdMetadata {
  std::string configurationJson;  // application/json
  std::string keysJson;           // application/jwk-set+json
};

// `address`: host and port under which the server is reached from outside; the keys are found there.
// Fails when a key is not one that tokens can be signed with.
Result<OpenIdMetadata> makeOpenIdMetadata(std::string_view issuer, std::string_view address,
                                          const std::vector<std::string>& publicKeyPems);

}  // namespace knarr::apiserver
