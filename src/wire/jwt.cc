// Compact JWS (RFC 7515) with ES256 and RS256 (RFC 7518), key ids and JSON Web Keys (RFC 7517),
// digests.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/strings.h"
#include "wire/openssl_ptr.h"
#include "wire/pki.h"

namespace knarr::wire {
namespace {

// An ES256 signature is two 32-byte numbers (RFC 7518, 3.4); OpenSSL speaks DER.
constexpr size_t kEs256NumberBytes = 32;
// Source: k8s.io/apiserver bounds nothing here; no token of ours comes near.
constexpr size_t kTokenBytesMax = 64 << 10;

using EcdsaPtr = std::unique_ptr<ECDSA_SIG, OpensslFree<ECDSA_SIG_free>>;

Result<JwtAlgorithm> algorithmOf(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "RSA")) return JwtAlgorithm::Rs256;
  char group[64] = "";
  size_t size = 0;
  if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, &size) &&
      std::string_view(group, size) == "prime256v1")
    return JwtAlgorithm::Es256;
  return fail(Reason::Invalid, "JWT keys are RSA or ECDSA P-256");
}
std::string_view algorithmName(JwtAlgorithm algorithm) { return algorithm == JwtAlgorithm::Es256 ? "ES256" : "RS256"; }

const unsigned char* unsignedBytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Result<std::string> sign(EVP_PKEY* key, JwtAlgorithm algorithm, std::string_view text) {
  DigestContextPtr context(EVP_MD_CTX_new());
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, unsignedBytes(text), text.size()) != 1)
    return failOpenssl("sign a token");
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, unsignedBytes(text),
                     text.size()) != 1)
    return failOpenssl("sign a token");
  signature.resize(size);
  if (algorithm == JwtAlgorithm::Rs256) return signature;
  const unsigned char* der = unsignedBytes(signature);
  EcdsaPtr numbers(d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(signature.size())));
  if (!numbers) return failOpenssl("sign a token");
  std::string raw(2 * kEs256NumberBytes, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(numbers.get()), out, kEs256NumberBytes);
  BN_bn2binpad(ECDSA_SIG_get0_s(numbers.get()), out + kEs256NumberBytes, kEs256NumberBytes);
  return raw;
}

bool signatureFits(EVP_PKEY* key, JwtAlgorithm algorithm, std::string_view text, std::string signature) {
  if (algorithm == JwtAlgorithm::Es256) {
    if (signature.size() != 2 * kEs256NumberBytes) return false;
    EcdsaPtr numbers(ECDSA_SIG_new());
    BignumPtr r(BN_bin2bn(unsignedBytes(signature), kEs256NumberBytes, nullptr));
    BignumPtr s(BN_bin2bn(unsignedBytes(signature) + kEs256NumberBytes, kEs256NumberBytes, nullptr));
    ECDSA_SIG_set0(numbers.get(), r.release(), s.release());
    unsigned char* der = nullptr;
    int size = i2d_ECDSA_SIG(numbers.get(), &der);
    if (size <= 0) return false;
    signature.assign(reinterpret_cast<char*>(der), static_cast<size_t>(size));
    OPENSSL_free(der);
  }
  DigestContextPtr context(EVP_MD_CTX_new());
  bool fits = EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
              EVP_DigestVerify(context.get(), unsignedBytes(signature), signature.size(), unsignedBytes(text), text.size()) == 1;
  ERR_clear_error();
  return fits;
}

Result<KeyPtr> parsePublicKey(std::string_view pem) {
  KeyPtr key(PEM_read_bio_PUBKEY(readOnlyBio(pem).get(), nullptr, nullptr, nullptr));
  if (!key) return failOpensslInput("public key is not a PEM key");
  return key;
}

// The string value of a top-level member of a JOSE header. These headers are flat objects of
// strings; anything else gives nothing, and the token is refused.
std::string headerMember(std::string_view json, std::string_view name) {
  std::string key = "\"" + std::string(name) + "\"";
  size_t at = json.find(key);
  if (at == std::string_view::npos || json.find(key, at + 1) != std::string_view::npos) return "";
  std::string_view rest = trim(json.substr(at + key.size()));
  if (!rest.starts_with(':')) return "";
  rest = trim(rest.substr(1));
  if (!rest.starts_with('"')) return "";
  size_t end = rest.find('"', 1);
  if (end == std::string_view::npos) return "";
  std::string_view value = rest.substr(1, end - 1);
  return value.find('\\') == std::string_view::npos ? std::string(value) : "";
}

Result<std::string> publicDer(EVP_PKEY* key) {
  unsigned char* bytes = nullptr;
  int size = i2d_PUBKEY(key, &bytes);
  if (size <= 0) return failOpenssl("encode public key");
  std::string der(reinterpret_cast<char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

Result<std::string> numberBase64Url(EVP_PKEY* key, const char* name, int padTo) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return failOpenssl("read public key");
  BignumPtr number(raw);
  std::string bytes(static_cast<size_t>(std::max(padTo, BN_num_bytes(raw))), '\0');
  BN_bn2binpad(raw, reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  return base64UrlEncode(bytes);
}

}  // namespace

Result<std::string> signJwt(std::string_view privateKeyPem, std::string_view keyId, std::string_view payloadJson) {
  KeyPtr key = TRY(parsePrivateKey(privateKeyPem));
  JwtAlgorithm algorithm = TRY(algorithmOf(key.get()));
  // Source: go-jose's member order, which tokens of upstream show.
  std::string header = "{\"alg\":\"" + std::string(algorithmName(algorithm)) + "\",\"kid\":\"" + std::string(keyId) + "\"}";
  std::string text = base64UrlEncode(header) + "." + base64UrlEncode(payloadJson);
  std::string signature = TRY(sign(key.get(), algorithm, text));
  return text + "." + base64UrlEncode(signature);
}

Result<JwtParts> splitJwt(std::string_view token) {
  if (token.size() > kTokenBytesMax) return fail(Reason::Invalid, "token is longer than 64 KiB");
  auto parts = split(token, '.');
  if (parts.size() != 3) return fail(Reason::Invalid, "token does not have three parts");
  auto header = base64UrlDecode(parts[0]);
  auto payload = base64UrlDecode(parts[1]);
  if (!header || !payload || parts[2].empty()) return fail(Reason::Invalid, "token parts are not base64url");
  return JwtParts{std::move(*header), std::move(*payload)};
}

Result<std::string> verifyJwt(std::string_view publicKeyPem, std::string_view token) {
  auto parts = splitJwt(token);
  if (!parts) return fail(Reason::Unauthorized, parts.error().message());
  KeyPtr key = TRY(parsePublicKey(publicKeyPem));
  JwtAlgorithm algorithm = TRY(algorithmOf(key.get()));
  if (headerMember(parts->headerJson, "alg") != algorithmName(algorithm))
    return fail(Reason::Unauthorized, "token algorithm does not fit the key");
  size_t dot = token.rfind('.');
  auto signature = base64UrlDecode(token.substr(dot + 1));
  if (!signature || !signatureFits(key.get(), algorithm, token.substr(0, dot), std::move(*signature)))
    return fail(Reason::Unauthorized, "token signature is not valid");
  return std::move(parts->payloadJson);
}

Result<std::string> jwtKeyId(std::string_view publicKeyPem) {
  KeyPtr key = TRY(parsePublicKey(publicKeyPem));
  return base64UrlEncode(sha256(TRY(publicDer(key.get()))));
}

Result<std::string> jsonWebKey(std::string_view publicKeyPem) {
  KeyPtr key = TRY(parsePublicKey(publicKeyPem));
  JwtAlgorithm algorithm = TRY(algorithmOf(key.get()));
  std::string keyId = base64UrlEncode(sha256(TRY(publicDer(key.get()))));
  if (algorithm == JwtAlgorithm::Rs256) {
    return "{\"use\":\"sig\",\"kty\":\"RSA\",\"kid\":\"" + keyId + "\",\"alg\":\"RS256\",\"n\":\"" +
           TRY(numberBase64Url(key.get(), OSSL_PKEY_PARAM_RSA_N, 0)) + "\",\"e\":\"" +
           TRY(numberBase64Url(key.get(), OSSL_PKEY_PARAM_RSA_E, 0)) + "\"}";
  }
  return "{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"" + keyId + "\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"x\":\"" +
         TRY(numberBase64Url(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, kEs256NumberBytes)) + "\",\"y\":\"" +
         TRY(numberBase64Url(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, kEs256NumberBytes)) + "\"}";
}

std::string sha256(std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(unsignedBytes(bytes), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string hmacSha256(std::string_view key, std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), unsignedBytes(bytes), bytes.size(),
       reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  return digest;
}

std::string sha1(std::string_view bytes) {
  std::string digest(SHA_DIGEST_LENGTH, '\0');
  SHA1(unsignedBytes(bytes), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

bool equalsConstantTime(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace knarr::wire
