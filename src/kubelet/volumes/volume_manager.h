// Volumes of pods: directories on the node that hold what the pod's volumes ask for.
//
// emptyDir, hostPath, configMap, secret, downwardAPI and projected are served; another kind is an
// error that names it. Upstream counterpart: pkg/kubelet/volumemanager,
// pkg/volume/{emptydir,hostpath,configmap,secret,downwardapi,projected}.
#pragma once

#include <map>
#include <string>

#include "api/core_v1.h"
#include "kubelet/environment.h"
#include "kubelet/kubelet.h"
#include "kubelet/object_reader.h"
#include "kubelet/volumes/atomic_writer.h"

namespace knarr::kubelet {

// Host paths of a pod's volumes, by volume name.
struct MountedVolumes {
  std::map<std::string, std::string, std::less<>> hostPaths;
  std::map<std::string, bool, std::less<>> readOnly;
};

class VolumeManager {
 public:
  VolumeManager(env::Env environment, const KubeletConfig& config, ObjectReader& objects)
      : env_(environment), config_(config), objects_(objects) {}

  // Makes every volume of the pod ready, and renews what changed. `fresh`: read API objects anew.
  // The error says which volumes failed and why, and has a cause for each.
  async::Task<Result<MountedVolumes>> mount(schema::Ref<corev1::Pod> pod, EnvironmentInputs inputs, bool fresh);
  // Unmounts and removes everything of the pod.
  async::Task<Result<void>> removePod(std::string podUid);
  // Uids that have a directory.
  Result<std::vector<std::string>> podsOnDisk();
  std::string podDirectory(std::string_view podUid) const;

 private:
  async::Task<Result<std::string>> mountOne(schema::Ref<corev1::Pod> pod, const corev1::Volume* volume, EnvironmentInputs inputs,
                                            bool fresh);
  async::Task<Result<std::string>> emptyDir(schema::Ref<corev1::Pod> pod, const corev1::Volume* volume);
  Result<std::string> hostPath(const corev1::HostPathVolumeSource& source);
  async::Task<Result<void>> collect(schema::Ref<corev1::Pod> pod, const corev1::VolumeProjection* source, int32_t defaultMode,
                                    EnvironmentInputs inputs, bool fresh, Payload* payload);
  async::Task<Result<void>> runTool(std::vector<std::string> argv);
  async::Task<Result<std::string>> writeVolume(schema::Ref<corev1::Pod> pod, std::string plugin, std::string name,
                                               Payload payload);

  env::Env env_;
  const KubeletConfig& config_;
  ObjectReader& objects_;
};

// The files of a ConfigMap or Secret: all keys, or those listed. Pure. Errors: a listed key is
// absent and not optional.
Result<void> projectKeys(const std::map<std::string, std::string>& values, const schema::List<corev1::KeyToPath>& items,
                         int32_t defaultMode, bool optional, std::string_view what, Payload& payload);

}  // namespace knarr::kubelet
