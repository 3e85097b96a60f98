// Result and Error: how every fallible function of Knarr reports failure.
//
// An Error carries what a Kubernetes metav1.Status carries (reason, code, message, details), so that a failure deep
// in a room reaches the client with the answer upstream would give. Exceptions never cross a door.
// Source: k8s.io/apimachinery/pkg/api/errors, meta/v1 StatusReason.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace knarr {

// metav1.StatusReason, plus the reasons the handlers use. The order is not stored anywhere.
enum class Reason : uint8_t {
  Unknown,
  Unauthorized,
  Forbidden,
  NotFound,
  AlreadyExists,
  Conflict,
  Gone,
  Invalid,
  ServerTimeout,
  StoreReadError,
  Timeout,
  TooManyRequests,
  BadRequest,
  MethodNotAllowed,
  NotAcceptable,
  RequestEntityTooLarge,
  UnsupportedMediaType,
  InternalError,
  Expired,
  ServiceUnavailable,
};

// The spelling clients see in Status.reason; "" for Unknown.
std::string_view reasonName(Reason reason);
// The HTTP code that goes with a reason when the Error does not name one.
int reasonCode(Reason reason);
// The reason spelled `name`; Unknown when no reason is spelled so.
Reason reasonFromName(std::string_view name);

// metav1.StatusCause.
struct Cause {
  std::string reason;
  std::string message;
  std::string field;
};

// metav1.StatusDetails without causes.
struct ErrorDetails {
  std::string group;
  std::string kind;
  std::string name;
  std::string uid;
  int32_t retryAfterSeconds = 0;
  // Status.metadata.continue: where a list that cannot be gone on with consistently can be gone on with.
  std::string continueToken = {};
};

class [[nodiscard]] Error {
 public:
  Error(Reason reason, std::string message);

  Reason reason() const { return body_->reason; }
  // HTTP status code.
  int code() const { return body_->code; }
  // The message alone, as a client sees it in Status.message.
  const std::string& message() const { return body_->message; }
  const ErrorDetails& details() const { return body_->details; }
  const std::vector<Cause>& causes() const { return body_->causes; }
  // What was being done when the error passed, outermost last; for logs, never for clients.
  const std::vector<std::string>& context() const { return body_->context; }
  // "outer: inner: message", for logs.
  std::string describe() const;

  Error& withCode(int code) & {
    body_->code = code;
    return *this;
  }
  Error&& withCode(int code) && { return std::move(withCode(code)); }
  Error& withDetails(ErrorDetails details) & {
    body_->details = std::move(details);
    return *this;
  }
  Error&& withDetails(ErrorDetails details) && { return std::move(withDetails(std::move(details))); }
  Error& withCause(Cause cause) & {
    body_->causes.push_back(std::move(cause));
    return *this;
  }
  Error&& withCause(Cause cause) && { return std::move(withCause(std::move(cause))); }
  // Adds a frame; call it when an error crosses a door. The reason never changes.
  Error& withContext(std::string frame) & {
    body_->context.push_back(std::move(frame));
    return *this;
  }
  Error&& withContext(std::string frame) && { return std::move(withContext(std::move(frame))); }

  Error(const Error& other) : body_(std::make_unique<Body>(*other.body_)) {}
  Error& operator=(const Error& other) {
    if (this != &other) body_ = std::make_unique<Body>(*other.body_);
    return *this;
  }
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  ~Error() = default;

 private:
  struct Body {
    Reason reason;
    int code;
    std::string message;
    ErrorDetails details;
    std::vector<Cause> causes;
    std::vector<std::string> context;
  };
  std::unique_ptr<Body> body_;
};

template <class T>
using Result = std::expected<T, Error>;
using Unexpected = std::unexpected<Error>;

// The failure value of any Result: return fail(Reason::NotFound, "...").
inline Unexpected fail(Reason reason, std::string message) { return Unexpected(Error(reason, std::move(message))); }
// An errno failure: "what: strerror". ENOENT maps to NotFound, EEXIST to AlreadyExists, EACCES/EPERM to Forbidden, the
// rest to InternalError.
Unexpected failErrno(std::string_view what, int errorNumber);

inline bool isNotFound(const Error& error) { return error.reason() == Reason::NotFound; }
inline bool isAlreadyExists(const Error& error) { return error.reason() == Reason::AlreadyExists; }
inline bool isConflict(const Error& error) { return error.reason() == Reason::Conflict; }

}  // namespace knarr

// TRY(expr): the value of a Result, or return its error from the enclosing function.
#define TRY(...) KNARR_TRY_AS_(__COUNTER__, return, __VA_ARGS__)
// CO_TRY(expr): the same inside a coroutine; expr may contain co_await.
#define CO_TRY(...) KNARR_TRY_AS_(__COUNTER__, co_return, __VA_ARGS__)

#define KNARR_TRY_JOIN_(a, b) a##b
#define KNARR_TRY_AS_(n, leave, ...) KNARR_TRY_(KNARR_TRY_JOIN_(tryResult_, n), leave, __VA_ARGS__)
#define KNARR_TRY_(name, leave, ...)                           \
  ({                                                           \
    auto name = (__VA_ARGS__);                                 \
    if (!name) leave std::unexpected(std::move(name).error()); \
    std::move(name).value();                                   \
  })
