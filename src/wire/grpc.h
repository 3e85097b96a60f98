// A gRPC client over HTTP/2: unary and server-streaming calls with bytes in and out; callers encode
// the messages.
//
// Source: the gRPC over HTTP/2 protocol document (grpc/doc/PROTOCOL-HTTP2.md) and its status codes.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "wire/http.h"

namespace knarr::wire {

struct GrpcClientOptions {
  std::string address;                    // "unix:/run/containerd/containerd.sock" or "HOST:PORT"
  std::shared_ptr<TlsClientContext> tls;  // null: plain
  size_t messageBytesMax = 16 << 20;      // of one response message. Source: k8s.io/cri-client maxMsgSize
  env::Duration connectTimeout = std::chrono::seconds(10);
};

// The messages of a server-streaming call. Destroying it cancels the call.
class GrpcStream {
 public:
  virtual ~GrpcStream() = default;
  // The next message, nothing after the last one with status OK; the call's error otherwise.
  virtual async::Task<Result<std::optional<std::string>>> receive() = 0;
};

// Errors carry grpc-message as message and the reason that grpc-status maps to: NOT_FOUND NotFound,
// ALREADY_EXISTS AlreadyExists, PERMISSION_DENIED Forbidden, UNAUTHENTICATED Unauthorized,
// INVALID_ARGUMENT/OUT_OF_RANGE Invalid, DEADLINE_EXCEEDED/CANCELLED Timeout, RESOURCE_EXHAUSTED
// TooManyRequests, ABORTED/FAILED_PRECONDITION Conflict, UNIMPLEMENTED MethodNotAllowed,
// UNAVAILABLE ServiceUnavailable, the others InternalError.
class GrpcClient {
 public:
  GrpcClient(env::Env environment, GrpcClientOptions options);
  GrpcClient(const GrpcClient&) = delete;
  ~GrpcClient();
  // path: "/runtime.v1.RuntimeService/Version". timeout 0: none; it is sent as grpc-timeout and
  // enforced here.
  async::Task<Result<std::string>> unary(std::string path, std::string request, env::Duration timeout, async::StopToken stop = {},
                                         Headers metadata = {});
  // Starts the call and returns without waiting for the server; what goes wrong, also with
  // connecting, is the first receive's error.
  async::Task<Result<std::unique_ptr<GrpcStream>>> serverStream(std::string path, std::string request, async::StopToken stop = {},
                                                                Headers metadata = {});

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

// The numeric grpc-status (0 to 16) as a reason. Unknown numbers give InternalError.
Reason reasonFromGrpcStatus(int status);

}  // namespace knarr::wire
