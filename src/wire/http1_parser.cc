#include "wire/http1_parser.h"

#include "base/strings.h"

namespace knarr::wire {

Http1Parser::Http1Parser(Kind kind, size_t headerBytesMax, size_t headerFieldsMax)
    : kind_(kind), headerBytesMax_(headerBytesMax), headerFieldsMax_(headerFieldsMax) {
  begin();
}

void Http1Parser::begin(bool skipBody) {
  llhttp_init(&parser_, kind_ == Kind::Request ? HTTP_REQUEST : HTTP_RESPONSE, settings());
  parser_.data = this;
  skipBody_ = skipBody;
  head_ = {};
  trailers_ = {};
  name_.clear();
  value_.clear();
  body_.clear();
  headerBytes_ = headerFields_ = 0;
  tooLarge_ = begun_ = headComplete_ = complete_ = bodyUntilEof_ = false;
}

int Http1Parser::count(size_t bytes) {
  headerBytes_ += bytes;
  if (headerBytes_ <= headerBytesMax_ && headerFields_ <= headerFieldsMax_) return 0;
  tooLarge_ = true;
  return HPE_USER;
}

int Http1Parser::onFieldComplete() {
  ++headerFields_;
  Headers& headers = headComplete_ ? trailers_ : head_.headers;
  headers.add(std::move(name_), std::string(trim(value_)));
  name_.clear();
  value_.clear();
  return count(0);
}

int Http1Parser::onHeadersComplete() {
  headComplete_ = true;
  head_.minorVersion = parser_.http_minor;
  bool oneOne = parser_.http_major == 1 && parser_.http_minor >= 1;
  head_.keepAlive = oneOne ? !(parser_.flags & F_CONNECTION_CLOSE) : (parser_.flags & F_CONNECTION_KEEP_ALIVE) != 0;
  head_.upgrade = parser_.upgrade != 0;
  head_.chunked = (parser_.flags & F_CHUNKED) != 0;
  if (parser_.flags & F_CONTENT_LENGTH) head_.contentLength = parser_.content_length;
  if (kind_ == Kind::Request) {
    head_.method = llhttp_method_name(static_cast<llhttp_method_t>(parser_.method));
    return 0;
  }
  head_.status = parser_.status_code;
  if (head_.status == 101) return 0;
  // Source: RFC 9112, 6.3: these have no body whatever their fields say.
  if (skipBody_ || head_.status / 100 == 1 || head_.status == 204 || head_.status == 304) return 1;
  bodyUntilEof_ = llhttp_message_needs_eof(&parser_) != 0;
  return 0;
}

const llhttp_settings_t* Http1Parser::settings() {
  static const llhttp_settings_t kSettings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_url = [](llhttp_t* p, const char* at, size_t size) {
      of(p).head_.target.append(at, size);
      return of(p).count(size);
    };
    s.on_header_field = [](llhttp_t* p, const char* at, size_t size) {
      of(p).name_.append(at, size);
      return of(p).count(size);
    };
    s.on_header_value = [](llhttp_t* p, const char* at, size_t size) {
      of(p).value_.append(at, size);
      return of(p).count(size);
    };
    s.on_header_value_complete = [](llhttp_t* p) { return of(p).onFieldComplete(); };
    s.on_headers_complete = [](llhttp_t* p) { return of(p).onHeadersComplete(); };
    s.on_body = [](llhttp_t* p, const char* at, size_t size) {
      of(p).body_.append(at, size);
      return 0;
    };
    s.on_message_complete = [](llhttp_t* p) -> int {
      of(p).complete_ = true;
      // Bytes after the message belong to the next one or to an upgraded protocol.
      return HPE_PAUSED;
    };
    return s;
  }();
  return &kSettings;
}

Result<size_t> Http1Parser::feed(std::string_view bytes) {
  if (complete_ || bytes.empty()) return 0;
  begun_ = true;
  llhttp_errno_t result = llhttp_execute(&parser_, bytes.data(), bytes.size());
  if (result == HPE_OK) return bytes.size();
  if (complete_) return static_cast<size_t>(llhttp_get_error_pos(&parser_) - bytes.data());
  if (tooLarge_) {
    return std::unexpected(Error(Reason::RequestEntityTooLarge, "HTTP header exceeds " + std::to_string(headerBytesMax_) +
                                                                    " bytes or " + std::to_string(headerFieldsMax_) + " fields")
                               .withCode(431));
  }
  const char* why = llhttp_get_error_reason(&parser_);
  return fail(Reason::BadRequest, std::string("malformed HTTP/1.1 message: ") + (why && *why ? why : llhttp_errno_name(result)));
}

Result<void> Http1Parser::feedEof() {
  if (complete_) return {};
  if (headComplete_ && bodyUntilEof_) {
    complete_ = true;
    return {};
  }
  return fail(Reason::BadRequest, "the connection ended inside an HTTP/1.1 message");
}

}  // namespace knarr::wire
