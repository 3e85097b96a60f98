#include "wire/openssl_ptr.h"

namespace knarr::wire {

std::string opensslError() {
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "error " + std::to_string(code);
}

Unexpected failOpenssl(std::string_view what) { return fail(Reason::InternalError, std::string(what) + ": " + opensslError()); }
Unexpected failOpensslInput(std::string_view what) { return fail(Reason::Invalid, std::string(what) + ": " + opensslError()); }

BioPtr readOnlyBio(std::string_view bytes) { return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))); }

std::string bioBytes(BIO* bio) {
  char* start = nullptr;
  long size = BIO_get_mem_data(bio, &start);
  return size > 0 ? std::string(start, static_cast<size_t>(size)) : std::string();
}

Result<KeyPtr> parsePrivateKey(std::string_view pem) {
  ERR_clear_error();
  // An empty passphrase: an encrypted key fails instead of asking on the terminal.
  KeyPtr key(PEM_read_bio_PrivateKey(readOnlyBio(pem).get(), nullptr, nullptr, const_cast<char*>("")));
  if (!key) return failOpensslInput("private key is not a PEM key");
  return key;
}

Result<std::vector<CertificatePtr>> parseCertificates(std::string_view pem) {
  ERR_clear_error();
  BioPtr bio = readOnlyBio(pem);
  std::vector<CertificatePtr> certificates;
  while (true) {
    CertificatePtr one(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!one) break;
    certificates.push_back(std::move(one));
  }
  // The end of the text is reported as "no start line".
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || certificates.empty())
    return failOpensslInput("certificate is not PEM");
  ERR_clear_error();
  return certificates;
}

CertificatePtr certificateFromDer(std::string_view der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  return CertificatePtr(d2i_X509(nullptr, &bytes, static_cast<long>(der.size())));
}

std::string derOf(X509* certificate) {
  unsigned char* bytes = nullptr;
  int size = i2d_X509(certificate, &bytes);
  if (size <= 0) return "";
  std::string der(reinterpret_cast<char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

std::vector<std::string> nameValues(const X509_NAME* name, const ASN1_OBJECT* attribute) {
  std::vector<std::string> values;
  for (int at = X509_NAME_get_index_by_OBJ(name, attribute, -1); at >= 0; at = X509_NAME_get_index_by_OBJ(name, attribute, at)) {
    unsigned char* text = nullptr;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (size < 0) continue;  // a value that is no text names nobody
    values.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  ERR_clear_error();
  return values;
}

std::vector<std::string> nameValues(const X509_NAME* name, int nid) { return nameValues(name, OBJ_nid2obj(nid)); }

}  // namespace knarr::wire
