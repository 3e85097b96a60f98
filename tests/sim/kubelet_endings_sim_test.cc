// Probes, hooks, and how pods end.
#include "kubelet_sim.h"

namespace knarr::kubelet {
namespace {

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

TEST_F(KubeletSim, aPodThatIsToEndWaitsForNoImage) {
  runtime_.delays.pull = 10min;
  runtime_.addRemoteImage("docker.io/library/large:1", {});
  createPod("web", R"("containers":[{"name":"main","image":"large:1"}])");
  sim_.runFor(30s);
  deletePod("web");
  EXPECT_TRUE(waitUntilGone("web", 5s));
  sim_.runFor(5s);
  EXPECT_TRUE(runtime_.sandboxes().empty());
}

TEST_F(KubeletSim, aPodThatIsToEndWaitsForNoPostStart) {
  createPod("web", R"("terminationGracePeriodSeconds":600,
     "containers":[{"name":"main","image":"busybox:1.36","lifecycle":{"postStart":{"sleep":{"seconds":500}}}},
     {"name":"after","image":"busybox:1.36"}])");
  sim_.runFor(30s);
  deletePod("web", 3);
  EXPECT_TRUE(waitUntilGone("web", 5s));
  EXPECT_EQ(runtime_.findContainer("web", "after"), nullptr);
}

// The grace of the container that was to be replaced does not come on top of the pod's.
TEST_F(KubeletSim, aPodThatIsToEndWaitsForNoReplacement) {
  runtime_.addImage("stubborn:1", {.runFor = {}, .exitCode = 0, .stopTakes = 1h, .startError = "", .user = ""});
  runtime_.addImage("stubborn:2", {.runFor = {}, .exitCode = 0, .stopTakes = 1h, .startError = "", .user = ""});
  createPod("web", R"("terminationGracePeriodSeconds":60,"containers":[{"name":"main","image":"stubborn:1"}])");
  ASSERT_TRUE(waitForPhase("web", "Running"));
  patchPod("web", R"({"spec":{"containers":[{"name":"main","image":"stubborn:2"}]}})");
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

TEST_F(KubeletSim, activeDeadlineEndsThePod) {
  createPod("web", R"("activeDeadlineSeconds":5,"restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1.36"}])");
  ASSERT_TRUE(waitForPhase("web", "Running", 10s));
  ASSERT_TRUE(waitForPhase("web", "Failed", 7s)) << "it does not wait for the next regular look";
  EXPECT_EQ(pod("web")->status.reason, "DeadlineExceeded");
}

}  // namespace
}  // namespace knarr::kubelet
