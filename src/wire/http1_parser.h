// One HTTP/1.1 message at a time, parsed in strict mode by llhttp. Private to this room.
#pragma once

#include <llhttp.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/headers.h"

namespace knarr::wire {

struct Http1Head {
  std::string method;  // requests
  std::string target;
  int status = 0;  // responses
  Headers headers;
  int minorVersion = 1;
  bool keepAlive = true;
  bool upgrade = false;  // requests: Upgrade and Connection: upgrade; responses: 101
  bool chunked = false;
  std::optional<uint64_t> contentLength;
};

class Http1Parser {
 public:
  enum class Kind : uint8_t { Request, Response };
  Http1Parser(Kind kind, size_t headerBytesMax, size_t headerFieldsMax);
  Http1Parser(const Http1Parser&) = delete;

  // Begins the next message. skipBody: the response to a HEAD request.
  void begin(bool skipBody = false);
  // Takes bytes up to the end of the message; returns how many it took. The caller hands in small
  // pieces (16 KiB) and takes the body out between them, so the parser holds no more than that.
  // BadRequest when malformed; code 431 when the header exceeds its bounds.
  Result<size_t> feed(std::string_view bytes);
  // The peer closed: completes a body that lasts until then, fails otherwise.
  Result<void> feedEof();

  bool headComplete() const { return headComplete_; }
  bool complete() const { return complete_; }
  // Bytes of the message were seen.
  bool begun() const { return begun_; }
  Http1Head& head() { return head_; }
  const Headers& trailers() const { return trailers_; }
  bool bodyUntilEof() const { return bodyUntilEof_; }
  // The decoded body since the last call.
  std::string takeBody() { return std::exchange(body_, {}); }
  bool hasBodyBytes() const { return !body_.empty(); }

 private:
  static const llhttp_settings_t* settings();
  static Http1Parser& of(llhttp_t* parser) { return *static_cast<Http1Parser*>(parser->data); }
  int onHeadersComplete();
  int onFieldComplete();
  int count(size_t bytes);

  const Kind kind_;
  const size_t headerBytesMax_;
  const size_t headerFieldsMax_;
  llhttp_t parser_{};
  bool skipBody_ = false;
  Http1Head head_;
  Headers trailers_;
  std::string name_;
  std::string value_;
  std::string body_;
  size_t headerBytes_ = 0;
  size_t headerFields_ = 0;
  bool tooLarge_ = false;
  bool begun_ = false;
  bool headComplete_ = false;
  bool complete_ = false;
  bool bodyUntilEof_ = false;
};

}  // namespace knarr::wire
