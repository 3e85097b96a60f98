#include "apiserver/openid_metadata.h"

#include <fmt/format.h>

#include <set>

#include "base/strings.h"
#include "codec/codec.h"
#include "wire/pki.h"

namespace knarr::apiserver {

Result<OpenIdMetadata> makeOpenIdMetadata(std::string_view issuer, std::string_view address,
                                          const std::vector<std::string>& publicKeyPems) {
  std::vector<std::string> keys;
  std::set<std::string> algorithms;
  for (const std::string& pem : publicKeyPems) {
    keys.push_back(TRY(wire::jsonWebKey(pem)));
    bool rsa = keys.back().find("\"kty\":\"RSA\"") != std::string::npos;
    algorithms.insert(rsa ? "\"RS256\"" : "\"ES256\"");
  }
  OpenIdMetadata metadata;
  metadata.configurationJson = fmt::format(
      "{{\"issuer\":{},\"jwks_uri\":{},\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":[\"public\"],"
      "\"id_token_signing_alg_values_supported\":[{}]}}",
      codec::quoteJson(issuer), codec::quoteJson(fmt::format("https://{}{}", address, kJwksPath)),
      join(std::vector<std::string>(algorithms.begin(), algorithms.end()), ","));
  metadata.keysJson = fmt::format("{{\"keys\":[{}]}}", join(keys, ","));
  return metadata;
}

}  // namespace knarr::apiserver
