// A kubelet over the fake runtime against the real API server, in the simulated world: what its tests have in common.
#pragma once

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
  static Task<void> patchTask(client::Client* client, std::string name, std::string body) {
    auto patched = co_await client::patch<Pod>(*client, "default", name, client::PatchType::StrategicMerge, body);
    EXPECT_TRUE(patched) << (patched ? "" : patched.error().describe());
  }
  void patchPod(const std::string& name, const std::string& body) { run(patchTask(admin_.get(), name, body)); }

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

inline constexpr const char* kOne = R"("containers":[{"name":"main","image":"busybox:1.36"}])";

}  // namespace knarr::kubelet
