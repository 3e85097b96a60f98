// Real pods: the kubelet over a private containerd, with our API server, images and CNI plugins.
// Root only.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "codec/codec.h"
#include "cri/cri.h"
#include "cri/private_containerd_for_test.h"
#include "kubelet/kubelet.h"
#include "kubelet/server/server.h"
#include "wire/pki.h"
#include "wire/spdy.h"
#include "wire/websocket.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;
using async::Task;
using corev1::Pod;
using schema::Mut;
using schema::Ref;

struct Node {
  env::Env env;
  client::Client* client;
  Kubelet* kubelet;
  wire::HttpClient* server = nullptr;  // the kubelet's port
};

Task<void> runKubelet(Kubelet* kubelet, async::StopToken stop) {
  auto ended = co_await kubelet->run(stop);
  EXPECT_TRUE(ended) << (ended ? "" : ended.error().describe());
}

Task<void> createPod(Node node, std::string name, std::string spec) {
  auto decoded = codec::decodeJson(
      schema::typeInfoOf<Pod>(),
      fmt::format(R"({{"metadata":{{"name":"{}","namespace":"default"}},"spec":{{"nodeName":"node1",{}}}}})", name, spec));
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().describe());
  if (!decoded) co_return;
  auto made = co_await client::create<Pod>(*node.client, "default", Mut<Pod>(std::move(decoded->object)));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
}

Task<Ref<Pod>> waitFor(Node node, std::string name, std::function<bool(const Pod&)> predicate, int seconds = 20) {
  Ref<Pod> last;
  for (int i = 0; i < seconds * 50; ++i) {
    auto pod = co_await client::get<Pod>(*node.client, "default", name);
    if (pod) {
      last = *pod;
      if (predicate(*last)) co_return last;
    }
    co_await async::sleepFor(node.env, 20ms);
  }
  ADD_FAILURE() << name << " is "
                << (last ? codec::encodeJsonValue(schema::typeInfoOf<corev1::PodStatus>(), &last->status) : "absent");
  co_return last;
}
Task<Ref<Pod>> waitForPhase(Node node, std::string name, std::string phase) {
  co_return co_await waitFor(node, name, [phase](const Pod& pod) { return pod.status.phase == phase; });
}

Task<bool> collect(std::shared_ptr<std::string> into, std::string piece) {
  *into += piece;
  co_return true;
}
Task<std::string> logsOf(Node node, std::string pod, LogOptions options = {}) {
  auto text = std::make_shared<std::string>();
  auto done = co_await node.kubelet->containerLogs("default", pod, "main", options,
                                                   [text](std::string piece) { return collect(text, std::move(piece)); });
  if (!done) co_return "error: " + done.error().describe();
  co_return *text;
}

Task<void> deleteAndWait(Node node, std::string name) {
  auto removed = co_await client::remove<Pod>(*node.client, "default", name);
  EXPECT_TRUE(removed) << (removed ? "" : removed.error().describe());
  for (int i = 0; i < 1000; ++i) {
    auto pod = co_await client::get<Pod>(*node.client, "default", name);
    if (!pod && isNotFound(pod.error())) co_return;
    co_await async::sleepFor(node.env, 20ms);
  }
  ADD_FAILURE() << name << " is still there";
}

Task<void> webAndClient(Node node) {
  env::Instant began = node.env.clock.now();
  co_await createPod(node, "web",
                     R"("terminationGracePeriodSeconds":2,"containers":[{"name":"main","image":"busybox:1.36",
    "command":["sh","-c","echo started; mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"],
    "env":[{"name":"COLOR","value":"blue"}],
    "volumeMounts":[{"name":"scratch","mountPath":"/scratch"},{"name":"settings","mountPath":"/etc/settings"}],
    "readinessProbe":{"httpGet":{"path":"/index.html","port":8080},"periodSeconds":1},
    "livenessProbe":{"exec":{"command":["true"]},"periodSeconds":1}}],
    "volumes":[{"name":"scratch","emptyDir":{}},{"name":"settings","configMap":{"name":"settings"}}])");
  Ref<Pod> web = co_await waitForPhase(node, "web", "Running");
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(node.env.clock.now() - began).count();
  fmt::print("create to Running: {} ms\n", ms);
  web = co_await waitFor(
      node, "web", [](const Pod& pod) { return !pod.status.containerStatuses.empty() && pod.status.containerStatuses[0].ready; });
  if (!web) co_return;
  EXPECT_TRUE(web->status.podIP.starts_with("10.199.7."));
  EXPECT_TRUE(web->status.containerStatuses[0].containerID.starts_with("containerd://"));
  EXPECT_EQ(co_await logsOf(node, "web"), "started\n");
  std::string check = fmt::format(
      R"("restartPolicy":"Never","containers":[{{"name":"main","image":"busybox:1.36",
      "command":["sh","-c","wget -qO- http://{}:8080/index.html; cat /etc/settings/color; hostname; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; id -u; echo why > /dev/termination-log; exit 7"],
      "securityContext":{{"runAsUser":1000}},
      "volumeMounts":[{{"name":"settings","mountPath":"/etc/settings"}}]}}],
      "volumes":[{{"name":"settings","configMap":{{"name":"settings"}}}}])",
      web->status.podIP);
  co_await createPod(node, "check", check);
  Ref<Pod> ended = co_await waitForPhase(node, "check", "Failed");
  EXPECT_EQ(co_await logsOf(node, "check"), "hello\nbluecheck\ndefault\n1000\n");
  LogOptions tail;
  tail.tailLines = 1;
  EXPECT_EQ(co_await logsOf(node, "check", tail), "1000\n");
  if (ended && !ended->status.containerStatuses.empty()) {
    const auto* state = ended->status.containerStatuses[0].state.terminated;
    EXPECT_TRUE(state != nullptr && state->exitCode == 7 && state->reason == "Error");
    if (state != nullptr) EXPECT_EQ(state->message, "why\n");
  }
  auto url = co_await node.kubelet->execUrl("default", "web", "main", {{"true"}});
  EXPECT_TRUE(url && url->starts_with("http://127.0.0.1:"));
  co_await deleteAndWait(node, "check");
  co_await deleteAndWait(node, "web");
}

Task<void> crashes(Node node) {
  co_await createPod(node, "crash",
                     R"("terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"busybox:1.36",
    "command":["sh","-c","echo again; exit 1"]}])");
  Ref<Pod> crash = co_await waitFor(node, "crash", [](const Pod& pod) {
    return !pod.status.containerStatuses.empty() && pod.status.containerStatuses[0].restartCount >= 1 &&
           pod.status.containerStatuses[0].state.waiting != nullptr &&
           pod.status.containerStatuses[0].state.waiting->reason == "CrashLoopBackOff";
  });
  LogOptions previous;
  previous.previous = true;
  EXPECT_EQ(co_await logsOf(node, "crash", previous), "again\n");
  co_await deleteAndWait(node, "crash");
  co_await createPod(node, "wrong",
                     R"("terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"busybox:1.36",
    "command":["/no/such/program"]}])");
  co_await waitFor(node, "wrong", [](const Pod& pod) {
    if (pod.status.containerStatuses.empty()) return false;
    const auto* waiting = pod.status.containerStatuses[0].state.waiting;
    return waiting != nullptr && (waiting->reason == "RunContainerError" || waiting->reason == "CrashLoopBackOff");
  });
  co_await deleteAndWait(node, "wrong");
}

Task<void> sidecarsAndInit(Node node) {
  co_await createPod(node, "ordered", R"("terminationGracePeriodSeconds":2,
    "initContainers":[{"name":"init","image":"busybox:1.36","command":["sh","-c","echo from-init > /shared/file"],
                       "volumeMounts":[{"name":"shared","mountPath":"/shared"}]},
                      {"name":"side","image":"busybox:1.36","restartPolicy":"Always","command":["sleep","1000"]}],
    "containers":[{"name":"main","image":"busybox:1.36","command":["sh","-c","cat /shared/file; sleep 1000"],
                   "volumeMounts":[{"name":"shared","mountPath":"/shared"}],
                   "resources":{"limits":{"memory":"64Mi","cpu":"500m"}}}],
    "volumes":[{"name":"shared","emptyDir":{"medium":"Memory","sizeLimit":"8Mi"}}])");
  Ref<Pod> pod = co_await waitForPhase(node, "ordered", "Running");
  if (pod) EXPECT_EQ(pod->status.qosClass, "Burstable");
  std::string text;
  for (int i = 0; i < 100 && text.empty(); ++i) {
    text = co_await logsOf(node, "ordered");
    co_await async::sleepFor(node.env, 20ms);
  }
  EXPECT_EQ(text, "from-init\n");
  co_await deleteAndWait(node, "ordered");
}

// ---- streams, as the API server asks for them

Task<std::unique_ptr<wire::WebSocket>> dial(Node node, std::string target, std::string protocol) {
  wire::ClientRequest request;
  request.target = std::move(target);
  auto dialed = co_await wire::dialWebSocket(node.env, node.server, std::move(request), {protocol});
  EXPECT_TRUE(dialed && dialed->socket) << (dialed ? dialed->refusal.body : dialed.error().describe());
  if (!dialed || !dialed->socket) co_return nullptr;
  EXPECT_EQ(dialed->socket->subprotocol(), protocol);
  co_return std::move(dialed->socket);
}

Task<void> feed(wire::WebSocket* socket, size_t bytes) {
  constexpr size_t kPiece = 60'000;
  for (size_t sent = 0; sent < bytes; sent += kPiece) {
    std::string message(1, '\0');
    message.append(std::min(kPiece, bytes - sent), 'k');
    if (!co_await socket->send(wire::WebSocketMessage::Binary, std::move(message))) co_return;
  }
  (void)co_await socket->send(wire::WebSocketMessage::Binary, std::string("\xff\0", 2));
}

struct Streams {
  size_t output = 0;
  std::string tail, error, status;
};
Task<Streams> readStreams(wire::WebSocket* socket) {
  Streams streams;
  while (true) {
    auto message = co_await socket->receive();
    if (!message || !*message || (*message)->bytes.empty()) break;
    std::string bytes = std::move((*message)->bytes);
    if (bytes[0] == 1) {
      streams.output += bytes.size() - 1;
      streams.tail = (streams.tail + bytes.substr(1)).substr(streams.tail.size() > 100 ? streams.tail.size() - 100 : 0);
    }
    if (bytes[0] == 2) streams.error += bytes.substr(1);
    if (bytes[0] == 3) streams.status += bytes.substr(1);
  }
  co_return streams;
}

Task<void> execStreams(Node node) {
  // Both ways at once, far beyond what any buffer on the way holds, and the end of the input is the end of the command.
  constexpr size_t kBytes = 20'000'000;
  auto socket = co_await dial(node, "/exec/default/streams/main?command=cat&input=1&output=1&error=1", "v5.channel.k8s.io");
  if (!socket) co_return;
  {
    async::Gate gate(node.env.executor);
    gate.spawn(feed(socket.get(), kBytes));
    Streams streams = co_await readStreams(socket.get());
    EXPECT_EQ(streams.output, kBytes);
    EXPECT_EQ(streams.status, R"({"metadata":{},"status":"Success"})");
    EXPECT_EQ(socket->closeCode(), 1000);
    co_await gate.close();
  }
  socket = co_await dial(
      node, "/exec/default/streams/main?command=sh&command=-c&command=echo%20oh%20%3E%262%3B%20exit%207&output=1&error=1",
      "v5.channel.k8s.io");
  if (!socket) co_return;
  Streams failed = co_await readStreams(socket.get());
  EXPECT_EQ(failed.error, "oh\n");
  EXPECT_NE(failed.status.find(R"("reason":"ExitCode","message":"7")"), std::string::npos) << failed.status;
  socket = co_await dial(node, "/exec/default/streams/main?command=sh&input=1&output=1&tty=1", "v5.channel.k8s.io");
  if (!socket) co_return;
  (void)co_await socket->send(wire::WebSocketMessage::Binary, std::string("\x04", 1) + R"({"Width":101,"Height":33})");
  (void)co_await socket->send(wire::WebSocketMessage::Binary, std::string(1, '\0') + "stty size; exit 0\n");
  Streams terminal = co_await readStreams(socket.get());
  EXPECT_NE(terminal.tail.find("33 101"), std::string::npos) << terminal.tail;
  EXPECT_EQ(terminal.status, R"({"metadata":{},"status":"Success"})");
}

// A port that listens and one that does not, through a tunnel: SPDY inside the WebSocket.
Task<void> forwardPorts(Node node) {
  auto socket = co_await dial(node, "/portForward/default/streams", "SPDY/3.1+portforward.k8s.io");
  if (!socket) co_return;
  wire::SpdyEncoder encoder;
  wire::SpdyDecoder decoder;
  auto open = [&](uint32_t stream, const char* type, const char* port) {
    wire::SpdyFrame syn;
    syn.type = wire::SpdyFrameType::SynStream;
    syn.stream = stream;
    syn.headers.add("streamtype", type);
    syn.headers.add("port", port);
    syn.headers.add("requestid", stream < 5 ? "0" : "1");
    return encoder.encode(syn);
  };
  std::string begin = open(1, "error", "8080") + open(3, "data", "8080") + open(5, "error", "81") + open(7, "data", "81");
  (void)co_await socket->send(wire::WebSocketMessage::Binary, begin);
  std::map<uint32_t, std::string> got;
  bool asked = false;
  while (got[3].find("tunnelled") == std::string::npos || got[5].empty()) {
    auto message = co_await socket->receive();
    if (!message || !*message) break;
    decoder.feed((*message)->bytes);
    while (true) {
      auto frame = decoder.next();
      EXPECT_TRUE(frame) << frame.error().message();
      if (!frame || !*frame) break;
      got[(*frame)->stream] += (*frame)->data;
      if ((*frame)->type != wire::SpdyFrameType::SynReply || (*frame)->stream != 3 || asked) continue;
      asked = true;
      wire::SpdyFrame data;
      data.stream = 3;
      data.data = "GET /index.html HTTP/1.0\r\n\r\n";
      (void)co_await socket->send(wire::WebSocketMessage::Binary, encoder.encode(data));
    }
  }
  EXPECT_NE(got[3].find("tunnelled"), std::string::npos) << got[3];
  EXPECT_NE(got[5].find("connection refused"), std::string::npos) << got[5];
}

Task<void> streams(Node node) {
  co_await createPod(node, "streams", R"("terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"busybox:1.36",
    "command":["sh","-c","mkdir /www; echo tunnelled > /www/index.html; exec httpd -f -p 8080 -h /www"],
    "readinessProbe":{"tcpSocket":{"port":8080},"periodSeconds":1}}])");
  co_await waitFor(node, "streams",
                   [](const Pod& pod) { return !pod.status.containerStatuses.empty() && pod.status.containerStatuses[0].ready; });
  co_await execStreams(node);
  co_await forwardPorts(node);
  co_await deleteAndWait(node, "streams");
}

struct KubeletPort {
  std::unique_ptr<KubeletServer> server;
  std::unique_ptr<wire::HttpClient> client;
};
KubeletPort openPort(env::Env env, Kubelet& kubelet) {
  int64_t now = env.clock.unixSeconds();
  auto authority = *wire::makeCertificateAuthority("test", now - 60, now + 3600);
  wire::CertificateSpec spec;
  spec.commonName = "node1";
  spec.dnsNames = {"node1"};
  spec.notBeforeUnixSeconds = now - 60;
  spec.notAfterUnixSeconds = now + 3600;
  spec.serverAuth = spec.clientAuth = true;
  auto pair = *wire::issueCertificate(authority, spec);
  KubeletServerConfig config;
  config.address = "127.0.0.1:0";
  config.tls.certificatePem = pair.certificatePem;
  config.tls.privateKeyPem = pair.privateKeyPem;
  config.tls.clientCaPem = authority.certificatePem;
  KubeletPort port;
  port.server = std::make_unique<KubeletServer>(env, kubelet, config);
  wire::HttpClientOptions options;
  auto address = port.server->listen();
  EXPECT_TRUE(address) << (address ? "" : address.error().describe());
  options.address = address.value_or("");
  wire::TlsClientConfig tls;
  tls.caPem = authority.certificatePem;
  tls.certificatePem = pair.certificatePem;
  tls.privateKeyPem = pair.privateKeyPem;
  options.tls = *wire::TlsClientContext::make(env.clock, tls);
  options.serverName = "node1";
  port.client = std::make_unique<wire::HttpClient>(env, options);
  return port;
}

Task<void> timed(env::Env env, const char* name, Task<void> part) {
  env::Instant began = env.clock.now();
  co_await std::move(part);
  fmt::print("{}: {} ms\n", name, std::chrono::duration_cast<std::chrono::milliseconds>(env.clock.now() - began).count());
}

Task<void> makeBasics(client::Client* client) {
  auto account = schema::newObject<corev1::ServiceAccount>();
  account->metadata.name = "default";
  EXPECT_TRUE(co_await client::create<corev1::ServiceAccount>(*client, "default", std::move(account)));
  for (auto [name, key, value] :
       {std::tuple("kube-root-ca.crt", "ca.crt", "certificate"), std::tuple("settings", "color", "blue")}) {
    auto map = schema::newObject<corev1::ConfigMap>();
    map->metadata.name = name;
    schema::set(map->data, map.arena(), key, value);
    EXPECT_TRUE(co_await client::create<corev1::ConfigMap>(*client, "default", std::move(map)));
  }
}

Task<void> wholeTest(env::PosixEnv* real, cri::PrivateContainerd* daemon, apiserver::ApiServer* server) {
  env::Env env = real->env();
  auto imported = co_await daemon->import();
  EXPECT_TRUE(imported) << (imported ? "" : imported.error().describe());
  auto started = co_await server->start();
  EXPECT_TRUE(started) << (started ? "" : started.error().describe());
  if (imported && started) {
    auto admin = server->clientFor(apiserver::UserInfo{"admin", "", {"system:masters"}, {}});
    auto nodeClient = server->clientFor(apiserver::UserInfo{"system:node:node1", "", {"system:nodes", "system:masters"}, {}});
    co_await makeBasics(admin.get());
    auto runtime = cri::makeRuntimeClient(env, {daemon->endpoint()});
    KubeletConfig config;
    config.nodeName = "node1";
    config.nodeIps = {"10.199.7.1"};
    config.rootDirectory = daemon->directory() + "/kubelet";
    config.podLogsDirectory = daemon->directory() + "/logs";
    config.containerLogsDirectory = daemon->directory() + "/container-logs";
    // Of its own: a cluster on this host keeps its classes.
    config.cgroupRoot = fmt::format("/knarr-test-{}", ::getpid());
    Kubelet kubelet(config, {env, *nodeClient, *runtime});
    async::StopSource stop;
    async::Gate gate(env.executor);
    gate.spawn(runKubelet(&kubelet, stop.token()));
    KubeletPort port = openPort(env, kubelet);
    Node node{env, admin.get(), &kubelet, port.client.get()};
    co_await timed(env, "web and client", webAndClient(node));
    co_await timed(env, "crashes", crashes(node));
    co_await timed(env, "sidecars", sidecarsAndInit(node));
    co_await timed(env, "streams", streams(node));
    // Everything is gone from the runtime, too.
    bool empty = false;
    for (int i = 0; i < 500 && !empty; ++i) {
      auto left = co_await runtime->listPodSandbox(schema::newObject<runtimev1::ListPodSandboxRequest>());
      empty = left && (*left)->items.empty();
      co_await async::sleepFor(env, 20ms);
    }
    EXPECT_TRUE(empty);
    EXPECT_TRUE(env.files.listDirectory(config.rootDirectory + "/pods")->empty());
    EXPECT_TRUE(env.files.listDirectory(config.podLogsDirectory)->empty());
    stop.requestStop();
    co_await gate.close();
    auto removed = removeCgroups(env.files, config.cgroupRoot);
    EXPECT_TRUE(removed) << (removed ? "" : removed.error().describe());
  }
  co_await server->stop(0s);
  real->stop();
}

TEST(KubeletContainerd, runsRealPods) {
  auto real = env::makePosixEnv();
  cri::PrivateContainerd daemon(real.get(), KNARR_BUILD_DIR);
  std::string lacks = daemon.start();
  if (!lacks.empty()) GTEST_SKIP() << lacks;
  auto store = store::makeMemoryStore(real->env());
  apiserver::ApiServerConfig config;
  config.serviceAccountKeyPem = *wire::makeEcKey();
  {
    apiserver::ApiServer server(real->env(), *store, config);
    async::Gate gate(real->env().executor);
    gate.spawn(wholeTest(real.get(), &daemon, &server));
    real->run();
  }
  daemon.stop();
}

}  // namespace
}  // namespace knarr::kubelet
