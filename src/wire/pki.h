// Keys, certificates, signatures and digests: PEM, DER and bytes in and out. OpenSSL does the work.
//
// These functions compute (RSA keys take up to seconds): call them in Executor::block when the loop
// must not wait. Source: RFC 5280 (X.509), RFC 7515/7518 (JWS ES256, RS256);
// k8s.io/client-go/util/cert.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace knarr::wire {

struct KeyAndCertificate {
  std::string certificatePem;
  std::string privateKeyPem;  // PKCS#8
};

struct CertificateSpec {
  std::string commonName;
  std::vector<std::string> organizations;
  std::vector<std::string> dnsNames;
  std::vector<std::string> ipAddresses;
  int64_t notBeforeUnixSeconds = 0;
  int64_t notAfterUnixSeconds = 0;
  bool serverAuth = false;  // extended key usages
  bool clientAuth = false;
  bool isCa = false;  // issueCertificate only: an intermediate
};

// PKCS#8 PEM of a fresh key.
Result<std::string> makeEcKey();
Result<std::string> makeRsaKey(int bits = 2048);
// "PUBLIC KEY" PEM of a private key or certificate PEM.
Result<std::string> publicKeyPem(std::string_view privateKeyOrCertificatePem);

// A self-signed CA with an ECDSA P-256 key.
Result<KeyAndCertificate> makeCertificateAuthority(std::string commonName, int64_t notBeforeUnixSeconds,
                                                   int64_t notAfterUnixSeconds);
// A fresh P-256 key and its certificate signed by `ca`.
Result<KeyAndCertificate> issueCertificate(const KeyAndCertificate& ca, const CertificateSpec& spec);

// What a PKCS#10 "CERTIFICATE REQUEST" PEM asks for; its self-signature is checked (Invalid
// otherwise).
struct CertificateRequest {
  std::string commonName;
  std::vector<std::string> organizations;
  std::vector<std::string> dnsNames;
  std::vector<std::string> ipAddresses;
  std::vector<std::string> emailAddresses;
  std::vector<std::string> uris;
};
Result<CertificateRequest> parseCertificateRequest(std::string_view pem);
Result<std::string> makeCertificateRequest(std::string_view privateKeyPem, const CertificateSpec& spec);
// Signs a request: subject and names of the request, validity and usages as given. Usages: the
// names of certificates.k8s.io/v1 KeyUsage ("digital signature", "client auth", ...). Returns the
// certificate PEM.
Result<std::string> signCertificateRequest(const KeyAndCertificate& ca, std::string_view requestPem, int64_t notBeforeUnixSeconds,
                                           int64_t notAfterUnixSeconds, const std::vector<std::string>& usages);

struct CertificateInfo {
  std::string commonName;
  std::vector<std::string> organizations;
  std::vector<std::string> dnsNames;
  std::vector<std::string> ipAddresses;
  std::string issuerCommonName;
  std::string serialHex;
  std::string sha256Hex;  // of the DER
  int64_t notBeforeUnixSeconds = 0;
  int64_t notAfterUnixSeconds = 0;
  bool isCa = false;
};
// The first certificate of a PEM text, or a DER.
Result<CertificateInfo> parseCertificate(std::string_view pemOrDer);
// Checks leaf first chain against a CA bundle at a time. clientAuth: the leaf must be usable by
// clients.
Result<void> verifyCertificateChain(const std::vector<std::string>& chainDer, std::string_view caPem, int64_t unixSeconds,
                                    bool clientAuth);
// True when both PEMs parse and the key belongs to the certificate.
bool keyMatchesCertificate(std::string_view privateKeyPem, std::string_view certificatePem);

enum class JwtAlgorithm : uint8_t { Es256, Rs256 };
// Compact JWS over `payloadJson`; the algorithm follows from the key (P-256: ES256, RSA: RS256).
// keyId goes into "kid".
Result<std::string> signJwt(std::string_view privateKeyPem, std::string_view keyId, std::string_view payloadJson);
struct JwtParts {
  std::string headerJson;
  std::string payloadJson;
};
// The parts without any check of the signature; Invalid when the text is not a compact JWS.
Result<JwtParts> splitJwt(std::string_view token);
// The payload when the signature is right for one public key; the header's alg must fit the key.
// Unauthorized otherwise.
Result<std::string> verifyJwt(std::string_view publicKeyPem, std::string_view token);
// Key id of a public key as upstream computes it: base64url of SHA-256 over the PKIX DER.
// Source: k8s.io/kubernetes/pkg/serviceaccount/jwt.go, keyIDFromPublicKey.
Result<std::string> jwtKeyId(std::string_view publicKeyPem);
// The JSON Web Key of a public key, one JSON object with use, kty, kid, alg and the key's numbers.
// Source: RFC 7517.
Result<std::string> jsonWebKey(std::string_view publicKeyPem);

// Raw 32 bytes.
std::string sha256(std::string_view bytes);
std::string hmacSha256(std::string_view key, std::string_view bytes);
// Raw 20 bytes; only where a protocol demands it (WebSocket handshake).
std::string sha1(std::string_view bytes);
// Compares without leaking where they differ; lengths are not secret.
bool equalsConstantTime(std::string_view a, std::string_view b);

}  // namespace knarr::wire
