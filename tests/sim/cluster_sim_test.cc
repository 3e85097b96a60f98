// The life of a Deployment in a whole simulated cluster, under faults, for many seeds.
//
//   KNARR_SIM_SEEDS=200 cluster_sim_test    that many seeds, from 1
//   KNARR_SIM_SEED=17 cluster_sim_test      this one alone
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "codec/codec.h"
#include "controllers/deployment/deployment.h"
#include "controllers/endpointslice/endpointslice.h"
#include "tests/sim/sim_cluster.h"

namespace knarr::sim {
namespace {

using namespace std::chrono_literals;
using appsv1::Deployment;
using appsv1::ReplicaSet;
using async::Task;
using corev1::Pod;

constexpr uint64_t kSeedsDefault = 200;
// How long a healthy cluster may take for one step; back-offs after faults are in it.
constexpr env::Duration kConvergence = 5min;

Task<void> createDeployment(client::Client* client, std::string json) {
  auto decoded = codec::decodeJson(schema::typeInfoOf<Deployment>(), json);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().describe());
  auto made = co_await client::create<Deployment>(*client, "default", Mut<Deployment>(std::move(decoded->object)));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
}
Task<void> createService(client::Client* client) {
  auto service = schema::newObject<corev1::Service>();
  service->metadata.name = "web";
  schema::set(service->spec.selector, service.arena(), "app", "web");
  service->spec.ports.append(service.arena()).port = 80;
  auto made = co_await client::create<corev1::Service>(*client, "default", std::move(service));
  EXPECT_TRUE(made) << (made ? "" : made.error().describe());
}
Task<void> patchDeployment(client::Client* client, std::string body) {
  auto done = co_await client::patch<Deployment>(*client, "default", "web", client::PatchType::StrategicMerge, body);
  EXPECT_TRUE(done) << (done ? "" : done.error().describe());
}
Task<void> deleteDeployment(client::Client* client, std::string propagation) {
  client::DeleteOptions options;
  options.propagationPolicy = propagation;
  auto done = co_await client::remove<Deployment>(*client, "default", "web", options);
  EXPECT_TRUE(done) << (done ? "" : done.error().describe());
}
Task<void> deleteReplicaSets(client::Client* client) {
  auto done = co_await client->removeCollection(client::resourceOf<ReplicaSet>(), "default", {}, {});
  EXPECT_TRUE(done) << (done ? "" : done.error().describe());
}

class Scenario {
 public:
  explicit Scenario(uint64_t seed) : cluster_(seed) {}

  // Ends at the first step that fails.
  bool play() {
    if (!cluster_.waitFor([this] { return readyNodes() == SimCluster::kNodes; }, 2min))
      return say("the nodes do not become ready");
    if (!cluster_.waitFor([this] { return nodeRanges() == SimCluster::kNodes; }, 1min))
      return say("the nodes have no pod addresses of their own");
    cluster_.run(createService(&cluster_.admin()));
    cluster_.run(createDeployment(&cluster_.admin(), deploymentJson()));
    if (!settle("creation", false)) return false;
    if (!roll("web:2")) return false;
    for (int replicas : {10, 3}) {
      change(fmt::format(R"({{"spec":{{"replicas":{}}}}})", replicas));
      replicas_ = replicas;
      if (!settle(fmt::format("scaling to {}", replicas), true)) return false;
    }
    if (!roll("web:3")) return false;
    if (!remove()) return false;
    if (!cluster_.stopAll()) return say("a component does not stop");
    return cluster_.checker().violations().empty() || say("a rule was broken");
  }
  // A node falls silent: its pods are made anew elsewhere, and it comes back clean.
  bool loseNode() {
    if (!cluster_.waitFor([this] { return readyNodes() == SimCluster::kNodes; }, 2min))
      return say("the nodes do not become ready");
    cluster_.run(createDeployment(&cluster_.admin(), deploymentJson()));
    if (!cluster_.waitFor([this] { return complete(); }, kConvergence)) return say("creation does not end");
    cluster_.stopKubelet(0);
    if (!cluster_.waitFor([this] { return podsElsewhere("node0") == replicas_; }, 10min))
      return say("the pods of a silent node are not replaced");
    // 50 s without a lease, then the five minutes that every pod tolerates.
    if (elapsed() < 340) return say("the pods of a silent node were replaced too early");
    for (const auto& pod : cluster_.list<Pod>("default"))
      if (pod->spec.nodeName == "node0" && !controllers::podCondition(*pod, "DisruptionTarget"))
        return say("an evicted pod does not say why");
    if (!tainted("node0")) return say("the silent node carries no taint");
    cluster_.startKubelet(0);
    if (!cluster_.waitFor([this] { return complete() && !tainted("node0"); }, kConvergence))
      return say("the node does not come back");
    return cluster_.stopAll() && (cluster_.checker().violations().empty() || say("a rule was broken"));
  }
  uint64_t traceHash() { return cluster_.sim().traceHash(); }
  const std::vector<std::string>& complaints() const { return complaints_; }

 private:
  bool say(std::string what) {
    complaints_.push_back(fmt::format("{} (at {:.1f} s)", what, elapsed()));
    for (const std::string& violation : cluster_.checker().violations()) complaints_.push_back(violation);
    for (const auto& pod : cluster_.list<Pod>("default"))
      complaints_.push_back(fmt::format("  pod {} {} on \"{}\" ready {} going {} image {}", pod->metadata.name, pod->status.phase,
                                        pod->spec.nodeName, controllers::isPodReady(*pod),
                                        pod->metadata.deletionTimestamp.present, pod->spec.containers[0].image));
    for (const auto& rs : cluster_.list<ReplicaSet>("default"))
      complaints_.push_back(fmt::format("  rs {} wants {} has {} available {}", rs->metadata.name, rs->spec.replicas.valueOr(-1),
                                        rs->status.replicas, rs->status.availableReplicas));
    return false;
  }
  double elapsed() { return static_cast<double>(cluster_.sim().env().clock.unixNanos() - 1767225600'000'000'000) / 1e9; }

  int readyNodes() {
    int ready = 0;
    for (const auto& node : cluster_.list<corev1::Node>(""))
      for (const auto& condition : node->status.conditions) ready += condition.type == "Ready" && condition.status == "True";
    return ready;
  }

  size_t nodeRanges() {
    std::set<std::string> ranges;
    for (const auto& node : cluster_.list<corev1::Node>(""))
      if (!node->spec.podCIDR.empty()) ranges.emplace(node->spec.podCIDR);
    return ranges.size();
  }

  int podsElsewhere(const std::string& node) {
    int count = 0;
    for (const auto& pod : cluster_.list<Pod>("default"))
      count += controllers::isPodActive(*pod) && controllers::isPodReady(*pod) && pod->spec.nodeName != node;
    return count;
  }
  bool tainted(const std::string& node) {
    Ref<corev1::Node> object = cluster_.get<corev1::Node>("", node);
    return object && !object->spec.taints.empty();
  }

  static std::string deploymentJson() {
    return R"({"metadata":{"name":"web"},"spec":{"replicas":6,"selector":{"matchLabels":{"app":"web"}},
      "strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":2,"maxUnavailable":1}},"revisionHistoryLimit":1,
      "template":{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":5,
      "containers":[{"name":"main","image":"web:1","resources":{"requests":{"cpu":"450m"}}}]}}}})";
  }

  void change(std::string body) { cluster_.run(patchDeployment(&cluster_.admin(), std::move(body))); }

  // A new image; both bounds are watched on every event.
  bool roll(const std::string& image) {
    cluster_.checker().setBounds(Checker::Bounds{replicas_ + 2, replicas_ - 1});
    image_ = image;
    change(fmt::format(R"({{"spec":{{"template":{{"spec":{{"containers":[{{"name":"main","image":"{}"}}]}}}}}}}})", image));
    bool settled = settle("rolling to " + image, false);
    cluster_.checker().setBounds(std::nullopt);
    return settled;
  }

  // Faults for a while, then the cluster must come to what is wanted.
  bool settle(const std::string& what, bool kubeletsToo) {
    cluster_.faultsOn();
    cluster_.chaos(std::chrono::seconds(2 + cluster_.random(15)), kubeletsToo);
    cluster_.faultsOff();
    if (!cluster_.waitFor([this] { return complete(); }, kConvergence)) return say(what + " does not end");
    if (!cluster_.checker().violations().empty()) return say("a rule was broken during " + what);
    return true;
  }

  bool complete() {
    Ref<Deployment> d = cluster_.get<Deployment>("default", "web");
    if (!d || !controllers::isComplete(*d, d->status) || d->status.terminatingReplicas.valueOr(0) != 0) return false;
    std::vector<Ref<Pod>> pods = cluster_.list<Pod>("default");
    if (pods.size() != static_cast<size_t>(replicas_)) return false;
    for (const auto& pod : pods)
      if (!controllers::isPodReady(*pod) || pod->spec.containers[0].image != image_) return false;
    if (!endpointsAre(pods)) return false;
    // One old ReplicaSet is kept.
    return cluster_.list<ReplicaSet>("default").size() <= 2;
  }

  // Both forms of the Service's addresses name exactly these pods. Without the Service there is nothing to compare.
  bool endpointsAre(const std::vector<Ref<Pod>>& pods) {
    if (!cluster_.get<corev1::Service>("default", "web")) return true;
    std::multiset<std::string> wanted, sliced, listed;
    for (const auto& pod : pods) wanted.emplace(pod->metadata.name);
    for (const auto& slice : cluster_.list<discoveryv1::EndpointSlice>("default")) {
      if (schema::valueOf(slice->metadata.labels, controllers::kServiceNameLabel) != "web") continue;
      for (const auto& endpoint : slice->endpoints)
        if (endpoint.conditions.ready.valueOr(false)) sliced.emplace(endpoint.targetRef->name);
    }
    if (Ref<corev1::Endpoints> endpoints = cluster_.get<corev1::Endpoints>("default", "web"))
      for (const auto& subset : endpoints->subsets)
        for (const auto& address : subset.addresses) listed.emplace(address.targetRef->name);
    return sliced == wanted && listed == wanted;
  }

  bool remove() {
    const char* policies[] = {"Background", "Foreground", "Orphan"};
    std::string policy = policies[cluster_.random(3)];
    cluster_.faultsOn();
    cluster_.run(deleteDeployment(&cluster_.admin(), policy));
    cluster_.chaos(std::chrono::seconds(2 + cluster_.random(10)), true);
    cluster_.faultsOff();
    auto gone = [&] { return !cluster_.get<Deployment>("default", "web"); };
    if (!cluster_.waitFor(gone, kConvergence)) return say(policy + " deletion does not end");
    if (policy == "Orphan") {
      cluster_.sim().runFor(30s);
      std::vector<Ref<ReplicaSet>> sets = cluster_.list<ReplicaSet>("default");
      if (sets.empty()) return say("an orphaned ReplicaSet was deleted");
      for (const auto& rs : sets)
        if (!rs->metadata.ownerReferences.empty()) return say("an orphaned ReplicaSet still names its owner");
      if (cluster_.list<Pod>("default").size() != static_cast<size_t>(replicas_)) return say("an orphaned ReplicaSet lost pods");
      cluster_.run(deleteReplicaSets(&cluster_.admin()));
    }
    auto empty = [&] { return cluster_.list<ReplicaSet>("default").empty() && cluster_.list<Pod>("default").empty(); };
    if (!cluster_.waitFor(empty, kConvergence)) return say("something is left after the " + policy + " deletion");
    return true;
  }

  SimCluster cluster_;
  int replicas_ = 6;
  std::string image_ = "web:1";
  std::vector<std::string> complaints_;
};

std::optional<uint64_t> numberFrom(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? parseUint(text) : std::nullopt;
}

TEST(ClusterSim, deploymentLife) {
  std::optional<uint64_t> only = numberFrom("KNARR_SIM_SEED");
  uint64_t first = only.value_or(1), count = only ? 1 : numberFrom("KNARR_SIM_SEEDS").value_or(kSeedsDefault);
  setLogLevel(only ? LogLevel::Info : LogLevel::Error);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    uint64_t hashes[2] = {};
    for (uint64_t& hash : hashes) {
      Scenario scenario(seed);
      bool fine = scenario.play();
      hash = scenario.traceHash();
      EXPECT_TRUE(fine) << "seed " << seed << " fails:\n"
                        << join(scenario.complaints(), "\n") << "\nreplay: KNARR_SIM_SEED=" << seed
                        << " build/dev/tests/cluster_sim_test";
      if (!fine) break;
    }
    if (hashes[1] != 0)
      EXPECT_EQ(hashes[0], hashes[1]) << "seed " << seed << " does not replay: something draws from outside the simulation";
  }
}

TEST(ClusterSim, aSilentNode) {
  setLogLevel(LogLevel::Error);
  for (uint64_t seed : {1UL, 2UL}) {
    Scenario scenario(seed);
    EXPECT_TRUE(scenario.loseNode()) << "seed " << seed << ":\n" << join(scenario.complaints(), "\n");
  }
}

}  // namespace
}  // namespace knarr::sim
