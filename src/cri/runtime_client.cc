// RuntimeClient over gRPC. Upstream counterpart: k8s.io/cri-client/pkg/remote_{runtime,image}.go.
#include <fmt/format.h>

#include "codec/codec.h"
#include "cri/cri.h"
#include "cri/runtime_events.h"
#include "wire/grpc.h"

namespace knarr::cri {
namespace {

using async::Task;

std::string grpcAddress(std::string_view endpoint) {
  constexpr std::string_view kUrl = "unix://";
  if (endpoint.starts_with(kUrl)) return fmt::format("unix:{}", endpoint.substr(kUrl.size()));
  return std::string(endpoint);
}

template <class T>
Mut<T> withId(schema::Str T::* field, const std::string& id) {
  Mut<T> request = schema::newObject<T>();
  (*request).*field = request.str(id);
  return request;
}

template <class T>
Result<Ref<T>> decode(const std::string& bytes) {
  Mut<> object = TRY(codec::decodeProtobuf(schema::typeInfoOf<T>(), bytes));
  return Ref<T>(std::move(object).publish());
}

// Asks for the CRI's events first, and for containerd's own when the runtime does not know that call.
class GrpcEventStream : public EventStream {
 public:
  GrpcEventStream(std::shared_ptr<wire::GrpcClient> grpc, std::unique_ptr<wire::GrpcStream> stream)
      : call_(std::make_shared<Call>(std::move(grpc), std::move(stream))) {}
  Task<Result<RuntimeEvent>> next() override { return nextFrom(call_); }

 private:
  struct Call {
    std::shared_ptr<wire::GrpcClient> grpc;
    std::unique_ptr<wire::GrpcStream> stream;
    bool ofContainerd = false;
  };
  static Task<Result<RuntimeEvent>> nextFrom(std::shared_ptr<Call> call) {
    for (;;) {
      Result<std::optional<std::string>> message = co_await call->stream->receive();
      if (!message && message.error().reason() == Reason::MethodNotAllowed && !call->ofContainerd) {
        call->ofContainerd = true;
        call->stream = CO_TRY(
            co_await call->grpc->serverStream("/containerd.services.events.v1.Events/Subscribe", containerdSubscribeRequest()));
        continue;
      }
      if (!message) co_return Unexpected(std::move(message).error());
      if (!*message) co_return fail(Reason::ServiceUnavailable, "the runtime ended its event stream");
      std::optional<RuntimeEvent> event = CO_TRY(call->ofContainerd ? eventOfContainerd(**message) : eventOfCri(**message));
      if (event) co_return std::move(*event);
    }
  }
  std::shared_ptr<Call> call_;
};

class GrpcRuntimeClient : public RuntimeClient {
 public:
  GrpcRuntimeClient(env::Env environment, const RuntimeClientOptions& options)
      : endpoint_(options.endpoint), timeout_(options.requestTimeout) {
    wire::GrpcClientOptions grpc;
    grpc.address = grpcAddress(options.endpoint);
    grpc_ = std::make_shared<wire::GrpcClient>(environment, std::move(grpc));
  }

  Answer<v1::VersionResponse> version() override {
    return call<v1::VersionResponse>("Version", schema::newObject<v1::VersionRequest>());
  }
  Answer<v1::StatusResponse> status(bool verbose) override {
    auto request = schema::newObject<v1::StatusRequest>();
    request->verbose = verbose;
    return call<v1::StatusResponse>("Status", std::move(request));
  }
  Answer<v1::UpdateRuntimeConfigResponse> updateRuntimeConfig(Mut<v1::UpdateRuntimeConfigRequest> request) override {
    return call<v1::UpdateRuntimeConfigResponse>("UpdateRuntimeConfig", std::move(request));
  }
  Answer<v1::RunPodSandboxResponse> runPodSandbox(Mut<v1::RunPodSandboxRequest> request) override {
    return callFor<v1::RunPodSandboxResponse>(kRuntime, "RunPodSandbox", std::move(request), timeout_ * 2);
  }
  Answer<v1::StopPodSandboxResponse> stopPodSandbox(std::string id) override {
    return call<v1::StopPodSandboxResponse>("StopPodSandbox", withId(&v1::StopPodSandboxRequest::podSandboxId, id));
  }
  Answer<v1::RemovePodSandboxResponse> removePodSandbox(std::string id) override {
    return call<v1::RemovePodSandboxResponse>("RemovePodSandbox", withId(&v1::RemovePodSandboxRequest::podSandboxId, id));
  }
  Answer<v1::PodSandboxStatusResponse> podSandboxStatus(std::string id, bool verbose) override {
    auto request = withId(&v1::PodSandboxStatusRequest::podSandboxId, id);
    request->verbose = verbose;
    return call<v1::PodSandboxStatusResponse>("PodSandboxStatus", std::move(request));
  }
  Answer<v1::ListPodSandboxResponse> listPodSandbox(Mut<v1::ListPodSandboxRequest> request) override {
    return call<v1::ListPodSandboxResponse>("ListPodSandbox", std::move(request));
  }
  Answer<v1::CreateContainerResponse> createContainer(Mut<v1::CreateContainerRequest> request) override {
    return call<v1::CreateContainerResponse>("CreateContainer", std::move(request));
  }
  Answer<v1::StartContainerResponse> startContainer(std::string id) override {
    return call<v1::StartContainerResponse>("StartContainer", withId(&v1::StartContainerRequest::containerId, id));
  }
  Answer<v1::StopContainerResponse> stopContainer(std::string id, int64_t timeoutSeconds) override {
    auto request = withId(&v1::StopContainerRequest::containerId, id);
    request->timeout = timeoutSeconds;
    return callFor<v1::StopContainerResponse>(kRuntime, "StopContainer", std::move(request),
                                              timeout_ + std::chrono::seconds(timeoutSeconds));
  }
  Answer<v1::RemoveContainerResponse> removeContainer(std::string id) override {
    return call<v1::RemoveContainerResponse>("RemoveContainer", withId(&v1::RemoveContainerRequest::containerId, id));
  }
  Answer<v1::ListContainersResponse> listContainers(Mut<v1::ListContainersRequest> request) override {
    return call<v1::ListContainersResponse>("ListContainers", std::move(request));
  }
  Answer<v1::ContainerStatusResponse> containerStatus(std::string id, bool verbose) override {
    auto request = withId(&v1::ContainerStatusRequest::containerId, id);
    request->verbose = verbose;
    return call<v1::ContainerStatusResponse>("ContainerStatus", std::move(request));
  }
  Answer<v1::UpdateContainerResourcesResponse> updateContainerResources(
      Mut<v1::UpdateContainerResourcesRequest> request) override {
    return call<v1::UpdateContainerResourcesResponse>("UpdateContainerResources", std::move(request));
  }
  Answer<v1::ReopenContainerLogResponse> reopenContainerLog(std::string id) override {
    return call<v1::ReopenContainerLogResponse>("ReopenContainerLog", withId(&v1::ReopenContainerLogRequest::containerId, id));
  }
  Answer<v1::ExecSyncResponse> execSync(Mut<v1::ExecSyncRequest> request) override {
    int64_t seconds = request->timeout;
    env::Duration limit{};
    if (seconds > 0) limit = timeout_ + std::chrono::seconds(seconds);
    return callFor<v1::ExecSyncResponse>(kRuntime, "ExecSync", std::move(request), limit);
  }
  Answer<v1::ExecResponse> exec(Mut<v1::ExecRequest> request) override {
    return call<v1::ExecResponse>("Exec", std::move(request));
  }
  Answer<v1::AttachResponse> attach(Mut<v1::AttachRequest> request) override {
    return call<v1::AttachResponse>("Attach", std::move(request));
  }
  Answer<v1::PortForwardResponse> portForward(Mut<v1::PortForwardRequest> request) override {
    return call<v1::PortForwardResponse>("PortForward", std::move(request));
  }
  Answer<v1::ListContainerStatsResponse> listContainerStats(Mut<v1::ListContainerStatsRequest> request) override {
    return call<v1::ListContainerStatsResponse>("ListContainerStats", std::move(request));
  }
  Task<Result<std::unique_ptr<EventStream>>> containerEvents() override { return openEvents(grpc_); }

  Answer<v1::ListImagesResponse> listImages(Mut<v1::ListImagesRequest> request) override {
    return callFor<v1::ListImagesResponse>(kImage, "ListImages", std::move(request), timeout_);
  }
  Answer<v1::ImageStatusResponse> imageStatus(Mut<v1::ImageStatusRequest> request) override {
    return callFor<v1::ImageStatusResponse>(kImage, "ImageStatus", std::move(request), timeout_);
  }
  Answer<v1::PullImageResponse> pullImage(Mut<v1::PullImageRequest> request) override {
    return callFor<v1::PullImageResponse>(kImage, "PullImage", std::move(request), {});
  }
  Answer<v1::RemoveImageResponse> removeImage(Mut<v1::RemoveImageRequest> request) override {
    return callFor<v1::RemoveImageResponse>(kImage, "RemoveImage", std::move(request), timeout_);
  }
  Answer<v1::ImageFsInfoResponse> imageFsInfo() override {
    return callFor<v1::ImageFsInfoResponse>(kImage, "ImageFsInfo", schema::newObject<v1::ImageFsInfoRequest>(), timeout_);
  }

 private:
  static constexpr std::string_view kRuntime = "RuntimeService";
  static constexpr std::string_view kImage = "ImageService";

  template <class T>
  Answer<T> call(std::string_view method, Mut<> request) {
    return callFor<T>(kRuntime, method, std::move(request), timeout_);
  }
  // timeout 0: none.
  template <class T>
  Answer<T> callFor(std::string_view service, std::string_view method, Mut<> request, env::Duration timeout) {
    std::string bytes = codec::encodeProtobufValue(request.type(), request.root());
    return send<T>(grpc_, endpoint_, fmt::format("/runtime.v1.{}/{}", service, method), std::move(bytes), timeout);
  }
  template <class T>
  static Answer<T> send(std::shared_ptr<wire::GrpcClient> grpc, std::string endpoint, std::string path, std::string request,
                        env::Duration timeout) {
    Result<std::string> answer = co_await grpc->unary(path, std::move(request), timeout);
    if (!answer) {
      co_return Unexpected(std::move(answer).error().withContext(fmt::format("{} at {}", path, endpoint)));
    }
    co_return decode<T>(*answer);
  }
  static Task<Result<std::unique_ptr<EventStream>>> openEvents(std::shared_ptr<wire::GrpcClient> grpc) {
    auto stream = CO_TRY(co_await grpc->serverStream("/runtime.v1.RuntimeService/GetContainerEvents", ""));
    co_return std::unique_ptr<EventStream>(std::make_unique<GrpcEventStream>(std::move(grpc), std::move(stream)));
  }

  std::string endpoint_;
  env::Duration timeout_;
  std::shared_ptr<wire::GrpcClient> grpc_;
};

}  // namespace

std::unique_ptr<RuntimeClient> makeRuntimeClient(env::Env environment, RuntimeClientOptions options) {
  return std::make_unique<GrpcRuntimeClient>(environment, options);
}

}  // namespace knarr::cri
