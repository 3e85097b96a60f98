// The kubelet's composition: sources of pods, the relist of the runtime, housekeeping, and what its
// server asks.
#include "kubelet/kubelet.h"

#include <fmt/format.h>

#include "base/log.h"
#include "client/informer.h"
#include "codec/codec.h"
#include "kubelet/image_gc.h"
#include "kubelet/log_rotation.h"
#include "kubelet/logs.h"
#include "kubelet/machine.h"
#include "kubelet/node_status.h"
#include "kubelet/pleg.h"
#include "kubelet/pod_workers.h"
#include "kubelet/stats.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Pod;
using schema::Ref;
namespace v1 = runtimev1;

namespace {

constexpr auto kHousekeepingPeriod = std::chrono::seconds(2);
constexpr auto kLogMonitorPeriod = std::chrono::seconds(10);  // Source: containerLogMonitorInterval

client::ListOptions onNode(const std::string& nodeName) {
  client::ListOptions options;
  options.fieldSelector = "spec.nodeName=" + nodeName;
  return options;
}

}  // namespace

class Kubelet::Impl {
 public:
  Impl(KubeletConfig config, KubeletDependencies dependencies)
      : config_(std::move(config)),
        env_(dependencies.env),
        client_(dependencies.client),
        runtime_(dependencies.runtime),
        machine_(config_.machine.value_or(MachineInfo())),
        recorder_(env_, client_, "kubelet", config_.nodeName),
        objects_(env_, client_),
        images_(env_, runtime_, objects_, recorder_),
        volumes_(env_, config_, objects_),
        podRuntime_(env_, config_, machine_, runtime_, images_, objects_, volumes_, recorder_),
        statuses_(env_, client_),
        prober_(env_, runtime_, recorder_, [this](const std::string& uid) { workers_.wake(uid); }),
        agent_(env_, config_, machine_, client_, runtime_, recorder_),
        imageCollector_(env_, runtime_, config_.pinnedImages,
                        [this](std::string reason, std::string message) { agent_.warn(reason, message); }),
        pods_(env_, client_, client::resourceOf<Pod>(), "", onNode(config_.nodeName)),
        services_(env_, client_, client::resourceOf<corev1::Service>(), "", {}),
        workers_(workerContext()),
        pleg_(
            env_, runtime_, config_.plegRelistPeriod, [this](const std::string& uid) { workers_.wake(uid); },
            [this](bool healthy) { agent_.setPlegHealthy(healthy); }) {
    agent_.imagePathFrom([this] { return imageCollector_.imagePath(); });
  }

  Task<Result<void>> run(async::StopToken stop);
  Task<Result<void>> containerLogs(std::string nameSpace, std::string pod, std::string container, LogOptions options,
                                   LogSink sink);
  Task<Result<std::string>> execUrl(std::string nameSpace, std::string pod, std::string container, ExecOptions options);
  Task<Result<std::string>> attachUrl(std::string nameSpace, std::string pod, std::string container, ExecOptions options);
  Result<bool> hasTerminal(std::string_view nameSpace, std::string_view pod, std::string_view container) const;
  Task<Result<std::string>> portForwardUrl(std::string nameSpace, std::string pod, std::vector<int32_t> ports);
  std::string podsJson() const;
  Task<Result<NodeUsage>> usage();

 private:
  PodWorkerContext workerContext() {
    return {env_,
            config_,
            machine_,
            runtime_,
            podRuntime_,
            volumes_,
            prober_,
            statuses_,
            recorder_,
            [this] { return agent_.networkError(); },
            [this](const Pod& pod) { return servicesFor(pod); },
            [this] { return agent_.runtimeName(); },
            [this] { return agent_.pressure(); }};
  }
  Variables servicesFor(const Pod& pod) const;
  Task<void> housekeeping(async::StopToken stop);
  Task<void> keepLogsSmall(async::StopToken stop);
  Result<Ref<Pod>> podNamed(std::string_view nameSpace, std::string_view name) const;
  Task<Result<std::string>> runningContainer(std::string nameSpace, std::string pod, std::string container);
  Task<bool> stillRunning(std::string containerId);

  KubeletConfig config_;
  env::Env env_;
  client::Client& client_;
  cri::RuntimeClient& runtime_;
  MachineInfo machine_;
  client::EventRecorder recorder_;
  ObjectReader objects_;
  ImageManager images_;
  VolumeManager volumes_;
  PodRuntime podRuntime_;
  StatusManager statuses_;
  Prober prober_;
  NodeAgent agent_;
  ImageCollector imageCollector_;
  client::Informer pods_;
  client::Informer services_;
  PodWorkers workers_;
  Pleg pleg_;
};

Variables Kubelet::Impl::servicesFor(const Pod& pod) const {
  std::vector<Ref<corev1::Service>> chosen;
  client::Lister<corev1::Service> lister(services_);
  if (auto kubernetes = lister.get("default", "kubernetes")) chosen.push_back(kubernetes);
  if (pod.spec.enableServiceLinks.valueOr(true)) {
    for (auto& service : lister.list(pod.metadata.namespace_)) chosen.push_back(std::move(service));
  }
  return serviceVariables(chosen);
}

Task<Result<void>> Kubelet::Impl::run(async::StopToken stop) {
  for (const std::string& directory : {config_.rootDirectory + "/pods", config_.podLogsDirectory}) {
    CO_TRY(env_.files.makeDirectories(directory, 0750));
  }
  if (!config_.machine) machine_ = CO_TRY(readMachineInfo(env_.files, config_.rootDirectory));
  // Watches wait on the server and hold nothing: they are dropped at the end, not waited for.
  async::Gate sources(env_.executor);
  async::Gate gate(env_.executor);
  gate.spawn(recorder_.run(stop));
  gate.spawn(agent_.run(stop));
  gate.spawn(statuses_.run(stop));
  sources.spawn(services_.run(stop));
  sources.spawn(pods_.run(stop));
  gate.spawn(pleg_.relist(stop));
  // Containers get the services' addresses in their environment.
  while (!stop.stopRequested() && !(services_.hasSynced() && pods_.hasSynced())) {
    co_await async::sleepFor(env_, std::chrono::milliseconds(10), stop);
  }
  if (!stop.stopRequested()) {
    client::EventHandler handler;
    handler.onAdd = [this](const Ref<>& pod) { workers_.update(Ref<Pod>(pod)); };
    handler.onUpdate = [this](const Ref<>& before, const Ref<>& after) {
      if (schema::metadataOf(before).uid != schema::metadataOf(after).uid) workers_.remove(Ref<Pod>(before));
      workers_.update(Ref<Pod>(after));
    };
    handler.onDelete = [this](const Ref<>& pod) { workers_.remove(Ref<Pod>(pod)); };
    pods_.addHandler(std::move(handler));
    gate.spawn(pleg_.followEvents(stop));
    gate.spawn(housekeeping(stop));
    gate.spawn(keepLogsSmall(stop));
    gate.spawn(imageCollector_.run(stop));
  }
  async::Event stopped(env_.executor);
  auto registration = stop.onStop([&stopped] { stopped.set(); });
  while (!stop.stopRequested()) co_await stopped.wait();
  co_await workers_.close();
  co_await prober_.close();
  co_await gate.close();
  co_return Result<void>();
}

// Ends pods that only the runtime knows, and removes directories of pods that nobody knows.
Task<void> Kubelet::Impl::housekeeping(async::StopToken stop) {
  while (!stop.stopRequested()) {
    co_await async::sleepFor(env_, kHousekeepingPeriod, stop);
    if (stop.stopRequested() || !pleg_.listed()) continue;
    std::vector<std::string> orphans;
    for (const auto& [uid, pod] : pleg_.summary().pods) {
      if (!workers_.knows(uid)) orphans.push_back(uid);
    }
    for (const std::string& uid : orphans) {
      // The summary may be older than the end of a worker.
      Result<RuntimePod> now = co_await readRuntimePod(runtime_, uid);
      bool there = now && (!now->sandboxes.empty() || !now->containers.empty());
      if (there && !workers_.knows(uid)) workers_.killOrphan(uid);
    }
    Result<std::vector<std::string>> onDisk = volumes_.podsOnDisk();
    if (!onDisk) continue;
    for (const std::string& uid : *onDisk) {
      if (workers_.knows(uid) || pleg_.summary().pods.contains(uid)) continue;
      Result<void> removed = co_await volumes_.removePod(uid);
      if (!removed)
        logWarning("kubelet", "cannot remove an orphaned pod directory uid={} error={}", uid, removed.error().describe());
    }
  }
}

Task<void> Kubelet::Impl::keepLogsSmall(async::StopToken stop) {
  while (!stop.stopRequested()) {
    co_await async::sleepFor(env_, kLogMonitorPeriod, stop);
    if (!stop.stopRequested()) co_await rotateLogs(env_, &runtime_, config_.podLogsDirectory, LogRotationLimits());
  }
}

Result<Ref<Pod>> Kubelet::Impl::podNamed(std::string_view nameSpace, std::string_view name) const {
  Ref<Pod> pod = client::Lister<Pod>(pods_).get(nameSpace, name);
  if (pod) return pod;
  return fail(Reason::NotFound, fmt::format("pods \"{}\" not found", name));
}

Task<bool> Kubelet::Impl::stillRunning(std::string containerId) {
  auto status = co_await runtime_.containerStatus(containerId, false);
  co_return status && (*status)->status != nullptr && (*status)->status->state == cri::kContainerRunning;
}

Task<Result<void>> Kubelet::Impl::containerLogs(std::string nameSpace, std::string podName, std::string container,
                                                LogOptions options, LogSink sink) {
  Ref<Pod> pod = statuses_.withLatestStatus(CO_TRY(podNamed(nameSpace, podName)));
  std::string id = CO_TRY(containerToLog(*pod, container, options.previous));
  auto status = co_await runtime_.containerStatus(id, false);
  if (!status) co_return Unexpected(std::move(status).error());
  if ((*status)->status == nullptr || (*status)->status->logPath.empty()) {
    co_return fail(Reason::InternalError, fmt::format("container \"{}\" has no log file", container));
  }
  std::string path((*status)->status->logPath);
  co_return co_await readLogFile(env_, path, options, std::move(sink), [this, id] { return stillRunning(id); });
}

Task<Result<std::string>> Kubelet::Impl::runningContainer(std::string nameSpace, std::string podName, std::string container) {
  Ref<Pod> pod = CO_TRY(podNamed(nameSpace, podName));
  RuntimePod runtime = CO_TRY(co_await readRuntimePod(runtime_, std::string(pod->metadata.uid)));
  const ContainerRecord* record = runtime.newest(container);
  if (record != nullptr && record->running()) co_return record->id;
  co_return fail(Reason::NotFound, fmt::format("container not found (\"{}\")", container));
}

// Of what a runtime refuses, callers tell only absence and overload apart.
// Source: k8s.io/kubelet/pkg/cri/streaming, WriteError.
Unexpected refusedStream(Error error) {
  if (error.code() == 404 || error.code() == 429) return Unexpected(std::move(error));
  return fail(Reason::InternalError, error.message());
}

Task<Result<std::string>> Kubelet::Impl::execUrl(std::string nameSpace, std::string pod, std::string container,
                                                 ExecOptions options) {
  std::string id = CO_TRY(co_await runningContainer(nameSpace, pod, container));
  auto request = schema::newObject<v1::ExecRequest>();
  request->containerId = request.str(id);
  for (const std::string& word : options.command) request->cmd.append(request.arena(), request.str(word));
  request->tty = options.tty;
  request->stdin = options.standardInput;
  request->stdout = options.standardOutput;
  request->stderr = options.standardError;
  auto answer = co_await runtime_.exec(std::move(request));
  if (!answer) co_return refusedStream(std::move(answer).error());
  co_return std::string((*answer)->url);
}

Result<bool> Kubelet::Impl::hasTerminal(std::string_view nameSpace, std::string_view podName, std::string_view container) const {
  Ref<Pod> pod = TRY(podNamed(nameSpace, podName));
  for (const auto& one : pod->spec.initContainers)
    if (one.name == container) return one.tty;
  for (const auto& one : pod->spec.containers)
    if (one.name == container) return one.tty;
  for (const auto& one : pod->spec.ephemeralContainers)
    if (one.ephemeralContainerCommon.name == container) return one.ephemeralContainerCommon.tty;
  return false;
}

Task<Result<std::string>> Kubelet::Impl::attachUrl(std::string nameSpace, std::string pod, std::string container,
                                                   ExecOptions options) {
  std::string id = CO_TRY(co_await runningContainer(nameSpace, pod, container));
  auto request = schema::newObject<v1::AttachRequest>();
  request->containerId = request.str(id);
  request->tty = options.tty;
  request->stdin = options.standardInput;
  request->stdout = options.standardOutput;
  request->stderr = options.standardError;
  auto answer = co_await runtime_.attach(std::move(request));
  if (!answer) co_return refusedStream(std::move(answer).error());
  co_return std::string((*answer)->url);
}

Task<Result<std::string>> Kubelet::Impl::portForwardUrl(std::string nameSpace, std::string podName, std::vector<int32_t> ports) {
  Ref<Pod> pod = CO_TRY(podNamed(nameSpace, podName));
  RuntimePod runtime = CO_TRY(co_await readRuntimePod(runtime_, std::string(pod->metadata.uid)));
  if (runtime.sandboxes.empty() || !runtime.sandboxes.front().ready) {
    co_return fail(Reason::NotFound, fmt::format("pod \"{}\" has no running sandbox", podName));
  }
  auto request = schema::newObject<v1::PortForwardRequest>();
  request->podSandboxId = request.str(runtime.sandboxes.front().id);
  for (int32_t port : ports) request->port.append(request.arena(), port);
  auto answer = co_await runtime_.portForward(std::move(request));
  if (!answer) co_return refusedStream(std::move(answer).error());
  co_return std::string((*answer)->url);
}

std::string Kubelet::Impl::podsJson() const {
  std::string items;
  for (const Ref<Pod>& pod : client::Lister<Pod>(pods_).list("")) {
    Ref<Pod> latest = statuses_.withLatestStatus(pod);
    items += (items.empty() ? "" : ",") + codec::encodeJsonValue(schema::typeInfoOf<Pod>(), &*latest);
  }
  return fmt::format(R"({{"kind":"PodList","apiVersion":"v1","metadata":{{}},"items":[{}]}})", items);
}

Task<Result<NodeUsage>> Kubelet::Impl::usage() {
  env::Files& files = env_.files;
  std::move_only_function<NodeUsage()> work = [&files, name = config_.nodeName, root = config_.rootDirectory,
                                               images = imageCollector_.imagePath(), now = env_.clock.unixNanos()] {
    return nodeUsage(files, name, root, images, now);
  };
  NodeUsage node = co_await async::runBlocking<NodeUsage>(env_.executor, std::move(work));
  auto stats = CO_TRY(co_await runtime_.listContainerStats(schema::newObject<v1::ListContainerStatsRequest>()));
  std::vector<Ref<Pod>> pods;
  for (const Ref<Pod>& pod : client::Lister<Pod>(pods_).list("")) pods.push_back(statuses_.withLatestStatus(pod));
  node.pods = podUsages(pods, *stats);
  co_return node;
}

Kubelet::Kubelet(KubeletConfig config, KubeletDependencies dependencies)
    : impl_(std::make_unique<Impl>(std::move(config), dependencies)) {}
Kubelet::~Kubelet() = default;

Task<Result<void>> Kubelet::run(async::StopToken stop) { return impl_->run(std::move(stop)); }
Task<Result<void>> Kubelet::containerLogs(std::string nameSpace, std::string pod, std::string container, LogOptions options,
                                          LogSink sink) {
  return impl_->containerLogs(std::move(nameSpace), std::move(pod), std::move(container), options, std::move(sink));
}
Task<Result<std::string>> Kubelet::execUrl(std::string nameSpace, std::string pod, std::string container, ExecOptions options) {
  return impl_->execUrl(std::move(nameSpace), std::move(pod), std::move(container), std::move(options));
}
Result<bool> Kubelet::hasTerminal(std::string_view nameSpace, std::string_view pod, std::string_view container) const {
  return impl_->hasTerminal(nameSpace, pod, container);
}
Task<Result<std::string>> Kubelet::attachUrl(std::string nameSpace, std::string pod, std::string container, ExecOptions options) {
  return impl_->attachUrl(std::move(nameSpace), std::move(pod), std::move(container), std::move(options));
}
Task<Result<std::string>> Kubelet::portForwardUrl(std::string nameSpace, std::string pod, std::vector<int32_t> ports) {
  return impl_->portForwardUrl(std::move(nameSpace), std::move(pod), std::move(ports));
}

std::string Kubelet::podsJson() const { return impl_->podsJson(); }
Task<Result<std::string>> Kubelet::statsSummary(bool onlyCpuAndMemory) {
  NodeUsage node = CO_TRY(co_await impl_->usage());
  co_return summaryJson(node, onlyCpuAndMemory);
}
Task<std::string> Kubelet::resourceMetrics() {
  Result<NodeUsage> node = co_await impl_->usage();
  if (node) co_return kubelet::resourceMetrics(*node);
  NodeUsage failed;
  failed.failed = true;
  co_return kubelet::resourceMetrics(failed);
}

}  // namespace knarr::kubelet
