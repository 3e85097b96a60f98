// ImageManager: makes the image of a container present, by the pull policy, with back-off.
// Upstream counterpart: pkg/kubelet/images/image_manager.go.
#pragma once

#include <expected>
#include <string>

#include "api/core_v1.h"
#include "client/event_recorder.h"
#include "contracts/cri/cri.h"
#include "kubelet/container_back_off.h"
#include "kubelet/object_reader.h"
#include "kubelet/pod_status.h"

namespace knarr::kubelet {

struct PresentImage {
  std::string ref;
  std::optional<int64_t> uid;
  std::string username;
};

class ImageManager {
 public:
  ImageManager(env::Env environment, cri::RuntimeClient& runtime, ObjectReader& objects, client::EventRecorder& recorder)
      : env_(environment),
        runtime_(runtime),
        objects_(objects),
        recorder_(recorder),
        backOff_(std::chrono::seconds(10), std::chrono::minutes(5)) {}

  // The failure's reason is what the container's status shows: ErrImagePull, ImagePullBackOff,
  // ErrImageNeverPull, InvalidImageName, ImageInspectError.
  async::Task<std::expected<PresentImage, StartFailure>> ensureImageExists(schema::Ref<corev1::Pod> pod, std::string fieldPath,
                                                                           std::string image, std::string pullPolicy);

 private:
  using Outcome = std::expected<PresentImage, StartFailure>;
  async::Task<Result<std::optional<PresentImage>>> look(std::string image);
  async::Task<Result<std::string>> pull(schema::Ref<corev1::Pod> pod, std::string image);

  env::Env env_;
  cri::RuntimeClient& runtime_;
  ObjectReader& objects_;
  client::EventRecorder& recorder_;
  BackOff backOff_;
  std::map<std::string, StartFailure> lastFailure_;
  std::map<std::string, int64_t> lastFailureNanos_;
};

// Credentials for an image in the text of a .dockerconfigjson; pure. Nothing when none fit.
struct RegistryCredentials {
  std::string username, password, auth, identityToken, registryToken;
};
std::optional<RegistryCredentials> credentialsFor(std::string_view dockerConfigJson, std::string_view image);

}  // namespace knarr::kubelet
