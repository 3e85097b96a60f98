// The server in the real world, spoken to by curl. Skipped where there is no curl.
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>

#include "base/strings.h"
#include "env/posix/posix.h"
#include "wire/http_test_server.h"
#include "wire/pki.h"

namespace knarr::wire {
namespace {

using namespace std::chrono_literals;

constexpr const char* kCurl = "/usr/bin/curl";

class CurlTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!e.files.status(kCurl)) GTEST_SKIP() << "needs " << kCurl;
    int64_t now = e.clock.unixSeconds();
    auto ca = *makeCertificateAuthority("ca", now - 60, now + 3600);
    CertificateSpec spec;
    spec.commonName = "server";
    spec.ipAddresses = {"127.0.0.1"};
    spec.notBeforeUnixSeconds = now - 60;
    spec.notAfterUnixSeconds = now + 3600;
    spec.serverAuth = true;
    auto serverCertificate = *issueCertificate(ca, spec);
    spec = {};
    spec.commonName = "alice";
    spec.notBeforeUnixSeconds = now - 60;
    spec.notAfterUnixSeconds = now + 3600;
    spec.clientAuth = true;
    auto client = *issueCertificate(ca, spec);
    ASSERT_TRUE(e.files.makeDirectories(directory));
    ASSERT_TRUE(e.files.writeFileAtomically(directory + "/ca.pem", ca.certificatePem));
    ASSERT_TRUE(e.files.writeFileAtomically(directory + "/cert.pem", client.certificatePem));
    ASSERT_TRUE(e.files.writeFileAtomically(directory + "/key.pem", client.privateKeyPem, 0600));
    ASSERT_TRUE(e.files.writeFileAtomically(directory + "/big", std::string(3'000'000, 'q')));
    TlsServerConfig config;
    config.certificatePem = serverCertificate.certificatePem;
    config.privateKeyPem = serverCertificate.privateKeyPem;
    config.clientCaPem = ca.certificatePem;
    HttpServerOptions options;
    plain = std::make_unique<HttpServer>(e, options, makeTestHandler(e, notes));
    plainUrl = "http://" + *plain->listen("127.0.0.1:0");
    options.tls = *TlsServerContext::make(e.clock, config);
    secure = std::make_unique<HttpServer>(e, options, makeTestHandler(e, notes));
    secureUrl = "https://" + *secure->listen("127.0.0.1:0");
  }
  void TearDown() override { (void)e.files.removeTree(directory); }

  static async::Task<void> runCurl(CurlTest* self, env::ProcessSpec spec, env::ProcessExit* exit) {
    auto result = co_await async::runProcess(self->e, std::move(spec));
    if (result) *exit = std::move(*result);
    self->real->stop();
  }
  std::string curl(std::vector<std::string> arguments) {
    env::ProcessSpec spec;
    spec.argv = {kCurl, "-sS", "--max-time", "20", "--cacert", directory + "/ca.pem"};
    for (std::string& argument : arguments) spec.argv.push_back(std::move(argument));
    spec.captureBytesMax = 16 << 20;
    env::ProcessExit exit;
    exit.exitCode = -1;
    gate.spawn(runCurl(this, std::move(spec), &exit));
    real->run();
    EXPECT_EQ(exit.exitCode, 0) << exit.standardError;
    return exit.standardOutput;
  }

  std::unique_ptr<env::PosixEnv> real = env::makePosixEnv();
  env::Env e = real->env();
  std::string directory = testing::TempDir() + "knarr-curl-" + std::to_string(::getpid());
  std::shared_ptr<ServerNotes> notes = std::make_shared<ServerNotes>();
  async::Gate gate{e.executor};
  std::unique_ptr<HttpServer> plain;
  std::unique_ptr<HttpServer> secure;
  std::string plainUrl;
  std::string secureUrl;
};

TEST_F(CurlTest, everyProtocolAnswers) {
  EXPECT_EQ(curl({"--http1.1", plainUrl + "/whoami"}), "nobody HTTP/1.1");
  EXPECT_EQ(curl({"--http2", plainUrl + "/whoami"}), "nobody HTTP/1.1");
  EXPECT_EQ(curl({"--http2-prior-knowledge", plainUrl + "/whoami"}), "nobody HTTP/2.0");
  std::vector<std::string> identity = {"--cert", directory + "/cert.pem", "--key", directory + "/key.pem"};
  for (const char* version : {"--http1.1", "--http2"}) {
    std::vector<std::string> arguments = identity;
    arguments.insert(arguments.end(), {version, secureUrl + "/whoami"});
    EXPECT_EQ(curl(arguments), version == std::string("--http2") ? "alice HTTP/2.0" : "alice HTTP/1.1");
  }
  EXPECT_EQ(curl({secureUrl + "/whoami"}), "nobody HTTP/2.0");
}

TEST_F(CurlTest, bodiesOfSeveralMegabytes) {
  std::string big(3'000'000, 'q');
  for (std::vector<std::string> way : {std::vector<std::string>{"--http1.1", plainUrl},
                                       {"--http2-prior-knowledge", plainUrl},
                                       {"--http1.1", secureUrl},
                                       {"--http2", secureUrl}}) {
    EXPECT_TRUE(curl({way[0], "--data-binary", "@" + directory + "/big", way[1] + "/echo"}) == big) << way[0] << way[1];
    EXPECT_EQ(curl({way[0], "-T", directory + "/big", "-X", "POST", "-H", "Transfer-Encoding: chunked", "-o", "/dev/null", "-w",
                    "%{http_code} %{size_download}", way[1] + "/echo"}),
              "200 3000000");
    EXPECT_EQ(curl({way[0], way[1] + "/big"}).size(), 3'000'000U);
    EXPECT_EQ(curl({way[0], way[1] + "/stream?3"}), "piece 0\npiece 1\npiece 2\n");
    EXPECT_EQ(curl({way[0], "-o", "/dev/null", "-w", "%{http_code}", "-d", std::string(100, 'x'), way[1] + "/small-body"}),
              "413");
    EXPECT_EQ(curl({way[0], "-I", "-o", "/dev/null", "-w", "%{http_code}", way[1] + "/hello"}), "200");
  }
}

TEST_F(CurlTest, manyRequestsShareAConnection) {
  std::vector<std::string> arguments = {"--http2", "-Z", "--parallel-max", "50"};
  for (int i = 0; i < 100; ++i) arguments.push_back(secureUrl + "/stream?5");
  EXPECT_EQ(curl(arguments).size(), 100U * 40U);
}

}  // namespace
}  // namespace knarr::wire
