#include "wire/grpc.h"

#include "base/strings.h"

namespace knarr::wire {
namespace {

// Compressed flag and length (gRPC over HTTP/2, "Length-Prefixed-Message").
constexpr size_t kPrefixBytes = 5;

std::string frameMessage(std::string_view message) {
  std::string framed(1, '\0');
  for (int shift : {24, 16, 8, 0}) framed.push_back(static_cast<char>(message.size() >> shift));
  return framed.append(message);
}

// Splits a response body into messages.
class MessageReader {
 public:
  explicit MessageReader(size_t bytesMax) : bytesMax_(bytesMax) {}
  void feed(std::string_view bytes) { input_ += bytes; }
  bool empty() const { return input_.empty(); }
  Result<std::optional<std::string>> next() {
    if (input_.size() < kPrefixBytes) return std::nullopt;
    if (input_[0] != 0) return fail(Reason::InternalError, "gRPC: the server compressed a message, which was not offered");
    size_t size = 0;
    for (size_t i = 1; i < kPrefixBytes; ++i) size = size << 8 | static_cast<unsigned char>(input_[i]);
    if (size > bytesMax_) {
      return fail(Reason::TooManyRequests,
                  "gRPC: received message larger than max (" + std::to_string(size) + " vs. " + std::to_string(bytesMax_) + ")");
    }
    if (input_.size() < kPrefixBytes + size) return std::nullopt;
    std::string message = input_.substr(kPrefixBytes, size);
    input_.erase(0, kPrefixBytes + size);
    return message;
  }

 private:
  size_t bytesMax_;
  std::string input_;
};

// Ok, or the error that the fields tell of. They come as trailers, or as headers when there was no
// message.
Result<void> statusOf(const ClientResponse& response) {
  const Headers& fields = response.trailers().contains("grpc-status") ? response.trailers() : response.headers();
  auto text = fields.find("grpc-status");
  if (!text) {
    if (response.status() != 200)
      return fail(Reason::ServiceUnavailable, "gRPC: the server answered with HTTP status " + std::to_string(response.status()));
    return fail(Reason::InternalError, "gRPC: the server sent no status");
  }
  int64_t status = parseInt(*text).value_or(2);
  if (status == 0) return {};
  std::string message = percentDecode(fields.get("grpc-message"), false).value_or(std::string(fields.get("grpc-message")));
  return fail(reasonFromGrpcStatus(static_cast<int>(status)), std::move(message));
}

Result<void> checkContentType(const ClientResponse& response) {
  if (response.status() == 200 && !response.headers().get("Content-Type").starts_with("application/grpc"))
    return fail(Reason::ServiceUnavailable,
                "gRPC: the server answered with content type " + quote(response.headers().get("Content-Type")));
  return {};
}

// At most 8 digits and a unit (PROTOCOL-HTTP2.md, "Timeout").
std::string timeoutText(env::Duration timeout) {
  auto count = timeout.count();
  for (auto [unit, nanos] : {std::pair('n', int64_t{1}),
                             {'u', int64_t{1000}},
                             {'m', int64_t{1'000'000}},
                             {'S', int64_t{1'000'000'000}},
                             {'M', int64_t{60'000'000'000}}}) {
    if (count / nanos < 100'000'000) return std::to_string((count + nanos - 1) / nanos) + unit;
  }
  return std::to_string(count / 3'600'000'000'000) + "H";
}

struct TimerGuard {
  env::Executor& executor;
  env::TimerId timer = 0;
  ~TimerGuard() { executor.cancelTimer(timer); }
};

ClientRequest makeCall(std::string path, std::string_view message, Headers metadata) {
  ClientRequest call;
  call.method = "POST";
  call.target = std::move(path);
  call.headers = std::move(metadata);
  call.headers.set("content-type", "application/grpc");
  call.headers.set("te", "trailers");
  if (!call.headers.contains("user-agent")) call.headers.set("user-agent", "knarr-grpc");
  call.body = makeBytes(frameMessage(message));
  return call;
}

using ResponsePromise = async::Promise<Result<std::unique_ptr<ClientResponse>>>;

// A server may send its first byte with the first message, so the response is awaited in receive.
class Stream final : public GrpcStream {
 public:
  Stream(ResponsePromise response, std::shared_ptr<async::StopSource> cancel, async::StopToken stop, size_t bytesMax)
      : promised_(std::move(response)), cancel_(std::move(cancel)), reader_(bytesMax) {
    registration_ = stop.onStop([source = cancel_] { source->requestStop(); });
  }
  ~Stream() override { cancel_->requestStop(); }
  async::Task<Result<std::optional<std::string>>> receive() override {
    if (failure_) co_return std::unexpected(*failure_);
    if (!response_) {
      auto response = co_await promised_.get();
      if (response) {
        response_ = std::move(*response);
        if (auto fits = checkContentType(*response_); !fits) failure_ = fits.error();
      } else {
        failure_ = response.error();
      }
      if (failure_) co_return std::unexpected(*failure_);
    }
    while (true) {
      if (auto message = CO_TRY(reader_.next())) co_return std::move(*message);
      auto chunk = CO_TRY(co_await response_->readChunk());
      if (chunk) {
        reader_.feed(*chunk);
        continue;
      }
      CO_TRY(statusOf(*response_));
      if (!reader_.empty()) co_return fail(Reason::ServiceUnavailable, "gRPC: the stream ended inside a message");
      co_return std::optional<std::string>();
    }
  }

 private:
  ResponsePromise promised_;
  std::unique_ptr<ClientResponse> response_;
  std::optional<Error> failure_;  // of the opening; told again to who asks again
  std::shared_ptr<async::StopSource> cancel_;
  async::StopToken::Registration registration_;
  MessageReader reader_;
};

HttpClientOptions httpOptions(const GrpcClientOptions& options) {
  HttpClientOptions http;
  http.address = options.address;
  http.tls = options.tls;
  http.protocol = ClientProtocol::Http2PriorKnowledge;
  http.connectTimeout = options.connectTimeout;
  // grpc-go's servers send clients away that ping more often than every 5 minutes, or without a
  // call at all; a broken connection shows in the call that meets it. Source: grpc-go
  // keepalive.EnforcementPolicy.
  http.pingInterval = std::chrono::hours(24);
  http.idleTimeout = std::chrono::minutes(30);
  return http;
}

}  // namespace

Reason reasonFromGrpcStatus(int status) {
  switch (status) {
    case 1:  // CANCELLED
    case 4:  // DEADLINE_EXCEEDED
      return Reason::Timeout;
    case 3:   // INVALID_ARGUMENT
    case 11:  // OUT_OF_RANGE
      return Reason::Invalid;
    case 5:
      return Reason::NotFound;
    case 6:
      return Reason::AlreadyExists;
    case 7:
      return Reason::Forbidden;
    case 8:  // RESOURCE_EXHAUSTED
      return Reason::TooManyRequests;
    case 9:   // FAILED_PRECONDITION
    case 10:  // ABORTED
      return Reason::Conflict;
    case 12:  // UNIMPLEMENTED
      return Reason::MethodNotAllowed;
    case 14:
      return Reason::ServiceUnavailable;
    case 16:
      return Reason::Unauthorized;
    default:
      return Reason::InternalError;
  }
}

class GrpcClient::Impl {
 public:
  Impl(env::Env e, GrpcClientOptions o)
      : environment(e), options(std::move(o)), http(e, httpOptions(options)), gate(std::make_unique<async::Gate>(e.executor)) {}

  static async::Task<Result<std::string>> unary(std::shared_ptr<Impl> self, std::string path, std::string request,
                                                env::Duration timeout, async::StopToken stop, Headers metadata);
  static std::unique_ptr<GrpcStream> serverStream(std::shared_ptr<Impl> self, std::string path, std::string request,
                                                  async::StopToken stop, Headers metadata);
  env::Env environment;
  GrpcClientOptions options;
  HttpClient http;
  std::unique_ptr<async::Gate> gate;  // of streams that wait for their response

 private:
  static async::Task<void> open(std::shared_ptr<Impl> self, ClientRequest call, async::StopToken stop, ResponsePromise response);
  static async::Task<Result<std::string>> exchange(std::shared_ptr<Impl> self, ClientRequest call, async::StopToken stop);
};

async::Task<Result<std::string>> GrpcClient::Impl::exchange(std::shared_ptr<Impl> self, ClientRequest call,
                                                            async::StopToken stop) {
  auto response = CO_TRY(co_await self->http.send(std::move(call), stop));
  CO_TRY(checkContentType(*response));
  MessageReader reader(self->options.messageBytesMax);
  std::optional<std::string> message;
  while (true) {
    auto chunk = CO_TRY(co_await response->readChunk());
    if (!chunk) break;
    reader.feed(*chunk);
    if (!message) message = CO_TRY(reader.next());
    if (message && !reader.empty()) co_return fail(Reason::InternalError, "gRPC: more than one message in a unary answer");
  }
  CO_TRY(statusOf(*response));
  if (!message) co_return fail(Reason::InternalError, "gRPC: the answer has no message");
  co_return std::move(*message);
}

async::Task<Result<std::string>> GrpcClient::Impl::unary(std::shared_ptr<Impl> self, std::string path, std::string request,
                                                         env::Duration timeout, async::StopToken stop, Headers metadata) {
  ClientRequest call = makeCall(path, request, std::move(metadata));
  // The caller's stop and the deadline end the call alike.
  auto source = std::make_shared<async::StopSource>();
  bool late = false;
  TimerGuard timer{self->environment.executor};
  if (timeout > env::Duration(0)) {
    call.headers.set("grpc-timeout", timeoutText(timeout));
    timer.timer = self->environment.executor.at(self->environment.clock.now() + timeout, [source, &late] {
      late = true;
      source->requestStop();
    });
  }
  async::StopToken::Registration registration = stop.onStop([source] { source->requestStop(); });
  auto answer = co_await exchange(self, std::move(call), source->token());
  if (!answer && late) co_return fail(Reason::Timeout, path + ": context deadline exceeded");
  co_return answer;
}

async::Task<void> GrpcClient::Impl::open(std::shared_ptr<Impl> self, ClientRequest call, async::StopToken stop,
                                         ResponsePromise response) {
  response.set(co_await self->http.send(std::move(call), std::move(stop)));
}

std::unique_ptr<GrpcStream> GrpcClient::Impl::serverStream(std::shared_ptr<Impl> self, std::string path, std::string request,
                                                           async::StopToken stop, Headers metadata) {
  ResponsePromise response(self->environment.executor);
  auto cancel = std::make_shared<async::StopSource>();
  self->gate->spawn(open(self, makeCall(std::move(path), request, std::move(metadata)), cancel->token(), response));
  return std::make_unique<Stream>(response, std::move(cancel), std::move(stop), self->options.messageBytesMax);
}

GrpcClient::GrpcClient(env::Env environment, GrpcClientOptions options)
    : impl_(std::make_shared<Impl>(environment, std::move(options))) {}
GrpcClient::~GrpcClient() { impl_->gate.reset(); }

async::Task<Result<std::string>> GrpcClient::unary(std::string path, std::string request, env::Duration timeout,
                                                   async::StopToken stop, Headers metadata) {
  return Impl::unary(impl_, std::move(path), std::move(request), timeout, std::move(stop), std::move(metadata));
}
namespace {
async::Task<Result<std::unique_ptr<GrpcStream>>> opened(std::unique_ptr<GrpcStream> stream) { co_return std::move(stream); }
}  // namespace

async::Task<Result<std::unique_ptr<GrpcStream>>> GrpcClient::serverStream(std::string path, std::string request,
                                                                          async::StopToken stop, Headers metadata) {
  return opened(Impl::serverStream(impl_, std::move(path), std::move(request), std::move(stop), std::move(metadata)));
}

}  // namespace knarr::wire
