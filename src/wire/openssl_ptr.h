// Owning pointers for OpenSSL objects and its error queue as text. Private to this room.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace knarr::wire {

template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpensslFree<BN_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<EVP_PKEY_CTX_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>>;
using CertificatePtr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, OpensslFree<X509_REQ_free>>;
using NamePtr = std::unique_ptr<X509_NAME, OpensslFree<X509_NAME_free>>;
using StorePtr = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;

// Takes the oldest entry of the thread's error queue and empties it.
std::string opensslError();
// InternalError: "what: reason".
Unexpected failOpenssl(std::string_view what);
// Invalid, for what an outsider handed in.
Unexpected failOpensslInput(std::string_view what);

BioPtr readOnlyBio(std::string_view bytes);
std::string bioBytes(BIO* bio);
Result<KeyPtr> parsePrivateKey(std::string_view pem);
// Every certificate of a PEM text; Invalid when there is none or one is malformed.
Result<std::vector<CertificatePtr>> parseCertificates(std::string_view pem);
CertificatePtr certificateFromDer(std::string_view der);
std::string derOf(X509* certificate);

// All values of one attribute of a name, in order, as UTF-8.
std::vector<std::string> nameValues(const X509_NAME* name, const ASN1_OBJECT* attribute);
std::vector<std::string> nameValues(const X509_NAME* name, int nid);

}  // namespace knarr::wire
