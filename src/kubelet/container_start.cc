// Starting one container: image, environment, mounts, create, start, postStart.
#include <fmt/format.h>

#include "base/strings.h"
#include "kubelet/http_get.h"
#include "kubelet/pod_runtime.h"
#include "kubelet/volumes/sub_path.h"

namespace knarr::kubelet {

using async::Task;
using corev1::Container;
using corev1::Pod;
namespace v1 = runtimev1;

namespace {

std::string shortId(uint64_t random) { return fmt::format("{:08x}", static_cast<uint32_t>(random)); }

int32_t propagationOf(const corev1::VolumeMount& mount) {
  schema::Str mode = mount.mountPropagation.valueOr(schema::Str());
  if (mode == "Bidirectional") return cri::kPropagationBidirectional;
  if (mode == "HostToContainer") return cri::kPropagationHostToContainer;
  return cri::kPropagationPrivate;
}

}  // namespace

int32_t PodRuntime::nextRestartCount(const Pod& pod, const RuntimePod& runtime, std::string_view container) {
  if (const ContainerRecord* record = runtime.newest(container)) return record->restartCount + 1;
  // After the records were lost the logs still tell.
  auto names = env_.files.listDirectory(fmt::format("{}/{}", podLogDirectory(config_, pod), container));
  int64_t highest = -1;
  if (names) {
    for (const std::string& name : *names) {
      if (!name.ends_with(".log")) continue;
      highest = std::max(highest, parseInt(std::string_view(name).substr(0, name.size() - 4)).value_or(-1));
    }
  }
  return static_cast<int32_t>(highest + 1);
}

Result<std::vector<MountInput>> PodRuntime::mounts(const PodSyncInputs& inputs, const Container& container,
                                                   const Variables& environment) {
  std::vector<MountInput> out;
  for (const corev1::VolumeMount& mount : container.volumeMounts) {
    auto volume = inputs.volumes.hostPaths.find(mount.name);
    if (volume == inputs.volumes.hostPaths.end()) {
      return fail(Reason::Invalid,
                  fmt::format("cannot find volume \"{}\" to mount into container \"{}\"", mount.name, container.name));
    }
    MountInput input;
    input.hostPath = volume->second;
    std::string subPath(mount.subPath);
    if (!mount.subPathExpr.empty()) {
      subPath = expand(mount.subPathExpr, {&environment});
      if (subPath.find("$(") != std::string::npos) {
        return fail(Reason::Invalid, fmt::format("missing value for {}", mount.subPathExpr));
      }
    }
    if (!subPath.empty()) {
      for (std::string_view element : split(subPath, '/')) {
        if (element == "..") return fail(Reason::Invalid, "subPath must not contain '..'");
      }
      if (subPath.front() == '/') return fail(Reason::Invalid, "subPath must not be an absolute path");
      auto below = resolveSubPath(env_.files, input.hostPath, subPath);
      if (!below) {
        return fail(Reason::InternalError, fmt::format("failed to prepare subPath for volumeMount \"{}\" of container \"{}\"",
                                                       mount.name, container.name));
      }
      input.hostPath = *below;
    }
    input.containerPath = mount.mountPath;
    if (!input.containerPath.starts_with('/')) input.containerPath = "/" + input.containerPath;
    auto readOnly = inputs.volumes.readOnly.find(mount.name);
    input.readOnly = mount.readOnly || (readOnly != inputs.volumes.readOnly.end() && readOnly->second);
    input.propagation = propagationOf(mount);
    out.push_back(std::move(input));
  }
  TRY(addManagedMounts(inputs, container, out));
  return out;
}

// /etc/hosts and the termination message.
Result<void> PodRuntime::addManagedMounts(const PodSyncInputs& inputs, const Container& container,
                                          std::vector<MountInput>& mounts) {
  const Pod& pod = *inputs.pod;
  std::string directory = volumes_.podDirectory(pod.metadata.uid);
  bool ownHosts = false;
  for (const MountInput& mount : mounts) ownHosts |= mount.containerPath == "/etc/hosts";
  if (!ownHosts && (pod.spec.hostNetwork || !inputs.environment.podIps.empty())) {
    HostName host = TRY(podHostName(pod, config_.clusterDomain));
    std::string nodeFile;
    if (pod.spec.hostNetwork) nodeFile = env_.files.readFile("/etc/hosts").value_or("");
    std::string path = directory + "/etc-hosts";
    // Replaced in place: containers that run have this very file mounted.
    (void)env_.files.removeFile(path);
    TRY(env_.files.appendFile(path, hostsFile(pod, host, inputs.environment.podIps, nodeFile), 0644));
    mounts.push_back({path, "/etc/hosts", false, cri::kPropagationPrivate});
  }
  if (!container.terminationMessagePath.empty()) {
    std::string own = fmt::format("{}/containers/{}", directory, container.name);
    TRY(env_.files.makeDirectories(own, 0750));
    std::string path = own + "/" + shortId(env_.random.next());
    TRY(env_.files.appendFile(path, "", 0666));
    TRY(env_.files.setMode(path, 0666));  // the container's user writes it
    mounts.push_back({path, std::string(container.terminationMessagePath), false, cri::kPropagationPrivate});
  }
  return {};
}

Task<Result<ContainerInputs>> PodRuntime::containerInputs(PodSyncInputs* inputs, const Container* container, PresentImage image,
                                                          std::string sandboxId) {
  ReferencedObjects objects;
  ReferencedNames names = environmentReferences(*container);
  std::string nameSpace(inputs->pod->metadata.namespace_);
  for (const std::string& name : names.configMaps) {
    auto object = co_await objects_.configMap(nameSpace, name, inputs->refreshObjects);
    if (!object && !isNotFound(object.error())) co_return Unexpected(std::move(object).error());
    if (object) objects.configMaps[name] = *object;
  }
  for (const std::string& name : names.secrets) {
    auto object = co_await objects_.secret(nameSpace, name, inputs->refreshObjects);
    if (!object && !isNotFound(object.error())) co_return Unexpected(std::move(object).error());
    if (object) objects.secrets[name] = *object;
  }
  ContainerInputs out;
  out.sandboxId = std::move(sandboxId);
  out.restartCount = nextRestartCount(*inputs->pod, inputs->runtime, container->name);
  out.imageRef = image.ref;
  out.imageUid = image.uid;
  out.imageUsername = image.username;
  out.nodeMemoryBytes = machine_.memoryBytes;
  out.environment = CO_TRY(containerEnvironment(*inputs->pod, *container, objects, inputs->environment));
  out.mounts = CO_TRY(mounts(*inputs, *container, out.environment));
  co_return out;
}

// A container whose hook fails is ended.
Task<Result<void>> PodRuntime::postStart(schema::Ref<Pod> pod, const Container* container, std::string fieldPath, std::string id,
                                         std::string podIp) {
  Result<void> hook = co_await runHook(pod, container, container->lifecycle->postStart, id, podIp, 0);
  if (hook) co_return hook;
  recorder_.eventAbout(pod, fieldPath, "Warning", "FailedPostStartHook", "PostStartHook failed");
  ContainerRecord record;
  record.id = id;
  record.name = container->name;
  record.state = cri::kContainerRunning;
  co_await killContainer(pod, record, podIp, "FailedPostStartHook", pod->spec.terminationGracePeriodSeconds.valueOr(30),
                         std::make_shared<std::string>());
  co_return hook;
}

Task<PodRuntime::StartOutcome> PodRuntime::startContainer(PodSyncInputs* inputs, Container container, std::string fieldPath,
                                                          std::string sandboxId, std::string targetContainerId) {
  schema::Ref<Pod> pod = inputs->pod;
  auto refuse = [&](std::string reason, const std::string& message) {
    recorder_.eventAbout(pod, fieldPath, "Warning", "Failed", fmt::format("Error: {}", message));
    return StartOutcome(std::unexpected(StartFailure{std::move(reason), message}));
  };
  const StartOutcome kEnding = std::unexpected(StartFailure{});
  auto present = co_await async::untilStopped(
      env_.executor,
      images_.ensureImageExists(pod, fieldPath, std::string(container.image), std::string(container.imagePullPolicy)),
      inputs->ending);
  if (!present) co_return kEnding;
  auto& image = *present;
  if (!image) {
    recorder_.eventAbout(pod, fieldPath, "Warning", "Failed", fmt::format("Error: {}", image.error().reason));
    co_return std::unexpected(image.error());
  }
  Result<ContainerInputs> prepared = co_await containerInputs(inputs, &container, *image, sandboxId);
  if (!prepared) co_return refuse("CreateContainerConfigError", prepared.error().message());
  prepared->targetContainerId = targetContainerId;
  Error failure(Reason::Unknown, "");
  bool failed = false;
  SandboxInputs sandbox = sandboxInputs(*pod, inputs->actions.attempt, &failure, &failed);
  if (failed) co_return refuse("CreateContainerConfigError", failure.message());
  auto request = containerRequest(*pod, container, config_, sandbox, *prepared);
  if (!request) co_return refuse("CreateContainerConfigError", request.error().message());
  std::string logPath = fmt::format("{}/{}", podLogDirectory(config_, *pod), (*request)->config->logPath);
  if (auto made = env_.files.makeDirectories(fmt::format("{}/{}", podLogDirectory(config_, *pod), container.name), 0755); !made) {
    co_return refuse("CreateContainerError", made.error().message());
  }
  auto created = co_await runtime_.createContainer(std::move(*request));
  if (!created) co_return refuse("CreateContainerError", created.error().message());
  std::string id((*created)->containerId);
  recorder_.eventAbout(pod, fieldPath, "Normal", "Created", "Container created");
  auto started = co_await runtime_.startContainer(id);
  if (!started) co_return refuse("RunContainerError", started.error().message());
  recorder_.eventAbout(pod, fieldPath, "Normal", "Started", "Container started");
  std::string link = fmt::format("{}_{}_{}-{}", pod->metadata.name, pod->metadata.namespace_, container.name, id);
  constexpr size_t kLinkNameMax = 251;  // a file name of 255 bytes with ".log"
  link = fmt::format("{}/{}.log", config_.containerLogsDirectory, link.substr(0, kLinkNameMax));
  if (env_.files.status(logPath) && env_.files.makeDirectories(config_.containerLogsDirectory, 0755)) {
    (void)env_.files.symlink(logPath, link);  // only log shippers look at it
  }
  if (container.lifecycle != nullptr && container.lifecycle->postStart != nullptr) {
    std::string ip = inputs->environment.podIps.empty() ? "" : inputs->environment.podIps[0];
    auto ran = co_await async::untilStopped(env_.executor, postStart(pod, &container, fieldPath, id, ip), inputs->ending);
    if (!ran) co_return kEnding;
    if (!*ran) co_return std::unexpected(StartFailure{"PostStartHookError", ran->error().message()});
  }
  co_return StartOutcome();
}

}  // namespace knarr::kubelet
