// Ending containers and pods: hooks, grace periods, order, removal.
// Source: pkg/kubelet/kuberuntime/kuberuntime_container.go (killContainer),
// pkg/kubelet/lifecycle/handlers.go.
#include <fmt/format.h>

#include "async/scoped_timer.h"
#include "base/log.h"
#include "base/strings.h"
#include "kubelet/http_get.h"
#include "kubelet/pod_runtime.h"
#include "kubelet/resources.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Container;
using corev1::Pod;
namespace v1 = runtimev1;

namespace {

constexpr int64_t kGraceMin = 2;  // Source: minimumGracePeriodInSeconds

struct ContainerSpec {
  const Container* container = nullptr;
  std::string fieldPath;
  bool sidecar = false;
};
ContainerSpec specOf(const schema::Ref<Pod>& pod, std::string_view name) {
  if (!pod) return {};
  for (const Container& container : pod->spec.containers) {
    if (container.name == name) return {&container, fmt::format("spec.containers{{{}}}", name), false};
  }
  for (const Container& container : pod->spec.initContainers) {
    if (container.name == name) return {&container, fmt::format("spec.initContainers{{{}}}", name), isSidecar(container)};
  }
  return {nullptr, fmt::format("spec.ephemeralContainers{{{}}}", name), false};
}

size_t initIndexOf(const schema::Ref<Pod>& pod, std::string_view name) {
  size_t index = 0;
  while (pod && index < pod->spec.initContainers.size() && pod->spec.initContainers[index].name != name) ++index;
  return index;
}

Result<int32_t> hookPort(const schema::IntOrString& port, const Container& container) {
  if (!port.isString) return port.intValue;
  for (const corev1::ContainerPort& named : container.ports) {
    if (named.name == port.stringValue) return named.containerPort;
  }
  auto number = parseInt(port.stringValue);
  if (number) return static_cast<int32_t>(*number);
  return fail(Reason::Invalid, fmt::format("couldn't find port: {}", port.stringValue));
}

}  // namespace

// Who waits for whom when a pod ends. Every container's hook runs at once; a sidecar is then stopped only after all regular
// containers and all sidecars of earlier turns, but within its grace. Source: kuberuntime_termination_order.go.
class TerminationOrder {
 public:
  static constexpr size_t kRegular = SIZE_MAX;
  TerminationOrder(env::Executor& executor, size_t regular, size_t sidecars)
      : regularLeft_(regular), sidecarEnded_(sidecars, false), changed_(executor) {}
  void ended(size_t turn) {
    if (turn == kRegular) {
      --regularLeft_;
    } else {
      sidecarEnded_[turn] = true;
    }
    changed_.notifyAll();
  }
  static Task<void> waitForTurn(env::Env env, std::shared_ptr<TerminationOrder> order, size_t turn, int64_t seconds) {
    auto late = std::make_shared<bool>(false);
    async::ScopedTimer timer(env.executor, env.clock.now() + std::chrono::seconds(seconds), [late, raw = order.get()] {
      *late = true;
      raw->changed_.notifyAll();
    });
    while (!*late && !order->isTurnOf(turn)) co_await order->changed_.wait();
  }

 private:
  bool isTurnOf(size_t turn) const {
    return regularLeft_ == 0 && std::all_of(sidecarEnded_.begin(), sidecarEnded_.begin() + static_cast<ptrdiff_t>(turn),
                                            [](bool ended) { return ended; });
  }
  size_t regularLeft_;
  std::vector<bool> sidecarEnded_;
  async::Event changed_;
};

// limitSeconds 0: none.
// `pod` owns what the pointers point to.
Task<Result<void>> PodRuntime::runHook([[maybe_unused]] schema::Ref<Pod> pod, const Container* container,
                                       const corev1::LifecycleHandler* hook, std::string containerId, std::string podIp,
                                       int64_t limitSeconds) {
  if (hook->exec != nullptr) {
    auto request = schema::newObject<v1::ExecSyncRequest>();
    request->containerId = request.str(containerId);
    request->timeout = limitSeconds;
    for (schema::Str word : hook->exec->command) request->cmd.append(request.arena(), request.str(word));
    auto answer = CO_TRY(co_await runtime_.execSync(std::move(request)));
    if (answer->exitCode == 0) co_return Result<void>();
    co_return fail(Reason::InternalError, fmt::format("command exited with {}: {}", answer->exitCode, answer->stderr.bytes));
  }
  if (hook->sleep != nullptr) {
    int64_t seconds = hook->sleep->seconds;
    if (limitSeconds > 0) seconds = std::min(seconds, limitSeconds);
    co_await async::sleepFor(env_, std::chrono::seconds(seconds));
    co_return Result<void>();
  }
  if (hook->httpGet != nullptr) {
    const corev1::HTTPGetAction& get = *hook->httpGet;
    int32_t port = CO_TRY(hookPort(get.port, *container));
    HttpGetRequest request = httpGetRequest(get, podIp, port, "kube-lifecycle/1.36");
    int64_t limit = limitSeconds > 0 ? limitSeconds : 60;
    CO_TRY(co_await httpGet(env_, request, std::chrono::seconds(limit)));
    co_return Result<void>();
  }
  co_return fail(Reason::Invalid, fmt::format("invalid handler of container {}", container->name));
}

Task<void> PodRuntime::killContainer(schema::Ref<Pod> pod, ContainerRecord record, std::string podIp, std::string message,
                                     int64_t graceSeconds, std::shared_ptr<std::string> errors,
                                     std::shared_ptr<TerminationOrder> order, size_t turn) {
  ContainerSpec spec = specOf(pod, record.name);
  if (message.empty()) message = fmt::format("Stopping container {}", record.name);
  if (pod) recorder_.eventAbout(pod, spec.fieldPath, "Normal", "Killing", message);
  int64_t grace = graceSeconds;
  const Container* container = spec.container;
  bool hook = container != nullptr && container->lifecycle != nullptr && container->lifecycle->preStop != nullptr;
  if (hook && grace > 0 && record.running()) {
    int64_t began = env_.clock.unixSeconds();
    Result<void> ran = co_await runHook(pod, container, container->lifecycle->preStop, record.id, podIp, grace);
    if (!ran) recorder_.eventAbout(pod, spec.fieldPath, "Warning", "FailedPreStopHook", "PreStopHook failed");
    grace -= env_.clock.unixSeconds() - began;
  }
  if (order) {
    int64_t began = env_.clock.unixSeconds();
    co_await TerminationOrder::waitForTurn(env_, order, turn, std::max<int64_t>(grace, 0));
    grace -= env_.clock.unixSeconds() - began;
  }
  auto stopped = co_await runtime_.stopContainer(record.id, std::max(grace, kGraceMin));
  if (stopped || isNotFound(stopped.error())) co_return;
  *errors += (errors->empty() ? "" : "; ") +
             fmt::format("failed to \"KillContainer\" for \"{}\": {}", record.name, stopped.error().message());
}

Task<void> PodRuntime::killInOrder(PodRuntime* self, schema::Ref<Pod> pod, ContainerRecord record, std::string podIp,
                                   int64_t graceSeconds, std::shared_ptr<std::string> errors,
                                   std::shared_ptr<TerminationOrder> order, size_t turn) {
  bool waits = turn != TerminationOrder::kRegular;
  co_await self->killContainer(pod, std::move(record), podIp, "", graceSeconds, errors, waits ? order : nullptr, turn);
  order->ended(turn);
}

Task<Result<void>> PodRuntime::killPod(schema::Ref<Pod> pod, RuntimePod runtime, int64_t graceSeconds) {
  auto errors = std::make_shared<std::string>();
  std::string ip = runtime.ips().empty() ? "" : runtime.ips()[0];
  // Sidecars serve the others to their end, and go in reverse order of the spec.
  std::vector<ContainerRecord> regular, sidecars;
  for (const ContainerRecord& record : runtime.containers)
    if (!record.exited()) (specOf(pod, record.name).sidecar ? sidecars : regular).push_back(record);
  std::ranges::stable_sort(sidecars, std::greater(),
                           [&](const ContainerRecord& record) { return initIndexOf(pod, record.name); });
  auto order = std::make_shared<TerminationOrder>(env_.executor, regular.size(), sidecars.size());
  async::Gate gate(env_.executor);
  for (const ContainerRecord& record : regular)
    gate.spawn(killInOrder(this, pod, record, ip, graceSeconds, errors, order, TerminationOrder::kRegular));
  for (size_t turn = 0; turn < sidecars.size(); ++turn)
    gate.spawn(killInOrder(this, pod, sidecars[turn], ip, graceSeconds, errors, order, turn));
  co_await gate.close();
  for (const SandboxRecord& sandbox : runtime.sandboxes) {
    auto stopped = co_await runtime_.stopPodSandbox(sandbox.id);
    if (stopped || isNotFound(stopped.error())) continue;
    *errors += (errors->empty() ? "" : "; ") +
               fmt::format("failed to \"KillPodSandbox\" for \"{}\": {}", sandbox.id, stopped.error().message());
  }
  if (!errors->empty()) co_return fail(Reason::InternalError, *errors);
  co_return Result<void>();
}

Task<Result<void>> PodRuntime::removePod(RuntimePod runtime) {
  for (const ContainerRecord& record : runtime.containers) {
    auto removed = co_await runtime_.removeContainer(record.id);
    if (!removed && !isNotFound(removed.error())) co_return Unexpected(std::move(removed).error());
  }
  for (const SandboxRecord& sandbox : runtime.sandboxes) {
    auto removed = co_await runtime_.removePodSandbox(sandbox.id);
    if (!removed && !isNotFound(removed.error())) co_return Unexpected(std::move(removed).error());
  }
  if (runtime.name.empty()) co_return Result<void>();
  std::string logs = fmt::format("{}/{}_{}_{}", config_.podLogsDirectory, runtime.nameSpace, runtime.name, runtime.uid);
  for (const ContainerRecord& record : runtime.containers) {
    std::string link = fmt::format("{}_{}_{}-{}", runtime.name, runtime.nameSpace, record.name, record.id);
    (void)env_.files.removeFile(fmt::format("{}/{}.log", config_.containerLogsDirectory, link.substr(0, 251)));
  }
  env::Files& files = env_.files;
  std::move_only_function<Result<void>()> work = [&files, logs] { return files.removeTree(logs); };
  co_return co_await async::runBlocking<Result<void>>(env_.executor, std::move(work));
}

Task<void> PodRuntime::trim(RuntimePod runtime) {
  std::map<std::string, int> dead;
  std::map<std::string, int> held;  // containers by sandbox
  for (const ContainerRecord& record : runtime.containers) {
    if (record.exited() && ++dead[record.name] > 1) {
      auto removed = co_await runtime_.removeContainer(record.id);
      if (!removed) logWarning("kubelet", "a dead container stays container={} error={}", record.id, removed.error().describe());
      if (removed && !record.logPath.empty()) (void)env_.files.removeFile(record.logPath);
    } else {
      ++held[record.sandboxId];
    }
  }
  for (size_t i = 1; i < runtime.sandboxes.size(); ++i) {
    const SandboxRecord& sandbox = runtime.sandboxes[i];
    if (sandbox.ready || held[sandbox.id] > 0) continue;
    auto removed = co_await runtime_.removePodSandbox(sandbox.id);
    if (!removed) logWarning("kubelet", "a dead sandbox stays sandbox={} error={}", sandbox.id, removed.error().describe());
  }
}

}  // namespace knarr::kubelet
