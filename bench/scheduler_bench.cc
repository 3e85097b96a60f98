// How many pods a second the scheduler decides: 1,000 and 5,000 nodes that fill up, half of the pods with preferences.
// CPU time of this thread, which a busy machine blurs little. Expected: 500 nodes scored by five plugins are about 100 us a pod.
//
//   scheduler_bench [PODS, default 2000]
#include <fmt/format.h>
#include <time.h>

#include <cstdlib>

#include "codec/codec.h"
#include "scheduler/framework.h"
#include "scheduler/plugins/plugins.h"

namespace knarr::scheduler {
namespace {

template <class T>
schema::Ref<T> parse(const std::string& json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<T>(), json);
  if (!decoded) {
    fmt::print(stderr, "{}: {}\n", json, decoded.error().describe());
    std::exit(1);
  }
  return schema::Mut<T>(std::move(decoded->object)).publish();
}

schema::Ref<corev1::Node> node(int i) {
  std::string images;
  for (int image = 0; image < 20; ++image)
    images += fmt::format(R"({}{{"names":["registry/app{}:1","registry/app{}@sha256:0"],"sizeBytes":{}}})", image ? "," : "",
                          (i + image) % 40, (i + image) % 40, (image + 1) * 30'000'000);
  return parse<corev1::Node>(fmt::format(
      R"({{"metadata":{{"name":"node-{0:05}","labels":{{"zone":"z{1}","kubernetes.io/hostname":"node-{0:05}"}}}},
          "spec":{{{2}}},"status":{{"allocatable":{{"cpu":"16","memory":"64Gi","pods":"110","ephemeral-storage":"100Gi"}},"images":[{3}]}}}})",
      i, i % 3, i % 10 ? "" : R"("taints":[{"key":"dedicated","value":"x","effect":"NoSchedule"}])", images));
}

schema::Ref<corev1::Pod> pod(int i) {
  std::string affinity =
      i % 2 ? ""
            : fmt::format(
                  R"("affinity":{{"nodeAffinity":{{"preferredDuringSchedulingIgnoredDuringExecution":[{{"weight":10,"preference":
         {{"matchExpressions":[{{"key":"zone","operator":"In","values":["z{}"]}}]}}}}]}}}},)",
                  i % 3);
  return parse<corev1::Pod>(fmt::format(
      R"({{"metadata":{{"name":"pod-{0}","uid":"{0}","namespace":"default"}},"spec":{{{1}"containers":[{{"name":"c","image":"registry/app{2}:1",
          "resources":{{"requests":{{"cpu":"250m","memory":"512Mi"}}}}}}]}}}})",
      i, affinity, i % 40));
}

double cpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// `impossible` pods ask for more than any node has: every node is looked at and refuses.
void measure(int nodes, int pods, bool impossible) {
  Cache cache;
  for (int i = 0; i < nodes; ++i) cache.setNode(node(i));
  std::vector<schema::Ref<corev1::Pod>> waiting;
  for (int i = 0; i < pods; ++i) {
    auto one = schema::edit(pod(i));
    if (impossible) one->spec.nodeSelector.at(one.arena(), "zone") = "nowhere";
    waiting.push_back(std::move(one).publish());
  }
  Framework framework(defaultPlugins());
  uint32_t state = 1;
  auto tieBreak = [&](size_t n) { return (state = state * 1664525 + 1013904223) % n; };
  size_t placed = 0;
  double start = cpuSeconds();
  for (const auto& one : waiting) {
    Decision decision = framework.schedulePod(*one, cache, tieBreak);
    if (decision.node.empty()) continue;
    cache.addPod(one, decision.node);
    ++placed;
  }
  double seconds = cpuSeconds() - start;
  fmt::print("nodes={:<5} pods={:<5} placed={:<5} {:>8.0f} pods/s {:>8.1f} us CPU/pod\n", nodes, pods, placed, pods / seconds,
             seconds * 1e6 / pods);
}

}  // namespace
}  // namespace knarr::scheduler

int main(int argc, char** argv) {
  int pods = argc > 1 ? std::max(1, std::atoi(argv[1])) : 2000;
  for (int nodes : {1000, 5000})
    for (bool impossible : {false, true}) knarr::scheduler::measure(nodes, pods, impossible);
}
