#include "tests/sim/sim_cluster.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "controllers/frame/frame.h"
#include "scheduler/node_info.h"
#include "wire/pki.h"

namespace knarr::sim {

using namespace std::chrono_literals;
using async::Task;
using corev1::Pod;

namespace {

const std::vector<std::string> kServed{"v1", "apps/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1",
                                       "rbac.authorization.k8s.io/v1"};
constexpr size_t kViolationsMax = 20;
// What was begun may be finished; then a component is gone.
constexpr env::Duration kStopMax = 10s;
// The checker's own wait while the server is down.
constexpr env::Duration kRelistAfter = 20ms;

// One key for all runs: making one costs more than a run's first second.
const std::string& serviceAccountKey() {
  static const std::string key = *wire::makeEcKey();
  return key;
}

Task<void> finish(Task<void> task, bool* done) {
  co_await std::move(task);
  *done = true;
}
Task<void> startInto(SimServer* server) {
  auto started = co_await server->start();
  EXPECT_TRUE(started) << (started ? "" : started.error().describe());
}
Task<void> stopInto(SimServer* server) { co_await server->stop(); }
Task<void> runKubelet(kubelet::Kubelet* kubelet, async::StopToken stop) {
  auto ended = co_await kubelet->run(stop);
  EXPECT_TRUE(ended) << (ended ? "" : ended.error().describe());
}

}  // namespace

// ---- the checker

Checker::Checker(env::Env environment, client::Client& client, int64_t nodeCpuMilli)
    : env_(environment), client_(client), nodeCpuMilli_(nodeCpuMilli) {}

Task<void> Checker::follow(const client::ResourceInfo* resource) {
  for (;;) {
    auto list = co_await client_.list(*resource, "");
    if (!list) {
      co_await async::sleepFor(env_, kRelistAfter);
      continue;
    }
    relist(resource, *list);
    client::ListOptions options;
    options.resourceVersion = list->resourceVersion;
    auto watch = co_await client_.watch(*resource, "", options);
    while (watch) {
      auto events = co_await (*watch)->next();
      if (!events || events->empty()) break;
      for (const client::WatchEvent& event : *events) {
        seeRevision(resource, event.resourceVersion);
        if (event.object) see(resource, event.object, event.type == client::WatchEvent::Deleted);
      }
    }
  }
}

void Checker::relist(const client::ResourceInfo* resource, const client::ObjectList& list) {
  seeRevision(resource, list.resourceVersion);
  if (resource == &client::resourceOf<Pod>())
    pods_.clear();
  else
    replicaSets_.clear();
  // Bounds hold for the whole list, not while it is read.
  std::optional<Bounds> bounds = std::exchange(bounds_, std::nullopt);
  for (const Ref<>& item : list.items) see(resource, item, false);
  bounds_ = bounds;
  checkBounds();
}

void Checker::see(const client::ResourceInfo* resource, const Ref<>& object, bool gone) {
  std::string uid(schema::metadataOf(object).uid);
  if (resource == &client::resourceOf<Pod>())
    lookAtPod(Ref<Pod>(object), gone);
  else if (gone)
    replicaSets_.erase(uid);
  else
    replicaSets_[uid] = Ref<appsv1::ReplicaSet>(object);
  checkBounds();
}

void Checker::seeRevision(const client::ResourceInfo* resource, std::string_view resourceVersion) {
  int64_t revision = parseInt(resourceVersion).value_or(0), &newest = newestRevisions_[resource->resource];
  if (revision < newest) complain(fmt::format("revision {} of {} after {}", revision, resource->resource, newest));
  newest = std::max(newest, revision);
}

void Checker::lookAtPod(const Ref<Pod>& pod, bool gone) {
  std::string uid(pod->metadata.uid), node(pod->spec.nodeName);
  auto known = nodeOf_.find(uid);
  if (known != nodeOf_.end() && known->second != node)
    complain(fmt::format("pod {} moved from {} to \"{}\"", pod->metadata.name, known->second, node));
  if (!node.empty()) nodeOf_.emplace(uid, node);
  if (gone)
    pods_.erase(uid);
  else
    pods_[uid] = pod;
  checkNodes();
}

void Checker::complain(std::string what) {
  if (violations_.size() < kViolationsMax)
    violations_.push_back(fmt::format("at {} s: {}", env_.clock.unixSeconds() % 86400, what));
}

void Checker::checkNodes() {
  std::map<std::string, int64_t> used;
  for (const auto& [uid, pod] : pods_) {
    if (pod->spec.nodeName.empty() || pod->status.phase == "Succeeded" || pod->status.phase == "Failed") continue;
    used[std::string(pod->spec.nodeName)] += scheduler::podRequests(*pod).cpuMilli;
  }
  for (const auto& [node, cpuMilli] : used)
    if (cpuMilli > nodeCpuMilli_) complain(fmt::format("{} is over-committed: {}m of {}m CPU", node, cpuMilli, nodeCpuMilli_));
}

int Checker::wantedPods() const {
  int count = 0;
  for (const auto& [uid, rs] : replicaSets_) count += rs->spec.replicas.valueOr(0);
  return count;
}
int Checker::availablePods() const {
  int count = 0;
  for (const auto& [uid, pod] : pods_) count += controllers::isPodActive(*pod) && controllers::isPodReady(*pod);
  return count;
}

void Checker::checkBounds() {
  if (!bounds_) return;
  if (wantedPods() > bounds_->mostWanted)
    complain(fmt::format("{} pods are wanted, at most {} may be", wantedPods(), bounds_->mostWanted));
  if (availablePods() < bounds_->leastAvailable)
    complain(fmt::format("{} pods are available, at least {} must be", availablePods(), bounds_->leastAvailable));
}

// ---- the cluster

// What one component owns; destroying it is its crash: first the tasks go, then what they stood on.
struct SimCluster::Process {
  explicit Process(env::Executor& executor) : gate(std::make_unique<async::Gate>(executor)) {}
  ~Process() {
    gate.reset();
    scheduler.reset();
    kubelet.reset();
    informers.reset();
  }
  std::vector<std::unique_ptr<client::Client>> clients;
  std::unique_ptr<client::InformerFactory> informers;
  std::unique_ptr<scheduler::Scheduler> scheduler;
  std::unique_ptr<kubelet::Kubelet> kubelet;
  async::StopSource stop;
  std::unique_ptr<async::Gate> gate;
};

SimCluster::SimCluster(uint64_t seed) : sim_(seed), requests_(sim_.env().executor), own_(sim_.env().executor) {
  apiserver::ApiServerConfig config;
  config.serviceAccountKeyPem = serviceAccountKey();
  config.servedGroupVersions = kServed;
  server_ = std::make_unique<SimServer>(sim_, seed, config);
  startServer();
  admin_ = server_->clientFor({"admin", "", {"system:masters"}, {}});
  checker_ = std::make_unique<Checker>(sim_.env(), *admin_, kNodeCpuMilli);
  own_.spawn(checker_->follow(&client::resourceOf<Pod>()));
  own_.spawn(checker_->follow(&client::resourceOf<appsv1::ReplicaSet>()));
  for (int node = 0; node < kNodes; ++node) {
    runtimes_.push_back(std::make_unique<cri::FakeRuntime>(sim_.host(fmt::format("node{}", node)).env()));
    for (const char* image : {"web:1", "web:2", "web:3"})
      runtimes_.back()->addImage(image, {.runFor = {}, .exitCode = 0, .stopTakes = 200ms, .startError = "", .user = ""});
    // One runtime has no events, one has the CRI's, one has containerd's.
    runtimes_.back()->offersEvents = node > 0;
    runtimes_.back()->eventsNamePods = node == 1;
    startKubelet(node);
  }
  startManager();
  startScheduler();
}

SimCluster::~SimCluster() {
  processes_.clear();
  if (server_->up()) run(stopInto(server_.get()));
}

bool SimCluster::run(Task<void> task) {
  auto done = std::make_unique<bool>(false);
  own_.spawn(finish(std::move(task), done.get()));
  return sim_.runUntil([&] { return *done; }, 10min) || (static_cast<void>(done.release()), false);
}

bool SimCluster::waitFor(const std::function<bool()>& predicate, env::Duration max) {
  env::Instant end = sim_.env().clock.now() + max;
  while (!predicate()) {
    if (sim_.env().clock.now() >= end) return false;
    sim_.runFor(100ms);
  }
  return true;
}

void SimCluster::faultsOn() {
  faults_.slow = 0.01;
  faults_.requestLost = 0.02;
  faults_.answerLost = 0.02;
  faults_.watchEnds = 0.02;
  faults_.watchExpires = 0.01;
}

SimCluster::Process& SimCluster::begin(const std::string& name) {
  auto& slot = processes_[name];
  EXPECT_EQ(slot, nullptr) << name << " runs already";
  slot = std::make_unique<Process>(sim_.env().executor);
  return *slot;
}

void SimCluster::crash(const std::string& name) {
  sim_.trace("crash " + name);
  processes_.erase(name);
}

client::Client& SimCluster::clientAs(Process& process, const std::string& user, std::vector<std::string> groups) {
  innerClients_.push_back(server_->clientFor({user, "", std::move(groups), {}}));
  process.clients.push_back(std::make_unique<FaultyClient>(sim_.env(), faults_, requests_, *innerClients_.back()));
  return *process.clients.back();
}

void SimCluster::startServer() { EXPECT_TRUE(run(startInto(server_.get()))); }
void SimCluster::crashServer() {
  // Half of the time in the middle of a write; whatever the process does after that it does not do.
  if (random(2) == 0) {
    server_->dieAfter(random(60));
    sim_.runUntil([this] { return server_->dead(); }, 2s);
  }
  server_->crash(random(2) == 0 ? store::CrashDisk::Kill : store::CrashDisk::PowerLoss);
}

void SimCluster::startManager() {
  Process& process = begin("manager");
  client::Client& client = clientAs(process, "system:kube-controller-manager", {"system:masters"});
  process.informers = std::make_unique<client::InformerFactory>(sim_.env(), client);
  controller_manager::ControllerManagerConfig config{"certificate", kServed};
  config.nodeIpam.clusterCidrs = {*IpPrefix::parse("10.244.0.0/16")};
  auto clientFor = [this](const std::string& controller) -> std::unique_ptr<client::Client> {
    innerClients_.push_back(server_->clientFor({"system:serviceaccount:kube-system:" + controller,
                                                "",
                                                {"system:serviceaccounts", "system:serviceaccounts:kube-system"},
                                                {}}));
    return std::make_unique<FaultyClient>(sim_.env(), faults_, requests_, *innerClients_.back());
  };
  process.gate->spawn(
      controller_manager::runControllers(sim_.env(), config, *process.informers, clientFor, process.stop.token()));
}
void SimCluster::crashManager() { crash("manager"); }

void SimCluster::startScheduler() {
  Process& process = begin("scheduler");
  client::Client& client = clientAs(process, "system:kube-scheduler", {});
  process.informers = std::make_unique<client::InformerFactory>(sim_.env(), client);
  process.scheduler =
      std::make_unique<scheduler::Scheduler>(sim_.env(), client, *process.informers, scheduler::SchedulerConfig());
  process.informers->start(*process.gate, process.stop.token());
  process.gate->spawn(process.scheduler->run(process.stop.token()));
}
void SimCluster::crashScheduler() { crash("scheduler"); }

void SimCluster::startKubelet(int node) {
  std::string name = fmt::format("node{}", node);
  Process& process = begin(name);
  client::Client& client = clientAs(process, "system:node:" + name, {"system:nodes"});
  kubelet::KubeletConfig config;
  config.nodeName = name;
  config.nodeIps = {fmt::format("192.168.0.{}", node + 1)};
  config.machine =
      kubelet::MachineInfo{kNodeCpuMilli, int64_t{8} << 30, int64_t{100} << 30, "m", "s", "b", "6.1", "Debian", "amd64"};
  process.kubelet = std::make_unique<kubelet::Kubelet>(
      config, kubelet::KubeletDependencies{sim_.host(name).env(), client, *runtimes_[static_cast<size_t>(node)]});
  process.gate->spawn(runKubelet(process.kubelet.get(), process.stop.token()));
}
void SimCluster::stopKubelet(int node) {
  std::string name = fmt::format("node{}", node);
  EXPECT_TRUE(stop(name));
  crash(name);
}

void SimCluster::crashKubelet(int node) { crash(fmt::format("node{}", node)); }

bool SimCluster::stop(const std::string& name) {
  Process& one = process(name);
  one.stop.requestStop();
  bool ended = sim_.runUntil([&one] { return one.gate->running() == 0; }, kStopMax);
  EXPECT_TRUE(ended) << name << " does not stop";
  return ended;
}

bool SimCluster::stopAll() {
  bool all = true;
  for (auto& [name, process] : processes_) process->stop.requestStop();
  for (auto& [name, process] : processes_) all = stop(name) && all;
  return all;
}

void SimCluster::chaos(env::Duration duration, bool kubeletsToo) {
  env::Instant end = sim_.env().clock.now() + duration;
  while (sim_.env().clock.now() < end) {
    sim_.runFor(std::chrono::milliseconds(200 + random(5000)));
    uint64_t victim = random(kubeletsToo ? 3 + kNodes : 3);
    int node = static_cast<int>(victim) - 3;
    if (victim == 0)
      crashManager();
    else if (victim == 1)
      crashScheduler();
    else if (victim == 2)
      crashServer();
    else if (random(2) == 0)
      stopKubelet(node);
    else
      crashKubelet(node);
    // What was sent arrives before a successor begins, as a leader's lease sees to.
    sim_.runUntil([&] { return requests_.running() == 0; }, 10s);
    sim_.runFor(std::chrono::milliseconds(random(3000)));
    if (victim == 0)
      startManager();
    else if (victim == 1)
      startScheduler();
    else if (victim == 2)
      startServer();
    else
      startKubelet(node);
  }
}

}  // namespace knarr::sim
