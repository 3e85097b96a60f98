#include "wire/pki.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include <algorithm>

#include "base/strings.h"
#include "wire/openssl_ptr.h"
#include "wire/pki_names.h"

namespace knarr::wire {
namespace {

Result<std::string> privatePem(EVP_PKEY* key) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr)) return failOpenssl("write private key");
  return bioBytes(bio.get());
}
Result<std::string> certificatePem(X509* certificate) {
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_X509(bio.get(), certificate)) return failOpenssl("write certificate");
  return bioBytes(bio.get());
}

Result<KeyPtr> generateEcKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return failOpenssl("make an ECDSA key");
  return key;
}

// A positive serial number of 127 random bits (RFC 5280, 4.1.2.2 allows up to 20 bytes).
Result<void> setRandomSerial(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return failOpenssl("random serial number");
  bytes[0] &= 0x7f;
  bytes[15] |= 1;
  BignumPtr number(BN_bin2bn(bytes, sizeof bytes, nullptr));
  if (!BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate))) return failOpenssl("set serial number");
  return {};
}

Result<void> setValidity(X509* certificate, int64_t notBefore, int64_t notAfter) {
  if (notAfter <= notBefore) return fail(Reason::Invalid, "certificate validity ends before it begins");
  if (!ASN1_TIME_set(X509_getm_notBefore(certificate), notBefore) || !ASN1_TIME_set(X509_getm_notAfter(certificate), notAfter))
    return failOpenssl("set certificate validity");
  return {};
}

struct Issuer {
  CertificatePtr certificate;
  KeyPtr key;
};
Result<Issuer> parseIssuer(const KeyAndCertificate& ca) {
  auto certificates = TRY(parseCertificates(ca.certificatePem));
  return Issuer{std::move(certificates.front()), TRY(parsePrivateKey(ca.privateKeyPem))};
}

struct Wanted {
  const X509_NAME* subject = nullptr;
  EVP_PKEY* key = nullptr;
  std::string alternativeNames;  // OpenSSL configuration syntax, "" for none
  std::string keyUsage;
  std::string extendedKeyUsage;
  bool isCa = false;
  int64_t notBefore = 0;
  int64_t notAfter = 0;
};

// issuer null: self-signed with `key`.
Result<CertificatePtr> makeCertificate(const Wanted& wanted, const Issuer* issuer, EVP_PKEY* signingKey) {
  CertificatePtr certificate(X509_new());
  X509* raw = certificate.get();
  if (!raw || !X509_set_version(raw, X509_VERSION_3)) return failOpenssl("make certificate");
  TRY(setRandomSerial(raw));
  TRY(setValidity(raw, wanted.notBefore, wanted.notAfter));
  const X509_NAME* issuerName = issuer ? X509_get_subject_name(issuer->certificate.get()) : wanted.subject;
  if (!X509_set_subject_name(raw, wanted.subject) || !X509_set_issuer_name(raw, issuerName) || !X509_set_pubkey(raw, wanted.key))
    return failOpenssl("make certificate");
  X509* issuerCertificate = issuer ? issuer->certificate.get() : raw;
  TRY(addExtension(raw, issuerCertificate, NID_basic_constraints, wanted.isCa ? "critical,CA:TRUE" : "critical,CA:FALSE"));
  TRY(addExtension(raw, issuerCertificate, NID_key_usage, "critical," + wanted.keyUsage));
  if (!wanted.extendedKeyUsage.empty()) TRY(addExtension(raw, issuerCertificate, NID_ext_key_usage, wanted.extendedKeyUsage));
  if (wanted.isCa) TRY(addExtension(raw, issuerCertificate, NID_subject_key_identifier, "hash"));
  if (issuer && X509_get_ext_by_NID(issuer->certificate.get(), NID_subject_key_identifier, -1) >= 0)
    TRY(addExtension(raw, issuerCertificate, NID_authority_key_identifier, "keyid"));
  if (!wanted.alternativeNames.empty()) TRY(addExtension(raw, issuerCertificate, NID_subject_alt_name, wanted.alternativeNames));
  if (!X509_sign(raw, signingKey, EVP_sha256())) return failOpenssl("sign certificate");
  return certificate;
}

}  // namespace

Result<std::string> makeEcKey() {
  KeyPtr key = TRY(generateEcKey());
  return privatePem(key.get());
}

Result<std::string> makeRsaKey(int bits) {
  if (bits < 2048 || bits > 8192) return fail(Reason::Invalid, "RSA keys have 2048 to 8192 bits");
  KeyPtr key(EVP_RSA_gen(static_cast<unsigned>(bits)));
  if (!key) return failOpenssl("make an RSA key");
  return privatePem(key.get());
}

Result<std::string> publicKeyPem(std::string_view privateKeyOrCertificatePem) {
  KeyPtr key;
  if (privateKeyOrCertificatePem.find("BEGIN CERTIFICATE-") != std::string_view::npos) {
    auto certificates = TRY(parseCertificates(privateKeyOrCertificatePem));
    key.reset(X509_get_pubkey(certificates.front().get()));
  } else if (privateKeyOrCertificatePem.find("PUBLIC KEY") != std::string_view::npos) {
    key.reset(PEM_read_bio_PUBKEY(readOnlyBio(privateKeyOrCertificatePem).get(), nullptr, nullptr, nullptr));
  } else {
    key = TRY(parsePrivateKey(privateKeyOrCertificatePem));
  }
  if (!key) return failOpensslInput("public key");
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_PUBKEY(bio.get(), key.get())) return failOpenssl("write public key");
  return bioBytes(bio.get());
}

Result<KeyAndCertificate> makeCertificateAuthority(std::string commonName, int64_t notBeforeUnixSeconds,
                                                   int64_t notAfterUnixSeconds) {
  KeyPtr key = TRY(generateEcKey());
  NamePtr subject = TRY(makeName(commonName, {}));
  Wanted wanted;
  wanted.subject = subject.get();
  wanted.key = key.get();
  // Source: k8s.io/client-go/util/cert, NewSelfSignedCACert.
  wanted.keyUsage = "digitalSignature,keyEncipherment,keyCertSign,cRLSign";
  wanted.isCa = true;
  wanted.notBefore = notBeforeUnixSeconds;
  wanted.notAfter = notAfterUnixSeconds;
  CertificatePtr certificate = TRY(makeCertificate(wanted, nullptr, key.get()));
  return KeyAndCertificate{TRY(certificatePem(certificate.get())), TRY(privatePem(key.get()))};
}

Result<KeyAndCertificate> issueCertificate(const KeyAndCertificate& ca, const CertificateSpec& spec) {
  Issuer issuer = TRY(parseIssuer(ca));
  KeyPtr key = TRY(generateEcKey());
  NamePtr subject = TRY(makeName(spec.commonName, spec.organizations));
  Wanted wanted;
  wanted.subject = subject.get();
  wanted.key = key.get();
  wanted.alternativeNames = TRY(alternativeNamesText(spec.dnsNames, spec.ipAddresses));
  wanted.isCa = spec.isCa;
  wanted.keyUsage = spec.isCa ? "digitalSignature,keyCertSign,cRLSign" : "digitalSignature,keyEncipherment";
  if (spec.serverAuth) wanted.extendedKeyUsage = "serverAuth";
  if (spec.clientAuth) wanted.extendedKeyUsage += wanted.extendedKeyUsage.empty() ? "clientAuth" : ",clientAuth";
  wanted.notBefore = spec.notBeforeUnixSeconds;
  wanted.notAfter = spec.notAfterUnixSeconds;
  CertificatePtr certificate = TRY(makeCertificate(wanted, &issuer, issuer.key.get()));
  return KeyAndCertificate{TRY(certificatePem(certificate.get())), TRY(privatePem(key.get()))};
}

Result<std::string> makeCertificateRequest(std::string_view privateKeyPem, const CertificateSpec& spec) {
  KeyPtr key = TRY(parsePrivateKey(privateKeyPem));
  NamePtr subject = TRY(makeName(spec.commonName, spec.organizations));
  RequestPtr request(X509_REQ_new());
  if (!X509_REQ_set_subject_name(request.get(), subject.get()) || !X509_REQ_set_pubkey(request.get(), key.get()))
    return failOpenssl("make certificate request");
  std::string names = TRY(alternativeNamesText(spec.dnsNames, spec.ipAddresses));
  if (!names.empty()) {
    ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str()));
    if (!extension) return failOpensslInput("subject alternative names " + names);
    std::unique_ptr<STACK_OF(X509_EXTENSION), void (*)(STACK_OF(X509_EXTENSION)*)> list(
        sk_X509_EXTENSION_new_null(), [](STACK_OF(X509_EXTENSION) * s) { sk_X509_EXTENSION_free(s); });
    sk_X509_EXTENSION_push(list.get(), extension.get());
    if (!X509_REQ_add_extensions(request.get(), list.get())) return failOpenssl("make certificate request");
  }
  if (!X509_REQ_sign(request.get(), key.get(), EVP_sha256())) return failOpenssl("sign certificate request");
  BioPtr bio(BIO_new(BIO_s_mem()));
  if (!PEM_write_bio_X509_REQ(bio.get(), request.get())) return failOpenssl("write certificate request");
  return bioBytes(bio.get());
}

namespace {

// certificates.k8s.io/v1 KeyUsage to OpenSSL's names. Source: k8s.io/api/certificates/v1/types.go.
struct UsageRow {
  std::string_view name;
  std::string_view openssl;
  bool extended;
};
constexpr UsageRow kUsages[] = {
    {"signing", "digitalSignature", false},
    {"digital signature", "digitalSignature", false},
    {"content commitment", "nonRepudiation", false},
    {"key encipherment", "keyEncipherment", false},
    {"key agreement", "keyAgreement", false},
    {"data encipherment", "dataEncipherment", false},
    {"cert sign", "keyCertSign", false},
    {"crl sign", "cRLSign", false},
    {"encipher only", "encipherOnly", false},
    {"decipher only", "decipherOnly", false},
    {"any", "anyExtendedKeyUsage", true},
    {"server auth", "serverAuth", true},
    {"client auth", "clientAuth", true},
    {"code signing", "codeSigning", true},
    {"email protection", "emailProtection", true},
    {"s/mime", "emailProtection", true},
    {"ipsec end system", "ipsecEndSystem", true},
    {"ipsec tunnel", "ipsecTunnel", true},
    {"ipsec user", "ipsecUser", true},
    {"timestamping", "timeStamping", true},
    {"ocsp signing", "OCSPSigning", true},
    {"microsoft sgc", "msSGC", true},
    {"netscape sgc", "nsSGC", true},
};

Result<std::pair<std::string, std::string>> usageTexts(const std::vector<std::string>& usages) {
  std::vector<std::string> plain;
  std::vector<std::string> extended;
  for (const std::string& usage : usages) {
    auto row = std::ranges::find(kUsages, std::string_view(usage), &UsageRow::name);
    if (row == std::end(kUsages)) return fail(Reason::Invalid, "unknown key usage " + quote(usage));
    auto& list = row->extended ? extended : plain;
    if (std::ranges::find(list, row->openssl) == list.end()) list.emplace_back(row->openssl);
  }
  if (plain.empty()) plain.emplace_back("digitalSignature");
  return std::pair(join(plain, ","), join(extended, ","));
}

Result<RequestPtr> readRequest(std::string_view pem) {
  RequestPtr request(PEM_read_bio_X509_REQ(readOnlyBio(pem).get(), nullptr, nullptr, nullptr));
  if (!request) return failOpensslInput("not a PEM certificate request");
  if (X509_REQ_verify(request.get(), X509_REQ_get0_pubkey(request.get())) != 1)
    return failOpensslInput("certificate request is not signed by its own key");
  return request;
}

}  // namespace

Result<CertificateRequest> parseCertificateRequest(std::string_view pem) {
  RequestPtr request = TRY(readRequest(pem));
  CertificateRequest parsed;
  const X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  auto names = nameValues(subject, NID_commonName);
  if (!names.empty()) parsed.commonName = names.back();  // as Go's pkix.Name: the last one counts
  parsed.organizations = nameValues(subject, NID_organizationName);
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request.get());
  auto* alternatives = static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr));
  AlternativeNames all = takeAlternativeNames(alternatives);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  parsed.dnsNames = std::move(all.dnsNames);
  parsed.ipAddresses = std::move(all.ipAddresses);
  parsed.emailAddresses = std::move(all.emailAddresses);
  parsed.uris = std::move(all.uris);
  return parsed;
}

Result<std::string> signCertificateRequest(const KeyAndCertificate& ca, std::string_view requestPem, int64_t notBeforeUnixSeconds,
                                           int64_t notAfterUnixSeconds, const std::vector<std::string>& usages) {
  Issuer issuer = TRY(parseIssuer(ca));
  RequestPtr request = TRY(readRequest(requestPem));
  CertificateRequest parsed = TRY(parseCertificateRequest(requestPem));
  auto [plain, extended] = TRY(usageTexts(usages));
  Wanted wanted;
  wanted.subject = X509_REQ_get_subject_name(request.get());
  wanted.key = X509_REQ_get0_pubkey(request.get());
  wanted.alternativeNames = TRY(alternativeNamesText(parsed.dnsNames, parsed.ipAddresses, parsed.emailAddresses, parsed.uris));
  wanted.keyUsage = plain;
  wanted.extendedKeyUsage = extended;
  wanted.notBefore = notBeforeUnixSeconds;
  wanted.notAfter = notAfterUnixSeconds;
  CertificatePtr certificate = TRY(makeCertificate(wanted, &issuer, issuer.key.get()));
  return certificatePem(certificate.get());
}

Result<CertificateInfo> parseCertificate(std::string_view pemOrDer) {
  CertificatePtr certificate;
  if (pemOrDer.find("-----BEGIN") != std::string_view::npos) {
    certificate = std::move(TRY(parseCertificates(pemOrDer)).front());
  } else {
    certificate = certificateFromDer(pemOrDer);
    if (!certificate) return failOpensslInput("not a certificate");
  }
  X509* raw = certificate.get();
  CertificateInfo info;
  auto names = nameValues(X509_get_subject_name(raw), NID_commonName);
  if (!names.empty()) info.commonName = names.back();
  info.organizations = nameValues(X509_get_subject_name(raw), NID_organizationName);
  auto issuers = nameValues(X509_get_issuer_name(raw), NID_commonName);
  if (!issuers.empty()) info.issuerCommonName = issuers.back();
  auto* alternatives = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(raw, NID_subject_alt_name, nullptr, nullptr));
  AlternativeNames all = takeAlternativeNames(alternatives);
  info.dnsNames = std::move(all.dnsNames);
  info.ipAddresses = std::move(all.ipAddresses);
  BignumPtr serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(raw), nullptr));
  char* hex = BN_bn2hex(serial.get());
  info.serialHex = toLower(hex);
  OPENSSL_free(hex);
  info.sha256Hex = toHex(sha256(derOf(raw)));
  info.notBeforeUnixSeconds = unixSecondsOf(X509_get0_notBefore(raw));
  info.notAfterUnixSeconds = unixSecondsOf(X509_get0_notAfter(raw));
  info.isCa = X509_check_ca(raw) == 1;
  return info;
}

Result<void> verifyCertificateChain(const std::vector<std::string>& chainDer, std::string_view caPem, int64_t unixSeconds,
                                    bool clientAuth) {
  if (chainDer.empty()) return fail(Reason::Unauthorized, "no certificate");
  StorePtr store(X509_STORE_new());
  for (const CertificatePtr& ca : TRY(parseCertificates(caPem))) X509_STORE_add_cert(store.get(), ca.get());
  CertificatePtr leaf = certificateFromDer(chainDer.front());
  if (!leaf) return failOpensslInput("not a certificate");
  std::vector<CertificatePtr> intermediates;
  std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> untrusted(sk_X509_new_null(),
                                                                       [](STACK_OF(X509) * s) { sk_X509_free(s); });
  for (size_t i = 1; i < chainDer.size(); ++i) {
    if (CertificatePtr one = certificateFromDer(chainDer[i])) {
      sk_X509_push(untrusted.get(), one.get());
      intermediates.push_back(std::move(one));
    }
  }
  StoreContextPtr context(X509_STORE_CTX_new());
  if (!X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), untrusted.get())) return failOpenssl("verify certificate");
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context.get()), unixSeconds);
  if (clientAuth) X509_STORE_CTX_set_purpose(context.get(), X509_PURPOSE_SSL_CLIENT);
  if (X509_verify_cert(context.get()) == 1) return {};
  ERR_clear_error();
  return fail(Reason::Unauthorized,
              std::string("x509: ") + X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
}

bool keyMatchesCertificate(std::string_view privateKeyPem, std::string_view certificatePem) {
  auto key = parsePrivateKey(privateKeyPem);
  auto certificates = parseCertificates(certificatePem);
  bool matches = key && certificates && X509_check_private_key(certificates->front().get(), key->get()) == 1;
  ERR_clear_error();
  return matches;
}

}  // namespace knarr::wire
