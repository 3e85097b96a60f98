#include <cerrno>
#include <cstring>

#include "base/result.h"

namespace knarr {
namespace {

struct ReasonRow {
  Reason reason;
  std::string_view name;
  int code;
};

// Source: k8s.io/apimachinery/pkg/apis/meta/v1/types.go, StatusReason constants and the codes api/errors gives them.
constexpr ReasonRow kReasons[] = {
    {Reason::Unknown, "", 500},
    {Reason::Unauthorized, "Unauthorized", 401},
    {Reason::Forbidden, "Forbidden", 403},
    {Reason::NotFound, "NotFound", 404},
    {Reason::AlreadyExists, "AlreadyExists", 409},
    {Reason::Conflict, "Conflict", 409},
    {Reason::Gone, "Gone", 410},
    {Reason::Invalid, "Invalid", 422},
    {Reason::ServerTimeout, "ServerTimeout", 500},
    {Reason::StoreReadError, "StorageReadError", 500},
    {Reason::Timeout, "Timeout", 504},
    {Reason::TooManyRequests, "TooManyRequests", 429},
    {Reason::BadRequest, "BadRequest", 400},
    {Reason::MethodNotAllowed, "MethodNotAllowed", 405},
    {Reason::NotAcceptable, "NotAcceptable", 406},
    {Reason::RequestEntityTooLarge, "RequestEntityTooLarge", 413},
    {Reason::UnsupportedMediaType, "UnsupportedMediaType", 415},
    {Reason::InternalError, "InternalError", 500},
    {Reason::Expired, "Expired", 410},
    {Reason::ServiceUnavailable, "ServiceUnavailable", 503},
};

}  // namespace

std::string_view reasonName(Reason reason) {
  for (const ReasonRow& row : kReasons)
    if (row.reason == reason) return row.name;
  return "";
}

int reasonCode(Reason reason) {
  for (const ReasonRow& row : kReasons)
    if (row.reason == reason) return row.code;
  return 500;
}

Reason reasonFromName(std::string_view name) {
  for (const ReasonRow& row : kReasons)
    if (row.name == name) return row.reason;
  return Reason::Unknown;
}

Error::Error(Reason reason, std::string message) : body_(std::make_unique<Body>()) {
  body_->reason = reason;
  body_->code = reasonCode(reason);
  body_->message = std::move(message);
}

std::string Error::describe() const {
  std::string out;
  for (auto frame = body_->context.rbegin(); frame != body_->context.rend(); ++frame) {
    out += *frame;
    out += ": ";
  }
  out += body_->message;
  return out;
}

Unexpected failErrno(std::string_view what, int errorNumber) {
  Reason reason = Reason::InternalError;
  if (errorNumber == ENOENT) reason = Reason::NotFound;
  if (errorNumber == EEXIST) reason = Reason::AlreadyExists;
  if (errorNumber == EACCES || errorNumber == EPERM) reason = Reason::Forbidden;
  std::string message(what);
  message += ": ";
  message += ::strerror(errorNumber);
  return fail(reason, std::move(message));
}

}  // namespace knarr
