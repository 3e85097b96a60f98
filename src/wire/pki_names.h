// X.509 names, alternative names, extensions and times. Private to this room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "wire/openssl_ptr.h"

namespace knarr::wire {

// O entries in order, then CN; empty parts are left out.
Result<NamePtr> makeName(std::string_view commonName, const std::vector<std::string>& organizations);

struct AlternativeNames {
  std::vector<std::string> dnsNames;
  std::vector<std::string> ipAddresses;
  std::vector<std::string> emailAddresses;
  std::vector<std::string> uris;
};
// Reads and frees `names`; null gives nothing.
AlternativeNames takeAlternativeNames(GENERAL_NAMES* names);
// "DNS:a,IP:b" for addExtension. Invalid for a name with characters that would change that text's
// meaning.
Result<std::string> alternativeNamesText(const std::vector<std::string>& dnsNames, const std::vector<std::string>& ipAddresses,
                                         const std::vector<std::string>& emailAddresses = {},
                                         const std::vector<std::string>& uris = {});
Result<void> addExtension(X509* certificate, X509* issuer, int nid, const std::string& value);
int64_t unixSecondsOf(const ASN1_TIME* time);

}  // namespace knarr::wire
