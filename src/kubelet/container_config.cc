#include "kubelet/container_config.h"

#include <fmt/format.h>

#include "kubelet/pod_actions.h"
#include "kubelet/resources.h"
#include "kubelet/runtime_pod.h"

namespace knarr::kubelet {
namespace {

namespace v1 = runtimev1;
using corev1::Container;
using corev1::Pod;
using cri::Mut;

// Paths that a container of procMount Default may not read or write.
// Source: pkg/securitycontext/util.go.
constexpr std::string_view kMaskedPaths[] = {"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
                                             "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                                             "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                                             "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
constexpr std::string_view kReadonlyPaths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

int32_t protocolOf(schema::Str protocol) { return protocol == "UDP" ? cri::kUdp : protocol == "SCTP" ? cri::kSctp : cri::kTcp; }

v1::Int64Value* int64Of(Arena& arena, int64_t value) {
  v1::Int64Value* out = arena.make<v1::Int64Value>();
  out->value = value;
  return out;
}

v1::NamespaceOption* namespaces(Arena& arena, const Pod& pod) {
  auto* options = arena.make<v1::NamespaceOption>();
  options->network = pod.spec.hostNetwork ? cri::kNamespaceNode : cri::kNamespacePod;
  options->ipc = pod.spec.hostIPC ? cri::kNamespaceNode : cri::kNamespacePod;
  options->pid = pod.spec.hostPID                                ? cri::kNamespaceNode
                 : pod.spec.shareProcessNamespace.valueOr(false) ? cri::kNamespacePod
                                                                 : cri::kNamespaceContainer;
  return options;
}

v1::SELinuxOption* seLinux(Arena& arena, const corev1::SELinuxOptions* options) {
  if (options == nullptr) return nullptr;
  auto* out = arena.make<v1::SELinuxOption>();
  out->user = arena.copy(options->user);
  out->role = arena.copy(options->role);
  out->type = arena.copy(options->type);
  out->level = arena.copy(options->level);
  return out;
}

v1::SecurityProfile* seccomp(Arena& arena, const corev1::SeccompProfile* profile, const KubeletConfig& config) {
  auto* out = arena.make<v1::SecurityProfile>();
  out->profileType = cri::kProfileUnconfined;  // without a profile, as upstream without SeccompDefault
  if (profile == nullptr) return out;
  if (profile->type == "RuntimeDefault") out->profileType = cri::kProfileRuntimeDefault;
  if (profile->type == "Localhost") {
    out->profileType = cri::kProfileLocalhost;
    out->localhostRef =
        arena.copy(fmt::format("{}/seccomp/{}", config.rootDirectory, profile->localhostProfile.valueOr(schema::Str())));
  }
  return out;
}

v1::LinuxContainerResources* cgroupResources(Arena& arena, const corev1::ResourceRequirements& resources) {
  auto* out = arena.make<v1::LinuxContainerResources>();
  int64_t limit = cpuMilliOf(resources.limits);
  int64_t request = cpuMilliOf(resources.requests);
  if (request == 0) request = limit;
  out->cpuShares = cpuSharesOf(request);
  out->cpuPeriod = kCpuPeriodMicros;
  out->cpuQuota = cpuQuotaOf(limit, kCpuPeriodMicros);
  out->memoryLimitInBytes = memoryBytesOf(resources.limits);
  return out;
}

void copyMap(schema::StringMap& to, Arena& arena, const schema::StringMap& from) {
  for (const auto& entry : from) schema::set(to, arena, entry.key, entry.value);
}
void copyList(schema::List<schema::Str>& to, Arena& arena, const std::vector<std::string>& from) {
  for (const std::string& item : from) to.append(arena, arena.copy(item));
}

void addSupplementalGroups(schema::List<int64_t>& groups, Arena& arena, const corev1::PodSecurityContext* context) {
  if (context == nullptr) return;
  if (context->fsGroup) groups.append(arena, *context->fsGroup);
  for (int64_t group : context->supplementalGroups) groups.append(arena, group);
}

v1::LinuxPodSandboxConfig* sandboxLinux(Arena& arena, const Pod& pod, const KubeletConfig& config) {
  auto* out = arena.make<v1::LinuxPodSandboxConfig>();
  if (config.cgroupsPerQos) out->cgroupParent = arena.copy(podCgroup(pod, config.cgroupRoot));
  auto* security = out->securityContext = arena.make<v1::LinuxSandboxSecurityContext>();
  security->namespaceOptions = namespaces(arena, pod);
  security->seccomp = arena.make<v1::SecurityProfile>();  // RuntimeDefault
  for (const Container& container : pod.spec.containers) {
    if (container.securityContext != nullptr && container.securityContext->privileged.valueOr(false)) {
      security->privileged = true;
    }
  }
  const corev1::PodSecurityContext* context = pod.spec.securityContext;
  if (context == nullptr) return out;
  if (context->runAsUser) security->runAsUser = int64Of(arena, *context->runAsUser);
  if (context->runAsGroup) security->runAsGroup = int64Of(arena, *context->runAsGroup);
  security->selinuxOptions = seLinux(arena, context->seLinuxOptions);
  addSupplementalGroups(security->supplementalGroups, arena, context);
  for (const corev1::Sysctl& sysctl : context->sysctls) {
    std::string name(sysctl.name);
    for (char& c : name) c = c == '/' ? '.' : c;
    schema::set(out->sysctls, arena, name, sysctl.value);
  }
  return out;
}

void fillSandbox(v1::PodSandboxConfig& out, Arena& arena, const Pod& pod, const KubeletConfig& config,
                 const SandboxInputs& inputs) {
  out.metadata = arena.make<v1::PodSandboxMetadata>();
  out.metadata->name = arena.copy(pod.metadata.name);
  out.metadata->uid = arena.copy(pod.metadata.uid);
  out.metadata->namespace_ = arena.copy(pod.metadata.namespace_);
  out.metadata->attempt = inputs.attempt;
  if (!pod.spec.hostNetwork) {
    bool full = pod.spec.setHostnameAsFQDN.valueOr(false) && !inputs.hostName.domain.empty();
    out.hostname = arena.copy(full ? inputs.hostName.name + "." + inputs.hostName.domain : inputs.hostName.name);
  }
  out.logDirectory = arena.copy(podLogDirectory(config, pod));
  out.dnsConfig = arena.make<v1::DNSConfig>();
  copyList(out.dnsConfig->servers, arena, inputs.dns.servers);
  copyList(out.dnsConfig->searches, arena, inputs.dns.searches);
  copyList(out.dnsConfig->options, arena, inputs.dns.options);
  for (const Container& container : pod.spec.containers) {
    for (const corev1::ContainerPort& port : container.ports) {
      v1::PortMapping& mapping = out.portMappings.append(arena);
      mapping.protocol = protocolOf(port.protocol);
      mapping.containerPort = port.containerPort;
      mapping.hostPort = port.hostPort;
      mapping.hostIp = arena.copy(port.hostIP);
    }
  }
  copyMap(out.labels, arena, pod.metadata.labels);
  schema::set(out.labels, arena, labels::kPodName, pod.metadata.name);
  schema::set(out.labels, arena, labels::kPodNamespace, pod.metadata.namespace_);
  schema::set(out.labels, arena, labels::kPodUid, pod.metadata.uid);
  copyMap(out.annotations, arena, pod.metadata.annotations);
  out.linux_ = sandboxLinux(arena, pod, config);
}

// The user that the container runs as; runAsNonRoot is checked here.
Result<void> setUser(v1::LinuxContainerSecurityContext& out, Arena& arena, const Pod& pod, const Container& container,
                     const ContainerInputs& inputs) {
  const corev1::PodSecurityContext* podContext = pod.spec.securityContext;
  const corev1::SecurityContext* own = container.securityContext;
  schema::Opt<int64_t> user{}, group{};
  schema::Opt<bool> nonRoot{};
  if (podContext != nullptr) {
    user = podContext->runAsUser;
    group = podContext->runAsGroup;
    nonRoot = podContext->runAsNonRoot;
  }
  if (own != nullptr && own->runAsUser) user = own->runAsUser;
  if (own != nullptr && own->runAsGroup) group = own->runAsGroup;
  if (own != nullptr && own->runAsNonRoot) nonRoot = own->runAsNonRoot;
  if (nonRoot.valueOr(false)) {
    std::string who = fmt::format("(pod: \"{}_{}({})\", container: {})", pod.metadata.name, pod.metadata.namespace_,
                                  pod.metadata.uid, container.name);
    if (user && *user == 0) return fail(Reason::Invalid, "container's runAsUser breaks non-root policy " + who);
    if (!user && !inputs.imageUid && !inputs.imageUsername.empty()) {
      return fail(Reason::Invalid, fmt::format("container has runAsNonRoot and image has non-numeric user ({}), cannot "
                                               "verify user is non-root {}",
                                               inputs.imageUsername, who));
    }
    if (!user && inputs.imageUid.value_or(0) == 0) {
      return fail(Reason::Invalid, "container has runAsNonRoot and image will run as root " + who);
    }
  }
  if (user) {
    out.runAsUser = int64Of(arena, *user);
  } else if (inputs.imageUid) {
    out.runAsUser = int64Of(arena, *inputs.imageUid);
  } else if (!inputs.imageUsername.empty()) {
    out.runAsUsername = arena.copy(inputs.imageUsername);
  } else {
    out.runAsUser = int64Of(arena, 0);
  }
  if (group) out.runAsGroup = int64Of(arena, *group);
  return {};
}

Result<v1::LinuxContainerSecurityContext*> securityContext(Arena& arena, const Pod& pod, const Container& container,
                                                           const KubeletConfig& config, const ContainerInputs& inputs) {
  auto* out = arena.make<v1::LinuxContainerSecurityContext>();
  const corev1::PodSecurityContext* podContext = pod.spec.securityContext;
  const corev1::SecurityContext* own = container.securityContext;
  out->namespaceOptions = namespaces(arena, pod);
  if (!inputs.targetContainerId.empty() && out->namespaceOptions->pid == cri::kNamespaceContainer) {
    out->namespaceOptions->pid = cri::kNamespaceTarget;
    out->namespaceOptions->targetId = arena.copy(inputs.targetContainerId);
  }
  TRY(setUser(*out, arena, pod, container, inputs));
  addSupplementalGroups(out->supplementalGroups, arena, podContext);
  const corev1::SeccompProfile* profile = podContext != nullptr ? podContext->seccompProfile : nullptr;
  const corev1::SELinuxOptions* selinux = podContext != nullptr ? podContext->seLinuxOptions : nullptr;
  bool unmasked = false;
  if (own != nullptr) {
    if (own->seccompProfile != nullptr) profile = own->seccompProfile;
    if (own->seLinuxOptions != nullptr) selinux = own->seLinuxOptions;
    out->privileged = own->privileged.valueOr(false);
    out->readonlyRootfs = own->readOnlyRootFilesystem.valueOr(false);
    out->noNewPrivs = own->allowPrivilegeEscalation.present && !own->allowPrivilegeEscalation.value;
    unmasked = own->procMount.valueOr(schema::Str()) == "Unmasked";
    if (own->capabilities != nullptr) {
      out->capabilities = arena.make<v1::Capability>();
      for (schema::Str name : own->capabilities->add) out->capabilities->addCapabilities.append(arena, arena.copy(name));
      for (schema::Str name : own->capabilities->drop) {
        out->capabilities->dropCapabilities.append(arena, arena.copy(name));
      }
    }
  }
  out->seccomp = seccomp(arena, out->privileged ? nullptr : profile, config);
  out->selinuxOptions = seLinux(arena, selinux);
  if (!unmasked && !out->privileged) {
    for (std::string_view path : kMaskedPaths) out->maskedPaths.append(arena, path);
    for (std::string_view path : kReadonlyPaths) out->readonlyPaths.append(arena, path);
  }
  return out;
}

void setAnnotations(v1::ContainerConfig& out, Arena& arena, const Pod& pod, const Container& container,
                    const ContainerInputs& inputs) {
  auto set = [&](std::string_view key, std::string_view value) { schema::set(out.annotations, arena, key, value); };
  set(labels::kHash, containerHash(container));
  set(labels::kRestartCount, std::to_string(inputs.restartCount));
  set(labels::kTerminationMessagePath, container.terminationMessagePath);
  set(labels::kTerminationMessagePolicy, container.terminationMessagePolicy);
  if (pod.metadata.deletionGracePeriodSeconds) {
    set(labels::kPodDeletionGracePeriod, std::to_string(*pod.metadata.deletionGracePeriodSeconds));
  }
  if (pod.spec.terminationGracePeriodSeconds) {
    set(labels::kPodTerminationGracePeriod, std::to_string(*pod.spec.terminationGracePeriodSeconds));
  }
}

}  // namespace

std::string podLogDirectory(const KubeletConfig& config, const Pod& pod) {
  return fmt::format("{}/{}_{}_{}", config.podLogsDirectory, pod.metadata.namespace_, pod.metadata.name, pod.metadata.uid);
}

Mut<v1::RunPodSandboxRequest> sandboxRequest(const Pod& pod, const KubeletConfig& config, const SandboxInputs& inputs) {
  auto request = schema::newObject<v1::RunPodSandboxRequest>();
  request->config = request.arena().make<v1::PodSandboxConfig>();
  fillSandbox(*request->config, request.arena(), pod, config, inputs);
  return request;
}

Result<Mut<v1::CreateContainerRequest>> containerRequest(const Pod& pod, const Container& container, const KubeletConfig& config,
                                                         const SandboxInputs& sandbox, const ContainerInputs& inputs) {
  auto request = schema::newObject<v1::CreateContainerRequest>();
  Arena& arena = request.arena();
  request->podSandboxId = request.str(inputs.sandboxId);
  request->sandboxConfig = arena.make<v1::PodSandboxConfig>();
  fillSandbox(*request->sandboxConfig, arena, pod, config, sandbox);
  v1::ContainerConfig& out = *(request->config = arena.make<v1::ContainerConfig>());
  out.metadata = arena.make<v1::ContainerMetadata>();
  out.metadata->name = arena.copy(container.name);
  out.metadata->attempt = inputs.restartCount;
  out.image = arena.make<v1::ImageSpec>();
  out.image->image = arena.copy(inputs.imageRef);
  out.image->userSpecifiedImage = arena.copy(container.image);
  for (schema::Str word : container.command) {
    out.command.append(arena, arena.copy(expand(word, {&inputs.environment})));
  }
  for (schema::Str word : container.args) out.args.append(arena, arena.copy(expand(word, {&inputs.environment})));
  out.workingDir = arena.copy(container.workingDir);
  out.stdin = container.stdin;
  out.stdinOnce = container.stdinOnce;
  out.tty = container.tty;
  for (const auto& [name, value] : inputs.environment) {
    v1::KeyValue& variable = out.envs.append(arena);
    variable.key = arena.copy(name);
    variable.value.bytes = arena.copy(value);
  }
  for (const MountInput& mount : inputs.mounts) {
    v1::Mount& item = out.mounts.append(arena);
    item.hostPath = arena.copy(mount.hostPath);
    item.containerPath = arena.copy(mount.containerPath);
    item.readonly = mount.readOnly;
    item.propagation = mount.propagation;
  }
  out.logPath = arena.copy(fmt::format("{}/{}.log", container.name, inputs.restartCount));
  schema::set(out.labels, arena, labels::kPodName, pod.metadata.name);
  schema::set(out.labels, arena, labels::kPodNamespace, pod.metadata.namespace_);
  schema::set(out.labels, arena, labels::kPodUid, pod.metadata.uid);
  schema::set(out.labels, arena, labels::kContainerName, container.name);
  setAnnotations(out, arena, pod, container, inputs);
  out.linux_ = arena.make<v1::LinuxContainerConfig>();
  out.linux_->resources = cgroupResources(arena, container.resources);
  out.linux_->resources->oomScoreAdj = oomScoreAdjust(pod, container, inputs.nodeMemoryBytes);
  out.linux_->securityContext = TRY(securityContext(arena, pod, container, config, inputs));
  return request;
}

Container asContainer(const corev1::EphemeralContainerCommon& c) {
  Container out{};
  out.name = c.name;
  out.image = c.image;
  out.command = c.command;
  out.args = c.args;
  out.workingDir = c.workingDir;
  out.ports = c.ports;
  out.envFrom = c.envFrom;
  out.env = c.env;
  out.resources = c.resources;
  out.volumeMounts = c.volumeMounts;
  out.lifecycle = c.lifecycle;
  out.terminationMessagePath = c.terminationMessagePath;
  out.terminationMessagePolicy = c.terminationMessagePolicy;
  out.imagePullPolicy = c.imagePullPolicy;
  out.securityContext = c.securityContext;
  out.stdin = c.stdin;
  out.stdinOnce = c.stdinOnce;
  out.tty = c.tty;
  return out;
}

}  // namespace knarr::kubelet
