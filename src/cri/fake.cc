#include "cri/fake.h"

#include <fmt/format.h>

#include "base/strings.h"

namespace knarr::cri {

using async::Task;

namespace {

bool matches(const schema::StringMap& labels, const schema::StringMap& selector) {
  for (const auto& entry : selector) {
    if (schema::valueOf(labels, entry.key) != entry.value) return false;
  }
  return true;
}

template <class T>
Ref<T> published(Mut<T> object) {
  return std::move(object).publish();
}

Unexpected absent(std::string_view what, std::string_view id) {
  return fail(Reason::NotFound, fmt::format("an error occurred when try to find {} \"{}\": not found", what, id));
}

}  // namespace

FakeRuntime::FakeRuntime(env::Env environment) : env_(environment), changed_(environment.executor) {}

FakeRuntime::~FakeRuntime() {
  for (auto& [id, container] : containers_) env_.executor.cancelTimer(container.exitTimer);
}

std::string FakeRuntime::newId() { return fmt::format("{:064x}", ++lastId_); }

void FakeRuntime::failNext(const std::string& method, const Error& error, int times) {
  for (int i = 0; i < times; ++i) failures_[method].push_back(error);
}

const FakeRuntime::Container* FakeRuntime::findContainer(std::string_view podName, std::string_view containerName) const {
  const Container* newest = nullptr;
  for (const auto& [id, container] : containers_) {
    auto sandbox = sandboxes_.find(container.sandboxId);
    if (sandbox == sandboxes_.end() || sandbox->second.config().metadata->name != podName) continue;
    if (container.config().metadata->name == containerName) newest = &container;  // ids grow
  }
  return newest;
}

Task<Result<void>> FakeRuntime::enter(std::string method, env::Duration delay, std::string detail) {
  calls_.push_back(detail.empty() ? method : method + " " + detail);
  if (delay > env::Duration::zero()) co_await async::sleepFor(env_, delay);
  auto& failures = failures_[method];
  if (failures.empty()) co_return Result<void>();
  Error error = failures.front();
  failures.pop_front();
  co_return Unexpected(std::move(error));
}

void FakeRuntime::announce(RuntimeEvent::Kind kind, const std::string& id) {
  RuntimeEvent event{kind, id, ""};
  auto container = containers_.find(id);
  auto sandbox = sandboxes_.find(container == containers_.end() ? id : container->second.sandboxId);
  if (eventsNamePods && sandbox != sandboxes_.end()) event.podUid = sandbox->second.config().metadata->uid;
  std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
  for (const auto& weak : listeners_) {
    auto listener = weak.lock();
    listener->events.push_back(event);
    listener->ready.notifyAll();
  }
}

void FakeRuntime::breakEventStreams() {
  for (const auto& weak : std::exchange(listeners_, {})) {
    if (auto listener = weak.lock()) {
      listener->broken = true;
      listener->ready.notifyAll();
    }
  }
}

void FakeRuntime::finish(Container& container, int32_t exitCode, std::string reason) {
  env_.executor.cancelTimer(container.exitTimer);
  container.state = kContainerExited;
  container.finishedAt = env_.clock.unixNanos();
  container.exitCode = exitCode;
  container.reason = !reason.empty() ? std::move(reason) : exitCode == 0 ? "Completed" : "Error";
  changed_.notifyAll();
  // containerd tells of the ends of processes; what could not be started was none.
  if (container.reason != "StartError") announce(RuntimeEvent::Exited, container.id);
}

void FakeRuntime::start(Container& container, const Behavior& behavior) {
  container.state = kContainerRunning;
  container.startedAt = env_.clock.unixNanos();
  changed_.notifyAll();
  if (!behavior.runFor) return;
  container.exitTimer = env_.executor.at(env_.clock.now() + *behavior.runFor,
                                         [this, id = container.id, code = behavior.exitCode] { exitContainer(id, code); });
}

void FakeRuntime::exitContainer(const std::string& id, int32_t exitCode, std::string reason) {
  auto container = containers_.find(id);
  if (container == containers_.end() || container->second.state != kContainerRunning) return;
  finish(container->second, exitCode, std::move(reason));
}

void FakeRuntime::stopSandboxFromOutside(const std::string& id) {
  auto sandbox = sandboxes_.find(id);
  if (sandbox == sandboxes_.end()) return;
  bool was = std::exchange(sandbox->second.state, kSandboxNotReady) == kSandboxReady;
  if (was) announce(RuntimeEvent::Exited, id);
  for (auto& [containerId, container] : containers_) {
    if (container.sandboxId == id && container.state == kContainerRunning) finish(container, 137, "");
  }
}

Answer<v1::VersionResponse> FakeRuntime::version() {
  CO_TRY(co_await enter("Version", delays.other));
  auto answer = schema::newObject<v1::VersionResponse>();
  answer->version = "0.1.0";
  answer->runtimeName = "fake";
  answer->runtimeVersion = "1.0.0";
  answer->runtimeApiVersion = "v1";
  co_return published(std::move(answer));
}

Answer<v1::StatusResponse> FakeRuntime::status(bool) {
  CO_TRY(co_await enter("Status", delays.other));
  auto answer = schema::newObject<v1::StatusResponse>();
  Arena& arena = answer.arena();
  answer->status = arena.make<v1::RuntimeStatus>();
  for (auto [name, ready] : {std::pair(kRuntimeReady, runtimeReady), std::pair(kNetworkReady, networkReady)}) {
    v1::RuntimeCondition& condition = answer->status->conditions.append(arena);
    condition.type = name;
    condition.status = ready;
    if (!ready) condition.reason = name == kNetworkReady ? "NetworkPluginNotReady" : "RuntimeNotReady";
  }
  co_return published(std::move(answer));
}

Answer<v1::UpdateRuntimeConfigResponse> FakeRuntime::updateRuntimeConfig(Mut<v1::UpdateRuntimeConfigRequest>) {
  CO_TRY(co_await enter("UpdateRuntimeConfig", delays.other));
  co_return published(schema::newObject<v1::UpdateRuntimeConfigResponse>());
}

Answer<v1::RunPodSandboxResponse> FakeRuntime::runPodSandbox(Mut<v1::RunPodSandboxRequest> request) {
  Ref<v1::RunPodSandboxRequest> kept = published(std::move(request));
  if (kept->config == nullptr || kept->config->metadata == nullptr) {
    co_return fail(Reason::Invalid, "sandbox config must include metadata");
  }
  CO_TRY(co_await enter("RunPodSandbox", delays.sandboxStart, std::string(kept->config->metadata->name)));
  Sandbox sandbox;
  sandbox.id = newId();
  ++lastAddress_;
  sandbox.ip = fmt::format("10.88.{}.{}", lastAddress_ >> 8 & 255, lastAddress_ & 255);
  sandbox.request = kept;
  sandbox.createdAt = env_.clock.unixNanos();
  auto answer = schema::newObject<v1::RunPodSandboxResponse>();
  answer->podSandboxId = answer.str(sandbox.id);
  sandboxes_[sandbox.id] = std::move(sandbox);
  co_return published(std::move(answer));
}

Answer<v1::StopPodSandboxResponse> FakeRuntime::stopPodSandbox(std::string id) {
  CO_TRY(co_await enter("StopPodSandbox", delays.other));
  stopSandboxFromOutside(id);
  co_return published(schema::newObject<v1::StopPodSandboxResponse>());
}

Answer<v1::RemovePodSandboxResponse> FakeRuntime::removePodSandbox(std::string id) {
  CO_TRY(co_await enter("RemovePodSandbox", delays.other));
  stopSandboxFromOutside(id);
  std::erase_if(containers_, [&](const auto& entry) { return entry.second.sandboxId == id; });
  sandboxes_.erase(id);
  co_return published(schema::newObject<v1::RemovePodSandboxResponse>());
}

Answer<v1::PodSandboxStatusResponse> FakeRuntime::podSandboxStatus(std::string id, bool) {
  CO_TRY(co_await enter("PodSandboxStatus", delays.other));
  auto found = sandboxes_.find(id);
  if (found == sandboxes_.end()) co_return absent("sandbox", id);
  const Sandbox& sandbox = found->second;
  auto answer = schema::newObject<v1::PodSandboxStatusResponse>();
  Arena& arena = answer.arena();
  v1::PodSandboxStatus* status = answer->status = arena.make<v1::PodSandboxStatus>();
  status->id = answer.str(sandbox.id);
  status->metadata = schema::copyInto(arena, *sandbox.config().metadata);
  status->state = sandbox.state;
  status->createdAt = sandbox.createdAt;
  status->network = arena.make<v1::PodSandboxNetworkStatus>();
  const auto* onLinux = sandbox.config().linux_;
  bool hostNetwork = onLinux != nullptr && onLinux->securityContext != nullptr &&
                     onLinux->securityContext->namespaceOptions != nullptr &&
                     onLinux->securityContext->namespaceOptions->network == kNamespaceNode;
  if (hostNetwork) status->network = nullptr;
  if (!hostNetwork && sandbox.state == kSandboxReady) status->network->ip = answer.str(sandbox.ip);
  if (onLinux != nullptr && onLinux->securityContext != nullptr && onLinux->securityContext->namespaceOptions != nullptr) {
    status->linux_ = arena.make<v1::LinuxPodSandboxStatus>();
    status->linux_->namespaces = arena.make<v1::Namespace>();
    status->linux_->namespaces->options = schema::copyInto(arena, *onLinux->securityContext->namespaceOptions);
  }
  for (const auto& entry : sandbox.config().labels) schema::set(status->labels, arena, entry.key, entry.value);
  for (const auto& entry : sandbox.config().annotations) {
    schema::set(status->annotations, arena, entry.key, entry.value);
  }
  status->runtimeHandler = answer.str(sandbox.request->runtimeHandler);
  co_return published(std::move(answer));
}

Answer<v1::ListPodSandboxResponse> FakeRuntime::listPodSandbox(Mut<v1::ListPodSandboxRequest> request) {
  CO_TRY(co_await enter("ListPodSandbox", delays.other));
  const v1::PodSandboxFilter* filter = request->filter;
  auto answer = schema::newObject<v1::ListPodSandboxResponse>();
  Arena& arena = answer.arena();
  for (const auto& [id, sandbox] : sandboxes_) {
    if (filter != nullptr) {
      if (!filter->id.empty() && filter->id != id) continue;
      if (filter->state != nullptr && filter->state->state != sandbox.state) continue;
      if (!matches(sandbox.config().labels, filter->labelSelector)) continue;
    }
    v1::PodSandbox& item = answer->items.append(arena);
    item.id = arena.copy(id);
    item.metadata = schema::copyInto(arena, *sandbox.config().metadata);
    item.state = sandbox.state;
    item.createdAt = sandbox.createdAt;
    for (const auto& entry : sandbox.config().labels) schema::set(item.labels, arena, entry.key, entry.value);
    for (const auto& entry : sandbox.config().annotations) {
      schema::set(item.annotations, arena, entry.key, entry.value);
    }
  }
  co_return published(std::move(answer));
}

Answer<v1::CreateContainerResponse> FakeRuntime::createContainer(Mut<v1::CreateContainerRequest> request) {
  Ref<v1::CreateContainerRequest> kept = published(std::move(request));
  if (kept->config == nullptr || kept->config->metadata == nullptr || kept->config->image == nullptr) {
    co_return fail(Reason::Invalid, "container config must include metadata and image");
  }
  CO_TRY(co_await enter("CreateContainer", delays.other, std::string(kept->config->metadata->name)));
  auto sandbox = sandboxes_.find(std::string(kept->podSandboxId));
  if (sandbox == sandboxes_.end()) co_return absent("sandbox", kept->podSandboxId);
  if (sandbox->second.state != kSandboxReady) {
    co_return fail(Reason::InternalError, "sandbox container is not running");
  }
  if (presentImage(kept->config->image->image).empty()) co_return absent("image", kept->config->image->image);
  for (const auto& [id, other] : containers_) {
    if (other.sandboxId != kept->podSandboxId) continue;
    if (other.config().metadata->name == kept->config->metadata->name &&
        other.config().metadata->attempt == kept->config->metadata->attempt) {
      co_return fail(Reason::InternalError, fmt::format("failed to reserve container name: reserved for \"{}\"", id));
    }
  }
  Container container;
  container.id = newId();
  container.sandboxId = sandbox->first;
  container.request = kept;
  container.createdAt = env_.clock.unixNanos();
  auto answer = schema::newObject<v1::CreateContainerResponse>();
  answer->containerId = answer.str(container.id);
  std::string id = container.id;
  containers_[id] = std::move(container);
  co_return published(std::move(answer));
}

Answer<v1::StartContainerResponse> FakeRuntime::startContainer(std::string id) {
  std::string name;
  if (auto known = containers_.find(id); known != containers_.end()) name = known->second.config().metadata->name;
  CO_TRY(co_await enter("StartContainer", delays.containerStart, name));
  auto found = containers_.find(id);
  if (found == containers_.end()) co_return absent("container", id);
  Container& container = found->second;
  if (container.state != kContainerCreated) {
    co_return fail(Reason::InternalError, "container is not in created state");
  }
  const Behavior& behavior = images_[presentImage(container.config().image->image)];
  if (!behavior.startError.empty()) {
    container.startedAt = env_.clock.unixNanos();
    finish(container, 128, "StartError");
    container.message = behavior.startError;
    co_return fail(Reason::InternalError, behavior.startError);
  }
  start(container, behavior);
  co_return published(schema::newObject<v1::StartContainerResponse>());
}

Answer<v1::StopContainerResponse> FakeRuntime::stopContainer(std::string id, int64_t timeoutSeconds) {
  CO_TRY(co_await enter("StopContainer", delays.other, std::to_string(timeoutSeconds)));
  auto found = containers_.find(id);
  if (found == containers_.end()) co_return published(schema::newObject<v1::StopContainerResponse>());
  if (found->second.state == kContainerCreated) finish(found->second, 0, "");
  if (found->second.state != kContainerRunning) co_return published(schema::newObject<v1::StopContainerResponse>());
  env::Duration takes = images_[presentImage(found->second.config().image->image)].stopTakes;
  env::Duration limit = std::chrono::seconds(timeoutSeconds);
  // Several stops may run at once; the first that is due ends them all.
  env::TimerId timer = env_.executor.at(env_.clock.now() + std::min(takes, limit),
                                        [this, id, killed = takes > limit] { exitContainer(id, killed ? 137 : 0); });
  auto running = [&] {
    auto now = containers_.find(id);
    return now != containers_.end() && now->second.state == kContainerRunning;
  };
  while (running()) co_await changed_.wait();
  env_.executor.cancelTimer(timer);
  co_return published(schema::newObject<v1::StopContainerResponse>());
}

Answer<v1::RemoveContainerResponse> FakeRuntime::removeContainer(std::string id) {
  CO_TRY(co_await enter("RemoveContainer", delays.other));
  exitContainer(id, 137);
  containers_.erase(id);
  co_return published(schema::newObject<v1::RemoveContainerResponse>());
}

Answer<v1::ListContainersResponse> FakeRuntime::listContainers(Mut<v1::ListContainersRequest> request) {
  CO_TRY(co_await enter("ListContainers", delays.other));
  const v1::ContainerFilter* filter = request->filter;
  auto answer = schema::newObject<v1::ListContainersResponse>();
  Arena& arena = answer.arena();
  for (const auto& [id, container] : containers_) {
    if (filter != nullptr) {
      if (!filter->id.empty() && filter->id != id) continue;
      if (!filter->podSandboxId.empty() && filter->podSandboxId != container.sandboxId) continue;
      if (filter->state != nullptr && filter->state->state != container.state) continue;
      if (!matches(container.config().labels, filter->labelSelector)) continue;
    }
    v1::Container& item = answer->containers.append(arena);
    item.id = arena.copy(id);
    item.podSandboxId = arena.copy(container.sandboxId);
    item.metadata = schema::copyInto(arena, *container.config().metadata);
    item.image = schema::copyInto(arena, *container.config().image);
    item.imageRef = item.image->image;
    item.state = container.state;
    item.createdAt = container.createdAt;
    for (const auto& entry : container.config().labels) schema::set(item.labels, arena, entry.key, entry.value);
    for (const auto& entry : container.config().annotations) {
      schema::set(item.annotations, arena, entry.key, entry.value);
    }
  }
  co_return published(std::move(answer));
}

Answer<v1::ContainerStatusResponse> FakeRuntime::containerStatus(std::string id, bool) {
  CO_TRY(co_await enter("ContainerStatus", delays.other));
  auto found = containers_.find(id);
  if (found == containers_.end()) co_return absent("container", id);
  const Container& container = found->second;
  auto answer = schema::newObject<v1::ContainerStatusResponse>();
  Arena& arena = answer.arena();
  v1::ContainerStatus* status = answer->status = arena.make<v1::ContainerStatus>();
  status->id = arena.copy(id);
  status->metadata = schema::copyInto(arena, *container.config().metadata);
  status->state = container.state;
  status->createdAt = container.createdAt;
  status->startedAt = container.startedAt;
  status->finishedAt = container.finishedAt;
  status->exitCode = container.exitCode;
  status->image = schema::copyInto(arena, *container.config().image);
  std::string image = presentImage(container.config().image->image);
  if (!image.empty()) status->image->image = arena.copy(image);
  status->imageRef = arena.copy(container.config().image->image);
  status->reason = arena.copy(container.reason);
  status->message = arena.copy(container.message);
  for (const auto& entry : container.config().labels) schema::set(status->labels, arena, entry.key, entry.value);
  for (const auto& entry : container.config().annotations) {
    schema::set(status->annotations, arena, entry.key, entry.value);
  }
  for (const v1::Mount& mount : container.config().mounts) {
    schema::deepCopy(schema::typeInfoOf<v1::Mount>(), &status->mounts.append(arena), &mount, arena);
  }
  std::string directory(sandboxes_.at(container.sandboxId).config().logDirectory);
  status->logPath = arena.copy(directory + "/" + std::string(container.config().logPath));
  co_return published(std::move(answer));
}

Answer<v1::UpdateContainerResourcesResponse> FakeRuntime::updateContainerResources(
    Mut<v1::UpdateContainerResourcesRequest> request) {
  CO_TRY(co_await enter("UpdateContainerResources", delays.other));
  if (!containers_.contains(std::string(request->containerId))) co_return absent("container", request->containerId);
  co_return published(schema::newObject<v1::UpdateContainerResourcesResponse>());
}

Answer<v1::ReopenContainerLogResponse> FakeRuntime::reopenContainerLog(std::string id) {
  CO_TRY(co_await enter("ReopenContainerLog", delays.other));
  auto found = containers_.find(id);
  if (found == containers_.end()) co_return absent("container", id);
  if (found->second.state != kContainerRunning) co_return fail(Reason::InternalError, "container is not running");
  co_return published(schema::newObject<v1::ReopenContainerLogResponse>());
}

Answer<v1::ExecSyncResponse> FakeRuntime::execSync(Mut<v1::ExecSyncRequest> request) {
  CO_TRY(co_await enter("ExecSync", delays.other));
  auto found = containers_.find(std::string(request->containerId));
  if (found == containers_.end()) co_return absent("container", request->containerId);
  if (found->second.state != kContainerRunning) {
    co_return fail(Reason::InternalError, "container is in CONTAINER_EXITED state");
  }
  auto answer = schema::newObject<v1::ExecSyncResponse>();
  if (onExecSync) answer->exitCode = onExecSync(*request);
  co_return published(std::move(answer));
}

Answer<v1::ExecResponse> FakeRuntime::exec(Mut<v1::ExecRequest> request) {
  CO_TRY(co_await enter("Exec", delays.other));
  if (!containers_.contains(std::string(request->containerId))) co_return absent("container", request->containerId);
  auto answer = schema::newObject<v1::ExecResponse>();
  answer->url = "http://127.0.0.1:1/exec/token";
  co_return published(std::move(answer));
}
Answer<v1::AttachResponse> FakeRuntime::attach(Mut<v1::AttachRequest> request) {
  CO_TRY(co_await enter("Attach", delays.other));
  // Source: containerd, validateAttachRequest.
  if (request->tty && request->stderr) co_return fail(Reason::Invalid, "tty and stderr cannot both be true");
  if (!containers_.contains(std::string(request->containerId))) co_return absent("container", request->containerId);
  auto answer = schema::newObject<v1::AttachResponse>();
  answer->url = "http://127.0.0.1:1/attach/token";
  co_return published(std::move(answer));
}
Answer<v1::PortForwardResponse> FakeRuntime::portForward(Mut<v1::PortForwardRequest> request) {
  CO_TRY(co_await enter("PortForward", delays.other));
  if (!sandboxes_.contains(std::string(request->podSandboxId))) co_return absent("sandbox", request->podSandboxId);
  auto answer = schema::newObject<v1::PortForwardResponse>();
  answer->url = "http://127.0.0.1:1/portforward/token";
  co_return published(std::move(answer));
}

class FakeRuntime::Events : public EventStream {
 public:
  explicit Events(std::shared_ptr<EventQueue> queue) : queue_(std::move(queue)) {}
  Task<Result<RuntimeEvent>> next() override { return nextOf(queue_); }

 private:
  static Task<Result<RuntimeEvent>> nextOf(std::shared_ptr<EventQueue> queue) {
    while (queue->events.empty() && !queue->broken) co_await queue->ready.wait();
    if (queue->events.empty()) co_return fail(Reason::ServiceUnavailable, "the runtime ended its event stream");
    RuntimeEvent event = std::move(queue->events.front());
    queue->events.pop_front();
    co_return event;
  }
  std::shared_ptr<EventQueue> queue_;
};

Task<Result<std::unique_ptr<EventStream>>> FakeRuntime::containerEvents() {
  CO_TRY(co_await enter("GetContainerEvents", delays.other));
  if (!offersEvents) {
    co_return fail(Reason::MethodNotAllowed, "unknown method GetContainerEvents for service runtime.v1.RuntimeService");
  }
  auto queue = std::make_shared<EventQueue>(env_.executor);
  listeners_.push_back(queue);
  co_return std::unique_ptr<EventStream>(std::make_unique<Events>(std::move(queue)));
}

}  // namespace knarr::cri
