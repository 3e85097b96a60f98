// What a TLS context holds behind its door. Private to this room.
#pragma once

#include <map>

#include "wire/openssl_ptr.h"
#include "wire/tls.h"

namespace knarr::wire {

// One generation of certificates; connections keep theirs alive.
struct TlsSettings {
  explicit TlsSettings(env::Clock& c, bool isServer) : clock(c), server(isServer) {}
  env::Clock& clock;
  const bool server;
  SslContextPtr context;
  std::string alpnWire;  // length-prefixed names, in order of preference
  // server
  bool verifiesClients = false;
  bool requireClientCertificate = false;
  std::vector<std::pair<std::string, SSL_CTX*>> sniPatterns;  // lower case; exact names before wildcards
  std::vector<SslContextPtr> sniContexts;
  // client
  bool insecureSkipVerify = false;
};

struct TlsServerContext::State {
  std::shared_ptr<const TlsSettings> current;
};
struct TlsClientContext::State {
  std::shared_ptr<const TlsSettings> current;
};

// What the verification of one handshake found; attached to its SSL object.
struct TlsVerification {
  const TlsSettings* settings = nullptr;
  bool verified = false;
  std::string error;
};
// The index of TlsVerification among an SSL object's application data.
int tlsVerificationIndex();

}  // namespace knarr::wire
