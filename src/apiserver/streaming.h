// Subresources that stream between a client and the kubelet: log, exec, attach, portforward.
//
// The server looks up the pod and its node, opens the same request at the kubelet and hands bytes over both ways; what is
// spoken inside (WebSocket channels, SPDY) is between the client and the kubelet. For a kubelet that does not declare that
// it takes current WebSocket protocols they are translated to SPDY here (docs/decisions/0007).
// Source: pkg/registry/core/pod/rest, pkg/registry/core/pod/strategy.go.
#pragma once

#include <map>

#include "apiserver/request_info.h"
#include "apiserver/responses.h"
#include "wire/http.h"

namespace knarr::apiserver {

bool isStreamingSubresource(const RequestInfo& info);

class Streaming {
 public:
  Streaming(env::Env environment, Registry& registry, std::shared_ptr<wire::TlsClientContext> kubeletTls)
      : env_(environment), registry_(registry), tls_(std::move(kubeletTls)) {}
  Task<Result<void>> handle(HttpCallPtr call, RequestInfo info, Query query);

 private:
  Task<Result<void>> log(HttpCallPtr call, RequestInfo info, Query query, Ref<> pod);
  // True when the node declares ExtendWebSocketsToKubelet. Source: pkg/registry/core/pod/rest/subresources.go.
  bool takesWebSockets(const std::string& nodeName) const;
  // The client of a node's kubelet, kept for later calls. BadRequest when the node has no address.
  Result<wire::HttpClient*> kubeletOf(const std::string& nodeName);

  env::Env env_;
  Registry& registry_;
  std::shared_ptr<wire::TlsClientContext> tls_;
  std::map<std::string, std::unique_ptr<wire::HttpClient>> kubelets_;  // by address
};

// Whether a log may be asked for with these parameters of the query. Errors: BadRequest, Invalid.
// Source: pkg/apis/core/validation, ValidatePodLogOptions.
Result<void> checkLogOptions(const Query& query, const std::string& pod);

// Which container a request means. Source: pkg/registry/core/pod/strategy.go, validateContainer.
Result<std::string> containerOf(const Ref<>& pod, const std::string& asked);

}  // namespace knarr::apiserver
