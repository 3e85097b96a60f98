// How pods start, and what keeps them from it.
#include "kubelet_sim.h"

namespace knarr::kubelet {
namespace {

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

TEST_F(KubeletSim, aPodThatTheApiForgotMakesRoom) {
  runtime_.addImage("stubborn:1", {.runFor = {}, .exitCode = 0, .stopTakes = 1h, .startError = "", .user = ""});
  createPod("big", R"("containers":[{"name":"main","image":"stubborn:1","resources":{"requests":{"cpu":"3"}}}])");
  ASSERT_TRUE(waitForPhase("big", "Running", 10s));
  deletePod("big", 0);
  createPod("next", R"("containers":[{"name":"main","image":"busybox:1.36","resources":{"requests":{"cpu":"2"}}}])");
  EXPECT_NE(runtime_.findContainer("big", "main"), nullptr) << "it is still ending";
  EXPECT_TRUE(waitForPhase("next", "Running", 10s));
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
