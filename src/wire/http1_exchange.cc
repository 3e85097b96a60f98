// One request and its response over HTTP/1.1, as the handler sees them.
#include "base/strings.h"
#include "wire/http1_connection.h"
#include "wire/io.h"

namespace knarr::wire::http1 {

async::Task<Result<std::optional<std::string>>> Exchange::readChunk() {
  std::shared_ptr<Connection> c = CO_TRY(connection());
  bool expects = !continueSent_ && request_.hasBody && status_ == 0 && request_.headers.containsToken("Expect", "100-continue");
  if (expects) {
    continueSent_ = true;
    c->enqueue("HTTP/1.1 100 Continue\r\n\r\n");
    c->pump();
  }
  while (true) {
    if (!c->parser().hasBodyBytes() && !c->parser().complete()) {
      if (auto fed = c->feedInput(); !fed) {
        c->closeAfterThis();
        co_return std::unexpected(std::move(fed).error());
      }
    }
    if (c->parser().hasBodyBytes()) co_return c->parser().takeBody();
    if (c->parser().complete()) {
      c->watchForLeaving();
      co_return std::optional<std::string>();
    }
    if (auto read = co_await Connection::readMore(c, c->options().bodyTimeout); !read) {
      c->closeAfterThis();
      if (read.error().reason() == Reason::ServiceUnavailable) clientLeft();
      co_return std::unexpected(std::move(read).error());
    }
  }
}

Result<std::string> Exchange::makeHead(Connection& c, int status, Headers& headers, std::optional<size_t> length) {
  if (status_ != 0) return fail(Reason::InternalError, "the HTTP response has already begun");
  TRY(checkHeaders(headers));
  bool head = request_.method == "HEAD";
  sendsBody_ = statusHasBody(status) && !head;
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + std::string(statusText(status)) + "\r\n";
  for (const Headers::Field& field : headers.fields()) {
    if (isConnectionField(field.name)) continue;
    if (equalsIgnoreCase(field.name, "Content-Length")) {
      if (!length) declared_ = parseUint(field.value);
      if (length || !statusHasBody(status)) continue;
    }
    text += field.name + ": " + field.value + "\r\n";
  }
  if (length && statusHasBody(status)) text += "Content-Length: " + std::to_string(*length) + "\r\n";
  if (!length && !declared_ && statusHasBody(status)) {
    bool http11 = c.parser().head().minorVersion >= 1;
    chunked_ = http11;
    if (http11) {
      text += "Transfer-Encoding: chunked\r\n";
    } else {
      c.closeAfterThis();  // the end of the connection is the end of the body
    }
  }
  if (!headers.contains("Date")) text += "Date: " + httpDate(c.environment().clock.unixSeconds()) + "\r\n";
  if (!c.options().serverHeader.empty()) text += "Server: " + c.options().serverHeader + "\r\n";
  if (c.closing()) {
    text += "Connection: close\r\n";
  } else if (c.parser().head().minorVersion == 0) {
    text += "Connection: keep-alive\r\n";
  }
  text += "\r\n";
  status_ = status;
  return text;
}

async::Task<Result<void>> Exchange::respond(int status, Headers headers, Bytes body) {
  std::shared_ptr<Connection> c = CO_TRY(connection());
  size_t size = body ? body->size() : 0;
  c->enqueue(CO_TRY(makeHead(*c, status, headers, size)));
  finished_ = true;
  if (size == 0 || !sendsBody_) co_return co_await Connection::flush(c);
  responseBytes_ = size;
  co_return co_await Connection::send(c, std::move(body));
}

Result<void> Exchange::startResponse(int status, Headers headers) {
  std::shared_ptr<Connection> c = TRY(connection());
  c->enqueue(TRY(makeHead(*c, status, headers, std::nullopt)));
  c->pump();
  return {};
}

async::Task<Result<void>> Exchange::write(Bytes bytes) {
  std::shared_ptr<Connection> c = CO_TRY(connection());
  if (status_ == 0 || finished_) co_return fail(Reason::InternalError, "no HTTP response is open for writing");
  if (!bytes || bytes->empty() || !sendsBody_) co_return Result<void>();
  responseBytes_ += bytes->size();
  if (declared_ && responseBytes_ > *declared_)
    co_return fail(Reason::InternalError, "the HTTP response is longer than its Content-Length");
  if (!chunked_) co_return co_await Connection::send(c, std::move(bytes));
  char size[24];
  int length = std::snprintf(size, sizeof size, "%zx\r\n", bytes->size());
  c->enqueue(std::string_view(size, static_cast<size_t>(length)));
  if (bytes->size() <= kJoinBytesMax) {
    c->enqueue(*bytes);
    c->enqueue("\r\n");
    co_return co_await Connection::flush(c);
  }
  CO_TRY(co_await Connection::send(c, std::move(bytes)));
  c->enqueue("\r\n");
  co_return co_await Connection::flush(c);
}

async::Task<Result<void>> Exchange::finish(Headers trailers) {
  std::shared_ptr<Connection> c = CO_TRY(connection());
  if (status_ == 0 || finished_) co_return fail(Reason::InternalError, "no HTTP response is open for writing");
  CO_TRY(checkHeaders(trailers));
  if (declared_ && sendsBody_ && responseBytes_ != *declared_)
    co_return fail(Reason::InternalError, "the HTTP response is shorter than its Content-Length");
  finished_ = true;
  if (chunked_ && sendsBody_) {
    c->enqueue("0\r\n");
    for (const Headers::Field& field : trailers.fields()) c->enqueue(field.name + ": " + field.value + "\r\n");
    c->enqueue("\r\n");
  }
  co_return co_await Connection::flush(c);
}

async::Task<Result<std::unique_ptr<env::Stream>>> Exchange::upgrade(Headers headers) {
  std::shared_ptr<Connection> c = CO_TRY(connection());
  if (status_ != 0) co_return fail(Reason::InternalError, "the HTTP response has already begun");
  if (!c->parser().head().upgrade || !c->parser().complete())
    co_return fail(Reason::BadRequest, "the request does not ask for an upgrade of its connection");
  CO_TRY(checkHeaders(headers));
  std::string text = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
  for (const Headers::Field& field : headers.fields()) {
    if (!equalsIgnoreCase(field.name, "Connection")) text += field.name + ": " + field.value + "\r\n";
  }
  c->enqueue(text + "\r\n");
  status_ = 101;
  CO_TRY(co_await Connection::flush(c));
  finished_ = true;
  co_return c->release();
}

}  // namespace knarr::wire::http1
