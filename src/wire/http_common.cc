// What both protocols and both sides share: requests, status texts, whole-body reading.
#include "wire/http_common.h"

#include <fmt/format.h>

#include <limits>

#include "base/strings.h"

namespace knarr::wire {

std::string_view statusText(int status) {
  // Source: IANA HTTP Status Code Registry, as net/http spells it.
  static constexpr std::pair<int, std::string_view> kTexts[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {203, "Non-Authoritative Information"},
      {204, "No Content"},
      {205, "Reset Content"},
      {206, "Partial Content"},
      {300, "Multiple Choices"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {402, "Payment Required"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {407, "Proxy Authentication Required"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Request Entity Too Large"},
      {414, "Request URI Too Long"},
      {415, "Unsupported Media Type"},
      {416, "Requested Range Not Satisfiable"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Entity"},
      {423, "Locked"},
      {424, "Failed Dependency"},
      {425, "Too Early"},
      {426, "Upgrade Required"},
      {428, "Precondition Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {507, "Insufficient Storage"},
  };
  for (auto [code, text] : kTexts)
    if (code == status) return text;
  return "";
}

std::string_view Request::path() const {
  std::string_view all = target;
  return all.substr(0, all.find('?'));
}
std::string_view Request::query() const {
  size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view() : std::string_view(target).substr(mark + 1);
}

std::string httpDate(int64_t unixSeconds) {
  static constexpr const char* kDays[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};  // 1970 began on a Thursday
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  CivilTime t = civilFromUnix(unixSeconds);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[(unixSeconds / 86400) % 7], t.day, kMonths[t.month - 1],
                     t.year, t.hour, t.minute, t.second);
}

Result<void> checkHeaders(const Headers& headers) {
  for (const Headers::Field& field : headers.fields()) {
    if (!isHeaderName(field.name) || !isHeaderValue(field.value))
      return fail(Reason::InternalError, "HTTP field " + quote(field.name) + " has bytes that a field cannot have");
  }
  return {};
}

bool isConnectionField(std::string_view name) {
  for (std::string_view one : {"connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade"})
    if (equalsIgnoreCase(one, name)) return true;
  return false;
}

bool statusHasBody(int status) { return status >= 200 && status != 204 && status != 304; }

async::Task<Result<std::string>> ServerExchange::readBody(size_t bytesMax) {
  auto tooLarge = [bytesMax] {
    return fail(Reason::RequestEntityTooLarge,
                "the request body is larger than the " + std::to_string(bytesMax) + " bytes allowed here");
  };
  if (request().contentLength && *request().contentLength > bytesMax) co_return tooLarge();
  std::string body;
  if (request().contentLength) body.reserve(static_cast<size_t>(*request().contentLength));
  while (true) {
    auto chunk = CO_TRY(co_await readChunk());
    if (!chunk) co_return body;
    if (chunk->size() > bytesMax - body.size()) co_return tooLarge();
    if (body.empty() && chunk->size() >= body.capacity()) {
      body = std::move(*chunk);
    } else {
      body += *chunk;
    }
  }
}

async::Task<Result<std::string>> ClientResponse::readAll(size_t bytesMax) {
  std::string body;
  while (true) {
    auto chunk = CO_TRY(co_await readChunk());
    if (!chunk) co_return body;
    if (chunk->size() > bytesMax - body.size())
      co_return fail(Reason::RequestEntityTooLarge,
                     "the response body is larger than the " + std::to_string(bytesMax) + " bytes expected here");
    body += *chunk;
  }
}

}  // namespace knarr::wire
