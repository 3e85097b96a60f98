#include "wire/tls_context.h"

#include <algorithm>

#include "base/strings.h"

namespace knarr::wire {

int tlsVerificationIndex() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

namespace {

// Verifies with the Env's clock. A server without requireClientCertificate goes on whatever comes
// out: the authenticator decides what an unverified certificate is worth.
int verifyPeer(X509_STORE_CTX* store, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* verification = static_cast<TlsVerification*>(SSL_get_ex_data(ssl, tlsVerificationIndex()));
  const TlsSettings& settings = *verification->settings;
  if (settings.insecureSkipVerify) return 1;
  if (settings.server && !settings.verifiesClients) {
    verification->error = "no client certificate authority is configured";
    return settings.requireClientCertificate ? 0 : 1;
  }
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store), settings.clock.unixSeconds());
  verification->verified = X509_verify_cert(store) == 1;
  if (!verification->verified) verification->error = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
  return verification->verified || (settings.server && !settings.requireClientCertificate) ? 1 : 0;
}

int chooseAlpn(SSL*, const unsigned char** chosen, unsigned char* chosenSize, const unsigned char* offered, unsigned offeredSize,
               void* argument) {
  const auto& settings = *static_cast<const TlsSettings*>(argument);
  unsigned char* out = nullptr;
  int result = SSL_select_next_proto(&out, chosenSize, reinterpret_cast<const unsigned char*>(settings.alpnWire.data()),
                                     static_cast<unsigned>(settings.alpnWire.size()), offered, offeredSize);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *chosen = out;
  return SSL_TLSEXT_ERR_OK;
}

int chooseCertificate(SSL* ssl, int*, void* argument) {
  const auto& settings = *static_cast<const TlsSettings*>(argument);
  const char* raw = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (!raw) return SSL_TLSEXT_ERR_NOACK;
  std::string name = toLower(raw);
  size_t dot = name.find('.');
  std::string wildcard = dot == std::string::npos ? "" : "*" + name.substr(dot);
  for (const std::string& wanted : {name, wildcard}) {
    auto found = std::ranges::find(settings.sniPatterns, wanted, &std::pair<std::string, SSL_CTX*>::first);
    if (found == settings.sniPatterns.end()) continue;
    SSL_set_SSL_CTX(ssl, found->second);
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

Result<void> useCertificate(SSL_CTX* context, const std::string& certificatePem, const std::string& privateKeyPem) {
  auto certificates = TRY(parseCertificates(certificatePem));
  KeyPtr key = TRY(parsePrivateKey(privateKeyPem));
  if (SSL_CTX_use_certificate(context, certificates.front().get()) != 1) return failOpensslInput("TLS certificate");
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1)
    return failOpensslInput("TLS private key does not belong to the certificate");
  for (size_t i = 1; i < certificates.size(); ++i)
    if (SSL_CTX_add1_chain_cert(context, certificates[i].get()) != 1) return failOpensslInput("TLS certificate chain");
  return {};
}

Result<void> trust(SSL_CTX* context, const std::string& caPem, bool announce) {
  for (const CertificatePtr& ca : TRY(parseCertificates(caPem))) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get());
    if (announce) SSL_CTX_add_client_CA(context, ca.get());
  }
  ERR_clear_error();  // a certificate twice in the bundle is no harm
  return {};
}

Result<std::string> alpnWireText(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) return fail(Reason::Invalid, "ALPN names have 1 to 255 bytes");
    wire.push_back(static_cast<char>(protocol.size()));
    wire += protocol;
  }
  return wire;
}

Result<SslContextPtr> newContext(bool server, TlsVersion versionMin) {
  SslContextPtr context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (!context) return failOpenssl("make a TLS context");
  SSL_CTX* raw = context.get();
  SSL_CTX_set_min_proto_version(raw, versionMin == TlsVersion::Tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  // No session outlives its connection: a resumed one would carry a client identity that is not
  // verified anew.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_options(
      raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | (server ? SSL_OP_CIPHER_SERVER_PREFERENCE : 0));
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_cert_verify_callback(raw, verifyPeer, nullptr);
  // AEAD suites with forward secrecy; the list of Go's crypto/tls defaults without its CBC and RSA
  // key exchange ones.
  SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20");
  return context;
}

Result<void> useCipherSuites(SSL_CTX* context, const std::vector<std::string>& names) {
  std::vector<std::string> openssl;
  for (const std::string& name : names) {
    if (name == "TLS_AES_128_GCM_SHA256" || name == "TLS_AES_256_GCM_SHA384" || name == "TLS_CHACHA20_POLY1305_SHA256")
      continue;  // TLS 1.3 suites are always on
    std::string standard = name;
    // Go's older spelling.
    if (standard.ends_with("CHACHA20_POLY1305")) standard += "_SHA256";
    const char* known = OPENSSL_cipher_name(standard.c_str());
    if (!known || std::string_view(known) == "(NONE)")
      return fail(Reason::Invalid, "TLS cipher suite " + quote(name) + " is not known");
    openssl.emplace_back(known);
  }
  if (!openssl.empty() && SSL_CTX_set_cipher_list(context, join(openssl, ":").c_str()) != 1)
    return failOpensslInput("TLS cipher suites");
  return {};
}

Result<SslContextPtr> serverSslContext(const TlsServerConfig& config, const std::string& certificatePem,
                                       const std::string& privateKeyPem) {
  SslContextPtr context = TRY(newContext(true, config.versionMin));
  TRY(useCertificate(context.get(), certificatePem, privateKeyPem));
  if (!config.clientCaPem.empty()) TRY(trust(context.get(), config.clientCaPem, true));
  TRY(useCipherSuites(context.get(), config.cipherSuites));
  if (config.requestClientCertificate || config.requireClientCertificate) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | (config.requireClientCertificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       nullptr);
  }
  return context;
}

Result<std::shared_ptr<const TlsSettings>> serverSettings(env::Clock& clock, const TlsServerConfig& config) {
  auto settings = std::make_shared<TlsSettings>(clock, true);
  settings->context = TRY(serverSslContext(config, config.certificatePem, config.privateKeyPem));
  settings->alpnWire = TRY(alpnWireText(config.alpn));
  settings->verifiesClients = !config.clientCaPem.empty();
  settings->requireClientCertificate = config.requireClientCertificate;
  for (const TlsServerConfig::Sni& sni : config.sni) {
    SslContextPtr context = TRY(serverSslContext(config, sni.certificatePem, sni.privateKeyPem));
    std::vector<std::string> patterns = sni.hostPatterns;
    if (patterns.empty()) {
      auto certificates = TRY(parseCertificates(sni.certificatePem));
      auto* names =
          static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificates.front().get(), NID_subject_alt_name, nullptr, nullptr));
      for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
        const GENERAL_NAME* one = sk_GENERAL_NAME_value(names, i);
        if (one->type != GEN_DNS) continue;
        patterns.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(one->d.dNSName)),
                              static_cast<size_t>(ASN1_STRING_length(one->d.dNSName)));
      }
      GENERAL_NAMES_free(names);
    }
    for (const std::string& pattern : patterns) settings->sniPatterns.emplace_back(toLower(pattern), context.get());
    settings->sniContexts.push_back(std::move(context));
  }
  SSL_CTX* raw = settings->context.get();
  SSL_CTX_set_tlsext_servername_callback(raw, chooseCertificate);
  SSL_CTX_set_tlsext_servername_arg(raw, settings.get());
  SSL_CTX_set_alpn_select_cb(raw, chooseAlpn, settings.get());
  for (const SslContextPtr& sni : settings->sniContexts) SSL_CTX_set_alpn_select_cb(sni.get(), chooseAlpn, settings.get());
  return settings;
}

Result<std::shared_ptr<const TlsSettings>> clientSettings(env::Clock& clock, const TlsClientConfig& config) {
  auto settings = std::make_shared<TlsSettings>(clock, false);
  settings->context = TRY(newContext(false, config.versionMin));
  SSL_CTX* raw = settings->context.get();
  settings->insecureSkipVerify = config.insecureSkipVerify;
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  if (!config.caPem.empty()) {
    TRY(trust(raw, config.caPem, false));
  } else if (!config.insecureSkipVerify) {
    SSL_CTX_set_default_verify_paths(raw);
  }
  if (!config.certificatePem.empty()) TRY(useCertificate(raw, config.certificatePem, config.privateKeyPem));
  settings->alpnWire = TRY(alpnWireText(config.alpn));
  SSL_CTX_set_alpn_protos(raw, reinterpret_cast<const unsigned char*>(settings->alpnWire.data()),
                          static_cast<unsigned>(settings->alpnWire.size()));
  return settings;
}

}  // namespace

TlsServerContext::~TlsServerContext() = default;
TlsClientContext::~TlsClientContext() = default;

Result<std::shared_ptr<TlsServerContext>> TlsServerContext::make(env::Clock& clock, const TlsServerConfig& config) {
  std::shared_ptr<TlsServerContext> context(new TlsServerContext(clock));
  context->state_ = std::make_shared<State>();
  TRY(context->reload(config));
  return context;
}
Result<void> TlsServerContext::reload(const TlsServerConfig& config) {
  state_->current = TRY(serverSettings(clock_, config));
  return {};
}

Result<std::shared_ptr<TlsClientContext>> TlsClientContext::make(env::Clock& clock, const TlsClientConfig& config) {
  std::shared_ptr<TlsClientContext> context(new TlsClientContext(clock));
  context->state_ = std::make_shared<State>();
  TRY(context->reload(config));
  return context;
}
Result<void> TlsClientContext::reload(const TlsClientConfig& config) {
  state_->current = TRY(clientSettings(clock_, config));
  return {};
}

}  // namespace knarr::wire
