#include "kubelet/pod_actions.h"

#include "kubelet/test_pod_for_test.h"

namespace knarr::kubelet {
namespace {

std::string describe(const corev1::Pod& pod, const PodActions& actions) {
  std::string out;
  auto add = [&](const std::string& text) { out += (out.empty() ? "" : " ") + text; };
  if (actions.killPod) add("killPod");
  if (actions.createSandbox) add(fmt::format("sandbox#{}", actions.attempt));
  for (const auto& kill : actions.containersToKill) add("kill:" + kill.name);
  for (size_t i : actions.initContainersToStart) add(fmt::format("init:{}", pod.spec.initContainers[i].name));
  for (size_t i : actions.containersToStart) add(fmt::format("start:{}", pod.spec.containers[i].name));
  return out;
}

struct Row {
  const char* what;
  const char* spec;
  std::vector<std::string> runtime;
  const char* actions;
  bool sandboxReady = true;
};

constexpr const char* kOne = R"("containers":[{"name":"a","image":"i"}])";
constexpr const char* kTwo = R"("containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}])";
constexpr const char* kNever = R"("restartPolicy":"Never","containers":[{"name":"a","image":"i"}])";
constexpr const char* kOnFailure = R"("restartPolicy":"OnFailure","containers":[{"name":"a","image":"i"}])";
constexpr const char* kInit =
    R"("initContainers":[{"name":"i1","image":"i"},{"name":"i2","image":"i"}],"containers":[{"name":"a","image":"i"}])";
constexpr const char* kInitNever =
    R"("restartPolicy":"Never","initContainers":[{"name":"i1","image":"i"}],"containers":[{"name":"a","image":"i"}])";
constexpr const char* kSidecar =
    R"("initContainers":[{"name":"side","image":"i","restartPolicy":"Always"},{"name":"i2","image":"i"}],"containers":[{"name":"a","image":"i"}])";

TEST(ComputePodActions, decides) {
  const std::vector<Row> rows = {
      {"all is well", kOne, {"a:running"}, ""},
      {"a missing container is started", kTwo, {"a:running"}, "start:b"},
      {"an ended container is started again", kOne, {"a:exited=0"}, "start:a"},
      {"a created container is started again", kOne, {"a:created"}, "start:a"},
      {"one in an unknown state is killed first", kOne, {"a:unknown"}, "kill:a start:a"},
      {"Never leaves it ended and the pod goes", kNever, {"a:exited=1"}, "killPod"},
      {"OnFailure restarts a failure", kOnFailure, {"a:exited=1"}, "start:a"},
      {"OnFailure leaves a success", kOnFailure, {"a:exited=0"}, "killPod"},
      {"a dead sandbox takes everything along", kOne, {"a:running"}, "killPod sandbox#1 start:a", false},
      {"no new sandbox for a pod that ran once under Never", kNever, {"a:exited=1"}, "killPod", false},
      {"no new sandbox when all succeeded", kOnFailure, {"a:exited=0"}, "killPod", false},
      {"with init containers a new sandbox starts the first", kInit, {"a:running"}, "killPod sandbox#1 init:i1", false},
      {"the first init container", kInit, {}, "init:i1"},
      {"an init container runs: wait", kInit, {"i1:running"}, ""},
      {"the next init container", kInit, {"i1:exited=0"}, "init:i2"},
      {"all init containers are done", kInit, {"i2:exited=0", "i1:exited=0"}, "start:a"},
      {"a failed init container again", kInit, {"i2:exited=1", "i1:exited=0"}, "init:i2"},
      {"a failed init container ends a pod of Never", kInitNever, {"i1:exited=1"}, "killPod"},
      {"init containers are not looked at once the pod runs", kInit, {"a:running", "i2:exited=1"}, ""},
      {"a sidecar first", kSidecar, {}, "init:side"},
      {"a sidecar that started lets the next begin", kSidecar, {"side:running"}, "init:i2"},
      {"a dead sidecar again, beside the others", kSidecar, {"a:running", "i2:exited=0", "side:exited=1"}, "init:side"},
      {"sidecars and init are done", kSidecar, {"i2:exited=0", "side:running"}, "start:a"},
      {"a missing sidecar of a running pod", kSidecar, {"a:running", "i2:exited=0"}, "init:side"},
  };
  ProbeView fine{[](std::string_view) { return false; }, [](std::string_view) { return false; },
                 [](std::string_view) { return true; }};
  for (const Row& row : rows) {
    auto pod = podOf(row.spec);
    PodActions actions = computePodActions(*pod, runtimeOf(row.runtime, row.sandboxReady), fine);
    EXPECT_EQ(describe(*pod, actions), row.actions) << row.what;
  }
}

TEST(ComputePodActions, probesKill) {
  ProbeView dead{[](std::string_view name) { return name == "a"; }, [](std::string_view) { return false; },
                 [](std::string_view) { return true; }};
  auto pod = podOf(kTwo);
  PodActions actions = computePodActions(*pod, runtimeOf({"a:running", "b:running"}), dead);
  EXPECT_EQ(describe(*pod, actions), "kill:a start:a");
  EXPECT_EQ(actions.containersToKill[0].message, "Container a failed liveness probe, will be restarted");
  auto never = podOf(R"("restartPolicy":"Never","containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}])");
  EXPECT_EQ(describe(*never, computePodActions(*never, runtimeOf({"a:running", "b:running"}), dead)), "kill:a");
  ProbeView starting{[](std::string_view) { return false; }, [](std::string_view) { return false; },
                     [](std::string_view name) { return name != "side"; }};
  auto sidecar = podOf(kSidecar);
  EXPECT_EQ(describe(*sidecar, computePodActions(*sidecar, runtimeOf({"side:running"}), starting)), "");
}

TEST(ComputePodActions, aChangedImageRestartsEvenUnderNever) {
  ProbeView fine{[](std::string_view) { return false; }, [](std::string_view) { return false; },
                 [](std::string_view) { return true; }};
  auto pod = podOf(kNever);
  RuntimePod runtime = runtimeOf({"a:running"});
  runtime.containers[0].hash = containerHash(pod->spec.containers[0]);
  EXPECT_TRUE(computePodActions(*pod, runtime, fine).empty());
  runtime.containers[0].hash = "1234";
  EXPECT_EQ(describe(*pod, computePodActions(*pod, runtime, fine)), "kill:a start:a");
}

TEST(ShouldContainerBeRestarted, rulesComeBeforePolicies) {
  auto pod = podOf(
      R"("restartPolicy":"Never","containers":[{"name":"a","image":"i","restartPolicy":"Never",
      "restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[42]}}]}])");
  RuntimePod listed = runtimeOf({"a:exited=42"}), other = runtimeOf({"a:exited=1"});
  EXPECT_TRUE(shouldContainerBeRestarted(*pod, pod->spec.containers[0], &listed.containers[0]));
  EXPECT_FALSE(shouldContainerBeRestarted(*pod, pod->spec.containers[0], &other.containers[0]));
  auto deleted = podOf(kOne, R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")");
  EXPECT_FALSE(shouldContainerBeRestarted(*deleted, deleted->spec.containers[0], nullptr));
}

}  // namespace
}  // namespace knarr::kubelet
