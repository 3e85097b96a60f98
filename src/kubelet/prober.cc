#include "kubelet/prober.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/strings.h"
#include "kubelet/container_back_off.h"
#include "kubelet/environment.h"
#include "kubelet/http_get.h"
#include "kubelet/resources.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Container;
namespace v1 = runtimev1;

namespace {

constexpr std::string_view kKindNames[] = {"Startup", "Liveness", "Readiness"};
// Output kept for the event. Source: pkg/probe/exec maxReadLength.
constexpr size_t kOutputMax = 10 * 1024;

// The container's variables that need nobody's objects: all that commands of probes may name. One that comes from elsewhere
// is empty. Source: pkg/kubelet/container, ExpandContainerCommandOnlyStatic.
Variables literalEnvironment(const Container& container) {
  Variables out;
  for (const corev1::EnvVar& variable : container.env) out[std::string(variable.name)] = variable.value;
  return out;
}

// A probe that could not be made is tried again at once. Source: prober.go, maxProbeRetries.
constexpr int kAttempts = 3;

std::string_view nameOf(ProbeKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

const corev1::Probe* probeOf(const Container& container, ProbeKind kind) {
  switch (kind) {
    case ProbeKind::Startup:
      return container.startupProbe;
    case ProbeKind::Liveness:
      return container.livenessProbe;
    case ProbeKind::Readiness:
      return container.readinessProbe;
  }
  return nullptr;
}

std::string keyOf(std::string_view podUid, std::string_view container, ProbeKind kind) {
  return fmt::format("{}/{}/{}", podUid, container, nameOf(kind));
}

const Container* containerNamed(const corev1::Pod& pod, std::string_view name) {
  for (const Container& container : pod.spec.containers) {
    if (container.name == name) return &container;
  }
  for (const Container& container : pod.spec.initContainers) {
    if (container.name == name) return &container;
  }
  return nullptr;
}

const corev1::ContainerStatus* statusNamed(const corev1::Pod& pod, std::string_view name) {
  for (const auto* list : {&pod.status.containerStatuses, &pod.status.initContainerStatuses}) {
    for (const corev1::ContainerStatus& status : *list) {
      if (status.name == name) return &status;
    }
  }
  return nullptr;
}

Result<int32_t> portOf(const schema::IntOrString& port, const Container& container) {
  if (!port.isString) return port.intValue;
  for (const corev1::ContainerPort& named : container.ports) {
    if (named.name == port.stringValue) return named.containerPort;
  }
  auto number = parseInt(port.stringValue);
  if (number && *number > 0 && *number < 65536) return static_cast<int32_t>(*number);
  return fail(Reason::Invalid, fmt::format("couldn't find port: {}", port.stringValue));
}

std::string hostPort(std::string_view host, int32_t port) {
  return host.find(':') != std::string_view::npos ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

}  // namespace

struct Prober::Worker {
  explicit Worker(env::Executor& executor) : wake(executor) {}
  schema::Ref<corev1::Pod> pod;
  std::string podUid, containerName;
  ProbeKind kind = ProbeKind::Readiness;
  std::string containerId;  // the running instance; "" while there is none
  std::string podIp;
  int64_t startedAtNanos = 0;
  bool success = false;        // the remembered result
  bool failedForGood = false;  // liveness or startup: the instance is to be killed
  int32_t run = 0;             // equal results in a row
  bool lastGood = false;
  bool stopped = false;
  async::Event wake;

  const corev1::Probe& probe() const { return *probeOf(*containerNamed(*pod, containerName), kind); }
  // What an instance is taken for until it was probed. One that ran before this kubelet did keeps what the status says:
  // a restart of the kubelet makes no pod unready. Source: prober_manager.go, worker.go.
  void newInstance(const ContainerRecord& record, int64_t kubeletStartedAtNanos) {
    constexpr int64_t kSlackNanos = 10'000'000'000;
    containerId = record.id;
    startedAtNanos = record.startedAt;
    success = kind == ProbeKind::Liveness;  // alive until proven otherwise
    failedForGood = false;
    run = 0;
    if (record.startedAt > kubeletStartedAtNanos - kSlackNanos) return;
    if (const corev1::ContainerStatus* status = statusNamed(*pod, containerName);
        status != nullptr && status->state.running != nullptr) {
      if (kind == ProbeKind::Readiness) success = status->ready;
      if (kind == ProbeKind::Startup) success = status->started.valueOr(false);
    }
  }
};

Prober::Prober(env::Env environment, cri::RuntimeClient& runtime, client::EventRecorder& recorder,
               std::function<void(const std::string&)> changed)
    : env_(environment),
      runtime_(runtime),
      recorder_(recorder),
      changed_(std::move(changed)),
      startedAtNanos_(environment.clock.unixNanos()),
      gate_(environment.executor) {}
Prober::~Prober() = default;

void Prober::addPod(const schema::Ref<corev1::Pod>& pod) {
  auto add = [&](const Container& container) {
    for (ProbeKind kind : {ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness}) {
      if (probeOf(container, kind) == nullptr) continue;
      auto& worker = workers_[keyOf(pod->metadata.uid, container.name, kind)];
      if (worker) {
        worker->pod = pod;
        continue;
      }
      worker = std::make_shared<Worker>(env_.executor);
      worker->pod = pod;
      worker->podUid = pod->metadata.uid;
      worker->containerName = container.name;
      worker->kind = kind;
      gate_.spawn(run(this, worker));
    }
  };
  for (const Container& container : pod->spec.containers) add(container);
  for (const Container& container : pod->spec.initContainers) {
    if (isSidecar(container)) add(container);
  }
}

void Prober::updatePod(const std::string& podUid, const RuntimePod& runtime) {
  for (auto it = workers_.lower_bound(podUid + "/"); it != workers_.end() && it->first.starts_with(podUid + "/"); ++it) {
    Worker& worker = *it->second;
    const ContainerRecord* record = runtime.newest(worker.containerName);
    worker.podIp = runtime.ips().empty() ? "" : runtime.ips()[0];
    if (record == nullptr || !record->running()) {
      worker.containerId.clear();
      if (worker.kind == ProbeKind::Readiness) worker.success = false;
    } else if (record->id != worker.containerId) {
      worker.newInstance(*record, startedAtNanos_);
      worker.wake.notifyAll();
    }
  }
}

void Prober::stopLivenessAndStartup(const std::string& podUid) {
  for (auto& [key, worker] : workers_) {
    if (worker->podUid != podUid || worker->kind == ProbeKind::Readiness) continue;
    worker->stopped = true;
    worker->wake.notifyAll();
  }
}

void Prober::removePod(const std::string& podUid) {
  std::erase_if(workers_, [&](auto& entry) {
    if (entry.second->podUid != podUid) return false;
    entry.second->stopped = true;
    entry.second->wake.notifyAll();
    return true;
  });
}

const Prober::Worker* Prober::find(const std::string& podUid, std::string_view container, ProbeKind kind) const {
  auto found = workers_.find(keyOf(podUid, container, kind));
  return found == workers_.end() ? nullptr : found->second.get();
}

bool Prober::started(const schema::Ref<corev1::Pod>& pod, std::string_view container) const {
  const Container* spec = containerNamed(*pod, container);
  if (spec == nullptr || spec->startupProbe == nullptr) return true;
  const Worker* worker = find(std::string(pod->metadata.uid), container, ProbeKind::Startup);
  return worker != nullptr && !worker->containerId.empty() && worker->success;
}

bool Prober::ready(const schema::Ref<corev1::Pod>& pod, std::string_view container) const {
  const Container* spec = containerNamed(*pod, container);
  if (spec == nullptr || spec->readinessProbe == nullptr) return true;
  const Worker* worker = find(std::string(pod->metadata.uid), container, ProbeKind::Readiness);
  return worker != nullptr && !worker->containerId.empty() && worker->success;
}

bool Prober::livenessFailed(const std::string& podUid, std::string_view container) const {
  const Worker* worker = find(podUid, container, ProbeKind::Liveness);
  return worker != nullptr && worker->failedForGood;
}
bool Prober::startupFailed(const std::string& podUid, std::string_view container) const {
  const Worker* worker = find(podUid, container, ProbeKind::Startup);
  return worker != nullptr && worker->failedForGood;
}

Task<void> Prober::close() {
  for (auto& [key, worker] : workers_) {
    worker->stopped = true;
    worker->wake.notifyAll();
  }
  workers_.clear();
  co_await gate_.close();
}

Task<Prober::Outcome> Prober::probeOnce(std::shared_ptr<Worker> worker, std::string* output) {
  const corev1::Probe& probe = worker->probe();
  const Container& container = *containerNamed(*worker->pod, worker->containerName);
  env::Duration timeout = std::chrono::seconds(std::max(probe.timeoutSeconds, 1));
  std::string podIp = worker->podIp;
  if (worker->pod->spec.hostNetwork && !worker->pod->status.hostIP.empty()) podIp = worker->pod->status.hostIP;
  if (auto* exec = probe.probeHandler.exec) {
    auto request = schema::newObject<v1::ExecSyncRequest>();
    request->containerId = request.str(worker->containerId);
    Variables literals = literalEnvironment(container);
    std::string command;
    for (schema::Str word : exec->command) {
      std::string expanded = expand(word, {&literals});
      request->cmd.append(request.arena(), request.str(expanded));
      command += (command.empty() ? "" : " ") + expanded;
    }
    request->timeout = std::chrono::duration_cast<std::chrono::seconds>(timeout).count();
    auto answer = co_await runtime_.execSync(std::move(request));
    if (!answer) {
      // A command that takes too long failed; a runtime that does not answer says nothing about the container.
      bool late = answer.error().reason() == Reason::Timeout;
      *output = late ? fmt::format("command timed out: {} timed out after {}", quote(command), durationText(timeout))
                     : std::string(answer.error().message());
      co_return late ? Outcome::Failure : Outcome::Unknown;
    }
    *output =
        std::string((*answer)->stdout.bytes.substr(0, kOutputMax)) + std::string((*answer)->stderr.bytes.substr(0, kOutputMax));
    co_return (*answer)->exitCode == 0 ? Outcome::Success : Outcome::Failure;
  }
  if (auto* get = probe.probeHandler.httpGet) {
    Result<int32_t> port = portOf(get->port, container);
    if (!port) {
      *output = port.error().message();
      co_return Outcome::Unknown;
    }
    HttpGetRequest request = httpGetRequest(*get, podIp, *port, "kube-probe/1.36");
    auto answer = co_await httpGet(env_, request, timeout);
    if (!answer) {
      *output = fmt::format("Get \"{}://{}{}\": {}", request.https ? "https" : "http", request.address, request.path,
                            answer.error().message());
      co_return Outcome::Failure;
    }
    if (answer->status >= 200 && answer->status < 300) co_return Outcome::Success;
    if (answer->status < 200 || answer->status >= 400) {
      *output = fmt::format("HTTP probe failed with statuscode: {}", answer->status);
      co_return Outcome::Failure;
    }
    *output = fmt::format("Probe terminated redirects, Response body: {}", answer->body);
    co_return Outcome::Warning;
  }
  if (auto* tcp = probe.probeHandler.tcpSocket) {
    Result<int32_t> port = portOf(tcp->port, container);
    if (!port) {
      *output = port.error().message();
      co_return Outcome::Unknown;
    }
    Result<void> connected =
        co_await tcpConnect(env_, hostPort(tcp->host.empty() ? podIp : std::string(tcp->host), *port), timeout);
    if (!connected) *output = connected.error().message();
    co_return connected ? Outcome::Success : Outcome::Failure;
  }
  if (auto* grpc = probe.probeHandler.grpc) {
    Result<void> healthy =
        co_await grpcHealthCheck(env_, hostPort(podIp, grpc->port), std::string(grpc->service.valueOr(schema::Str())), timeout);
    if (!healthy) *output = healthy.error().message();
    co_return healthy ? Outcome::Success : Outcome::Failure;
  }
  *output = fmt::format("missing probe handler for {}:{}", worker->pod->metadata.name, worker->containerName);
  co_return Outcome::Unknown;
}

Task<void> Prober::run(Prober* prober, std::shared_ptr<Worker> worker) {
  env::Env env = prober->env_;
  while (!worker->stopped) {
    if (worker->containerId.empty()) {
      co_await worker->wake.wait();
      continue;
    }
    std::string instance = worker->containerId;
    env::Instant began = env.clock.now();
    int64_t sinceStart = env.clock.unixNanos() - worker->startedAtNanos;
    int64_t initial = int64_t{worker->probe().initialDelaySeconds} * 1'000'000'000;
    // Until the startup probe passed the other probes wait; a startup probe that passed is done.
    bool notYet = worker->kind != ProbeKind::Startup && !prober->started(worker->pod, worker->containerName);
    bool done = worker->kind == ProbeKind::Startup && worker->success;
    if (sinceStart >= initial && !notYet && !done && !worker->failedForGood) {
      std::string output;
      Outcome outcome = Outcome::Unknown;
      for (int attempt = 0; attempt < kAttempts && outcome == Outcome::Unknown; ++attempt)
        outcome = co_await prober->probeOnce(worker, &output);
      if (worker->stopped || worker->containerId != instance) continue;
      if (outcome == Outcome::Unknown) {
        prober->recorder_.eventAbout(
            worker->pod, fmt::format("spec.containers{{{}}}", worker->containerName), "Warning", "Unhealthy",
            fmt::format("{} probe errored and resulted in unknown state: {}", nameOf(worker->kind), output));
        co_await async::sleepFor(env, std::chrono::seconds(std::max(worker->probe().periodSeconds, 1)));
        continue;  // it counts for nothing
      }
      bool good = outcome != Outcome::Failure;
      worker->run = good == worker->lastGood ? worker->run + 1 : 1;
      worker->lastGood = good;
      if (outcome != Outcome::Success) {
        prober->recorder_.eventAbout(worker->pod, fmt::format("spec.containers{{{}}}", worker->containerName), "Warning",
                                     good ? "ProbeWarning" : "Unhealthy",
                                     fmt::format("{} probe {}: {}", nameOf(worker->kind), good ? "warning" : "failed", output));
      }
      int32_t needed = good ? std::max(worker->probe().successThreshold, 1) : std::max(worker->probe().failureThreshold, 1);
      bool before = worker->success;
      if (worker->run >= needed) {
        worker->success = good;
        if (!good && worker->kind != ProbeKind::Readiness) worker->failedForGood = true;
      }
      if (before != worker->success || worker->failedForGood) prober->changed_(worker->podUid);
    }
    // From start to start: a probe that takes its time delays none after it.
    env::Duration wait = std::chrono::seconds(std::max(worker->probe().periodSeconds, 1));
    wait = std::max<env::Duration>(wait - (env.clock.now() - began), env::Duration{});
    if (sinceStart < initial) wait = std::min<env::Duration>(wait, env::Duration(initial - sinceStart));
    // The end of the start-up is noticed soon by the probes that wait for it.
    if (notYet) wait = std::min<env::Duration>(wait, std::chrono::seconds(1));
    co_await async::sleepFor(env, wait);
  }
}

}  // namespace knarr::kubelet
