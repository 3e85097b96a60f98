#include "kubelet/pod_status.h"

#include "kubelet/test_pod_for_test.h"

namespace knarr::kubelet {
namespace {

using corev1::Pod;
using schema::Ref;

StatusInputs inputs(bool terminal = false) {
  StatusInputs in;
  in.nowUnixSeconds = 1'000'000;
  in.nodeIps = {"192.168.0.1"};
  in.runtimeName = "containerd";
  in.podIsTerminal = terminal;
  in.podInitialized = true;
  in.needsSandbox = false;
  in.ready = [](std::string_view) { return true; };
  in.started = [](std::string_view) { return true; };
  return in;
}
std::string phase(const char* spec, const std::vector<std::string>& runtime, bool terminal = false) {
  StatusInputs in = inputs(terminal);
  in.podInitialized = !runtime.empty() && runtime[0].starts_with("a:");
  return std::string(generateApiPodStatus(podOf(spec), runtimeOf(runtime), in)->status.phase);
}

constexpr const char* kOne = R"("containers":[{"name":"a","image":"i"}])";
constexpr const char* kTwo = R"("containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}])";
constexpr const char* kTwoNever = R"("restartPolicy":"Never","containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}])";
constexpr const char* kInit = R"("initContainers":[{"name":"i1","image":"i"}],"containers":[{"name":"a","image":"i"}])";
constexpr const char* kInitNever =
    R"("restartPolicy":"Never","initContainers":[{"name":"i1","image":"i"}],"containers":[{"name":"a","image":"i"}])";
constexpr const char* kSidecar =
    R"("restartPolicy":"Never","initContainers":[{"name":"s","image":"i","restartPolicy":"Always"}],"containers":[{"name":"a","image":"i"}])";

TEST(PodPhase, followsTheContainers) {
  EXPECT_EQ(phase(kTwo, {}), "Pending");
  EXPECT_EQ(phase(kTwo, {"a:running"}), "Pending") << "b waits";
  EXPECT_EQ(phase(kTwo, {"a:running", "b:running"}), "Running");
  EXPECT_EQ(phase(kTwo, {"a:exited=0", "b:running"}), "Running");
  EXPECT_EQ(phase(kTwo, {"a:exited=0", "b:exited=0"}), "Running") << "Always starts them again";
  EXPECT_EQ(phase(kTwo, {"a:exited=0", "b:exited=0"}, true), "Succeeded");
  EXPECT_EQ(phase(kTwo, {"a:exited=0", "b:exited=1"}, true), "Failed");
  EXPECT_EQ(phase(kTwoNever, {"a:exited=0", "b:running"}), "Running");
  EXPECT_EQ(phase(kTwoNever, {"a:exited=0", "b:exited=0"}), "Succeeded");
  EXPECT_EQ(phase(kTwoNever, {"a:exited=0", "b:exited=1"}), "Failed");
  EXPECT_EQ(phase(kInit, {"i1:running"}), "Pending");
  EXPECT_EQ(phase(kInit, {"i1:exited=1"}), "Pending") << "it is tried again";
  EXPECT_EQ(phase(kInitNever, {"i1:exited=1"}), "Failed");
  EXPECT_EQ(phase(kInit, {"a:running", "i1:exited=0"}), "Running");
  EXPECT_EQ(phase(kSidecar, {"a:running", "s:running"}), "Running");
  EXPECT_EQ(phase(kSidecar, {"a:exited=0", "s:exited=137"}, true), "Succeeded") << "a sidecar's end decides nothing";
}

TEST(PodStatus, aTerminalPhaseIsNeverLeft) {
  auto pod = schema::edit(podOf(kOne));
  pod->status.phase = "Succeeded";
  auto next = generateApiPodStatus(std::move(pod).publish(), runtimeOf({"a:running"}), inputs());
  EXPECT_EQ(next->status.phase, "Succeeded");
}

std::string condition(const schema::Mut<Pod>& pod, std::string_view type) {
  for (const auto& each : pod->status.conditions) {
    if (each.type == type) return fmt::format("{} {} {}", each.status, each.reason, each.message);
  }
  return "absent";
}

TEST(PodStatus, conditionsSayWhatIsMissing) {
  auto pending = generateApiPodStatus(podOf(kInit), runtimeOf({"i1:running"}), inputs());
  EXPECT_EQ(condition(pending, "Initialized"), "False ContainersNotInitialized containers with incomplete status: [i1]");
  EXPECT_EQ(condition(pending, "Ready"), "False ContainersNotReady containers with unready status: [a]");
  EXPECT_EQ(pending->status.containerStatuses[0].state.waiting->reason, "PodInitializing");
  auto done = generateApiPodStatus(podOf(kTwoNever), runtimeOf({"a:exited=0", "b:exited=0"}), inputs());
  EXPECT_EQ(condition(done, "Ready"), "False PodCompleted ");
  EXPECT_EQ(condition(done, "Initialized"), "True PodCompleted ");
  auto gated =
      generateApiPodStatus(podOf(R"("readinessGates":[{"conditionType":"x/y"}],"containers":[{"name":"a","image":"i"}])"),
                           runtimeOf({"a:running"}), inputs());
  EXPECT_EQ(condition(gated, "ContainersReady"), "True  ");
  EXPECT_EQ(condition(gated, "Ready"),
            "False ReadinessGatesNotReady corresponding condition of pod readiness gate \"x/y\" "
            "does not exist.");
}

TEST(PodStatus, transitionTimesChangeWithTheStatusOnly) {
  auto first = generateApiPodStatus(podOf(kOne), runtimeOf({"a:running"}), inputs());
  StatusInputs later = inputs();
  later.nowUnixSeconds += 100;
  auto second = generateApiPodStatus(std::move(first).publish(), runtimeOf({"a:running"}), later);
  for (const auto& each : second->status.conditions) EXPECT_EQ(each.lastTransitionTime.unixSeconds(), 1'000'000);
  EXPECT_EQ(second->status.startTime.value.unixSeconds(), 1'000'000);
}

TEST(PodStatus, historyOfAContainer) {
  auto next = generateApiPodStatus(podOf(kOne), runtimeOf({"a:running", "a:exited=3"}), inputs());
  const corev1::ContainerStatus& status = next->status.containerStatuses[0];
  EXPECT_TRUE(status.containerID.starts_with("containerd://a-"));
  ASSERT_NE(status.lastState.terminated, nullptr);
  EXPECT_EQ(status.lastState.terminated->exitCode, 3);

  StatusInputs failing = inputs();
  failing.startFailures["a"] = {"CrashLoopBackOff", "back-off 10s"};
  auto waiting = generateApiPodStatus(podOf(kOne), runtimeOf({"a:exited=3"}), failing);
  ASSERT_NE(waiting->status.containerStatuses[0].state.waiting, nullptr);
  EXPECT_EQ(waiting->status.containerStatuses[0].state.waiting->reason, "CrashLoopBackOff");
  EXPECT_EQ(waiting->status.containerStatuses[0].lastState.terminated->exitCode, 3);
  EXPECT_EQ(waiting->status.phase, "Running");
}

TEST(PodStatus, aVanishedContainerIsSaidSo) {
  auto running = generateApiPodStatus(podOf(kOne), runtimeOf({"a:running"}), inputs());
  auto next = generateApiPodStatus(std::move(running).publish(), runtimeOf({}), inputs());
  const corev1::ContainerStatus& status = next->status.containerStatuses[0];
  ASSERT_NE(status.lastState.terminated, nullptr);
  EXPECT_EQ(status.lastState.terminated->reason, "ContainerStatusUnknown");
  EXPECT_EQ(status.lastState.terminated->exitCode, 137);
  EXPECT_EQ(status.restartCount, 1);
}

TEST(PodStatus, addresses) {
  auto next = generateApiPodStatus(podOf(kOne), runtimeOf({"a:running"}), inputs());
  EXPECT_EQ(next->status.podIP, "10.0.0.9");
  EXPECT_EQ(next->status.hostIP, "192.168.0.1");
  RuntimePod dual = runtimeOf({"a:running"});
  dual.sandboxes[0].ips = {"fd00::9", "10.0.0.9", "10.0.0.10"};
  auto both = generateApiPodStatus(podOf(kOne), dual, inputs());
  ASSERT_EQ(both->status.podIPs.size(), 2u);
  EXPECT_EQ(both->status.podIPs[0].ip, "10.0.0.9");
  EXPECT_EQ(both->status.podIPs[1].ip, "fd00::9");
  auto host =
      generateApiPodStatus(podOf(R"("hostNetwork":true,"containers":[{"name":"a","image":"i"}])"), runtimeOf({}), inputs());
  EXPECT_EQ(host->status.podIP, "192.168.0.1");
}

TEST(TerminateStatus, endsWhatIsOpen) {
  auto pod = generateApiPodStatus(podOf(kInit), runtimeOf({"i1:running"}), inputs());
  terminateStatus(pod);
  EXPECT_EQ(pod->status.phase, "Failed");
  EXPECT_EQ(pod->status.initContainerStatuses[0].state.terminated->reason, "ContainerStatusUnknown");
  EXPECT_EQ(pod->status.containerStatuses[0].state.terminated->exitCode, 137);
  auto done = generateApiPodStatus(podOf(kTwoNever), runtimeOf({"a:exited=0", "b:exited=0"}), inputs(true));
  terminateStatus(done);
  EXPECT_EQ(done->status.phase, "Succeeded");
}

TEST(ContainerStatuses, showWhatWasGranted) {
  constexpr const char* kSpec =
      R"("containers":[{"name":"a","image":"i","resources":{"limits":{"cpu":"1"},"requests":{"cpu":"500m","memory":"1Mi"}}},{"name":"b","image":"i"}])";
  auto pod = generateApiPodStatus(podOf(kSpec), runtimeOf({"a:running"}), inputs());
  const auto& statuses = pod->status.containerStatuses;
  ASSERT_EQ(statuses.size(), 2U);
  ASSERT_NE(statuses[0].resources, nullptr);
  EXPECT_EQ(codec::encodeJsonValue(schema::typeInfoOf<corev1::ResourceRequirements>(), statuses[0].resources),
            R"({"limits":{"cpu":"1"},"requests":{"cpu":"500m","memory":"1Mi"}})");
  EXPECT_EQ(statuses[0].allocatedResources.size(), 2U);
  EXPECT_EQ(statuses[1].resources, nullptr) << "nothing runs yet";
}

}  // namespace
}  // namespace knarr::kubelet
