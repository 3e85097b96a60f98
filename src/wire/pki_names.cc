#include "wire/pki_names.h"

#include <arpa/inet.h>

#include "base/strings.h"

namespace knarr::wire {
namespace {

Result<void> addEntry(X509_NAME* name, const char* field, std::string_view value) {
  if (!X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                  static_cast<int>(value.size()), -1, 0))
    return failOpensslInput("certificate subject " + quote(value));
  return {};
}

std::string_view textOf(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

}  // namespace

Result<NamePtr> makeName(std::string_view commonName, const std::vector<std::string>& organizations) {
  NamePtr name(X509_NAME_new());
  for (const std::string& organization : organizations) TRY(addEntry(name.get(), "O", organization));
  if (!commonName.empty()) TRY(addEntry(name.get(), "CN", commonName));
  return name;
}

AlternativeNames takeAlternativeNames(GENERAL_NAMES* names) {
  AlternativeNames all;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* one = sk_GENERAL_NAME_value(names, i);
    if (one->type == GEN_DNS) all.dnsNames.emplace_back(textOf(one->d.dNSName));
    if (one->type == GEN_EMAIL) all.emailAddresses.emplace_back(textOf(one->d.rfc822Name));
    if (one->type == GEN_URI) all.uris.emplace_back(textOf(one->d.uniformResourceIdentifier));
    if (one->type == GEN_IPADD) {
      std::string_view bytes = textOf(one->d.iPAddress);
      char text[INET6_ADDRSTRLEN] = "";
      if (bytes.size() == 4) inet_ntop(AF_INET, bytes.data(), text, sizeof text);
      if (bytes.size() == 16) inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
      if (text[0] != '\0') all.ipAddresses.emplace_back(text);
    }
  }
  GENERAL_NAMES_free(names);
  return all;
}

Result<std::string> alternativeNamesText(const std::vector<std::string>& dnsNames, const std::vector<std::string>& ipAddresses,
                                         const std::vector<std::string>& emailAddresses, const std::vector<std::string>& uris) {
  std::vector<std::string> entries;
  auto addAll = [&](const char* kind, const std::vector<std::string>& values) -> Result<void> {
    for (const std::string& value : values) {
      // The text form separates entries by commas and knows "@section" references.
      if (value.empty() || value.find_first_of(",@\n\r\\\"") != std::string::npos)
        if (value.empty() || std::string_view(kind) != "email" || value.find(',') != std::string::npos)
          return fail(Reason::Invalid, "subject alternative name " + quote(value) + " has characters a name cannot have");
      entries.push_back(std::string(kind) + ":" + value);
    }
    return {};
  };
  TRY(addAll("DNS", dnsNames));
  TRY(addAll("IP", ipAddresses));
  TRY(addAll("email", emailAddresses));
  TRY(addAll("URI", uris));
  return join(entries, ",");
}

Result<void> addExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || !X509_add_ext(certificate, extension.get(), -1))
    return failOpensslInput("certificate extension " + quote(value));
  return {};
}

int64_t unixSecondsOf(const ASN1_TIME* time) {
  tm parts{};
  if (!ASN1_TIME_to_tm(time, &parts)) return 0;
  return unixFromCivil({parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec});
}

}  // namespace knarr::wire
