// The kubelet's port over a kubelet with a fake runtime, in the simulated world.
#include "kubelet/server/server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "codec/codec.h"
#include "cri/fake.h"
#include "env/sim/sim.h"
#include "wire/http.h"
#include "wire/pki.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;
using async::Task;

struct Answer {
  int status = 0;
  std::string body, contentType;
};

class KubeletServerTest : public testing::Test {
 protected:
  KubeletServerTest() {
    runtime_.addImage("busybox:1.36");
    apiserver::ApiServerConfig config;
    config.serviceAccountKeyPem = *wire::makeEcKey();
    api_ = std::make_unique<apiserver::ApiServer>(env_, *store_, config);
    run(begin(api_.get()));
    client_ = api_->clientFor(apiserver::UserInfo{"admin", "", {"system:masters"}, {}});
    KubeletConfig kubelet;
    kubelet.nodeName = "node1";
    kubelet.nodeIps = {"192.168.0.1"};
    kubelet.machine = MachineInfo{4000, int64_t{8} << 30, int64_t{100} << 30, "m", "s", "b", "6.1", "Debian", "amd64"};
    kubelet_ = std::make_unique<Kubelet>(kubelet, KubeletDependencies{env_, *client_, runtime_});
    gate_.spawn(runKubelet(kubelet_.get(), stop_.token()));
    listen();
  }
  ~KubeletServerTest() override {
    server_.reset();
    stop_.requestStop();
    run(end(this));
  }

  static Task<void> begin(apiserver::ApiServer* api) { EXPECT_TRUE(co_await api->start()); }
  static Task<void> runKubelet(Kubelet* kubelet, async::StopToken stop) { EXPECT_TRUE(co_await kubelet->run(stop)); }
  static Task<void> end(KubeletServerTest* self) {
    co_await self->gate_.close();
    co_await self->api_->stop(0s);
  }
  static Task<void> finish(Task<void> task, bool* done) {
    co_await task;
    *done = true;
  }
  void run(Task<void> task) {
    bool done = false;
    tasks_.spawn(finish(std::move(task), &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, 10min));
  }

  void listen() {
    int64_t now = env_.clock.unixSeconds();
    auto authority = *wire::makeCertificateAuthority("test", now - 60, now + 36000);
    wire::CertificateSpec spec;
    spec.commonName = "node1";
    spec.dnsNames = {"node1"};
    spec.notBeforeUnixSeconds = now - 60;
    spec.notAfterUnixSeconds = now + 36000;
    spec.serverAuth = spec.clientAuth = true;
    auto pair = *wire::issueCertificate(authority, spec);
    KubeletServerConfig config;
    config.address = "127.0.0.1:0";
    config.tls.certificatePem = pair.certificatePem;
    config.tls.privateKeyPem = pair.privateKeyPem;
    config.tls.clientCaPem = authority.certificatePem;
    server_ = std::make_unique<KubeletServer>(env_, *kubelet_, config);
    tls_.caPem = authority.certificatePem;
    wire::HttpClientOptions options;
    options.address = *server_->listen();
    options.serverName = "node1";
    options.tls = *wire::TlsClientContext::make(env_.clock, tls_);
    stranger_ = std::make_unique<wire::HttpClient>(env_, options);
    tls_.certificatePem = pair.certificatePem;
    tls_.privateKeyPem = pair.privateKeyPem;
    options.tls = *wire::TlsClientContext::make(env_.clock, tls_);
    caller_ = std::make_unique<wire::HttpClient>(env_, options);
  }

  static Task<void> getTask(wire::HttpClient* client, std::string target, std::string webSocket, Answer* answer) {
    wire::ClientRequest request;
    request.target = std::move(target);
    if (!webSocket.empty()) {
      request.headers.add("Upgrade", "websocket");
      request.headers.add("Sec-WebSocket-Version", "13");
      request.headers.add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
      request.headers.add("Sec-WebSocket-Protocol", webSocket);
      auto answered = co_await client->upgrade(std::move(request));
      EXPECT_TRUE(answered) << answered.error().describe();
      if (answered) *answer = {answered->status, answered->body, ""};
      co_return;
    }
    auto response = co_await client->send(std::move(request));
    EXPECT_TRUE(response) << response.error().describe();
    if (!response) co_return;
    answer->status = (*response)->status();
    answer->contentType = (*response)->headers().get("Content-Type");
    answer->body = (co_await (*response)->readAll(1 << 20)).value_or("");
  }
  // `webSocket`: the protocol to ask for, "" for a plain request.
  Answer get(std::string target, wire::HttpClient* client = nullptr, std::string webSocket = "") {
    Answer answer;
    run(getTask(client == nullptr ? caller_.get() : client, std::move(target), std::move(webSocket), &answer));
    return answer;
  }

  static Task<void> createTask(client::Client* client) {
    auto account = schema::newObject<corev1::ServiceAccount>();
    account->metadata.name = "default";
    EXPECT_TRUE(co_await client::create<corev1::ServiceAccount>(*client, "default", std::move(account)));
    auto decoded = codec::decodeJson(schema::typeInfoOf<corev1::Pod>(), R"({"metadata":{"name":"web"},"spec":{"nodeName":"node1",
      "automountServiceAccountToken":false,"containers":[{"name":"main","image":"busybox:1.36"}],
      "initContainers":[{"name":"terminal","image":"busybox:1.36","restartPolicy":"Always","tty":true,"stdin":true}]}})");
    EXPECT_TRUE(decoded);
    auto made = co_await client::create<corev1::Pod>(*client, "default", schema::Mut<corev1::Pod>(std::move(decoded->object)));
    EXPECT_TRUE(made) << made.error().describe();
  }
  void startPod() {
    run(createTask(client_.get()));
    sim_.runFor(10s);
  }

  env::SimEnv sim_{11};
  env::Env env_ = sim_.env();
  async::Gate tasks_{env_.executor}, gate_{env_.executor};
  std::unique_ptr<store::Store> store_ = store::makeMemoryStore(env_);
  cri::FakeRuntime runtime_{env_};
  std::unique_ptr<apiserver::ApiServer> api_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<Kubelet> kubelet_;
  std::unique_ptr<KubeletServer> server_;
  std::unique_ptr<wire::HttpClient> caller_, stranger_;
  wire::TlsClientConfig tls_;
  async::StopSource stop_;
};

TEST_F(KubeletServerTest, onlyCallersWithACertificateAreAnswered) {
  EXPECT_EQ(get("/healthz", stranger_.get()).body, "ok");
  for (const char* target : {"/pods", "/metrics/resource", "/stats/summary", "/containerLogs/a/b/c", "/nothing"})
    EXPECT_EQ(get(target, stranger_.get()).status, 401) << target;
  EXPECT_EQ(get("/nothing").status, 404);
}

TEST_F(KubeletServerTest, tellsOfItsPodsAndWhatTheyUse) {
  startPod();
  Answer pods = get("/pods");
  EXPECT_EQ(pods.contentType, "application/json");
  auto list = codec::decodeJson(schema::typeInfoOf<corev1::PodList>(), pods.body);
  ASSERT_TRUE(list) << list.error().describe();
  schema::Mut<corev1::PodList> typed(std::move(list->object));
  ASSERT_EQ(typed->items.size(), 1U);
  EXPECT_EQ(typed->items[0].status.phase, "Running") << "as last published, not as the API sent it";
  Answer metrics = get("/metrics/resource");
  EXPECT_EQ(metrics.contentType, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(metrics.body.find("pod_memory_working_set_bytes{namespace=\"default\",pod=\"web\"} 2097152 "), std::string::npos)
      << metrics.body;
  EXPECT_NE(metrics.body.find("resource_scrape_error 0"), std::string::npos);
  Answer summary = get("/stats/summary?only_cpu_and_memory=true");
  EXPECT_NE(summary.body.find(R"("podRef":{"name":"web","namespace":"default",)"), std::string::npos) << summary.body;
  EXPECT_EQ(summary.body.find("inodes"), std::string::npos);
  EXPECT_NE(get("/stats/summary").body.find("inodes"), std::string::npos);
}

TEST_F(KubeletServerTest, aRuntimeThatDoesNotAnswerShows) {
  startPod();
  runtime_.failNext("ListContainerStats", Error(Reason::ServiceUnavailable, "gone"), 2);
  EXPECT_NE(get("/metrics/resource").body.find("resource_scrape_error 1"), std::string::npos);
  Answer summary = get("/stats/summary");
  EXPECT_EQ(summary.status, 500);
  EXPECT_EQ(summary.body, "Internal Error: gone\n");
}

TEST_F(KubeletServerTest, streamsAreCheckedBeforeTheRuntimeIsAsked) {
  startPod();
  struct Case {
    const char* target;
    int status;
    const char* body;
  };
  const Case kCases[] = {
      {"/exec/default/web/main?command=sh", 400, "you must specify at least 1 of stdin, stdout, stderr\n"},
      {"/exec/default/web/main?command=sh&error=1&tty=1", 400, "you must specify at least 1 of stdin, stdout, stderr\n"},
      {"/exec/default/web/other?command=sh&output=1", 404, "container not found (\"other\")\n"},
      {"/attach/default/absent/main?output=1", 404, "pods \"absent\" not found\n"},
      {"/portForward/default/web", 400, "query parameter \"port\" is required\n"},
      {"/portForward/default/web?port=", 400, "query parameter \"port\" cannot be empty\n"},
      {"/portForward/default/web?port=80,x", 400,
       "unable to parse \"x\" as a port: strconv.ParseUint: parsing \"x\": invalid syntax\n"},
      {"/portForward/default/web?port=70000", 400,
       "unable to parse \"70000\" as a port: strconv.ParseUint: parsing \"70000\": value out of range\n"},
      {"/portForward/default/web?port=0", 400, "port \"0\" must be > 0\n"},
  };
  for (const Case& one : kCases) {
    Answer answer = get(one.target, nullptr, "v4.channel.k8s.io");
    EXPECT_EQ(answer.status, one.status) << one.target;
    EXPECT_EQ(answer.body, one.body) << one.target;
  }
}

// The container's own terminal counts, whatever the caller asks for.
TEST_F(KubeletServerTest, attachGoesByTheTerminalOfTheContainer) {
  startPod();
  Answer answer = get("/attach/default/web/terminal?output=1&error=1", nullptr, "v4.channel.k8s.io");
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.body, "tty and stderr cannot both be true\n");
  // Where the streams are made here the runtime is asked for those that exist.
  EXPECT_EQ(get("/attach/default/web/terminal?input=1&output=1&error=1", nullptr, "v5.channel.k8s.io").status, 101);
}

}  // namespace
}  // namespace knarr::kubelet
