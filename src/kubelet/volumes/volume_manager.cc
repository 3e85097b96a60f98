#include "kubelet/volumes/volume_manager.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "schema/quantity.h"

namespace knarr::kubelet {

using async::Task;
using schema::Ref;

namespace {

std::map<std::string, std::string> valuesOf(const corev1::ConfigMap& map) {
  std::map<std::string, std::string> out;
  for (const auto& entry : map.data) out[std::string(entry.key)] = entry.value;
  for (const auto& entry : map.binaryData) out[std::string(entry.key)] = entry.value.bytes;
  return out;
}
std::map<std::string, std::string> valuesOf(const corev1::Secret& secret) {
  std::map<std::string, std::string> out;
  for (const auto& entry : secret.data) out[std::string(entry.key)] = entry.value.bytes;
  return out;
}

int64_t fsGroupOf(const corev1::Pod& pod) {
  const auto* context = pod.spec.securityContext;
  return context != nullptr && context->fsGroup ? *context->fsGroup : -1;
}

// Group members may read what the owner may. Source: pkg/volume/volume_linux.go SetVolumeOwnership.
uint32_t groupMode(uint32_t mode, int64_t group) { return group >= 0 ? mode | 0440 : mode; }

const corev1::Container* containerNamed(const corev1::Pod& pod, schema::Str name) {
  for (const auto& container : pod.spec.containers) {
    if (container.name == name) return &container;
  }
  for (const auto& container : pod.spec.initContainers) {
    if (container.name == name) return &container;
  }
  return nullptr;
}

Result<void> projectDownward(const corev1::Pod& pod, const schema::List<corev1::DownwardAPIVolumeFile>& items,
                             int32_t defaultMode, const EnvironmentInputs& inputs, Payload& payload) {
  for (const corev1::DownwardAPIVolumeFile& item : items) {
    FileProjection file;
    file.mode = static_cast<uint32_t>(item.mode.valueOr(defaultMode));
    if (item.fieldRef != nullptr) {
      file.bytes = TRY(podField(pod, item.fieldRef->fieldPath, inputs));
    } else if (item.resourceFieldRef != nullptr) {
      const corev1::Container* container = containerNamed(pod, item.resourceFieldRef->containerName);
      if (container == nullptr) {
        return fail(Reason::Invalid, fmt::format("container {} not found", item.resourceFieldRef->containerName));
      }
      file.bytes = TRY(containerResource(*container, *item.resourceFieldRef, inputs));
    }
    payload[std::string(item.path)] = std::move(file);
  }
  return {};
}

std::string_view volumeKind(const corev1::VolumeSource& s) {
  if (s.persistentVolumeClaim != nullptr) return "persistentVolumeClaim";
  if (s.csi != nullptr) return "csi";
  if (s.ephemeral != nullptr) return "ephemeral";
  if (s.nfs != nullptr) return "nfs";
  if (s.image != nullptr) return "image";
  if (s.iscsi != nullptr) return "iscsi";
  return "this";
}

// Where the host does not tell what is mounted, a directory that is there is taken for mounted.
bool isMounted(env::Files& files, const std::string& path) {
  auto table = files.readFile("/proc/self/mountinfo");
  return !table || table->find(" " + path + " ") != std::string::npos;
}

constexpr int32_t kDefaultMode = 0644;
constexpr int64_t kDefaultTokenSeconds = 3600;

}  // namespace

Result<void> projectKeys(const std::map<std::string, std::string>& values, const schema::List<corev1::KeyToPath>& items,
                         int32_t defaultMode, bool optional, std::string_view what, Payload& payload) {
  if (items.empty()) {
    for (const auto& [key, value] : values) payload[key] = {value, static_cast<uint32_t>(defaultMode)};
    return {};
  }
  for (const corev1::KeyToPath& item : items) {
    auto value = values.find(std::string(item.key));
    if (value == values.end()) {
      if (optional) continue;
      return fail(Reason::NotFound,
                  fmt::format("{} key: {}",
                              what == "configmap" ? "configmap references non-existent config" : "references non-existent secret",
                              item.key));
    }
    payload[std::string(item.path)] = {value->second, static_cast<uint32_t>(item.mode.valueOr(defaultMode))};
  }
  return {};
}

std::string VolumeManager::podDirectory(std::string_view podUid) const {
  return fmt::format("{}/pods/{}", config_.rootDirectory, podUid);
}

Result<std::vector<std::string>> VolumeManager::podsOnDisk() {
  auto names = env_.files.listDirectory(config_.rootDirectory + "/pods");
  if (!names && isNotFound(names.error())) return std::vector<std::string>();
  return names;
}

Task<Result<void>> VolumeManager::runTool(std::vector<std::string> argv) {
  std::string command = join(argv, " ");
  env::ProcessSpec spec;
  spec.argv = std::move(argv);
  spec.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  env::ProcessExit exit = CO_TRY(co_await async::runProcess(env_, std::move(spec)));
  if (exit.exitCode != 0) {
    co_return fail(Reason::InternalError,
                   fmt::format("{}: exit status {}: {}", command, exit.exitCode, trim(exit.standardError)));
  }
  co_return Result<void>();
}

Task<Result<std::string>> VolumeManager::emptyDir(Ref<corev1::Pod> pod, const corev1::Volume* volume) {
  std::string path = fmt::format("{}/volumes/kubernetes.io~empty-dir/{}", podDirectory(pod->metadata.uid), volume->name);
  const corev1::EmptyDirVolumeSource& source = *volume->volumeSource.emptyDir;
  bool memory = source.medium == "Memory";
  // A directory without its tmpfs is what a reboot leaves: it is mounted again.
  if (env_.files.status(path) && (!memory || isMounted(env_.files, path))) co_return path;
  if (!memory && !source.medium.empty()) {
    co_return fail(Reason::Invalid, fmt::format("emptyDir medium \"{}\" is not available on this node", source.medium));
  }
  std::string size;
  if (memory && source.sizeLimit.present) {
    size = fmt::format("size={},", schema::amountOf(source.sizeLimit.value).value());
  }
  CO_TRY(env_.files.makeDirectories(path, 0777));
  if (memory) {
    Result<void> mounted = co_await runTool({"/bin/mount", "-t", "tmpfs", "-o", size + "mode=0777,rw", "tmpfs", path});
    if (!mounted) {
      (void)env_.files.removeTree(path);
      co_return Unexpected(std::move(mounted).error());
    }
  }
  CO_TRY(env_.files.setMode(path, 0777));
  if (int64_t group = fsGroupOf(*pod); group >= 0) {
    CO_TRY(env_.files.setOwner(path, 0, group));
    CO_TRY(env_.files.setMode(path, 02777));  // what is made inside belongs to the group too
  }
  co_return path;
}

Result<std::string> VolumeManager::hostPath(const corev1::HostPathVolumeSource& source) {
  std::string path(source.path);
  schema::Str type = source.type.valueOr(schema::Str());
  if (type.empty()) return path;
  auto status = env_.files.status(path);
  if (!status && isNotFound(status.error())) {
    if (type == "DirectoryOrCreate") {
      TRY(env_.files.makeDirectories(path, 0755));
      return path;
    }
    if (type == "FileOrCreate") {
      TRY(env_.files.appendFile(path, "", 0644));
      return path;
    }
  }
  using Type = env::FileStatus::Type;
  bool fits = status && ((type.starts_with("Directory") && status->type == Type::Directory) ||
                         (type.starts_with("File") && status->type == Type::Regular) ||
                         (type == "Socket" && status->type == Type::Socket) ||
                         ((type == "CharDevice" || type == "BlockDevice") && status->type == Type::Device));
  if (fits) return path;
  return fail(Reason::Invalid, fmt::format("hostPath type check failed: {} is not a {}", path, type));
}

Task<Result<void>> VolumeManager::collect(Ref<corev1::Pod> pod, const corev1::VolumeProjection* source, int32_t defaultMode,
                                          EnvironmentInputs inputs, bool fresh, Payload* payload) {
  std::string nameSpace(pod->metadata.namespace_);
  if (auto* map = source->configMap) {
    bool optional = map->optional.valueOr(false);
    auto object = co_await objects_.configMap(nameSpace, std::string(map->localObjectReference.name), fresh);
    if (!object && !(optional && isNotFound(object.error()))) co_return Unexpected(std::move(object).error());
    if (object) CO_TRY(projectKeys(valuesOf(**object), map->items, defaultMode, optional, "configmap", *payload));
  }
  if (auto* secret = source->secret) {
    bool optional = secret->optional.valueOr(false);
    auto object = co_await objects_.secret(nameSpace, std::string(secret->localObjectReference.name), fresh);
    if (!object && !(optional && isNotFound(object.error()))) co_return Unexpected(std::move(object).error());
    if (object) CO_TRY(projectKeys(valuesOf(**object), secret->items, defaultMode, optional, "secret", *payload));
  }
  if (auto* downward = source->downwardAPI) {
    CO_TRY(projectDownward(*pod, downward->items, defaultMode, inputs, *payload));
  }
  if (auto* token = source->serviceAccountToken) {
    std::string bytes = CO_TRY(co_await objects_.serviceAccountToken(pod, std::string(token->audience),
                                                                     token->expirationSeconds.valueOr(kDefaultTokenSeconds)));
    // Readable for the container's user only when there is a group or a user to give it to.
    uint32_t mode = fsGroupOf(*pod) >= 0 ? 0640 : static_cast<uint32_t>(defaultMode);
    (*payload)[std::string(token->path)] = {std::move(bytes), mode};
  }
  if (source->clusterTrustBundle != nullptr || source->podCertificate != nullptr) {
    co_return fail(Reason::Invalid, "projected clusterTrustBundle and podCertificate sources are not available on this node");
  }
  co_return Result<void>();
}

Task<Result<std::string>> VolumeManager::writeVolume(Ref<corev1::Pod> pod, std::string plugin, std::string name,
                                                     Payload payload) {
  std::string path = fmt::format("{}/volumes/kubernetes.io~{}/{}", podDirectory(pod->metadata.uid), plugin, name);
  int64_t group = fsGroupOf(*pod);
  for (auto& [file, projection] : payload) projection.mode = groupMode(projection.mode, group);
  env::Files& files = env_.files;
  int64_t now = env_.clock.unixSeconds();
  uint64_t random = env_.random.next();
  std::move_only_function<Result<void>()> work = [&files, path, payload = std::move(payload), now, random,
                                                  group]() -> Result<void> {
    TRY(files.makeDirectories(path, 0755));
    return writePayload(files, path, payload, now, random, group);
  };
  CO_TRY(co_await async::runBlocking<Result<void>>(env_.executor, std::move(work)));
  co_return path;
}

Task<Result<std::string>> VolumeManager::mountOne(Ref<corev1::Pod> pod, const corev1::Volume* volume, EnvironmentInputs inputs,
                                                  bool fresh) {
  const corev1::VolumeSource& source = volume->volumeSource;
  std::string name(volume->name);
  if (source.hostPath != nullptr) co_return hostPath(*source.hostPath);
  if (source.emptyDir != nullptr) co_return co_await emptyDir(pod, volume);
  Payload payload;
  // The simple kinds are projections of one source.
  corev1::VolumeProjection single{};
  corev1::ConfigMapProjection configMap{};
  corev1::SecretProjection secret{};
  corev1::DownwardAPIProjection downward{};
  if (auto* map = source.configMap) {
    configMap.localObjectReference = map->localObjectReference;
    configMap.items = map->items;
    configMap.optional = map->optional;
    single.configMap = &configMap;
    CO_TRY(co_await collect(pod, &single, map->defaultMode.valueOr(kDefaultMode), inputs, fresh, &payload));
    co_return co_await writeVolume(pod, "configmap", name, std::move(payload));
  }
  if (auto* from = source.secret) {
    secret.localObjectReference.name = from->secretName;
    secret.items = from->items;
    secret.optional = from->optional;
    single.secret = &secret;
    CO_TRY(co_await collect(pod, &single, from->defaultMode.valueOr(kDefaultMode), inputs, fresh, &payload));
    co_return co_await writeVolume(pod, "secret", name, std::move(payload));
  }
  if (auto* from = source.downwardAPI) {
    downward.items = from->items;
    single.downwardAPI = &downward;
    CO_TRY(co_await collect(pod, &single, from->defaultMode.valueOr(kDefaultMode), inputs, fresh, &payload));
    co_return co_await writeVolume(pod, "downward-api", name, std::move(payload));
  }
  if (auto* projected = source.projected) {
    for (size_t i = 0; i < projected->sources.size(); ++i) {
      CO_TRY(
          co_await collect(pod, &projected->sources[i], projected->defaultMode.valueOr(kDefaultMode), inputs, fresh, &payload));
    }
    co_return co_await writeVolume(pod, "projected", name, std::move(payload));
  }
  co_return fail(Reason::Invalid, fmt::format("volumes of kind {} are not available on this node", volumeKind(source)));
}

Task<Result<MountedVolumes>> VolumeManager::mount(Ref<corev1::Pod> pod, EnvironmentInputs inputs, bool fresh) {
  MountedVolumes mounted;
  std::vector<Cause> failures;
  for (size_t i = 0; i < pod->spec.volumes.size(); ++i) {
    const corev1::Volume& volume = pod->spec.volumes[i];
    auto path = co_await mountOne(pod, &volume, inputs, fresh);
    if (path) {
      mounted.hostPaths[std::string(volume.name)] = std::move(*path);
      const auto& source = volume.volumeSource;
      mounted.readOnly[std::string(volume.name)] =
          source.configMap != nullptr || source.secret != nullptr || source.downwardAPI != nullptr || source.projected != nullptr;
      continue;
    }
    failures.push_back({"", fmt::format("MountVolume.SetUp failed for volume \"{}\" : {}", volume.name, path.error().message()),
                        std::string(volume.name)});
  }
  if (failures.empty()) co_return mounted;
  std::vector<std::string> names, reasons;
  for (const Cause& failure : failures) {
    names.push_back(failure.field);
    reasons.push_back(failure.message);
  }
  Error error(Reason::InternalError, fmt::format("unmounted volumes=[{}]: {}", join(names, " "), join(reasons, "; ")));
  for (Cause& failure : failures) error.withCause(std::move(failure));
  co_return Unexpected(std::move(error));
}

Task<Result<void>> VolumeManager::removePod(std::string podUid) {
  objects_.forgetPod(podUid);
  std::string directory = podDirectory(podUid);
  std::string emptyDirs = directory + "/volumes/kubernetes.io~empty-dir";
  // tmpfs of medium Memory; a plain directory answers "not mounted", which is fine.
  if (auto mounts = env_.files.readFile("/proc/self/mountinfo")) {
    auto names = env_.files.listDirectory(emptyDirs);
    if (names) {
      for (const std::string& name : *names) {
        std::string path = emptyDirs + "/" + name;
        if (mounts->find(" " + path + " ") == std::string::npos) continue;
        CO_TRY(co_await runTool({"/bin/umount", path}));
      }
    }
  }
  env::Files& files = env_.files;
  std::move_only_function<Result<void>()> work = [&files, directory] { return files.removeTree(directory); };
  co_return co_await async::runBlocking<Result<void>>(env_.executor, std::move(work));
}

}  // namespace knarr::kubelet
