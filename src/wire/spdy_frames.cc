#include "wire/spdy_frames.h"

#include <zlib.h>

#include "base/assert.h"
#include "base/strings.h"

namespace knarr::wire {
namespace {

constexpr size_t kFrameHeaderBytes = 8;
constexpr uint16_t kVersion = 3;
constexpr uint8_t kFlagFin = 1;
// What a control frame may hold. The streams of Kubernetes carry a few short headers.
constexpr size_t kControlBytesMax = 64 << 10;
// What its header block may become when it is inflated.
constexpr size_t kHeaderBlockBytesMax = 256 << 10;
constexpr uint32_t kHeadersMax = 256;

void put16(std::string& out, uint32_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value));
}
void put32(std::string& out, uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}
uint32_t get32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}
uint32_t get24(std::string_view bytes) { return get32(bytes) & 0xffffff; }

Unexpected broken(std::string_view what) { return fail(Reason::BadRequest, "SPDY: " + std::string(what)); }

// One string of a header block: its length, then its bytes.
Result<std::string> takeString(std::string_view& block) {
  if (block.size() < 4) return broken("a header block ends within a length");
  size_t length = get32(block);
  block.remove_prefix(4);
  if (length > block.size()) return broken("a header block ends within a string");
  std::string text(block.substr(0, length));
  block.remove_prefix(length);
  return text;
}

Bytef* bytesOf(std::string_view text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text.data())); }

}  // namespace

const std::string& spdyHeaderDictionary() {
  static const std::string kDictionary = [] {
    // The first part: names and values as they stand in a header block, each with its length.
    constexpr std::string_view kWords[] = {"options",
                                           "head",
                                           "post",
                                           "put",
                                           "delete",
                                           "trace",
                                           "accept",
                                           "accept-charset",
                                           "accept-encoding",
                                           "accept-language",
                                           "accept-ranges",
                                           "age",
                                           "allow",
                                           "authorization",
                                           "cache-control",
                                           "connection",
                                           "content-base",
                                           "content-encoding",
                                           "content-language",
                                           "content-length",
                                           "content-location",
                                           "content-md5",
                                           "content-range",
                                           "content-type",
                                           "date",
                                           "etag",
                                           "expect",
                                           "expires",
                                           "from",
                                           "host",
                                           "if-match",
                                           "if-modified-since",
                                           "if-none-match",
                                           "if-range",
                                           "if-unmodified-since",
                                           "last-modified",
                                           "location",
                                           "max-forwards",
                                           "pragma",
                                           "proxy-authenticate",
                                           "proxy-authorization",
                                           "range",
                                           "referer",
                                           "retry-after",
                                           "server",
                                           "te",
                                           "trailer",
                                           "transfer-encoding",
                                           "upgrade",
                                           "user-agent",
                                           "vary",
                                           "via",
                                           "warning",
                                           "www-authenticate",
                                           "method",
                                           "get",
                                           "status",
                                           "200 OK",
                                           "version",
                                           "HTTP/1.1",
                                           "url",
                                           "public",
                                           "set-cookie",
                                           "keep-alive",
                                           "origin"};
    std::string out;
    for (std::string_view word : kWords) {
      put32(out, static_cast<uint32_t>(word.size()));
      out += word;
    }
    // The second part: text that values are made of.
    out +=
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    return out;
  }();
  return kDictionary;
}

// ---- encoding

struct SpdyEncoder::Deflate {
  z_stream stream{};
  Deflate() {
    // A window of 2 KiB holds the dictionary, and the context takes a few KiB instead of 256.
    constexpr int kWindowBits = 11, kMemoryLevel = 1;
    int status = deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kWindowBits, kMemoryLevel, Z_DEFAULT_STRATEGY);
    ASSERT(status == Z_OK);
    const std::string& dictionary = spdyHeaderDictionary();
    status = deflateSetDictionary(&stream, bytesOf(dictionary), static_cast<uInt>(dictionary.size()));
    ASSERT(status == Z_OK);
  }
  ~Deflate() { deflateEnd(&stream); }
};

SpdyEncoder::SpdyEncoder() = default;
SpdyEncoder::~SpdyEncoder() = default;

std::string SpdyEncoder::headerBlock(const Headers& headers) {
  // Values of one name stand together, apart by NUL.
  std::vector<std::pair<std::string, std::string>> joined;
  for (const Headers::Field& field : headers.fields()) {
    std::string name = toLower(field.name);
    auto found = std::ranges::find(joined, name, [](const auto& pair) { return pair.first; });
    if (found == joined.end()) {
      joined.emplace_back(std::move(name), field.value);
    } else {
      found->second += '\0' + field.value;
    }
  }
  std::string plain;
  put32(plain, static_cast<uint32_t>(joined.size()));
  for (const auto& [name, value] : joined) {
    put32(plain, static_cast<uint32_t>(name.size()));
    plain += name;
    put32(plain, static_cast<uint32_t>(value.size()));
    plain += value;
  }
  if (!deflate_) deflate_ = std::make_unique<Deflate>();
  z_stream& stream = deflate_->stream;
  stream.next_in = bytesOf(plain);
  stream.avail_in = static_cast<uInt>(plain.size());
  std::string out;
  char buffer[1024];
  do {
    stream.next_out = bytesOf({buffer, sizeof buffer});
    stream.avail_out = sizeof buffer;
    int status = deflate(&stream, Z_SYNC_FLUSH);
    ASSERT(status == Z_OK || status == Z_BUF_ERROR);
    out.append(buffer, sizeof buffer - stream.avail_out);
  } while (stream.avail_out == 0);
  return out;
}

std::string SpdyEncoder::encode(const SpdyFrame& frame) {
  std::string payload;
  switch (frame.type) {
    case SpdyFrameType::Data: {
      ASSERT(frame.data.size() < (size_t{1} << 24));
      std::string out;
      out.reserve(kFrameHeaderBytes + frame.data.size());
      put32(out, frame.stream & 0x7fffffff);
      put32(out, uint32_t{frame.fin ? kFlagFin : uint8_t{0}} << 24 | static_cast<uint32_t>(frame.data.size()));
      return out += frame.data;
    }
    case SpdyFrameType::SynStream:
      put32(payload, frame.stream);
      put32(payload, 0);  // not associated with another stream
      put16(payload, 0);  // highest priority, no credential slot
      payload += headerBlock(frame.headers);
      break;
    case SpdyFrameType::SynReply:
    case SpdyFrameType::Headers:
      put32(payload, frame.stream);
      payload += headerBlock(frame.headers);
      break;
    case SpdyFrameType::RstStream:
    case SpdyFrameType::GoAway:
    case SpdyFrameType::WindowUpdate:
      put32(payload, frame.stream);
      put32(payload, frame.value);
      break;
    case SpdyFrameType::Ping:
      put32(payload, frame.value);
      break;
    case SpdyFrameType::Settings:
      put32(payload, 0);  // no entries
      break;
  }
  std::string out;
  put16(out, 0x8000 | kVersion);
  put16(out, static_cast<uint16_t>(frame.type));
  put32(out, uint32_t{frame.fin ? kFlagFin : uint8_t{0}} << 24 | static_cast<uint32_t>(payload.size()));
  return out += payload;
}

// ---- decoding

struct SpdyDecoder::Inflate {
  z_stream stream{};
  Inflate() {
    int status = inflateInit(&stream);
    ASSERT(status == Z_OK);
  }
  ~Inflate() { inflateEnd(&stream); }
};

SpdyDecoder::SpdyDecoder() = default;
SpdyDecoder::~SpdyDecoder() = default;

std::optional<SpdyFrame> SpdyDecoder::takeData() {
  size_t have = std::min(dataLeft_, input_.size() - from_);
  if (have == 0 && dataLeft_ > 0) return std::nullopt;
  SpdyFrame frame;
  frame.stream = dataStream_;
  frame.data = input_.substr(from_, have);
  from_ += have;
  dataLeft_ -= have;
  inData_ = dataLeft_ > 0;
  frame.fin = dataFin_ && !inData_;
  return frame;
}

Result<std::optional<SpdyFrame>> SpdyDecoder::next() {
  while (true) {
    if (from_ > 0 && (from_ == input_.size() || from_ > kControlBytesMax)) {
      input_.erase(0, from_);
      from_ = 0;
    }
    if (inData_) return takeData();
    std::string_view left = std::string_view(input_).substr(from_);
    if (left.size() < kFrameHeaderBytes) return std::optional<SpdyFrame>();
    if ((static_cast<uint8_t>(left[0]) & 0x80) == 0) {
      dataStream_ = get32(left);
      if (dataStream_ == 0) return broken("DATA for stream 0");
      dataFin_ = (static_cast<uint8_t>(left[4]) & kFlagFin) != 0;
      dataLeft_ = get24(left.substr(4));
      from_ += kFrameHeaderBytes;
      inData_ = true;
      continue;
    }
    size_t length = get24(left.substr(4));
    if ((get32(left) >> 16 & 0x7fff) != kVersion) return broken("a control frame of another version");
    if (length > kControlBytesMax) return broken("a control frame is longer than 64 KiB");
    if (left.size() < kFrameHeaderBytes + length) return std::optional<SpdyFrame>();
    uint16_t type = static_cast<uint16_t>(get32(left) & 0xffff);
    from_ += kFrameHeaderBytes + length;
    if (type == 0 || type == 5 || type > static_cast<uint16_t>(SpdyFrameType::WindowUpdate)) continue;
    return std::optional(TRY(parseControl(type, static_cast<uint8_t>(left[4]), left.substr(kFrameHeaderBytes, length))));
  }
}

Result<SpdyFrame> SpdyDecoder::parseControl(uint16_t type, uint8_t flags, std::string_view payload) {
  SpdyFrame frame;
  frame.type = static_cast<SpdyFrameType>(type);
  size_t headersFrom = 0;  // where its header block begins, 0: it has none
  size_t lengthWanted = 0;
  switch (frame.type) {
    case SpdyFrameType::SynStream:
      headersFrom = 10;
      break;
    case SpdyFrameType::SynReply:
    case SpdyFrameType::Headers:
      headersFrom = 4;
      break;
    case SpdyFrameType::Ping:
      lengthWanted = 4;
      break;
    case SpdyFrameType::Settings:
      if (payload.size() < 4 || payload.size() != 4 + uint64_t{8} * get32(payload)) return broken("SETTINGS of another length");
      return frame;
    default:
      lengthWanted = 8;
  }
  if (headersFrom != 0 ? payload.size() < headersFrom : payload.size() != lengthWanted)
    return broken("a control frame of another length");
  uint32_t first = get32(payload);
  if (frame.type == SpdyFrameType::Ping) {
    frame.value = first;
    return frame;
  }
  frame.stream = first & 0x7fffffff;
  // A window update of stream 0 is the session's (SPDY/3.1), GOAWAY's 0 means that none was accepted.
  if (frame.stream == 0 && frame.type != SpdyFrameType::GoAway && frame.type != SpdyFrameType::WindowUpdate)
    return broken("a control frame for stream 0");
  if (headersFrom == 0) {
    frame.value = get32(payload.substr(4));
    return frame;
  }
  frame.fin = (flags & kFlagFin) != 0;
  frame.headers = TRY(parseHeaderBlock(payload.substr(headersFrom)));
  return frame;
}

Result<Headers> SpdyDecoder::parseHeaderBlock(std::string_view compressed) {
  if (!inflate_) inflate_ = std::make_unique<Inflate>();
  z_stream& stream = inflate_->stream;
  stream.next_in = bytesOf(compressed);
  stream.avail_in = static_cast<uInt>(compressed.size());
  std::string plain;
  char buffer[4096];
  do {
    stream.next_out = bytesOf({buffer, sizeof buffer});
    stream.avail_out = sizeof buffer;
    int status = inflate(&stream, Z_SYNC_FLUSH);
    if (status == Z_NEED_DICT) {
      const std::string& dictionary = spdyHeaderDictionary();
      if (inflateSetDictionary(&stream, bytesOf(dictionary), static_cast<uInt>(dictionary.size())) != Z_OK)
        return broken("header blocks with another dictionary");
      continue;
    }
    // Nothing to do is how the end of a block without its last empty piece looks.
    if (status != Z_OK && status != Z_BUF_ERROR) return broken("a header block that is not zlib's");
    size_t got = sizeof buffer - stream.avail_out;
    if (plain.size() + got > kHeaderBlockBytesMax) return broken("a header block is longer than 256 KiB");
    plain.append(buffer, got);
    if (got == 0) break;
  } while (stream.avail_in > 0 || stream.avail_out == 0);
  if (stream.avail_in > 0) return broken("a header block that is not zlib's");

  std::string_view block = plain;
  if (block.size() < 4) return broken("a header block without a count");
  uint32_t count = get32(block);
  block.remove_prefix(4);
  if (count > kHeadersMax) return broken("a header block of more than 256 headers");
  Headers headers;
  for (uint32_t i = 0; i < count; ++i) {
    std::string name = TRY(takeString(block));
    std::string value = TRY(takeString(block));
    // Source: spdystream reads names in any case and answers with an error; Go's clients send them in lower case.
    if (name.empty() || name != toLower(name)) return broken("a header name that is not in lower case");
    if (headers.contains(name)) return broken("a header name twice");
    for (std::string_view one : split(std::string_view(value), '\0')) headers.add(name, std::string(one));
  }
  if (!block.empty()) return broken("bytes after the last header");
  return headers;
}

}  // namespace knarr::wire
