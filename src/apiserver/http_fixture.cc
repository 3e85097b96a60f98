#include "apiserver/http_fixture.h"

#include <fmt/format.h>

#include "api/core_v1.h"
#include "base/strings.h"
#include "codec/value.h"

namespace knarr::apiserver {
namespace {

using async::Task;

constexpr std::string_view kAddress = "127.0.0.1:6443";
constexpr size_t kAnswerBytesMax = size_t{64} << 20;

wire::CertificateSpec specOf(env::Env environment, std::string commonName, std::vector<std::string> organizations) {
  wire::CertificateSpec spec;
  spec.commonName = std::move(commonName);
  spec.organizations = std::move(organizations);
  spec.notBeforeUnixSeconds = environment.clock.unixSeconds() - 60;
  spec.notAfterUnixSeconds = environment.clock.unixSeconds() + 86400;
  spec.clientAuth = true;
  return spec;
}

Task<void> fetch(wire::HttpClient* client, wire::ClientRequest request, std::string until, std::shared_ptr<HttpAnswer> answer) {
  auto response = co_await client->send(std::move(request));
  if (!response) {
    answer->failure = response.error().describe();
    answer->done = true;
    co_return;
  }
  answer->status = (*response)->status();
  answer->headers = (*response)->headers();
  while (answer->body.size() < kAnswerBytesMax) {
    auto piece = co_await (*response)->readChunk();
    if (!piece) answer->failure = piece.error().describe();
    if (!piece || !*piece) break;
    answer->body += **piece;
    if (!until.empty() && answer->body.find(until) != std::string::npos) break;
  }
  answer->done = true;
}

Task<void> startServer(ApiServer* server) {
  auto started = co_await server->start();
  EXPECT_TRUE(started) << (started ? "" : started.error().describe());
  auto admin = server->clientFor(UserInfo{"admin", "", {"system:masters"}, {}});
  auto account = schema::newObject<corev1::ServiceAccount>();
  account->metadata.name = "default";
  auto made = co_await client::create<corev1::ServiceAccount>(*admin, "default", std::move(account));
  EXPECT_TRUE(made || isAlreadyExists(made.error()));
}
Task<void> stopServer(ApiServer* server) { co_await server->stop(std::chrono::seconds(0)); }
Task<void> finish(Task<void> task, bool* done) {
  co_await task;
  *done = true;
}

}  // namespace

HttpFixture::HttpFixture() {
  int64_t now = env_.clock.unixSeconds();
  auto authority = *wire::makeCertificateAuthority("knarr", now - 60, now + 86400);
  auto otherAuthority = *wire::makeCertificateAuthority("other", now - 60, now + 86400);
  wire::CertificateSpec serving = specOf(env_, "kube-apiserver", {});
  serving.ipAddresses = {"127.0.0.1"};
  serving.serverAuth = true;
  auto certificate = *wire::issueCertificate(authority, serving);

  config_.serviceAccountKeyPem = *wire::makeEcKey();
  config_.tls.certificatePem = certificate.certificatePem;
  config_.tls.privateKeyPem = certificate.privateKeyPem;
  config_.tls.clientCaPem = authority.certificatePem;
  store_ = store::makeMemoryStore(env_);
  server_ = std::make_unique<ApiServer>(env_, *store_, config_);
  run(startServer(server_.get()));
  EXPECT_TRUE(server_->listen(std::string(kAddress)));

  struct Identity {
    std::string name;
    std::vector<std::string> groups;
    const wire::KeyAndCertificate* signer;
    int64_t beginsIn = -60, endsIn = 86400;  // seconds
  };
  for (const Identity& one :
       {Identity{"admin", {"system:masters"}, &authority}, Identity{"eve", {}, &authority},
        Identity{"stranger", {"system:masters"}, &otherAuthority}, Identity{"early", {"system:masters"}, &authority, 3600},
        Identity{"late", {"system:masters"}, &authority, -7200, -3600}, Identity{"anonymous", {}, nullptr}}) {
    wire::TlsClientConfig tls;
    tls.caPem = authority.certificatePem;
    if (one.signer) {
      wire::CertificateSpec spec = specOf(env_, one.name, one.groups);
      spec.notBeforeUnixSeconds = now + one.beginsIn;
      spec.notAfterUnixSeconds = now + one.endsIn;
      auto own = *wire::issueCertificate(*one.signer, spec);
      tls.certificatePem = own.certificatePem;
      tls.privateKeyPem = own.privateKeyPem;
    }
    wire::HttpClientOptions options;
    options.address = kAddress;
    options.tls = *wire::TlsClientContext::make(env_.clock, tls);
    clients_[one.name] = std::make_unique<wire::HttpClient>(env_, options);
  }
}

HttpFixture::~HttpFixture() {
  clients_.clear();
  run(stopServer(server_.get()));
  server_.reset();
}

void HttpFixture::restart() {
  run(stopServer(server_.get()));
  server_ = std::make_unique<ApiServer>(env_, *store_, config_);
  run(startServer(server_.get()));
  EXPECT_TRUE(server_->listen(std::string(kAddress)));
}

void HttpFixture::run(Task<void> task) {
  bool done = false;
  gate_.spawn(finish(std::move(task), &done));
  EXPECT_TRUE(sim_.runUntil([&] { return done; }, std::chrono::minutes(10)));
}

HttpAnswer HttpFixture::send(const std::string& who, wire::ClientRequest request, const std::string& until) {
  auto answer = std::make_shared<HttpAnswer>();
  gate_.spawn(fetch(clients_.at(who).get(), std::move(request), until, answer));
  EXPECT_TRUE(sim_.runUntil([&] { return answer->done; }, std::chrono::minutes(10)));
  return *answer;
}

HttpAnswer HttpFixture::ask(const std::string& who, const std::string& method, const std::string& target, const std::string& body,
                            wire::Headers headers) {
  wire::ClientRequest request;
  request.method = method;
  request.target = target;
  request.headers = std::move(headers);
  if (!body.empty()) {
    request.body = wire::makeBytes(body);
    if (!request.headers.contains("Content-Type")) request.headers.add("Content-Type", "application/json");
  }
  return send(who, std::move(request), "");
}

HttpAnswer HttpFixture::readUntil(const std::string& target, const std::string& until, wire::Headers headers) {
  wire::ClientRequest request;
  request.target = target;
  request.headers = std::move(headers);
  return send("admin", std::move(request), until);
}

std::string HttpFixture::field(const HttpAnswer& answer, std::string_view path) {
  Arena arena(4096);
  auto value = codec::parseJsonValue(answer.body, arena);
  if (!value) return "";
  const codec::Value* at = &*value;
  for (std::string_view step : split(path, '.')) {
    if (at->isArray()) {
      auto index = parseUint(step);
      if (!index || *index >= at->size()) return "";
      at = &at->items()[*index];
    } else if (!at->isObject() || !(at = at->find(step))) {
      return "";
    }
  }
  return at->isString() ? std::string(at->string()) : codec::toJson(*at);
}

void HttpFixture::expectStatus(const HttpAnswer& answer, int code, std::string_view reason, std::string_view message) {
  EXPECT_EQ(answer.failure, "");
  EXPECT_EQ(answer.status, code) << answer.body;
  EXPECT_EQ(answer.headers.get("Content-Type"), "application/json");
  EXPECT_EQ(field(answer, "kind"), "Status") << answer.body;
  EXPECT_EQ(field(answer, "apiVersion"), "v1");
  EXPECT_EQ(field(answer, "status"), "Failure");
  EXPECT_EQ(field(answer, "code"), fmt::format("{}", code));
  EXPECT_EQ(field(answer, "reason"), reason);
  EXPECT_EQ(field(answer, "message"), message);
}

}  // namespace knarr::apiserver
