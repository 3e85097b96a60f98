#include "kubelet/runtime_pod.h"

#include <algorithm>

#include "base/strings.h"

namespace knarr::kubelet {

using async::Task;
namespace v1 = runtimev1;

namespace {
std::string text(const schema::StringMap& map, std::string_view key) { return std::string(schema::valueOf(map, key)); }
}  // namespace

const ContainerRecord* RuntimePod::newest(std::string_view containerName) const {
  for (const ContainerRecord& container : containers) {
    if (container.name == containerName) return &container;
  }
  return nullptr;
}

bool RuntimePod::anyRunning() const {
  return std::any_of(containers.begin(), containers.end(), [](const auto& c) { return c.running(); });
}

const std::vector<std::string>& RuntimePod::ips() const {
  static const std::vector<std::string> kNone;
  return sandboxes.empty() ? kNone : sandboxes.front().ips;
}

ContainerRecord recordOf(const v1::ContainerStatus& status) {
  ContainerRecord record;
  record.id = status.id;
  if (status.metadata != nullptr) record.name = status.metadata->name;
  record.state = status.state;
  record.createdAt = status.createdAt;
  record.startedAt = status.startedAt;
  record.finishedAt = status.finishedAt;
  record.exitCode = status.exitCode;
  record.reason = status.reason;
  record.message = status.message;
  if (status.image != nullptr) record.image = status.image->image;
  record.imageRef = status.imageRef;
  record.logPath = status.logPath;
  record.hash = text(status.annotations, labels::kHash);
  record.restartCount = static_cast<int32_t>(
      parseInt(text(status.annotations, labels::kRestartCount)).value_or(status.metadata ? status.metadata->attempt : 0));
  record.terminationMessagePolicy = text(status.annotations, labels::kTerminationMessagePolicy);
  std::string messagePath = text(status.annotations, labels::kTerminationMessagePath);
  for (const v1::Mount& mount : status.mounts) {
    if (!messagePath.empty() && mount.containerPath == messagePath) {
      record.terminationMessageHostPath = mount.hostPath;
    }
  }
  return record;
}

SandboxRecord recordOf(const v1::PodSandboxStatus& status) {
  SandboxRecord record;
  record.id = status.id;
  if (status.metadata != nullptr) record.attempt = status.metadata->attempt;
  record.ready = status.state == cri::kSandboxReady;
  record.createdAt = status.createdAt;
  if (status.linux_ != nullptr && status.linux_->namespaces != nullptr && status.linux_->namespaces->options != nullptr) {
    record.hostNetwork = status.linux_->namespaces->options->network == cri::kNamespaceNode;
  }
  if (status.network != nullptr && !record.hostNetwork) {
    if (!status.network->ip.empty()) record.ips.emplace_back(status.network->ip);
    for (const v1::PodIP& ip : status.network->additionalIps) record.ips.emplace_back(ip.ip);
  }
  return record;
}

Task<Result<RuntimePod>> readRuntimePod(cri::RuntimeClient& runtime, std::string podUid) {
  RuntimePod pod;
  pod.uid = podUid;
  auto sandboxQuery = schema::newObject<v1::ListPodSandboxRequest>();
  sandboxQuery->filter = sandboxQuery.arena().make<v1::PodSandboxFilter>();
  schema::set(sandboxQuery->filter->labelSelector, sandboxQuery.arena(), labels::kPodUid, podUid);
  auto sandboxes = CO_TRY(co_await runtime.listPodSandbox(std::move(sandboxQuery)));
  for (const v1::PodSandbox& sandbox : sandboxes->items) {
    if (sandbox.metadata != nullptr) {
      pod.name = sandbox.metadata->name;
      pod.nameSpace = sandbox.metadata->namespace_;
    }
    auto status = co_await runtime.podSandboxStatus(std::string(sandbox.id), false);
    if (!status && isNotFound(status.error())) continue;
    if (!status) co_return Unexpected(std::move(status).error());
    if ((*status)->status == nullptr) co_return fail(Reason::InternalError, "pod sandbox status is nil");
    pod.sandboxes.push_back(recordOf(*(*status)->status));
  }
  std::sort(pod.sandboxes.begin(), pod.sandboxes.end(), [](const auto& a, const auto& b) {
    return a.attempt != b.attempt ? a.attempt > b.attempt : a.createdAt > b.createdAt;
  });
  auto containerQuery = schema::newObject<v1::ListContainersRequest>();
  containerQuery->filter = containerQuery.arena().make<v1::ContainerFilter>();
  schema::set(containerQuery->filter->labelSelector, containerQuery.arena(), labels::kPodUid, podUid);
  auto containers = CO_TRY(co_await runtime.listContainers(std::move(containerQuery)));
  for (const v1::Container& container : containers->containers) {
    auto status = co_await runtime.containerStatus(std::string(container.id), false);
    if (!status && isNotFound(status.error())) continue;
    if (!status) co_return Unexpected(std::move(status).error());
    if ((*status)->status == nullptr) co_return fail(Reason::InternalError, "container status is nil");
    ContainerRecord record = recordOf(*(*status)->status);
    record.sandboxId = container.podSandboxId;
    pod.containers.push_back(std::move(record));
  }
  std::sort(pod.containers.begin(), pod.containers.end(),
            [](const auto& a, const auto& b) { return a.createdAt != b.createdAt ? a.createdAt > b.createdAt : a.id > b.id; });
  co_return pod;
}

Task<Result<RuntimeSummary>> summarizeRuntime(cri::RuntimeClient& runtime) {
  RuntimeSummary summary;
  auto sandboxes = CO_TRY(co_await runtime.listPodSandbox(schema::newObject<v1::ListPodSandboxRequest>()));
  auto containers = CO_TRY(co_await runtime.listContainers(schema::newObject<v1::ListContainersRequest>()));
  auto note = [&](const schema::StringMap& map, schema::Str id, int32_t state) {
    std::string uid = text(map, labels::kPodUid);
    if (uid.empty()) return;  // not made by a kubelet
    RuntimeSummary::Pod& pod = summary.pods[uid];
    pod.uid = uid;
    pod.name = text(map, labels::kPodName);
    pod.nameSpace = text(map, labels::kPodNamespace);
    pod.states[std::string(id)] = state;
  };
  for (const v1::PodSandbox& sandbox : sandboxes->items) {
    note(sandbox.labels, sandbox.id, sandbox.state);
    if (sandbox.state == cri::kSandboxReady) summary.running.emplace(sandbox.id);
  }
  for (const v1::Container& container : containers->containers) {
    note(container.labels, container.id, container.state);
    if (container.state == cri::kContainerRunning) summary.running.emplace(container.id);
  }
  co_return summary;
}

}  // namespace knarr::kubelet
