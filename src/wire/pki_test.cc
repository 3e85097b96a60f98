#include "wire/pki.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "wire/openssl_ptr.h"

namespace knarr::wire {
namespace {

constexpr int64_t kNow = 1767225600;
constexpr int64_t kYear = 365 * 86400;

class PkiTest : public testing::Test {
 protected:
  KeyAndCertificate ca = *makeCertificateAuthority("knarr-ca", kNow, kNow + 10 * kYear);
  CertificateSpec spec() {
    CertificateSpec s;
    s.commonName = "system:node:a";
    s.organizations = {"system:nodes", "second"};
    s.dnsNames = {"a.example.com", "localhost"};
    s.ipAddresses = {"127.0.0.1", "::1"};
    s.notBeforeUnixSeconds = kNow;
    s.notAfterUnixSeconds = kNow + kYear;
    s.clientAuth = true;
    return s;
  }
  std::vector<std::string> chainOf(const std::string& pem) {
    std::vector<std::string> chain;
    for (auto& one : *parseCertificates(pem)) chain.push_back(derOf(one.get()));
    return chain;
  }
};

TEST_F(PkiTest, issuedCertificateSaysWhatWasAsked) {
  auto issued = issueCertificate(ca, spec());
  ASSERT_TRUE(issued) << issued.error().message();
  auto info = parseCertificate(issued->certificatePem);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->commonName, "system:node:a");
  EXPECT_EQ(info->organizations, (std::vector<std::string>{"system:nodes", "second"}));
  EXPECT_EQ(info->dnsNames, (std::vector<std::string>{"a.example.com", "localhost"}));
  EXPECT_EQ(info->ipAddresses, (std::vector<std::string>{"127.0.0.1", "::1"}));
  EXPECT_EQ(info->issuerCommonName, "knarr-ca");
  EXPECT_EQ(info->notBeforeUnixSeconds, kNow);
  EXPECT_EQ(info->notAfterUnixSeconds, kNow + kYear);
  EXPECT_FALSE(info->isCa);
  EXPECT_TRUE(parseCertificate(ca.certificatePem)->isCa);
  EXPECT_TRUE(keyMatchesCertificate(issued->privateKeyPem, issued->certificatePem));
  EXPECT_FALSE(keyMatchesCertificate(ca.privateKeyPem, issued->certificatePem));
}

TEST_F(PkiTest, chainsVerifyAtATimeForAPurpose) {
  auto client = *issueCertificate(ca, spec());
  EXPECT_TRUE(verifyCertificateChain(chainOf(client.certificatePem), ca.certificatePem, kNow + 10, true));
  EXPECT_FALSE(verifyCertificateChain(chainOf(client.certificatePem), ca.certificatePem, kNow + 2 * kYear, true));
  EXPECT_FALSE(verifyCertificateChain(chainOf(client.certificatePem), ca.certificatePem, kNow - 10, true));
  auto other = *makeCertificateAuthority("knarr-ca", kNow, kNow + kYear);
  auto wrong = verifyCertificateChain(chainOf(client.certificatePem), other.certificatePem, kNow + 10, true);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().reason(), Reason::Unauthorized);
  CertificateSpec serverOnly = spec();
  serverOnly.clientAuth = false;
  serverOnly.serverAuth = true;
  auto server = *issueCertificate(ca, serverOnly);
  EXPECT_FALSE(verifyCertificateChain(chainOf(server.certificatePem), ca.certificatePem, kNow + 10, true));
  EXPECT_TRUE(verifyCertificateChain(chainOf(server.certificatePem), ca.certificatePem, kNow + 10, false));
  // Through an intermediate, which the client must send.
  CertificateSpec middleSpec = spec();
  middleSpec.commonName = "middle";
  middleSpec.isCa = true;
  middleSpec.clientAuth = false;
  auto middle = *issueCertificate(ca, middleSpec);
  auto leaf = *issueCertificate(middle, spec());
  auto chain = chainOf(leaf.certificatePem + middle.certificatePem);
  EXPECT_TRUE(verifyCertificateChain(chain, ca.certificatePem, kNow + 10, true));
  EXPECT_FALSE(verifyCertificateChain({chain[0]}, ca.certificatePem, kNow + 10, true));
  EXPECT_FALSE(verifyCertificateChain({}, ca.certificatePem, kNow, true));
}

TEST_F(PkiTest, requestsAreSignedAsAsked) {
  std::string key = *makeEcKey();
  auto request = makeCertificateRequest(key, spec());
  ASSERT_TRUE(request) << request.error().message();
  auto parsed = parseCertificateRequest(*request);
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->commonName, "system:node:a");
  EXPECT_EQ(parsed->organizations, (std::vector<std::string>{"system:nodes", "second"}));
  EXPECT_EQ(parsed->dnsNames, spec().dnsNames);
  auto signedPem = signCertificateRequest(ca, *request, kNow, kNow + kYear, {"digital signature", "client auth"});
  ASSERT_TRUE(signedPem) << signedPem.error().message();
  EXPECT_TRUE(keyMatchesCertificate(key, *signedPem));
  EXPECT_TRUE(verifyCertificateChain(chainOf(*signedPem), ca.certificatePem, kNow + 10, true));
  EXPECT_EQ(parseCertificate(*signedPem)->dnsNames, spec().dnsNames);
  EXPECT_FALSE(signCertificateRequest(ca, *request, kNow, kNow + kYear, {"no such usage"}));
  EXPECT_FALSE(parseCertificateRequest("garbage"));
}

TEST_F(PkiTest, malformedInputIsInvalid) {
  for (std::string bad : {std::string(), std::string("x"), ca.certificatePem.substr(0, 100)}) {
    EXPECT_FALSE(parseCertificate(bad));
    EXPECT_FALSE(keyMatchesCertificate(bad, ca.certificatePem));
    EXPECT_FALSE(publicKeyPem(bad));
    EXPECT_FALSE(signJwt(bad, "", "{}"));
  }
  CertificateSpec s = spec();
  s.dnsNames = {"a,DNS:evil.example.com"};
  EXPECT_EQ(issueCertificate(ca, s).error().reason(), Reason::Invalid);
  s = spec();
  s.ipAddresses = {"not an address"};
  EXPECT_FALSE(issueCertificate(ca, s));
  s = spec();
  s.notAfterUnixSeconds = s.notBeforeUnixSeconds;
  EXPECT_FALSE(issueCertificate(ca, s));
}

TEST(Jwt, bothAlgorithmsRoundTrip) {
  for (std::string key : {*makeEcKey(), *makeRsaKey()}) {
    std::string publicKey = *publicKeyPem(key);
    EXPECT_EQ(*publicKeyPem(publicKey), publicKey);
    std::string id = *jwtKeyId(publicKey);
    auto token = signJwt(key, id, R"({"sub":"a"})");
    ASSERT_TRUE(token) << token.error().message();
    EXPECT_EQ(*verifyJwt(publicKey, *token), R"({"sub":"a"})");
    EXPECT_NE(splitJwt(*token)->headerJson.find(id), std::string::npos);
    std::string tampered = *token;
    tampered[tampered.find('.') + 2] ^= 1;
    EXPECT_EQ(verifyJwt(publicKey, tampered).error().reason(), Reason::Unauthorized);
    std::string other = *publicKeyPem(*makeEcKey());
    EXPECT_EQ(verifyJwt(other, *token).error().reason(), Reason::Unauthorized);
    auto jwk = jsonWebKey(publicKey);
    ASSERT_TRUE(jwk);
    EXPECT_NE(jwk->find("\"kid\":\"" + id + "\""), std::string::npos);
  }
  EXPECT_FALSE(signJwt(*makeEcKey(), "", "{}")->empty());
}

TEST(Jwt, refusesWhatIsNoSignedToken) {
  std::string key = *makeEcKey();
  std::string publicKey = *publicKeyPem(key);
  std::string none = base64UrlEncode(R"({"alg":"none"})") + "." + base64UrlEncode("{}") + ".";
  std::string hmac = base64UrlEncode(R"({"alg":"HS256"})") + "." + base64UrlEncode("{}");
  hmac += "." + base64UrlEncode(hmacSha256(publicKey, hmac));
  for (const std::string& bad :
       {std::string(), std::string("a.b"), std::string("a.b.c.d"), none, hmac, std::string(70'000, 'a'), std::string("!.!.!")})
    EXPECT_EQ(verifyJwt(publicKey, bad).error().reason(), Reason::Unauthorized) << bad.substr(0, 80);
}

// RFC 7515, appendix A.3: a token made by somebody else.
TEST(Jwt, acceptsTheExampleOfTheRfc) {
  // The public key of A.3.1 in PEM.
  const char* publicKey =
      "-----BEGIN PUBLIC KEY-----\n"
      "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
      "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
      "-----END PUBLIC KEY-----\n";
  const char* token =
      "eyJhbGciOiJFUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
      "fQ."
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
  auto payload = verifyJwt(publicKey, token);
  ASSERT_TRUE(payload) << payload.error().message();
  EXPECT_TRUE(payload->starts_with("{\"iss\":\"joe\""));
}

TEST(Digests, knownAnswers) {
  EXPECT_EQ(toHex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(toHex(sha1("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  // RFC 4231, case 2.
  EXPECT_EQ(toHex(hmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_TRUE(equalsConstantTime("abc", "abc"));
  EXPECT_FALSE(equalsConstantTime("abc", "abd"));
  EXPECT_FALSE(equalsConstantTime("abc", "ab"));
}

}  // namespace
}  // namespace knarr::wire
