// The Container Runtime Interface as the node's rooms see it: the calls of runtime.v1 as tasks.
//
// Messages are api/runtime_v1.api. A request is the caller's to build (Mut), an answer a shared
// constant (Ref). Errors carry the reason of the gRPC status; NotFound means that the sandbox,
// container or image is not there. Implementations: cri/cri.h (a runtime over its socket),
// cri/fake.h (in memory, for simulation). Upstream counterpart: k8s.io/cri-api
// pkg/apis/services.go.
#pragma once

#include <memory>

#include "api/runtime_v1.h"
#include "async/task.h"
#include "base/result.h"
#include "env/env.h"
#include "schema/object.h"

namespace knarr::cri {

namespace v1 = runtimev1;
using schema::Mut;
using schema::Ref;
template <class T>
using Answer = async::Task<Result<Ref<T>>>;

// Enumerations of runtime.v1, as the numbers on the wire.
enum PodSandboxState : int32_t { kSandboxReady = 0, kSandboxNotReady = 1 };
enum ContainerState : int32_t { kContainerCreated = 0, kContainerRunning = 1, kContainerExited = 2, kContainerUnknown = 3 };
enum ContainerEventType : int32_t {
  kContainerCreatedEvent = 0,
  kContainerStartedEvent = 1,
  kContainerStoppedEvent = 2,
  kContainerDeletedEvent = 3
};
enum Protocol : int32_t { kTcp = 0, kUdp = 1, kSctp = 2 };
enum MountPropagation : int32_t { kPropagationPrivate = 0, kPropagationHostToContainer = 1, kPropagationBidirectional = 2 };
enum NamespaceMode : int32_t { kNamespacePod = 0, kNamespaceContainer = 1, kNamespaceNode = 2, kNamespaceTarget = 3 };
enum SecurityProfileType : int32_t { kProfileRuntimeDefault = 0, kProfileUnconfined = 1, kProfileLocalhost = 2 };

// The runtime's condition names in StatusResponse.
constexpr std::string_view kRuntimeReady = "RuntimeReady";
constexpr std::string_view kNetworkReady = "NetworkReady";

// What happened in the runtime without the kubelet having asked for it.
struct RuntimeEvent {
  enum Kind {
    Exited,      // a container or sandbox ended; or it is gone
    OutOfMemory  // the kernel killed a process of a container
  };
  Kind kind = Exited;
  std::string id;  // of the container or sandbox
  // Of the pod; then the runtime's answers show the event already. "": they may take some more milliseconds.
  std::string podUid;
};

// Destroying it ends the call.
class EventStream {
 public:
  virtual ~EventStream() = default;
  // Waits; an error ends the stream (MethodNotAllowed: the runtime has no events).
  virtual async::Task<Result<RuntimeEvent>> next() = 0;
};

class RuntimeClient {
 public:
  virtual ~RuntimeClient() = default;

  virtual Answer<v1::VersionResponse> version() = 0;
  virtual Answer<v1::StatusResponse> status(bool verbose) = 0;
  virtual Answer<v1::UpdateRuntimeConfigResponse> updateRuntimeConfig(Mut<v1::UpdateRuntimeConfigRequest> request) = 0;

  virtual Answer<v1::RunPodSandboxResponse> runPodSandbox(Mut<v1::RunPodSandboxRequest> request) = 0;
  // Idempotent: a sandbox that is stopped or gone is no error.
  virtual Answer<v1::StopPodSandboxResponse> stopPodSandbox(std::string id) = 0;
  virtual Answer<v1::RemovePodSandboxResponse> removePodSandbox(std::string id) = 0;
  virtual Answer<v1::PodSandboxStatusResponse> podSandboxStatus(std::string id, bool verbose) = 0;
  virtual Answer<v1::ListPodSandboxResponse> listPodSandbox(Mut<v1::ListPodSandboxRequest> request) = 0;

  virtual Answer<v1::CreateContainerResponse> createContainer(Mut<v1::CreateContainerRequest> request) = 0;
  virtual Answer<v1::StartContainerResponse> startContainer(std::string id) = 0;
  // Sends the stop signal, and SIGKILL after `timeoutSeconds`; answers once the container has
  // exited.
  virtual Answer<v1::StopContainerResponse> stopContainer(std::string id, int64_t timeoutSeconds) = 0;
  virtual Answer<v1::RemoveContainerResponse> removeContainer(std::string id) = 0;
  virtual Answer<v1::ListContainersResponse> listContainers(Mut<v1::ListContainersRequest> request) = 0;
  virtual Answer<v1::ContainerStatusResponse> containerStatus(std::string id, bool verbose) = 0;
  virtual Answer<v1::UpdateContainerResourcesResponse> updateContainerResources(
      Mut<v1::UpdateContainerResourcesRequest> request) = 0;
  virtual Answer<v1::ReopenContainerLogResponse> reopenContainerLog(std::string id) = 0;

  // Timeout past the request's own limit.
  virtual Answer<v1::ExecSyncResponse> execSync(Mut<v1::ExecSyncRequest> request) = 0;
  // Each answers with a URL of the runtime's streaming server.
  virtual Answer<v1::ExecResponse> exec(Mut<v1::ExecRequest> request) = 0;
  virtual Answer<v1::AttachResponse> attach(Mut<v1::AttachRequest> request) = 0;
  virtual Answer<v1::PortForwardResponse> portForward(Mut<v1::PortForwardRequest> request) = 0;

  virtual Answer<v1::ListContainerStatsResponse> listContainerStats(Mut<v1::ListContainerStatsRequest> request) = 0;
  // Exits of containers and sandboxes, from whatever source of events the runtime has.
  virtual async::Task<Result<std::unique_ptr<EventStream>>> containerEvents() = 0;

  virtual Answer<v1::ListImagesResponse> listImages(Mut<v1::ListImagesRequest> request) = 0;
  // An image that is not there is an answer without image, not an error.
  virtual Answer<v1::ImageStatusResponse> imageStatus(Mut<v1::ImageStatusRequest> request) = 0;
  virtual Answer<v1::PullImageResponse> pullImage(Mut<v1::PullImageRequest> request) = 0;
  virtual Answer<v1::RemoveImageResponse> removeImage(Mut<v1::RemoveImageRequest> request) = 0;
  virtual Answer<v1::ImageFsInfoResponse> imageFsInfo() = 0;
};

}  // namespace knarr::cri
