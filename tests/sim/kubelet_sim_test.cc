// A kubelet over the fake runtime against the real API server, in the simulated world.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "codec/codec.h"
#include "cri/fake.h"
#include "env/sim/sim.h"
#include "kubelet/kubelet.h"
#include "wire/pki.h"

namespace knarr::kubelet {
namespace {

using namespace std::chrono_literals;
using async::Task;
using corev1::Pod;
using schema::Mut;
using schema::Ref;

class KubeletSim : public testing::Test {
 protected:
  KubeletSim() : sim_(7), gate_(sim_.env().executor), runtime_(sim_.env()) {
    store_ = store::makeMemoryStore(sim_.env());
    apiserver::ApiServerConfig config;
    config.serviceAccountKeyPem = *wire::makeEcKey();
    server_ = std::make_unique<apiserver::ApiServer>(sim_.env(), *store_, config);
    run(startServer(server_.get()));
    admin_ = server_->clientFor(apiserver::UserInfo{"admin", "", {"system:masters"}, {}});
    nodeClient_ = server_->clientFor(apiserver::UserInfo{"system:node:node1", "", {"system:nodes", "system:masters"}, {}});
    run(makeBasics(admin_.get()));
    runtime_.addImage("busybox:1.36");
    startKubelet();
  }
  ~KubeletSim() override {
    stopKubelet();
    run(stopServer(server_.get()));
  }

  static Task<void> startServer(apiserver::ApiServer* server) {
    auto started = co_await server->start();
    EXPECT_TRUE(started) << (started ? "" : started.error().describe());
  }
  static Task<void> stopServer(apiserver::ApiServer* server) { co_await server->stop(0s); }
  static Task<void> makeBasics(client::Client* client) {
    auto account = schema::newObject<corev1::ServiceAccount>();
    account->metadata.name = "default";
    EXPECT_TRUE(co_await client::create<corev1::ServiceAccount>(*client, "default", std::move(account)));
    auto root = schema::newObject<corev1::ConfigMap>();
    root->metadata.name = "kube-root-ca.crt";
    schema::set(root->data, root.arena(), "ca.crt", "certificate");
    EXPECT_TRUE(co_await client::create<corev1::ConfigMap>(*client, "default", std::move(root)));
  }
  static Task<void> finish(Task<void> task, bool* done) {
    co_await task;
    *done = true;
  }
  void run(Task<void> task) {
    bool done = false;
    gate_.spawn(finish(std::move(task), &done));
    ASSERT_TRUE(sim_.runUntil([&] { return done; }, 10min));
  }

  static Task<void> runKubelet(Kubelet* kubelet, async::StopToken stop, bool* ended) {
    auto result = co_await kubelet->run(stop);
    EXPECT_TRUE(result) << (result ? "" : result.error().describe());
    *ended = true;
  }
  void startKubelet() {
    KubeletConfig config;
    config.nodeName = "node1";
    config.nodeIps = {"192.168.0.1"};
    config.clusterDns = {"10.96.0.10"};
    config.machine = MachineInfo{4000, int64_t{8} << 30, int64_t{100} << 30, "m", "s", "b", "6.1", "Debian", "amd64"};
    kubelet_ = std::make_unique<Kubelet>(config, KubeletDependencies{sim_.env(), *nodeClient_, runtime_});
    stop_ = std::make_unique<async::StopSource>();
    ended_ = false;
    gate_.spawn(runKubelet(kubelet_.get(), stop_->token(), &ended_));
  }
  void stopKubelet() {
    stop_->requestStop();
    EXPECT_TRUE(sim_.runUntil([&] { return ended_; }, 1min)) << "the kubelet does not stop";
    kubelet_.reset();
  }

  // ---- the API from outside
  static Task<void> createTask(client::Client* client, std::string json) {
    auto decoded = codec::decodeJson(schema::typeInfoOf<Pod>(), json);
    EXPECT_TRUE(decoded) << decoded.error().describe();
    auto made = co_await client::create<Pod>(*client, "default", Mut<Pod>(std::move(decoded->object)));
    EXPECT_TRUE(made) << (made ? "" : made.error().describe());
  }
  // `spec` is the inside of the pod's spec.
  void createPod(const std::string& name, const std::string& spec) {
    run(createTask(
        admin_.get(),
        fmt::format(R"({{"metadata":{{"name":"{}","labels":{{"app":"x"}}}},"spec":{{"nodeName":"node1",{}}}}})", name, spec)));
  }
  static Task<void> deleteTask(client::Client* client, std::string name, std::optional<int64_t> grace) {
    client::DeleteOptions options;
    options.gracePeriodSeconds = grace;
    auto gone = co_await client::remove<Pod>(*client, "default", name, options);
    EXPECT_TRUE(gone) << (gone ? "" : gone.error().describe());
  }
  void deletePod(const std::string& name, std::optional<int64_t> grace = {}) { run(deleteTask(admin_.get(), name, grace)); }
  template <class T>
  static Task<void> getTask(client::Client* client, std::string nameSpace, std::string name, Ref<T>* into) {
    auto object = co_await client::get<T>(*client, nameSpace, name);
    *into = object ? *object : Ref<T>();
  }
  template <class T>
  Ref<T> get(const std::string& nameSpace, const std::string& name) {
    Ref<T> object;
    run(getTask<T>(admin_.get(), nameSpace, name, &object));
    return object;
  }
  Ref<Pod> pod(const std::string& name) { return get<Pod>("default", name); }

  // Looks at the pod every 50 ms of virtual time until the predicate holds.
  bool waitForPod(const std::string& name, std::function<bool(const Pod&)> predicate, env::Duration max = 2min) {
    env::Instant end = sim_.env().clock.now() + max;
    while (sim_.env().clock.now() < end) {
      Ref<Pod> now = pod(name);
      if (now && predicate(*now)) return true;
      sim_.runFor(50ms);
    }
    Ref<Pod> last = pod(name);
    ADD_FAILURE() << "waited in vain; the pod is "
                  << (last ? codec::encodeJsonValue(schema::typeInfoOf<corev1::PodStatus>(), &last->status) : "gone");
    return false;
  }
  bool waitForPhase(const std::string& name, std::string phase, env::Duration max = 2min) {
    return waitForPod(name, [phase](const Pod& p) { return p.status.phase == phase; }, max);
  }
  bool waitUntilGone(const std::string& name, env::Duration max = 2min) {
    env::Instant end = sim_.env().clock.now() + max;
    while (sim_.env().clock.now() < end) {
      if (!pod(name)) return true;
      sim_.runFor(50ms);
    }
    return false;
  }
  static std::string condition(const Pod& pod, std::string_view type) {
    for (const auto& each : pod.status.conditions) {
      if (each.type == type) return std::string(each.status);
    }
    return "";
  }
  static std::string waitingReason(const Pod& pod, size_t index = 0) {
    if (pod.status.containerStatuses.size() <= index) return "";
    const auto* waiting = pod.status.containerStatuses[index].state.waiting;
    return waiting == nullptr ? "" : std::string(waiting->reason);
  }
  static Task<void> eventsTask(client::Client* client, std::string about, std::vector<std::string>* reasons) {
    auto list = co_await client->list(client::resourceOf<corev1::Event>(), "default");
    EXPECT_TRUE(list);
    if (!list) co_return;
    for (const Ref<>& object : list->items) {
      Ref<corev1::Event> event(object);
      if (event->involvedObject.name != about) continue;
      reasons->emplace_back(event->reason);
      reasons->emplace_back(event->message);
    }
  }
  // Reasons and messages.
  std::vector<std::string> eventReasons(const std::string& about) {
    sim_.runFor(1s);
    std::vector<std::string> reasons;
    run(eventsTask(admin_.get(), about, &reasons));
    return reasons;
  }
  static bool contains(const std::vector<std::string>& list, const std::string& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
  }
  std::string containerFile(const std::string& podName, const std::string& container, const std::string& path) {
    const auto* found = runtime_.findContainer(podName, container);
    if (found == nullptr) return "no container";
    for (const auto& mount : found->config().mounts) {
      if (!path.starts_with(mount.containerPath)) continue;
      return sim_.env().files.readFile(std::string(mount.hostPath) + path.substr(mount.containerPath.size())).value_or("no file");
    }
    return "no mount";
  }
  std::string containerVariable(const std::string& podName, const std::string& container, std::string_view name) {
    const auto* found = runtime_.findContainer(podName, container);
    if (found == nullptr) return "no container";
    for (const auto& variable : found->config().envs) {
      if (variable.key == name) return std::string(variable.value.bytes);
    }
    return "no variable";
  }

  env::SimEnv sim_;
  async::Gate gate_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<client::Client> admin_, nodeClient_;
  cri::FakeRuntime runtime_;
  std::unique_ptr<Kubelet> kubelet_;
  std::unique_ptr<async::StopSource> stop_;
  bool ended_ = false;
};

constexpr const char* kOne = R"("containers":[{"name":"main","image":"busybox:1.36"}])";

TEST_F(KubeletSim, registersTheNodeAndKeepsItsLease) {
  sim_.runFor(3s);
  Ref<corev1::Node> node = get<corev1::Node>("", "node1");
  ASSERT_TRUE(node);
  EXPECT_EQ(schema::valueOf(node->metadata.labels, "kubernetes.io/hostname"), "node1");
  EXPECT_EQ(node->status.capacity.find("cpu")->text, "4");
  EXPECT_EQ(node->status.allocatable.find("memory")->text, "8092Mi");
  EXPECT_EQ(node->status.nodeInfo.containerRuntimeVersion, "fake://1.0.0");
  std::string ready;
  for (const auto& each : node->status.conditions) {
    if (each.type == "Ready") ready = std::string(each.status) + " " + std::string(each.reason);
  }
  EXPECT_EQ(ready, "True KubeletReady");
  Ref<coordinationv1::Lease> first = get<coordinationv1::Lease>("kube-node-lease", "node1");
  ASSERT_TRUE(first);
  EXPECT_EQ(*first->spec.holderIdentity, "node1");
  sim_.runFor(11s);
  Ref<coordinationv1::Lease> second = get<coordinationv1::Lease>("kube-node-lease", "node1");
  EXPECT_GT((*second->spec.renewTime).microsSinceYear1, (*first->spec.renewTime).microsSinceYear1);
  runtime_.networkReady = false;
  sim_.runFor(16s);
  node = get<corev1::Node>("", "node1");
  for (const auto& each : node->status.conditions) {
    if (each.type == "Ready") EXPECT_EQ(each.status, "False") << each.message;
  }
}

TEST_F(KubeletSim, runsAPod) {
  createPod("web", kOne);
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  Ref<Pod> web = pod("web");
  EXPECT_FALSE(web->status.podIP.empty());
  EXPECT_EQ(web->status.hostIP, "192.168.0.1");
  EXPECT_EQ(web->status.qosClass, "BestEffort");
  EXPECT_TRUE(web->status.startTime.present);
  for (const char* type : {"PodScheduled", "Initialized", "ContainersReady", "Ready", "PodReadyToStartContainers"}) {
    EXPECT_EQ(condition(*web, type), "True") << type;
  }
  ASSERT_EQ(web->status.containerStatuses.size(), 1u);
  const corev1::ContainerStatus& main = web->status.containerStatuses[0];
  EXPECT_TRUE(main.ready);
  EXPECT_EQ(main.restartCount, 0);
  EXPECT_TRUE(main.containerID.starts_with("fake://"));
  EXPECT_NE(main.state.running, nullptr);
  std::vector<std::string> reasons = eventReasons("web");
  for (const char* reason : {"Pulled", "Created", "Started"}) EXPECT_TRUE(contains(reasons, reason)) << reason;
  EXPECT_EQ(containerFile("web", "main", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"), "certificate");
  EXPECT_EQ(containerFile("web", "main", "/var/run/secrets/kubernetes.io/serviceaccount/namespace"), "default");
  EXPECT_TRUE(containerFile("web", "main", "/var/run/secrets/kubernetes.io/serviceaccount/token").starts_with("ey"));
  EXPECT_NE(containerFile("web", "main", "/etc/hosts").find("\tweb\n"), std::string::npos);
  EXPECT_EQ(containerVariable("web", "main", "KUBERNETES_SERVICE_HOST"), "10.96.0.1");
}

TEST_F(KubeletSim, deletesAPodGracefully) {
  runtime_.addImage("slow:1", {.runFor = {}, .exitCode = 0, .stopTakes = 3s, .startError = "", .user = ""});
  createPod("web", R"("terminationGracePeriodSeconds":10,"containers":[{"name":"main","image":"slow:1"}])");
  ASSERT_TRUE(waitForPhase("web", "Running"));
  deletePod("web");
  sim_.runFor(1s);
  ASSERT_TRUE(pod("web")) << "the containers have their time";
  EXPECT_TRUE(pod("web")->metadata.deletionTimestamp.present);
  ASSERT_TRUE(waitUntilGone("web", 10s));
  sim_.runFor(5s);
  EXPECT_TRUE(runtime_.containers().empty());
  EXPECT_TRUE(runtime_.sandboxes().empty());
  EXPECT_TRUE(contains(eventReasons("web"), "Killing"));
}

TEST_F(KubeletSim, aForcedDeletionShortensTheGrace) {
  runtime_.addImage("stubborn:1", {.runFor = {}, .exitCode = 0, .stopTakes = 1h, .startError = "", .user = ""});
  createPod("web", R"("terminationGracePeriodSeconds":600,"containers":[{"name":"main","image":"stubborn:1"}])");
  ASSERT_TRUE(waitForPhase("web", "Running"));
  deletePod("web");
  sim_.runFor(5s);
  deletePod("web", 3);
  EXPECT_TRUE(waitUntilGone("web", 10s));
}

TEST_F(KubeletSim, aShorterGraceWaitsForNoLongerHook) {
  createPod("web", R"("terminationGracePeriodSeconds":600,"containers":[{"name":"main","image":"busybox:1.36",
     "lifecycle":{"preStop":{"sleep":{"seconds":500}}}}])");
  ASSERT_TRUE(waitForPhase("web", "Running"));
  deletePod("web");
  sim_.runFor(5s);
  deletePod("web", 3);
  EXPECT_TRUE(waitUntilGone("web", 10s));
}

TEST_F(KubeletSim, aPodThatEndsTurnsUnready) {
  int32_t answer = 0;
  runtime_.onExecSync = [&](const runtimev1::ExecSyncRequest&) { return answer; };
  runtime_.addImage("slow:1", {.runFor = {}, .exitCode = 0, .stopTakes = 20s, .startError = "", .user = ""});
  createPod("web", R"("containers":[{"name":"main","image":"slow:1",
     "readinessProbe":{"exec":{"command":["ready"]},"periodSeconds":1,"failureThreshold":1}}])");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return condition(p, "Ready") == "True"; }, 10s));
  deletePod("web");
  sim_.runFor(3s);
  EXPECT_EQ(condition(*pod("web"), "Ready"), "True");
  answer = 1;
  sim_.runFor(3s);
  EXPECT_EQ(condition(*pod("web"), "Ready"), "False");
  EXPECT_EQ(pod("web")->status.phase, "Running");
  EXPECT_TRUE(waitUntilGone("web", 20s));
}

TEST_F(KubeletSim, aPodThatEndsSucceedsOrFails) {
  runtime_.addImage("job:good", {.runFor = 2s, .exitCode = 0, .stopTakes = {}, .startError = "", .user = ""});
  runtime_.addImage("job:bad", {.runFor = 2s, .exitCode = 3, .stopTakes = {}, .startError = "", .user = ""});
  createPod("good", R"("restartPolicy":"Never","containers":[{"name":"main","image":"job:good"}])");
  createPod("bad", R"("restartPolicy":"Never","containers":[{"name":"main","image":"job:bad"}])");
  ASSERT_TRUE(waitForPhase("good", "Succeeded", 20s));
  ASSERT_TRUE(waitForPhase("bad", "Failed", 20s));
  Ref<Pod> bad = pod("bad");
  ASSERT_NE(bad->status.containerStatuses[0].state.terminated, nullptr);
  EXPECT_EQ(bad->status.containerStatuses[0].state.terminated->exitCode, 3);
  EXPECT_EQ(bad->status.containerStatuses[0].state.terminated->reason, "Error");
  EXPECT_EQ(condition(*bad, "Ready"), "False");
  EXPECT_EQ(condition(*pod("good"), "Initialized"), "True");
  sim_.runFor(2min);
  EXPECT_EQ(runtime_.findContainer("bad", "main")->config().metadata->attempt, 0) << "it is not started again";
  deletePod("good");
  EXPECT_TRUE(waitUntilGone("good", 5s));
}

TEST_F(KubeletSim, aCrashingContainerBacksOff) {
  runtime_.addImage("crash:1", {.runFor = 1ms, .exitCode = 1, .stopTakes = {}, .startError = "", .user = ""});
  createPod("crash", R"("containers":[{"name":"main","image":"crash:1"}])");
  ASSERT_TRUE(waitForPod("crash", [](const Pod& p) { return waitingReason(p) == "CrashLoopBackOff"; }, 10s));
  Ref<Pod> crash = pod("crash");
  EXPECT_EQ(crash->status.phase, "Running");
  EXPECT_TRUE(
      crash->status.containerStatuses[0].state.waiting->message.starts_with("back-off 10s restarting failed container=main"));
  ASSERT_NE(crash->status.containerStatuses[0].lastState.terminated, nullptr);
  int32_t before = crash->status.containerStatuses[0].restartCount;
  EXPECT_EQ(before, 1) << "the first restart comes at once";
  sim_.runFor(75s);  // 10 + 20 + 40
  EXPECT_EQ(pod("crash")->status.containerStatuses[0].restartCount, 4);
  EXPECT_TRUE(contains(eventReasons("crash"), "BackOff"));
  EXPECT_LE(runtime_.containers().size(), 2u) << "dead containers are trimmed";
}

TEST_F(KubeletSim, initContainersRunInOrder) {
  runtime_.addImage("init:1", {.runFor = 1s, .exitCode = 0, .stopTakes = {}, .startError = "", .user = ""});
  createPod("web",
            R"("initContainers":[{"name":"one","image":"init:1"},{"name":"two","image":"init:1"}],
                      "containers":[{"name":"main","image":"busybox:1.36"}])");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return waitingReason(p) == "PodInitializing"; }, 10s));
  EXPECT_EQ(pod("web")->status.phase, "Pending");
  EXPECT_EQ(condition(*pod("web"), "Initialized"), "False");
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  std::vector<std::string> starts;
  for (const std::string& call : runtime_.calls()) {
    if (call.starts_with("CreateContainer")) starts.push_back(call);
  }
  EXPECT_EQ(starts, (std::vector<std::string>{"CreateContainer one", "CreateContainer two", "CreateContainer main"}));
  EXPECT_TRUE(pod("web")->status.initContainerStatuses[0].ready);
}

TEST_F(KubeletSim, sidecarsStartFirstAndEndLast) {
  createPod("web",
            R"("initContainers":[{"name":"side","image":"busybox:1.36","restartPolicy":"Always"}],
                      "containers":[{"name":"main","image":"busybox:1.36"}])");
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  EXPECT_EQ(condition(*pod("web"), "Ready"), "True");
  runtime_.exitContainer(runtime_.findContainer("web", "side")->id, 1);
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return p.status.initContainerStatuses[0].restartCount == 1; }, 10s));
  EXPECT_EQ(pod("web")->status.containerStatuses[0].restartCount, 0);
}

TEST_F(KubeletSim, hooksRunAtOnceAndSidecarsEndInReverse) {
  cri::FakeRuntime::Behavior slow;
  slow.stopTakes = 2s;
  runtime_.addImage("slow:1", slow);
  std::string hooks;
  runtime_.onExecSync = [&](const runtimev1::ExecSyncRequest& request) {
    hooks += std::string(request.cmd[0]) + " ";
    return 0;
  };
  auto hook = [](const char* name) { return fmt::format(R"("lifecycle":{{"preStop":{{"exec":{{"command":["{}"]}}}}}})", name); };
  createPod("web", fmt::format(R"("terminationGracePeriodSeconds":60,
     "initContainers":[{{"name":"s1","image":"slow:1","restartPolicy":"Always",{}}},{{"name":"s2","image":"slow:1","restartPolicy":"Always",{}}}],
     "containers":[{{"name":"main","image":"slow:1",{}}}])",
                               hook("h1"), hook("h2"), hook("hm")));
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  deletePod("web");
  std::vector<std::string> ended;
  for (int i = 0; i < 200 && ended.size() < 3; ++i) {
    sim_.runFor(50ms);
    if (i == 20) EXPECT_EQ(hooks.size(), 9U) << "all hooks ran before anything ended: " << hooks;
    for (const char* name : {"main", "s1", "s2"}) {
      const auto* container = runtime_.findContainer("web", name);
      bool over = container == nullptr || container->state == cri::kContainerExited;
      if (over && std::ranges::find(ended, name) == ended.end()) ended.emplace_back(name);
    }
  }
  EXPECT_EQ(ended, (std::vector<std::string>{"main", "s2", "s1"}));
  EXPECT_TRUE(waitUntilGone("web", 10s));
}

TEST_F(KubeletSim, missingImagesBackOffUntilTheyAppear) {
  createPod("web", R"("containers":[{"name":"main","image":"example.com/none:1"}])");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return waitingReason(p) == "ErrImagePull"; }, 10s));
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return waitingReason(p) == "ImagePullBackOff"; }, 30s));
  EXPECT_EQ(pod("web")->status.phase, "Pending");
  runtime_.addRemoteImage("example.com/none:1", {});
  EXPECT_TRUE(waitForPhase("web", "Running", 3min));
  createPod("never", R"("containers":[{"name":"main","image":"absent:1","imagePullPolicy":"Never"}])");
  EXPECT_TRUE(waitForPod("never", [](const Pod& p) { return waitingReason(p) == "ErrImageNeverPull"; }, 10s));
}

TEST_F(KubeletSim, environmentWaitsForItsConfigMap) {
  createPod("web", R"json("containers":[{"name":"main","image":"busybox:1.36","env":[
    {"name":"COLOR","valueFrom":{"configMapKeyRef":{"name":"settings","key":"color"}}},
    {"name":"SELF","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},
    {"name":"BOTH","value":"$(SELF)-$(COLOR)-$$(SELF)-$(NONE)"}]}])json");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return waitingReason(p) == "CreateContainerConfigError"; }, 10s));
  EXPECT_EQ(pod("web")->status.containerStatuses[0].state.waiting->message, "configmap \"settings\" not found");
  struct Make {
    static Task<void> configMap(client::Client* client) {
      auto map = schema::newObject<corev1::ConfigMap>();
      map->metadata.name = "settings";
      schema::set(map->data, map.arena(), "color", "blue");
      EXPECT_TRUE(co_await client::create<corev1::ConfigMap>(*client, "default", std::move(map)));
    }
  };
  run(Make::configMap(admin_.get()));
  ASSERT_TRUE(waitForPhase("web", "Running", 30s));
  EXPECT_EQ(containerVariable("web", "main", "BOTH"), "web-blue-$(SELF)-$(NONE)");
}

TEST_F(KubeletSim, aRestartedKubeletAdoptsItsPods) {
  createPod("web", kOne);
  ASSERT_TRUE(waitForPhase("web", "Running"));
  std::string id = runtime_.findContainer("web", "main")->id;
  stopKubelet();
  createPod("late", kOne);
  sim_.runFor(5s);
  startKubelet();
  ASSERT_TRUE(waitForPhase("late", "Running", 20s));
  sim_.runFor(10s);
  EXPECT_EQ(runtime_.findContainer("web", "main")->id, id);
  EXPECT_EQ(pod("web")->status.containerStatuses[0].restartCount, 0);
  EXPECT_EQ(condition(*pod("web"), "Ready"), "True");
}

TEST_F(KubeletSim, aRestartedKubeletKeepsReadiness) {
  bool answers = true;
  runtime_.onExecSync = [&](const runtimev1::ExecSyncRequest&) { return answers ? 0 : 1; };
  createPod("web", R"("containers":[{"name":"main","image":"busybox:1.36",
     "startupProbe":{"exec":{"command":["started"]},"periodSeconds":1},
     "readinessProbe":{"exec":{"command":["ready"]},"periodSeconds":30,"failureThreshold":2}}])");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return condition(p, "Ready") == "True"; }, 60s));
  auto since = [this] {
    for (const auto& each : pod("web")->status.conditions)
      if (each.type == "Ready") return each.lastTransitionTime.unixSeconds();
    return int64_t{0};
  };
  int64_t before = since();
  sim_.runFor(30s);
  stopKubelet();
  answers = false;  // the first probe after the restart fails; one failure is below the threshold
  startKubelet();
  sim_.runFor(20s);
  EXPECT_EQ(condition(*pod("web"), "Ready"), "True");
  EXPECT_EQ(since(), before);
  EXPECT_TRUE(pod("web")->status.containerStatuses[0].started.valueOr(false));
  EXPECT_TRUE(waitForPod("web", [](const Pod& p) { return condition(p, "Ready") == "False"; }, 2min));
}

TEST_F(KubeletSim, aProbeHasAGraceOfItsOwn) {
  bool alive = true;
  runtime_.onExecSync = [&](const runtimev1::ExecSyncRequest&) { return alive ? 0 : 1; };
  cri::FakeRuntime::Behavior stubborn;
  stubborn.stopTakes = 10min;
  runtime_.addImage("busybox:1.36", stubborn);
  createPod("web", R"("terminationGracePeriodSeconds":300,"containers":[{"name":"main","image":"busybox:1.36",
     "livenessProbe":{"exec":{"command":["alive"]},"periodSeconds":1,"failureThreshold":1,"terminationGracePeriodSeconds":5}}])");
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  alive = false;
  sim_.runFor(2s);
  alive = true;
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return p.status.containerStatuses[0].restartCount == 1; }, 30s));
}

TEST_F(KubeletSim, orphansAreRemovedAfterARestart) {
  createPod("web", kOne);
  ASSERT_TRUE(waitForPhase("web", "Running"));
  stopKubelet();
  deletePod("web", 0);
  EXPECT_FALSE(pod("web"));
  startKubelet();
  sim_.runFor(30s);
  EXPECT_TRUE(runtime_.containers().empty());
  EXPECT_TRUE(runtime_.sandboxes().empty());
  EXPECT_TRUE(sim_.env().files.listDirectory("/var/lib/kubelet/pods")->empty());
}

TEST_F(KubeletSim, aDeadSandboxIsReplaced) {
  createPod("web", kOne);
  ASSERT_TRUE(waitForPhase("web", "Running"));
  std::string ip(pod("web")->status.podIP);
  runtime_.stopSandboxFromOutside(runtime_.sandboxes().begin()->first);
  ASSERT_TRUE(waitForPod(
      "web", [](const Pod& p) { return p.status.containerStatuses[0].restartCount == 1 && p.status.containerStatuses[0].ready; },
      30s));
  EXPECT_NE(pod("web")->status.podIP, ip);
  EXPECT_TRUE(contains(eventReasons("web"), "SandboxChanged"));
}

TEST_F(KubeletSim, probesDecideReadinessAndRestarts) {
  int32_t ready = 1, alive = 0;
  runtime_.onExecSync = [&](const runtimev1::ExecSyncRequest& request) { return request.cmd[0] == "ready" ? ready : alive; };
  createPod("web", R"spec("containers":[{"name":"main","image":"busybox:1.36","env":[{"name":"WORD","value":"ready"}],
     "readinessProbe":{"exec":{"command":["$(WORD)"]},"periodSeconds":1},
     "livenessProbe":{"exec":{"command":["alive"]},"periodSeconds":1,"failureThreshold":2}}])spec");
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  sim_.runFor(5s);
  EXPECT_EQ(condition(*pod("web"), "Ready"), "False");
  ready = 0;
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return condition(p, "Ready") == "True"; }, 5s));
  alive = 1;
  sim_.runFor(4s);
  alive = 0;
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return p.status.containerStatuses[0].restartCount == 1; }, 20s));
  EXPECT_TRUE(contains(eventReasons("web"), "Unhealthy"));
}

TEST_F(KubeletSim, aProbeCommandThatTakesTooLongFails) {
  createPod("web", R"x("containers":[{"name":"main","image":"busybox:1.36","env":[{"name":"WORD","value":"ready"}],
     "readinessProbe":{"exec":{"command":["cat","/tmp/$(WORD)"]},"periodSeconds":1,"timeoutSeconds":2}}])x");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return condition(p, "Ready") == "True"; }, 10s));
  runtime_.failNext("ExecSync", Error(Reason::Timeout, "context deadline exceeded"), 3);
  sim_.runFor(5s);
  EXPECT_TRUE(contains(eventReasons("web"), "Readiness probe failed: command timed out: \"cat /tmp/ready\" timed out after 2s"));
  EXPECT_TRUE(contains(eventReasons("web"), "Unhealthy"));
}

TEST_F(KubeletSim, aFailedStartIsTriedAgainBeforeTheNextRelist) {
  stopKubelet();
  runtime_.offersEvents = true;
  startKubelet();
  sim_.runFor(20s);
  runtime_.addImage("broken:1", {.runFor = {}, .exitCode = 0, .stopTakes = {}, .startError = "no such file", .user = ""});
  createPod("web", R"("containers":[{"name":"main","image":"broken:1"}])");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return waitingReason(p) == "RunContainerError"; }, 1s));
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return p.status.containerStatuses[0].restartCount == 1; }, 3s));
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return waitingReason(p) == "CrashLoopBackOff"; }, 3s));
}

TEST_F(KubeletSim, runAsNonRootIsEnforced) {
  createPod("web", R"("securityContext":{"runAsNonRoot":true},"containers":[{"name":"main","image":"busybox:1.36"}])");
  ASSERT_TRUE(waitForPod("web", [](const Pod& p) { return waitingReason(p) == "CreateContainerConfigError"; }, 10s));
  EXPECT_NE(pod("web")->status.containerStatuses[0].state.waiting->message.find("image will run as root"), schema::Str::npos);
}

TEST_F(KubeletSim, volumesThatFailAreNamed) {
  createPod("web", R"("containers":[{"name":"main","image":"busybox:1.36"}],"volumes":[
     {"name":"one","configMap":{"name":"absent"}},{"name":"two","secret":{"secretName":"absent"}},
     {"name":"three","configMap":{"name":"kube-root-ca.crt","items":[{"key":"k","path":"p"}]}}])");
  sim_.runFor(2s);
  std::vector<std::string> events = eventReasons("web");
  for (const char* text : {R"(MountVolume.SetUp failed for volume "one" : configmap "absent" not found)",
                           R"(MountVolume.SetUp failed for volume "two" : secret "absent" not found)",
                           R"(MountVolume.SetUp failed for volume "three" : configmap references non-existent config key: k)"})
    EXPECT_TRUE(contains(events, text)) << text;
  EXPECT_EQ(waitingReason(*pod("web")), "ContainerCreating");
}

TEST_F(KubeletSim, activeDeadlineEndsThePod) {
  createPod("web", R"("activeDeadlineSeconds":5,"restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1.36"}])");
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  ASSERT_TRUE(waitForPhase("web", "Failed", 7s)) << "it does not wait for the next regular look";
  EXPECT_EQ(pod("web")->status.reason, "DeadlineExceeded");
}

TEST_F(KubeletSim, podsThatDoNotFitAreRejected) {
  createPod("big", R"("containers":[{"name":"main","image":"busybox:1.36","resources":{"requests":{"cpu":"3"}}}])");
  ASSERT_TRUE(waitForPhase("big", "Running", 10s));
  createPod("late", R"("containers":[{"name":"main","image":"busybox:1.36","resources":{"requests":{"cpu":"2"}}}])");
  ASSERT_TRUE(waitForPhase("late", "Failed", 10s));
  EXPECT_EQ(pod("late")->status.reason, "OutOfcpu");
  EXPECT_EQ(pod("late")->status.message,
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000");
  createPod(
      "unsafe",
      R"("securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]},"containers":[{"name":"main","image":"busybox:1.36"}])");
  ASSERT_TRUE(waitForPhase("unsafe", "Failed", 10s));
  EXPECT_EQ(pod("unsafe")->status.reason, "SysctlForbidden");
  sim_.runFor(30s);
  EXPECT_EQ(runtime_.findContainer("late", "main"), nullptr);
  EXPECT_TRUE(pod("late")->status.containerStatuses.empty()) << "kubectl would show them instead of the reason";
  EXPECT_EQ(pod("late")->status.reason, "OutOfcpu");
  deletePod("late");
  EXPECT_TRUE(waitUntilGone("late", 5s));
}

TEST_F(KubeletSim, largeLogsAreRotated) {
  createPod("web", kOne);
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  std::string directory = fmt::format("/var/log/pods/default_web_{}/main", pod("web")->metadata.uid);
  env::Files& files = sim_.env().files;
  for (int round = 0; round < 7; ++round) {
    ASSERT_TRUE(files.appendFile(directory + "/0.log", std::string(11 << 20, 'x')));
    sim_.runFor(11s);
    EXPECT_FALSE(files.status(directory + "/0.log")) << "put aside; the runtime opens a new one";
  }
  std::vector<std::string> names = files.listDirectory(directory).value();
  EXPECT_EQ(names.size(), 4u) << "with the current one five";
}

TEST_F(KubeletSim, manyPodsStartTogether) {
  for (int i = 0; i < 30; ++i) createPod(fmt::format("p{}", i), kOne);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(waitForPhase(fmt::format("p{}", i), "Running", 20s));
}

}  // namespace
}  // namespace knarr::kubelet
