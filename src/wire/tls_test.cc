#include "wire/tls.h"

#include <gtest/gtest.h>

#include "env/posix/posix.h"
#include "env/sim/sim.h"
#include "wire/io.h"
#include "wire/pki.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;
using async::Task;

constexpr int64_t kSimStart = 1767225600;

struct Certificates {
  explicit Certificates(int64_t now) {
    ca = *makeCertificateAuthority("ca", now - 10, now + 86400);
    CertificateSpec s;
    s.commonName = "server";
    s.dnsNames = {"api.example.com"};
    s.ipAddresses = {"127.0.0.1"};
    s.notBeforeUnixSeconds = now - 10;
    s.notAfterUnixSeconds = now + 3600;
    s.serverAuth = true;
    server = *issueCertificate(ca, s);
    CertificateSpec other = s;
    other.dnsNames = {"*.other.example.com"};
    sni = *issueCertificate(ca, other);
    s = {};
    s.commonName = "alice";
    s.organizations = {"devs", "ops"};
    s.notBeforeUnixSeconds = now - 10;
    s.notAfterUnixSeconds = now + 3600;
    s.clientAuth = true;
    client = *issueCertificate(ca, s);
  }
  TlsServerConfig serverConfig() const {
    TlsServerConfig config;
    config.certificatePem = server.certificatePem;
    config.privateKeyPem = server.privateKeyPem;
    config.clientCaPem = ca.certificatePem;
    config.sni.push_back({{}, sni.certificatePem, sni.privateKeyPem});
    return config;
  }
  TlsClientConfig clientConfig(bool withCertificate) const {
    TlsClientConfig config;
    config.caPem = ca.certificatePem;
    if (withCertificate) {
      config.certificatePem = client.certificatePem;
      config.privateKeyPem = client.privateKeyPem;
    }
    return config;
  }
  KeyAndCertificate ca, server, sni, client;
};

struct Ends {
  Result<std::unique_ptr<TlsStream>> server = fail(Reason::Unknown, "not yet");
  Result<std::unique_ptr<TlsStream>> client = fail(Reason::Unknown, "not yet");
  int done = 0;
};

Task<void> accept(env::Env e, std::shared_ptr<TlsServerContext> context, std::unique_ptr<env::Stream> raw, Ends* ends) {
  ends->server = co_await acceptTls(e, context, std::move(raw), 10s);
  ++ends->done;
}
Task<void> dial(env::Env e, std::shared_ptr<TlsClientContext> context, std::string address, std::string name, Ends* ends) {
  auto raw = co_await async::connect(e, address, 5s);
  if (raw) ends->client = co_await connectTls(e, context, std::move(*raw), name, 10s);
  ++ends->done;
}

class TlsTest : public testing::Test {
 protected:
  void handshake(const TlsServerConfig& serverConfig, const TlsClientConfig& clientConfig, std::string name) {
    auto serverContext = TlsServerContext::make(e.clock, serverConfig);
    ASSERT_TRUE(serverContext) << serverContext.error().message();
    auto clientContext = TlsClientContext::make(e.clock, clientConfig);
    ASSERT_TRUE(clientContext) << clientContext.error().message();
    ends = Ends();
    listener = *e.network.listen("127.0.0.1:0", [this, context = *serverContext](std::unique_ptr<env::Stream> raw) {
      gate.spawn(accept(e, context, std::move(raw), &ends));
    });
    gate.spawn(dial(e, *clientContext, listener->address(), name, &ends));
    ASSERT_TRUE(world.runUntil([&] { return ends.done == 2; }, 1min));
  }
  env::SimEnv world{1};
  env::Env e = world.env();
  Certificates certificates{kSimStart};
  Ends ends;
  async::Gate gate{e.executor};
  std::unique_ptr<env::Listener> listener;
};

TEST_F(TlsTest, bothSidesKnowEachOther) {
  handshake(certificates.serverConfig(), certificates.clientConfig(true), "api.example.com");
  ASSERT_TRUE(ends.server) << ends.server.error().message();
  ASSERT_TRUE(ends.client) << ends.client.error().message();
  EXPECT_EQ((*ends.server)->alpn(), "h2");
  EXPECT_EQ((*ends.client)->alpn(), "h2");
  EXPECT_EQ((*ends.server)->version(), "TLSv1.3");
  auto peer = (*ends.server)->peer();
  ASSERT_TRUE(peer);
  EXPECT_TRUE(peer->verified);
  EXPECT_EQ(peer->commonName, "alice");
  EXPECT_EQ(peer->organizations, (std::vector<std::string>{"devs", "ops"}));
  ASSERT_EQ(peer->chainDer.size(), 1U);
  EXPECT_TRUE(verifyCertificateChain(peer->chainDer, certificates.ca.certificatePem, kSimStart, true));
}

TEST_F(TlsTest, clientsWithoutCertificateAreServed) {
  handshake(certificates.serverConfig(), certificates.clientConfig(false), "127.0.0.1");
  ASSERT_TRUE(ends.server);
  ASSERT_TRUE(ends.client) << ends.client.error().message();
  EXPECT_FALSE((*ends.server)->peer());
}

TEST_F(TlsTest, unverifiedClientsAreToldApart) {
  Certificates strangers(kSimStart);
  TlsClientConfig config = strangers.clientConfig(true);
  config.caPem = certificates.ca.certificatePem;
  handshake(certificates.serverConfig(), config, "127.0.0.1");
  ASSERT_TRUE(ends.server) << ends.server.error().message();
  EXPECT_FALSE((*ends.server)->peer()->verified);
  EXPECT_NE((*ends.server)->peer()->verifyError, "");
  TlsServerConfig strict = certificates.serverConfig();
  strict.requireClientCertificate = true;
  handshake(strict, config, "127.0.0.1");
  EXPECT_FALSE(ends.server);
}

TEST_F(TlsTest, serversMustBeWhoTheySay) {
  handshake(certificates.serverConfig(), certificates.clientConfig(false), "evil.example.com");
  ASSERT_FALSE(ends.client);
  EXPECT_NE(ends.client.error().message().find("ostname mismatch"), std::string::npos) << ends.client.error().message();
  Certificates strangers(kSimStart);
  handshake(strangers.serverConfig(), certificates.clientConfig(false), "api.example.com");
  EXPECT_FALSE(ends.client);
  TlsClientConfig careless = certificates.clientConfig(false);
  careless.insecureSkipVerify = true;
  handshake(strangers.serverConfig(), careless, "evil.example.com");
  EXPECT_TRUE(ends.client);
  // The clock of the environment counts, not the machine's.
  world.runFor(std::chrono::hours(2));
  handshake(certificates.serverConfig(), certificates.clientConfig(false), "api.example.com");
  ASSERT_FALSE(ends.client);
  EXPECT_NE(ends.client.error().message().find("expired"), std::string::npos) << ends.client.error().message();
}

TEST_F(TlsTest, sniChoosesTheCertificate) {
  handshake(certificates.serverConfig(), certificates.clientConfig(true), "x.other.example.com");
  ASSERT_TRUE(ends.client) << ends.client.error().message();
  EXPECT_EQ((*ends.client)->alpn(), "h2");
  EXPECT_TRUE((*ends.server)->peer()->verified);
}

TEST_F(TlsTest, tls12AndCipherSuites) {
  TlsServerConfig config = certificates.serverConfig();
  config.cipherSuites = {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"};
  EXPECT_TRUE(TlsServerContext::make(e.clock, config));
  config.cipherSuites = {"TLS_NO_SUCH"};
  EXPECT_FALSE(TlsServerContext::make(e.clock, config));
  config = certificates.serverConfig();
  config.privateKeyPem = certificates.client.privateKeyPem;
  auto mismatch = TlsServerContext::make(e.clock, config);
  ASSERT_FALSE(mismatch);
  EXPECT_EQ(mismatch.error().reason(), Reason::Invalid);
}

TEST_F(TlsTest, silentClientsTimeOut) {
  auto context = *TlsServerContext::make(e.clock, certificates.serverConfig());
  listener = *e.network.listen("127.0.0.1:0", [this, context](std::unique_ptr<env::Stream> raw) {
    gate.spawn(accept(e, context, std::move(raw), &ends));
  });
  std::unique_ptr<env::Stream> silent;
  e.network.connect(listener->address(), 5s, [&](auto stream) { silent = std::move(*stream); });
  ASSERT_TRUE(world.runUntil([&] { return ends.done == 1; }, 1min));
  EXPECT_EQ(ends.server.error().reason(), Reason::Timeout);
}

TEST_F(TlsTest, garbageFailsTheHandshake) {
  auto context = *TlsServerContext::make(e.clock, certificates.serverConfig());
  listener = *e.network.listen("127.0.0.1:0", [this, context](std::unique_ptr<env::Stream> raw) {
    gate.spawn(accept(e, context, std::move(raw), &ends));
  });
  std::unique_ptr<env::Stream> rude;
  e.network.connect(listener->address(), 5s, [&](auto stream) {
    rude = std::move(*stream);
    rude->write(std::string("GET / HTTP/1.1\r\n\r\n"));
  });
  ASSERT_TRUE(world.runUntil([&] { return ends.done == 1; }, 1min));
  EXPECT_EQ(ends.server.error().reason(), Reason::ServiceUnavailable);
}

Task<void> sendAll(env::Env e, env::Stream* stream, std::shared_ptr<std::string> bytes) {
  auto written = co_await writeAll(e, stream, *bytes, 10s);
  EXPECT_TRUE(written);
  stream->shutdownWrite();
}
Task<void> receiveAll(env::Env e, env::Stream* stream, std::string* got, bool* ended) {
  char buffer[5000];
  while (true) {
    env::IoStep step = stream->read(buffer);
    if (step.kind == env::IoStep::Done) {
      got->append(buffer, step.bytes);
    } else if (step.kind == env::IoStep::WouldBlock) {
      if (!co_await waitReady(e, stream, Direction::Read, e.clock.now() + 1min)) co_return;
    } else {
      EXPECT_EQ(step.kind, env::IoStep::Eof);
      *ended = true;
      co_return;
    }
  }
}

TEST_F(TlsTest, megabytesFlowBothWays) {
  handshake(certificates.serverConfig(), certificates.clientConfig(true), "127.0.0.1");
  ASSERT_TRUE(ends.server && ends.client);
  auto bytes = std::make_shared<std::string>();
  for (int i = 0; i < 1'000'000; ++i) bytes->push_back(static_cast<char>(i * 11));
  std::string toServer, toClient;
  bool serverEnded = false, clientEnded = false;
  gate.spawn(sendAll(e, ends.client->get(), bytes));
  gate.spawn(sendAll(e, ends.server->get(), bytes));
  gate.spawn(receiveAll(e, ends.server->get(), &toServer, &serverEnded));
  gate.spawn(receiveAll(e, ends.client->get(), &toClient, &clientEnded));
  ASSERT_TRUE(world.runUntil([&] { return serverEnded && clientEnded; }, 5min));
  EXPECT_TRUE(toServer == *bytes);
  EXPECT_TRUE(toClient == *bytes);
}

}  // namespace
}  // namespace knarr::wire
