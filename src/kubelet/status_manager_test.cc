#include "kubelet/status_manager.h"

#include <gtest/gtest.h>

#include "kubelet/test_pod_for_test.h"

namespace knarr::kubelet {
namespace {

using corev1::Pod;
using schema::Mut;
using schema::Ref;

Ref<Pod> podIn(std::string_view phase, std::string_view reason = "") {
  Mut<Pod> pod = schema::edit(podOf(R"("containers":[{"name":"a","image":"i"}])"));
  pod->status.phase = pod.str(phase);
  pod->status.reason = pod.str(reason);
  return std::move(pod).publish();
}

TEST(PodStatusMerge, aTerminalPhaseIsNeverLeft) {
  struct Row {
    std::string_view api, own, sent;  // `sent` is "" when nothing is
    bool running;
  };
  for (const Row& row :
       {Row{"Pending", "Running", "Running", true}, Row{"Running", "Failed", "", true}, Row{"Running", "Failed", "Failed", false},
        Row{"Failed", "Running", "", true}, Row{"Failed", "Succeeded", "", false}, Row{"Succeeded", "Failed", "", false}}) {
    Mut<Pod> merged = mergePodStatus(podIn(row.api), podIn(row.own)->status, row.running);
    EXPECT_EQ(merged ? std::string(merged->status.phase) : "", row.sent) << row.api << " and " << row.own;
  }
}

TEST(PodStatusMerge, theWorkerSeesTheEndThatOthersWrote) {
  Mut<Pod> seen = withOwnStatus(podIn("Failed", "Lost"), podIn("Running")->status);
  EXPECT_EQ(seen->status.phase, "Failed");
  EXPECT_EQ(seen->status.reason, "Lost");
  EXPECT_EQ(withOwnStatus(podIn("Pending"), podIn("Running")->status)->status.phase, "Running");
  EXPECT_EQ(withOwnStatus(podIn("Running"), podIn("Failed")->status)->status.phase, "Failed");
}

}  // namespace
}  // namespace knarr::kubelet
