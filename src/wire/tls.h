// TLS over env::Stream: certificates in, an encrypted stream out. OpenSSL does the work; no type of
// it shows here.
//
// A context is shared by many connections and may be reloaded: connections made afterwards use the
// new certificates, connections that exist keep theirs. Certificate validity is judged by the Env's
// clock. Source: RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 7301 (ALPN);
// k8s.io/apiserver/pkg/server/secure_serving.go.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/async.h"
#include "base/result.h"
#include "env/env.h"

namespace knarr::wire {

enum class TlsVersion : uint8_t { Tls12, Tls13 };

// The client certificate of a connection.
struct TlsPeer {
  std::string commonName;                  // subject CN: the user name
  std::vector<std::string> organizations;  // subject O, in order: the groups
  std::string uid;                         // subject attribute 1.3.6.1.4.1.57683.2, "" when absent
  std::vector<std::string> chainDer;       // leaf first, as the client sent it
  int64_t notAfterUnixSeconds = 0;
  // True when the chain leads to TlsServerConfig::clientCaPem, is valid now and may be used by
  // clients. Otherwise verifyError says why; the connection is served all the same and the
  // authenticator answers 401.
  bool verified = false;
  std::string verifyError;
};

struct TlsServerConfig {
  std::string certificatePem;  // leaf first, then intermediates
  std::string privateKeyPem;
  std::string clientCaPem;  // bundle; "" accepts client certificates as unverified
  bool requestClientCertificate = true;
  bool requireClientCertificate = false;  // refuses the handshake without a verified one
  struct Sni {
    std::vector<std::string> hostPatterns;  // "api.example.com", "*.example.com"; empty: the certificate's own names
    std::string certificatePem;
    std::string privateKeyPem;
  };
  std::vector<Sni> sni;
  TlsVersion versionMin = TlsVersion::Tls12;
  // IANA names of TLS 1.2 suites in order; empty: OpenSSL's modern AEAD defaults. TLS 1.3 suites
  // are not selectable, as in Go.
  std::vector<std::string> cipherSuites;
  std::vector<std::string> alpn = {"h2", "http/1.1"};
};

struct TlsClientConfig {
  std::string caPem;  // bundle the server must lead to; "": the system's
  std::string certificatePem;
  std::string privateKeyPem;
  bool insecureSkipVerify = false;
  TlsVersion versionMin = TlsVersion::Tls12;
  std::vector<std::string> alpn = {"h2", "http/1.1"};
};

class TlsServerContext {
 public:
  // Fails with Invalid when a certificate, key or bundle does not parse or the key does not match.
  static Result<std::shared_ptr<TlsServerContext>> make(env::Clock& clock, const TlsServerConfig& config);
  ~TlsServerContext();
  // On failure the old certificates stay in use.
  Result<void> reload(const TlsServerConfig& config);

  struct State;
  std::shared_ptr<State> state() const { return state_; }

 private:
  explicit TlsServerContext(env::Clock& clock) : clock_(clock) {}
  env::Clock& clock_;
  std::shared_ptr<State> state_;
};

class TlsClientContext {
 public:
  static Result<std::shared_ptr<TlsClientContext>> make(env::Clock& clock, const TlsClientConfig& config);
  ~TlsClientContext();
  Result<void> reload(const TlsClientConfig& config);

  struct State;
  std::shared_ptr<State> state() const { return state_; }

 private:
  explicit TlsClientContext(env::Clock& clock) : clock_(clock) {}
  env::Clock& clock_;
  std::shared_ptr<State> state_;
};

// An encrypted stream whose handshake is done.
class TlsStream : public env::Stream {
 public:
  // The protocol both sides chose: "h2", "http/1.1" or "".
  virtual std::string alpn() const = 0;
  // The client's certificate (server side); null without one.
  virtual std::shared_ptr<const TlsPeer> peer() const = 0;
  // "TLS 1.3" style name for logs.
  virtual std::string version() const = 0;
};

// Runs the handshake within `timeout`. The raw stream is closed on failure.
async::Task<Result<std::unique_ptr<TlsStream>>> acceptTls(env::Env environment, std::shared_ptr<TlsServerContext> context,
                                                          std::unique_ptr<env::Stream> raw, env::Duration timeout);
// serverName is what the certificate must be valid for: a DNS name (also sent as SNI) or an IP
// address.
async::Task<Result<std::unique_ptr<TlsStream>>> connectTls(env::Env environment, std::shared_ptr<TlsClientContext> context,
                                                           std::unique_ptr<env::Stream> raw, std::string serverName,
                                                           env::Duration timeout, std::vector<std::string> alpn = {});

}  // namespace knarr::wire
